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

/// Pushes a copy of what is plain data; false, with nothing pushed, for what is not, or is nested too deeply.
static bool copy_plain(lua_State *from, int index, lua_State *to, int depth) {
    if (depth == 0 || !lua_checkstack(from, 4) || !lua_checkstack(to, 4)) return false;
    switch (lua_type(from, index)) {
        case LUA_TBOOLEAN: lua_pushboolean(to, lua_toboolean(from, index)); return true;
        case LUA_TNUMBER:
            if (lua_isinteger(from, index)) {
                lua_pushinteger(to, lua_tointeger(from, index));
            } else {
                lua_pushnumber(to, lua_tonumber(from, index));
            }
            return true;
        case LUA_TSTRING: {
            size_t length;
            const char *text = lua_tolstring(from, index, &length);
            lua_pushlstring(to, text, length);
            return true;
        }
        case LUA_TTABLE:
            index = lua_absindex(from, index);
            lua_newtable(to);
            if (sy_lua_is_array(from, index)) sy_lua_mark_array(to, -1);
            lua_pushnil(from);
            while (lua_next(from, index)) {
                if (copy_plain(from, -2, to, depth - 1)) {
                    if (copy_plain(from, -1, to, depth - 1)) {
                        lua_rawset(to, -3);
                    } else {
                        lua_pop(to, 1);
                    }
                }
                lua_pop(from, 1);
            }
            return true;
        default: return false;
    }
}

/// How deep tables within tables are copied: deeper ones, and those that hold themselves, end there.
enum { COPY_DEPTH = 32 };

bool sy_lua_copy_plain(lua_State *from, int index, lua_State *to) { return copy_plain(from, index, to, COPY_DEPTH); }
