/* SPDX-License-Identifier: MIT */
/* A stream without a socket: a test plays the peer. What the peer sends is read by the server's
 * side in the pieces in which it was sent or smaller; what the server writes is collected, and
 * may be held back to play a slow reader. Events arrive at the end of the loop's turn.
 *
 * The test owns the object; the server's stream_close() only marks it. Thread: the loop's. */
#ifndef WEIR_TESTKIT_MEMORY_STREAM_H
#define WEIR_TESTKIT_MEMORY_STREAM_H

#include "base/buf.h"
#include "event/loop.h"
#include "net/stream.h"

struct memory_stream {
    struct stream stream; /* first */
    struct loop *loop;
    struct loop_task task;
    struct buf incoming;    /* sent by the peer, not read yet */
    struct buf received;    /* written by the server */
    uint64_t allowed_bytes; /* the server may still write; UINT64_MAX: no limit */
    size_t read_max_bytes;  /* of one read; SIZE_MAX: no limit */
    unsigned pending_events;
    bool peer_ended, peer_reset;  /* what the test did */
    bool was_blocked;             /* a write was refused */
    bool is_shut_down, is_closed; /* what the server did */
    bool was_reset;
    struct addr local;      /* what stream_local() answers; .len 0: that it is not known */
    unsigned reads, writes; /* calls that moved bytes */
};

void memory_stream_init(struct memory_stream *memory, struct loop *loop,
        stream_event_fn *on_event, void *owner);
void memory_stream_fini(struct memory_stream *memory);

/* Room for `bytes` in each direction, so that the peer's side needs no memory while the
 * server's is denied it. */
void memory_stream_reserve(struct memory_stream *memory, size_t bytes);

/* The peer sends, ends its side, or resets. */
void memory_stream_send(struct memory_stream *memory, struct weir_str bytes);
void memory_stream_end(struct memory_stream *memory);
void memory_stream_reset(struct memory_stream *memory);

/* The peer makes room for `bytes` more. */
void memory_stream_allow(struct memory_stream *memory, uint64_t bytes);

#endif
