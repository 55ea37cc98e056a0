/* SPDX-License-Identifier: MIT */
/* Bump allocation in blocks that double up to BLOCK_MAX_BYTES. A request larger than that gets
 * a block of its own behind the current one, which stays in use. */
#include "base/arena.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/budget.h"

#define ALIGNMENT       16u
#define BLOCK_MIN_BYTES 1024u
#define BLOCK_MAX_BYTES 65536u

struct arena_block {
    struct arena_block *older;
    size_t bytes; /* of memory[] */
    _Alignas(ALIGNMENT) char memory[];
};

struct arena_cleanup {
    struct arena_cleanup *older;
    arena_cleanup_fn *fn;
    void *object;
};

static void
rewind_to_first(struct arena *arena)
{
    arena->next = arena->first;
    arena->end = arena->first == NULL ? NULL : arena->next + arena->first_bytes;
    arena->used_bytes = arena->first_bytes;
    arena->blocks = NULL;
    arena->cleanups = NULL;
}

void
arena_init(struct arena *arena, void *first, size_t first_bytes, size_t ceiling_bytes)
{
    WEIR_ASSERT(((uintptr_t)first & (ALIGNMENT - 1)) == 0);
    arena->first = first;
    arena->first_bytes = first == NULL ? 0 : first_bytes & ~(size_t)(ALIGNMENT - 1);
    arena->ceiling_bytes = ceiling_bytes;
    arena->is_counted = false;
    rewind_to_first(arena);
}

void
arena_reset(struct arena *arena)
{
    /* A cleanup may register another one; take them one at a time. */
    while (arena->cleanups != NULL) {
        struct arena_cleanup *cleanup = arena->cleanups;
        arena->cleanups = cleanup->older;
        cleanup->fn(cleanup->object);
    }
    struct arena_block *block = arena->blocks;
    while (block != NULL) {
        struct arena_block *older = block->older;
        if (arena->is_counted) {
            budget_give(block->bytes);
        }
        free(block);
        block = older;
    }
    rewind_to_first(arena);
}

static size_t
next_block_bytes(const struct arena *arena, size_t wanted_bytes)
{
    size_t bytes = arena->blocks == NULL ? BLOCK_MIN_BYTES : arena->blocks->bytes * 2;
    if (bytes > BLOCK_MAX_BYTES) {
        bytes = BLOCK_MAX_BYTES;
    }
    return bytes < wanted_bytes ? wanted_bytes : bytes;
}

static void *
alloc_from_new_block(struct arena *arena, size_t bytes)
{
    size_t left = arena->ceiling_bytes - arena->used_bytes;
    if (arena->used_bytes > arena->ceiling_bytes || bytes > left) {
        return NULL;
    }
    size_t block_bytes = next_block_bytes(arena, bytes);
    if (block_bytes > left) {
        block_bytes = left & ~(size_t)(ALIGNMENT - 1);
        if (block_bytes < bytes) {
            return NULL;
        }
    }
    struct arena_block *block = malloc(sizeof(*block) + block_bytes);
    if (block == NULL) {
        return NULL;
    }
    block->bytes = block_bytes;
    block->older = arena->blocks;
    arena->blocks = block;
    arena->used_bytes += block_bytes;
    if (arena->is_counted) {
        budget_take(block_bytes);
    }

    /* Stay with whichever block has more room left. */
    if (block_bytes - bytes > (size_t)(arena->end - arena->next)) {
        arena->next = block->memory + bytes;
        arena->end = block->memory + block_bytes;
    }
    return block->memory;
}

void *
arena_alloc(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - ALIGNMENT) {
        return NULL;
    }
    size_t rounded = bytes == 0 ? ALIGNMENT
                                : (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (rounded > (size_t)(arena->end - arena->next)) {
        return alloc_from_new_block(arena, rounded);
    }
    void *memory = arena->next;
    arena->next += rounded;
    return memory;
}

void *
arena_zalloc(struct arena *arena, size_t bytes)
{
    void *memory = arena_alloc(arena, bytes);
    return memory == NULL ? NULL : memset(memory, 0, bytes);
}

void *
arena_array(struct arena *arena, size_t count, size_t element_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, element_bytes, &bytes)) {
        return NULL;
    }
    return arena_zalloc(arena, bytes);
}

struct weir_str
arena_copy(struct arena *arena, struct weir_str s)
{
    char *copy = s.len == SIZE_MAX ? NULL : arena_alloc(arena, s.len + 1);
    if (copy == NULL) {
        return weir_str_make(NULL, 0);
    }
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    return weir_str_make(copy, s.len);
}

int
arena_defer(struct arena *arena, arena_cleanup_fn *fn, void *object)
{
    struct arena_cleanup *cleanup = arena_alloc(arena, sizeof(*cleanup));
    if (cleanup == NULL) {
        return -ENOMEM;
    }
    cleanup->fn = fn;
    cleanup->object = object;
    cleanup->older = arena->cleanups;
    arena->cleanups = cleanup;
    return 0;
}
