// What reader and writer of JSON share. Not for Swift: some of this raises.
#ifndef SWITCHYARD_LUA_JSON_H
#define SWITCHYARD_LUA_JSON_H

#include "LuaInternal.h"

#include <locale.h>

/// How deep arrays and objects may stand in each other.
enum { SY_JSON_DEPTH = 1000 };

/// A text that grows: in here while it is short, and then in memory of Lua's, which its limit and collector know of.
typedef struct {
    lua_State *L;
    /// Where on the stack that memory is kept.
    int index;
    char *bytes;
    size_t count;
    size_t capacity;
    char first[512];
} sy_json_text;

/// Begins with no text. The value at `index` is replaced as the text grows.
void sy_json_begin(sy_json_text *text, lua_State *L, int index);
void sy_json_add(sy_json_text *text, const char *bytes, size_t count);

/// The length of the character in UTF-8 (RFC 3629 §4) at the beginning, or 0 where there is none.
size_t sy_json_utf8(const unsigned char *bytes, size_t count);

/// Numbers have a full stop wherever the process may be: what was current before, for `sy_json_leave_locale`.
locale_t sy_json_enter_locale(void);
void sy_json_leave_locale(locale_t former);

/// Pushes the metatable that marks a table as an array, which matters where it is empty.
void sy_json_push_mark(lua_State *L);

/// `sy.json.decode` and `sy.json.encode`: a lua_CFunction each.
int sy_json_decode(lua_State *L);
int sy_json_encode(lua_State *L);

/// What `sy.json.empty_array` is, by its address.
extern const char sy_json_empty_array;

#endif
