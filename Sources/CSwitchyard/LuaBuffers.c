// Functions that fill a buffer of lauxlib's, and the room that such a buffer needs.
//
// Everything else in Lua collects garbage before it gives up for lack of memory. These buffers do not: what another
// hook left behind would have them refused. So each of these functions sees to it beforehand.
#include "LuaInternal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "LuaMemory.h"

/// A result stands in the buffer and then in the string as well.
enum { COPIES = 2 };

void sy_lua_make_room(lua_State *L, size_t size) {
    // Up to this many bytes, the buffer is on the C stack.
    if (size <= LUAL_BUFFERSIZE) return;
    sy_memory *memory = sy_lua_memory(L);
    if (memory->must_not_fail) return;
    // It would be filled for nothing.
    if (size > memory->limit / COPIES) sy_lua_raise_memory(L);
    if (memory->used + size > memory->limit) lua_gc(L, LUA_GCCOLLECT);
}

/// As lauxlib lets a buffer grow: by half at least.
static void make_room_in(const luaL_Buffer *buffer, size_t length) {
    if (length <= buffer->size - buffer->n) return;
    size_t grown = buffer->size / 2 * 3;
    size_t needed = buffer->n + length;
    sy_lua_make_room(buffer->L, grown > needed ? grown : needed);
}

void sy_lua_add_text(luaL_Buffer *buffer, const char *text, size_t length) {
    make_room_in(buffer, length);
    luaL_addlstring(buffer, text, length);
}

void sy_lua_add_value(luaL_Buffer *buffer) {
    size_t length;
    lua_tolstring(buffer->L, -1, &length);
    make_room_in(buffer, length);
    luaL_addvalue(buffer);
}

// MARK: rep

/// Bytes that are copied between two looks at the clock.
enum { COPIED_AT_ONCE = 1 << 20 };

static int string_rep(lua_State *L) {
    size_t length, separator_length;
    const char *text = luaL_checklstring(L, 1, &length);
    lua_Integer count = luaL_checkinteger(L, 2);
    const char *separator = luaL_optlstring(L, 3, "", &separator_length);
    size_t unit = length + separator_length;
    // Lua's own counts through any number of empty strings.
    if (count <= 0 || unit == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (unit > (size_t)LUA_MAXINTEGER / (lua_Unsigned)count) return luaL_error(L, "resulting string too large");
    size_t total = unit * (size_t)count - separator_length;
    sy_lua_make_room(L, total);
    luaL_Buffer result;
    char *made = luaL_buffinitsize(L, &result, total);
    memcpy(made, text, length);
    if (count > 1) memcpy(made + length, separator, separator_length);
    // What is there already is copied behind itself, twice as much each time.
    for (size_t done = unit; done < total;) {
        size_t copied = done < total - done ? done : total - done;
        // The period of what is copied is a unit, so a part of it begins anywhere that is a multiple of one.
        if (copied > COPIED_AT_ONCE && unit <= COPIED_AT_ONCE) copied = COPIED_AT_ONCE / unit * unit;
        if (copied > total - done) copied = total - done;
        memcpy(made + done, made, copied);
        done += copied;
        sy_lua_poll(L);
    }
    luaL_pushresultsize(&result, total);
    return 1;
}

// MARK: format

/// Bytes of texts that `format` may look through to cut them: a tenth of a second, at most.
static const size_t MAX_FORMATTED_TEXT = (size_t)256 << 20;
/// Bytes of what is no text: lauxlib's bound for a number with 99 digits after its point.
enum { MAX_FORMATTED_ITEM = 512, QUOTED = 4 };

/// Upvalue 1: Lua's own. To fit a text to a width it reads the whole of it, each time it occurs, though the result may
/// be short.
static int string_format(lua_State *L) {
    size_t needed;
    const char *format = luaL_checklstring(L, 1, &needed);
    size_t read = 0;
    int argument = 1;
    for (const char *p = strchr(format, '%'); p != NULL; p = strchr(p, '%')) {
        p += 1;
        if (*p == '%') {
            p += 1;
            continue;
        }
        argument += 1;
        size_t modifiers = strspn(p, "-+ #0123456789.");
        p += modifiers;
        needed += MAX_FORMATTED_ITEM;
        if ((*p != 's' && *p != 'q') || argument > lua_gettop(L)) continue;
        size_t length;
        if (*p == 'q') {
            if (lua_type(L, argument) == LUA_TSTRING) needed += QUOTED * lua_rawlen(L, argument);
            continue;
        }
        sy_lua_poll(L);
        luaL_tolstring(L, argument, &length);
        lua_replace(L, argument);
        if (modifiers == 0) {
            needed += length;
            continue;
        }
        read += length;
        if (read > MAX_FORMATTED_TEXT) return luaL_error(L, "texts too long to be formatted");
        if (memchr(p - modifiers, '.', modifiers) == NULL) needed += length;
    }
    sy_lua_make_room(L, needed);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

// MARK: The others

/// Bytes of a number or a character, as `pack` and `char` write them.
enum { MAX_PACKED_ITEM = 16 };

static size_t length_of_arguments(lua_State *L) {
    size_t total = 0;
    for (int index = 1; index <= lua_gettop(L); index++) {
        total += MAX_PACKED_ITEM + (lua_type(L, index) == LUA_TSTRING ? lua_rawlen(L, index) : 0);
    }
    return total;
}

/// Upvalue 1: Lua's own, whose result is about as long as its arguments.
static int string_of_arguments(lua_State *L) {
    sy_lua_make_room(L, length_of_arguments(L));
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/// Upvalue 1: Lua's own, which fills a text up to the width that "c" has.
static int string_pack(lua_State *L) {
    size_t needed = length_of_arguments(L);
    const char *format = luaL_checkstring(L, 1);
    for (const char *p = strchr(format, 'c'); p != NULL; p = strchr(p, 'c')) {
        unsigned long width = strtoul(p + 1, NULL, 10);
        needed = width < SIZE_MAX - needed ? needed + width : SIZE_MAX;
        p += 1;
    }
    sy_lua_make_room(L, needed);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

void sy_lua_set_string_functions(lua_State *L) {
    static const char *const others[] = {"upper", "lower", "reverse", "char", NULL};
    sy_lua_set_pattern_functions(L);
    lua_pushcfunction(L, string_rep);
    lua_setfield(L, -2, "rep");
    sy_lua_wrap_function(L, "format", string_format);
    sy_lua_wrap_function(L, "pack", string_pack);
    for (const char *const *name = others; *name != NULL; name++) sy_lua_wrap_function(L, *name, string_of_arguments);
}

void sy_lua_set_utf8_functions(lua_State *L) { sy_lua_wrap_function(L, "char", string_of_arguments); }
