#include "LuaMemory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/// Bytes from one slab to the next, a power of two: where a block stands says which slab is its own.
enum { SLAB_SIZE = 16 * 1024 };
/// Slabs that are kept though nothing in them is in use. More go back to the system, or a script that had many blocks of
/// one size for a while would keep them from other sizes, beyond what its limit allows.
enum { MAX_EMPTY = 8 };

typedef struct sy_block {
    struct sy_block *next;
} sy_block;

struct sy_slab {
    /// The neighbours in the list that the slab is in.
    sy_slab *next;
    sy_slab *previous;
    /// Blocks that were given back.
    sy_block *free;
    /// Where blocks begin that were never in use, so that their pages are not touched before they are needed.
    char *fresh;
    unsigned short kind;
    unsigned short used;
    unsigned short capacity;
    bool is_full;
    // A block's alignment is that of the slab's end.
    _Alignas(16) char blocks[];
};

#if defined(__SANITIZE_ADDRESS__)
#define USES_SLABS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define USES_SLABS 0
#endif
#endif
#ifndef USES_SLABS
#define USES_SLABS 1
#endif

/// Under the address sanitizer every block is the system's own, so that it sees where one ends.
static bool is_small(size_t size) { return USES_SLABS && size <= SY_MEMORY_SMALL; }

static size_t kind_of(size_t size) { return (size + SY_MEMORY_STEP - 1) / SY_MEMORY_STEP; }

static _Noreturn void out_of_memory(void) {
    fputs("switchyard: out of memory\n", stderr);
    abort();
}

void *sy_must_reallocate(void *block, size_t size) {
    void *result = realloc(block, size);
    if (result == NULL) out_of_memory();
    return result;
}

static void insert(sy_slab **list, sy_slab *slab) {
    slab->previous = NULL;
    slab->next = *list;
    if (*list != NULL) (*list)->previous = slab;
    *list = slab;
}

static void remove_from(sy_slab **list, sy_slab *slab) {
    if (slab->previous != NULL) {
        slab->previous->next = slab->next;
    } else {
        *list = slab->next;
    }
    if (slab->next != NULL) slab->next->previous = slab->previous;
}

/// A slab is pages of its own, which the allocator of the process would keep when they lie between others.
static sy_slab *map_slab(void) {
    char *start = mmap(NULL, 2 * SLAB_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return NULL;
    // Of twice the size, the part that begins at a multiple of it.
    size_t before = -(uintptr_t)start & (SLAB_SIZE - 1);
    if (before > 0) munmap(start, before);
    munmap(start + before + SLAB_SIZE, SLAB_SIZE - before);
    return (sy_slab *)(void *)(start + before);
}

static void unmap_slab(sy_slab *slab) { munmap(slab, SLAB_SIZE); }

/// A slab for blocks of this kind, which becomes the first of its list; NULL where there is no memory.
static sy_slab *open_slab(sy_memory *memory, size_t kind) {
    sy_slab *slab = memory->empty;
    if (slab != NULL) {
        remove_from(&memory->empty, slab);
        memory->empty_count--;
    } else {
        slab = map_slab();
        if (slab == NULL) return NULL;
    }
    slab->free = NULL;
    slab->fresh = slab->blocks;
    slab->kind = (unsigned short)kind;
    slab->used = 0;
    slab->capacity = (unsigned short)((SLAB_SIZE - sizeof(sy_slab)) / (kind * SY_MEMORY_STEP));
    slab->is_full = false;
    insert(&memory->open[kind], slab);
    return slab;
}

static void *take(sy_memory *memory, size_t size) {
    if (!is_small(size)) return malloc(size);
    size_t kind = kind_of(size);
    sy_slab *slab = memory->open[kind];
    if (slab == NULL) {
        slab = open_slab(memory, kind);
        if (slab == NULL) return NULL;
    }
    void *result = slab->free;
    if (result != NULL) {
        slab->free = slab->free->next;
    } else {
        result = slab->fresh;
        slab->fresh += kind * SY_MEMORY_STEP;
    }
    slab->used++;
    if (slab->used == slab->capacity) {
        remove_from(&memory->open[kind], slab);
        insert(&memory->full, slab);
        slab->is_full = true;
    }
    return result;
}

static void give_back(sy_memory *memory, void *block, size_t size) {
    if (!is_small(size)) {
        free(block);
        return;
    }
    sy_slab *slab = (sy_slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_SIZE - 1));
    sy_block *freed = block;
    freed->next = slab->free;
    slab->free = freed;
    slab->used--;
    if (slab->is_full) {
        slab->is_full = false;
        remove_from(&memory->full, slab);
        insert(&memory->open[slab->kind], slab);
    } else if (slab->used == 0) {
        remove_from(&memory->open[slab->kind], slab);
        if (memory->empty_count == MAX_EMPTY) {
            unmap_slab(slab);
        } else {
            insert(&memory->empty, slab);
            memory->empty_count++;
        }
    }
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
        memory->refused(memory->context, block == NULL);
        return NULL;
    }
    void *result;
    if (block != NULL && is_small(old_size) && is_small(new_size) && kind_of(old_size) == kind_of(new_size)) {
        result = block;
    } else if (block != NULL && !is_small(old_size) && !is_small(new_size)) {
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

static void free_all(sy_slab *slab) {
    while (slab != NULL) {
        sy_slab *next = slab->next;
        unmap_slab(slab);
        slab = next;
    }
}

size_t sy_memory_spare(const sy_memory *memory) { return memory->empty_count * SLAB_SIZE; }

void sy_memory_trim(sy_memory *memory) {
    free_all(memory->empty);
    memory->empty = NULL;
    memory->empty_count = 0;
}

void sy_memory_free(sy_memory *memory) {
    for (size_t kind = 0; kind < SY_MEMORY_KINDS; kind++) free_all(memory->open[kind]);
    free_all(memory->full);
    free_all(memory->empty);
}
