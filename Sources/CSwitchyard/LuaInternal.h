// What the C files of the interpreter share. Not for Swift: some of these raise.
#ifndef SWITCHYARD_LUA_INTERNAL_H
#define SWITCHYARD_LUA_INTERNAL_H

#include "SwitchyardLua.h"

#if !__has_include(<lua.h>)
#error "Lua is not there: scripts/setup builds it"
#endif
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "LuaMemory.h"

/// A kind of object; see LuaTypes.c.
typedef struct {
    /// Its metatable, as a reference in the registry.
    int metatable;
    /// How many other objects are kept in one.
    int parts;
    bool is_value;
    /// The functions for fields without a definition, and of a value the one behind `__pairs`; 0 for none.
    int getter;
    int setter;
    int pairs;
    /// The getters that are answered from what is shown, if it is of the object; 0 for none.
    int payload;
    int payload_size;
} sy_type;

/// Types are numbers from 1 up to this, this not included.
enum { SY_LUA_TYPES = 32 };

typedef struct {
    lua_State *state;
    /// Keeps the coroutine in the registry; LUA_NOREF when there is none.
    int reference;
    /// It has been started and waits: what is resumed is no new call.
    bool waits;
} sy_coroutine;

/// Idle coroutines beyond this are thrown away, so that a burst of waiting hooks leaves little behind.
enum { SY_MAX_IDLE = 64 };

/// `file:line: `
enum { SY_PLACE_SIZE = LUA_IDSIZE + 16 };

struct sy_vm {
    lua_State *main;
    sy_memory memory;
    void *context;
    sy_lua_dispatch dispatch;
    sy_lua_printer printer;
    /// NULL where the system's clocks are meant.
    sy_lua_clock clock;
    /// Lines of `print` begin with file and line.
    bool prints_places;

    sy_coroutine *coroutines;
    int coroutine_count;
    int coroutine_capacity;
    /// Coroutines that exist, whether in use or not.
    int live_coroutines;
    /// Positions of those that exist and are not in use, the one used last at the end.
    int idle[SY_MAX_IDLE];
    int idle_count;
    /// Positions where there is none.
    int *vacant;
    int vacant_count;

    /// What is shown to hooks: to that which runs, and those around it.
    sy_payload *shown;
    /// What runs: a hook's coroutine or one that the script made; NULL outside of calls. Read by the signal handler.
    lua_State *volatile running;
    int running_index;
    int running_script;
    /// The body that has just ended did so by an error.
    bool failed;

    /// Grows with each outermost resume, so that the signal handler knows one from the next.
    volatile unsigned serial;
    unsigned seen_serial;
    int ticks;
    int allowed_ticks;
    int hook_timeout;
    /// How many times that a resume may take.
    int patience;
    volatile bool interrupted;
    /// Where memory was last refused, and the traceback of that: of the outermost resume of that number alone.
    unsigned refusal_serial;
    char refusal_place[SY_PLACE_SIZE];
    char refusal_traceback[1024];
    /// 0 for chance; see `sy_vm_next_seed`.
    uint64_t seed;
    sy_type types[SY_LUA_TYPES];
};

static inline sy_type *sy_type_of(sy_vm *vm, int type) { return &vm->types[type & (SY_LUA_TYPES - 1)]; }

/// The main thread's extra space holds the interpreter, and each new coroutine copies it.
static inline sy_vm *sy_vm_of(lua_State *L) { return *(sy_vm **)lua_getextraspace(L); }

/// Calls the API function of this number with what is on the stack: as a lua_CFunction's body.
int sy_lua_call(lua_State *L, int function);
/// The lua_CFunction behind every API function; see LuaVM.c for its upvalues.
int sy_lua_trampoline(lua_State *L);
static inline void sy_lua_push_trampoline(lua_State *L, int function) {
    lua_pushinteger(L, function);
    lua_pushcclosure(L, sy_lua_trampoline, 1);
}

/// The script whose hook runs, or -1.
int sy_lua_running_script(lua_State *L);

/// Pushes the message, which may be NULL, and a traceback of `of` from the level on, of bounded cost.
void sy_lua_push_traceback(lua_State *L, lua_State *of, const char *message, size_t length, int level);
/// Writes where the innermost function of a script stands, and a traceback as far as there is room, without asking for
/// memory: to be called within a lua_Alloc.
void sy_lua_note_stack(lua_State *of, char place[SY_PLACE_SIZE], char *traceback, size_t size);
/// `debug.traceback` of scripts: a lua_CFunction.
int sy_lua_debug_traceback(lua_State *L);

/// The table of the module `switchyard`, global `sy`, with what comes from libraries in C.
void sy_lua_open_module(lua_State *L, bool sandboxed);
/// Pushes the table `sy.json`.
void sy_lua_open_json(lua_State *L, bool sandboxed);
/// Whether the value is a table that is an array in JSON though it may be empty; and makes it one.
bool sy_lua_is_array(lua_State *L, int index);
void sy_lua_mark_array(lua_State *L, int index);

struct sy_memory *sy_lua_memory(lua_State *L);

/// Raises the error that lua_memory_limit leads to.
_Noreturn void sy_lua_raise_memory(lua_State *L);

/// Collects garbage where a buffer of lauxlib's, of so many bytes, would be refused for it; raises where it cannot fit.
void sy_lua_make_room(lua_State *L, size_t size);
/// luaL_addlstring and luaL_addvalue that make room.
void sy_lua_add_text(luaL_Buffer *buffer, const char *text, size_t length);
void sy_lua_add_value(luaL_Buffer *buffer);

/// To be called where `sy_lua_interrupted`.
_Noreturn void sy_lua_raise_interrupt(lua_State *L);
static inline void sy_lua_poll(lua_State *L) {
    if (sy_lua_interrupted(L)) sy_lua_raise_interrupt(L);
}

/// From the signal handler: does not return where a search is going on.
void sy_lua_leave_search(void);

/// The clock that stands for the system's; false where none does. See `sy_lua_clock`.
bool sy_lua_own_clock(lua_State *L, bool monotonic, double *seconds);

/// `print` of scripts: a lua_CFunction.
int sy_lua_print(lua_State *L);

/// `co` runs from now on, on behalf of `from`. Returns what ran before, for `sy_lua_leave_coroutine`.
lua_State *sy_lua_enter_coroutine(lua_State *from, lua_State *co);
void sy_lua_leave_coroutine(lua_State *from, lua_State *former);

/// string.find, match, gmatch and gsub that can be interrupted, set in the table on top of the stack.
void sy_lua_set_pattern_functions(lua_State *L);
/// The same for the other functions of `string` that need it, patterns included, and for those of `table`.
void sy_lua_set_string_functions(lua_State *L);
void sy_lua_set_utf8_functions(lua_State *L);
void sy_lua_set_table_functions(lua_State *L);
/// Pushes the library `coroutine`: a lua_CFunction.
int sy_lua_open_coroutine(lua_State *L);

bool sy_lua_is_sandboxed(lua_State *L);

/// Gives the environment on top of the stack its own `require` and `package`.
void sy_lua_set_require(lua_State *L);

/// Replaces a field of the table on top of the stack by a closure over its former value.
void sy_lua_wrap_function(lua_State *L, const char *name, lua_CFunction function);

/// What the random numbers of the next script begin with.
uint64_t sy_vm_next_seed(sy_vm *vm);

/// Opens the standard libraries: all of them, or what is left of them in the sandbox.
void sy_lua_open_libraries(lua_State *L, bool sandboxed);

#endif
