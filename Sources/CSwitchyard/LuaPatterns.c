// string.find, match, gmatch and gsub, written after chapter 6.4 of Lua's manual.
//
// Lua's own cannot be interrupted, and a short pattern keeps them busy for hours. These count their steps and ask
// from time to time whether the hook's time is up. A match keeps no memory but its own C frame: a list of choices that
// can be taken back takes the place of recursion, and its length is the limit that Lua's recursion has.
#define _GNU_SOURCE
#include "LuaInternal.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum {
    MAX_CAPTURES = 32,
    /// Lua allows 200 matches inside of one another, the outermost included.
    MAX_CHOICES = 199,
    /// Bytes or pattern items that are looked at between two questions for an interrupt: some microseconds.
    STEPS_PER_POLL = 4096,
};

/// A capture's length where it has none.
enum { UNFINISHED = -1, POSITION = -2 };

typedef struct {
    const uint8_t *start;
    ptrdiff_t length;
} capture;

/// One pattern over one subject. Both are Lua strings, so a byte may be read at either end: it is NUL.
typedef struct {
    lua_State *L;
    const uint8_t *subject;
    const uint8_t *subject_end;
    const uint8_t *pattern_end;
    ptrdiff_t steps_left;
    int capture_count;
    capture captures[MAX_CAPTURES];
} matcher;

/// How far a match has come: what of the pattern is to be found where.
typedef struct {
    const uint8_t *subject;
    const uint8_t *pattern;
} place;

/// What is undone, or tried next, when what follows it in the pattern does not match.
typedef enum { GREEDY, LAZY, OPTIONAL, OPENED, CLOSED } choice_kind;

typedef struct {
    choice_kind kind;
    /// CLOSED: which one.
    int capture;
    /// The single-character item that is repeated; its quantifier stands at `item_end`.
    const uint8_t *item;
    const uint8_t *item_end;
    /// GREEDY: the end of the repetition, and the least that it can be. LAZY: its end. OPTIONAL: where it would begin.
    const uint8_t *subject;
    const uint8_t *least;
} choice;

typedef struct {
    int count;
    choice entries[MAX_CHOICES];
} choices;

static void spend(matcher *m, ptrdiff_t steps) {
    m->steps_left -= steps;
    if (m->steps_left > 0) return;
    m->steps_left = STEPS_PER_POLL;
    sy_lua_poll(m->L);
}

// MARK: Single characters

/// `letter` as in `%a`: in upper case it means the complement; what is no class stands for itself.
static bool class_contains(uint8_t letter, uint8_t byte) {
    bool contains;
    switch (letter | 0x20) {
    case 'a': contains = isalpha(byte); break;
    case 'c': contains = iscntrl(byte); break;
    case 'd': contains = isdigit(byte); break;
    case 'g': contains = isgraph(byte); break;
    case 'l': contains = islower(byte); break;
    case 'p': contains = ispunct(byte); break;
    case 's': contains = isspace(byte); break;
    case 'u': contains = isupper(byte); break;
    case 'w': contains = isalnum(byte); break;
    case 'x': contains = isxdigit(byte); break;
    // Not in the manual any more, but Lua 5.4 still has it.
    case 'z': contains = byte == 0; break;
    default: return letter == byte;
    }
    return isupper(letter) ? !contains : contains;
}

/// `set` is at `[`, `last` at the `]` that ends it.
static bool set_contains(const uint8_t *set, const uint8_t *last, uint8_t byte) {
    const uint8_t *p = set + 1;
    bool found = true;
    if (*p == '^') {
        found = false;
        p += 1;
    }
    while (p < last) {
        if (*p == '%') {
            if (class_contains(p[1], byte)) return found;
            p += 2;
        } else if (p[1] == '-' && p + 2 < last) {
            if (p[0] <= byte && byte <= p[2]) return found;
            p += 3;
        } else {
            if (*p == byte) return found;
            p += 1;
        }
    }
    return !found;
}

