// The interpreter: its memory, its coroutines, its time, and the way into Swift and back.
#define _GNU_SOURCE
#include "LuaInternal.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// MARK: Time

/// Milliseconds of a thread's CPU time between two looks at what it does. A hook's timeout is measured in these.
enum { TICK = 5 };

/// The interpreter that runs, and the one whose call all that is part of: a test's, where it is not itself that runs.
static _Thread_local sy_vm *volatile entered;
static _Thread_local sy_vm *volatile outermost;
static _Thread_local timer_t thread_timer;
static _Thread_local bool has_thread_timer;

static void interrupt(lua_State *L, lua_Debug *activation);

/// On every instruction from now on: `pcall` in a loop does not outlive that.
static void arm(lua_State *L) { lua_sethook(L, interrupt, LUA_MASKCOUNT, 1); }

/// Raises the error; where it happened is on top of the stack.
static _Noreturn void raise_interrupt(lua_State *L) {
    sy_vm *vm = sy_vm_of(L);
    lua_pushliteral(L, "interrupted: on the CPU for longer than ");
    if (vm->patience > 1) {
        lua_pushfstring(L, "%d times ", vm->patience);
        lua_concat(L, 2);
    }
    lua_pushfstring(L, "lua_hook_timeout, %d ms", vm->hook_timeout);
    lua_concat(L, 3);
    lua_error(L);
    abort();
}

static void interrupt(lua_State *L, lua_Debug *activation) {
    // A coroutine of the script's own may have been armed in a call that is over.
    if (!sy_lua_interrupted(L)) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    // The activation is the function that was interrupted, which for luaL_where is level 0, not 1.
    lua_getinfo(L, "Sl", activation);
    lua_pushfstring(L, "%s:%d: ", activation->short_src, activation->currentline);
    raise_interrupt(L);
}

/// Raises an error in place of the next instruction, once.
static void overflow(lua_State *L, lua_Debug *activation) {
    sy_vm *vm = sy_vm_of(L);
    if (vm->interrupted) {
        arm(L);
    } else {
        lua_sethook(L, NULL, 0, 0);
    }
    if (!vm->memory.stack_is_deep) return;
    vm->memory.stack_is_deep = false;
    lua_getinfo(L, "Sl", activation);
    lua_pushfstring(
        L, "%s:%d: stack overflow: calls within calls are nested too deeply", activation->short_src,
        activation->currentline);
    lua_error(L);
}

/// In the middle of an allocation, where nothing may be raised; lua_sethook is made to be called at any time.
static void stack_grew(void *context) {
    sy_vm *vm = context;
    if (vm->running != NULL && !vm->interrupted) lua_sethook(vm->running, overflow, LUA_MASKCOUNT, 1);
}

/// As above.
static void allocation_refused(void *context, bool is_new) {
    sy_vm *vm = context;
    vm->refusal_serial = vm->serial;
    vm->refusal_place[0] = vm->refusal_traceback[0] = '\0';
    // Versions after 5.4.4 turn the pointers into a stack to offsets while that is made larger in place.
    if (vm->running == NULL || (LUA_VERSION_RELEASE_NUM > 50404 && !is_new)) return;
    sy_lua_note_stack(
        vm->running, vm->refusal_place, vm->refusal_traceback, sizeof vm->refusal_traceback);
}

sy_memory *sy_lua_memory(lua_State *L) { return &sy_vm_of(L)->memory; }

bool sy_lua_interrupted(lua_State *L) { return sy_vm_of(L)->interrupted; }

_Noreturn void sy_lua_raise_interrupt(lua_State *L) {
    luaL_where(L, 1);
    raise_interrupt(L);
}

/// Whether that was the last tick of the interpreter's call. lua_sethook is made to be called from here.
static bool use_up_tick(sy_vm *vm) {
    if (vm->interrupted) return false;
    if (vm->seen_serial != vm->serial) {
        vm->seen_serial = vm->serial;
        vm->ticks = 0;
        return false;
    }
    vm->ticks += 1;
    if (vm->ticks < vm->allowed_ticks) return false;
    vm->interrupted = true;
    if (vm->running != NULL) arm(vm->running);
    return true;
}

