// Objects of the API: `flow`, its parts, timers, sockets. An object is a number of a slot and the slot's generation,
// which Swift checks with every use: one that is kept after its exchange refers to nothing.
//
// What comes by the million, messages and most parts of a flow, is a value: the same numbers within a pointer that points
// to nothing, so that nothing is allocated for one, and nothing collected.
#include "LuaInternal.h"

#include <string.h>

/// What stands for an object, whichever way it is kept.
typedef struct {
    int type;
    uint32_t slot;
    uint32_t generation;
} identity;

typedef struct {
    /// Tells our objects from every other kind of userdata.
    sy_vm *owner;
    identity is;
} object;

/// A tunnel that is not the interpreter's own, or a part of it. What tells it from the next one of its slot is
/// what scripts know it by, so that they can read that for as long as they keep the object.
typedef struct {
    object base;
    uint64_t id[2];
} remote_object;

/// Members are kept in one table for each type. A function is a method, a number ≥ 0 is that of a getter; a number
/// below 0 is one of these, with its part.
enum { OWN_TABLE = 0xffff };
static lua_Integer encode_part(int type, int part) { return -(((lua_Integer)type << 8 | part) + 1); }

/// An object that may have more parts keeps them in another one, which is made with the first of them: Lua has 16 bytes
/// for each part of an object from the start, and `flow` is kept for each open tunnel.
enum { PARTS_INSIDE = 2 };

// MARK: Values

/// A value, from its highest bit down: 6 of the type, 26 of the slot, 32 of the generation. No pointer to anything has one
/// of the first six bits set, by which values are told from the pointers of libraries in C, and from `sy.json.null`. What
/// is no pointer to anything, like -1, is told by its type, which none of ours is a value of.
enum { TYPE_SHIFT = 58, SLOT_BITS = 26 };
_Static_assert(sizeof(void *) == 8, "a value takes 64 bits");
_Static_assert(SY_LUA_TYPES <= 1 << (64 - TYPE_SHIFT), "a type takes 6 bits");

static void push_value(lua_State *L, int type, uint32_t slot, uint32_t generation) {
    // So many exchanges or messages do not fit in memory.
    if (slot >> SLOT_BITS != 0) {
        lua_pushnil(L);
        return;
    }
    uintptr_t value = (uintptr_t)type << TYPE_SHIFT | (uintptr_t)slot << 32 | generation;
    lua_pushlightuserdata(L, (void *)value);
}

static bool is_value_type(lua_State *L, uintptr_t type) {
    return type < SY_LUA_TYPES && sy_type_of(sy_vm_of(L), (int)type)->is_value;
}

/// 0 for what is no value of ours: another pointer, such as -1, and that of a full userdata to its block.
static int type_of_value(lua_State *L, int index) {
    uintptr_t type = (uintptr_t)lua_touserdata(L, index) >> TYPE_SHIFT;
    return is_value_type(L, type) ? (int)type : 0;
}

// MARK: Objects

static void push_metatable(lua_State *L, int type) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, sy_type_of(sy_vm_of(L), type)->metatable);
}

static object *push_sized_object(lua_State *L, size_t size, int type, uint32_t slot, uint32_t generation) {
    sy_vm *vm = sy_vm_of(L);
    int parts = sy_type_of(vm, type)->parts;
    object *made = lua_newuserdatauv(L, size, parts > PARTS_INSIDE ? 1 : parts);
    made->owner = vm;
    made->is = (identity){type, slot, generation};
    push_metatable(L, type);
    lua_setmetatable(L, -2);
    return made;
}

void sy_lua_push_object(lua_State *L, int type, uint32_t slot, uint32_t generation) {
    if (sy_type_of(sy_vm_of(L), type)->is_value) {
        push_value(L, type, slot, generation);
    } else {
        push_sized_object(L, sizeof(object), type, slot, generation);
    }
}

void sy_lua_push_remote_object(
    lua_State *L, int type, uint32_t slot, uint32_t list, uint64_t first, uint64_t second) {
    remote_object *made = (remote_object *)push_sized_object(L, sizeof *made, type, slot, list);
    made->id[0] = first;
    made->id[1] = second;
}

static bool is_remote(lua_State *L, int index) { return lua_rawlen(L, index) == sizeof(remote_object); }

static const object *to_object(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TUSERDATA) return NULL;
    size_t size = lua_rawlen(L, index);
    if (size != sizeof(object) && size != sizeof(remote_object)) return NULL;
    const object *found = lua_touserdata(L, index);
    return found->owner == sy_vm_of(L) ? found : NULL;
}