/// The end of the single-character item at `p`: a character, `.`, `%x`, or a set.
static const uint8_t *end_of_item(matcher *m, const uint8_t *p) {
    const uint8_t *start = p;
    switch (*p++) {
    case '%':
        if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    case '[':
        if (*p == '^') p += 1;
        // A `]` that comes first is an ordinary member.
        do {
            if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
            if (*p++ == '%' && p < m->pattern_end) p += 1;
        } while (*p != ']');
        spend(m, p - start);
        return p + 1;
    default: return p;
    }
}

static bool item_matches(matcher *m, const uint8_t *item, const uint8_t *item_end, const uint8_t *s) {
    spend(m, item_end - item);
    if (s == m->subject_end) return false;
    switch (*item) {
    case '.': return true;
    case '%': return class_contains(item[1], *s);
    case '[': return set_contains(item, item_end - 1, *s);
    default: return *item == *s;
    }
}

// MARK: Choices

static choice *add_choice(matcher *m, choices *taken, choice_kind kind) {
    if (taken->count == MAX_CHOICES) luaL_error(m->L, "pattern too complex");
    choice *added = &taken->entries[taken->count++];
    added->kind = kind;
    return added;
}

/// Goes back to the last choice that has another way to go on; false where there is none.
static bool backtrack(matcher *m, choices *taken, place *at) {
    while (taken->count > 0) {
        choice *last = &taken->entries[taken->count - 1];
        switch (last->kind) {
        case GREEDY:
            if (last->subject == last->least) break;
            last->subject -= 1;
            *at = (place){last->subject, last->item_end + 1};
            return true;
        case LAZY:
            if (!item_matches(m, last->item, last->item_end, last->subject)) break;
            last->subject += 1;
            *at = (place){last->subject, last->item_end + 1};
            return true;
        case OPTIONAL:
            *at = (place){last->subject, last->item_end + 1};
            taken->count -= 1;
            return true;
        case OPENED: m->capture_count -= 1; break;
        case CLOSED: m->captures[last->capture].length = UNFINISHED; break;
        }
        taken->count -= 1;
    }
    return false;
}

// MARK: Items of a pattern
//
// Each of these matches the item at `at->pattern` and moves `at` past it, or returns false.

static bool match_single(matcher *m, choices *taken, place *at) {
    const uint8_t *item = at->pattern;
    const uint8_t *item_end = end_of_item(m, item);
    const uint8_t *s = at->subject;
    uint8_t quantifier = *item_end;
    if (!item_matches(m, item, item_end, s)) {
        at->pattern = item_end + 1;
        return quantifier == '*' || quantifier == '?' || quantifier == '-';
    }
    choice *added;
    switch (quantifier) {
    case '?':
        added = add_choice(m, taken, OPTIONAL);
        added->subject = s;
        at->subject = s + 1;
        break;
    case '*':
    case '+':
        at->subject = s + 1;
        while (item_matches(m, item, item_end, at->subject)) at->subject += 1;
        added = add_choice(m, taken, GREEDY);
        added->least = quantifier == '+' ? s + 1 : s;
        added->subject = at->subject;
        break;
    case '-':
        added = add_choice(m, taken, LAZY);
        added->subject = s;
        break;
    default: *at = (place){s + 1, item_end}; return true;
    }
    added->item = item;
    added->item_end = item_end;
    at->pattern = item_end + 1;
    return true;
}

static bool open_capture(matcher *m, choices *taken, place *at) {
    if (m->capture_count == MAX_CAPTURES) luaL_error(m->L, "too many captures");
    bool is_position = at->pattern[1] == ')';
    m->captures[m->capture_count++] = (capture){at->subject, is_position ? POSITION : UNFINISHED};
    add_choice(m, taken, OPENED);
    at->pattern += is_position ? 2 : 1;
    return true;
}

static bool close_capture(matcher *m, choices *taken, place *at) {
    int index = m->capture_count - 1;
    while (index >= 0 && m->captures[index].length != UNFINISHED) index -= 1;
    if (index < 0) luaL_error(m->L, "invalid pattern capture");
    m->captures[index].length = at->subject - m->captures[index].start;
    add_choice(m, taken, CLOSED)->capture = index;
    at->pattern += 1;
    return true;
}

