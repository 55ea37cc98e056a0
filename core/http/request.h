/* SPDX-License-Identifier: MIT */
/* A request and its answer, independent of the protocol that carries them.
 *
 *     transport (h1.c, ...)         request              handler (module/course.c)
 *     reads the head      ----->      head, target, host   ----->  run(): asks hooks
 *     feeds the body,     ----->      in                   ----->  reads it
 *       while wanted
 *     sends head, body    <-----      reply                <-----  fills it, commits it
 *     all sent, or died   ----->      end                  ----->  end(): logs, frees
 *
 * One memory block holds the request, its slab and the beginning of its arena; it comes from
 * the engine's spares, so an ordinary request allocates nothing. Thread: the engine's loop. */
#ifndef WEIR_HTTP_REQUEST_H
#define WEIR_HTTP_REQUEST_H

#include <stdint.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "base/arena.h"
#include "base/slice.h"
#include "http/engine.h"
#include "http/head_edit.h"
#include "http/head_reader.h"
#include "http/settings.h"
#include "http/target.h"
#include "net/addr.h"

#define REQUEST_BLOCK_BYTES 8192u
#define REPLY_FIELDS_INLINE 12u
#define LENGTH_UNKNOWN      UINT64_MAX

/* What the handler asks of the protocol. */
struct request_transport {
    /* Runs the request again at the end of the loop's turn. */
    void (*wake)(struct weir_request *request);
    /* Sends a 1xx answer now; `lines` are whole field lines. 0 or a negative errno. */
    int (*interim)(struct weir_request *request, unsigned status, struct weir_str lines);
    /* The address that its client has connected to; false when it is not known. NULL: never. */
    bool (*local)(const struct weir_request *request, struct addr_ip *out);
    bool can_switch; /* it can go on as a tunnel: http/upgrade.h */
};

/* Why a request ended: for logs and counters. */
// clang-format off
#define REQUEST_ENDS(X)                                                              \
    X(COMPLETE,       "complete",       "the whole answer was sent")                 \
    X(CLIENT_LEFT,    "client_left",    "the client closed before the end")          \
    X(CLIENT_SLOW,    "client_slow",    "the client took too long to send or read")  \
    X(CLIENT_WRONG,   "client_wrong",   "the client broke the protocol")             \
    X(ANSWER_SHORT,   "answer_short",   "the answer was shorter than declared")      \
    X(ANSWER_FAILED,  "answer_failed",  "the answer failed after it had begun")      \
    X(IDLE,           "idle",           "nothing came through a tunnel for too long") \
    X(STOPPED,        "stopped",        "the server stopped")
// clang-format on

enum request_end {
    REQUEST_RUNS,
#define X(name, label, text) REQUEST_END_##name,
    REQUEST_ENDS(X)
#undef X
};

const char *request_end_label(enum request_end end);

/* Takes the body in a hook's place: an exchange with an upstream (module/exchange.c). Embedded
 * in its owner. */
struct body_sink {
    /* The request runs: there may be more of the body, its end, or a failure. */
    void (*look)(struct body_sink *sink);
};

/* The body on its way in. */
struct request_body {
    struct slice_queue queue; /* what the transport brought, or its beginning */
    struct slice_queue *read; /* what readers take from: &queue, or behind the body filters */
    bool read_ended;          /* with filters: nothing follows in `read` */
    struct body_sink *sink;   /* borrowed; NULL: hooks alone read */
    uint64_t received_bytes;
    uint64_t mark_bytes;      /* the transport stops reading above it; request_body_room() */
    uint64_t memory_bytes;    /* of a kept body, what is above it goes to `spill`; or never */
    struct spill *spill;      /* owned; what follows `queue`; NULL: nothing */
    struct weir_str trailers; /* whole lines, in the arena; when `ended` */
    int error;                /* negative errno once it broke; see weir_body_read() */
    bool wanted;              /* somebody reads: 100 Continue may go out */
    bool is_checked;          /* nobody reads: what comes is counted and dropped */
    bool ended;               /* all of it has come */
    bool is_raw;              /* the client's flow of a tunnel: no limit of bodies holds */
    bool waits_for_room;      /* the transport does, in a tunnel: whoever makes some wakes it */
    struct chunked *chunked;  /* HTTP/1's, when it comes in chunks; in the arena */
    /* The client's time: while the transport waits for it, and no longer (limits.body_rate). */
    uint64_t resumed_ns, spent_ns;
};

enum reply_state {
    REPLY_NONE,
    REPLY_BEGUN,     /* may still be begun anew */
    REPLY_COMMITTED, /* the transport may send it */
};

struct reply_field {
    struct weir_str name, value;
    enum field_id id;
};

/* Goes on filling an answer after the hook that began it has returned: another request's answer
 * (module/internal.c). Embedded in its owner. */
struct reply_source {
    /* There is room in the answer: puts in what is there (reply_take()), and ends it when that
     * was all. True when anything changed. */
    bool (*fill)(struct reply_source *source, struct weir_request *request);
    /* The answer is done with, or begun anew: the request is not to be touched any more. */
    void (*drop)(struct reply_source *source);
};

