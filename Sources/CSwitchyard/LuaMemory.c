#include "LuaMemory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sy_block {
    sy_block *next;
};

struct sy_chunk {
    sy_chunk *next;
    // A block's alignment is that of the chunk's beginning.
    void *padding;
};

enum { CHUNK_SIZE = 32 * 1024 };

#if defined(__SANITIZE_ADDRESS__)
#define USES_LISTS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define USES_LISTS 0
#endif
#endif
#ifndef USES_LISTS
#define USES_LISTS 1
#endif

/// Under the address sanitizer every block is the system's own, so that it sees where one ends.
static bool is_listed(size_t size) { return USES_LISTS && size <= SY_MEMORY_LISTED; }

static size_t list_of(size_t size) { return (size + SY_MEMORY_STEP - 1) / SY_MEMORY_STEP; }

static _Noreturn void out_of_memory(void) {
    fputs("switchyard: out of memory\n", stderr);
    abort();
}

void *sy_must_reallocate(void *block, size_t size) {
    void *result = realloc(block, size);
    if (result == NULL) out_of_memory();
    return result;
}

static void *take(sy_memory *memory, size_t size) {
    if (!is_listed(size)) return malloc(size);
    size_t list = list_of(size);
    sy_block *block = memory->free[list];
    if (block != NULL) {
        memory->free[list] = block->next;
        return block;
    }
    size_t rounded = list * SY_MEMORY_STEP;
    if ((size_t)(memory->fresh_end - memory->fresh) < rounded) {
        // What is left of the chunk is too small for this size only: it serves smaller ones.
        while (memory->fresh_end - memory->fresh >= SY_MEMORY_STEP) {
            size_t rest = (size_t)(memory->fresh_end - memory->fresh) / SY_MEMORY_STEP;
            sy_block *remnant = (sy_block *)(void *)memory->fresh;
            remnant->next = memory->free[rest];
            memory->free[rest] = remnant;
            memory->fresh += rest * SY_MEMORY_STEP;
        }
        sy_chunk *chunk = malloc(CHUNK_SIZE);
        if (chunk == NULL) return NULL;
        chunk->next = memory->chunks;
        memory->chunks = chunk;
        memory->fresh = (char *)(chunk + 1);
        memory->fresh_end = (char *)chunk + CHUNK_SIZE;
    }
    void *result = memory->fresh;
    memory->fresh += rounded;
    return result;
}

static void give_back(sy_memory *memory, void *block, size_t size) {
    if (!is_listed(size)) {
        free(block);
        return;
    }
    sy_block *freed = block;
    size_t list = list_of(size);
    freed->next = memory->free[list];
    memory->free[list] = freed;
}

/// Bytes of a coroutine's stack: 163 840 values, room for tens of thousands of calls within calls. Lua's own limit is
/// six times that, and reaching it takes a tenth of a second, much of which nothing interrupts.
enum { DEEP_STACK = (163840 + 5) * 16, DEEPEST_STACK = (1000000 + 5) * 16 };

/// Notes the two steps by which Lua makes a stack grow: a block of twice the values, all but five that are always spare,
/// and right after that the end of the old one. Nothing else is done in that way.
static void watch_stack(sy_memory *memory, void *block, size_t old_size, size_t new_size) {
    if (block == NULL) {
        memory->fresh_stack = new_size > DEEP_STACK ? new_size : 0;
        return;
    }
    size_t fresh = memory->fresh_stack;
    if (fresh == 0) return;
    memory->fresh_stack = 0;
    if (new_size != 0 || (fresh != 2 * old_size - 80 && fresh != DEEPEST_STACK)) return;
    memory->stack_is_deep = true;
    memory->stack_grew(memory->context);
}

void *sy_memory_allocate(void *context, void *block, size_t old_size, size_t new_size) {
    sy_memory *memory = context;
    watch_stack(memory, block, old_size, new_size);
    // Without a block, the old size says what kind of object is wanted.
    if (block == NULL) old_size = 0;
    if (new_size == 0) {
        if (block != NULL) give_back(memory, block, old_size);
        memory->used -= old_size;
        return NULL;
    }
    if (new_size > old_size && !memory->must_not_fail && memory->used - old_size + new_size > memory->limit) {
        return NULL;
    }
    void *result;
    if (block != NULL && is_listed(old_size) && is_listed(new_size) && list_of(old_size) == list_of(new_size)) {
        result = block;
    } else if (block != NULL && !is_listed(old_size) && !is_listed(new_size)) {
        result = realloc(block, new_size);
    } else {
        result = take(memory, new_size);
        if (result != NULL && block != NULL) {
            memcpy(result, block, old_size < new_size ? old_size : new_size);
            give_back(memory, block, old_size);
        }
    }
    if (result == NULL) {
        if (memory->must_not_fail) out_of_memory();
        return NULL;
    }
    memory->used = memory->used - old_size + new_size;
    return result;
}

void sy_memory_free(sy_memory *memory) {
    while (memory->chunks != NULL) {
        sy_chunk *chunk = memory->chunks;
        memory->chunks = chunk->next;
        free(chunk);
    }
}
