/* SPDX-License-Identifier: MIT */
/* The limits and time limits of HTTP: what CONFIG.md's `limits` and `timeouts` fill. Plain
 * data, constant once a generation is made. */
#ifndef WEIR_HTTP_SETTINGS_H
#define WEIR_HTTP_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/* "No limit". */
#define HTTP_UNLIMITED UINT64_MAX

/* What becomes of a connection above http_limits.connections (F22). */
enum http_connections_policy {
    HTTP_CONNECTIONS_PAUSE, /* it waits to be accepted */
    HTTP_CONNECTIONS_503,   /* it is answered so, and closed */
};

struct http_limits {
    /* Decided before a server is known: `defaults` and listeners only. */
    uint64_t request_line_bytes; /* 8k; 414 */
    uint64_t field_bytes;        /* 8k, one line; 431 */
    uint64_t fields;             /* 100; 431 */
    uint64_t head_bytes;         /* 64k, the whole head, its empty line too; 431 */
    uint64_t connections;        /* 10000, of a worker and listener */
    int connections_policy;      /* enum http_connections_policy */
    uint64_t pipeline;           /* 32 requests waiting on one connection */

    /* Decided before a route is known: a server too. */
    uint64_t requests_per_connection; /* HTTP_UNLIMITED */

    /* Everywhere. */
    uint64_t body_bytes;            /* 1m; 413 */
    uint64_t body_rate_bytes_per_s; /* least rate; 0: none; 408 */
    uint64_t body_buffer_bytes;     /* 0; read before a handler is asked */
    uint64_t body_memory_bytes;     /* 512k of that; the rest is in a file */
    uint64_t reply_buffer_bytes;    /* 1g of an answer that is kept (weir_reply_keep()) */
    uint64_t reply_memory_bytes;    /* 1m of that; the rest is in a file */
};

/* CLOCK_NEVER: none. */
struct http_timeouts {
    uint64_t handshake_ns; /* 10s; `defaults` and listeners only */
    uint64_t head_ns;      /* 10s, absolute, from its first byte or the accept; likewise */
    uint64_t keepalive_ns; /* 75s idle between requests; a server too */
    uint64_t body_ns;      /* 30s between two reads */
    uint64_t request_ns;   /* none; from head to last byte */
    uint64_t send_ns;      /* 30s without progress */
    uint64_t idle_ns;      /* 1h, upgraded connections */
    uint64_t wait_ns;      /* 60s, a suspended hook */
};

#define HTTP_LIMITS_PRESET                                                                   \
    {                                                                                        \
        .request_line_bytes = 8192, .field_bytes = 8192, .fields = 100, .head_bytes = 65536, \
        .connections = 10000, .pipeline = 32, .requests_per_connection = HTTP_UNLIMITED,     \
        .body_bytes = 1048576, .body_rate_bytes_per_s = 0, .body_buffer_bytes = 0,           \
        .body_memory_bytes = 524288, .reply_buffer_bytes = 1u << 30,                         \
        .reply_memory_bytes = 1048576                                                        \
    }

#define HTTP_TIMEOUTS_PRESET                                                                \
    {                                                                                       \
        .handshake_ns = 10 * NS_PER_S, .head_ns = 10 * NS_PER_S,                            \
        .keepalive_ns = 75 * NS_PER_S, .body_ns = 30 * NS_PER_S, .request_ns = CLOCK_NEVER, \
        .send_ns = 30 * NS_PER_S, .idle_ns = 3600 * NS_PER_S, .wait_ns = 60 * NS_PER_S      \
    }

#endif
