/* SPDX-License-Identifier: MIT */
/* What the parts of the elastic pool share; event/pool.c is its overview. Private to pool*.c.
 *
 *     pool.c         made, looked at, freed
 *     pool_queue.c   tasks: from a loop through its port to the queue, their age, and back
 *     pool_thread.c  threads: made when work waits, run tasks, sleep, and leave when idle
 *     pool_stop.c    the end, also of threads that do not come back
 */
#ifndef WEIR_EVENT_POOL_PARTS_H
#define WEIR_EVENT_POOL_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "event/loop.h"
#include "event/pool.h"
#include "event/timer.h"

enum task_place {
    TASK_AWAY,    /* the submitter's */
    TASK_STAGED,  /* in its port */
    TASK_WAITING, /* in the queue */
    TASK_TAKEN,   /* on a thread, or on its way back */
};

/* What a thread does, for the figures. Guarded by the lock. */
enum thread_job {
    THREAD_STARTS,
    THREAD_IDLES,
    THREAD_WORKS,
    THREAD_LEAVES,
};

/* In whose code a thread is. */
enum thread_phase {
    THREAD_OURS,     /* the pool's; back at the lock soon */
    THREAD_AWAY,     /* foreign: run, thread_start, thread_stop; may never return */
    THREAD_DETACHED, /* was away when pool_stop() ran out of time */
};

struct task_list {
    struct pool_task *first, *last;
    size_t count;
};

struct pool_port {
    struct pool *pool;          /* borrowed: a task that is out holds it */
    struct loop *loop;          /* borrowed; NULL: no port, the task comes back at once */
    const struct clock *clock;  /* borrowed: the loop's */
    struct pool_port *next;     /* of the pool's other loops */
    struct loop_task give_over; /* deferred while tasks are staged */
    struct timer oldest;
    struct task_list staged;
    _Atomic(size_t) out; /* tasks not yet back; written by the loop */
};

struct pool_thread {
    struct pool *pool; /* borrowed; counted once detached */
    unsigned number;
    _Atomic(enum thread_phase) phase;
    pthread_cond_t wake;

    /* The thread's own. */
    struct pool_task *task; /* the one it runs */
    void *state;            /* thread_start()'s */

    /* Guarded by the pool's lock. */
    pthread_t id;
    enum thread_job job;
    bool is_woken;
    struct pool_thread *live_next, **live_link;
    struct pool_thread *idle_next, **idle_link; /* link is NULL when not on the stack */
};

struct pool {
    /* Fixed at birth. */
    struct pool_settings settings;
    char *name;               /* owned; settings.name */
    struct pool_port nowhere; /* of tasks for which there was no memory */

    _Atomic(struct pool_port *) ports; /* owned; only added to */
    _Atomic(size_t) refs;              /* the owner, tasks that are out, detached threads */
    atomic_bool is_stopping;           /* written under the lock */

    pthread_mutex_t lock;   /* guards all below, and the place of tasks that are out */
    pthread_cond_t changed; /* a thread has ended */
    struct task_list queue;
    struct pool_thread *live, *idlers; /* all; the stack of those that sleep */
    struct pool_thread *ended;         /* by live_next; to be joined */
    int threads;                       /* that serve, or will: the size of the pool */
    int hatching;                      /* of those: made, not yet running */
    int starting;                      /* in thread_start */
    int idle;                          /* asleep */
    int waking;                        /* taken off the stack, not yet awake */
    int busy;                          /* in run */
    int alive;                         /* threads, and those that leave */
    int detached;                      /* that have not ended yet */
    unsigned made;
    bool cannot_grow; /* the last attempt to make a thread failed */
    bool is_orphaned; /* pool_free() was called */
    struct pool_figures sums;
};

/* ---- pool.c ---- */

void pool_ref(struct pool *pool);
void pool_unref(struct pool *pool);

/* ---- pool_queue.c ---- */

/* The task is on no list, or leaves its own by this. Not touched afterwards. */
void pool_send_back(struct pool_task *task);
void pool_send_all_back(struct task_list *list);

/* All that waits comes back. Under the lock. */
void pool_turn_all_back(struct pool *pool, struct task_list *back, enum pool_outcome outcome);

/* The next task that may still be run; those that are too old go to `back`. Under the lock. */
struct pool_task *pool_take(struct pool *pool, struct task_list *back);

/* Moves what is staged to the queue. Thread: the port's loop. */
void pool_give_over(struct pool_port *port);

/* ---- pool_thread.c ---- */

/* Counts a thread that pool_thread_make() is to make. Under the lock. */
void pool_thread_reserve(struct pool *pool);

/* Makes the thread that was reserved. Returns 0 or a negative errno; then what waits is seen
 * to. Any thread, without the lock. */
int pool_thread_make(struct pool *pool);
void pool_thread_free(struct pool_thread *thread);

/* Sees to it that somebody comes for what waits: wakes one thread, or returns true when one has
 * been reserved that the caller must make after it has let go of the lock. Under the lock. */
bool pool_rouse(struct pool *pool);

/* Off the list of all threads. Under the lock. */
void pool_live_remove(struct pool_thread *thread);

/* Wakes whoever is idle, to find that the pool is stopping. Under the lock. */
void pool_wake_all(struct pool *pool);

/* Joins threads that have ended. Without the lock. */
void pool_join_all(struct pool_thread *ended);

/* ---- pool_stop.c ---- */

/* Around foreign code. The second returns false when the thread has been detached meanwhile:
 * then it must end by the third, and touch nothing else of the pool. Thread: the thread itself.
 */
void pool_go_away(struct pool_thread *thread);
bool pool_come_back(struct pool_thread *thread);

/* The end of a detached thread. Its task goes back only if the pool's owner still waits for it:
 * after pool_free() the mailbox may be gone. */
void pool_end_detached(struct pool_thread *thread);

static inline struct timespec
pool_timespec(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
        .tv_nsec = (long)(ns % NS_PER_S) };
}

#endif
