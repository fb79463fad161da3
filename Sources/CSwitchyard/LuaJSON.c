// `sy.json` (RFC 8259): its table, and what reader and writer share.
//
// In C for what may happen on the way: memory runs out, or the hook's time does, and either is raised.
#define _GNU_SOURCE
#include "LuaJSON.h"

#include <pthread.h>
#include <string.h>

// MARK: Text

void sy_json_begin(sy_json_text *text, lua_State *L, int index) {
    text->L = L;
    text->index = index;
    text->bytes = text->first;
    text->count = 0;
    text->capacity = sizeof text->first;
}

static void grow(sy_json_text *text, size_t count) {
    size_t needed = text->count + count;
    size_t capacity = text->capacity / 2 * 3;
    if (capacity < needed) capacity = needed;
    luaL_checkstack(text->L, 1, NULL);
    char *bytes = lua_newuserdatauv(text->L, capacity, 0);
    memcpy(bytes, text->bytes, text->count);
    lua_replace(text->L, text->index);
    text->bytes = bytes;
    text->capacity = capacity;
}

void sy_json_add(sy_json_text *text, const char *bytes, size_t count) {
    if (count > text->capacity - text->count) grow(text, count);
    memcpy(text->bytes + text->count, bytes, count);
    text->count += count;
}

size_t sy_json_utf8(const unsigned char *bytes, size_t count) {
    unsigned char first = bytes[0];
    if (first < 0x80) return 1;
    size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length == 0 || length > count) return 0;
    // Longer forms than needed, halves of surrogate pairs, and what is beyond U+10FFFF.
    unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (bytes[1] < least || bytes[1] > most) return 0;
    for (size_t at = 2; at < length; at++) {
        if (bytes[at] < 0x80 || bytes[at] > 0xbf) return 0;
    }
    return length;
}

// MARK: Locale

static locale_t plain;

static void make_locale(void) { plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

locale_t sy_json_enter_locale(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_locale);
    return uselocale(plain);
}

void sy_json_leave_locale(locale_t former) { uselocale(former); }

// MARK: Arrays

const char sy_json_empty_array = 'e';

/// In the registry.
static const char mark_key = 'a';

void sy_json_push_mark(lua_State *L) { lua_rawgetp(L, LUA_REGISTRYINDEX, &mark_key); }

bool sy_lua_is_array(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
    sy_json_push_mark(L);
    bool result = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return result;
}

void sy_lua_mark_array(lua_State *L, int index) {
    index = lua_absindex(L, index);
    sy_json_push_mark(L);
    lua_setmetatable(L, index);
}

static int array(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        if (!sy_lua_is_array(L, 1)) return luaL_error(L, "array: found a table that has a metatable");
    }
    sy_lua_mark_array(L, 1);
    return 1;
}

// MARK: The table

void sy_lua_open_json(lua_State *L, bool sandboxed) {
    lua_newtable(L);
    if (sandboxed) {
        // One for all scripts: none may change it for the others.
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &mark_key);

    static const luaL_Reg functions[] = {
        {"decode", sy_json_decode}, {"encode", sy_json_encode}, {"array", array}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushlightuserdata(L, (void *)&sy_json_empty_array);
    lua_setfield(L, -2, "empty_array");
}

bool sy_lua_decode_json(lua_State *L, const void *text, size_t length) {
    lua_pushcfunction(L, sy_json_decode);
    lua_pushlstring(L, text, length);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) return true;
    lua_pop(L, 1);
    return false;
}