/// `%1`: the same bytes once more.
static bool match_back_reference(matcher *m, place *at) {
    int index = at->pattern[1] - '1';
    if (index < 0 || index >= m->capture_count || m->captures[index].length == UNFINISHED) {
        luaL_error(m->L, "invalid capture index %%%d", index + 1);
    }
    const capture *former = &m->captures[index];
    if (former->length == POSITION || m->subject_end - at->subject < former->length) return false;
    spend(m, former->length);
    if (memcmp(former->start, at->subject, (size_t)former->length) != 0) return false;
    at->subject += former->length;
    at->pattern += 2;
    return true;
}

/// `%bxy`: from an x to the y that balances it.
static bool match_balanced(matcher *m, place *at) {
    if (m->pattern_end - at->pattern < 4) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    uint8_t opening = at->pattern[2];
    uint8_t closing = at->pattern[3];
    const uint8_t *s = at->subject;
    if (s == m->subject_end || *s != opening) return false;
    size_t depth = 1;
    for (s += 1; s < m->subject_end; s++) {
        spend(m, 1);
        // First, so that with x equal to y the next one ends it.
        if (*s == closing) {
            depth -= 1;
            if (depth == 0) {
                *at = (place){s + 1, at->pattern + 4};
                return true;
            }
        } else if (*s == opening) {
            depth += 1;
        }
    }
    return false;
}

/// `%f[set]`: between a byte outside of the set and one in it; before and after the subject there is a NUL.
static bool match_frontier(matcher *m, place *at) {
    const uint8_t *set = at->pattern + 2;
    if (*set != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
    const uint8_t *set_end = end_of_item(m, set);
    uint8_t before = at->subject == m->subject ? 0 : at->subject[-1];
    spend(m, set_end - set);
    if (set_contains(set, set_end - 1, before) || !set_contains(set, set_end - 1, *at->subject)) return false;
    at->pattern = set_end;
    return true;
}

static bool match_item(matcher *m, choices *taken, place *at) {
    const uint8_t *p = at->pattern;
    switch (*p) {
    case '(': return open_capture(m, taken, at);
    case ')': return close_capture(m, taken, at);
    case '$':
        if (p + 1 != m->pattern_end) break;
        at->pattern += 1;
        return at->subject == m->subject_end;
    case '%':
        switch (p[1]) {
        case 'b': return match_balanced(m, at);
        case 'f': return match_frontier(m, at);
        case '0': case '1': case '2': case '3': case '4':
        case '5': case '6': case '7': case '8': case '9': return match_back_reference(m, at);
        default: break;
        }
        break;
    default: break;
    }
    return match_single(m, taken, at);
}

/// The end of the match of the whole pattern at `subject`, or NULL. Not inlined: its list of choices is large, and is
/// not to lie on the C stack while a replacement function runs.
__attribute__((noinline)) static const uint8_t *match(matcher *m, const uint8_t *subject, const uint8_t *pattern) {
    choices taken;
    taken.count = 0;
    m->capture_count = 0;
    place at = {subject, pattern};
    while (at.pattern != m->pattern_end) {
        spend(m, 1);
        if (!match_item(m, &taken, &at) && !backtrack(m, &taken, &at)) return NULL;
    }
    return at.subject;
}

// MARK: Captures

/// Pushes the capture of this index; where the pattern has none at all, 0 is the whole match.
static void push_capture(const matcher *m, int index, const uint8_t *start, const uint8_t *end) {
    if (index >= m->capture_count) {
        if (index != 0) luaL_error(m->L, "invalid capture index %%%d", index + 1);
        lua_pushlstring(m->L, (const char *)start, (size_t)(end - start));
        return;
    }
    const capture *found = &m->captures[index];
    switch (found->length) {
    case UNFINISHED: luaL_error(m->L, "unfinished capture"); break;
    case POSITION: lua_pushinteger(m->L, found->start - m->subject + 1); break;
    default: lua_pushlstring(m->L, (const char *)found->start, (size_t)found->length); break;
    }
}

static int push_captures(const matcher *m) {
    luaL_checkstack(m->L, m->capture_count, "too many captures");
    for (int index = 0; index < m->capture_count; index++) push_capture(m, index, NULL, NULL);
    return m->capture_count;
}

/// The captures, or the whole match where there are none.
static int push_match(const matcher *m, const uint8_t *start, const uint8_t *end) {
    if (m->capture_count > 0) return push_captures(m);
    push_capture(m, 0, start, end);
    return 1;
}

// MARK: find, match

static matcher prepare(lua_State *L, const char *subject, size_t length, const char *pattern, size_t pattern_length) {
    matcher prepared;
    prepared.L = L;
    prepared.subject = (const uint8_t *)subject;
    prepared.subject_end = prepared.subject + length;
    prepared.pattern_end = (const uint8_t *)pattern + pattern_length;
    prepared.steps_left = STEPS_PER_POLL;
    prepared.capture_count = 0;
    return prepared;
}

/// The offset of a position that counts from 1, or back from the end; it may lie past the end.
static size_t offset_of(lua_Integer position, size_t length) {
    if (position > 0) return (size_t)position - 1;
    if (position == 0 || position < -(lua_Integer)length) return 0;
    return length - (size_t)-position;
}

static bool is_plain(const char *pattern, size_t length) {
    for (size_t index = 0; index < length; index++) {
        index += strcspn(pattern + index, "^$*+?.([%-");
        // At a NUL, which may be in the middle.
        if (pattern[index] != '\0') return false;
    }
    return true;
}

static int find_plain(
    lua_State *L, const char *subject, size_t length, const char *text, size_t text_length, size_t offset) {
    // Linear in any case, unlike a search that tries every offset.
    const char *found = memmem(subject + offset, length - offset, text, text_length);
    if (found == NULL) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, found - subject + 1);
    lua_pushinteger(L, found - subject + (lua_Integer)text_length);
    return 2;
}