/// Runs on the worker's own thread, whose CPU time drives the timer, so nothing of the interpreters moves meanwhile. What
/// stands between the two of them does not pay for what it is answered with.
static void tick(int signal_number) {
    (void)signal_number;
    if (entered == NULL) return;
    if (outermost != entered) use_up_tick(outermost);
    if (use_up_tick(entered)) sy_lua_leave_search();
}

static void install_handler(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = tick;
    action.sa_flags = SA_RESTART;
    sigaction(SIGVTALRM, &action, NULL);
}

int sy_lua_watch_thread(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (has_thread_timer) return 0;
    pthread_once(&once, install_handler);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGVTALRM);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);

    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGVTALRM;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &thread_timer) != 0) return errno;
    struct itimerspec interval = {
        .it_interval = {.tv_nsec = TICK * 1000000},
        .it_value = {.tv_nsec = TICK * 1000000},
    };
    if (timer_settime(thread_timer, 0, &interval, NULL) != 0) {
        int code = errno;
        timer_delete(thread_timer);
        return code;
    }
    has_thread_timer = true;
    return 0;
}

bool sy_lua_is_thread_watched(void) { return has_thread_timer; }

void sy_lua_unwatch_thread(void) {
    if (!has_thread_timer) return;
    timer_delete(thread_timer);
    has_thread_timer = false;
}

// MARK: Into Swift

static int go_on(lua_State *L, int status, lua_KContext function) {
    (void)status;
    return sy_lua_call(L, (int)function);
}

int sy_lua_call(lua_State *L, int function) {
    sy_vm *vm = sy_vm_of(L);
    for (;;) {
        bool former = vm->memory.must_not_fail;
        vm->memory.must_not_fail = true;
        int result = vm->dispatch(vm->context, function, L);
        vm->memory.must_not_fail = former;
        if (!former && sy_memory_is_over_limit(&vm->memory)) {
            lua_gc(L, LUA_GCCOLLECT);
            if (sy_memory_is_over_limit(&vm->memory)) sy_lua_raise_memory(L);
        }
        if (result >= 0) return result;
        if (result == SY_LUA_WAIT) return lua_yield(L, 0);
        if (result != SY_LUA_CALL) return lua_error(L);
        function = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
        lua_callk(L, 1, 1, function, go_on);
    }
}

#define OUT_OF_MEMORY "not enough memory: lua_memory_limit allows %I bytes"

void sy_lua_raise_memory(lua_State *L) {
    luaL_error(L, OUT_OF_MEMORY, (LUAI_UACINT)sy_vm_of(L)->memory.limit);
    abort();
}

/// Makes more of Lua's own message on top of the stack, which comes without a place or a traceback: for those there may
/// be no memory.
static void describe_refusal(lua_State *L) {
    sy_vm *vm = sy_vm_of(L);
    // A script may raise Lua's own message where nothing was refused.
    bool is_known = vm->refusal_serial == vm->serial;
    bool former = vm->memory.must_not_fail;
    bool collects = lua_gc(L, LUA_GCISRUNNING) != 0;
    // The text is let through, but nothing else that might be done meanwhile, such as finalisers.
    if (collects) lua_gc(L, LUA_GCSTOP);
    vm->memory.must_not_fail = true;
    lua_pushfstring(
        L, "%s" OUT_OF_MEMORY "%s", is_known ? vm->refusal_place : "", (LUAI_UACINT)vm->memory.limit,
        is_known ? vm->refusal_traceback : "");
    vm->refusal_place[0] = vm->refusal_traceback[0] = '\0';
    vm->memory.must_not_fail = former;
    if (collects) lua_gc(L, LUA_GCRESTART);
    lua_replace(L, -2);
}

/// Pushes the arguments as one line.
static void join(lua_State *L) {
    int count = lua_gettop(L);
    luaL_Buffer line;
    luaL_buffinit(L, &line);
    for (int index = 1; index <= count; index++) {
        if (index > 1) luaL_addchar(&line, '\t');
        luaL_tolstring(L, index, NULL);
        sy_lua_add_value(&line);
    }
    luaL_pushresult(&line);
}

/// The one function behind all of the API. Upvalue 1: its number, and above it how many values are bound to it, which
/// are the upvalues that follow.
int sy_lua_trampoline(lua_State *L) {
    lua_Integer packed = lua_tointeger(L, lua_upvalueindex(1));
    int bound = (int)(packed >> 32);
    for (int index = 0; index < bound; index++) {
        lua_pushvalue(L, lua_upvalueindex(2 + index));
        lua_insert(L, index + 1);
    }
    if (packed & SY_LUA_JOINED) join(L);
    return sy_lua_call(L, (int)(packed & (SY_LUA_JOINED - 1)));
}

