// Tracebacks that cost the same however deep the stack is. Lua's own shows the outermost levels too, each of which it
// looks for from the innermost one: a second's work after an overflow, which nothing interrupts.

#include "LuaInternal.h"

#include <stdio.h>

enum {
    /// How many levels are shown.
    LEVELS = 20,
    /// Scripts may begin further out, but no further than this.
    MAX_LEVEL = 1000,
};

static void add_function(lua_State *L, const lua_Debug *activation) {
    if (*activation->namewhat != '\0') {
        lua_pushfstring(L, "%s '%s'", activation->namewhat, activation->name);
    } else if (*activation->what == 'm') {
        lua_pushliteral(L, "main chunk");
    } else if (*activation->what != 'C') {
        lua_pushfstring(L, "function <%s:%d>", activation->short_src, activation->linedefined);
    } else {
        lua_pushliteral(L, "?");
    }
}

void sy_lua_push_traceback(lua_State *L, lua_State *of, const char *message, size_t length, int level) {
    if (level > MAX_LEVEL) level = MAX_LEVEL;
    luaL_checkstack(L, 8, NULL);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    if (message != NULL) {
        sy_lua_add_text(&text, message, length);
        luaL_addchar(&text, '\n');
    }
    luaL_addstring(&text, "stack traceback:");
    lua_Debug activation;
    int last = level + LEVELS;
    for (; lua_getstack(of, level, &activation); level++) {
        if (level == last) {
            luaL_addstring(&text, "\n\t...");
            break;
        }
        lua_getinfo(of, "Slnt", &activation);
        if (activation.currentline > 0) {
            lua_pushfstring(L, "\n\t%s:%d: in ", activation.short_src, activation.currentline);
        } else {
            lua_pushfstring(L, "\n\t%s: in ", activation.short_src);
        }
        luaL_addvalue(&text);
        add_function(L, &activation);
        luaL_addvalue(&text);
        if (activation.istailcall) luaL_addstring(&text, "\n\t(...tail calls...)");
    }
    luaL_pushresult(&text);
}

void sy_lua_note_stack(lua_State *of, char place[SY_PLACE_SIZE], char *traceback, size_t size) {
    place[0] = '\0';
    int used = snprintf(traceback, size, "\nstack traceback:");
    lua_Debug activation;
    for (int level = 0; level < LEVELS && lua_getstack(of, level, &activation); level++) {
        lua_getinfo(of, "Sl", &activation);
        if (activation.currentline <= 0) continue;
        if (place[0] == '\0') {
            snprintf(place, SY_PLACE_SIZE, "%s:%d: ", activation.short_src, activation.currentline);
        }
        int more = snprintf(
            traceback + used, size - (size_t)used, "\n\t%s:%d: in function <%s:%d>", activation.short_src,
            activation.currentline, activation.short_src, activation.linedefined);
        if (more < 0 || (size_t)more >= size - (size_t)used) {
            traceback[used] = '\0';
            return;
        }
        used += more;
    }
}

int sy_lua_debug_traceback(lua_State *L) {
    int base = lua_isthread(L, 1) ? 1 : 0;
    lua_State *of = base == 1 ? lua_tothread(L, 1) : L;
    size_t length = 0;
    const char *message = lua_tolstring(L, base + 1, &length);
    if (message == NULL && !lua_isnoneornil(L, base + 1)) {
        lua_pushvalue(L, base + 1);
        return 1;
    }
    lua_Integer level = luaL_optinteger(L, base + 2, of == L ? 1 : 0);
    if (level < 0 || level > MAX_LEVEL) level = level < 0 ? 0 : MAX_LEVEL;
    sy_lua_push_traceback(L, of, message, length, (int)level);
    return 1;
}