static bool identify(lua_State *L, int index, identity *found) {
    uintptr_t value = (uintptr_t)lua_touserdata(L, index);
    if (value >> TYPE_SHIFT != 0) {
        if (!is_value_type(L, value >> TYPE_SHIFT)) return false;
        uint32_t slot = (uint32_t)(value >> 32) & ((1u << SLOT_BITS) - 1);
        *found = (identity){(int)(value >> TYPE_SHIFT), slot, (uint32_t)value};
        return true;
    }
    const object *kept = to_object(L, index);
    if (kept == NULL) return false;
    *found = kept->is;
    return true;
}

/// Pushes what keeps the parts of the object at `index`, if that is not the object itself: nil where it is not there yet,
/// unless `makes`. Returns where it is.
static int push_keeper(lua_State *L, int type, int index, bool makes) {
    int parts = sy_type_of(sy_vm_of(L), type)->parts;
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
static int push_part(lua_State *L, identity whole, lua_Integer code) {
    int type = (int)((-code - 1) >> 8);
    int part = (int)((-code - 1) & 0xff);
    if (type != OWN_TABLE && sy_type_of(sy_vm_of(L), type)->is_value) {
        push_value(L, type, whole.slot, whole.generation);
        return 1;
    }
    int keeper = push_keeper(L, whole.type, 1, true);
    if (lua_getiuservalue(L, keeper, part) == LUA_TNIL) {
        lua_pop(L, 1);
        if (type == OWN_TABLE) {
            lua_newtable(L);
        } else if (is_remote(L, 1)) {
            const remote_object *remote = lua_touserdata(L, 1);
            sy_lua_push_remote_object(L, type, whole.slot, whole.generation, remote->id[0], remote->id[1]);
        } else {
            sy_lua_push_object(L, type, whole.slot, whole.generation);
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

// MARK: Members

/// Pushes what a getter is to return, where that can be told from what is shown.
static bool push_shown(lua_State *L, identity whole, lua_Integer getter) {
    sy_vm *vm = sy_vm_of(L);
    const sy_payload *shown = vm->shown;
    if (shown == NULL || shown->slot != whole.slot || shown->generation != whole.generation || shown->type != whole.type)
        return false;
    const sy_type *type = sy_type_of(vm, whole.type);
    if (getter == type->payload) {
        lua_pushlstring(L, shown->bytes, shown->size);
    } else if (getter == type->payload_size) {
        lua_pushinteger(L, (lua_Integer)shown->size);
    } else {
        return false;
    }
    return true;
}

/// `__index` of objects and values, whose metatable is that of all light userdata. Its upvalues are the members of the types.
/// Called by Lua, with the object and the key, or by a script that has `debug`, with anything.
static int get_member(lua_State *L) {
    identity whole;
    if (!identify(L, 1, &whole)) return luaL_error(L, "attempt to index a userdata value");
    lua_pushvalue(L, 2);
    lua_Integer code;
    switch (lua_rawget(L, lua_upvalueindex(whole.type))) {
        case LUA_TNIL:
            code = sy_type_of(sy_vm_of(L), whole.type)->getter;
            if (code == 0) return 1;
            break;
        case LUA_TNUMBER:
            code = lua_tointeger(L, -1);
            if (code < 0) return push_part(L, whole, code);
            if (push_shown(L, whole, code)) return 1;
            break;
        default: return 1;
    }
    lua_settop(L, 2);
    return sy_lua_call(L, (int)code);
}

/// `__newindex`, likewise; its upvalues are the numbers of setters by name.
static int set_member(lua_State *L) {
    identity whole;
    if (!identify(L, 1, &whole)) return luaL_error(L, "attempt to index a userdata value");
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    bool is_defined = lua_rawget(L, lua_upvalueindex(whole.type)) == LUA_TNUMBER;
    int function = is_defined ? (int)lua_tointeger(L, 4) : sy_type_of(sy_vm_of(L), whole.type)->setter;
    lua_settop(L, 3);
    if (function != 0) return sy_lua_call(L, function);
    luaL_tolstring(L, 2, NULL);
    return luaL_error(L, "the field \"%s\" cannot be set", lua_tostring(L, -1));
}

/// `__pairs` of values.
static int iterate_value(lua_State *L) {
    int function = sy_type_of(sy_vm_of(L), type_of_value(L, 1))->pairs;
    if (function != 0) return sy_lua_call(L, function);
    // What `next` says.
    return luaL_error(L, "bad argument #1 to 'for iterator' (table expected, got %s)", sy_lua_type_name(L, 1));
}

/// `__tostring` of values: what Lua makes of other userdata.
static int show_value(lua_State *L) {
    lua_pushfstring(L, "%s: %p", sy_lua_type_name(L, 1), lua_topointer(L, 1));
    return 1;
}

bool sy_lua_remote_object(
    lua_State *L, int index, int type, uint32_t *slot, uint32_t *list, uint64_t *first, uint64_t *second) {
    const object *found = to_object(L, index);
    if (found == NULL || found->is.type != type || !is_remote(L, index)) return false;
    const remote_object *remote = (const remote_object *)found;
    *slot = found->is.slot;
    *list = found->is.generation;
    *first = remote->id[0];
    *second = remote->id[1];
    return true;
}

int64_t sy_lua_object(lua_State *L, int index, int type) {
    identity found;
    if (!identify(L, index, &found) || found.type != type) return -1;
    return (int64_t)found.slot << 32 | found.generation;
}

int sy_lua_type(lua_State *L, int index) {
    int type = lua_type(L, index);
    switch (type) {
        case LUA_TUSERDATA: return SY_LUA_OBJECT;
        case LUA_TLIGHTUSERDATA: return type_of_value(L, index) != 0 ? SY_LUA_OBJECT : type;
        default: return type;
    }
}

const void *sy_lua_identity(lua_State *L, int index) { return lua_topointer(L, index); }

const char *sy_lua_type_name(lua_State *L, int index) {
    int type = type_of_value(L, index);
    if (type != 0) {
        push_metatable(L, type);
        lua_getfield(L, -1, "__name");
        lua_remove(L, -2);
    } else if (lua_type(L, index) != LUA_TUSERDATA || luaL_getmetafield(L, index, "__name") == LUA_TNIL) {
        return luaL_typename(L, index);
    }
    // The metatable keeps it.
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "userdata";
    lua_pop(L, 1);
    return name;
}

// MARK: Definitions

/// The events whose functions have each type's members as upvalues.
static const luaL_Reg member_events[] = {{"__index", get_member}, {"__newindex", set_member}, {NULL, NULL}};

/// Pushes the metatable that all light userdata have, from which those of objects have their functions.
static void push_metatable_of_values(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
    if (!lua_getmetatable(L, -1)) {
        luaL_checkstack(L, SY_LUA_TYPES, NULL);
        lua_createtable(L, 0, 6);
        for (const luaL_Reg *event = member_events; event->name != NULL; event++) {
            for (int type = 1; type < SY_LUA_TYPES; type++) lua_pushnil(L);
            lua_pushcclosure(L, event->func, SY_LUA_TYPES - 1);
            lua_setfield(L, -2, event->name);
        }
        lua_pushcfunction(L, iterate_value);
        lua_setfield(L, -2, "__pairs");
        lua_pushcfunction(L, show_value);
        lua_setfield(L, -2, "__tostring");
        lua_pushliteral(L, "userdata");
        lua_setfield(L, -2, "__name");
        lua_pushboolean(L, false);
        lua_setfield(L, -2, "__metatable");
        lua_pushvalue(L, -1);
        lua_setmetatable(L, -3);
    }
    lua_remove(L, -2);
}

void sy_vm_define_type(sy_vm *vm, int type, const char *name, int parts, bool is_value) {
    lua_State *L = sy_vm_main(vm);
    sy_type *defined = sy_type_of(vm, type);
    defined->parts = parts;
    defined->is_value = is_value;
    lua_createtable(L, 0, 6);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    push_metatable_of_values(L);
    for (const luaL_Reg *event = member_events; event->name != NULL; event++) {
        lua_getfield(L, -1, event->name);
        lua_newtable(L);
        lua_setupvalue(L, -2, type);
        lua_setfield(L, -3, event->name);
    }
    lua_pop(L, 1);
    defined->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
}

/// Pushes the table of members, or of setters, above the two values that led there.
static void push_members(lua_State *L, int type, const char *event) {
    push_metatable(L, type);
    lua_getfield(L, -1, event);
    lua_getupvalue(L, -1, type);
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

void sy_vm_define_payload(sy_vm *vm, int type, int payload, int payload_size) {
    sy_type_of(vm, type)->payload = payload;
    sy_type_of(vm, type)->payload_size = payload_size;
}

void sy_vm_define_part(sy_vm *vm, int type, const char *name, int part_type, int part) {
    set_number(vm, type, "__index", name, encode_part(part_type, part));
}

void sy_vm_define_own_table(sy_vm *vm, int type, const char *name, int part) {
    set_number(vm, type, "__index", name, encode_part(OWN_TABLE, part));
}

void sy_vm_define_dynamic(sy_vm *vm, int type, int getter, int setter) {
    sy_type_of(vm, type)->getter = getter;
    sy_type_of(vm, type)->setter = setter;
}

void sy_vm_define_metamethod(sy_vm *vm, int type, const char *name, int function) {
    if (sy_type_of(vm, type)->is_value) {
        sy_type_of(vm, type)->pairs = function;
        return;
    }
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
    int keeper = push_keeper(L, whole->is.type, lua_absindex(L, index), false);
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
    int keeper = push_keeper(L, whole->is.type, lua_absindex(L, index), true);
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
