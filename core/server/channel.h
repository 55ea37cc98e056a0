/* SPDX-License-Identifier: MIT */
/* What master and worker say to each other, over a pair of sockets that keeps messages apart
 * (SOCK_SEQPACKET). A message has a type, a body of at most CHANNEL_BODY_MAX bytes, and
 * descriptors. The master believes nothing that comes from a worker: sizes are checked, an
 * unknown type is an error. Thread: the loop's. */
#ifndef WEIR_SERVER_CHANNEL_H
#define WEIR_SERVER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/api.h>

/* Raised whenever a message changes its meaning: a worker of another version refuses to start.
 */
#define CHANNEL_VERSION 5

#define CHANNEL_BODY_MAX        16384u
#define CHANNEL_DESCRIPTORS_MAX 64u

/* Where a worker finds its end. */
#define CHANNEL_WORKER_FD 3

// clang-format off
#define CHANNEL_TYPES(X)                                                                      \
    /* To a worker, in this order until it starts. */                                         \
    X(HELLO)      /* struct channel_hello */                                                  \
    X(LOG)        /* struct channel_log; the error log */                                     \
    X(SOURCES)    /* the configuration's file name; the bundle */                             \
    X(FLIGHT)     /* nothing; the memory for its flight records */                             \
    X(METRICS)    /* struct channel_metrics; memory for figures; also later */                 \
    X(ZONE)       /* struct channel_zone and two names; memory that workers share */          \
    X(FILE)       /* the path of a log file that the master opened; it */                     \
    X(LISTENERS)  /* struct channel_listeners; sockets of one address */                      \
    X(START)      /* load, and say READY or FAILED */                                         \
    /* To one that is ready. */                                                               \
    X(ACCEPT)     /* struct channel_slot: accept from these sockets */                        \
    X(RELEASE)    /* struct channel_slot: and no longer */                                    \
    X(NOTICE)     /* nothing; the server is to stop, and serves on until it does */           \
    X(DRAIN)      /* struct channel_drain */                                                  \
    X(STOP)       /* end now */                                                               \
    /* To the master. */                                                                      \
    X(REPORT)     /* text: what is wrong with the configuration */                            \
    X(ACCEPTING)  /* struct channel_slot: after ACCEPT, once it is so */                      \
    X(DECLINED)   /* struct channel_slot: after ACCEPT, when it has no descriptors for that */    \
    X(READY)      /* nothing */                                                               \
    X(FIGURES)    /* struct channel_figures */                                                \
    X(RECYCLE)    /* struct channel_recycle: a replacement is wanted, then it will drain */
// clang-format on

enum channel_type {
    CHANNEL_NONE,
#define X(name) CHANNEL_##name,
    CHANNEL_TYPES(X)
#undef X
    CHANNEL_TYPE_COUNT
};

struct channel_hello {
    uint32_t version, generation, index, processes;
    char build[64]; /* terminated */
};

struct channel_log {
    int32_t level, format;
};

enum channel_metrics_kind {
    CHANNEL_METRICS_TOTALS, /* to be read */
    CHANNEL_METRICS_SHARDS, /* to be read, those from number `first` on */
    CHANNEL_METRICS_LENT,   /* the worker's own, to be written */
};

struct channel_metrics {
    uint32_t kind; /* enum channel_metrics_kind */
    uint32_t first;
};

/* The module's name follows, then the zone's. */
struct channel_zone {
    uint64_t bytes, layout;
    uint32_t module_bytes, name_bytes;
};

struct channel_listeners {
    uint32_t address;   /* its index among the configuration's listeners */
    uint32_t first;     /* the slot of the first socket sent along */
    uint32_t is_shared; /* one socket for all workers: not by slot */
};

struct channel_slot {
    uint32_t slot;
};

struct channel_drain {
    uint64_t timeout_ns; /* CLOCK_NEVER: none */
    uint32_t is_stop;    /* the server stops: idle connections close at once */
};

/* Said again from time to time, until DRAIN comes. */
struct channel_recycle {
    uint32_t is_told; /* by a signal; else it has served workers.max_requests */
};

struct channel_figures {
    uint64_t connections_accepted, connections_open, connections_active, tunnels, requests,
            bytes_in, bytes_out;
};

struct channel_message {
    enum channel_type type;
    const void *body; /* borrowed until the function returns; aligned to 8 */
    size_t bytes;
    int *descriptors; /* the receiver's to close; it sets those that it keeps to -1 */
    size_t descriptor_count;
    bool is_cut; /* descriptors are missing: this process may open no more */
};

struct channel;
struct loop;

struct channel_owner {
    void (*on_message)(void *context, const struct channel_message *message);
    /* Nothing more comes: -EPIPE when the other end is gone, -EPROTO when it sent what is no
     * message, or what reading failed with. */
    void (*on_closed)(void *context, int error);
    void *context;
};

/* A pair of connected, close-on-exec ends. Returns 0 or a negative errno. */
WEIR_MUST_USE int channel_pair(int ends[2]);

/* Takes `fd` over when it succeeds. Returns 0 or a negative errno. */
WEIR_MUST_USE int channel_new(struct loop *loop, int fd, const struct channel_owner *owner,
        struct channel **out);
void channel_free(struct channel *channel); /* NULL: nothing. Not from on_message */

/* Takes what has come and was not looked at, on_closed() apart: its other end is gone. No more
 * than CHANNEL_REST_MAX messages, for whoever inherited that end may still be writing. */
#define CHANNEL_REST_MAX 4096u
void channel_take_rest(struct channel *channel);

/* Sends one message; `descriptors` stay the caller's. Returns 0; -EAGAIN when the other end has
 * not read for long; -EPIPE when it is gone; -EMSGSIZE. */
WEIR_MUST_USE int channel_send(struct channel *channel, enum channel_type type,
        const void *body, size_t bytes, const int *descriptors, size_t count);

#endif
