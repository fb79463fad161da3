// Objects of the API: `flow`, its parts, timers, sockets. An object is a number of a slot and the slot's generation,
// which Swift checks with every use: one that is kept after its exchange refers to nothing.
#include "LuaInternal.h"

#include <string.h>

typedef struct {
    /// Tells our objects from every other kind of userdata.
    sy_vm *owner;
    int type;
    uint32_t slot;
    uint32_t generation;
} object;

/// A tunnel that is not the interpreter's own, or a part of it. What tells it from the next one of its slot is
/// what scripts know it by, so that they can read that for as long as they keep the object.
typedef struct {
    object base;
    uint64_t id[2];
} far_object;

/// Members are kept in one table for each type. A function is a method, a number ≥ 0 is that of a getter; a number
/// below 0 is one of these, with its part.
enum { OWN_TABLE = 0xffff };
static lua_Integer encode_part(int type, int part) { return -(((lua_Integer)type << 8 | part) + 1); }

/// An object that may have more parts keeps them in another one, which is made with the first of them: Lua has 16 bytes
/// for each part of an object from the start, and `flow` is kept for each open tunnel.
enum { PARTS_INSIDE = 4 };

static void push_metatable(lua_State *L, int type) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, *sy_metatable_of(sy_vm_of(L), type));
}

static object *push_sized_object(lua_State *L, size_t size, int type, uint32_t slot, uint32_t generation) {
    sy_vm *vm = sy_vm_of(L);
    int parts = *sy_parts_of(vm, type);
    object *made = lua_newuserdatauv(L, size, parts > PARTS_INSIDE ? 1 : parts);
    made->owner = vm;
    made->type = type;
    made->slot = slot;
    made->generation = generation;
    push_metatable(L, type);
    lua_setmetatable(L, -2);
    return made;
}

static void push_object(lua_State *L, int type, uint32_t slot, uint32_t generation) {
    push_sized_object(L, sizeof(object), type, slot, generation);
}

static void push_far_object(
    lua_State *L, int type, uint32_t slot, uint32_t list, uint64_t first, uint64_t second) {
    far_object *made = (far_object *)push_sized_object(L, sizeof *made, type, slot, list);
    made->id[0] = first;
    made->id[1] = second;
}

static bool is_far(lua_State *L, int index) { return lua_rawlen(L, index) == sizeof(far_object); }

static object *to_object(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TUSERDATA) return NULL;
    size_t size = lua_rawlen(L, index);
    if (size != sizeof(object) && size != sizeof(far_object)) return NULL;
    object *found = lua_touserdata(L, index);
    return found->owner == sy_vm_of(L) ? found : NULL;
}

/// Pushes what keeps the parts of the object at `index`, if that is not the object itself: nil where it is not there yet,
/// unless `makes`. Returns where it is.
static int push_keeper(lua_State *L, const object *whole, int index, bool makes) {
    int parts = *sy_parts_of(whole->owner, whole->type);
    if (parts <= PARTS_INSIDE) return index;
    if (lua_getiuservalue(L, index, 1) == LUA_TNIL && makes) {
        lua_pop(L, 1);
        lua_newuserdatauv(L, 0, parts);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, index, 1);
    }
    return lua_gettop(L);
}

/// Pushes the part of the object at 1, which is made when it is first asked for.
static int push_part(lua_State *L, const object *whole, lua_Integer code) {
    int type = (int)((-code - 1) >> 8);
    int part = (int)((-code - 1) & 0xff);
    int keeper = push_keeper(L, whole, 1, true);
    if (lua_getiuservalue(L, keeper, part) == LUA_TNIL) {
        lua_pop(L, 1);
        if (type == OWN_TABLE) {
            lua_newtable(L);
        } else {
            if (is_far(L, 1)) {
                const far_object *far = lua_touserdata(L, 1);
                push_far_object(L, type, whole->slot, whole->generation, far->id[0], far->id[1]);
            } else {
                push_object(L, type, whole->slot, whole->generation);
            }
        }
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, keeper, part);
    }
    if (type != OWN_TABLE) return 1;
    int script = sy_lua_running_script(L);
    if (lua_rawgeti(L, -1, script + 1) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, script + 1);
    }
    return 1;
}

/// `__index`. Upvalue 1: the members; 2: the dynamic getter's number, or nil. Called by Lua, with the object and the key, or
/// by a script that has `debug`, with anything.
static int get_member(lua_State *L) {
    const object *whole = to_object(L, 1);
    if (whole == NULL) return luaL_error(L, "the fields of an object are read from the object itself");
    lua_pushvalue(L, 2);
    switch (lua_rawget(L, lua_upvalueindex(1))) {
        case LUA_TNIL:
            lua_pop(L, 1);
            if (lua_isnil(L, lua_upvalueindex(2))) {
                lua_pushnil(L);
                return 1;
            }
            return sy_lua_call(L, (int)lua_tointeger(L, lua_upvalueindex(2)));
        case LUA_TNUMBER: {
            lua_Integer code = lua_tointeger(L, -1);
            if (code < 0) return push_part(L, whole, code);
            lua_settop(L, 2);
            return sy_lua_call(L, (int)code);
        }
        default: return 1;
    }
}

/// `__newindex`. Upvalue 1: numbers of setters by name; 2: the dynamic setter's number, or nil.
static int set_member(lua_State *L) {
    if (to_object(L, 1) == NULL) return luaL_error(L, "the fields of an object are set on the object itself");
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNUMBER) {
        int setter = (int)lua_tointeger(L, 4);
        lua_settop(L, 3);
        return sy_lua_call(L, setter);
    }
    lua_settop(L, 3);
    if (!lua_isnil(L, lua_upvalueindex(2))) return sy_lua_call(L, (int)lua_tointeger(L, lua_upvalueindex(2)));
    luaL_tolstring(L, 2, NULL);
    return luaL_error(L, "the field \"%s\" cannot be set", lua_tostring(L, -1));
}

