// One Lua interpreter as Swift sees it. Nothing declared here raises a Lua error: such an error leaves by longjmp,
// which no Swift frame survives. Lua's own header stays in the C files.
#ifndef SWITCHYARD_LUA_H
#define SWITCHYARD_LUA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sy_vm sy_vm;
typedef struct lua_State sy_lua;

/// What a function of the API tells the trampoline besides a number of results.
enum {
    /// The message on top of the stack is to be raised as an error.
    SY_LUA_RAISE = -1,
    /// The hook waits: its coroutine is suspended until `sy_vm_resume`.
    SY_LUA_WAIT = -2,
    /// A function of the script's is to be called: on the stack are the function, its one argument, and the number of
    /// the API function that goes on afterwards, with the function's one result on top of what was below. The script's
    /// function may wait.
    SY_LUA_CALL = -3,
};

/// Added to a function's number where it is defined: its arguments become one string, as `print` writes them.
enum { SY_LUA_JOINED = 1 << 30 };

/// Calls the API function of this number; its arguments are the values on the stack.
typedef int (*sy_lua_dispatch)(void *context, int function, sy_lua *lua);

/// Writes a line for `print`.
typedef void (*sy_lua_printer)(void *context, const char *text, size_t length);

/// Seconds since 1970, or on a clock that never goes back.
typedef double (*sy_lua_clock)(void *context, bool monotonic);

typedef struct {
    /// Bytes that the interpreter may hold.
    size_t memory_limit;
    /// Milliseconds on the CPU that one resume may take.
    int hook_timeout;
    /// How many times that a resume may take.
    int patience;
    /// Lines of `print` begin with file and line.
    bool prints_places;
    /// Libraries that reach the system are left out.
    bool sandboxed;
    sy_lua_dispatch dispatch;
    sy_lua_printer printer;
    sy_lua_clock clock;
    /// The functions of `os` go by `clock`, not by the system's.
    bool has_clock;
    /// Unless it is 0, what chance begins with in tests: `math.random`, and hashes of strings, and with them the order of
    /// `pairs`.
    uint64_t seed;
} sy_vm_options;

/// A new interpreter with the standard libraries; NULL when there is no memory.
sy_vm *sy_vm_create(const sy_vm_options *options);
/// What `dispatch` and `printer` are handed: to be set before any script runs.
void sy_vm_set_context(sy_vm *vm, void *context);
void sy_vm_destroy(sy_vm *vm);
/// Bytes held by Lua.
size_t sy_vm_memory(const sy_vm *vm);
/// Coroutines that exist, idle ones included.
int sy_vm_coroutines(const sy_vm *vm);
/// Collects garbage in full.
void sy_vm_collect(sy_vm *vm);
/// Collects a little of it, which takes some ten microseconds. Returns whether that was the end of a round.
bool sy_vm_collect_some(sy_vm *vm);
/// Bytes that are kept for Lua though it holds none of them.
size_t sy_vm_spare_memory(const sy_vm *vm);
/// Gives those back to the system, when they are not likely to be needed soon.
void sy_vm_trim(sy_vm *vm);
/// The main state: for setting up, not for running scripts.
sy_lua *sy_vm_main(sy_vm *vm);
/// Where `require` of scripts looks, as Lua's package.path.
void sy_vm_set_path(sy_vm *vm, const char *path);
/// As `hook_timeout` and `patience` of the options.
void sy_vm_set_hook_timeout(sy_vm *vm, int milliseconds, int patience);

// MARK: Time

/// Begins to watch the calling thread: a resume that is on the CPU for longer than its interpreter's hook timeout is
/// interrupted. For each thread that runs scripts, once. 0, or an errno value.
int sy_lua_watch_thread(void);
bool sy_lua_is_thread_watched(void);
/// Ends what `sy_lua_watch_thread` began.
void sy_lua_unwatch_thread(void);

// MARK: Calls

/// How a resume ended.
enum {
    SY_CALL_RETURNED = 0,
    /// An error: its message with a traceback is the one result.
    SY_CALL_FAILED = 1,
    SY_CALL_WAITS = 2,
};

/// The payload of an object that hooks look at. Its getter, and that of its size, are answered from here without a call
/// of `sy_lua_dispatch`, while the call that it is shown to is under way.
typedef struct sy_payload {
    int type;
    uint32_t slot;
    uint32_t generation;
    const void *bytes;
    size_t size;
    /// Of the call around this one: set by `sy_vm_resume`.
    struct sy_payload *around;
} sy_payload;

