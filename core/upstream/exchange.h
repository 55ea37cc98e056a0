/* SPDX-License-Identifier: MIT */
/* One request to an upstream and its answer.
 *
 *                  no connection is free            connected
 *     exchange_begin() --> QUEUED --> CONNECTING ------------> RUNNING --> OVER
 *           |                            ^  |                   |  |
 *           +----------------------------+  +-- next target ----+  +-- one replay, see below
 *           +--a kept connection--------------------------------^
 *
 * Sending and receiving go on side by side: an answer may come before the request's body is
 * sent, and the rest of that is not sent then. The body is taken from the request as the socket
 * takes it, and the answer's body is read up to a mark, so that memory is bounded both ways.
 *
 * Replay: when a connection that was kept ends before a byte of the answer, everything is sent
 * once more on a new one, if the method is idempotent, or nothing was sent, and what was of the
 * body is still there (up to EXCHANGE_REPLAY_BYTES). What came to nothing otherwise may go on
 * to another target: retry.h.
 *
 * Whoever made an exchange is told of news by on_news(), and asks then; on_news() must not end
 * the exchange. Thread: the loop's. */
#ifndef WEIR_UPSTREAM_EXCHANGE_H
#define WEIR_UPSTREAM_EXCHANGE_H

#include <weir/exchange.h>

#include "base/budget.h"
#include "base/slice.h"
#include "event/timer.h"
#include "http/request.h"
#include "upstream/answer.h"
#include "upstream/choose.h"

struct output;
struct upstream_conn;

/* Of an answer's body that nobody takes, so much is read and little more; and while memory is
 * tight. */
#define EXCHANGE_MARK_BYTES       65536u
#define EXCHANGE_TIGHT_MARK_BYTES 4096u

/* Of a request's body, so much is kept for a replay. */
#define EXCHANGE_REPLAY_BYTES 65536u

/* Interim answers to one request. */
#define EXCHANGE_INTERIM_MAX 16u

enum exchange_state {
    EXCHANGE_NEW,
    EXCHANGE_QUEUED,
    EXCHANGE_CONNECTING,
    EXCHANGE_RUNNING,
    EXCHANGE_OVER,
};

/* How far the request has come. */
enum exchange_sending {
    EXCHANGE_SENDS_HEAD,
    EXCHANGE_SENDS_BODY,
    EXCHANGE_SENT,
    EXCHANGE_SENDS_NO_MORE, /* the peer takes nothing any more; its answer may yet come */
};

/* A 1xx answer, in the request's arena. */
struct exchange_interim {
    struct exchange_interim *next;
    unsigned status;
    struct weir_str lines; /* its end-to-end fields, whole lines */
};

struct exchange {
    /* Fixed before exchange_begin(). */
    struct upstream_group *group; /* borrowed */
    struct weir_request *request; /* borrowed; its arena takes the answer's head */
    void (*on_news)(struct exchange *exchange);
    struct slice head;         /* owned: the whole head as it is sent */
    bool has_body, is_chunked; /* the request's body goes along, in chunks */
    bool is_to_head;           /* the method is HEAD */
    struct weir_str upgrade;   /* asks to go on in this protocol; empty: in HTTP */
    bool is_idempotent;
    uint32_t retry_on; /* WEIR_RETRY_..., or-ed */
    struct upstream_wish wish;

    /* Changes. */
    enum exchange_state state;
    enum exchange_sending sending;
    enum weir_exchange_error error; /* when it is over */
    enum answer_fault fault;
    struct upstream_target *target; /* counted: asked last; NULL: none yet, or it has ended */
    struct upstream_conn *conn;     /* its own while CONNECTING and RUNNING */
    struct upstream_tried tried;
    uint64_t began_ns, ended_ns;  /* the latter 0: it is not over */
    uint64_t connect_ns, head_ns; /* how long the connection and the head took; 0: kept, none */
    bool was_replayed, has_connected;
    uint32_t retries_left, retries; /* the latter were made */
    uint32_t retry_reason;          /* why the next target is asked; 0: it is the first */
    uint64_t sent_before;           /* on its connection, when that became its own */
    enum weir_exchange_error connect_error; /* what to say when no target is left */
    bool can_replay_body;                   /* all that was sent of it is in `sent_body` */
    bool has_received;                      /* a byte of an answer */
    struct slice_queue sent_body;
    struct slice_queue unsent_body; /* of a replay: goes before what the request has */

