/* SPDX-License-Identifier: MIT */
/* What the parts of an HTTP/1 connection share: its state, and that of a turn. Private to
 * h1*.c.
 *
 *     h1.c          the connection: its states, its turns, its beginning and end
 *     h1_steps.c    what each state does in a turn
 *     h1_preface.c  what a peer says before HTTP: for whom it speaks
 *     h1_input.c    bytes that have arrived, and what a turn leaves over
 *     h1_body.c     a request's body, into the request
 *     h1_tunnel.c   the connection as a tunnel, once it was answered 101
 *     h1_limits.c   which time limit runs out next
 *     h1_reply.c    an answer, into the output
 */
#ifndef WEIR_HTTP_H1_PARTS_H
#define WEIR_HTTP_H1_PARTS_H

#include "event/loop.h"
#include "event/timer.h"
#include "http/h1.h"
#include "http/h1_reply.h"
#include "http/output.h"
#include "http/request.h"
#include "net/proxy_protocol.h"
#include "net/tcp.h"

/* An unread body of up to this is read and dropped to keep the connection. */
#define H1_DISCARD_MAX_BYTES (256u << 10)

enum step_result {
    STEP_AGAIN, /* turn once more */
    STEP_WAIT,  /* back to the loop */
    STEP_GONE,  /* the connection is to be closed for conn->close_reason */
};

struct turn;

// clang-format off
#define H1_STATES(X)                                                                       \
    /* name      step              may go to                                           */  \
    X(REFUSING,  h1_step_refusing, MAY(FINISH) | MAY(CLOSED))                              \
    X(OPENING,   h1_step_opening,  MAY(PREFACE) | MAY(IDLE) | MAY(CLOSED))                 \
    X(PREFACE,   h1_step_preface,  MAY(OPENING) | MAY(IDLE) | MAY(CLOSED))                 \
    X(IDLE,      h1_step_idle,     MAY(HEAD) | MAY(FINISH) | MAY(CLOSED))                  \
    X(HEAD,      h1_step_head,     MAY(EXCHANGE) | MAY(FINISH) | MAY(CLOSED))              \
    X(EXCHANGE,  h1_step_exchange, MAY(IDLE) | MAY(DISCARD) | MAY(FINISH) | MAY(TUNNEL) |  \
            MAY(CLOSED))                                                                   \
    X(TUNNEL,    h1_step_tunnel,   MAY(FINISH) | MAY(CLOSED))                              \
    X(DISCARD,   h1_step_discard,  MAY(IDLE) | MAY(FINISH) | MAY(CLOSED))                  \
    X(FINISH,    h1_step_finish,   MAY(LINGER) | MAY(CLOSED))                              \
    X(LINGER,    h1_step_linger,   MAY(CLOSED))                                            \
    X(CLOSED,    NULL,             0)
// clang-format on

enum h1_state {
#define X(name, step, may) H1_##name,
    H1_STATES(X)
#undef X
};

/* Whom the peer speaks for (net/proxy_protocol.h). */
struct h1_preface {
    struct proxy_ends ends;      /* once it is read */
    struct proxy_reader *reader; /* owned; NULL: it is */
};

struct h1_conn {
    /* Fixed at birth. */
    struct engine *engine;              /* borrowed */
    const struct h1_settings *settings; /* borrowed */
    struct stream *stream;              /* owned; its memory is below */
    struct h1_watched *watched;         /* the watcher's; NULL: nobody is told */
    struct addr_ip peer;                /* whom it speaks for, once it has said so */

    /* Changes. */
    enum h1_state state         : 4;
    enum h1_close close_reason  : 8;
    enum h1_admission admission : 4; /* in OPENING */
    bool may_read               : 1; /* the last read did not empty the stream */
    bool peer_ended             : 1; /* a FIN was announced */
    bool has_read_end           : 1; /* and read */
    bool must_run               : 1; /* the request's handler has something to look at */
    bool is_last                : 1; /* the answer in hand ends the connection */
    bool must_linger            : 1; /* the client may still be sending when we close */
    bool is_cut                 : 1; /* the last answer is not whole and never will be */
    bool sent_continue          : 1; /* or the client does not wait for it */
    bool in_turn                : 1;
    bool is_stopping            : 1; /* engine_stop() */
    bool may_have_left          : 1; /* it waits, and a reset may stand behind what was read */
    bool reads_body             : 1; /* the client's time for its body runs, from since_ns */
    bool is_introduced          : 1; /* the peer has said for whom it speaks, or need not */
    bool has_shut               : 1; /* in TUNNEL: our flow has ended, and so it was said */
    struct carrier carrier;
    struct loop_task task;
    struct coarse_timer timer;
    const struct http_timeouts *timeouts; /* borrowed: those of the last request's route */
    struct weir_request *request;         /* owned; in HEAD, EXCHANGE and TUNNEL */
    struct weir_request *answered;        /* owned: answers in the output, oldest first */
    struct weir_request **answered_end;
    struct rest {
        size_t at, len;
        char bytes[];
    } * rest;                   /* owned: input that the last turn did not get to; NULL */
    struct h1_preface *preface; /* owned; NULL: it speaks for itself */
    struct output_state output;
    struct h1_reply reply;
    uint64_t requests;        /* begun */
    uint64_t body_left_bytes; /* of a body with a length */
    uint64_t since_ns; /* PREFACE, IDLE: in it; EXCHANGE: last body bytes; TUNNEL: last bytes;
                          DISCARD: the answer; LINGER: our FIN */
    uint64_t sent_ns;  /* the socket last took something */

