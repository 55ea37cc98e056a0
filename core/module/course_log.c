/* SPDX-License-Identifier: MIT */
/*
 * The transport has let go of the request, and its connection serves others. Log hooks that do
 * not wait are called at once, and the request is freed; nothing is kept. One that waits has
 * the request kept in the loop's list, without its bodies:
 *
 *     course_end() --> hooks --none waits--> freed
 *                      |   ^
 *                      v   | course_ripen()
 *                      KEPT ------LOG_NS, course_stop()--> the wait is cut, the other hooks are
 *                                                          called but cannot wait --> freed
 */
#include <errno.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/timer.h"
#include "module/course_parts.h"
#include "observe/log.h"

/* What the log phase of one request may take in all. */
#define LOG_NS (5 * NS_PER_S)

/* Requests of one loop that are kept for their log hooks at once. */
#define KEPT_MAX 1000u

/* How often the log is told that waits were cut or refused. */
#define SAY_NS (10 * NS_PER_S)

/* A request that is kept; in its arena. */
struct log_walk {
    struct weir_request *request;
    struct log_walk *next, **link; /* in the loop's list, oldest first */
    struct log_walk *next_ready;
    uint64_t until_ns;
    bool is_ready; /* in the loop's list of those to go on */
    bool is_over;  /* its time is: no hook waits any more */
};

static struct course_logs *
logs_of(const struct weir_request *request)
{
    struct course_map *map = request->engine->handler_context;
    return &map->logs;
}

/* Never in silence, nor once for each. */
static void
count_dropped(struct weir_request *request, struct course_logs *logs, const char *why)
{
    uint64_t now_ns = loop_now_ns(request->engine->loop);
    logs->dropped++;
    if (logs->said_ns != 0 && now_ns - logs->said_ns < SAY_NS) {
        return;
    }
    logs->said_ns = now_ns;
    const struct course *course = course_of(request);
    const struct chain_entry *entry = course->calling != NULL
            ? course->calling
            : &course->chain->entries[course->ask_at];
    log_warn("a log hook of module %s may not wait: %s (%llu so far)",
            chain_entry_module(course->chain, entry), why, (unsigned long long)logs->dropped);
}

/* Calls hooks until one waits. True when all are through. */
static bool
call_hooks(struct weir_request *request, struct course *course)
{
    const struct chain *chain = course->chain;
    uint16_t end = chain == NULL ? 0 : chain->first[WEIR_ON_LOG + 1];
    struct hook_wait *slot = &course->ask_wait;
    while (course->ask_at < end) {
        enum weir_verdict verdict;
        if (slot->kind == HOOK_WAIT_NONE) {
            verdict = course_call_quiet(request, slot, &course->ask_at, end);
            if (course->ask_at == end) {
                return true;
            }
        } else if (course_is_ripe(request, slot)) {
            verdict = course_resume(request, slot, &chain->entries[course->ask_at]);
        } else {
            return false;
        }
        if (verdict == WEIR_PENDING && slot->kind != HOOK_WAIT_NONE) {
            return false;
        }
        const struct chain_entry *entry = &chain->entries[course->ask_at];
        course_cancel(request, slot, entry); /* it thought better of it */
        if (verdict == WEIR_PENDING) {
            course_log_fault(request, entry, "waits for nothing");
        } else if (verdict == WEIR_FAILED && course->refused != entry) {
            course_log_fault(request, entry, "failed");
        }
        course->ask_at++;
    }
    return true;
}

static void
unlink_walk(struct course_logs *logs, struct log_walk *walk)
{
    WEIR_ASSERT(!walk->is_ready);
    *walk->link = walk->next;
    if (walk->next != NULL) {
        walk->next->link = walk->link;
    } else {
        logs->end = walk->link;
    }
    logs->count--;
}

/* Goes on with the hooks, and frees the request when they are through. */
static void
go_on(struct weir_request *request)
{
    struct course *course = course_of(request);
    if (!call_hooks(request, course)) {
        return;
    }
    if (course->log != NULL) {
        unlink_walk(logs_of(request), course->log);
    }
    request_free(request);
}

void
course_begin_log(struct weir_request *request)
{
    struct course *course = course_of(request);
    course->ask_at = course->chain == NULL ? 0 : course->chain->first[WEIR_ON_LOG];
    go_on(request);
}

