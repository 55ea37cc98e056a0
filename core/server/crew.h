/* SPDX-License-Identifier: MIT */
/* The workers of one generation, as the master sees them.
 *
 *     a worker:   STARTING --ready--> READY --go--> SERVING --drain--> DRAINING --> (ended)
 *                     |                                |                               ^
 *                     +--------- it died --------------+-------------------------------+
 *                                   \-- of a crew that serves: another after a while
 *
 *     the crew:   STARTING --all ready--> READY --crew_go()--> OPENING --all accept--> SERVING
 *                     |                     |                    |                       |
 *                     |                     |                    +----- crew_drain() ----+
 *                     +----- one died ------+---- none left -----+                       |
 *                                                                |                       |
 *                                                              FAILED                DRAINING
 *
 * Each slot (one event loop of one worker) has its own socket of every TCP address. Whoever
 * serves accepts from its own slots and from those that have nobody. Thread: the master's. */
#ifndef WEIR_SERVER_CREW_H
#define WEIR_SERVER_CREW_H

#include <sys/types.h>

#include "base/buf.h"
#include "event/timer.h"
#include "observe/flight.h"
#include "observe/metric.h"
#include "server/channel.h"
#include "server/plan.h"
#include "server/sockets.h"

struct crew;
struct crew_worker;
struct loop;
struct zones;

enum crew_state {
    CREW_STARTING,
    CREW_READY,
    CREW_OPENING, /* told to accept; not all slots have somebody who does */
    CREW_SERVING,
    CREW_FAILED, /* its workers are being ended */
    CREW_DRAINING,
};

enum crew_worker_state {
    CREW_WORKER_STARTING,
    CREW_WORKER_READY,
    CREW_WORKER_SERVING,
    CREW_WORKER_DRAINING,
};

/* What the master is told, and what it gives. */
struct crew_master {
    struct loop *loop;            /* borrowed */
    struct sockets *sockets;      /* borrowed */
    const char *program;          /* borrowed: what workers exec */
    const char *file;             /* borrowed: the configuration's name */
    int log_fd;                   /* borrowed: the error log of the next crew */
    struct metric_pages *metrics; /* borrowed; NULL: nothing is counted */
    const struct zones *zones;    /* borrowed: those of each crew's plan are there */
    int (*log_file)(void *context,
            struct weir_str path); /* the descriptor of a log file, or -1 */

    /* NULL, or a worker ended that was not told to; in no module, where that is empty. True
     * when that ends the server: on_fatal() follows. */
    bool (*on_death)(void *context, const struct crew *crew, const char *module);
    void (*on_fatal)(void *context);
    void (*on_shards)(void *context); /* shards may be new: crew_send_shards() to every crew */
    void (*on_ready)(void *context, struct crew *crew);
    void (*on_serving)(void *context, struct crew *crew); /* after crew_go(): it is SERVING */
    void (*on_failed)(void *context, struct crew *crew, int exit_code);
    void (*on_empty)(void *context, struct crew *crew); /* no worker is left; may free it */
    void *context;
};

struct crew_worker {
    struct crew *crew;
    unsigned index; /* of the process: slots index * loops and up */
    enum crew_worker_state state;
    pid_t pid;
    struct channel *channel;
    struct flight *flight; /* owned: what it is doing; NULL where there is no memory for it */
    struct timer limit;    /* of its state: until when it starts, accepts, ends */
    bool is_stalled;       /* it was told to abort, since a loop of its does not come back */
    bool is_stall_told;    /* the log was told of that */
    bool is_overdue;       /* or since it did not start in time */
    bool is_mute;          /* its channel has ended, and it has not */
    bool is_reaped;        /* its process is gone: what it asked for does not count */
    uint64_t serving_ns;
    uint64_t full_until_ns; /* it has no descriptors for the slots of others until then */
    bool is_replaced;       /* a replacement for it is starting or serves */
    bool is_leaving;        /* one process fewer is wanted */
    bool was_killed;        /* by us, since nobody needs it any more */
    struct channel_figures figures;
    bool is_counted;      /* it was lent shards for its figures */
    unsigned shards_sent; /* of everybody's, to be read */
    struct buf report;    /* what it said is wrong with the configuration, while starting */
    struct crew_worker *next;
};

/* One event loop of one worker, and who accepts from its sockets. */
struct crew_slot {
    struct crew_worker *owner; /* borrowed; NULL: nobody */
    bool is_open;              /* the owner says that it accepts */
};

struct crew {
    const struct crew_master *master; /* borrowed */
    struct plan *plan;                /* owned */
    struct listening **listening;     /* owned, one reference each; by plan->listeners */
    bool has_sockets;                 /* until it drains */
    int log_fd;                       /* borrowed: its error log */
    unsigned number;                  /* the generation's */
    enum crew_state state;
    unsigned processes, loops;
    struct crew_worker *workers; /* owned */
    struct crew_slot *slots;     /* owned */
    unsigned slot_count;
    struct buf report;     /* of the worker that failed first; else of one: all say the same */
    char failure[768];     /* why it failed, where no report says it; "": unknown */
    int exit_code;         /* of the first that failed */
    bool is_paused;        /* WINCH: it accepts no more */
    bool has_notice;       /* the server is to stop: so its workers are told */
    uint64_t restarts;     /* workers that died and were replaced */
    unsigned quick_deaths; /* in a row */
    unsigned *sent;        /* owned; by address: sockets that workers have */
    struct timer restart_timer; /* starts what is missing */
    struct timer assign_timer;  /* offers slots again that nobody could take */
    struct timer empty_timer;   /* tells that it is empty, where nobody's end does */
    struct timer watch_timer;   /* looks at the loops */
    struct crew *next;
};

/* Opens the plan's sockets and starts its workers. Takes `plan` over, on failure too. Returns
 * an exit code; EXIT_OK sets *out, and on_ready() or on_failed() follows. */
int crew_new(const struct crew_master *master, struct plan *plan, unsigned number,
        struct crew **out);

/* After on_empty(), or with nobody left. NULL: nothing. */
void crew_free(struct crew *crew);

/* All are ready: they accept. */
void crew_go(struct crew *crew);

/* No new connections; what was accepted is answered. `is_stop`: idle connections close at once,
 * else after their next answer. Gives up the crew's sockets. */
void crew_drain(struct crew *crew, bool is_stop);

/* The server is to stop: modules in its workers, and in those that are yet to come, know that;
 * all serve on. */
void crew_give_notice(struct crew *crew);

/* Accepts nothing any more, and serves on what it has (WINCH). */
void crew_pause(struct crew *crew);

/* Ends all workers now; by SIGKILL when `kill`. */
void crew_stop(struct crew *crew, bool kill);

/* Sockets that another crew opened on the same addresses are accepted from until it serves. */
void crew_refresh(struct crew *crew);

/* Sends shards of figures that were made since to its workers, who tell the sums. */
void crew_send_shards(struct crew *crew);

/* One process more, or fewer. False when there would be none, or too many. */
bool crew_grow(struct crew *crew);
bool crew_shrink(struct crew *crew);

/* A process of ours has ended. True when it was one of the crew's; may free the crew. */
bool crew_reap(struct crew *crew, pid_t pid, int status);

/* Sends new descriptors: the error log's, and those of log files (USR1). */
void crew_reopen(struct crew *crew);

/* It accepts connections: OPENING or SERVING. */
bool crew_is_accepting(const struct crew *crew);

unsigned crew_count(const struct crew *crew, enum crew_worker_state state);

#endif
