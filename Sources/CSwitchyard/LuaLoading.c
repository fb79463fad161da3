// Scripts: their text becomes functions, each plugin with globals of its own.
#include "LuaInternal.h"

#include <string.h>

typedef struct {
    const char *text;
    size_t length;
} piece;

/// What stands before the text in its first line, the text, and what stands behind it.
enum { PIECES = 5 };

typedef struct {
    /// Line ends to come, so that Lua counts lines as the file that the text is from does.
    int lines;
    int next;
    piece pieces[PIECES];
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
    while (from->next < PIECES) {
        piece found = from->pieces[from->next++];
        if (found.length == 0) continue;
        *size = found.length;
        return found.text;
    }
    *size = 0;
    return NULL;
}

static piece piece_of(const char *text) { return (piece){text, text == NULL ? 0 : strlen(text)}; }

/// Pushes the function that the text of a script or a block is, or a message.
static bool load(
    lua_State *L, const char *name, int line, const char *before, const char *parameters, const char *between,
    piece text, const char *behind) {
    source from = {
        .lines = line > 1 ? line - 1 : 0,
        .pieces = {piece_of(before), piece_of(parameters), piece_of(between), text, piece_of(behind)},
    };
    return lua_load(L, read_source, &from, name, "t") == LUA_OK;
}

/// Skips what Lua's own loader of files skips: a byte order mark, and a first line that begins with `#`, but for its end.
static void skip_first_line(const char **text, size_t *length) {
    size_t skipped = *length >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (skipped < *length && (*text)[skipped] == '#') {
        while (skipped < *length && (*text)[skipped] != '\n') skipped += 1;
    }
    *text += skipped;
    *length -= skipped;
}

bool sy_lua_load(
    lua_State *L, int environment, const char *text, size_t length, const char *name, int line,
    const char *parameters) {
    environment = lua_absindex(L, environment);
    if (line <= 1) skip_first_line(&text, &length);
    piece body = {text, length};
    const char *before = parameters == NULL ? NULL : "local ", *between = parameters == NULL ? NULL : " = ... ";
    if (!load(L, name, line, before, parameters, between, body, NULL)) {
        if (lua_type(L, -1) != LUA_TSTRING) {
            lua_pop(L, 1);
            lua_pushliteral(L, "cannot be loaded");
        }
        return false;
    }
    // As a function with parameters a block costs less to call. What is valid above is so in here, but for `...`; and only
    // what is valid above: `end`, say, does not end the function.
    bool is_function = parameters != NULL && load(L, name, line, "return function(", parameters, ") ", body, "\nend");
    if (parameters != NULL) lua_remove(L, is_function ? -2 : -1);
    lua_pushvalue(L, environment);
    if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
    if (is_function) lua_call(L, 0, 1);
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

/// Pushes the name of the first file that is there for the name, by the templates of the path; or what was looked for,
/// each with a comma in front of it.
static bool find_file(lua_State *L, const char *name, const char *path) {
    luaL_checkstack(L, 8, NULL);
    lua_pushliteral(L, "");
    while (*path != '\0') {
        size_t length = strcspn(path, ";");
        if (length > 0) {
            lua_pushlstring(L, path, length);
            const char *file = luaL_gsub(L, lua_tostring(L, -1), "?", name);
            lua_remove(L, -2);
            FILE *opened = fopen(file, "r");
            if (opened != NULL) {
                fclose(opened);
                lua_remove(L, -2);
                return true;
            }
            lua_pushfstring(L, ", no file \"%s\"", file);
            lua_remove(L, -2);
            lua_concat(L, 2);
        }
        path += length;
        if (*path == ';') path += 1;
    }
    return false;
}

/// Pushes `path` of the table `package`.
///
/// In the sandbox it has to be what the configuration says: with another, scripts would learn which files there are,
/// and something of what is in them.
static const char *push_path(lua_State *L, int package) {
    if (lua_getfield(L, package, "path") != LUA_TSTRING) luaL_error(L, "'package.path' must be a string");
    if (sy_lua_is_sandboxed(L)) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &path_key);
        if (!lua_rawequal(L, -1, -2)) {
            luaL_error(L, "package.path is not to be changed in the sandbox: lua_package_path says where modules are");
        }
        lua_pop(L, 1);
    }
    return lua_tostring(L, -1);
}