bool sy_lua_own_clock(lua_State *L, bool monotonic, double *seconds) {
    sy_vm *vm = sy_vm_of(L);
    if (vm->clock == NULL) return false;
    *seconds = vm->clock(vm->context, monotonic);
    return true;
}

int sy_lua_print(lua_State *L) {
    sy_vm *vm = sy_vm_of(L);
    join(L);
    if (vm->prints_places) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    vm->printer(vm->context, text, length);
    return 0;
}

// MARK: Calls

/// What those are told who use the name of another product's, of another Lua's, or of what the sandbox leaves out; NULL
/// unless the message is of one of them.
static const char *advice(const char *message, size_t length) {
#define FROM(product) "there is no such table here, see \"From " product "\" in docs/scripting.md"
#define SANDBOX "not for scripts, unless lua_sandbox is off"
    static const struct {
        const char *fault, *advice;
    } table[] = {
        {"attempt to index a nil value (global 'ngx')", FROM("OpenResty")},
        {"attempt to index a nil value (upvalue 'ngx')", FROM("OpenResty")},
        {"attempt to index a nil value (local 'ngx')", FROM("OpenResty")},
        {"attempt to index a nil value (global 'core')", FROM("HAProxy")},
        {"attempt to index a nil value (global 'txn')", FROM("HAProxy")},
        {"attempt to call a nil value (global 'unpack')", "Lua 5.4 has table.unpack"},
        {"attempt to call a nil value (field 'getn')", "Lua 5.4 has the operator #"},
        {"attempt to call a nil value (global 'loadstring')", "Lua 5.4 has load"},
        {"attempt to call a nil value (global 'setfenv')", "Lua 5.4 has environments of load alone"},
        {"attempt to index a nil value (global 'bit')", "Lua 5.4 has the operators & | ~ << >>"},
        {"attempt to index a nil value (global 'bit32')", "Lua 5.4 has the operators & | ~ << >>"},
        {"attempt to call a nil value (field 'err')", "the levels of sy.log are debug, info, warn and error"},
        {"attempt to call a nil value (field 'notice')", "the levels of sy.log are debug, info, warn and error"},
        {"attempt to index a nil value (global 'io')", SANDBOX},
        {"attempt to call a nil value (field 'getinfo')", SANDBOX},
        {"attempt to call a nil value (global 'dofile')", SANDBOX},
        {"attempt to call a nil value (global 'loadfile')", SANDBOX},
        {"attempt to call a nil value (field 'execute')", SANDBOX},
        {"attempt to call a nil value (field 'getenv')", SANDBOX},
    };
#undef FROM
#undef SANDBOX
    for (size_t index = 0; index < sizeof table / sizeof *table; index++) {
        if (memmem(message, length, table[index].fault, strlen(table[index].fault)) != NULL) return table[index].advice;
    }
    return NULL;
}

/// Bytes of an error's own text: a log has room for that and for the traceback, which says more than the rest of it.
enum { LONGEST_ERROR = 8192 };

/// Cuts the text at 1, of `length` bytes, where it is longer than that, and says so.
static void shorten_error(lua_State *L, size_t length) {
    if (length <= LONGEST_ERROR) return;
    const char *message = lua_tostring(L, 1);
    size_t kept = LONGEST_ERROR;
    // No character is cut.
    while (kept > LONGEST_ERROR - 4 && ((unsigned char)message[kept] & 0xc0) == 0x80) kept--;
    lua_pushlstring(L, message, kept);
    lua_pushfstring(L, "... (cut, %I bytes in all)", (LUAI_UACINT)length);
    lua_concat(L, 2);
    lua_replace(L, 1);
}

