/* SPDX-License-Identifier: MIT */
/* One connection to a target: begun, used by one exchange at a time, kept between them.
 *
 *                    connected            given back whole
 *     CONNECTING --------------> BUSY ---------------------> KEPT
 *          |                      | ^                          |
 *          |                      | +--- taken, last in -------+
 *          |                      |      first out             |
 *          +-- refused, too late -+-- anything irregular ------+-- a byte, the end, too long
 *                                 v
 *                              closed
 *
 * A connection that anything was wrong with is never kept. Its work is done in turns: at
 * events, and in a task at the end of the loop's turn when its exchange has something for it,
 * never within a turn of a client's connection. Thread: the loop's. */
#ifndef WEIR_UPSTREAM_CONN_H
#define WEIR_UPSTREAM_CONN_H

#include <weir/exchange.h>

#include "event/loop.h"
#include "event/timer.h"
#include "http/output.h"
#include "net/connect.h"
#include "upstream/group.h"

struct exchange;

struct upstream_conn {
    /* Fixed at birth. */
    struct upstream_target *target; /* counted */
    struct stream *stream;          /* owned; its memory is below */

    /* Changes. */
    struct exchange *exchange;          /* borrowed; NULL: it is kept */
    struct upstream_conn *next, **link; /* in target->idle */
    bool is_connected;
    bool was_kept;     /* it has served an exchange before this one */
    bool has_ended;    /* the peer has said its last, or worse: it is of no further use */
    bool may_read;     /* the last read did not empty the stream */
    bool is_blocked;   /* the last write did not empty the output */
    uint64_t idle_ns;  /* how long it may be kept: the peer's word, or the configuration's */
    uint64_t since_ns; /* connecting, or kept; moved by either */
    uint64_t sent_ns, received_ns; /* the last progress in either direction */
    uint64_t turn;                 /* of the loop, in which it ran so often: */
    unsigned turn_runs;
    struct timer timer;
    struct loop_task task;
    struct output_state output;

    _Alignas(8) unsigned char stream_memory[CONNECT_STREAM_BYTES];
};

/* Begins a connection for the exchange. Returns WEIR_EXCHANGE_FINE, or why there will be none.
 */
WEIR_MUST_USE enum weir_exchange_error upstream_connect(struct upstream_target *target,
        struct exchange *exchange);

/* Takes the kept connection that was used last. False when there is none. */
WEIR_MUST_USE bool upstream_take_kept(struct upstream_target *target,
        struct exchange *exchange);

/* The exchange has something for its connection, or room: a turn follows soon. */
void upstream_conn_wake(struct upstream_conn *conn);

/* The exchange has ended well: keeps the connection, for at most `idle_s` seconds (0: as
 * configured), or closes it where enough are kept. */
void upstream_conn_keep(struct upstream_conn *conn, uint32_t idle_s);

/* Closes and frees it. `reset`: the peer is to see at once that what it was sent is not whole.
 */
void upstream_conn_close(struct upstream_conn *conn, bool reset);

/* Closes those that are kept: the peer has begun anew. */
void upstream_close_kept(struct upstream_target *target);

#endif