static int find_or_match(lua_State *L, bool finds) {
    size_t length, pattern_length;
    const char *subject = luaL_checklstring(L, 1, &length);
    const char *pattern = luaL_checklstring(L, 2, &pattern_length);
    size_t offset = offset_of(luaL_optinteger(L, 3, 1), length);
    if (offset > length) {
        luaL_pushfail(L);
        return 1;
    }
    if (finds && (lua_toboolean(L, 4) || is_plain(pattern, pattern_length))) {
        return find_plain(L, subject, length, pattern, pattern_length, offset);
    }
    matcher m = prepare(L, subject, length, pattern, pattern_length);
    const uint8_t *p = (const uint8_t *)pattern;
    bool is_anchored = *p == '^';
    if (is_anchored) p += 1;
    for (const uint8_t *s = m.subject + offset; s <= m.subject_end; s++) {
        const uint8_t *end = match(&m, s, p);
        if (end != NULL) {
            if (!finds) return push_match(&m, s, end);
            lua_pushinteger(L, s - m.subject + 1);
            lua_pushinteger(L, end - m.subject);
            return push_captures(&m) + 2;
        }
        if (is_anchored) break;
    }
    luaL_pushfail(L);
    return 1;
}

static int string_find(lua_State *L) { return find_or_match(L, true); }
static int string_match(lua_State *L) { return find_or_match(L, false); }

// MARK: gmatch

/// Upvalues of the iterator: where it looks next, and where the last match ended (-1: nowhere yet).
enum { GMATCH_SUBJECT = 1, GMATCH_PATTERN, GMATCH_NEXT, GMATCH_LAST };

static void set_offset(lua_State *L, int upvalue, lua_Integer offset) {
    lua_pushinteger(L, offset);
    lua_replace(L, lua_upvalueindex(upvalue));
}

static int next_match(lua_State *L) {
    size_t length, pattern_length;
    const char *subject = lua_tolstring(L, lua_upvalueindex(GMATCH_SUBJECT), &length);
    const char *pattern = lua_tolstring(L, lua_upvalueindex(GMATCH_PATTERN), &pattern_length);
    lua_Integer next = lua_tointeger(L, lua_upvalueindex(GMATCH_NEXT));
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(GMATCH_LAST));
    matcher m = prepare(L, subject, length, pattern, pattern_length);
    for (; next <= (lua_Integer)length; next++) {
        const uint8_t *start = m.subject + next;
        const uint8_t *end = match(&m, start, (const uint8_t *)pattern);
        // An empty match right after another match is none.
        if (end == NULL || end - m.subject == last) continue;
        set_offset(L, GMATCH_NEXT, end - m.subject);
        set_offset(L, GMATCH_LAST, end - m.subject);
        return push_match(&m, start, end);
    }
    return 0;
}

