// Values of a Lua stack for Swift. Called while `must_not_fail` holds, so that none of this can run out of memory.
#include "LuaInternal.h"

int sy_lua_top(lua_State *L) { return lua_gettop(L); }
void sy_lua_set_top(lua_State *L, int top) { lua_settop(L, top); }
bool sy_lua_reserve(lua_State *L, int count) { return lua_checkstack(L, count) != 0; }

bool sy_lua_boolean(lua_State *L, int index) { return lua_toboolean(L, index) != 0; }

bool sy_lua_number(lua_State *L, int index, double *value) {
    int is_number;
    *value = lua_tonumberx(L, index, &is_number);
    return is_number != 0;
}

bool sy_lua_integer(lua_State *L, int index, int64_t *value) {
    int is_number;
    *value = lua_tointegerx(L, index, &is_number);
    return is_number != 0;
}

bool sy_lua_is_integer(lua_State *L, int index) { return lua_isinteger(L, index) != 0; }

const char *sy_lua_string(lua_State *L, int index, size_t *length) { return lua_tolstring(L, index, length); }

void sy_lua_push_nil(lua_State *L) { lua_pushnil(L); }
void sy_lua_push_boolean(lua_State *L, bool value) { lua_pushboolean(L, value); }
void sy_lua_push_integer(lua_State *L, int64_t value) { lua_pushinteger(L, value); }
void sy_lua_push_number(lua_State *L, double value) { lua_pushnumber(L, value); }
void sy_lua_push_string(lua_State *L, const void *bytes, size_t length) { lua_pushlstring(L, bytes, length); }
void sy_lua_push_copy(lua_State *L, int index) { lua_pushvalue(L, index); }
void sy_lua_remove(lua_State *L, int index) { lua_remove(L, index); }
void sy_lua_insert(lua_State *L, int index) { lua_insert(L, index); }
void sy_lua_move(lua_State *from, lua_State *to, int count) { lua_xmove(from, to, count); }
void sy_lua_push_where(lua_State *L) { luaL_where(L, 1); }

void sy_lua_push_function_place(lua_State *L, int index) {
    lua_Debug activation;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &activation);
    if (activation.linedefined > 0) {
        lua_pushfstring(L, "%s:%d: ", activation.short_src, activation.linedefined);
    } else {
        lua_pushliteral(L, "");
    }
}

void sy_lua_push_closure(lua_State *L, int function, int values) {
    lua_pushinteger(L, (lua_Integer)values << 32 | function);
    lua_insert(L, -values - 1);
    lua_pushcclosure(L, sy_lua_trampoline, values + 1);
}

void sy_lua_push_table(lua_State *L, int array, int records) { lua_createtable(L, array, records); }

int sy_lua_get_field(lua_State *L, int table, const char *name, size_t length) {
    table = lua_absindex(L, table);
    lua_pushlstring(L, name, length);
    lua_rawget(L, table);
    return sy_lua_type(L, -1);
}

void sy_lua_set_field(lua_State *L, int table, const char *name, size_t length) {
    table = lua_absindex(L, table);
    lua_pushlstring(L, name, length);
    lua_insert(L, -2);
    lua_rawset(L, table);
}

void sy_lua_push_global(lua_State *L, const char *name) {
    lua_pushglobaltable(L);
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

int sy_lua_get_index(lua_State *L, int table, int64_t index) {
    lua_rawgeti(L, table, index);
    return sy_lua_type(L, -1);
}

void sy_lua_set_index(lua_State *L, int table, int64_t index) { lua_rawseti(L, table, index); }
int64_t sy_lua_length(lua_State *L, int table) { return (int64_t)lua_rawlen(L, table); }
void sy_lua_set_metatable(lua_State *L, int table) { lua_setmetatable(L, table); }

bool sy_lua_has_kept_metatable(lua_State *L, int index, int reference) {
    if (!lua_getmetatable(L, index)) return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, reference);
    bool is_kept = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is_kept;
}

bool sy_lua_next(lua_State *L, int table) { return lua_next(L, table) != 0; }

int sy_lua_keep(lua_State *L) { return luaL_ref(L, LUA_REGISTRYINDEX); }
void sy_lua_keep_at(lua_State *L, int reference) { lua_rawseti(L, LUA_REGISTRYINDEX, reference); }

void sy_lua_forget(lua_State *L, int reference) {
    // Not nil: new references are made behind the last one that is none.
    lua_pushboolean(L, false);
    lua_rawseti(L, LUA_REGISTRYINDEX, reference);
}

void sy_lua_push_kept(lua_State *L, int reference) { lua_rawgeti(L, LUA_REGISTRYINDEX, reference); }
void sy_lua_release(lua_State *L, int reference) { luaL_unref(L, LUA_REGISTRYINDEX, reference); }

// MARK: Copies of plain data

/// How many values a copy may have: making it holds up the worker.
enum { COPY_VALUES = 100000 };

/// A copy that is being made. `seen` is a list, on the stack of `from`, of the tables that were found, which has the
/// position of each as well, by the table; `made`, on the stack of `to`, is a list of what each has become. So a table
/// is copied once, however often it is met and though it holds itself, and without recursion.
typedef struct {
    lua_State *from;
    lua_State *to;
    const sy_renumbering *objects;
    int seen;
    int made;
    lua_Integer tables;
    int values;
} copying;

