/* SPDX-License-Identifier: MIT */
/* What a worker knows: a private header of its files. Thread: the main one. */
#ifndef WEIR_SERVER_WORKER_STATE_H
#define WEIR_SERVER_WORKER_STATE_H

#include "server/channel.h"
#include "server/worker_loop.h"

/* The sockets of one address, as the master sent them. */
struct inherited {
    int *fds; /* owned; by slot, or the shared one */
    unsigned count;
    bool is_shared;
    bool is_cut; /* there were no descriptors left for the others */
};

struct worker {
    struct loop *loop; /* the first one's; the loop's own once there are loops */
    struct channel *channel;
    struct signal_watch *signals;
    struct channel_hello hello;
    char *file;                  /* owned: the configuration's name */
    int sources_fd;              /* owned; -1 */
    int log_fd;                  /* owned; -1: standard error */
    struct inherited *inherited; /* owned; by address */
    size_t inherited_count;

    struct site *site;             /* owned */
    struct generation *generation; /* owned */
    struct life *life;             /* owned */
    struct pools *pools;           /* owned */
    struct metric_pages *metrics;  /* owned; NULL: nothing is counted */
    struct worker_loop *loops;     /* owned */
    struct health_board *health;   /* owned */
    unsigned loop_count, finished;
    struct mailbox *mailbox; /* owned: from the other loops */
    struct timer figures_timer;
    uint64_t max_requests;
    bool has_started, is_ending;
    bool is_told; /* by a signal, to end: once another serves in its place */
    int exit_code;
};

/* To the master. One that is gone ends us; one that is busy is told again. */
void worker_say(struct worker *worker, enum channel_type type, const void *body, size_t bytes);

/* Loads and starts everything, and says READY; or ends with a code. */
void worker_start(struct worker *worker);

/* All loops end: WORKER_ORDER_DRAIN or WORKER_ORDER_STOP. */
void worker_end(struct worker *worker, enum worker_order_kind how, uint64_t timeout_ns,
        bool is_stop);

#endif
