/* SPDX-License-Identifier: MIT */
/* Exchanges: a hook asks an upstream, one of the configuration's `upstreams`, on the request's
 * own loop. Connections, their reuse, the choice of a target, time limits and HTTP's framing
 * are the server's; a module says what is asked and what becomes of the answer.
 *
 *     static enum weir_verdict
 *     on_answer(struct weir_request *request, const void *conf)
 *     {
 *         struct weir_exchange **exchange = weir_request_state(request);
 *         enum weir_exchange_error error = weir_exchange_error(*exchange);
 *         if (error != WEIR_EXCHANGE_FINE) {
 *             return weir_reply_error(request, weir_exchange_error_status(error));
 *         }
 *         return weir_exchange_adopt(*exchange);
 *     }
 *
 *     const struct weir_exchange_ask ask = { .bytes = sizeof(ask), .upstream = conf->to };
 *     struct weir_exchange **exchange = weir_request_state(request);
 *     if (weir_exchange_open(request, &ask, exchange) < 0) {
 *         return WEIR_FAILED;
 *     }
 *     return weir_exchange_wait(*exchange, on_answer);
 *
 * What is asked is made anew from the request: its end-to-end fields go along (RFC 9110 section
 * 7.6.1), none that is about the connection, none that only a trusted peer may send, none with
 * an underscore in its name, and neither Expect nor Proxy. Its body streams, as fast as the
 * upstream takes it, and may go on while the answer is read.
 *
 * A connection that was kept and proves to be closed before anything of the answer came is
 * replaced once, without the module's knowing, when the method is idempotent, or nothing was
 * sent, and all of the body that was is still there. Where no connection comes about, the next
 * target is asked. Beyond that the upstream's `retry` says what is sent to another target, on
 * the same conditions, and only before anything of an answer was given to the module.
 *
 * All functions: on the request's loop, from within a hook of it. Grows until 1.0. */
#ifndef WEIR_EXCHANGE_H
#define WEIR_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <weir/api.h>
#include <weir/internal.h>
#include <weir/module.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

struct weir_exchange;

/* How many exchanges of one request may be open. */
#define WEIR_EXCHANGE_OPEN_MAX 16u

/* weir_exchange_ask.flags: only the fields of `fields` go along, none of the request's. */
#define WEIR_EXCHANGE_NO_FIELDS UINT32_C(1)
/* The request's body stays: another reads it, or nobody. */
#define WEIR_EXCHANGE_NO_BODY UINT32_C(2)
/* Interim answers (1xx, but for 100) go on to an HTTP/1.1 client as they come. */
#define WEIR_EXCHANGE_RELAY_INTERIM UINT32_C(4)

/* weir_exchange_ask.retry_on: why another target is asked. No connection came about;
 * timeouts.send or timeouts.read, before the answer's head; the connection ended before it; it
 * was not HTTP, or too large; an answer of that status. */
#define WEIR_RETRY_CONNECT    UINT32_C(1)
#define WEIR_RETRY_TIMEOUT    UINT32_C(2)
#define WEIR_RETRY_CLOSED     UINT32_C(4)
#define WEIR_RETRY_BAD_ANSWER UINT32_C(8)
#define WEIR_RETRY_429        UINT32_C(16)
#define WEIR_RETRY_500        UINT32_C(32)
#define WEIR_RETRY_502        UINT32_C(64)
#define WEIR_RETRY_503        UINT32_C(128)
#define WEIR_RETRY_504        UINT32_C(256)
/* For none of them: only one target is asked. */
#define WEIR_RETRY_NEVER UINT32_C(0x80000000)

/* What is asked; all of it is copied. */
struct weir_exchange_ask {
    uint32_t bytes;           /* sizeof(struct weir_exchange_ask) */
    uint32_t flags;           /* WEIR_EXCHANGE_... */
    struct weir_str upstream; /* one of `upstreams`: an option of type WEIR_TYPE_UPSTREAM */
    struct weir_str method;   /* .len 0: the request's; not CONNECT */
    struct weir_str target;   /* encoded path and query, or `*`; .len 0: the request's, as it
                                 was sent unless hooks changed it or it climbs (`..`) */
    struct weir_str host;     /* .len 0: the request's Host, as it was sent */

    /* Instead of the request's fields of the same name; value.ptr NULL: left out. They are not
     * taken away by what Connection names. */
    const struct weir_ask_field *fields;
    uint32_t field_count;

    /* Of the upstream's `retry`, only these reasons (WEIR_RETRY_..., or-ed), and no more often;
     * 0: all that it lists, as often as it says. */
    uint32_t retry_on, retry_times;

    /* A protocol to go on in (weir_request_upgrade_at()); .len 0: HTTP. If that is what the
     * upstream does, the answer's status is 101, and adopting it makes a tunnel of both
     * connections: bytes go both ways, each until its own end, with the route's timeouts.idle;
     * the request ends with it. Any other answer is one like all. */
    struct weir_str upgrade;

    /* Beside the request's fields of the same name, and those of `fields`. */
    const struct weir_ask_field *added;
    uint32_t added_count;
};

