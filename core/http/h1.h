/* SPDX-License-Identifier: MIT */
/* HTTP/1.0 and 1.1 on one connection (RFC 9112). Thread: the engine's loop. */
#ifndef WEIR_HTTP_H1_H
#define WEIR_HTTP_H1_H

#include "http/engine.h"
#include "http/settings.h"
#include "net/addr.h"
#include "net/stream.h"

struct h1_conn;

/* Why a connection ended: log text and counter label. The first reason given stays. */
// clang-format off
#define H1_CLOSES(X)                                                                  \
    X(CLIENT,       "client",        "closed by the client")                          \
    X(CLIENT_RESET, "client_reset",  "reset by the client")                           \
    X(DONE,         "done",          "closed after the last answer")                  \
    X(REFUSED,      "refused",       "closed after an error answer")                  \
    X(IDLE,         "idle",          "idle for longer than timeouts.keepalive")       \
    X(SLOW_HEAD,    "slow_head",     "no head within timeouts.head")                  \
    X(SLOW_BODY,    "slow_body",     "no body bytes within timeouts.body")            \
    X(SLOW_READER,  "slow_reader",   "nothing was read within timeouts.send")         \
    X(SLOW_REQUEST, "slow_request",  "not answered within timeouts.request")          \
    X(BROKEN,       "broken_answer", "the answer could not be completed")             \
    X(NO_MEMORY,    "no_memory",     "out of memory")                                 \
    X(STOPPED,      "stopped",       "the server stopped")
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

/* What connections are accepted under; borrowed by each and outlives them. */
struct h1_settings {
    struct http_limits limits;
    struct http_timeouts timeouts;
    const void *origin; /* borrowed: becomes request->origin */
    h1_closed_fn *on_closed;
    void *context;
};

/* A connection without a stream. NULL without memory. */
WEIR_MUST_USE struct h1_conn *h1_conn_new(struct engine *engine,
        const struct h1_settings *settings, const struct addr *peer);

/* TCP_STREAM_BYTES inside the connection, for tcp_stream_init(). */
void *h1_conn_stream_memory(struct h1_conn *conn);

/* The stream_event_fn of the connection's stream, whose owner is the connection. */
void h1_conn_on_event(void *owner, unsigned events);

/* Begins: the connection owns `stream` from now on, and itself. It reads at once, before any
 * event. May free the connection. */
void h1_conn_start(struct h1_conn *conn, struct stream *stream);

/* Serves a connected socket; takes `fd` over, on failure too. Returns 0 or a negative errno. */
WEIR_MUST_USE int h1_serve_fd(struct engine *engine, const struct h1_settings *settings, int fd,
        const struct addr *peer);

#endif
