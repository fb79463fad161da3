// The library `coroutine`: the interpreter is told which coroutine runs, so that its time can be measured there, and
// a script never gets hold of the coroutine that its hook runs in.
//
// To a script, its hook is Lua's main program: `coroutine.running` says so, and it cannot yield. Suspending a hook is
// the business of the functions that wait.
#include "LuaInternal.h"

static bool is_main(lua_State *L, lua_State *co) { return co == sy_vm_main(sy_vm_of(L)); }

static bool is_hook(lua_State *L) { return is_main(L, L) || !sy_lua_in_own_coroutine(L); }

static lua_State *check_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "coroutine");
    return co;
}

// MARK: create

static int finish_body(lua_State *L, int status, lua_KContext context) {
    (void)context;
    return status == LUA_OK || status == LUA_YIELD ? lua_gettop(L) : lua_error(L);
}

/// What each coroutine runs: the script's function, upvalue 1, protected, and its error is raised again.
///
/// A coroutine that ends by an error in a debug hook, as an interrupted one does, keeps its hooks disabled (5.4.4), and
/// would then run its `__close` handlers, when it is closed, where nothing interrupts them. So they run in here.
static int body(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, 0, finish_body);
    return finish_body(L, status, 0);
}

static int create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, body, 1);
    lua_xmove(L, co, 1);
    return 1;
}

// MARK: resume, wrap

/// From here on an interrupt goes to `co`. One that came before has gone to `L`, and would not stop it.
static lua_State *enter(lua_State *L, lua_State *co) {
    lua_State *former = sy_lua_enter_coroutine(L, co);
    if (sy_lua_interrupted(L)) {
        sy_lua_leave_coroutine(L, former);
        sy_lua_raise_interrupt(L);
    }
    return former;
}

/// Goes on with `co`, given the `arguments` topmost values. Returns how many results it has pushed, or -1 with the
/// error object pushed.
static int run(lua_State *L, lua_State *co, int arguments) {
    if (is_main(L, co)) {
        lua_pushliteral(L, "cannot resume non-suspended coroutine");
        return -1;
    }
    if (!lua_checkstack(co, arguments)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_State *former = enter(L, co);
    lua_xmove(L, co, arguments);
    int results = 0;
    int status = lua_resume(co, L, arguments, &results);
    sy_lua_leave_coroutine(L, former);
    bool has_failed = status != LUA_OK && status != LUA_YIELD;
    if (sy_lua_interrupted(L)) {
        if (!has_failed) lua_pop(co, results);
        sy_lua_raise_interrupt(L);
    }
    if (has_failed) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, results);
    return results;
}

static int resume(lua_State *L) {
    lua_State *co = check_coroutine(L);
    int results = run(L, co, lua_gettop(L) - 1);
    lua_pushboolean(L, results >= 0);
    if (results < 0) results = 1;
    lua_insert(L, -results - 1);
    return results + 1;
}

/// Upvalue 1: the coroutine.
static int run_wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int results = run(L, co, lua_gettop(L));
    if (results >= 0) return results;
    if (lua_status(co) != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int wrap(lua_State *L) {
    create(L);
    lua_pushcclosure(L, run_wrapped, 1);
    return 1;
}

// MARK: status, running, yield

typedef enum { RUNNING, NORMAL, SUSPENDED, DEAD } state;
static const char *const state_names[] = {"running", "normal", "suspended", "dead"};

static state state_of(lua_State *L, lua_State *co) {
    if (co == L) return RUNNING;
    if (is_main(L, co)) return is_hook(L) ? RUNNING : NORMAL;
    lua_Debug activation;
    switch (lua_status(co)) {
    case LUA_YIELD: return SUSPENDED;
    case LUA_OK:
        if (lua_getstack(co, 0, &activation)) return NORMAL;
        // One that has not begun has its function on its stack.
        return lua_gettop(co) == 0 ? DEAD : SUSPENDED;
    default: return DEAD;
    }
}

static int status(lua_State *L) {
    lua_pushstring(L, state_names[state_of(L, check_coroutine(L))]);
    return 1;
}

static int running(lua_State *L) {
    if (is_hook(L)) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
        lua_pushboolean(L, true);
    } else {
        lua_pushthread(L);
        lua_pushboolean(L, false);
    }
    return 2;
}

static int is_yieldable(lua_State *L) {
    lua_State *co = lua_isnone(L, 1) ? L : check_coroutine(L);
    lua_pushboolean(L, !is_main(L, co) && !(co == L && is_hook(L)) && lua_isyieldable(co));
    return 1;
}

static int yield(lua_State *L) {
    if (is_hook(L)) return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

// MARK: close

/// Handlers that close a coroutine whose handler closes a coroutine, and so on. In 5.4.4 each of these counts its
/// nested calls from where it was suspended, so Lua's own limit on the C stack does not hold across them.
enum { MAX_CLOSING = 4 };
static _Thread_local int closing;

static int close(lua_State *L) {
    lua_State *co = check_coroutine(L);
    state found = state_of(L, co);
    if (found != SUSPENDED && found != DEAD) {
        return luaL_error(L, "cannot close a %s coroutine", state_names[found]);
    }
    if (closing == MAX_CLOSING) return luaL_error(L, "C stack overflow");
    lua_State *former = enter(L, co);
    closing += 1;
    // Raises nothing, so the two lines after it are reached.
    int result = lua_resetthread(co);
    sy_lua_leave_coroutine(L, former);
    closing -= 1;
    sy_lua_poll(L);
    lua_pushboolean(L, result == LUA_OK);
    if (result == LUA_OK) return 1;
    lua_xmove(co, L, 1);
    return 2;
}

int sy_lua_open_coroutine(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"create", create},   {"resume", resume}, {"wrap", wrap},  {"status", status}, {"running", running},
        {"isyieldable", is_yieldable}, {"yield", yield}, {"close", close}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
