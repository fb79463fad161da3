// Values of Lua's to JSON (RFC 8259). What could be read only as something else is refused.
#include "LuaJSON.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /// Where on the stack of `encode` these are.
    VALUE_INDEX = 1,
    TEXT_INDEX,
    /// Arrays up to this long may have any holes; in longer ones, half of the positions have to have a value.
    FREE_LENGTH = 10,
};

/// The table that is being written, to say where in it a value stands that cannot be.
typedef struct place {
    const struct place *outer;
    /// Where on the stack the member's name is; 0 in an array.
    int key;
    lua_Integer position;
} place;

typedef struct {
    lua_State *L;
    sy_json_text text;
} writer;

// MARK: Errors

/// Pushes ` at .name[2]`, or an empty string for what was given itself.
static void push_path(lua_State *L, const place *inner) {
    enum { LEVELS = 12, NAME = 40 };
    const place *levels[LEVELS];
    int count = 0;
    luaL_checkstack(L, 8, NULL);
    for (; inner != NULL && count < LEVELS; inner = inner->outer) levels[count++] = inner;
    lua_pushstring(L, count == 0 ? "" : inner == NULL ? " at " : " at ...");
    while (count-- > 0) {
        if (levels[count]->key == 0) {
            lua_pushfstring(L, "[%I]", (LUAI_UACINT)levels[count]->position);
        } else if (lua_type(L, levels[count]->key) == LUA_TSTRING) {
            char name[NAME + 1];
            size_t length;
            const char *key = lua_tolstring(L, levels[count]->key, &length);
            if (length > NAME) length = NAME;
            for (size_t at = 0; at < length; at++) name[at] = key[at] >= 32 && key[at] < 127 ? key[at] : '?';
            name[length] = '\0';
            lua_pushfstring(L, ".%s", name);
        } else {
            luaL_tolstring(L, levels[count]->key, NULL);
            lua_pushfstring(L, "[%s]", lua_tostring(L, -1));
            lua_remove(L, -2);
        }
        lua_concat(L, 2);
    }
}

static _Noreturn void fail(writer *to, const place *at, const char *found, const char *expected) {
    push_path(to->L, at);
    luaL_error(to->L, "encode: found %s%s, expected %s", found, lua_tostring(to->L, -1), expected);
    abort();
}

/// Lua's name of the type, with an article.
static const char *name_of(lua_State *L, int index) {
    return lua_pushfstring(L, "a %s", luaL_typename(L, index));
}

// MARK: Strings and numbers

static void add(writer *to, const char *bytes, size_t count) { sy_json_add(&to->text, bytes, count); }

static void add_escape(writer *to, unsigned char byte) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *found = byte == '\0' ? NULL : strchr(meant, byte);
    if (found != NULL) {
        char escape[] = {'\\', names[found - meant]};
        add(to, escape, sizeof escape);
        return;
    }
    char escape[] = "\\u0000";
    escape[4] = "0123456789abcdef"[byte >> 4];
    escape[5] = "0123456789abcdef"[byte & 15];
    add(to, escape, sizeof escape - 1);
}

static void write_string(writer *to, const char *string, size_t length, const place *at) {
    const unsigned char *bytes = (const unsigned char *)string;
    size_t start = 0;
    add(to, "\"", 1);
    for (size_t position = 0; position < length;) {
        unsigned char byte = bytes[position];
        size_t count = 1;
        if (byte >= 128) {
            count = sy_json_utf8(bytes + position, length - position);
            if (count == 0) fail(to, at, "a string that is not UTF-8", "text; binary data goes as sy.base64 or sy.hex");
        } else if (byte < 32 || byte == 127 || byte == '"' || byte == '\\' || byte == '/') {
            add(to, string + start, position - start);
            add_escape(to, byte);
            start = position + 1;
        }
        position += count;
    }
    add(to, string + start, length - start);
    add(to, "\"", 1);
}

/// Bytes of any number's text.
enum { NUMBER = 40 };

static size_t write_integer(char *text, lua_Integer value) {
    char digits[NUMBER];
    size_t count = 0;
    lua_Unsigned rest = value < 0 ? 0 - (lua_Unsigned)value : (lua_Unsigned)value;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) digits[count++] = '-';
    for (size_t at = 0; at < count; at++) text[at] = digits[count - 1 - at];
    return count;
}

/// The fewest digits that are read as the same number again.
static size_t write_float(char *text, double value) {
    // Up to 2^53, floats are apart by one at most: all the digits say something.
    bool is_whole = value == floor(value) && fabs(value) < 9007199254740992.0;
    locale_t former = sy_json_enter_locale();
    int length = 0;
    // The smallest have fewer digits than all others.
    for (int digits = fabs(value) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        length = is_whole ? snprintf(text, NUMBER, "%.0f", value) : snprintf(text, NUMBER, "%.*g", digits, value);
        if (is_whole || strtod(text, NULL) == value) break;
    }
    sy_json_leave_locale(former);
    return (size_t)length;
}

