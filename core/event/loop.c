/* SPDX-License-Identifier: MIT */
/* A turn is one event_base_loop() and what we add behind it.
 *
 * The clock is read at most once a turn, by whoever first asks. Sleep is bounded by one timerfd
 * for both kinds of timers. It is set only when the earliest deadline has moved before what it
 * is set to; a deadline that moved away costs one empty wake-up instead of a call each time.
 * Under a clock that is not the kernel's nothing is armed, and each turn looks for itself.
 *
 * Our descriptors (timerfd, eventfd) are edge-triggered and never read: each expiry and each
 * write is an edge of its own, and nobody wants the counts. */
#include "event/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/assert.h"
#include "event/timers.h"

struct loop {
    /* Fixed at birth. */
    const struct clock *clock; /* borrowed */
    struct event_base *base;   /* owned */
    uint64_t *now_ns;          /* &now_cache: loop_now_ns() fills it for a constant loop */
    int wake_fd, timer_fd;     /* owned; timer_fd is -1 under a clock of another kind */
    struct event on_wake, on_timer;

    /* The loop's thread. */
    struct slice scratch; /* owned */
    struct timers timers;
    struct loop_task deferred; /* a ring; itself when empty */
    struct loop_task later;    /* likewise; becomes `deferred` when the next turn begins */
    uint64_t now_cache;        /* the turn's time; CLOCK_NEVER: not read yet */
    uint64_t last_now_ns;      /* of the last turn that read the clock */
    uint64_t armed_ns;         /* what the timerfd is set to; CLOCK_NEVER: it is not */
    bool has_turned, in_turn, timer_fired;
    bool hurries; /* loop_hurry(), in this callback */

    /* Any thread. */
    _Atomic(const char *) owner; /* the owner's thread_mark */
    atomic_bool stopped;
    _Atomic(uint64_t) turns;
};

/* Its address tells threads apart. */
static _Thread_local char thread_mark __attribute__((tls_model("initial-exec")));

/* The one whose turn it is on this thread. */
static _Thread_local struct loop *turning __attribute__((tls_model("initial-exec")));

static void
on_wake(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context; /* the turn itself looks at `stopped` */
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct loop *loop = context;
    loop->timer_fired = true;
    loop->armed_ns = CLOCK_NEVER;
}

/* What libevent opens for a base. Where it cannot, it ends the process; so it is asked only
 * when it can. */
#define BASE_DESCRIPTORS 4

static bool
has_descriptors_for_base(void)
{
    int probes[BASE_DESCRIPTORS];
    int opened = 0;
    while (opened < BASE_DESCRIPTORS && (probes[opened] = eventfd(0, EFD_CLOEXEC)) != -1) {
        opened++;
    }
    int error = errno;
    for (int i = 0; i < opened; i++) {
        close(probes[i]);
    }
    errno = error;
    return opened == BASE_DESCRIPTORS;
}

static struct event_base *
base_new(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return NULL;
    }
    /* No environment variable may choose the back end; edges need epoll. libevent's own timers
     * are not used, so neither is its copy of the time. */
    struct event_base *base = NULL;
    if (event_config_set_flag(config,
                EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
                        EVENT_BASE_FLAG_NO_CACHE_TIME) == 0 &&
            event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) ==
                    0) {
        base = event_base_new_with_config(config);
    }
    event_config_free(config);
    return base;
}

static int
watch(struct loop *loop, struct event *event, int fd, event_callback_fn fn)
{
    if (event_assign(event, loop->base, fd, EV_READ | EV_ET | EV_PERSIST, fn, loop) != 0 ||
            event_add(event, NULL) != 0) {
        return -ENOMEM;
    }
    return 0;
}

