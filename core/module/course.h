/* SPDX-License-Identifier: MIT */
/* A request's course through the phases (DESIGN.md section 4): the request handler that the
 * server gives its engine.
 *
 * Several walkers go side by side. The asker goes from phase head to phase content and stops at
 * the first hook that answers; the replier takes what was answered, as soon as its first body
 * byte or its end is there, through the reply-head hooks and on to the wire; the two lines of
 * body filters take bytes along; the log's walker goes when all is over. Each may wait while
 * the others go on. Modules are called from course_run(), course_end(), course_stop() and the
 * loop's own tasks, never from within a call of theirs. Thread: the engine's loop. */
#ifndef WEIR_MODULE_COURSE_H
#define WEIR_MODULE_COURSE_H

#include <weir/wait.h>

#include "event/loop.h"
#include "event/timer.h"
#include "http/engine.h"
#include "http/request.h"
#include "module/chain.h"
#include "observe/metric.h"

struct figures;
struct generation;
struct hook_figures;
struct life_loop;
struct module_metrics;
struct pools;
struct upstreams;
struct wait_table;
struct weir_port;

/* Requests of a loop that have ended and whose log hooks wait. All zero at first. */
struct course_logs {
    struct log_walk *first, **end; /* oldest first; `end` is NULL until the first one comes */
    struct log_walk *ready;        /* to go on at the end of the turn */
    size_t count;
    uint64_t dropped; /* waits that were cut or refused */
    uint64_t said_ns; /* when the log was last told of that */
    bool is_stopped;
    struct loop_task task;
    struct timer timer;
};

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
    struct upstreams *upstreams;         /* owned by the map's owner; NULL: there are none */
    struct figures *figures;             /* borrowed; NULL: nothing is counted */
    struct hook_figures *hook_figures;   /* borrowed; NULL: likewise, of hooks */
    metric_cell *calls;                  /* borrowed; NULL: likewise, of their calls */
    struct life_loop *life;              /* borrowed; what modules keep for the loop */
    struct module_metrics *metrics;      /* borrowed; NULL: modules count nothing themselves */
    struct course_logs logs;
    struct weir_port *ports; /* those open on this loop (module/port.c) */
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

    /* The course's. */
    struct weir_request *request;
    bool is_there;
};

/* For a public call that cannot answer at once: suspends the hook that runs and calls `resume`
 * in its place after course_ripen(). Returns WEIR_PENDING, which the hook returns; WEIR_FAILED
 * when the request waits already or the phase cannot wait, and `wait` is not used. */
WEIR_MUST_USE enum weir_verdict course_wait_for(struct weir_request *request,
        struct course_wait *wait, weir_request_fn *resume);

/* Whether the hook that runs is one that reads the body and writes the answer. */
bool course_may_answer(const struct weir_request *request);

/* For the log, where no hook is to be named: method and target of the request, and `what`. */
void course_log_request(const struct weir_request *request, const char *what);

/* The wait that the function which runs now resumes from, or is aborted at. */
struct course_wait *course_awaited(const struct weir_request *request);

/* What a hook waits for is there: it goes on at the end of the loop's turn. At most once a
 * wait, and never after abandon() or aborted(). */
void course_ripen(struct course_wait *wait);

/* What the core does for a hook that does not care that its work was refused (WEIR_BUSY) or
 * took too long (WEIR_TIMED_OUT): 503 with Retry-After, or 504; for a filter, that its body
 * fails so; in the log phase nothing. The verdict is the hook's. */
enum weir_verdict course_overload(struct weir_request *request, enum weir_wake how);

/* Requests whose log hooks wait: what stopping a worker waits for, together with its
 * connections. And how many waits of log hooks were cut or refused, since they took five
 * seconds or a thousand requests were waiting. */
size_t course_logs_kept(const struct course_map *map);
uint64_t course_logs_dropped(const struct course_map *map);

/* The loop stops: log hooks that wait are aborted, the others are called, and no request is
 * left. When all connections have ended; before the loop, the waits and the pools end. */
void course_stop(struct course_map *map);

/* The request in hand, for the log, in the middle of a crash: a flight_describe_fn. */
size_t course_describe(const void *request, char *dst, size_t bytes);

/* The functions of a request_handler whose engine's handler_context is a struct course_map. */
void course_run(struct weir_request *request);
void course_end(struct weir_request *request);

#endif
