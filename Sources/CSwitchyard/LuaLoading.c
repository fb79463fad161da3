// Scripts: their text becomes functions, each plugin with globals of its own.
#include "LuaInternal.h"

#include <string.h>

typedef struct {
    /// Line ends to come, so that Lua counts lines as the file that the text is from does.
    int lines;
    /// What stands before the text in its first line.
    const char *pieces[3];
    int piece;
    const char *text;
    size_t length;
    bool is_done;
} source;

static const char *read_source(lua_State *L, void *context, size_t *size) {
    (void)L;
    static const char line_ends[] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n";
    source *from = context;
    if (from->lines > 0) {
        int count = from->lines < 32 ? from->lines : 32;
        from->lines -= count;
        *size = (size_t)count;
        return line_ends;
    }
    while (from->piece < 3) {
        const char *piece = from->pieces[from->piece++];
        if (piece == NULL) continue;
        *size = strlen(piece);
        return piece;
    }
    if (from->is_done || from->length == 0) {
        *size = 0;
        return NULL;
    }
    from->is_done = true;
    *size = from->length;
    return from->text;
}

bool sy_lua_load(
    lua_State *L, int environment, const char *text, size_t length, const char *name, int line,
    const char *parameters) {
    environment = lua_absindex(L, environment);
    source from = {.lines = line > 1 ? line - 1 : 0, .text = text, .length = length};
    if (parameters != NULL) {
        from.pieces[0] = "local ";
        from.pieces[1] = parameters;
        from.pieces[2] = " = ... ";
    }
    if (lua_load(L, read_source, &from, name, "t") != LUA_OK) {
        if (lua_type(L, -1) != LUA_TSTRING) {
            lua_pop(L, 1);
            lua_pushliteral(L, "cannot be loaded");
        }
        return false;
    }
    lua_pushvalue(L, environment);
    if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
    return true;
}

bool sy_lua_function_lines(lua_State *L, int index, int *first, int *last) {
    lua_Debug activation;
    if (!lua_isfunction(L, index) || lua_iscfunction(L, index)) return false;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &activation);
    *first = activation.linedefined;
    *last = activation.lastlinedefined;
    return true;
}

// MARK: require

/// In the registry: where modules are looked for.
static const char path_key = 'p';

void sy_vm_set_path(sy_vm *vm, const char *path) {
    lua_State *L = sy_vm_main(vm);
    lua_pushstring(L, path);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &path_key);
}

/// Opens the first file that the path has for the module, and pushes its name; or adds to the list of those tried.
static bool find_module(lua_State *L, const char *module, luaL_Buffer *tried) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &path_key);
    const char *path = lua_tostring(L, -1);
    if (path == NULL) path = "./?.lua";
    // The buffer may have a value of its own on the stack: the path stays below by its pointer, held by the registry.
    lua_pop(L, 1);
    char name[512];
    size_t name_length = 0;
    for (; module[name_length] != '\0' && name_length < sizeof name - 1; name_length++) {
        name[name_length] = module[name_length] == '.' ? '/' : module[name_length];
    }
    name[name_length] = '\0';
    while (*path != '\0') {
        size_t length = strcspn(path, ";");
        char file[4096];
        size_t used = 0;
        for (size_t index = 0; index < length && used < sizeof file - sizeof name; index++) {
            if (path[index] == '?') {
                memcpy(file + used, name, name_length);
                used += name_length;
            } else {
                file[used++] = path[index];
            }
        }
        file[used] = '\0';
        path += length;
        if (*path == ';') path += 1;
        if (used == 0) continue;
        FILE *opened = fopen(file, "r");
        if (opened != NULL) {
            fclose(opened);
            lua_pushstring(L, file);
            return true;
        }
        luaL_addstring(tried, "\n\tno file \"");
        luaL_addstring(tried, file);
        luaL_addchar(tried, '"');
    }
    return false;
}

/// `require` of one environment. Upvalue 1: the environment; 2: the modules it has loaded.
///
/// Modules have the globals of the script that asks for them, and are loaded for it alone: nothing that one plugin
/// does to a module is seen by another.
static int require_module(lua_State *L) {
    const char *module = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    if (lua_getfield(L, lua_upvalueindex(2), module) != LUA_TNIL) return 1;
    lua_settop(L, 1);
    luaL_Buffer tried;
    luaL_buffinit(L, &tried);
    if (strlen(module) > 400 || !find_module(L, module, &tried)) {
        luaL_pushresult(&tried);
        return luaL_error(L, "module \"%s\" not found:%s", module, lua_tostring(L, -1));
    }
    // The buffer may lie below the file's name, where nothing needs it any more.
    if (luaL_loadfilex(L, lua_tostring(L, -1), "t") != LUA_OK) return lua_error(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, true);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, lua_upvalueindex(2), module);
    return 1;
}

void sy_lua_set_require(lua_State *L) {
    int environment = lua_gettop(L);
    lua_pushvalue(L, environment);
    lua_newtable(L);
    lua_getfield(L, environment, "sy");
    lua_setfield(L, -2, "switchyard");
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    static const char *const libraries[] = {"string", "table", "math", "utf8", "coroutine", "os"};
    for (size_t index = 0; index < sizeof libraries / sizeof *libraries; index++) {
        lua_getfield(L, environment, libraries[index]);
        lua_setfield(L, -3, libraries[index]);
    }
    lua_pop(L, 1);
    lua_pushcclosure(L, require_module, 2);
    lua_setfield(L, environment, "require");
}

// MARK: The module

void sy_lua_open_module(lua_State *L, bool sandboxed) {
    lua_newtable(L);
    sy_lua_open_json(L, sandboxed);
    lua_setfield(L, -2, "json");
    lua_setglobal(L, "sy");
}
