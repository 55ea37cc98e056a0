/* SPDX-License-Identifier: MIT */
/* Counted slices and their queue, a ring that starts inside its owner. */
#include "base/slice.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/budget.h"

/* Blocks for small runs (slice_queue_append()). */
#define BLOCK_BYTES 2048u

struct heap_hold {
    struct hold hold;
    size_t used, capacity; /* of memory; what lies behind `used` is nobody's yet */
    char memory[];
};

void
hold_init(struct hold *hold, void (*free_fn)(struct hold *hold))
{
    hold->references = 1;
    hold->free = free_fn;
    hold->check = NULL;
}

void
hold_ref(struct hold *hold)
{
    if (hold != NULL) {
        WEIR_ASSERT(hold->references > 0 && hold->references < UINT32_MAX);
        hold->references++;
    }
}

void
hold_unref(struct hold *hold)
{
    if (hold == NULL) {
        return;
    }
    WEIR_ASSERT(hold->references > 0);
    if (--hold->references == 0) {
        hold->free(hold);
    }
}

struct slice
slice_of(struct hold *hold, struct weir_str bytes)
{
    hold_ref(hold);
    struct slice slice = slice_static(bytes);
    slice.hold = hold;
    return slice;
}

struct slice
slice_of_file(struct hold *hold, int fd, uint64_t offset, uint64_t len)
{
    hold_ref(hold);
    return (struct slice){ .file_offset = offset,
        .len = len,
        .hold = hold,
        .kind = SLICE_FILE,
        .fd = fd };
}

static void
free_heap(struct hold *hold)
{
    struct heap_hold *heap = (struct heap_hold *)((char *)hold -
            offsetof(struct heap_hold, hold));
    budget_give(heap->capacity);
    free(heap);
}

/* A block of `capacity` bytes, `used` of them in use; NULL without memory. */
static struct heap_hold *
new_heap(size_t used, size_t capacity)
{
    size_t bytes;
    struct heap_hold *heap = NULL;
    if (!__builtin_add_overflow(capacity, sizeof(struct heap_hold), &bytes)) {
        heap = malloc(bytes);
    }
    if (heap != NULL) {
        hold_init(&heap->hold, free_heap);
        budget_take(capacity);
        heap->used = used;
        heap->capacity = capacity;
    }
    return heap;
}

int
slice_alloc(size_t len, struct slice *out, char **memory)
{
    struct heap_hold *heap = new_heap(len, len);
    if (heap == NULL) {
        return -ENOMEM;
    }
    *out = slice_static(weir_str_make(heap->memory, len));
    out->hold = &heap->hold;
    *memory = heap->memory;
    return 0;
}

int
slice_copy(struct weir_str bytes, struct slice *out)
{
    char *memory;
    int r = slice_alloc(bytes.len, out, &memory);
    if (r == 0 && bytes.len > 0) {
        memcpy(memory, bytes.ptr, bytes.len);
    }
    return r;
}

struct slice
slice_part(const struct slice *slice, uint64_t offset, uint64_t len)
{
    WEIR_ASSERT(offset <= slice->len && len <= slice->len - offset);
    struct slice part = *slice;
    hold_ref(part.hold);
    slice_advance(&part, offset);
    part.len = len;
    return part;
}

void
slice_drop(struct slice *slice)
{
    struct hold *hold = slice->hold;
    *slice = slice_static(weir_str_make(NULL, 0));
    hold_unref(hold);
}

void
slice_queue_init(struct slice_queue *queue)
{
    queue->grown = NULL;
    queue->first = queue->count = 0;
    queue->capacity = SLICE_QUEUE_INLINE;
    queue->bytes = 0;
}

void
slice_queue_clear(struct slice_queue *queue)
{
    for (uint32_t i = 0; i < queue->count; i++) {
        slice_drop(slice_queue_at(queue, i));
    }
    free(queue->grown);
    slice_queue_init(queue);
}

static int
grow(struct slice_queue *queue)
{
    if (queue->capacity > UINT32_MAX / 2) {
        return -ENOMEM;
    }
    uint32_t capacity = queue->capacity * 2;
    struct slice *ring = malloc(capacity * sizeof(*ring));
    if (ring == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        ring[i] = *slice_queue_at(queue, i);
    }
    free(queue->grown);
    queue->grown = ring;
    queue->capacity = capacity;
    queue->first = 0;
    return 0;
}