    _Alignas(8) unsigned char stream_memory[TCP_STREAM_BYTES];
};

/* Thousands of them idle. What malloc() and libevent add comes to some 55 bytes each, and all
 * of it together is to stay within 512. */
_Static_assert(sizeof(struct h1_conn) <= 440, "an idle connection is small");

/* A turn of one connection: what lives only until it returns. */
struct turn {
    struct h1_conn *conn;
    struct weir_str input; /* in the loop's scratch memory, in `block`, or in conn->rest */
    struct slice block;    /* owned: the scratch memory that a body's part was passed on in */
    struct output output;
    unsigned reads, requests;
    uint64_t queued_before; /* conn->output.queued_bytes as it began */
    bool was_short;         /* the last read emptied the stream */
    bool by_bytes;          /* begun by STREAM_READABLE */
    bool must_yield;        /* goes on in the next turn of the loop */
};

static inline uint64_t
h1_now_ns(const struct h1_conn *conn)
{
    return loop_now_ns(conn->engine->loop);
}

/* The connection has no request in hand any more; NULL: it had none. */
static inline struct weir_request *
h1_take_request(struct h1_conn *conn)
{
    struct weir_request *request = conn->request;
    conn->engine->figures.connections_active -= request != NULL;
    conn->request = NULL;
    return request;
}

/* h1.c: the only place that sets conn->state, but for the first and the last. */
void h1_enter(struct h1_conn *conn, enum h1_state next);

/* The connection is to be closed for `reason`, or for the one that it had already. */
enum step_result h1_gone(struct h1_conn *conn, enum h1_close reason);

/* Why a request ended whose connection is closing. */
enum request_end h1_end_of(enum h1_close reason);

/* Ends a request whose answer's last byte is, or would have been, at `end_at` of the output. */
void h1_end_request(const struct h1_conn *conn, struct weir_request *request, uint64_t end_at,
        enum request_end end);

/* h1_steps.c: what each state does. */
enum step_result h1_step_refusing(struct turn *turn);
enum step_result h1_step_opening(struct turn *turn);
enum step_result h1_step_preface(struct turn *turn);
enum step_result h1_step_idle(struct turn *turn);
enum step_result h1_step_head(struct turn *turn);
enum step_result h1_step_exchange(struct turn *turn);
enum step_result h1_step_discard(struct turn *turn);
enum step_result h1_step_finish(struct turn *turn);
enum step_result h1_step_linger(struct turn *turn);

/* h1_tunnel.c: the answer in hand is a committed 101. Its head into the output, and on. */
enum step_result h1_begin_tunnel(struct turn *turn);
enum step_result h1_step_tunnel(struct turn *turn);

/* The server stops: nothing more of a tunnel's client is read, as if that had ended. */
void h1_end_clients_flow(struct h1_conn *conn);

/* The answer in hand is in the output, and with it the request goes to those that end when the
 * socket has taken theirs. */
void h1_put_answered(struct h1_conn *conn);

/* The head is read or refused; from here on the request is its handler's. */
enum step_result h1_begin_exchange(struct h1_conn *conn);

/* h1_preface.c: gives back what is left of it. */
void h1_drop_preface(struct h1_conn *conn);

/* An interim answer with its field lines, at the end of the output. Returns 0 or -ENOMEM. */
int h1_write_interim(struct output *output, unsigned status, struct weir_str lines);

/* The turn in which the request's handler runs, for what it says meanwhile; one at a time on a
 * loop, since a turn never begins within another. */
extern _Thread_local struct turn *h1_current_turn;

/* h1_input.c */
enum fill_result {
    FILLED, /* turn->input is not empty */
    FILL_NOTHING,
    FILL_END,
    FILL_BROKEN,
};

/* Makes sure that there is input, from the last turn or the stream. */
enum fill_result h1_fill(struct turn *turn);

/* Keeps what this turn did not get to. False without memory. */
bool h1_keep_rest(struct turn *turn);

/* A part of the input as a slice that outlives the turn. False where it would have to be
 * copied. */
WEIR_MUST_USE bool h1_keep_block(struct turn *turn, struct weir_str part, struct slice *out);
void h1_drop_rest(struct h1_conn *conn);

/* Whether bytes of the client may stand in the stream that nobody has seen. */
static inline bool
h1_may_hold_more(const struct turn *turn)
{
    return turn->conn->may_read && !turn->was_short;
}

static inline void
h1_consume(struct turn *turn, size_t bytes)
{
    turn->input.ptr += bytes;
    turn->input.len -= bytes;
}

/* h1_body.c */

/* Reads as much of the body as somebody wants. True when something changed. */
bool h1_feed_body(struct turn *turn);

/* A body whose framing broke is the connection's end: what follows reaches nobody any more. */
void h1_check_body(struct h1_conn *conn);

/* Whether the body is not read to its end since it is more than may be taken. */
bool h1_is_over_limit(const struct weir_request *request);

/* Whether the rest of the body, if any, can be got out of the way. */
bool h1_can_discard(const struct h1_conn *conn);

/* Whether a whole answer waits for a body in chunks that nobody reads. */
bool h1_waits_for_body(struct h1_conn *conn);

/* h1_limits.c */
struct h1_limit {
    uint64_t deadline;
    enum h1_close reason;
};

/* Which limit runs out next, and when. */
struct h1_limit h1_next_limit(const struct h1_conn *conn);

#endif