    /* The queue. */
    struct exchange *next;
    struct timer timer;
    uint64_t queue_until_ns; /* 0: it has not waited */

    /* The answer. */
    struct answer_reader reader;
    struct answer_head answer; /* has_head */
    bool has_head, has_body_reader;
    bool is_complete;    /* all of it has come */
    bool is_passed_over; /* another target is asked: nobody sees it */
    bool is_switched;    /* it was 101, and what follows is a tunnel: upstream/tunnel.h */
    bool has_news;
    bool is_held; /* nothing is read, since what was is not taken */
    unsigned interims;
    struct exchange_interim *interim, **interim_end; /* not taken yet, oldest first */
    struct answer_body body_reader;
    struct slice_queue body; /* what has come and was not taken */
};

static inline uint64_t
exchange_mark_bytes(void)
{
    return budget_level() == BUDGET_AMPLE ? EXCHANGE_MARK_BYTES : EXCHANGE_TIGHT_MARK_BYTES;
}

/* The caller has filled in the fixed part; the rest is zero. Begins; on_news() may be called
 * from within. */
void exchange_begin(struct exchange *exchange);

/* Ends it, whatever it does; frees what it owns. Again: nothing. */
void exchange_end(struct exchange *exchange);

/* There is more of the request's body, or its end, or a failure of it; or there is room for the
 * answer's again. */
void exchange_wake(struct exchange *exchange);

/* Trailers of the answer: whole lines; when it is complete. */
struct weir_str exchange_trailers(const struct exchange *exchange);

/* Takes the oldest interim answer; NULL when there is none. Lives as long as the request. */
struct exchange_interim *exchange_take_interim(struct exchange *exchange);

/* ---- for conn.c and group.c -------------------------------------------------------------- */

/* Its connection is there. */
void exchange_connected(struct exchange *exchange);

/* Its connection, which this closes, never will be there, was lost, or took too long: another
 * may take its place, or the exchange is over. */
void exchange_conn_failed(struct exchange *exchange, enum weir_exchange_error error);

enum exchange_turn {
    EXCHANGE_GOES_ON,
    EXCHANGE_GIVES_BACK,  /* it is complete, and so is what was sent: the connection is kept */
    EXCHANGE_THROWS_AWAY, /* it is complete, but the connection has no other use */
    EXCHANGE_PASSES_OVER, /* its answer: another target is asked */
    EXCHANGE_FAILS,       /* for *error */
};

/* Writes and reads what can be, in its connection's turn. Any but EXCHANGE_GOES_ON is to be
 * followed by exchange_over(), exchange_pass_over() or exchange_conn_failed(), when the turn
 * is. */
WEIR_MUST_USE enum exchange_turn exchange_turn(struct exchange *exchange, struct output *output,
        enum weir_exchange_error *error);

/* The connection has been taken from it: it is complete. */
void exchange_over(struct exchange *exchange);

/* Gives its connection back, or closes it, and asks another target. */
void exchange_pass_over(struct exchange *exchange);

/* Not a byte of the request has left on the connection that it has. */
bool exchange_has_sent_nothing(const struct exchange *exchange);

/* Tells its owner, if there is anything to tell. */
void exchange_tell(struct exchange *exchange);

/* When what is waited for must have come; CLOCK_NEVER: the upstream is not what is waited for.
 */
uint64_t exchange_deadline(const struct exchange *exchange);

/* Its turn in the queue has come. */
void exchange_unqueued(struct exchange *exchange);

#endif
