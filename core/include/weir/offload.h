/* SPDX-License-Identifier: MIT */
/* Blocking work on a thread of a named pool (CONFIG.md, `pools`), while the request waits and
 * its loop serves others. Grows until 1.0.
 *
 * What such work needs and only one thread may use at a time, such as a connection to a
 * database, each thread can keep for itself. A module makes it in thread_start and gives it
 * back in thread_stop of its table (struct weir_module), both on that thread, where they may
 * block:
 *
 *     thread_start   before the thread's first job of the module, and never on threads which
 *                    have none: sets *state, which is NULL at first. 0, or a negative errno: a
 *                    line in the log says so, done() of this job is called with WEIR_BUSY, and
 *                    the next one's thread tries again
 *     thread_stop    before the thread ends, because it was idle or its worker ends; not for a
 *                    start that failed, and not on a thread that is still at work when its
 *                    worker ends
 *
 * Modules are stopped in the opposite order of `modules` in the configuration. The time that a
 * thread_start takes counts as the job's own. A job that ends its thread (pthread_exit) loses
 * no state: thread_stop comes all the same; thread_stop itself must return. */
#ifndef WEIR_OFFLOAD_H
#define WEIR_OFFLOAD_H

#include <weir/api.h>
#include <weir/module.h>
#include <weir/wait.h>

WEIR_BEGIN_DECLS

/* A kind of work: constant. */
struct weir_job {
    const char *pool; /* NULL: "default" */

    /* Does it, without the request: whatever it needs is in `data`. `thread_state` is what
     * thread_start of the module whose hook asked has made on this thread; NULL without one.
     * Thread: one of the pool's; may block. */
    void (*run)(void *data, void *thread_state);

    /* Called in the hook's place when run() has returned (WEIR_WOKEN); when waiting and running
     * together took longer than the time given (WEIR_TIMED_OUT); when run() was not called
     * (WEIR_BUSY): the pool had no room, no thread in queue_timeout, or the thread no
     * thread_start; or when the request ended (WEIR_ABORTED; the verdict is ignored). After
     * WEIR_TIMED_OUT and WEIR_ABORTED run() may still be at work, so `data` is NULL then.
     * Returning WEIR_NEXT to WEIR_BUSY and WEIR_TIMED_OUT lets the core answer 503 with
     * Retry-After, or 504; in a filter, the body fails so, and in a log hook nothing happens.
     * Thread: the request's loop. */
    enum weir_verdict (*done)(struct weir_request *request, const void *conf,
            enum weir_wake how, void *data);

    /* Frees `data`; called exactly once, whatever happens, after done() and after run(). May be
     * NULL. Thread: the request's loop. */
    void (*free)(void *data);
};

/*
 * Hands `data` to a pool thread and suspends the hook that runs.
 * Thread:  the request's loop, from within a hook of the phases that may wait (weir/wait.h).
 * Memory:  `data` is the core's from here on, also on failure, until job->free().
 * Returns: WEIR_PENDING, which the hook returns; WEIR_FAILED when the phase cannot wait, there
 * is no such pool, or no memory.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP enum weir_verdict weir_offload(struct weir_request *request,
        const struct weir_job *job, void *data, uint64_t timeout_ns);

WEIR_END_DECLS

#endif
