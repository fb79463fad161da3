// Until LuaSandbox.c is there.
#include "LuaInternal.h"
void sy_lua_open_libraries(lua_State *L, bool sandboxed) { (void)sandboxed; luaL_openlibs(L); lua_pushcfunction(L, sy_lua_print); lua_setglobal(L, "print"); }
void sy_lua_push_environment(lua_State *L) {
    lua_newtable(L); lua_newtable(L); lua_pushglobaltable(L); lua_setfield(L, -2, "__index"); lua_setmetatable(L, -2);
    lua_pushvalue(L, -1); lua_setfield(L, -2, "_G"); sy_lua_set_require(L);
}