struct reply {
    enum reply_state state;
    uint16_t status;
    bool is_head_due;       /* its head leaves though nothing of its body is there */
    bool head_left;         /* the transport has sent it: nothing can take its place any more */
    bool ended;             /* no body bytes follow */
    bool close;             /* the module asked for `Connection: close` */
    bool is_broken;         /* cannot be finished: the transport ends the connection */
    bool was_invalid;       /* a field was refused: it becomes a 500 */
    bool had_hop;           /* a field that is the server's was dropped */
    bool was_over;          /* the transport cut what exceeded the declared length */
    bool hides_length;      /* it is not told: HEAD where a GET would be filtered; trailers */
    bool hides_date;        /* removed: the server adds none */
    bool hides_server;      /* likewise */
    bool is_own;            /* the body is write_error_body()'s */
    bool was_own;           /* or was, until a page was put in its place: weir_reply_code() */
    bool is_representation; /* http/representation.h settles conditions and ranges */
    uint32_t beginnings;    /* of weir_reply_begin(): whether it was begun anew */
    uint32_t field_count, field_capacity;
    struct reply_field *fields;  /* inline, then the arena's */
    uint64_t length_bytes;       /* declared; LENGTH_UNKNOWN */
    uint64_t written_bytes;      /* put into the queue so far */
    uint64_t mark_bytes;         /* writers wait above it; reply_room() */
    struct reply_source *source; /* borrowed; NULL: hooks alone write */
    struct slice_queue queue;    /* what modules wrote, or its beginning */
    struct reply_kept *kept;     /* reply_body.c, in the arena; NULL: writers wait */
    struct slice_queue *wire;    /* what leaves: &queue, or behind the body filters */
    bool wire_ended;             /* with filters: nothing follows in `wire` */
    struct weir_str trailers;    /* field lines, in the arena */
    struct weir_str switched_to; /* of a 101: the protocol; else empty */
    struct reply_field inlined[REPLY_FIELDS_INLINE]; /* last: not cleared for a request */
};

struct weir_request {
    /* Fixed at birth. */
    struct engine *engine;                     /* borrowed */
    const struct request_transport *transport; /* borrowed; NULL once it has let go */
    void *carrier;                             /* the transport's own: connection or stream */
    void *slab;                                /* the handler's */
    const struct http_limits *limits; /* borrowed: those in force; the route's, once known */
    const struct http_timeouts *timeouts; /* borrowed: likewise */
    const void *origin;                   /* borrowed: where it came in; the handler knows */
    uint8_t log_level;   /* enum log_level: which lines about it are written; as limits */
    uint8_t depth;       /* 0: a client sent it; else how many internal requests deep it is */
    bool is_marked_only; /* an internal one that only routes marked so may answer */
    struct addr_ip peer; /* the socket's other end */
    uint64_t began_ns;   /* monotonic: the first byte of its head */

    /* The message. */
    struct arena arena;
    enum head_refusal refusal; /* HEAD_ACCEPTED, or why the core answers it with an error */
    struct head head;          /* when accepted */
    struct head_edits *edits;  /* NULL: the head is as it was sent */
    struct target target;
    struct weir_str host;                    /* as weir_request_host() */
    struct addr_ip client;                   /* the peer, or whom a trusted one speaks for */
    struct weir_str id;                      /* empty until somebody asks for it */
    struct weir_str server_name, route_name; /* the handler's, for logs and figures */
    struct request_body in;

    /* Its course. */
    bool is_gone;           /* the client left: nothing that is written arrives */
    uint16_t forced_status; /* not 0: the handler answers this, whatever it waits for */
    enum request_end end;
    uint64_t head_read_ns;     /* monotonic; 0: it was refused before */
    uint64_t body_waited_ns;   /* that its answer waited for its body, before it began */
    uint64_t queued_ns;        /* that work for it waited for a thread */
    uint64_t ended_ns;         /* monotonic; 0: it runs, or ends just now */
    struct weir_request *next; /* in a list of whoever holds it */
    uint64_t sent_at;          /* the transport's: where in its output the answer ends */

    /* What the transport counted, for logs and figures (weir/request.h). */
    uint32_t ordinal;          /* among the requests of its connection, from 1 */
    uint32_t head_bytes;       /* of the request, as it came */
    uint32_t reply_head_bytes; /* 0: the answer's head has not left */
    uint64_t reply_at;         /* the transport's: where in its output the answer begins */
    uint64_t reply_left_ns;    /* monotonic: when its first byte was given to the transport */
    uint64_t sent_bytes;       /* of the answer, what the client was sent; when it has ended */
    struct file_finding *findings;   /* module/file_find.c: files asked for, in the arena */
    struct weir_internal *internals; /* module/internal.c: what it has asked the server for */
    struct weir_exchange *exchanges; /* module/exchange.c: and upstreams */
    struct weir_exchange *asked;     /* the last of them, over or not; in the arena */

    struct reply reply;

    /* What stands from reply.inlined on is not cleared with the rest. */
    struct head_reader reader; /* used while the head is read */
};

