/* SPDX-License-Identifier: MIT */
/* Lines on their way from one thread to the one that writes them: a ring of bytes with one
 * producer and one consumer, neither of which ever waits for the other. A record is never
 * split, so that it can be written from where it lies. */
#ifndef WEIR_OBSERVE_LOG_RING_H
#define WEIR_OBSERVE_LOG_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <weir/str.h>

#define LOG_RING_BYTES (1u << 20)

struct log_ring {
    char *bytes;           /* owned; LOG_RING_BYTES */
    _Atomic uint64_t head; /* producer's; bytes ever put in */
    _Atomic uint64_t tail; /* consumer's; bytes ever given back */
    atomic_bool is_urgent; /* more than half full; the consumer has been told */
    atomic_bool is_orphan; /* its producer has ended */
    struct log_ring *next; /* the owner's list */
};

/* A line as it lies in the ring. */
struct log_record {
    void *file;     /* whose line it is; NULL: nothing but room up to the ring's end */
    uint32_t bytes; /* of the line, which follows */
    uint32_t room;  /* of the record, itself included */
};

/* NULL: no memory. */
WEIR_MUST_USE struct log_ring *log_ring_new(void);
void log_ring_free(struct log_ring *ring);

/* Appends `line` and a line's end, for `file`. False when there is no room. Producer's thread.
 */
bool log_ring_put(struct log_ring *ring, void *file, struct weir_str line);

/* True when it is more than half full. Producer's thread. */
bool log_ring_is_half_full(struct log_ring *ring);

/* The record at *at, which begins as the ring's tail and is moved behind it; NULL at `head`.
 * Consumer's thread. */
const struct log_record *log_ring_next(const struct log_ring *ring, uint64_t *at,
        uint64_t head);

#endif