void sy_lua_push_object(lua_State *L, int type, uint32_t slot, uint32_t generation) {
    push_object(L, type, slot, generation);
}

void sy_lua_push_far_object(
    lua_State *L, int type, uint32_t slot, uint32_t list, uint64_t first, uint64_t second) {
    push_far_object(L, type, slot, list, first, second);
}

bool sy_lua_far_object(
    lua_State *L, int index, int type, uint32_t *slot, uint32_t *list, uint64_t *first, uint64_t *second) {
    const object *found = to_object(L, index);
    if (found == NULL || found->type != type || !is_far(L, index)) return false;
    const far_object *far = (const far_object *)found;
    *slot = found->slot;
    *list = found->generation;
    *first = far->id[0];
    *second = far->id[1];
    return true;
}

bool sy_lua_object(lua_State *L, int index, int type, uint32_t *slot, uint32_t *generation) {
    const object *found = to_object(L, index);
    if (found == NULL || found->type != type) return false;
    *slot = found->slot;
    *generation = found->generation;
    return true;
}

// MARK: Definitions

void sy_vm_define_type(sy_vm *vm, int type, const char *name, int parts) {
    lua_State *L = sy_vm_main(vm);
    *sy_parts_of(vm, type) = (unsigned char)parts;
    lua_createtable(L, 0, 6);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_newtable(L);
    lua_pushnil(L);
    lua_pushcclosure(L, get_member, 2);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushnil(L);
    lua_pushcclosure(L, set_member, 2);
    lua_setfield(L, -2, "__newindex");
    *sy_metatable_of(vm, type) = luaL_ref(L, LUA_REGISTRYINDEX);
}

/// Pushes the table of members, or of setters, above the two values that led there.
static void push_members(lua_State *L, int type, const char *event) {
    push_metatable(L, type);
    lua_getfield(L, -1, event);
    lua_getupvalue(L, -1, 1);
}

static void set_number(sy_vm *vm, int type, const char *event, const char *name, lua_Integer number) {
    lua_State *L = sy_vm_main(vm);
    push_members(L, type, event);
    lua_pushinteger(L, number);
    lua_setfield(L, -2, name);
    lua_pop(L, 3);
}

void sy_vm_define_method(sy_vm *vm, int type, const char *name, int function) {
    lua_State *L = sy_vm_main(vm);
    push_members(L, type, "__index");
    sy_lua_push_trampoline(L, function);
    lua_setfield(L, -2, name);
    lua_pop(L, 3);
}

void sy_vm_define_getter(sy_vm *vm, int type, const char *name, int function) {
    set_number(vm, type, "__index", name, function);
}

void sy_vm_define_setter(sy_vm *vm, int type, const char *name, int function) {
    set_number(vm, type, "__newindex", name, function);
}

void sy_vm_define_part(sy_vm *vm, int type, const char *name, int part_type, int part) {
    set_number(vm, type, "__index", name, encode_part(part_type, part));
}

void sy_vm_define_own_table(sy_vm *vm, int type, const char *name, int part) {
    set_number(vm, type, "__index", name, encode_part(OWN_TABLE, part));
}

static void set_dynamic(lua_State *L, int type, const char *event, int function) {
    if (function == 0) return;
    push_metatable(L, type);
    lua_getfield(L, -1, event);
    lua_pushinteger(L, function);
    lua_setupvalue(L, -2, 2);
    lua_pop(L, 2);
}

void sy_vm_define_dynamic(sy_vm *vm, int type, int getter, int setter) {
    set_dynamic(sy_vm_main(vm), type, "__index", getter);
    set_dynamic(sy_vm_main(vm), type, "__newindex", setter);
}

void sy_vm_define_metamethod(sy_vm *vm, int type, const char *name, int function) {
    lua_State *L = sy_vm_main(vm);
    push_metatable(L, type);
    sy_lua_push_trampoline(L, function);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

void sy_vm_define_function(sy_vm *vm, const char *module, const char *name, int function) {
    lua_State *L = sy_vm_main(vm);
    lua_pushglobaltable(L);
    while (module != NULL) {
        const char *dot = strchr(module, '.');
        size_t length = dot == NULL ? strlen(module) : (size_t)(dot - module);
        lua_pushlstring(L, module, length);
        if (lua_rawget(L, -2) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushlstring(L, module, length);
            lua_pushvalue(L, -2);
            lua_rawset(L, -4);
        }
        lua_remove(L, -2);
        module = dot == NULL ? NULL : dot + 1;
    }
    sy_lua_push_trampoline(L, function);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

// MARK: Own tables, from outside

void sy_lua_push_own_table(lua_State *L, int index, int part, int script) {
    const object *whole = lua_touserdata(L, index);
    int top = lua_gettop(L);
    int keeper = push_keeper(L, whole, lua_absindex(L, index), false);
    if (lua_isnil(L, keeper)) return;
    if (lua_getiuservalue(L, keeper, part) == LUA_TTABLE) {
        lua_rawgeti(L, -1, script + 1);
    } else {
        lua_pushnil(L);
    }
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
}

void sy_lua_set_own_table(lua_State *L, int index, int part, int script) {
    const object *whole = lua_touserdata(L, index);
    int top = lua_gettop(L);
    int keeper = push_keeper(L, whole, lua_absindex(L, index), true);
    if (lua_getiuservalue(L, keeper, part) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, keeper, part);
    }
    lua_pushvalue(L, top);
    lua_rawseti(L, -2, script + 1);
    lua_settop(L, top - 1);
}
