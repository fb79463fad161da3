// The standard libraries as scripts have them, and the environment of globals that each plugin has for itself.
//
// What is left of Lua's own functions in the sandbox takes time that is linear in the size of its arguments, which the
// memory limit bounds. What does not is replaced, sandbox or not: here, in LuaTables.c, LuaPatterns.c and
// LuaCoroutines.c.
#include "LuaInternal.h"

#include <string.h>

/// In the registry: whether the interpreter is sandboxed.
static const char sandbox_key = 's';

bool sy_lua_is_sandboxed(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sandbox_key);
    bool sandboxed = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return sandboxed;
}

void sy_lua_wrap_function(lua_State *L, const char *name, lua_CFunction function) {
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

static lua_CFunction wrapped(lua_State *L) { return lua_tocfunction(L, lua_upvalueindex(1)); }

// MARK: Errors

/// Upvalue 1: the script's message handler.
static int handle_error(lua_State *L) {
    // An interrupt is raised in a debug hook, and Lua runs no hook inside of one: a handler that loops would not end.
    if (sy_lua_interrupted(L)) return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/// Upvalue 1: Lua's own.
static int base_xpcall(lua_State *L) {
    if (lua_isfunction(L, 2)) {
        lua_pushvalue(L, 2);
        lua_pushcclosure(L, handle_error, 1);
        lua_replace(L, 2);
    }
    return wrapped(L)(L);
}

// MARK: load

enum {
    /// The compiler asks for text in pieces of this size, and the interrupt is looked for in between.
    LOADED_PIECE = 1024,
    /// Bytes of one text in the sandbox. Some statements take Lua's compiler time with the square of their number.
    MAX_LOADED_TEXT = 1024 * 1024,
    /// Where the piece that a reader function returned is kept while the compiler reads it.
    PIECE_INDEX = 5,
};

typedef struct {
    const char *text;
    size_t length;
    size_t limit;
    bool has_reader;
} loaded_text;

static const char *read_text(lua_State *L, void *context, size_t *size) {
    loaded_text *from = context;
    sy_lua_poll(L);
    if (from->length == 0 && from->has_reader) {
        luaL_checkstack(L, 2, "too many nested functions");
        lua_pushvalue(L, 1);
        lua_call(L, 0, 1);
        if (!lua_isnil(L, -1) && !lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
        lua_replace(L, PIECE_INDEX);
        from->text = lua_tolstring(L, PIECE_INDEX, &from->length);
        if (from->text == NULL) from->length = 0;
    }
    *size = from->length < LOADED_PIECE ? from->length : LOADED_PIECE;
    if (*size > from->limit) luaL_error(L, "text too long to be loaded: over %d bytes", MAX_LOADED_TEXT);
    const char *piece = from->text;
    from->text += *size;
    from->length -= *size;
    from->limit -= *size;
    return *size == 0 ? NULL : piece;
}

/// What `load` returns: the function on top of the stack with the value at `environment` for its globals, or nil and the
/// message on top of the stack.
static int finish_load(lua_State *L, int status, int environment) {
    if (status == LUA_OK) {
        lua_pushvalue(L, environment);
        if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
        return 1;
    }
    luaL_pushfail(L);
    lua_insert(L, -2);
    return 2;
}

/// Upvalue 1: the environment in which what is loaded runs, unless another is given.
static int base_load(lua_State *L) {
    bool sandboxed = sy_lua_is_sandboxed(L);
    loaded_text from = {.limit = sandboxed ? MAX_LOADED_TEXT : SIZE_MAX};
    from.text = lua_tolstring(L, 1, &from.length);
    if (from.text == NULL) {
        luaL_checktype(L, 1, LUA_TFUNCTION);
        from.has_reader = true;
    }
    const char *name = luaL_optstring(L, 2, from.has_reader ? "=(load)" : from.text);
    const char *mode = luaL_optstring(L, 3, "bt");
    // Lua trusts binary chunks: a forged one reaches any memory.
    if (sandboxed) mode = "t";
    int environment = lua_isnone(L, 4) ? lua_upvalueindex(1) : 4;
    lua_settop(L, PIECE_INDEX);
    int status = lua_load(L, read_text, &from, name, mode);
    // An interrupt in the reader has become the status of what failed to load.
    sy_lua_poll(L);
    return finish_load(L, status, environment);
}

/// Upvalue 1: the environment. Not in the sandbox.
static int base_loadfile(lua_State *L) {
    const char *file = luaL_optstring(L, 1, NULL);
    const char *mode = luaL_optstring(L, 2, NULL);
    int environment = lua_isnone(L, 3) ? lua_upvalueindex(1) : 3;
    return finish_load(L, luaL_loadfilex(L, file, mode), environment);
}

static int finish_file(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    return lua_gettop(L) - 1;
}

/// Upvalue 1: the environment. Not in the sandbox.
static int base_dofile(lua_State *L) {
    const char *file = luaL_optstring(L, 1, NULL);
    lua_settop(L, 1);
    if (luaL_loadfile(L, file) != LUA_OK) return lua_error(L);
    finish_load(L, LUA_OK, lua_upvalueindex(1));
    lua_callk(L, 0, LUA_MULTRET, 0, finish_file);
    return finish_file(L, LUA_OK, 0);
}

// MARK: What the sandbox restricts

/// Upvalue 1: Lua's own.
static int base_setmetatable(lua_State *L) {
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        // Lua looks for the field now and not when the metatable changes later.
        if (lua_rawget(L, 2) != LUA_TNIL) {
            return luaL_error(L, "a metatable with __gc is not allowed in the sandbox: no limit holds in a finalizer");
        }
        lua_settop(L, 2);
    }
    if ((lua_isnil(L, 2) || lua_istable(L, 2)) && sy_lua_is_array(L, 1)) {
        // What marks an array of JSON's is protected from being changed, not from being taken off.
        lua_pushnil(L);
        lua_setmetatable(L, 1);
    }
    return wrapped(L)(L);
}

/// Upvalue 1: Lua's own.
static int base_collectgarbage(lua_State *L) {
    // The collector is everybody's: a full collection stops all traffic of the worker, and its mode concerns all.
    const char *option = luaL_optstring(L, 1, "collect");
    if (strcmp(option, "count") != 0) {
        return luaL_error(L, "collectgarbage(\"%s\") is not allowed in the sandbox", option);
    }
    return wrapped(L)(L);
}

// MARK: os

enum { MAX_DATE_FORMAT = 1024 };

/// Upvalue 1: Lua's own, which takes some hundred nanoseconds for each two bytes of a format.
static int os_date(lua_State *L) {
    size_t length;
    double now;
    luaL_optlstring(L, 1, "", &length);
    luaL_argcheck(L, length <= MAX_DATE_FORMAT, 1, "format too long");
    if (lua_isnoneornil(L, 2) && sy_lua_own_clock(L, false, &now)) {
        lua_settop(L, 1);
        lua_pushinteger(L, (lua_Integer)now);
    }
    return wrapped(L)(L);
}

/// Upvalue 1: Lua's own.
static int os_time(lua_State *L) {
    double now;
    if (!lua_isnoneornil(L, 1) || !sy_lua_own_clock(L, false, &now)) return wrapped(L)(L);
    lua_pushinteger(L, (lua_Integer)now);
    return 1;
}

/// Upvalue 1: Lua's own.
static int os_clock(lua_State *L) {
    double now;
    if (!sy_lua_own_clock(L, true, &now)) return wrapped(L)(L);
    lua_pushnumber(L, now);
    return 1;
}

/// Of the library on top of the stack.
static void set_os_functions(lua_State *L) {
    sy_lua_wrap_function(L, "date", os_date);
    sy_lua_wrap_function(L, "time", os_time);
    sy_lua_wrap_function(L, "clock", os_clock);
}

// MARK: Opening

static void open_library(lua_State *L, const char *name, lua_CFunction open) {
    luaL_requiref(L, name, open, true);
}

/// A library in the sandbox is a new table with these functions of it, so that the others are nowhere.
static void open_some(lua_State *L, const char *name, lua_CFunction open, const char *const functions[]) {
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
    lua_newtable(L);
    for (; *functions != NULL; functions++) {
        lua_getfield(L, -2, *functions);
        lua_setfield(L, -2, *functions);
    }
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_setglobal(L, name);
    lua_remove(L, -2);
}

static void remove_fields(lua_State *L, const char *const names[]) {
    for (; *names != NULL; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

/// Strings share one metatable: what a script changed there would reach every other's.
static void protect_strings(lua_State *L) {
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void sy_lua_open_libraries(lua_State *L, bool sandboxed) {
    static const char *const removed_base[] = {"dofile", "loadfile", "warn", NULL};
    static const char *const removed_string[] = {"dump", NULL};
    static const char *const left_os[] = {"time", "clock", "date", "difftime", "getenv", NULL};
    static const char *const left_debug[] = {"traceback", NULL};
    lua_pushboolean(L, sandboxed);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &sandbox_key);

    open_library(L, LUA_GNAME, luaopen_base);
    lua_pushcfunction(L, sy_lua_print);
    lua_setfield(L, -2, "print");
    sy_lua_wrap_function(L, "xpcall", base_xpcall);
    if (sandboxed) {
        remove_fields(L, removed_base);
        sy_lua_wrap_function(L, "setmetatable", base_setmetatable);
        sy_lua_wrap_function(L, "collectgarbage", base_collectgarbage);
    }
    open_library(L, LUA_COLIBNAME, sy_lua_open_coroutine);
    open_library(L, LUA_TABLIBNAME, luaopen_table);
    sy_lua_set_table_functions(L);
    open_library(L, LUA_STRLIBNAME, luaopen_string);
    sy_lua_set_string_functions(L);
    if (sandboxed) remove_fields(L, removed_string);
    open_library(L, LUA_MATHLIBNAME, luaopen_math);
    open_library(L, LUA_UTF8LIBNAME, luaopen_utf8);
    sy_lua_set_utf8_functions(L);
    if (sandboxed) {
        open_some(L, LUA_OSLIBNAME, luaopen_os, left_os);
        set_os_functions(L);
        open_some(L, LUA_DBLIBNAME, luaopen_debug, left_debug);
        lua_pushcfunction(L, sy_lua_debug_traceback);
        lua_setfield(L, -2, "traceback");
        protect_strings(L);
        lua_pop(L, 8);
    } else {
        open_library(L, LUA_OSLIBNAME, luaopen_os);
        set_os_functions(L);
        open_library(L, LUA_DBLIBNAME, luaopen_debug);
        open_library(L, LUA_IOLIBNAME, luaopen_io);
        open_library(L, LUA_LOADLIBNAME, luaopen_package);
        lua_pop(L, 10);
    }
}

// MARK: Environments

/// Replaces the table on top of the stack by its copy, tables in it included. `made` is the index of a table that has
/// the copies made so far, so that a table which is in two places, or in itself, is so in the copy.
static void copy_table(lua_State *L, int made) {
    luaL_checkstack(L, 6, NULL);
    int source = lua_gettop(L);
    lua_pushvalue(L, source);
    if (lua_rawget(L, made) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, source);
        lua_pushvalue(L, -2);
        lua_rawset(L, made);
        lua_pushnil(L);
        while (lua_next(L, source)) {
            if (lua_istable(L, -1)) copy_table(L, made);
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, source + 1);
        }
        if (lua_getmetatable(L, source)) lua_setmetatable(L, source + 1);
    }
    lua_replace(L, source);
    lua_settop(L, source);
}

static void set_closure(lua_State *L, int environment, const char *name, lua_CFunction function) {
    lua_pushvalue(L, environment);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, environment, name);
}

/// Everything is copied at once. Reading what is missing from the globals instead would hand out tables that all
/// scripts share: after `string = nil`, for one. This takes about fifteen microseconds, once for each plugin.
void sy_lua_push_environment(lua_State *L) {
    luaL_checkstack(L, 10, NULL);
    lua_newtable(L);
    lua_pushglobaltable(L);
    copy_table(L, lua_gettop(L) - 1);
    lua_remove(L, -2);
    int environment = lua_gettop(L);
    set_closure(L, environment, "load", base_load);
    if (!sy_lua_is_sandboxed(L)) {
        set_closure(L, environment, "loadfile", base_loadfile);
        set_closure(L, environment, "dofile", base_dofile);
    }
    // A library of its own, for the state of its random numbers: nobody seeds or guesses another's. Lua's own seed is the
    // time and an address.
    lua_pushcfunction(L, luaopen_math);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, (lua_Integer)sy_vm_next_seed(sy_vm_of(L)));
    lua_call(L, 1, 0);
    lua_setfield(L, environment, LUA_MATHLIBNAME);
    sy_lua_set_require(L);
    lua_settop(L, environment);
}
