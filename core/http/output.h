/* SPDX-License-Identifier: MIT */
/* What a turn of a connection writes, so that it leaves in one call: small pieces are joined in
 * the engine's buffer, large ones and files queue as slices behind and between them.
 *
 * An output lives on the stack while a connection has its turn, and one connection has its turn
 * at a time; what the socket does not take is kept on the heap until the next.
 * Thread: the engine's loop. */
#ifndef WEIR_HTTP_OUTPUT_H
#define WEIR_HTTP_OUTPUT_H

#include "base/slice.h"
#include "http/engine.h"
#include "net/stream.h"

enum output_result {
    OUTPUT_SENT,    /* everything */
    OUTPUT_BLOCKED, /* the rest when STREAM_WRITABLE comes */
    OUTPUT_YIELDED, /* enough for one turn; the socket would take more */
    OUTPUT_BROKEN,  /* nothing will be taken any more */
};

/* Kept between turns, in the connection. */
struct output_state {
    struct slice_queue *unsent;        /* owned; NULL when there is nothing */
    uint64_t queued_bytes, sent_bytes; /* since the connection began */
};

struct output {
    struct output_state *state; /* borrowed */
    struct stream *stream;      /* borrowed */
    char *buffer;               /* borrowed: the engine's */
    size_t used_bytes;          /* of the buffer */
    uint64_t turn_bytes;        /* sent in this turn */
    enum output_result last;    /* of the last flush */
    bool is_out_of_memory;      /* something could not be queued: the connection must end */
    bool has_source_failed;     /* OUTPUT_BROKEN: a file, and not the peer, is at fault */
    struct slice_queue queue;
};

/* Takes up what the last turn left. */
void output_begin(struct output *output, struct engine *engine, struct stream *stream,
        struct output_state *state);

/* Appends a copy. */
void output_bytes(struct output *output, struct weir_str bytes);

/* `bytes` (at most ENGINE_OUTPUT_BYTES) of memory to fill, then to be confirmed with
 * output_wrote(); NULL when the socket must take something first (output->last says what it
 * did) or there is no memory. */
char *output_reserve(struct output *output, size_t bytes);
void output_wrote(struct output *output, size_t bytes);

/* Appends a copy of the first `len` bytes where that is cheaper than to pass them on: short
 * runs in memory, while there is room. The slice stays the caller's. */
bool output_join(struct output *output, const struct slice *slice, uint64_t len);

/* Appends, taking over the reference, joining what can be. */
void output_slice(struct output *output, struct slice slice);

/* Writes. Idempotent when there is nothing. */
enum output_result output_flush(struct output *output);

/* Ends the turn: keeps what is left. Returns 0; -ENOMEM, when it is lost and the connection
 * must end. */
WEIR_MUST_USE int output_end(struct output *output);

/* Drops what is kept. */
void output_state_fini(struct output_state *state);

#endif