/// `package.searchpath`. Upvalue 1: the table `package`.
static int search_path(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const char *path = luaL_checkstring(L, 2);
    const char *separator = luaL_optstring(L, 3, ".");
    const char *replacement = luaL_optstring(L, 4, "/");
    lua_settop(L, 4);
    if (sy_lua_is_sandboxed(L) && strcmp(path, push_path(L, lua_upvalueindex(1))) != 0) {
        return luaL_error(L, "package.searchpath looks in package.path only, in the sandbox");
    }
    if (*separator != '\0') name = luaL_gsub(L, name, separator, replacement);
    if (find_file(L, name, path)) return 1;
    luaL_pushfail(L);
    lua_insert(L, -2);
    // Without the comma.
    const char *tried = lua_tostring(L, -1);
    lua_pushstring(L, *tried == '\0' ? tried : tried + 2);
    lua_remove(L, -2);
    return 2;
}

/// Upvalues of `require`.
enum { ENVIRONMENT = 1, LOADED, PACKAGE, LOADING };
/// Bytes of a module's name.
enum { MAX_NAME = 400 };

/// Upvalue 1: the modules that are being loaded. Argument 1: a table with the name of one, which is no more.
static int end_loading(lua_State *L) {
    lua_rawgeti(L, 1, 1);
    lua_pushnil(L);
    lua_rawset(L, lua_upvalueindex(1));
    return 0;
}

/// Notes that the module is being loaded, until the C function that runs ends, by an error perhaps; with what does that
/// on top of the stack.
static void begin_loading(lua_State *L) {
    lua_pushvalue(L, 1);
    if (lua_rawget(L, lua_upvalueindex(LOADING)) != LUA_TNIL) {
        luaL_error(L, "module \"%s\" is being loaded already: it requires itself, perhaps by others", lua_tostring(L, 1));
    }
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_newtable(L);
    lua_pushvalue(L, lua_upvalueindex(LOADING));
    lua_pushcclosure(L, end_loading, 1);
    lua_setfield(L, -2, "__close");
    lua_setmetatable(L, -2);
    lua_toclose(L, -1);
    lua_pushvalue(L, 1);
    lua_pushboolean(L, true);
    lua_rawset(L, lua_upvalueindex(LOADING));
}

/// Pushes the function of a library in C that makes the module, and the library's file, where `package.cpath` leads to
/// one for `name`: the module's own, or that of the library which holds it. Otherwise adds what was looked for to the
/// text on top.
static bool find_library(lua_State *L, const char *module, const char *name) {
    if (lua_getfield(L, lua_upvalueindex(PACKAGE), "cpath") != LUA_TSTRING) {
        luaL_error(L, "'package.cpath' must be a string");
    }
    bool is_found = find_file(L, name, lua_tostring(L, -1));
    lua_remove(L, -2);
    if (!is_found) {
        lua_concat(L, 2);
        return false;
    }
    lua_getfield(L, lua_upvalueindex(PACKAGE), "loadlib");
    lua_pushvalue(L, -2);
    lua_pushliteral(L, "luaopen_");
    // What is behind a hyphen tells versions of a library apart.
    lua_pushlstring(L, module, strcspn(module, "-"));
    luaL_gsub(L, lua_tostring(L, -1), ".", "_");
    lua_remove(L, -2);
    lua_concat(L, 2);
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2)) {
        luaL_error(L, "module \"%s\" cannot be loaded from \"%s\": %s", module, lua_tostring(L, -3), lua_tostring(L, -1));
    }
    lua_pop(L, 1);
    lua_insert(L, -2);
    return true;
}

/// The same by the functions that scripts have added to `package.searchers`. Lua's own, which are in it, look where
/// `require` has looked.
static bool ask_searchers(lua_State *L) {
    int tried = lua_gettop(L);
    if (lua_getfield(L, lua_upvalueindex(PACKAGE), "searchers") != LUA_TTABLE) {
        luaL_error(L, "'package.searchers' must be a table");
    }
    for (lua_Integer index = 1; lua_rawgeti(L, tried + 1, index) != LUA_TNIL; index++) {
        if (!lua_iscfunction(L, -1)) {
            lua_pushvalue(L, 1);
            lua_call(L, 1, 2);
            if (lua_isfunction(L, -2)) return true;
            if (lua_isstring(L, -2)) {
                lua_pushvalue(L, tried);
                lua_pushliteral(L, ", ");
                lua_pushvalue(L, tried + 2);
                lua_concat(L, 3);
                lua_replace(L, tried);
            }
        }
        lua_settop(L, tried + 1);
    }
    lua_settop(L, tried);
    return false;
}