/// Turns whatever was raised into a text with a traceback.
static int describe_error(lua_State *L) {
    if (lua_type(L, 1) == LUA_TNUMBER) {
        lua_tolstring(L, 1, NULL);
    } else if (lua_type(L, 1) != LUA_TSTRING) {
        if (!luaL_callmeta(L, 1, "__tostring") || lua_type(L, -1) != LUA_TSTRING) {
            lua_pushfstring(L, "error object is a %s value", luaL_typename(L, 1));
        }
        lua_replace(L, 1);
        lua_settop(L, 1);
    }
    size_t length;
    const char *message = lua_tolstring(L, 1, &length);
    const char *words = advice(message, length);
    if (words != NULL) {
        lua_pushfstring(L, ": %s", words);
        lua_concat(L, 2);
        message = lua_tolstring(L, 1, &length);
    }
    shorten_error(L, length);
    message = lua_tolstring(L, 1, &length);
    sy_lua_push_traceback(L, L, message, length, 1);
    return 1;
}

static int finish(lua_State *L, int status, lua_KContext context) {
    (void)context;
    sy_vm_of(L)->failed = status != LUA_OK && status != LUA_YIELD;
    if (status == LUA_ERRMEM) describe_refusal(L);
    return lua_gettop(L) - 1;
}

/// What each of our coroutines runs, with `describe_error`, the hook's function and its arguments. The call is protected in
/// here, so the coroutine always ends by returning, can be used again, and has its hooks enabled (5.4.4 leaves them disabled
/// in a coroutine that ended by an error in one).
static int body(lua_State *L) {
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, finish);
    return finish(L, status, 0);
}

/// A position where there is no coroutine.
static int take_vacant(sy_vm *vm) {
    if (vm->vacant_count > 0) return vm->vacant[--vm->vacant_count];
    if (vm->coroutine_count == vm->coroutine_capacity) {
        int capacity = vm->coroutine_capacity == 0 ? 16 : vm->coroutine_capacity * 2;
        vm->coroutines = sy_must_reallocate(vm->coroutines, (size_t)capacity * sizeof *vm->coroutines);
        vm->vacant = sy_must_reallocate(vm->vacant, (size_t)capacity * sizeof *vm->vacant);
        vm->coroutine_capacity = capacity;
    }
    vm->coroutines[vm->coroutine_count] = (sy_coroutine){.reference = LUA_NOREF};
    return vm->coroutine_count++;
}

int sy_vm_take(sy_vm *vm) {
    bool makes = vm->idle_count == 0;
    int index = makes ? take_vacant(vm) : vm->idle[--vm->idle_count];
    sy_coroutine *taken = &vm->coroutines[index];
    if (makes) {
        taken->state = lua_newthread(vm->main);
        taken->reference = luaL_ref(vm->main, LUA_REGISTRYINDEX);
        vm->live_coroutines += 1;
    }
    lua_pushcfunction(taken->state, body);
    lua_pushcfunction(taken->state, describe_error);
    return index;
}

lua_State *sy_vm_state(const sy_vm *vm, int index) { return vm->coroutines[index].state; }

static void discard(sy_vm *vm, int index) {
    sy_coroutine *taken = &vm->coroutines[index];
    luaL_unref(vm->main, LUA_REGISTRYINDEX, taken->reference);
    taken->reference = LUA_NOREF;
    taken->state = NULL;
    taken->waits = false;
    vm->live_coroutines -= 1;
    vm->vacant[vm->vacant_count++] = index;
}

void sy_vm_give_back(sy_vm *vm, int index) {
    if (vm->idle_count == SY_MAX_IDLE) {
        discard(vm, index);
        return;
    }
    sy_coroutine *taken = &vm->coroutines[index];
    lua_settop(taken->state, 0);
    taken->waits = false;
    vm->idle[vm->idle_count++] = index;
}

typedef struct {
    lua_State *running;
    int index;
    int script;
    bool must_not_fail;
    /// The interpreter in a call of which this one is made, this one perhaps.
    sy_vm *around;
} activation;

static activation enter(sy_vm *vm, lua_State *state, int index, int script) {
    activation former = {vm->running, vm->running_index, vm->running_script, vm->memory.must_not_fail, entered};
    vm->running_index = index;
    vm->running_script = script;
    vm->running = state;
    if (former.running == NULL) vm->serial += 1;
    // The tick looks at the outermost where something runs.
    if (former.around == NULL) outermost = vm;
    entered = vm;
    vm->memory.must_not_fail = false;
    // Time that is used up is so for calls within the call, too.
    if (vm->interrupted) arm(state);
    return former;
}

