// Lua's memory: small blocks from slabs of one size each, and a limit.
#ifndef SWITCHYARD_LUA_MEMORY_H
#define SWITCHYARD_LUA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/// Blocks of up to this many bytes come from slabs, which hold blocks of one multiple of the step each.
enum { SY_MEMORY_STEP = 16, SY_MEMORY_SMALL = 512, SY_MEMORY_KINDS = SY_MEMORY_SMALL / SY_MEMORY_STEP + 1 };

typedef struct sy_slab sy_slab;

typedef struct sy_memory {
    /// Bytes that Lua holds, and may hold.
    size_t used;
    size_t limit;
    /// A Swift frame is live: a refusal would be raised through it, so the limit waits until it has returned.
    bool must_not_fail;
    /// A coroutine's stack has grown beyond what it should; to be cleared by whoever takes note.
    volatile bool stack_is_deep;
    /// Of the block that was just asked for, if that may be a stack that has grown so much.
    size_t fresh_stack;
    /// Is told when `stack_is_deep` becomes true, in the middle of an allocation.
    void (*stack_grew)(void *context);
    /// Is told when the limit allows no more, likewise: no new block, or no larger one.
    void (*refused)(void *context, bool is_new);
    void *context;
    /// Slabs with room, by the kind of their blocks; the first is the one that blocks are taken from.
    sy_slab *open[SY_MEMORY_KINDS];
    /// Slabs without room.
    sy_slab *full;
    /// Slabs of no block in use, kept so that one which comes and goes does not do so through the system.
    sy_slab *empty;
    size_t empty_count;
} sy_memory;

/// A lua_Alloc.
void *sy_memory_allocate(void *memory, void *block, size_t old_size, size_t new_size);
static inline bool sy_memory_is_over_limit(const sy_memory *memory) { return memory->used > memory->limit; }
/// Bytes of slabs of no block in use.
size_t sy_memory_spare(const sy_memory *memory);
/// Gives slabs of no block in use back to the system, when none is likely to be needed soon.
void sy_memory_trim(sy_memory *memory);
/// Frees every slab at once, when the interpreter is closed.
void sy_memory_free(sy_memory *memory);
/// realloc that ends the process where there is no memory at all.
void *sy_must_reallocate(void *block, size_t size);

#endif
