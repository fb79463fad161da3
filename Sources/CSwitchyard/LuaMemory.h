// Lua's memory: blocks of equal size from free lists, and a limit.
#ifndef SWITCHYARD_LUA_MEMORY_H
#define SWITCHYARD_LUA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/// Blocks of up to this many bytes come from free lists, one list for each multiple of the step.
enum { SY_MEMORY_STEP = 16, SY_MEMORY_LISTED = 512 };

typedef struct sy_block sy_block;
typedef struct sy_chunk sy_chunk;

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
    void *context;
    sy_block *free[SY_MEMORY_LISTED / SY_MEMORY_STEP + 1];
    sy_chunk *chunks;
    char *fresh;
    char *fresh_end;
} sy_memory;

/// A lua_Alloc.
void *sy_memory_allocate(void *memory, void *block, size_t old_size, size_t new_size);
static inline bool sy_memory_is_over_limit(const sy_memory *memory) { return memory->used > memory->limit; }
/// Frees every chunk at once, when the interpreter is closed.
void sy_memory_free(sy_memory *memory);
/// realloc that ends the process where there is no memory at all.
void *sy_must_reallocate(void *block, size_t size);

#endif
