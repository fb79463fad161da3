// Scripts: their text becomes functions, each plugin with globals of its own.
#include "LuaInternal.h"

#include <lua-cjson.h>
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

/// In the registry: `decode`, whatever scripts do to the module.
static const char decode_key = 'd';

/// Makes the value on top of the stack an integer where it is a whole number, and so all that is in a table. The library
/// knows floating-point numbers only, which Lua shows as `1.0`. Below 2^53 both kinds have the same whole numbers.
static void make_integers(lua_State *L) {
    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_Number number = lua_tonumber(L, -1);
        if (!(number > -9007199254740992.0 && number < 9007199254740992.0)) return;
        lua_Integer whole = (lua_Integer)number;
        if ((lua_Number)whole != number) return;
        lua_pop(L, 1);
        lua_pushinteger(L, whole);
        return;
    }
    if (lua_type(L, -1) != LUA_TTABLE) return;
    // The library has seen to it that tables are not nested without end.
    luaL_checkstack(L, 4, "too many nested data structures");
    int table = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        make_integers(L);
        // Giving a field that is there another value is allowed on the way.
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, table);
    }
}

/// Upvalue 1: the library's own.
static int decode_json(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    make_integers(L);
    return 1;
}

/// The library's `encode` gathers its text in memory that no limit is kept for, and cannot be interrupted: a table that
/// holds another twice, which does the same, thirty times over, would take gigabytes. So this sees first how long the
/// text becomes, nearly; `room` is what is left for it.
///
/// Nesting beyond what the library takes is left to it.
static void measure_json(lua_State *L, int index, int depth, size_t *room) {
    sy_lua_poll(L);
    size_t length = 1;
    if (lua_type(L, index) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, index, &length);
        size_t escaped = 2;
        for (size_t at = 0; at < length; at++) {
            unsigned char byte = (unsigned char)text[at];
            // Escaped as \u0001, as \", or not at all.
            escaped += byte < 32 || byte == 127 ? 6 : byte == '"' || byte == '\\' || byte == '/' ? 2 : 1;
        }
        length = escaped;
    }
    if (length > *room) luaL_error(L, "not enough memory");
    *room -= length;
    if (lua_type(L, index) != LUA_TTABLE || depth > 1000) return;
    luaL_checkstack(L, 4, "too many nested data structures");
    int table = lua_absindex(L, index);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (lua_type(L, -2) == LUA_TSTRING) measure_json(L, -2, depth + 1, room);
        measure_json(L, -1, depth + 1, room);
        lua_pop(L, 1);
    }
}

/// Upvalue 1: the library's own.
static int encode_json(lua_State *L) {
    size_t room = sy_lua_memory_limit(L);
    if (lua_gettop(L) == 1) measure_json(L, 1, 0, &room);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

void sy_lua_open_module(lua_State *L) {
    lua_newtable(L);
    lua_newtable(L);
    luaopen_cjson(L);
    lua_getfield(L, -1, "null");
    lua_setfield(L, -3, "null");
    lua_getfield(L, -1, "encode");
    lua_pushcclosure(L, encode_json, 1);
    lua_setfield(L, -3, "encode");
    lua_getfield(L, -1, "decode");
    lua_pushcclosure(L, decode_json, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &decode_key);
    lua_setfield(L, -3, "decode");
    lua_pop(L, 1);
    lua_setfield(L, -2, "json");
    lua_setglobal(L, "sy");
}

bool sy_lua_decode_json(lua_State *L, const void *text, size_t length) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &decode_key);
    lua_pushlstring(L, text, length);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) return true;
    lua_pop(L, 1);
    return false;
}
