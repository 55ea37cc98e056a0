/* SPDX-License-Identifier: MIT */
/* HTTP/1.0 and 1.1 on one connection (RFC 9112). Thread: the engine's loop. */
#ifndef WEIR_HTTP_H1_H
#define WEIR_HTTP_H1_H

#include "http/engine.h"
#include "http/settings.h"
#include "net/addr.h"
#include "net/stream.h"

struct h1_conn;
struct h1_settings;

/* Why a connection ended: log text and counter label. The first reason given stays. */
// clang-format off
#define H1_CLOSES(X)                                                                  \
    X(CLIENT,       "client",        "closed by the client")                          \
    X(CLIENT_RESET, "client_reset",  "reset by the client")                           \
    X(DONE,         "done",          "closed after the last answer")                  \
    X(REFUSED,      "refused",       "closed after an error answer")                  \
    X(BODY_LIMIT,   "body_limit",    "a request's body was more than may be taken")   \
    X(IDLE,         "idle",          "idle for longer than timeouts.keepalive")       \
    X(SLOW_HEAD,    "slow_head",     "no head within timeouts.head")                  \
    X(SLOW_BODY,    "slow_body",     "no body bytes within timeouts.body")            \
    X(SLOW_READER,  "slow_reader",   "nothing was read within timeouts.send")         \
    X(SLOW_REQUEST, "slow_request",  "not answered within timeouts.request")          \
    X(BROKEN,       "broken_answer", "the answer could not be completed")             \
    X(NO_MEMORY,    "no_memory",     "out of memory")                                 \
    X(TUNNEL_IDLE,  "tunnel_idle",   "nothing came through the tunnel within timeouts.idle") \
    X(TUNNEL_CUT,   "tunnel_cut",    "the other end of the tunnel was lost")          \
    X(STOPPED,      "stopped",       "the server stopped")                            \
    X(TOO_MANY,     "too_many",      "limits.connections were open already")          \
    X(UNTRUSTED,    "untrusted",     "not one of trust.peers, where others are spoken for") \
    X(BAD_PROXY,    "bad_proxy_header", "no header of the PROXY protocol where one must be") \
    X(DROPPED,      "dropped",       "dropped by a hook before its first request")
// clang-format on

enum h1_close {
    H1_OPEN,
#define X(name, label, text) H1_CLOSE_##name,
    H1_CLOSES(X)
#undef X
    H1_CLOSE_COUNT
};

const char *h1_close_label(enum h1_close reason);

/* Called once when a connection has ended, before it is freed; may be NULL. */
typedef void h1_closed_fn(void *context, const struct addr_ip *peer, enum h1_close reason);

/* What becomes of a connection before its first request. */
enum h1_admission {
    H1_ADMITTED,
    H1_HELD, /* h1_conn_admit() follows */
    H1_DROPPED,
    H1_NO_MEMORY,
};

/* The part of a watcher's own that the connection counts in; embedded. */
struct h1_watched {
    uint64_t received_bytes;
};

/* Whoever is told of connections (module/connection.h). */
struct h1_watch {
    /* It has begun, and nothing was read. Sets *out to what closed() is given; left alone,
     * nothing more is told. */
    enum h1_admission (*opened)(struct engine *engine, const struct h1_settings *settings,
            struct h1_conn *conn, const struct addr_ip *peer, struct h1_watched **out);

    /* After opened(), where a peer has to say for whom it speaks (h1_settings.trusts_proxy): it
     * has. `peer` is whom it spoke for, or itself. */
    enum h1_admission (*introduced)(struct h1_watched *watched, const struct addr_ip *peer);

    /* It has ended, held and dropped ones too. */
    void (*closed)(struct h1_watched *watched, enum h1_close reason, uint64_t requests,
            uint64_t sent_bytes);
};

/* What connections are accepted under; borrowed by each and outlives them. */
struct h1_settings {
    struct http_limits limits;
    struct http_timeouts timeouts;
    const void *origin; /* borrowed: becomes request->origin */
    h1_closed_fn *on_closed;
    void *context;
    bool refuses; /* whoever comes is answered 503 and nothing else; nobody is told of it */
    /* Not NULL: a connection begins with a header of the PROXY protocol, and is closed without
     * one; and at once, when this does not say of its peer that it may speak for others. */
    bool (*trusts_proxy)(const void *origin, const struct addr_ip *peer);
    const struct h1_watch *watch; /* NULL: nobody is told */
    const void *watch_context;    /* borrowed; the watcher's */
};

/* A connection without a stream. NULL without memory. */
WEIR_MUST_USE struct h1_conn *h1_conn_new(struct engine *engine,
        const struct h1_settings *settings, const struct addr *peer);

/* TCP_STREAM_BYTES inside the connection, for tcp_stream_init(). */
void *h1_conn_stream_memory(struct h1_conn *conn);

/* The stream_event_fn of the connection's stream, whose owner is the connection. */
void h1_conn_on_event(void *owner, unsigned events);

/* Begins: the connection owns `stream` from now on, and itself. It reads at once, before any
 * event. Returns whether the connection is still there. */
bool h1_conn_start(struct h1_conn *conn, struct stream *stream);

/* Goes on with a connection that was H1_HELD, at the end of the loop's turn. */
void h1_conn_admit(struct h1_conn *conn, enum h1_admission admission);

/* Serves a connected socket; takes `fd` over, on failure too. Returns 0, also when the
 * connection is over already, or a negative errno. */
WEIR_MUST_USE int h1_serve_fd(struct engine *engine, const struct h1_settings *settings, int fd,
        const struct addr *peer);

#endif
