/* SPDX-License-Identifier: MIT */
/* Counted slices: the form in which bodies travel. A slice is a run of bytes in memory or a
 * range of an open file; bytes are never copied to pass them on.
 *
 * Whoever holds a slice holds one reference of its `hold` (NULL: the bytes outlive everything).
 * The last slice_drop() calls the hold's free function. Counts are not atomic: slices of one
 * hold belong to one loop at a time, and what crosses threads is handed over whole. */
#ifndef WEIR_BASE_SLICE_H
#define WEIR_BASE_SLICE_H

#include <stdint.h>

#include <weir/str.h>

/* Embedded in whatever owns the bytes: a heap block, a mapping, a cached file. */
struct hold {
    uint32_t references;
    void (*free)(struct hold *hold);
    /* NULL, or asked before each portion of a file is sent: 0, or a negative errno when its
     * bytes are not those any more that the slice was made for. */
    int (*check)(struct hold *hold);
};

enum slice_kind {
    SLICE_BYTES,
    SLICE_FILE
};

struct slice {
    union {
        const char *ptr;      /* SLICE_BYTES */
        uint64_t file_offset; /* SLICE_FILE */
    };
    uint64_t len; /* bytes */
    struct hold *hold;
    enum slice_kind kind;
    int fd; /* SLICE_FILE: borrowed from the hold; else -1 */
};

/* Bytes that outlive every use: constants, the configuration. */
static inline struct slice
slice_static(struct weir_str bytes)
{
    return (struct slice){ .ptr = bytes.ptr, .len = bytes.len, .kind = SLICE_BYTES, .fd = -1 };
}

/* Bytes owned by `hold`, of which the slice takes a reference of its own. */
struct slice slice_of(struct hold *hold, struct weir_str bytes);

/* A range of an open file, owned by `hold` like slice_of(). */
struct slice slice_of_file(struct hold *hold, int fd, uint64_t offset, uint64_t len);

/* A copy of `bytes` on the heap. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int slice_copy(struct weir_str bytes, struct slice *out);

/* `len` bytes on the heap for the caller to fill through *memory. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int slice_alloc(size_t len, struct slice *out, char **memory);

/* The part of `slice` from `offset`, `len` bytes long, with a reference of its own. */
struct slice slice_part(const struct slice *slice, uint64_t offset, uint64_t len);

/* Gives the reference back; *slice is empty afterwards. */
void slice_drop(struct slice *slice);

/* Moves the front of the slice on by `bytes`, no more than it has. */
static inline void
slice_advance(struct slice *slice, uint64_t bytes)
{
    if (slice->kind == SLICE_FILE) {
        slice->file_offset += bytes;
    } else {
        slice->ptr += bytes;
    }
    slice->len -= bytes;
}

void hold_init(struct hold *hold, void (*free_fn)(struct hold *hold)); /* one reference */
void hold_ref(struct hold *hold);                                      /* NULL: nothing */
void hold_unref(struct hold *hold); /* NULL: nothing; may free */

/* Slices in order. Holds one reference for each; a few fit without an allocation. */
#define SLICE_QUEUE_INLINE 4

struct slice_queue {
    struct slice *grown; /* owned; NULL while the inline ones suffice */
    uint32_t first, count, capacity;
    uint64_t bytes; /* sum of all lengths */
    struct slice inlined[SLICE_QUEUE_INLINE];
};

void slice_queue_init(struct slice_queue *queue);
void slice_queue_clear(struct slice_queue *queue);

/* Drops all; usable afterwards. */
static inline void
slice_queue_fini(struct slice_queue *queue)
{
    if (queue->count > 0 || queue->grown != NULL) {
        slice_queue_clear(queue);
    }
}

/* Appends; the queue takes over the caller's reference, also on failure. Empty slices are
 * dropped. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int slice_queue_push(struct slice_queue *queue, struct slice slice);

/* The same at the front: what was taken off and was not wanted yet. */
WEIR_MUST_USE int slice_queue_push_front(struct slice_queue *queue, struct slice slice);

/* Appends a copy of `bytes`. Small runs share a block of memory, so that a body that comes, or
 * is written, byte by byte costs little more than its bytes. Returns 0; -ENOMEM, when nothing
 * was appended. */
WEIR_MUST_USE int slice_queue_append(struct slice_queue *queue, struct weir_str bytes);

/* The i-th from the front, i < count; borrowed until the queue changes. */
static inline struct slice *
slice_queue_at(struct slice_queue *queue, uint32_t i)
{
    struct slice *ring = queue->grown == NULL ? queue->inlined : queue->grown;
    return &ring[(queue->first + i) & (queue->capacity - 1)];
}

/* Takes `bytes` off the front, no more than queue->bytes. */
void slice_queue_consume(struct slice_queue *queue, uint64_t bytes);

/* Moves the first `bytes` (no more than there are) from one queue to another, splitting a slice
 * where needed. Returns 0; -ENOMEM, when the part already moved stays moved. */
WEIR_MUST_USE int slice_queue_move(struct slice_queue *from, struct slice_queue *to,
        uint64_t bytes);

#endif
