/* SPDX-License-Identifier: MIT */
/* Blocking work on a thread of a named pool (CONFIG.md, `pools`), while the request waits and
 * its loop serves others. Grows until 1.0. */
#ifndef WEIR_OFFLOAD_H
#define WEIR_OFFLOAD_H

#include <weir/api.h>
#include <weir/module.h>
#include <weir/wait.h>

WEIR_BEGIN_DECLS

/* A kind of work: constant. */
struct weir_job {
    const char *pool; /* NULL: "default" */

    /* Does it, without the request: whatever it needs is in `data`. Thread: one of the pool's;
     * may block. */
    void (*run)(void *data);

    /* Called in the hook's place when run() has returned (WEIR_WOKEN), when it waited or ran
     * for too long (WEIR_TIMED_OUT), when the pool had no room (WEIR_BUSY), or when the request
     * ended (WEIR_ABORTED; the verdict is ignored). After WEIR_TIMED_OUT and WEIR_ABORTED run()
     * may still be at work, so `data` is NULL then. Returning WEIR_NEXT to WEIR_BUSY and
     * WEIR_TIMED_OUT lets the core answer 503 with Retry-After, or 504; in a filter, the
     * body fails so, and in a log hook nothing happens. Thread: the request's
     * loop. */
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
WEIR_MUST_USE WEIR_API enum weir_verdict weir_offload(struct weir_request *request,
        const struct weir_job *job, void *data, uint64_t timeout_ns);

WEIR_END_DECLS

#endif