/* What became of an exchange. More may be added. */
enum weir_exchange_error {
    WEIR_EXCHANGE_FINE = 0,
    WEIR_EXCHANGE_REFUSED = 1,         /* no target takes connections */
    WEIR_EXCHANGE_UNREACHABLE = 2,     /* no target can be reached */
    WEIR_EXCHANGE_CONNECT_TIMEOUT = 3, /* timeouts.connect */
    WEIR_EXCHANGE_SEND_TIMEOUT = 4,    /* timeouts.send: it does not read */
    WEIR_EXCHANGE_READ_TIMEOUT = 5,    /* timeouts.read: it does not write */
    WEIR_EXCHANGE_CLOSED = 6,          /* the connection ended before the answer did */
    WEIR_EXCHANGE_BAD_ANSWER = 7,      /* that is not HTTP, or could mean two things */
    WEIR_EXCHANGE_HEAD_TOO_LARGE = 8,
    WEIR_EXCHANGE_BUSY = 9,           /* all connections are in use, and the queue is full */
    WEIR_EXCHANGE_QUEUE_TIMEOUT = 10, /* timeouts.queue */
    WEIR_EXCHANGE_BODY = 11,          /* of the request: weir_body_read() says what */
    WEIR_EXCHANGE_EXHAUSTED = 12,     /* no memory or descriptor here */
    WEIR_EXCHANGE_ABORTED = 13,       /* the request ended first, or another answer came */
    WEIR_EXCHANGE_UNRESOLVED = 14,    /* no target, since no name could be resolved */
    WEIR_EXCHANGE_UNAVAILABLE = 15,   /* no target is well, and `all_out` says to ask none */
};

/* A word for it that stays the same, lower case: "refused", "read_timeout". Any thread. */
WEIR_API WEIR_ANY struct weir_str weir_exchange_error_label(enum weir_exchange_error error);

/* The status that tells a client: 502, 503 or 504. Any thread. */
WEIR_API WEIR_ANY unsigned weir_exchange_error_status(enum weir_exchange_error error);

/*
 * Asks: a connection is taken or begun at once, and the request is sent when it is there.
 * Memory:  *out lives as long as the request; the exchange ends with weir_exchange_close(),
 * with the answer that it was adopted for, or before the log hooks of the request. Returns: 0;
 * -ENOENT when there is no such upstream; -EINVAL for a method, target, host or field that no
 * client may send, and for an upgrade that the client does not offer; -EBUSY when another
 * exchange has the body; -EMFILE when too many are open; -ESHUTDOWN when the request has ended;
 * -ENOMEM.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_exchange_open(struct weir_request *request,
        const struct weir_exchange_ask *ask, struct weir_exchange **out);

/* Calls `resume` in this hook's place once the answer's head is there, or more of its body or
 * its end, or it failed. The hook returns what this returns, as with weir_body_wait(). The time
 * limits are the upstream's. */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_exchange_wait(
        struct weir_exchange *exchange, weir_request_fn *resume);

WEIR_API WEIR_LOOP enum weir_exchange_error weir_exchange_error(
        const struct weir_exchange *exchange);

/* For a log: what was wrong with a bad answer ("a malformed chunk"), else empty. */
WEIR_API WEIR_LOOP struct weir_str weir_exchange_fault(const struct weir_exchange *exchange);

/* The address of the target asked last; empty before, or without memory for it. Valid until
 * the hook returns. */
WEIR_API WEIR_LOOP struct weir_str weir_exchange_address(const struct weir_exchange *exchange);

/* The final answer's status; 0 before its head is there. */
WEIR_API WEIR_LOOP unsigned weir_exchange_status(const struct weir_exchange *exchange);

/* The first end-to-end field of that name in the answer; .ptr is NULL when there is none. Lives
 * as long as the request. */
WEIR_API WEIR_LOOP struct weir_str weir_exchange_field(const struct weir_exchange *exchange,
        struct weir_str name);

/* The i-th end-to-end field, without Content-Length. False past the last. */
WEIR_API WEIR_LOOP bool weir_exchange_field_at(const struct weir_exchange *exchange, uint32_t i,
        struct weir_str *name, struct weir_str *value);

/* Moves bytes of the answer's body into `dst`. Returns how many; 0 at the end; -EAGAIN when
 * none are here yet; -EPROTO when it failed before its end (weir_exchange_error()). */
WEIR_MUST_USE WEIR_API WEIR_LOOP ssize_t weir_exchange_read(struct weir_exchange *exchange,
        void *dst, size_t dst_bytes);

/*
 * The answer takes the place of whatever the request has begun: status, end-to-end fields, body
 * (which flows as fast as the client reads), trailers. Fields may be changed afterwards. Of a
 * 101 the rest is a tunnel, which no filter sees and whose end the request's is. When the
 * exchange fails later, the client's answer is an error while its head has not left, and is
 * broken off otherwise, so that it never looks complete.
 * Returns: WEIR_DONE; WEIR_FAILED without a head, after an error, when the request's own head
 * has left, or without memory.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_exchange_adopt(
        struct weir_exchange *exchange);

/* Not wanted any more: its connection closes unless the exchange is complete. */
WEIR_API WEIR_LOOP void weir_exchange_close(struct weir_exchange *exchange);

WEIR_END_DECLS

#endif