static void leave(sy_vm *vm, lua_State *state, activation former) {
    vm->memory.must_not_fail = former.must_not_fail;
    vm->running_index = former.index;
    vm->running_script = former.script;
    vm->running = former.running;
    entered = former.around;
    vm->memory.stack_is_deep = false;
    if (!vm->interrupted) return;
    lua_sethook(state, NULL, 0, 0);
    if (former.running == NULL) {
        vm->interrupted = false;
    } else {
        // The call around this one has used up its time with it.
        arm(former.running);
    }
}

int sy_vm_resume(sy_vm *vm, int index, int arguments, int script, sy_payload *shown, int *results) {
    lua_State *state = vm->coroutines[index].state;
    // What `sy_vm_take` has put below, but for the body itself.
    if (!vm->coroutines[index].waits) arguments += 2;
    lua_State *from = vm->running;
    activation former = enter(vm, state, index, script);
    vm->failed = false;
    if (shown != NULL) {
        shown->around = vm->shown;
        vm->shown = shown;
    }
    int status = lua_resume(state, from, arguments, results);
    if (shown != NULL) vm->shown = shown->around;
    leave(vm, state, former);
    // Reallocated by a call within this one, perhaps.
    sy_coroutine *taken = &vm->coroutines[index];
    taken->waits = status == LUA_YIELD;
    if (status == LUA_YIELD) return SY_CALL_WAITS;
    if (status == LUA_OK) return vm->failed ? SY_CALL_FAILED : SY_CALL_RETURNED;
    // Only the body's own few calls are outside of its protected one: memory ran out before it began, or calls within
    // calls are nested too deeply.
    *results = 1;
    lua_State *fresh = lua_newthread(vm->main);
    int reference = luaL_ref(vm->main, LUA_REGISTRYINDEX);
    lua_xmove(state, fresh, 1);
    if (status == LUA_ERRMEM) describe_refusal(fresh);
    luaL_unref(vm->main, LUA_REGISTRYINDEX, taken->reference);
    taken->state = fresh;
    taken->reference = reference;
    return SY_CALL_FAILED;
}

void sy_vm_hide_payload(sy_vm *vm, int type, uint32_t slot, uint32_t generation) {
    for (sy_payload *shown = vm->shown; shown != NULL; shown = shown->around) {
        // No object is of type 0.
        if (shown->type == type && shown->slot == slot && shown->generation == generation) shown->type = 0;
    }
}

char *sy_vm_cancel(sy_vm *vm, int index, int script) {
    lua_State *state = vm->coroutines[index].state;
    activation former = enter(vm, state, index, script);
    int status = lua_resetthread(state);
    leave(vm, state, former);
    char *message = NULL;
    if (status != LUA_OK) {
        // A value of another type could have a metamethod to be shown by, which nothing would catch an error of.
        const char *text = lua_type(state, -1) == LUA_TSTRING ? lua_tostring(state, -1) : luaL_typename(state, -1);
        size_t size = strlen(text) + 1;
        message = memcpy(sy_must_reallocate(NULL, size), text, size);
    }
    discard(vm, index);
    return message;
}

bool sy_vm_is_interrupted(const sy_vm *vm) { return vm->interrupted; }

int sy_vm_running(const sy_vm *vm) { return vm->running == NULL ? -1 : vm->running_index; }

int sy_lua_running_script(lua_State *L) { return sy_vm_script(sy_vm_of(L)); }
int sy_vm_script(const sy_vm *vm) { return vm->running == NULL ? -1 : vm->running_script; }

lua_State *sy_lua_enter_coroutine(lua_State *from, lua_State *co) {
    sy_vm *vm = sy_vm_of(from);
    lua_State *former = vm->running;
    vm->running = co;
    return former;
}

void sy_lua_leave_coroutine(lua_State *from, lua_State *former) {
    sy_vm *vm = sy_vm_of(from);
    vm->running = former;
    if (vm->interrupted && former != NULL) arm(former);
}

bool sy_lua_in_own_coroutine(lua_State *L) {
    sy_vm *vm = sy_vm_of(L);
    return vm->running == NULL || L != vm->coroutines[vm->running_index].state;
}

bool sy_lua_may_wait(lua_State *L) { return !sy_lua_in_own_coroutine(L) && lua_isyieldable(L); }

// MARK: The interpreter

static int give_up(lua_State *L) {
    const char *message = lua_tostring(L, -1);
    fprintf(stderr, "switchyard: an error left Lua: %s\n", message == NULL ? "(no message)" : message);
    abort();
}