/// Takes a coroutine for a call. The function and its arguments are to be pushed on its state.
int sy_vm_take(sy_vm *vm);
sy_lua *sy_vm_state(const sy_vm *vm, int coroutine);
/// Starts the call with the function and `arguments` values on the stack, or goes on with `arguments` values as what
/// the wait returned. `script` says whose `flow.ctx` is meant. `shown` may be NULL. Results are on the stack, their
/// number in `results`.
int sy_vm_resume(sy_vm *vm, int coroutine, int arguments, int script, sy_payload *shown, int *results);
/// The object has another payload now: its getters are called again.
void sy_vm_hide_payload(sy_vm *vm, int type, uint32_t slot, uint32_t generation);
/// Gives back the coroutine of a call that has returned or failed.
void sy_vm_give_back(sy_vm *vm, int coroutine);
/// Ends a call of `script` that waits: its pending `<close>` variables are closed, and the coroutine is thrown away.
/// Returns what one of them failed with, to be freed, or NULL.
char *sy_vm_cancel(sy_vm *vm, int coroutine, int script);
/// Whether the call that is under way has used up its time, by itself or by what other interpreters did within it.
bool sy_vm_is_interrupted(const sy_vm *vm);
/// The coroutine that is running, or -1.
int sy_vm_running(const sy_vm *vm);
/// The script that is running, or -1.
int sy_vm_script(const sy_vm *vm);
/// Whether the function that is being called may suspend the hook: not inside a coroutine that the script made, nor
/// inside a callback of a library function.
bool sy_lua_may_wait(sy_lua *lua);
/// The hook that runs has used up its time: whatever may loop for long in Swift asks.
bool sy_lua_interrupted(sy_lua *lua);
/// Whether `lua` is a coroutine that the script made.
bool sy_lua_in_own_coroutine(sy_lua *lua);

// MARK: Searching

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

/// Less than any result of PCRE2's.
enum { SY_SEARCH_INTERRUPTED = -1000 };

/// As pcre2_match_8, but gives up when the time of the hook that runs is over. What it was to fill in is of no use then,
/// and is to be freed.
int sy_lua_search(
    const struct pcre2_real_code_8 *code, const uint8_t *subject, size_t length, size_t start, uint32_t options,
    struct pcre2_real_match_data_8 *data, struct pcre2_real_match_context_8 *context);

// MARK: Definitions

/// Makes the function of this number a global's field: `module.name`, or the global `name` where `module` is NULL.
/// `module` may be `a.b`.
void sy_vm_define_function(sy_vm *vm, const char *module, const char *name, int function);
/// A kind of object, by a number from 1 to 31: `parts` other objects can be kept in each.
///
/// One that is a value takes no memory and has no parts of its own; two that stand for the same are equal, and as a weak key
/// of a table it is never collected.
void sy_vm_define_type(sy_vm *vm, int type, const char *name, int parts, bool is_value);
void sy_vm_define_method(sy_vm *vm, int type, const char *name, int function);
void sy_vm_define_getter(sy_vm *vm, int type, const char *name, int function);
void sy_vm_define_setter(sy_vm *vm, int type, const char *name, int function);
/// The field is an object of `part_type` for the same exchange, made when it is first read.
void sy_vm_define_part(sy_vm *vm, int type, const char *name, int part_type, int part);
/// The field is a table of the running script's own, made when it is first read.
void sy_vm_define_own_table(sy_vm *vm, int type, const char *name, int part);
/// What reads and writes fields that have no definition; 0 for none.
void sy_vm_define_dynamic(sy_vm *vm, int type, int getter, int setter);
/// Which of the getters, by their numbers, are those of `sy_payload`.
void sy_vm_define_payload(sy_vm *vm, int type, int payload, int payload_size);
/// A metamethod: of a value it is `__pairs`.
void sy_vm_define_metamethod(sy_vm *vm, int type, const char *name, int function);

// MARK: Loading

/// Pushes a fresh environment for a script: what it defines stays in it.
void sy_lua_push_environment(sy_lua *lua);
/// Compiles text and pushes the function, its globals being those of the environment at `environment` on the stack; or
/// pushes the message and returns false. `line` is the first line's number. `parameters`, such as "flow, chunk", names
/// the arguments; NULL leaves them to `...`. `name` begins with `@` for a file.
bool sy_lua_load(
    sy_lua *lua, int environment, const char *text, size_t length, const char *name, int line,
    const char *parameters);
/// The line at which the function at `index` begins, and the last one; false when it is no Lua function.
bool sy_lua_function_lines(sy_lua *lua, int index, int *first, int *last);

// MARK: Values

enum {
    SY_LUA_NONE = -1,
    SY_LUA_NIL = 0,
    SY_LUA_BOOLEAN = 1,
    SY_LUA_NUMBER = 3,
    SY_LUA_STRING = 4,
    SY_LUA_TABLE = 5,
    SY_LUA_FUNCTION = 6,
    SY_LUA_OBJECT = 7,
};

