/* SPDX-License-Identifier: MIT */
/*
 *     ASKED --run() returned--> done(WOKEN) -----------------------+
 *       |  \--no room, too old, no thread_start--> done(BUSY) ----+--> free()
 *       |--deadline--> done(TIMED_OUT) --+                         |
 *       +--request ended--> done(ABORTED) +--> LEFT --task is back-+
 *
 * The request and the task part when the one ends before the other; the task then comes back to
 * nobody and frees its data. Everything but run() is on the loop.
 */
#include <stdlib.h>

#include <weir/offload.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/timer.h"
#include "http/request.h"
#include "module/course_parts.h"
#include "module/figures.h"
#include "module/life_thread.h"
#include "module/pools.h"
#include "module/wait.h"
#include "observe/flight.h"

struct offload {
    struct pool_task task;
    struct course_wait wait;
    struct timer timer;
    const struct weir_job *job;   /* constant */
    struct weir_request *request; /* NULL: it has gone on without us */
    const struct course_map *map; /* borrowed: its loop's */
    struct pool *pool;            /* borrowed */
    struct weir_worker *worker;   /* borrowed: the module's; NULL in a map without a life */
    void *data;
    uint32_t flight; /* the entry of the hook that asked */
    bool has_begun;  /* run() was called; written by the thread */
    enum weir_wake how;
    bool is_ripe; /* the request is to go on, for the reason in `how` */
    bool is_back; /* the task is ours again */
};

static void
free_offload(struct offload *offload)
{
    timer_cancel(&offload->timer);
    if (offload->job->free != NULL) {
        offload->job->free(offload->data);
    }
    free(offload);
}

static void
run_task(struct pool_task *task, void *thread_state)
{
    struct offload *offload = (struct offload *)((char *)task - offsetof(struct offload, task));
    void *state = NULL;
    if (offload->worker != NULL &&
            life_thread_enter(thread_state, offload->worker, &state) < 0) {
        return;
    }
    flight_begin_thread(FLIGHT_POOL);
    flight_enter(offload->flight, NULL);
    offload->has_begun = true;
    offload->job->run(offload->data, state);
    flight_leave();
}

static enum weir_wake
wake_of(const struct offload *offload, enum pool_outcome outcome)
{
    switch (outcome) {
    case POOL_RAN:
        return offload->has_begun ? WEIR_WOKEN : WEIR_BUSY; /* no thread_start */
    case POOL_BUSY:
    case POOL_EXPIRED: /* F17: 503, since it was not begun */
    case POOL_ABANDONED:
        return WEIR_BUSY;
    case POOL_CANCELLED:
        return WEIR_TIMED_OUT;
    }
    return WEIR_BUSY;
}

static void
on_task_back(struct pool_task *task, enum pool_outcome outcome)
{
    struct offload *offload = (struct offload *)((char *)task - offsetof(struct offload, task));
    offload->is_back = true;
    life_release(offload->worker);
    if (outcome == POOL_RAN || outcome == POOL_EXPIRED) {
        const char *name = offload->job->pool == NULL ? "default" : offload->job->pool;
        figures_observe_queue(offload->map->figures, name, task->waited_ns);
    }
    if (offload->request == NULL) {
        free_offload(offload);
        return;
    }
    offload->request->queued_ns += task->waited_ns;
    if (!offload->is_ripe) {
        timer_cancel(&offload->timer);
        offload->is_ripe = true;
        offload->how = wake_of(offload, outcome);
        course_ripen(&offload->wait);
    }
}

/* The request goes on, or ends; a task that is still out comes back to nobody. */
static void
leave(struct offload *offload)
{
    if (offload->is_back) {
        free_offload(offload);
        return;
    }
    timer_cancel(&offload->timer);
    offload->request = NULL;
    pool_cancel(offload->pool, &offload->task);
}

static void
on_deadline(struct timer *timer)
{
    struct offload *offload = (struct offload *)((char *)timer -
            offsetof(struct offload, timer));
    offload->is_ripe = true;
    offload->how = WEIR_TIMED_OUT;
    course_ripen(&offload->wait);
}

static struct offload *
offload_of(struct course_wait *wait)
{
    return (struct offload *)((char *)wait - offsetof(struct offload, wait));
}

static enum weir_verdict
resume_offload(struct weir_request *request, const void *conf)
{
    struct offload *offload = offload_of(course_awaited(request));
    const struct weir_job *job = offload->job;
    enum weir_wake how = offload->how;
    bool may_touch = how == WEIR_WOKEN || how == WEIR_BUSY; /* else run() may be at work */
    enum weir_verdict verdict = job->done(request, conf, how, may_touch ? offload->data : NULL);
    leave(offload);
    return verdict == WEIR_NEXT && how != WEIR_WOKEN ? course_overload(request, how) : verdict;
}

static enum weir_verdict
abort_offload(struct weir_request *request, const void *conf)
{
    struct offload *offload = offload_of(course_awaited(request));
    const struct weir_job *job = offload->job;
    leave(offload);
    return job->done(request, conf, WEIR_ABORTED, NULL);
}

/* The worker's part of the module whose hook runs. */
static struct weir_worker *
worker_of(const struct weir_request *request)
{
    const struct life_loop *life = course_map_of(request)->life;
    const struct course *course = course_of(request);
    return life == NULL || course->calling == NULL
            ? NULL
            : life_worker(life, course->chain->uses[course->calling->use].module);
}

enum weir_verdict
weir_offload(struct weir_request *request, const struct weir_job *job, void *data,
        uint64_t timeout_ns)
{
    const struct course_map *map = course_map_of(request);
    struct weir_str name = weir_str_from(job->pool == NULL ? "default" : job->pool);
    struct pool *pool = map->pools == NULL ? NULL : pools_find(map->pools, name);
    struct offload *offload = pool == NULL ? NULL : calloc(1, sizeof(*offload));
    if (offload == NULL) {
        if (job->free != NULL) {
            job->free(data);
        }
        return WEIR_FAILED;
    }
    *offload = (struct offload){
        .task = { .run = run_task,
                .done = on_task_back,
                .reply_to = wait_table_mailbox(map->waits) },
        .wait = { .aborted = abort_offload },
        .job = job,
        .request = request,
        .map = map,
        .pool = pool,
        .worker = worker_of(request),
        .flight = flight_current(),
        .data = data,
    };
    struct loop *loop = request->engine->loop;
    timer_init(&offload->timer, loop, on_deadline);
    uint64_t longest_ns = request->timeouts->wait_ns;
    if (timeout_ns == WEIR_WAIT_PRESET || timeout_ns > longest_ns) {
        timeout_ns = longest_ns;
    }
    uint64_t deadline_ns = clock_add_ns(loop_now_ns(loop), timeout_ns);
    if ((deadline_ns != CLOCK_NEVER && timer_set(&offload->timer, deadline_ns) < 0) ||
            course_wait_for(request, &offload->wait, resume_offload) != WEIR_PENDING) {
        free_offload(offload);
        return WEIR_FAILED;
    }
    life_hold(offload->worker);
    pool_submit(pool, &offload->task);
    return WEIR_PENDING;
}
