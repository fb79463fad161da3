// JSON to values of Lua's. Nothing but what RFC 8259 calls JSON is read.
#include "LuaJSON.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    /// Where on the stack of `decode` these are.
    TEXT_INDEX = 1,
    MARK_INDEX,
    SCRATCH_INDEX,
};

/// Behind the text there is a zero, as behind any string of Lua's, which is no part of JSON: `at` need not be compared
/// with `end` to look at one byte.
typedef struct {
    lua_State *L;
    const unsigned char *start;
    const unsigned char *at;
    const unsigned char *end;
    /// Of a string with escapes.
    sy_json_text scratch;
} reader;

static bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

/// Of a number or a name, as it may stand where something else should.
static bool is_of_word(unsigned char byte) {
    return is_digit(byte) || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '+'
        || byte == '-' || byte == '.';
}

/// Raises the error that something else was expected at `at`.
static _Noreturn void fail_at(reader *from, const unsigned char *at, const char *expected) {
    enum { SHOWN = 24 };
    lua_State *L = from->L;
    int place = (int)(at - from->start) + 1;
    size_t length = 0;
    while (length < SHOWN && at + length < from->end && is_of_word(at[length])) length += 1;
    // An escape is shown with its backslash.
    if (*at == '\\' && at + 1 < from->end && at[1] > 32 && at[1] < 127) length = 2;
    if (length == 0 && at < from->end && *at >= 32 && *at < 127) length = 1;
    if (at == from->end) {
        lua_pushliteral(L, "the end of the text");
    } else if (length > 0) {
        lua_pushlstring(L, (const char *)at, length);
        lua_pushfstring(L, "\"%s\"", lua_tostring(L, -1));
    } else {
        char digits[] = "0x00";
        digits[2] = "0123456789ABCDEF"[*at >> 4];
        digits[3] = "0123456789ABCDEF"[*at & 15];
        lua_pushfstring(L, "the byte %s", digits);
    }
    luaL_error(L, "decode: found %s at byte %d, expected %s", lua_tostring(L, -1), place, expected);
    abort();
}

static _Noreturn void fail(reader *from, const char *expected) { fail_at(from, from->at, expected); }

static void skip_blanks(reader *from) {
    while (*from->at == ' ' || *from->at == '\n' || *from->at == '\r' || *from->at == '\t') from->at += 1;
}

static bool take(reader *from, char byte) {
    if (*from->at != (unsigned char)byte) return false;
    from->at += 1;
    return true;
}

// MARK: Strings

/// Takes four hexadecimal digits.
static unsigned read_unit(reader *from) {
    unsigned unit = 0;
    for (int digit = 0; digit < 4; digit++) {
        unsigned char byte = *from->at;
        unsigned value = is_digit(byte) ? byte - '0' : (byte | 32) - 'a' + 10u;
        if (!is_digit(byte) && !((byte | 32) >= 'a' && (byte | 32) <= 'f')) {
            fail(from, "four hexadecimal digits");
        }
        unit = unit << 4 | value;
        from->at += 1;
    }
    return unit;
}

/// Takes what follows `\u`, which is at `escape`.
static void read_unicode(reader *from, const unsigned char *escape) {
    static const char pair[] = "the other half of a pair of surrogates";
    unsigned code = read_unit(from);
    if (code >> 10 == 0x37) fail_at(from, escape, "the first half of a pair of surrogates before this one");
    if (code >> 10 == 0x36) {
        const unsigned char *second = from->at;
        if (second[0] != '\\' || second[1] != 'u') fail(from, pair);
        from->at += 2;
        unsigned low = read_unit(from);
        if (low >> 10 != 0x37) fail_at(from, second, pair);
        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
    }
    char bytes[4];
    size_t count = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t at = count - 1; at > 0; at--) {
        bytes[at] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    bytes[0] = (char)(leads[count] | code);
    sy_json_add(&from->scratch, bytes, count);
}

/// Takes an escape, the backslash of which is at `at`.
static void read_escape(reader *from) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const unsigned char *escape = from->at;
    unsigned char name = escape[1];
    if (name == 'u') {
        from->at += 2;
        read_unicode(from, escape);
        return;
    }
    const char *found = name == '\0' ? NULL : strchr(names, name);
    if (found == NULL) fail(from, "one of the escapes \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    from->at += 2;
    sy_json_add(&from->scratch, &meant[found - names], 1);
}

/// Pushes the string, the quotation mark of which is at `at`.
static void read_string(reader *from) {
    from->at += 1;
    const unsigned char *start = from->at;
    bool has_escapes = false;
    for (;;) {
        unsigned char byte = *from->at;
        if (byte == '"') break;
        if (byte >= 32 && byte < 128 && byte != '\\') {
            from->at += 1;
        } else if (byte >= 128) {
            size_t length = sy_json_utf8(from->at, (size_t)(from->end - from->at));
            if (length == 0) fail(from, "UTF-8");
            from->at += length;
        } else if (byte == '\\') {
            if (!has_escapes) from->scratch.count = 0;
            has_escapes = true;
            sy_json_add(&from->scratch, (const char *)start, (size_t)(from->at - start));
            read_escape(from);
            start = from->at;
        } else if (from->at == from->end) {
            fail(from, "the end of a string");
        } else {
            fail(from, "an escape for a control character");
        }
    }
    if (has_escapes) {
        sy_json_add(&from->scratch, (const char *)start, (size_t)(from->at - start));
        lua_pushlstring(from->L, from->scratch.bytes, from->scratch.count);
    } else {
        lua_pushlstring(from->L, (const char *)start, (size_t)(from->at - start));
    }
    from->at += 1;
}