static int string_gmatch(lua_State *L) {
    size_t length;
    luaL_checklstring(L, 1, &length);
    luaL_checkstring(L, 2);
    size_t offset = offset_of(luaL_optinteger(L, 3, 1), length);
    lua_settop(L, 2);
    lua_pushinteger(L, offset > length ? (lua_Integer)length + 1 : (lua_Integer)offset);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, next_match, 4);
    return 1;
}

// MARK: gsub

/// Appends the replacement string at stack index 3, its `%0` to `%9` filled in.
static void add_template(const matcher *m, luaL_Buffer *result, const uint8_t *start, const uint8_t *end) {
    size_t length;
    const char *text = lua_tolstring(m->L, 3, &length);
    const char *text_end = text + length;
    for (;;) {
        const char *escape = memchr(text, '%', (size_t)(text_end - text));
        if (escape == NULL) break;
        sy_lua_add_text(result, text, (size_t)(escape - text));
        char code = escape[1];
        if (code == '%') {
            luaL_addchar(result, '%');
        } else if (code == '0') {
            sy_lua_add_text(result, (const char *)start, (size_t)(end - start));
        } else if (code >= '1' && code <= '9') {
            push_capture(m, code - '1', start, end);
            sy_lua_add_value(result);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
        text = escape + 2;
    }
    sy_lua_add_text(result, text, (size_t)(text_end - text));
}

/// Appends what replaces the match; returns false, and appends nothing, where it stays as it is.
static bool add_replacement(const matcher *m, luaL_Buffer *result, const uint8_t *start, const uint8_t *end) {
    lua_State *L = m->L;
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_match(m, start, end), 1);
        break;
    case LUA_TTABLE:
        push_capture(m, 0, start, end);
        lua_gettable(L, 3);
        break;
    default: add_template(m, result, start, end); return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    sy_lua_add_value(result);
    return true;
}

static int string_gsub(lua_State *L) {
    size_t length, pattern_length;
    const char *subject = luaL_checklstring(L, 1, &length);
    const char *pattern = luaL_checklstring(L, 2, &pattern_length);
    int type = lua_type(L, 3);
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)length + 1);
    luaL_argexpected(
        L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
        "string/function/table");
    const uint8_t *p = (const uint8_t *)pattern;
    bool is_anchored = *p == '^';
    if (is_anchored) p += 1;

    matcher m = prepare(L, subject, length, pattern, pattern_length);
    luaL_Buffer result;
    luaL_buffinit(L, &result);
    bool changed = false;
    lua_Integer count = 0;
    const uint8_t *s = m.subject;
    // The subject up to here is in the result; what follows is copied when something after it is replaced.
    const uint8_t *copied = s;
    const uint8_t *last = NULL;
    while (count < most) {
        const uint8_t *end = match(&m, s, p);
        if (end != NULL && end != last) {
            count += 1;
            // Before the replacement is made: with its value on top of the stack the buffer could not grow.
            sy_lua_add_text(&result, (const char *)copied, (size_t)(s - copied));
            copied = s;
            if (add_replacement(&m, &result, s, end)) {
                copied = end;
                changed = true;
            }
            s = last = end;
        } else if (s < m.subject_end) {
            s += 1;
        } else {
            break;
        }
        if (is_anchored) break;
    }
    if (changed) {
        sy_lua_add_text(&result, (const char *)copied, (size_t)(m.subject_end - copied));
        luaL_pushresult(&result);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, count);
    return 2;
}

void sy_lua_set_pattern_functions(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"find", string_find}, {"match", string_match}, {"gmatch", string_gmatch}, {"gsub", string_gsub}, {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
