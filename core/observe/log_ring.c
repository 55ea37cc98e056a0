/* SPDX-License-Identifier: MIT */
/* `head` is stored with sequential consistency: the producer then looks whether the consumer
 * sleeps, and the consumer says that it sleeps before it looks at `head` a last time. One of
 * the two sees the other. */
#include "observe/log_ring.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_ALIGNED(bytes) (((bytes) + 15u) & ~(size_t)15u)

struct log_ring *
log_ring_new(void)
{
    struct log_ring *ring = calloc(1, sizeof(*ring));
    char *bytes = malloc(LOG_RING_BYTES);
    if (ring == NULL || bytes == NULL) {
        free(ring);
        free(bytes);
        return NULL;
    }
    ring->bytes = bytes;
    return ring;
}

void
log_ring_free(struct log_ring *ring)
{
    if (ring != NULL) {
        free(ring->bytes);
        free(ring);
    }
}

static struct log_record *
record_at(const struct log_ring *ring, uint64_t at)
{
    return (struct log_record *)(void *)(ring->bytes + at % LOG_RING_BYTES);
}

bool
log_ring_put(struct log_ring *ring, void *file, struct weir_str line)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    /* Pairs with the consumer's release: it has done with what it gave back. */
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    size_t room = RECORD_ALIGNED(sizeof(struct log_record) + line.len + 1);
    size_t to_end = LOG_RING_BYTES - head % LOG_RING_BYTES;
    size_t skipped = room > to_end ? to_end : 0;
    if (skipped + room > LOG_RING_BYTES - (head - tail)) {
        return false;
    }
    if (skipped > 0) {
        *record_at(ring, head) = (struct log_record){ .file = NULL, .room = (uint32_t)skipped };
        head += skipped;
    }
    struct log_record *record = record_at(ring, head);
    *record = (struct log_record){ file, (uint32_t)line.len + 1, (uint32_t)room };
    char *bytes = (char *)(record + 1);
    if (line.len > 0) {
        memcpy(bytes, line.ptr, line.len);
    }
    bytes[line.len] = '\n';
    atomic_store(&ring->head, head + room);
    return true;
}

bool
log_ring_is_half_full(struct log_ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_relaxed) -
            atomic_load_explicit(&ring->tail, memory_order_relaxed) >
            LOG_RING_BYTES / 2;
}

const struct log_record *
log_ring_next(const struct log_ring *ring, uint64_t *at, uint64_t head)
{
    while (*at < head) {
        const struct log_record *record = record_at(ring, *at);
        *at += record->room;
        if (record->file != NULL) {
            return record;
        }
    }
    return NULL;
}