// MARK: Numbers

static void take_digits(reader *from) {
    if (!is_digit(*from->at)) fail(from, "a digit");
    while (is_digit(*from->at)) from->at += 1;
}

/// Pushes the number as an integer, if it fits one. A negative zero does not: only floats have that.
static bool push_integer(reader *from, const unsigned char *at) {
    bool is_negative = *at == '-';
    if (is_negative) at += 1;
    lua_Unsigned value = 0;
    lua_Unsigned limit = (lua_Unsigned)LUA_MAXINTEGER + (is_negative ? 1 : 0);
    for (; at < from->at; at++) {
        lua_Unsigned digit = *at - '0';
        if (value > (limit - digit) / 10) return false;
        value = value * 10 + digit;
    }
    if (is_negative && value == 0) return false;
    lua_pushinteger(from->L, (lua_Integer)(is_negative ? 0 - value : value));
    return true;
}

static void read_number(reader *from) {
    const unsigned char *start = from->at;
    bool is_integer = true;
    take(from, '-');
    if (!take(from, '0')) take_digits(from);
    if (take(from, '.')) {
        is_integer = false;
        take_digits(from);
    }
    if (take(from, 'e') || take(from, 'E')) {
        is_integer = false;
        if (!take(from, '+')) take(from, '-');
        take_digits(from);
    }
    if (is_integer && push_integer(from, start)) return;
    locale_t former = sy_json_enter_locale();
    // Ends where the digits do: it takes no more than there is in JSON, but for hexadecimal ones, which these are not.
    double value = strtod((const char *)start, NULL);
    sy_json_leave_locale(former);
    if (!isfinite(value)) fail_at(from, start, "a number of at most 1.797e308");
    lua_pushnumber(from->L, value);
}

// MARK: Values

static void read_value(reader *from, int depth);

/// For one more level of arrays and objects.
static void enter(reader *from, int depth) {
    if (depth == SY_JSON_DEPTH) {
        luaL_error(
            from->L, "decode: nested more than %d deep at byte %d", SY_JSON_DEPTH,
            (int)(from->at - from->start) + 1);
    }
    luaL_checkstack(from->L, 4, "too many nested data structures");
    from->at += 1;
    lua_newtable(from->L);
    skip_blanks(from);
}

static void read_array(reader *from, int depth) {
    lua_State *L = from->L;
    enter(from, depth);
    lua_pushvalue(L, MARK_INDEX);
    lua_setmetatable(L, -2);
    if (take(from, ']')) return;
    for (lua_Integer position = 1;; position++) {
        read_value(from, depth + 1);
        lua_rawseti(L, -2, position);
        skip_blanks(from);
        if (take(from, ']')) return;
        if (!take(from, ',')) fail(from, "\",\" or \"]\"");
    }
}

static void read_object(reader *from, int depth) {
    enter(from, depth);
    if (take(from, '}')) return;
    for (;;) {
        skip_blanks(from);
        if (*from->at != '"') fail(from, "a string as a member's name");
        read_string(from);
        skip_blanks(from);
        if (!take(from, ':')) fail(from, "\":\"");
        read_value(from, depth + 1);
        lua_rawset(from->L, -3);
        skip_blanks(from);
        if (take(from, '}')) return;
        if (!take(from, ',')) fail(from, "\",\" or \"}\"");
    }
}

static bool take_word(reader *from, const char *word) {
    size_t length = strlen(word);
    // Ends at a difference, so it does not read beyond the zero.
    if (strncmp((const char *)from->at, word, length) != 0 || is_of_word(from->at[length])) return false;
    from->at += length;
    return true;
}

/// Pushes the value that stands next.
static void read_value(reader *from, int depth) {
    lua_State *L = from->L;
    sy_lua_poll(L);
    skip_blanks(from);
    switch (*from->at) {
    case '{': read_object(from, depth); return;
    case '[': read_array(from, depth); return;
    case '"': read_string(from); return;
    case '-':
        if (is_digit(from->at[1])) read_number(from);
        else fail(from, "a value");
        return;
    default: break;
    }
    if (is_digit(*from->at)) read_number(from);
    else if (take_word(from, "true")) lua_pushboolean(L, true);
    else if (take_word(from, "false")) lua_pushboolean(L, false);
    else if (take_word(from, "null")) lua_pushlightuserdata(L, NULL);
    else fail(from, "a value");
}

int sy_json_decode(lua_State *L) {
    size_t length;
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    const char *text = luaL_checklstring(L, TEXT_INDEX, &length);
    sy_json_push_mark(L);
    lua_pushnil(L);
    reader from = {.L = L, .start = (const unsigned char *)text};
    from.at = from.start;
    from.end = from.start + length;
    sy_json_begin(&from.scratch, L, SCRATCH_INDEX);
    read_value(&from, 0);
    skip_blanks(&from);
    if (from.at != from.end) fail(&from, "the end of the text");
    return 1;
}
