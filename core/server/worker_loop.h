/* SPDX-License-Identifier: MIT */
/* One event loop of a worker, with all that belongs to a loop: its engine, its connections,
 * what hooks wait with, its file cache, and the doors through which connections come. The first
 * loop turns on the worker's main thread, the others on threads of their own. */
#ifndef WEIR_SERVER_WORKER_LOOP_H
#define WEIR_SERVER_WORKER_LOOP_H

#include <pthread.h>
#include <stdatomic.h>

#include "event/mailbox.h"
#include "event/timer.h"
#include "http/h1.h"
#include "module/course.h"
#include "module/figures.h"
#include "module/generation.h"
#include "module/life.h"
#include "module/pools.h"

struct worker_loop;

/* One address, as this loop serves it. */
struct entrance {
    struct worker_loop *loop;
    const struct generation_listener *listener; /* borrowed */
    struct h1_settings settings;                /* the listener's, with this loop's callbacks */
    struct h1_settings refusal;                 /* of those that are answered 503 */
    uint64_t connections;                       /* open ones */
    uint64_t connections_max;                   /* limits.connections, this loop's share */
    uint64_t refused;                           /* open ones that are not served */
    bool is_full;                               /* its doors are paused (F22) */
    uint64_t warned_ns, unwarned;               /* of refusals: the last line, and since then */
    struct door *doors;                         /* owned: sockets that are accepted from */
};

/* What another thread asks of a loop; freed when it is done. */
enum worker_order_kind {
    WORKER_ORDER_OPEN,   /* accept from `fd` as slot `slot` of address `address` */
    WORKER_ORDER_OPENED, /* all doors of slot `slot` were ordered: say whether they are open */
    WORKER_ORDER_CLOSE,  /* accept no more from slot `slot` */
    WORKER_ORDER_DRAIN,
    WORKER_ORDER_STOP,
};

struct worker_order {
    struct letter letter;
    struct worker_loop *loop;
    enum worker_order_kind kind;
    uint32_t address, slot;
    int fd; /* the loop's from here on; -1 */
    uint64_t timeout_ns;
    bool is_stop;
};

/* Read by the main thread while the loop runs. */
struct worker_loop_figures {
    _Atomic(uint64_t) accepted, closed, active, tunnels, requests, bytes_in, bytes_out;
};

struct worker_loop {
    unsigned index;
    struct loop *loop; /* owned */
    struct engine engine;
    struct course_map map;
    struct mailbox *mailbox;    /* owned */
    struct wait_table *waits;   /* owned */
    struct file_cache *files;   /* owned */
    struct spill_store *spills; /* owned */
    struct figures *counted;    /* owned; NULL: nothing is counted */
    struct entrance *entrances; /* owned; by address */
    size_t entrance_count;
    struct timer drain_timer, figures_timer;
    uint64_t drain_until_ns;
    uint64_t drain_last_ns; /* so long before that idle connections close */
    bool is_draining, is_over_time, has_ended_tunnels, is_finished;
    bool has_shut_door; /* one of the slot that is being opened could not be */
    struct worker_loop_figures figures;
    pthread_t thread;
    bool has_thread;

    /* On this loop. */
    /* It accepts from that slot, or cannot. */
    void (*on_opened)(void *context, uint32_t slot, bool is_open);
    void (*on_finished)(void *context,
            struct worker_loop *loop); /* all but the first leave loop_run() */
    void *context;
};

struct worker_loop_settings {
    unsigned index, count;         /* this one, of how many */
    struct generation *generation; /* borrowed */
    struct pools *pools;           /* borrowed */
    struct life *life;             /* borrowed */
    struct metric_pages *metrics;  /* borrowed; NULL: nothing is counted */
    struct weir_str temp_dir; /* borrowed: where bodies are kept that are too many for memory */
    const struct upstream_settings *upstreams; /* borrowed */
    size_t upstreams_count;
    struct health_board *health; /* borrowed: for their checks */
    struct loop *loop;           /* taken over; made by the caller */
    void (*on_opened)(void *context, uint32_t slot, bool is_open);
    void (*on_finished)(void *context, struct worker_loop *loop);
    void *context;
};

/* Returns 0 or a negative errno, when what was made is to be freed with worker_loop_fini(). */
WEIR_MUST_USE int worker_loop_init(struct worker_loop *loop,
        const struct worker_loop_settings *settings);

/* Any thread: carried out on the loop. The descriptor of the order is taken over. Without
 * memory -ENOMEM, and the descriptor is closed. */
WEIR_MUST_USE int worker_loop_order(struct worker_loop *loop, const struct worker_order *order);

/* Starts the modules on the loop, whose mistakes go to `diagnostics`, and but for the first
 * gives it a thread, on which nothing but a fault of its own is a signal. Returns when the
 * modules have started there, and the loop turns; or a negative errno, with their report when
 * it was theirs. */
WEIR_MUST_USE int worker_loop_start(struct worker_loop *loop, struct diagnostics *diagnostics);

/* After it has finished, and its thread was joined: what waited was told that it is over, and
 * the modules have stopped there. Thread: the main one, whose loop it is from now on. */
void worker_loop_settle(struct worker_loop *loop);

/* After worker_loop_settle(), and when no pool works any more: turns once more, for what comes
 * back from pools, then frees. Thread: the main one. */
void worker_loop_fini(struct worker_loop *loop);

#endif