int sy_lua_top(sy_lua *lua);
void sy_lua_set_top(sy_lua *lua, int top);
int sy_lua_type(sy_lua *lua, int index);
const char *sy_lua_type_name(sy_lua *lua, int index);
/// What tells a table, a function or an object from the others of its kind; NULL for other values.
const void *sy_lua_identity(sy_lua *lua, int index);
/// Room for this many values more.
bool sy_lua_reserve(sy_lua *lua, int count);
bool sy_lua_boolean(sy_lua *lua, int index);
/// A number, or a string that reads as one.
bool sy_lua_number(sy_lua *lua, int index, double *value);
/// A number without a fraction, or a string that reads as one.
bool sy_lua_integer(sy_lua *lua, int index, int64_t *value);
/// Whether a number is kept as an integer.
bool sy_lua_is_integer(sy_lua *lua, int index);
/// A string, or a number as its text (which replaces it on the stack); else NULL. It lives as long as it is on the stack.
const char *sy_lua_string(sy_lua *lua, int index, size_t *length);
/// Of an object of this type the generation, and above its 32 bits the slot, of which there are fewer than 2³¹; -1 for
/// anything else.
int64_t sy_lua_object(sy_lua *lua, int index, int type);
/// Where a tunnel of another interpreter is listed, and the two halves of its identifier.
bool sy_lua_remote_object(
    sy_lua *lua, int index, int type, uint32_t *slot, uint32_t *list, uint64_t *first, uint64_t *second);

void sy_lua_push_nil(sy_lua *lua);
void sy_lua_push_boolean(sy_lua *lua, bool value);
void sy_lua_push_integer(sy_lua *lua, int64_t value);
void sy_lua_push_number(sy_lua *lua, double value);
void sy_lua_push_string(sy_lua *lua, const void *bytes, size_t length);
/// Pushes nil for a value whose slot has more than 26 bits.
void sy_lua_push_object(sy_lua *lua, int type, uint32_t slot, uint32_t generation);
void sy_lua_push_remote_object(
    sy_lua *lua, int type, uint32_t slot, uint32_t list, uint64_t first, uint64_t second);
/// Pushes the table that the object at `index` keeps for a script as this part, or nil when there is none yet.
void sy_lua_push_own_table(sy_lua *lua, int index, int part, int script);
/// Takes the topmost value as that.
void sy_lua_set_own_table(sy_lua *lua, int index, int part, int script);
/// Objects of one type that have others in their places, by slots and generations as `sy_lua_object` gives them; those of
/// `former` are in order.
typedef struct {
    int type;
    size_t count;
    const int64_t *former;
    const int64_t *now;
} sy_renumbering;

/// Pushes a copy of plain data, of another interpreter perhaps: what in a table is not plain is left out but for `objects`,
/// and a table that is met again is the same one in the copy. False, with nothing pushed, when nothing of it is plain, or when it is
/// too large: more than 100000 values, or more than the memory limit of `to` has room for.
bool sy_lua_copy_plain(sy_lua *from, int index, sy_lua *to, const sy_renumbering *objects);
/// The API function of this number with the `values` topmost values bound to it, which are taken off. In a call they
/// are the arguments before the caller's own.
void sy_lua_push_closure(sy_lua *lua, int function, int values);
void sy_lua_push_copy(sy_lua *lua, int index);
void sy_lua_remove(sy_lua *lua, int index);
void sy_lua_insert(sy_lua *lua, int index);
/// Moves the `count` topmost values to another state of the interpreter.
void sy_lua_move(sy_lua *from, sy_lua *to, int count);
/// Pushes `file:line: `, where the script is that called the API function.
void sy_lua_push_where(sy_lua *lua);
/// Pushes where the function at `index` begins, likewise; nothing is said of one that is not written in Lua.
void sy_lua_push_function_place(sy_lua *lua, int index);

/// Tables are read and written without their metatables.
void sy_lua_push_table(sy_lua *lua, int array, int records);
/// Pushes the value of a field and returns its type.
int sy_lua_get_field(sy_lua *lua, int table, const char *name, size_t length);
/// Takes the value on top of the stack as the field's.
void sy_lua_set_field(sy_lua *lua, int table, const char *name, size_t length);
/// Pushes what scripts' environments are copies of, by name.
void sy_lua_push_global(sy_lua *lua, const char *name);
int sy_lua_get_index(sy_lua *lua, int table, int64_t index);
void sy_lua_set_index(sy_lua *lua, int table, int64_t index);
int64_t sy_lua_length(sy_lua *lua, int table);
/// Takes the key on top of the stack, and pushes the next key and its value; false, and nothing pushed, at the end. The
/// table must not change on the way.
bool sy_lua_next(sy_lua *lua, int table);

/// Takes the table on top of the stack as the metatable of the one at `table`.
void sy_lua_set_metatable(sy_lua *lua, int table);
/// Whether the metatable of the value at `index` is the one that is kept as `reference`.
bool sy_lua_has_kept_metatable(sy_lua *lua, int index, int reference);
/// Pushes what a text in JSON says, as `sy.json.decode` does; or false, with nothing pushed, when it is none.
bool sy_lua_decode_json(sy_lua *lua, const void *text, size_t length);

/// Keeps the value on top of the stack, which is taken off, until `sy_lua_release`.
int sy_lua_keep(sy_lua *lua);
/// The same in the place of a reference that there is; and nothing there, the reference staying as it is.
void sy_lua_keep_at(sy_lua *lua, int reference);
void sy_lua_forget(sy_lua *lua, int reference);
void sy_lua_push_kept(sy_lua *lua, int reference);
void sy_lua_release(sy_lua *lua, int reference);

#endif