static size_t write_number(writer *to, char *text, int index, const place *at) {
    if (lua_isinteger(to->L, index)) return write_integer(text, lua_tointeger(to->L, index));
    double value = lua_tonumber(to->L, index);
    if (!isfinite(value)) fail(to, at, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf", "a finite number");
    return write_float(text, value);
}

// MARK: Tables

static void write_value(writer *to, int index, const place *at, int depth);

/// The last position of a table that has positive integers for keys only, 0 where it is empty; -1 for another one.
static lua_Integer length_of_array(writer *to, int table, const place *at) {
    lua_State *L = to->L;
    lua_Integer last = 0, count = 0;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        lua_Integer position = lua_type(L, -1) == LUA_TNUMBER ? lua_tointeger(L, -1) : 0;
        if (position <= 0) {
            lua_pop(L, 1);
            return -1;
        }
        if (position > last) last = position;
        count += 1;
        if (count % 1024 == 0) sy_lua_poll(L);
    }
    if (last > FREE_LENGTH && last > count * 2) {
        const char *found = lua_pushfstring(
            L, "an array with %I of %I values", (LUAI_UACINT)count, (LUAI_UACINT)last);
        fail(to, at, found, "fewer holes");
    }
    return last;
}

static void write_array(writer *to, int table, lua_Integer last, const place *outer, int depth) {
    place at = {.outer = outer};
    add(to, "[", 1);
    for (at.position = 1; at.position <= last; at.position++) {
        if (at.position > 1) add(to, ",", 1);
        lua_rawgeti(to->L, table, at.position);
        write_value(to, lua_gettop(to->L), &at, depth);
        lua_pop(to->L, 1);
    }
    add(to, "]", 1);
}

static void write_name(writer *to, int table, const place *at) {
    lua_State *L = to->L;
    if (lua_type(L, at->key) == LUA_TSTRING) {
        size_t length;
        const char *name = lua_tolstring(L, at->key, &length);
        write_string(to, name, length, at);
        return;
    }
    if (lua_type(L, at->key) != LUA_TNUMBER) {
        const char *found = lua_pushfstring(L, "%s as a key", name_of(L, at->key));
        fail(to, at->outer, found, "a string or a number");
    }
    char text[NUMBER];
    size_t length = write_number(to, text, at->key, at);
    lua_pushlstring(L, text, length);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, table) != LUA_TNIL) {
        const char *found = lua_pushfstring(L, "both the number and the string %s as keys", lua_tostring(L, -2));
        fail(to, at->outer, found, "one of them");
    }
    lua_pop(L, 2);
    add(to, "\"", 1);
    add(to, text, length);
    add(to, "\"", 1);
}

static void write_object(writer *to, int table, const place *outer, int depth) {
    lua_State *L = to->L;
    place at = {.outer = outer, .key = lua_gettop(L) + 1};
    bool is_first = true;
    add(to, "{", 1);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (!is_first) add(to, ",", 1);
        is_first = false;
        write_name(to, table, &at);
        add(to, ":", 1);
        write_value(to, at.key + 1, &at, depth);
        lua_pop(L, 1);
    }
    add(to, "}", 1);
}

static void write_table(writer *to, int table, const place *at, int depth) {
    if (depth == SY_JSON_DEPTH) {
        push_path(to->L, at);
        luaL_error(
            to->L, "encode: nested more than %d deep, or a table that refers to itself,%s", SY_JSON_DEPTH,
            lua_tostring(to->L, -1));
    }
    luaL_checkstack(to->L, 8, "too many nested data structures");
    lua_Integer last = length_of_array(to, table, at);
    if (last > 0) {
        write_array(to, table, last, at, depth + 1);
    } else if (last == 0) {
        add(to, sy_lua_is_array(to->L, table) ? "[]" : "{}", 2);
    } else {
        write_object(to, table, at, depth + 1);
    }
}

/// Writes the value at `index`, which is where it is found however the stack grows.
static void write_value(writer *to, int index, const place *at, int depth) {
    lua_State *L = to->L;
    sy_lua_poll(L);
    switch (lua_type(L, index)) {
    case LUA_TNIL: add(to, "null", 4); return;
    case LUA_TBOOLEAN: lua_toboolean(L, index) ? add(to, "true", 4) : add(to, "false", 5); return;
    case LUA_TNUMBER: {
        char text[NUMBER];
        add(to, text, write_number(to, text, index, at));
        return;
    }
    case LUA_TSTRING: {
        size_t length;
        const char *string = lua_tolstring(L, index, &length);
        write_string(to, string, length, at);
        return;
    }
    case LUA_TTABLE: write_table(to, index, at, depth); return;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL) {
            add(to, "null", 4);
            return;
        }
        if (lua_touserdata(L, index) == &sy_json_empty_array) {
            add(to, "[]", 2);
            return;
        }
        break;
    default: break;
    }
    fail(to, at, name_of(L, index), "a table, a string, a number, a boolean or sy.json.null");
}

int sy_json_encode(lua_State *L) {
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    lua_pushnil(L);
    writer to = {.L = L};
    sy_json_begin(&to.text, L, TEXT_INDEX);
    write_value(&to, VALUE_INDEX, NULL, 0);
    lua_pushlstring(L, to.text.bytes, to.text.count);
    return 1;
}