typedef enum { COPIED, LEFT_OUT, TOO_LARGE } copy_result;

/// The copy is no memory that the limit of scripts does not know of. Called while nothing may fail.
static bool has_room(lua_State *L, size_t size) {
    const sy_memory *memory = sy_lua_memory(L);
    return size <= memory->limit && memory->used <= memory->limit - size;
}

/// Pushes the table that stands for the one at `index`, which is filled in its turn.
static copy_result copy_table(copying *copy, int index) {
    lua_State *from = copy->from, *to = copy->to;
    index = lua_absindex(from, index);
    lua_pushvalue(from, index);
    lua_rawget(from, copy->seen);
    lua_Integer known = lua_tointeger(from, -1);
    lua_pop(from, 1);
    if (known > 0) {
        lua_rawgeti(to, copy->made, known);
        return COPIED;
    }
    if (!has_room(to, 0)) return TOO_LARGE;
    copy->tables++;
    lua_pushvalue(from, index);
    lua_pushinteger(from, copy->tables);
    lua_rawset(from, copy->seen);
    lua_pushvalue(from, index);
    lua_rawseti(from, copy->seen, copy->tables);
    lua_newtable(to);
    if (sy_lua_is_array(from, index)) sy_lua_mark_array(to, -1);
    lua_pushvalue(to, -1);
    lua_rawseti(to, copy->made, copy->tables);
    return COPIED;
}

/// Pushes the object that stands for the one at `index`, if there is one.
static copy_result copy_object(copying *copy, int index) {
    const sy_renumbering *objects = copy->objects;
    int64_t number = sy_lua_object(copy->from, index, objects->type);
    // In the order of their numbers.
    size_t first = 0, last = objects->count;
    while (number >= 0 && first < last) {
        size_t middle = first + (last - first) / 2;
        if (objects->former[middle] == number) {
            if (!has_room(copy->to, 0)) return TOO_LARGE;
            int64_t becomes = objects->now[middle];
            sy_lua_push_object(copy->to, objects->type, (uint32_t)(becomes >> 32), (uint32_t)becomes);
            return COPIED;
        }
        if (objects->former[middle] < number) first = middle + 1;
        else last = middle;
    }
    return LEFT_OUT;
}

/// Pushes a copy of the value, if it is plain.
static copy_result copy_value(copying *copy, int index) {
    lua_State *from = copy->from, *to = copy->to;
    switch (lua_type(from, index)) {
        case LUA_TBOOLEAN: lua_pushboolean(to, lua_toboolean(from, index)); return COPIED;
        case LUA_TNUMBER:
            if (lua_isinteger(from, index)) {
                lua_pushinteger(to, lua_tointeger(from, index));
            } else {
                lua_pushnumber(to, lua_tonumber(from, index));
            }
            return COPIED;
        case LUA_TSTRING: {
            size_t length;
            const char *text = lua_tolstring(from, index, &length);
            if (!has_room(to, length)) return TOO_LARGE;
            lua_pushlstring(to, text, length);
            return COPIED;
        }
        case LUA_TLIGHTUSERDATA:
            // JSON's null and its empty array, which are the same everywhere: scripts get no others.
            lua_pushlightuserdata(to, lua_touserdata(from, index));
            return COPIED;
        case LUA_TTABLE: return copy_table(copy, index);
        case LUA_TUSERDATA: return copy_object(copy, index);
        default: return LEFT_OUT;
    }
}

/// Copies what the table on top of the stack of `from` has to the one on top of that of `to`.
static bool copy_entries(copying *copy) {
    lua_State *from = copy->from, *to = copy->to;
    lua_pushnil(from);
    while (lua_next(from, -2)) {
        if (++copy->values > COPY_VALUES) return false;
        copy_result key = copy_value(copy, -2);
        copy_result value = key == COPIED ? copy_value(copy, -1) : key;
        if (value == COPIED) {
            lua_rawset(to, -3);
        } else if (value == TOO_LARGE) {
            return false;
        } else if (key == COPIED) {
            lua_pop(to, 1);
        }
        lua_pop(from, 1);
    }
    return true;
}

bool sy_lua_copy_plain(lua_State *from, int index, lua_State *to, const sy_renumbering *objects) {
    if (!lua_checkstack(from, 8) || !lua_checkstack(to, 8)) return false;
    int from_top = lua_gettop(from), to_top = lua_gettop(to);
    index = lua_absindex(from, index);
    lua_newtable(from);
    lua_newtable(to);
    copying copy = {from, to, objects, from_top + 1, to_top + 1, 0, 0};
    bool is_whole = copy_value(&copy, index) == COPIED;
    for (lua_Integer table = 1; is_whole && table <= copy.tables; table++) {
        lua_rawgeti(from, copy.seen, table);
        lua_rawgeti(to, copy.made, table);
        is_whole = copy_entries(&copy);
        if (is_whole) {
            lua_pop(from, 1);
            lua_pop(to, 1);
        }
    }
    lua_settop(from, from_top);
    if (is_whole) lua_replace(to, to_top + 1);
    lua_settop(to, is_whole ? to_top + 1 : to_top);
    return is_whole;
}