/// Pushes the function that makes the module, and what it is told besides the module's name.
static void push_loader(lua_State *L, const char *module) {
    if (lua_getfield(L, lua_upvalueindex(PACKAGE), "preload") == LUA_TTABLE) {
        if (lua_getfield(L, -1, module) != LUA_TNIL) {
            lua_pushliteral(L, ":preload:");
            return;
        }
    }
    if (strlen(module) > MAX_NAME) luaL_error(L, "module's name too long: over %d bytes", MAX_NAME);
    const char *path = push_path(L, lua_upvalueindex(PACKAGE));
    const char *name = luaL_gsub(L, module, ".", "/");
    if (find_file(L, name, path)) {
        if (luaL_loadfilex(L, lua_tostring(L, -1), "t") != LUA_OK) lua_error(L);
        lua_pushvalue(L, lua_upvalueindex(ENVIRONMENT));
        if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
        lua_insert(L, -2);
        return;
    }
    if (!sy_lua_is_sandboxed(L)) {
        if (find_library(L, module, name)) return;
        const char *root = lua_pushlstring(L, module, strcspn(module, "."));
        lua_insert(L, -2);
        if (strcmp(root, module) != 0 && find_library(L, module, root)) return;
        if (ask_searchers(L)) return;
    }
    bool is_json = strcmp(module, "cjson") == 0 || strcmp(module, "cjson.safe") == 0 || strcmp(module, "dkjson") == 0;
    bool is_foreign = strncmp(module, "resty.", 6) == 0 || strncmp(module, "ngx.", 4) == 0;
    luaL_error(
        L, "module \"%s\" not found%s: no field package.preload[\"%s\"]%s", module,
        is_json      ? ", sy.json is here instead"
        : is_foreign ? ", which is OpenResty's: see \"From OpenResty\" in docs/scripting.md"
                     : "",
        module, lua_tostring(L, -1));
}

/// `require` of one environment.
///
/// Modules have the globals of the script that asks for them, and are loaded for it alone: nothing that one plugin
/// does to a module is seen by another.
static int require_module(lua_State *L) {
    const char *module = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, lua_upvalueindex(LOADED), module);
    if (lua_toboolean(L, -1)) return 1;
    lua_settop(L, 1);
    begin_loading(L);
    push_loader(L, module);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -3);
    lua_call(L, 2, 1);
    if (!lua_isnil(L, -1)) {
        lua_setfield(L, lua_upvalueindex(LOADED), module);
    } else {
        lua_pop(L, 1);
    }
    // What the module has put there itself counts.
    if (lua_getfield(L, lua_upvalueindex(LOADED), module) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushboolean(L, true);
        lua_pushvalue(L, -1);
        lua_setfield(L, lua_upvalueindex(LOADED), module);
    }
    lua_insert(L, -2);
    return 2;
}

/// Pushes the table of modules that are there from the beginning.
static void push_loaded(lua_State *L, int environment) {
    static const char *const libraries[] = {
        "string", "table", "math", "utf8", "coroutine", "os", "debug", "io", "package",
    };
    lua_newtable(L);
    for (size_t index = 0; index < sizeof libraries / sizeof *libraries; index++) {
        lua_getfield(L, environment, libraries[index]);
        lua_setfield(L, -2, libraries[index]);
    }
    lua_getfield(L, environment, "sy");
    lua_setfield(L, -2, "switchyard");
    lua_pushvalue(L, environment);
    lua_setfield(L, -2, LUA_GNAME);
}

void sy_lua_set_require(lua_State *L) {
    int environment = lua_gettop(L);
    // Outside of the sandbox there is Lua's own, with what else is in it.
    if (lua_getfield(L, environment, LUA_LOADLIBNAME) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, environment, LUA_LOADLIBNAME);
    }
    int package = lua_gettop(L);
    push_loaded(L, environment);
    lua_pushvalue(L, -1);
    lua_setfield(L, package, "loaded");
    lua_newtable(L);
    lua_setfield(L, package, "preload");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &path_key);
    lua_setfield(L, package, "path");
    lua_pushliteral(L, LUA_DIRSEP "\n;\n?\n!\n-\n");
    lua_setfield(L, package, "config");
    lua_pushvalue(L, package);
    lua_pushcclosure(L, search_path, 1);
    lua_setfield(L, package, "searchpath");

    int loaded = package + 1;
    lua_pushvalue(L, environment);
    lua_pushvalue(L, loaded);
    lua_pushvalue(L, package);
    lua_newtable(L);
    lua_pushcclosure(L, require_module, 4);
    lua_setfield(L, environment, "require");
}

// MARK: The module

void sy_lua_open_module(lua_State *L, bool sandboxed) {
    lua_newtable(L);
    sy_lua_open_json(L, sandboxed);
    lua_setfield(L, -2, "json");
    lua_setglobal(L, "sy");
}
