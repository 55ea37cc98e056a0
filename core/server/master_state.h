/* SPDX-License-Identifier: MIT */
/* What the master knows: its own floor's private header. Thread: the master's. */
#ifndef WEIR_SERVER_MASTER_STATE_H
#define WEIR_SERVER_MASTER_STATE_H

#include <limits.h>

#include "event/loop.h"
#include "event/timer.h"
#include "server/control.h"
#include "server/crew.h"

/*     STARTING --> SERVING --told to stop--> LEAVING --workers.stop_delay--> STOPPING
 *        |            |                                                        ^
 *        +------------+--- failed, told to end now, or there is no delay ------+
 */
enum master_state {
    MASTER_STARTING, /* the first generation is not ready yet */
    MASTER_SERVING,
    MASTER_LEAVING, /* told to stop: it serves on for a while, so that others learn of it (F72)
                     */
    MASTER_STOPPING,
};

struct master {
    const char *file; /* borrowed: the configuration's name */
    char program[PATH_MAX];
    struct loop *loop;              /* owned */
    struct signal_watch *signals;   /* owned */
    struct sockets *sockets;        /* owned */
    struct log_files *log_files;    /* owned */
    struct zones *zones;            /* owned */
    int log_fd;                     /* borrowed: where its own lines go */
    struct control *control;        /* owned; NULL: there is none */
    struct control *left;           /* owned; NULL: the one before, once it has moved */
    struct metric_pages *metrics;   /* owned; NULL: nothing is counted */
    struct master_figures *figures; /* owned; NULL without memory */
    struct plan_making *making;     /* owned; NULL: no configuration is being checked */
    struct crew_master crew_master;
    struct crew *crews; /* owned; newest first */
    struct crew *dead;  /* owned: to be freed at the end of the turn */
    struct loop_task burial;
    unsigned generations; /* started so far */
    enum master_state state;
    bool must_reload;         /* as soon as there is a place for another generation */
    bool was_told;            /* to stop, and it does: another time means now */
    struct timer leave_timer; /* of LEAVING */
    uint64_t started_ns;
    struct buf report; /* of the reload that is under way */
    int exit_code;
};

/* The newest of that state; NULL: none. */
struct crew *master_find_crew(const struct master *master, enum crew_state state);

/* What is asked of it by signals and by the control socket alike. */
void master_stop(struct master *master);
void master_reopen(struct master *master);

#endif