int
loop_new(const struct clock *clock, struct loop **out)
{
    int r = -ENOMEM;
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        return -ENOMEM;
    }
    loop->clock = clock == NULL ? clock_system() : clock;
    loop->now_ns = &loop->now_cache;
    loop->now_cache = CLOCK_NEVER;
    loop->armed_ns = CLOCK_NEVER;
    loop->wake_fd = loop->timer_fd = -1;
    loop->deferred.next = loop->deferred.previous = &loop->deferred;
    loop->later.next = loop->later.previous = &loop->later;
    atomic_init(&loop->owner, &thread_mark);

    char *memory;
    if (slice_alloc(LOOP_SCRATCH_BYTES, &loop->scratch, &memory) < 0) {
        goto fail;
    }
    if (!has_descriptors_for_base()) {
        r = -errno;
        goto fail;
    }
    loop->base = base_new();
    if (loop->base == NULL) {
        goto fail;
    }
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd == -1) {
        r = -errno;
        goto fail;
    }
    r = watch(loop, &loop->on_wake, loop->wake_fd, on_wake);
    if (r != 0) {
        goto fail;
    }
    if (loop->clock == clock_system()) {
        loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (loop->timer_fd == -1) {
            r = -errno;
            goto fail;
        }
        r = watch(loop, &loop->on_timer, loop->timer_fd, on_timer);
        if (r != 0) {
            goto fail;
        }
    }
    *out = loop;
    return 0;

fail:
    loop_free(loop);
    return r;
}

void
loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    WEIR_ASSERT(!loop->in_turn);
    WEIR_ASSERT(loop->deferred.next == &loop->deferred && loop->later.next == &loop->later);
    timers_fini(&loop->timers);
    if (loop->base != NULL) {
        if (event_initialized(&loop->on_wake)) {
            event_del(&loop->on_wake);
        }
        if (event_initialized(&loop->on_timer)) {
            event_del(&loop->on_timer);
        }
        event_base_free(loop->base);
    }
    if (loop->wake_fd != -1) {
        close(loop->wake_fd);
    }
    if (loop->timer_fd != -1) {
        close(loop->timer_fd);
    }
    slice_drop(&loop->scratch);
    free(loop);
}

void
loop_adopt(struct loop *loop)
{
    WEIR_ASSERT(!loop->in_turn);
    atomic_store_explicit(&loop->owner, &thread_mark, memory_order_relaxed);
}

bool
loop_is_current(const struct loop *loop)
{
    return atomic_load_explicit(&loop->owner, memory_order_relaxed) == &thread_mark;
}

/* Sees to it that the wait ends when the next timer is due. Returns true when one is already.
 */
static bool
arm(struct loop *loop)
{
    uint64_t next_ns = timers_next_ns(&loop->timers);
    if (loop->timer_fd == -1) {
        return next_ns != CLOCK_NEVER && next_ns <= clock_monotonic_ns(loop->clock);
    }
    if (next_ns <= loop->last_now_ns) {
        loop->timer_fired = true;
    } else if (next_ns < loop->armed_ns) {
        struct itimerspec at = {
            .it_value = { .tv_sec = (time_t)(next_ns / NS_PER_S),
                    .tv_nsec = (long)(next_ns % NS_PER_S) },
        };
        int r = timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
        WEIR_ASSERT(r == 0);
        loop->armed_ns = next_ns;
    }
    return loop->timer_fired;
}

static void
run_deferred(struct loop *loop)
{
    while (loop->deferred.next != &loop->deferred) {
        struct loop_task *task = loop->deferred.next;
        loop_undefer(loop, task);
        task->fn(task); /* may free the task */
    }
}

/* What was put off becomes this turn's. */
static void
take_later(struct loop *loop)
{
    struct loop_task *first = loop->later.next, *last = loop->later.previous;
    if (first == &loop->later) {
        return;
    }
    first->previous = loop->deferred.previous;
    loop->deferred.previous->next = first;
    last->next = &loop->deferred;
    loop->deferred.previous = last;
    loop->later.next = loop->later.previous = &loop->later;
}

