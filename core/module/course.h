/* SPDX-License-Identifier: MIT */
/* A request's course through the phases (DESIGN.md section 4): the request handler that the
 * server gives its engine.
 *
 * Two machines walk side by side. The asker goes from phase head to phase content and stops at
 * the first hook that answers; the replier takes what was answered, as soon as its first body
 * byte or its end is there, through the reply-head hooks and on to the wire. Either may wait
 * while the other goes on (a handler that streams). Modules are called from course_run() and
 * course_end() only, never from within a call of theirs. Thread: the engine's loop. */
#ifndef WEIR_MODULE_COURSE_H
#define WEIR_MODULE_COURSE_H

#include "http/engine.h"
#include "http/request.h"
#include "module/chain.h"

struct generation;
struct pools;
struct wait_table;

/* What a request meets on its loop: the generation's servers and routes, which all loops of a
 * worker share, and the loop's own means. One for each loop; the engine's handler_context. */
struct course_map {
    /* The chain of the server that `request` is for, whose head, rewrite and log hooks run;
     * NULL: no such server here (421). Also asked for refused requests, whose host is unknown:
     * then the listener's default. */
    const struct chain *(*server)(const struct course_map *map, struct weir_request *request);

    /* Chooses the route: sets request->limits and request->timeouts and returns the chain; NULL
     * when none matches (404). Thread: the loop's. */
    const struct chain *(*route)(const struct course_map *map, struct weir_request *request);

    const struct generation *generation; /* borrowed; the two functions' */
    struct wait_table *waits;            /* borrowed; NULL: no hook can suspend */
    struct pools *pools;                 /* borrowed; NULL: no hook can offload */
};

/* The map of the request's engine. */
const struct course_map *course_map_of(const struct weir_request *request);

/* Bytes that the course takes of each request's slab, before the modules' states. */
size_t course_slab_bytes(void);

/* Something of the core's own that a hook waits for, on the way from the hook to whoever does
 * it. Embedded in the operation, which outlives the wait. */
struct course_wait {
    /* The request ends before the operation: it must not be touched any more. Not called when
     * `aborted` is there. */
    void (*abandon)(struct course_wait *wait);

    /* NULL, or called in the hook's place when the request ends while it waits, be the event
     * there already or not, so that the module can clean up. */
    weir_request_fn *aborted;
};

/* For a public call that cannot answer at once: suspends the hook that runs and calls `resume`
 * in its place after course_ripen(). Returns WEIR_PENDING, which the hook returns; WEIR_FAILED
 * when the request waits already or the phase cannot wait, and `wait` is not used. */
WEIR_MUST_USE enum weir_verdict course_wait_for(struct weir_request *request,
        struct course_wait *wait, weir_request_fn *resume);

/* The wait that the function which runs now resumes from, or is aborted at. */
struct course_wait *course_awaited(const struct weir_request *request);

/* What the request waits for is there: it runs again at the end of the loop's turn. At most
 * once a wait, and never after abandon(). */
void course_ripen(struct weir_request *request);

/* The functions of a request_handler whose engine's handler_context is a struct course_map. */
void course_run(struct weir_request *request);
void course_end(struct weir_request *request);

#endif
