/* SPDX-License-Identifier: MIT */
/* Upstreams: groups of targets, and the connections of one loop to them.
 *
 *     upstreams (one a loop) -> group (one of `upstreams`) -> target (an address)
 *                                                              -> idle connections, last used
 * first
 *
 * A target is chosen by smooth weighted round robin. One that failed several times in a row is
 * passed over for a while, unless all are. Where all connections that a target may have are in
 * use, exchanges queue, the oldest first, up to a bound and for a bounded time. Thread: the
 * loop's. */
#ifndef WEIR_UPSTREAM_GROUP_H
#define WEIR_UPSTREAM_GROUP_H

#include <stdint.h>

#include <weir/str.h>

#include "event/loop.h"
#include "net/addr.h"
#include "net/connect.h"
#include "upstream/upstream_figures.h"

struct engine;
struct exchange;
struct upstream_conn;

/* Of one group. */
#define UPSTREAM_TARGETS_MAX 256u

/* A target of which so many connections in a row came to nothing is passed over for so long. */
#define UPSTREAM_FAILS_MAX 3u
#define UPSTREAM_OUT_NS    (10 * NS_PER_S)

/* As the configuration has it: constant, borrowed, outlives everything here. */
struct upstream_target_settings {
    struct weir_str address; /* as written */
    struct addr addr;
    uint64_t weight; /* from 1 */
};

struct upstream_settings {
    struct weir_str name;
    const struct upstream_target_settings *targets;
    size_t target_count;
    uint64_t keepalive;   /* idle connections kept of each target; 0: none */
    uint64_t connections; /* at most so many to each target; UINT64_MAX: no limit */
    uint64_t queue_size;  /* exchanges that may wait for one */
    uint64_t connect_ns, send_ns, read_ns, queue_ns;
    uint64_t idle_ns; /* a kept connection's */
};

struct upstream_target {
    const struct upstream_target_settings *settings; /* borrowed */
    struct upstream_group *group;                    /* borrowed */
    struct upstream_conn *idle;                      /* owned; last used first */
    uint64_t idle_count, open_count; /* connections; the former among the latter */
    int64_t current;                 /* of the round robin */
    uint32_t fails;                  /* in a row */
    uint64_t out_until_ns;
    bool answers_large; /* the last answer's first read was */
    struct upstream_figures figures;
};

struct upstream_group {
    const struct upstream_settings *settings; /* borrowed */
    struct upstreams *all;                    /* borrowed */
    struct exchange *queue, **queue_end;      /* oldest first */
    uint64_t queued;
    metric_cell *queue_cell;                            /* NULL: none yet */
    uint64_t connections_max, keepalive_max, queue_max; /* this loop's share */
    struct upstream_target *targets;                    /* owned */
};

struct upstreams {
    struct engine *engine;             /* borrowed */
    const struct connector *connector; /* borrowed */
    struct metric_shard *shard;        /* borrowed; NULL: nothing is counted */
    size_t count;
    struct upstream_group groups[];
};

/* Of one loop out of `loops`, whose engine it is. `settings` is borrowed. Returns 0 or -ENOMEM.
 */
WEIR_MUST_USE int upstreams_new(struct engine *engine, const struct connector *connector,
        const struct upstream_settings *settings, size_t count, unsigned loops,
        struct metric_shard *shard, struct upstreams **out);

/* No exchange is left; kept connections are closed. NULL: nothing. */
void upstreams_free(struct upstreams *upstreams);

/* NULL when there is none of that name. */
struct upstream_group *upstreams_find(struct upstreams *upstreams, struct weir_str name);

/* Which targets an exchange has asked already. */
struct upstream_tried {
    uint64_t bits[UPSTREAM_TARGETS_MAX / 64];
};

enum upstream_choice {
    UPSTREAM_CHOSEN,
    UPSTREAM_ALL_BUSY,  /* one that was not tried has no connection left */
    UPSTREAM_ALL_TRIED, /* there is none left to try */
};

/* The next target to ask, which counts as tried from now on. */
WEIR_MUST_USE enum upstream_choice upstream_choose(struct upstream_group *group,
        struct upstream_tried *tried, struct upstream_target **out);

/* Another connection may be made to the target, or a kept one used. */
bool upstream_has_room(const struct upstream_target *target);

/* What became of a connection to it. */
void upstream_failed(struct upstream_target *target);
void upstream_worked(struct upstream_target *target);

/* Appends to the queue; false when it is full. Takes out of it. */
WEIR_MUST_USE bool upstream_enqueue(struct upstream_group *group, struct exchange *exchange);
void upstream_unqueue(struct upstream_group *group, struct exchange *exchange);

/* A connection has become free: the oldest in the queue is tried again. */
void upstream_serve_queue(struct upstream_group *group);

#endif
