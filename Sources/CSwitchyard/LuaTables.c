// Functions of `table` that, as Lua has them, may loop for hours without running an instruction of Lua's,
// where no hook interrupts them: over a length that a metamethod made up, or over an argument that is merely a number.
// These ask in each round whether the hook's time is up.
#include "LuaInternal.h"

#include <string.h>

// MARK: insert, remove, move, concat

/// What a function does with its table: a value that is none has to have the metamethods for it.
enum { READS = 1, WRITES = 2, MEASURES = 4 };

static void check_table(lua_State *L, int argument, int operations) {
    static const struct {
        int operation;
        const char *event;
    } events[] = {{READS, "__index"}, {WRITES, "__newindex"}, {MEASURES, "__len"}};
    if (lua_istable(L, argument)) return;
    for (size_t index = 0; index < sizeof events / sizeof *events; index++) {
        if ((operations & events[index].operation) == 0) continue;
        if (luaL_getmetafield(L, argument, events[index].event) == LUA_TNIL) luaL_checktype(L, argument, LUA_TTABLE);
        else lua_pop(L, 1);
    }
}

static lua_Integer check_length(lua_State *L, int argument, int operations) {
    check_table(L, argument, operations | MEASURES);
    return luaL_len(L, argument);
}

/// table at `to` [target] = table at 1 [source]
static void move_element(lua_State *L, lua_Integer source, int to, lua_Integer target) {
    sy_lua_poll(L);
    lua_geti(L, 1, source);
    lua_seti(L, to, target);
}

/// A position from 1 to `last`; unsigned, so that no length overflows.
static bool is_position(lua_Integer position, lua_Unsigned last) { return (lua_Unsigned)position - 1 < last; }

static int table_insert(lua_State *L) {
    // Where the length is the largest integer there is, this wraps as it does in Lua.
    lua_Integer next = (lua_Integer)((lua_Unsigned)check_length(L, 1, READS | WRITES) + 1);
    lua_Integer position = next;
    switch (lua_gettop(L)) {
    case 2: break;
    case 3:
        position = luaL_checkinteger(L, 2);
        luaL_argcheck(L, is_position(position, (lua_Unsigned)next), 2, "position out of bounds");
        for (lua_Integer index = next; index > position; index--) move_element(L, index - 1, 1, index);
        break;
    default: return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, position);
    return 0;
}

static int table_remove(lua_State *L) {
    lua_Integer length = check_length(L, 1, READS | WRITES);
    lua_Integer position = luaL_optinteger(L, 2, length);
    if (position != length) {
        luaL_argcheck(L, is_position(position, (lua_Unsigned)length + 1), 2, "position out of bounds");
    }
    lua_geti(L, 1, position);
    for (; position < length; position++) move_element(L, position + 1, 1, position);
    lua_pushnil(L);
    lua_seti(L, 1, position);
    return 1;
}

static int table_move(lua_State *L) {
    lua_Integer first = luaL_checkinteger(L, 2);
    lua_Integer last = luaL_checkinteger(L, 3);
    lua_Integer target = luaL_checkinteger(L, 4);
    int to = lua_isnoneornil(L, 5) ? 1 : 5;
    check_table(L, 1, READS);
    check_table(L, to, WRITES);
    if (last >= first) {
        luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3, "too many elements to move");
        lua_Integer count = last - first + 1;
        luaL_argcheck(L, target <= LUA_MAXINTEGER - count + 1, 4, "destination wrap around");
        bool overlaps = target > first && target <= last && (to == 1 || lua_compare(L, 1, to, LUA_OPEQ));
        for (lua_Integer moved = 0; moved < count; moved++) {
            // An element is read before another one is moved over it.
            lua_Integer offset = overlaps ? count - 1 - moved : moved;
            move_element(L, first + offset, to, target + offset);
        }
    }
    lua_pushvalue(L, to);
    return 1;
}

static void add_element(lua_State *L, luaL_Buffer *text, lua_Integer index) {
    sy_lua_poll(L);
    lua_geti(L, 1, index);
    if (!lua_isstring(L, -1)) {
        luaL_error(
            L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1), (LUAI_UACINT)index);
    }
    sy_lua_add_value(text);
}

static int table_concat(lua_State *L) {
    lua_Integer last = check_length(L, 1, READS);
    size_t separator_length;
    const char *separator = luaL_optlstring(L, 2, "", &separator_length);
    lua_Integer index = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, last);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (; index < last; index++) {
        add_element(L, &text, index);
        sy_lua_add_text(&text, separator, separator_length);
    }
    if (index == last) add_element(L, &text, index);
    luaL_pushresult(&text);
    return 1;
}

// MARK: sort

/// Lists up to these are sorted in less than the time between two looks at the clock, whatever their order.
enum { SHORT_LIST = 500, SHORT_LIST_TEXT = 16 * 1024 };

/// Whether the list at 1 has few elements, which are compared fast.
static bool is_short_list(lua_State *L) {
    if (!lua_istable(L, 1) || lua_rawlen(L, 1) > SHORT_LIST) return false;
    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        if (!sy_lua_is_array(L, 1)) return false;
    }
    size_t text = 0;
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
    for (lua_Integer index = 1; index <= count; index++) {
        int type = lua_rawgeti(L, 1, index);
        if (type == LUA_TSTRING) text += lua_rawlen(L, -1);
        lua_pop(L, 1);
        if ((type != LUA_TSTRING && type != LUA_TNUMBER) || text > SHORT_LIST_TEXT) return false;
    }
    return true;
}

static int is_less(lua_State *L) {
    sy_lua_poll(L);
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

/// Upvalue 1: an order that is a function in C.
static int is_less_by_function(lua_State *L) {
    sy_lua_poll(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

/// Upvalue 1: Lua's own, which is given an order that asks. One in Lua is interrupted by itself.
static int table_sort(lua_State *L) {
    lua_CFunction sort = lua_tocfunction(L, lua_upvalueindex(1));
    if (lua_isnoneornil(L, 2)) {
        if (lua_gettop(L) == 0 || is_short_list(L)) return sort(L);
        lua_settop(L, 1);
        lua_pushcfunction(L, is_less);
    } else if (lua_iscfunction(L, 2)) {
        lua_settop(L, 2);
        lua_pushcclosure(L, is_less_by_function, 1);
    }
    return sort(L);
}

// MARK: Definitions

void sy_lua_set_table_functions(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"insert", table_insert}, {"remove", table_remove}, {"move", table_move}, {"concat", table_concat}, {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
    sy_lua_wrap_function(L, "sort", table_sort);
}
