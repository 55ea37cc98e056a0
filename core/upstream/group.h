/* SPDX-License-Identifier: MIT */
/* Upstreams: groups of targets, and the connections of one loop to them.
 *
 *     upstreams (one a loop) -> group (one of `upstreams`) -> targets (target.h), each with
 *                                                             its kept connections (conn.h)
 *
 * Who is asked is said in choose.h. A target that was not well of late is passed over
 * (eject.h, health.h), unless all are. Where all connections that a target may have are in use,
 * exchanges queue, the oldest first, up to a bound and for a bounded time. Thread: the loop's.
 */
#ifndef WEIR_UPSTREAM_GROUP_H
#define WEIR_UPSTREAM_GROUP_H

#include <stdint.h>

#include <weir/str.h>

#include "event/loop.h"
#include "net/connect.h"
#include "net/proxy_protocol.h"
#include "net/resolver.h"
#include "upstream/eject.h"
#include "upstream/health.h"
#include "upstream/name.h"
#include "upstream/retry.h"
#include "upstream/sticky.h"
#include "upstream/target.h"

struct engine;
struct exchange;
struct weir_template;

/* As the configuration has it: constant, borrowed, outlives everything here. */
struct upstream_settings {
    struct weir_str name;
    const struct upstream_target_settings *targets;
    size_t target_count;
    uint64_t keepalive;   /* idle connections kept of each target; 0: none */
    uint64_t connections; /* at most so many to each target; UINT64_MAX: no limit */
    uint64_t queue_size;  /* exchanges that may wait for one */
    uint64_t connect_ns, send_ns, read_ns, queue_ns;
    uint64_t idle_ns;         /* a kept connection's */
    enum proxy_version proxy; /* what a connection begins with; with any, none is kept */
    struct name_settings names;
    struct eject_settings eject;
    struct retry_settings retry;
    struct balance_settings balance;
    const struct weir_template *key; /* of requests, for BALANCE_HASH; NULL: none */
    struct sticky_settings sticky;
    struct health_settings health;
    bool refuses_when_out; /* when no target is well none is asked */
};

struct upstream_group {
    const struct upstream_settings *settings; /* borrowed */
    struct upstreams *all;                    /* borrowed */
    struct exchange *queue, **queue_end;      /* oldest first */
    uint64_t queued;
    struct loop_task serve_task;                        /* upstream_serve_soon() */
    metric_cell *queue_cell;                            /* NULL: none yet */
    uint64_t connections_max, keepalive_max, queue_max; /* this loop's share */
    struct retry_budget retry_budget;

    /* Members come and go (target.h): look again after whatever may have called back. */
    struct upstream_target **targets; /* owned; each counted */
    size_t target_count;              /* may be 0 */
    uint64_t changes;                 /* of the set, and of what is said of its members */

    struct upstream_name *names; /* owned; see name.h */
    size_t unsettled_names;
    struct resolver *resolver; /* owned; NULL: there are no names */
};

struct upstreams {
    struct engine *engine;             /* borrowed */
    const struct connector *connector; /* borrowed */
    resolver_new_fn *new_resolver;
    struct metric_shard *shard;  /* borrowed; NULL: nothing is counted */
    struct health_board *health; /* borrowed; NULL: nobody checks */
    unsigned health_index;       /* of the loop, on the board */
    bool is_quiet;               /* another loop of the worker says what becomes of names */
    size_t count;
    struct upstream_group groups[];
};

/* Of one loop out of `loops`, whose engine it is. `settings` is borrowed. Returns 0 or -ENOMEM.
 */
WEIR_MUST_USE int upstreams_new(struct engine *engine, const struct connector *connector,
        resolver_new_fn *new_resolver, const struct upstream_settings *settings, size_t count,
        unsigned loops, struct metric_shard *shard, struct upstreams **out);

/* No exchange is left; kept connections are closed. NULL: nothing. */
void upstreams_free(struct upstreams *upstreams);

/* NULL when there is none of that name. */
struct upstream_group *upstreams_find(struct upstreams *upstreams, struct weir_str name);

/* Exchanges that may wait for the first answer about a name, though `queue_size` is less. */
#define UPSTREAM_NAMES_QUEUE 1000u

/* Appends to the queue; false when it is full. Takes out of it. */
WEIR_MUST_USE bool upstream_enqueue(struct upstream_group *group, struct exchange *exchange);
void upstream_unqueue(struct upstream_group *group, struct exchange *exchange);

/* A connection has become free: the oldest in the queue that can use it is tried again. */
void upstream_serve_queue(struct upstream_group *group);

/* The set has changed: each in the queue that need not wait is tried again. */
void upstream_serve_all(struct upstream_group *group);

/* The same at the end of this turn, for whoever may be in the middle of serving. */
void upstream_serve_soon(struct upstream_group *group);

#endif