bool
loop_turn(struct loop *loop, bool wait)
{
    WEIR_ASSERT(!loop->in_turn);
    if (!loop->has_turned) {
        loop_adopt(loop);
        loop->has_turned = true;
    }
    WEIR_ASSERT(loop_is_current(loop));
    loop->in_turn = true;
    turning = loop;
    take_later(loop);
    bool is_due = arm(loop);
    bool sleeps = wait && !is_due && loop->deferred.next == &loop->deferred &&
            !atomic_load_explicit(&loop->stopped, memory_order_acquire);

    int r = event_base_loop(loop->base, EVLOOP_ONCE | (sleeps ? 0 : EVLOOP_NONBLOCK));
    WEIR_ASSERT(r == 0);
    if (loop->timer_fired || loop->timer_fd == -1) {
        loop->timer_fired = false;
        timers_run(&loop->timers, loop_now_ns(loop));
    }
    run_deferred(loop);

    if (loop->now_cache != CLOCK_NEVER) {
        loop->last_now_ns = loop->now_cache;
        loop->now_cache = CLOCK_NEVER;
    }
    loop->in_turn = loop->hurries = false;
    turning = NULL;
    uint64_t turns = atomic_load_explicit(&loop->turns, memory_order_relaxed);
    atomic_store_explicit(&loop->turns, turns + 1, memory_order_relaxed);
    return !atomic_load_explicit(&loop->stopped, memory_order_acquire);
}

void
loop_run(struct loop *loop)
{
    while (loop_turn(loop, true)) {
    }
}

void
loop_stop(struct loop *loop)
{
    /* Pairs with the loads in loop_turn(); the eventfd ends a wait that began before. */
    atomic_store_explicit(&loop->stopped, true, memory_order_release);
    int r = eventfd_write(loop->wake_fd, 1);
    WEIR_ASSERT(r == 0);
}

uint64_t
loop_now_ns(const struct loop *loop)
{
    if (!loop->in_turn) {
        return clock_monotonic_ns(loop->clock);
    }
    if (*loop->now_ns == CLOCK_NEVER) {
        *loop->now_ns = clock_monotonic_ns(loop->clock);
    }
    return *loop->now_ns;
}

const struct clock *
loop_clock(const struct loop *loop)
{
    return loop->clock;
}

struct event_base *
loop_base(struct loop *loop)
{
    return loop->base;
}

struct timers *
loop_timers(struct loop *loop)
{
    return &loop->timers;
}

char *
loop_scratch(struct loop *loop)
{
    return (char *)(uintptr_t)loop->scratch.ptr; /* nobody else has it */
}

int
loop_take_scratch(struct loop *loop, struct slice *out)
{
    char *memory;
    struct slice next;
    int r = slice_alloc(LOOP_SCRATCH_BYTES, &next, &memory);
    if (r == 0) {
        *out = loop->scratch;
        loop->scratch = next;
    }
    return r;
}

static void
append(struct loop *loop, struct loop_task *ring, struct loop_task *task)
{
    WEIR_ASSERT(loop_is_current(loop));
    if (task->next != NULL) {
        return;
    }
    task->next = ring;
    task->previous = ring->previous;
    task->previous->next = task;
    ring->previous = task;
}

void
loop_defer(struct loop *loop, struct loop_task *task)
{
    append(loop, &loop->deferred, task);
}

void
loop_defer_to_next(struct loop *loop, struct loop_task *task)
{
    append(loop, &loop->later, task);
}

void
loop_hurry(struct loop *loop)
{
    loop->hurries = true;
}

void
loop_end_callback(void)
{
    struct loop *loop = turning;
    if (loop != NULL && loop->hurries) {
        loop->hurries = false;
        run_deferred(loop);
    }
}

void
loop_undefer(struct loop *loop, struct loop_task *task)
{
    WEIR_ASSERT(loop_is_current(loop));
    if (task->next == NULL) {
        return;
    }
    task->previous->next = task->next;
    task->next->previous = task->previous;
    task->next = task->previous = NULL;
}

uint64_t
loop_turns(const struct loop *loop)
{
    return atomic_load_explicit(&loop->turns, memory_order_relaxed);
}
