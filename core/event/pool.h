/* SPDX-License-Identifier: MIT */
/* An elastic pool of threads for work that blocks (DESIGN.md section 3, F15 to F21).
 *
 * A task goes only to a free thread: nothing waits behind a busy one while another is idle. The
 * pool grows to `threads_max` while work waits and no thread is idle, and shrinks to
 * `threads_min` when threads have been idle for `idle_timeout_ns`. The queue is bounded in
 * length and in age; what overflows or grows too old comes back as such, on the loop, and its
 * `run` is never called. Tasks for which a thread is idle or can still be made do not count
 * against the length. Whatever a task does, its thread stays, or is replaced when the task
 * ended it (pthread_exit). */
#ifndef WEIR_EVENT_POOL_H
#define WEIR_EVENT_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/api.h>

#include "event/mailbox.h"

struct pool;
struct pool_port;

#define POOL_UNLIMITED (-1)

struct pool_settings {
    const char *name;          /* copied; names the threads */
    int threads_min;           /* at least 1 */
    int threads_max;           /* POOL_UNLIMITED, or at least threads_min */
    size_t queue_max;          /* tasks that may wait; at least 1 */
    uint64_t queue_timeout_ns; /* the longest a task may wait; CLOCK_NEVER: no limit */
    uint64_t idle_timeout_ns;

    /* Called on each thread as it starts and ends; both may be NULL. thread_start() returns 0
     * and sets *state, which `run` is given, or a negative errno: the thread ends, and the
     * pool tries again when work comes; while it has no thread at all, tasks come back as
     * POOL_BUSY. thread_stop() is not called on a thread that pool_stop() detached, nor when
     * thread_start() failed. */
    int (*thread_start)(void *context, void **state);
    void (*thread_stop)(void *context, void *state);
    void *context;
};

enum pool_outcome {
    POOL_RAN,       /* run() returned */
    POOL_BUSY,      /* the queue was full, there is no thread or no memory, or it is stopping */
    POOL_EXPIRED,   /* waited for longer than queue_timeout_ns */
    POOL_CANCELLED, /* pool_cancel() took it from the queue */
    POOL_ABANDONED, /* pool_stop() ran out of time before it was begun */
};

/* Embedded in the submitter's object, all zero but for the first three fields before its first
 * use. Owned by the submitter's loop until submitted, by the pool until `done` is called, by
 * the loop again from then on. */
struct pool_task {
    void (*run)(struct pool_task *task, void *thread_state);         /* on a thread */
    void (*done)(struct pool_task *task, enum pool_outcome outcome); /* on the loop */
    struct mailbox *reply_to; /* the loop's: `done` is delivered through it; lives until
                               * pool_stop() has returned, and pool_free() if that said false */
    struct pool_task *next, *previous;
    struct letter letter;
    struct pool_port *port; /* the pool's */
    uint64_t queued_ns;
    uint64_t waited_ns; /* in the queue; set when `done` is called */
    enum pool_outcome outcome;
    int place; /* the pool's: waiting, running or neither */
};

struct pool_figures {
    int threads, idle, busy;
    size_t queued;
    size_t out; /* given to it, and `done` is yet to be called */
    uint64_t submitted, ran, rejected, expired, cancelled, abandoned;
    uint64_t waited_ns; /* sum over all that ran or expired */
};

/* Checks the bounds without making anything: returns NULL, or a constant message that says
 * which bound is wrong (F19: min below 1, max 0, max below min, queue or its timeout below 1).
 */
const char *pool_settings_error(const struct pool_settings *settings);

/* Starts threads_min threads, named after the pool, signals blocked. Returns 0 or a negative
 * errno; -EINVAL for bounds that pool_settings_error() names. */
WEIR_MUST_USE int pool_new(const struct pool_settings *settings, struct pool **out);

/* Gives a task to the pool at the end of this turn, together with the turn's others. Always
 * ends in exactly one call of task->done on the loop, never from within this call (none if the
 * task still runs at pool_free()). Thread: the loop of task->reply_to. */
void pool_submit(struct pool *pool, struct pool_task *task);

/* Takes a task that has not begun out of the queue; `done` comes with POOL_CANCELLED. One that
 * runs already is left alone and comes back as POOL_RAN. Thread: the loop of task->reply_to. */
void pool_cancel(struct pool *pool, struct pool_task *task);

/* Refuses new tasks, serves the queue until `deadline_ns` (of the system's monotonic clock),
 * then abandons what has not begun and detaches threads that do not return. Blocks until then:
 * not on a loop that serves. Returns true when all threads have ended. A second call returns at
 * once. */
bool pool_stop(struct pool *pool, uint64_t deadline_ns);

/* After pool_stop(). A pool with detached threads keeps what they still touch until the last of
 * them returns; their tasks do not come back any more, and must stay, as must `context`. Before
 * the loops are freed. Thread: that of the loops whose tasks are still out (loop_adopt() them
 * when theirs has ended); any when none is. NULL: nothing. */
void pool_free(struct pool *pool);

/* Any thread. */
struct pool_figures pool_figures(struct pool *pool);

#endif