/// Messages that Lua makes while nothing is protected: were there no memory for one then, the process would end. A
/// string that exists is found, not made again.
static void keep_messages(lua_State *L) {
    static const char key = 'm';
    static const char *const messages[] = {
        "cannot resume dead coroutine", "cannot resume non-suspended coroutine", "C stack overflow",
        "error in error handling",
    };
    lua_newtable(L);
    for (size_t index = 0; index < sizeof messages / sizeof *messages; index++) {
        lua_pushstring(L, messages[index]);
        lua_rawseti(L, -2, (lua_Integer)index + 1);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
}

/// Of the interpreter that is being made: see `sy_vm_options`.
static _Thread_local uint64_t given_seed;

static uint64_t chance(void) {
    uint64_t value;
    return getrandom(&value, sizeof value, 0) == sizeof value ? value : (uint64_t)time(NULL);
}

/// What hashes begin with: Lua asks for it, as `scripts/build-lua` has it do.
unsigned int sy_lua_make_seed(void) { return (unsigned int)(given_seed != 0 ? given_seed : chance()); }

uint64_t sy_vm_next_seed(sy_vm *vm) { return vm->seed != 0 ? vm->seed++ : chance(); }

static int open_everything(lua_State *L) {
    keep_messages(L);
    bool sandboxed = lua_toboolean(L, 1);
    sy_lua_open_libraries(L, sandboxed);
    sy_lua_open_module(L, sandboxed);
    return 0;
}

void sy_vm_set_hook_timeout(sy_vm *vm, int milliseconds, int patience) {
    vm->hook_timeout = milliseconds;
    vm->patience = patience;
    if (milliseconds > INT_MAX / patience) milliseconds = INT_MAX / patience;
    milliseconds *= patience;
    vm->allowed_ticks = milliseconds / TICK + (milliseconds % TICK != 0);
    if (vm->allowed_ticks < 1) vm->allowed_ticks = 1;
}

sy_vm *sy_vm_create(const sy_vm_options *options) {
    sy_vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL) return NULL;
    vm->dispatch = options->dispatch;
    vm->printer = options->printer;
    vm->clock = options->has_clock ? options->clock : NULL;
    vm->prints_places = options->prints_places;
    sy_vm_set_hook_timeout(vm, options->hook_timeout, options->patience);
    vm->running_index = -1;
    vm->running_script = -1;
    vm->memory.limit = options->memory_limit;
    vm->memory.stack_grew = stack_grew;
    vm->memory.refused = allocation_refused;
    vm->memory.context = vm;
    vm->seed = given_seed = options->seed;
    vm->main = lua_newstate(sy_memory_allocate, &vm->memory);
    if (vm->main == NULL) {
        free(vm);
        return NULL;
    }
    *(sy_vm **)lua_getextraspace(vm->main) = vm;
    lua_atpanic(vm->main, give_up);
    lua_pushcfunction(vm->main, open_everything);
    lua_pushboolean(vm->main, options->sandboxed);
    if (lua_pcall(vm->main, 1, 0, 0) != LUA_OK) {
        sy_vm_destroy(vm);
        return NULL;
    }
    vm->memory.must_not_fail = true;
    return vm;
}

void sy_vm_set_context(sy_vm *vm, void *context) { vm->context = context; }

void sy_vm_destroy(sy_vm *vm) {
    // Not under must_not_fail: what a finaliser of a library does has to fit the limit, and may fail.
    vm->memory.must_not_fail = false;
    lua_close(vm->main);
    sy_memory_free(&vm->memory);
    free(vm->coroutines);
    free(vm->vacant);
    free(vm);
}

size_t sy_vm_memory(const sy_vm *vm) { return vm->memory.used; }
int sy_vm_coroutines(const sy_vm *vm) { return vm->live_coroutines; }
void sy_vm_collect(sy_vm *vm) { lua_gc(vm->main, LUA_GCCOLLECT); }
size_t sy_vm_spare_memory(const sy_vm *vm) { return sy_memory_spare(&vm->memory); }
void sy_vm_trim(sy_vm *vm) { sy_memory_trim(&vm->memory); }
bool sy_vm_collect_some(sy_vm *vm) { return lua_gc(vm->main, LUA_GCSTEP, 0) != 0; }
lua_State *sy_vm_main(sy_vm *vm) { return vm->main; }