/* ---- those that are kept ----------------------------------------------------------------- */

static void
run_ready(struct course_logs *logs)
{
    while (logs->ready != NULL) {
        struct log_walk *walk = logs->ready;
        logs->ready = walk->next_ready;
        walk->is_ready = false;
        go_on(walk->request);
    }
}

static void
on_task(struct loop_task *task)
{
    run_ready((struct course_logs *)((char *)task - offsetof(struct course_logs, task)));
}

void
course_wake_log(struct weir_request *request)
{
    struct course_logs *logs = logs_of(request);
    struct log_walk *walk = course_of(request)->log;
    if (!walk->is_ready) {
        walk->is_ready = true;
        walk->next_ready = logs->ready;
        logs->ready = walk;
        loop_defer(request->engine->loop, &logs->task);
    }
}

/* The hook that waits does so no longer; the others are called, and the request is freed. */
static void
cut(struct log_walk *walk, const char *why)
{
    struct weir_request *request = walk->request;
    struct course *course = course_of(request);
    walk->is_over = true;
    count_dropped(request, logs_of(request), why);
    course_cancel(request, &course->ask_wait, &course->chain->entries[course->ask_at]);
    course->ask_at++;
    go_on(request);
}

static void
on_time(struct timer *timer)
{
    struct course_logs *logs = (struct course_logs *)((char *)timer -
            offsetof(struct course_logs, timer));
    uint64_t now_ns = loop_now_ns(timer->loop);
    run_ready(logs); /* they are in time */
    while (logs->first != NULL && logs->first->until_ns <= now_ns) {
        cut(logs->first, "five seconds are over");
        run_ready(logs);
    }
    if (logs->first != NULL) {
        /* Cannot fail for one that is set anew in its own callback. */
        int r = timer_set(timer, logs->first->until_ns);
        WEIR_ASSERT(r == 0);
    }
}

/* The loop's list may take one more. */
static int
check_room(struct weir_request *request, struct course_logs *logs)
{
    if (logs->is_stopped) {
        return -ECANCELED;
    }
    if (logs->count >= KEPT_MAX) {
        count_dropped(request, logs, "a thousand requests of this loop are waiting already");
        return -EBUSY;
    }
    if (logs->end == NULL) {
        logs->end = &logs->first;
        logs->task.fn = on_task;
        timer_init(&logs->timer, request->engine->loop, on_time);
    }
    return 0;
}

int
course_keep_for_log(struct weir_request *request)
{
    struct course *course = course_of(request);
    if (course->log != NULL) {
        return course->log->is_over ? -ETIMEDOUT : 0;
    }
    struct course_logs *logs = logs_of(request);
    int r = check_room(request, logs);
    if (r < 0) {
        return r;
    }
    struct log_walk *walk = arena_zalloc(&request->arena, sizeof(*walk));
    if (walk == NULL) {
        return -ENOMEM;
    }
    walk->request = request;
    walk->until_ns = clock_add_ns(loop_now_ns(request->engine->loop), LOG_NS);
    if (logs->first == NULL) {
        r = timer_set(&logs->timer, walk->until_ns);
        if (r < 0) {
            return r;
        }
    }
    walk->link = logs->end;
    *logs->end = walk;
    logs->end = &walk->next;
    logs->count++;
    course->log = walk;
    request->ended_ns = clock_monotonic_ns(loop_clock(request->engine->loop));
    /* Nobody reads the bodies any more; what they hold may be much. */
    request_body_drop(&request->in);
    reply_drop_body(&request->reply);
    return 0;
}

size_t
course_logs_kept(const struct course_map *map)
{
    return map->logs.count;
}

uint64_t
course_logs_dropped(const struct course_map *map)
{
    return map->logs.dropped;
}

void
course_stop(struct course_map *map)
{
    struct course_logs *logs = &map->logs;
    logs->is_stopped = true;
    if (logs->end == NULL) {
        return; /* none has ever waited */
    }
    run_ready(logs);
    while (logs->first != NULL) {
        cut(logs->first, "the server stops");
        run_ready(logs);
    }
    timer_cancel(&logs->timer);
    loop_undefer(logs->timer.loop, &logs->task);
}
