/* SPDX-License-Identifier: MIT */
/* Memory that is freed all at once: what lives as long as a request or a configuration.
 *
 * Blocks grow from the first, which the owner may provide, up to a ceiling given at the start;
 * past it, and when the system has no memory, allocation answers NULL. What is not memory
 * (a descriptor, a counted object) registers a cleanup, run last in, first out.
 * Thread: whoever owns the arena. */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stdint.h>

#include <weir/str.h>

typedef void arena_cleanup_fn(void *object);

struct arena_block;
struct arena_cleanup;

struct arena {
    char *next, *end;               /* free bytes of the current block */
    struct arena_block *blocks;     /* owned; newest first; not the first, provided one */
    struct arena_cleanup *cleanups; /* newest first; memory is the arena's own */
    size_t used_bytes;              /* taken from the ceiling: sizes of all blocks */
    size_t ceiling_bytes;
    bool is_counted; /* its own blocks are taken from the budget (base/budget.h) */
    void *first;     /* borrowed: the provided block, NULL when there is none */
    size_t first_bytes;
};

/* `first` (may be NULL) is memory of the owner that outlives the arena and counts towards the
 * ceiling; it must be aligned to 16. */
void arena_init(struct arena *arena, void *first, size_t first_bytes, size_t ceiling_bytes);

/* From now on, before anything was allocated, blocks are taken from the budget. */
static inline void
arena_count(struct arena *arena)
{
    arena->is_counted = true;
}

/* Runs the cleanups and frees everything. The arena may be used again afterwards, as after
 * arena_init(). */
void arena_reset(struct arena *arena);

/* `bytes` of memory aligned to 16, not cleared; NULL at the ceiling or out of memory. Zero
 * bytes give a valid pointer. */
WEIR_MUST_USE void *arena_alloc(struct arena *arena, size_t bytes);

/* The same, cleared. */
WEIR_MUST_USE void *arena_zalloc(struct arena *arena, size_t bytes);

/* `count` elements, cleared; NULL also when the product wraps. */
WEIR_MUST_USE void *arena_array(struct arena *arena, size_t count, size_t element_bytes);

/* A terminated copy of `s`; .ptr is NULL when there is no memory. */
WEIR_MUST_USE struct weir_str arena_copy(struct arena *arena, struct weir_str s);

/* Calls fn(object) when the arena ends. Returns 0 or -ENOMEM; on failure nothing is
 * registered and the caller still owns `object`. */
WEIR_MUST_USE int arena_defer(struct arena *arena, arena_cleanup_fn *fn, void *object);

#endif