/* Room for one more slice, which it takes over and drops where there is none. Returns 1 when it
 * is to be put in, 0 when it was empty, -ENOMEM. */
static int
make_room(struct slice_queue *queue, struct slice *slice)
{
    if (slice->len == 0) {
        slice_drop(slice);
        return 0;
    }
    if (queue->count == queue->capacity && grow(queue) < 0) {
        slice_drop(slice);
        return -ENOMEM;
    }
    return 1;
}

int
slice_queue_push(struct slice_queue *queue, struct slice slice)
{
    int r = make_room(queue, &slice);
    if (r <= 0) {
        return r;
    }
    *slice_queue_at(queue, queue->count) = slice;
    queue->count++;
    queue->bytes += slice.len;
    return 0;
}

int
slice_queue_push_front(struct slice_queue *queue, struct slice slice)
{
    int r = make_room(queue, &slice);
    if (r <= 0) {
        return r;
    }
    queue->first--; /* taken modulo the capacity, a power of two */
    queue->count++;
    queue->bytes += slice.len;
    *slice_queue_at(queue, 0) = slice;
    return 0;
}

/* The block at whose used end the last slice ends; NULL when there is none. Nobody else can
 * take the room behind it: that end moves with whoever does. */
static struct heap_hold *
last_block(struct slice_queue *queue, struct slice **last)
{
    if (queue->count == 0) {
        return NULL;
    }
    *last = slice_queue_at(queue, queue->count - 1);
    if ((*last)->kind != SLICE_BYTES || (*last)->hold == NULL ||
            (*last)->hold->free != free_heap) {
        return NULL;
    }
    struct heap_hold *heap = (struct heap_hold *)((char *)(*last)->hold -
            offsetof(struct heap_hold, hold));
    return (*last)->ptr + (*last)->len == heap->memory + heap->used ? heap : NULL;
}

int
slice_queue_append(struct slice_queue *queue, struct weir_str bytes)
{
    if (bytes.len == 0) {
        return 0;
    }
    struct slice *last = NULL;
    struct heap_hold *heap = last_block(queue, &last);
    size_t joined = heap == NULL ? 0 : heap->capacity - heap->used;
    joined = joined < bytes.len ? joined : bytes.len;
    size_t left = bytes.len - joined;
    if (left > 0) {
        /* First what can fail; then the room in the last block is filled. */
        struct heap_hold *next = new_heap(left, left < BLOCK_BYTES ? BLOCK_BYTES : left);
        if (next == NULL) {
            return -ENOMEM;
        }
        memcpy(next->memory, bytes.ptr + joined, left);
        struct slice slice = slice_static(weir_str_make(next->memory, left));
        slice.hold = &next->hold;
        if (slice_queue_push(queue, slice) < 0) {
            return -ENOMEM;
        }
        last = joined == 0 ? NULL : slice_queue_at(queue, queue->count - 2); /* it may move */
    }
    if (joined > 0) {
        memcpy(heap->memory + heap->used, bytes.ptr, joined);
        heap->used += joined;
        last->len += joined;
        queue->bytes += joined;
    }
    return 0;
}

void
slice_queue_consume(struct slice_queue *queue, uint64_t bytes)
{
    WEIR_ASSERT(bytes <= queue->bytes);
    queue->bytes -= bytes;
    while (bytes > 0) {
        struct slice *front = slice_queue_at(queue, 0);
        if (front->len > bytes) {
            slice_advance(front, bytes);
            return;
        }
        bytes -= front->len;
        slice_drop(front);
        queue->first++;
        queue->count--;
    }
}

int
slice_queue_move(struct slice_queue *from, struct slice_queue *to, uint64_t bytes)
{
    WEIR_ASSERT(bytes <= from->bytes);
    while (bytes > 0) {
        const struct slice *front = slice_queue_at(from, 0);
        uint64_t len = front->len < bytes ? front->len : bytes;
        int r = slice_queue_push(to, slice_part(front, 0, len));
        if (r < 0) {
            return r;
        }
        slice_queue_consume(from, len);
        bytes -= len;
    }
    return 0;
}