/* NULL without memory. The limits are borrowed and outlive the request. */
struct weir_request *request_new(struct engine *engine,
        const struct request_transport *transport, void *carrier,
        const struct http_limits *limits, const struct http_timeouts *timeouts);

/* Gives everything back, the block to the spares. */
void request_free(struct weir_request *request);
void request_free_block(struct weir_request *request); /* for the spares' owner */

/* The head is read: parses target and host. Sets request->refusal when they are invalid. */
void request_accept_head(struct weir_request *request);

/* The transport has let go of the request for the reason given: the handler logs and frees it.
 */
void request_end(struct weir_request *request, enum request_end end);

/* Runs the request again at the end of the turn. */
void request_wake(struct weir_request *request);

/* The transport feeds the body. request_body_push() answers -EMSGSIZE above the route's limit,
 * -ENOSPC where no more can be kept, and -ENOMEM; all are recorded in in.error too. */
WEIR_MUST_USE int request_body_push(struct weir_request *request, struct weir_str bytes);

/* The same without a copy, where the body is not kept; takes over the slice, also on failure.
 */
bool request_body_takes_slices(const struct weir_request *request);
WEIR_MUST_USE int request_body_push_slice(struct weir_request *request, struct slice slice);
void request_body_end(struct weir_request *request, struct weir_str trailers);
void request_body_fail(struct weir_request *request, int error);

/* The status that tells the client what was wrong with its body: of an error in in.error. */
uint16_t request_body_status(int error);

/* Of the request: before, and when nobody wants what came of it any more. */
void request_body_init(struct request_body *in);
void request_body_drop(struct request_body *in);

/* From now on the body is read without being asked for, up to limits.body_buffer; what of it is
 * more than limits.body_memory goes to a file. When that is done, or it has ended or failed,
 * request_body_is_kept(). */
void request_body_keep(struct weir_request *request);
bool request_body_is_kept(const struct weir_request *request);

/* Whether there is more of it than stands in the queue; and brings it there, as the queue runs
 * empty. True when it brought something. */
bool request_body_is_spilled(const struct request_body *in);
bool request_body_refill(struct weir_request *request);

/* What stands at the reader's end of the body, and at the wire's end of the answer: the same as
 * at the other end unless filters stand between. */
static inline bool
request_body_is_read(const struct request_body *in)
{
    return in->read == &in->queue ? in->ended && !request_body_is_spilled(in) : in->read_ended;
}

/* What of a kept answer follows its queue (weir_reply_keep()); 0 for any other. */
uint64_t reply_bytes_behind(const struct reply *reply);

/* No body bytes follow those in the queue. */
static inline bool
reply_is_written(const struct reply *reply)
{
    return reply->ended && (reply->kept == NULL || reply_bytes_behind(reply) == 0);
}

static inline bool
reply_is_ended(const struct reply *reply)
{
    return reply->wire == &reply->queue ? reply_is_written(reply) : reply->wire_ended;
}

/* Room for the client's body in the queue, in bytes. */
uint64_t request_body_room(const struct weir_request *request);

/* Room for what modules write, in bytes; 0: they wait. Both are small while memory is tight. */
uint64_t reply_room(const struct weir_request *request);

/* Appends to the answer's body: a copy of `bytes`, or a slice, whose reference is taken over,
 * also on failure. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int reply_append(struct weir_request *request, struct weir_str bytes);
WEIR_MUST_USE int reply_push(struct weir_request *request, struct slice slice);

/* Brings what was kept into the queue, as that runs empty. True when it brought something. */
bool reply_refill(struct weir_request *request);

/* Drops the body. What follows is not kept. */
void reply_drop_body(struct reply *reply);

/* The hook that answered will not be called again: ends the answer, unless a source goes on
 * filling it. */
void reply_settle(struct weir_request *request);

/* Lets the source, if any, fill the answer. True when anything changed. */
bool reply_fill(struct weir_request *request);

/* Moves the first `bytes` of `from` to the end of the answer's body. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int reply_take(struct weir_request *request, struct slice_queue *from,
        uint64_t bytes);

/* Parts with the source, if any. */
void reply_drop_source(struct weir_request *request);

/* The reply may leave: the handler's hooks have seen it. */
void reply_commit(struct weir_request *request);

/* The length of the body as far as it is known; LENGTH_UNKNOWN. */
uint64_t reply_known_length(const struct weir_request *request);

/* Drops whatever was begun or committed and answers `status` with the core's own text; it is to
 * be committed (anew). False when a head is on its way already. */
bool reply_replace(struct weir_request *request, unsigned status);

/* The method that the client sent, and that decides whether the answer has a body, whatever
 * hooks have made of it since. */
static inline enum method
request_sent_method(const struct weir_request *request)
{
    return request->edits == NULL ? request->head.method : request->edits->sent_method;
}

/* True when the answer has no body on the wire: HEAD, 204, 304 (RFC 9110 section 6.4.1). */
bool reply_is_bodiless(const struct weir_request *request);

/* The reason phrase of a status; empty when it has none. */
struct weir_str status_reason(unsigned status);

#endif
