/* SPDX-License-Identifier: MIT */
/* The elastic pool: from a loop to threads and back.
 *
 *     pool_submit -> port (staged)  -> queue -> thread -> mailbox -> done
 *                    end of turn: one lock, one wake-up
 *
 * Port: what one loop has in one pool. A turn's tasks are staged there and given over together
 * at the end of the turn. Every outcome comes back through the task's mailbox.
 *
 * Waking: at most one thread is on its way at a time. A thread that takes a task and leaves
 * others waiting wakes the next one first, and if none is idle makes one: so a burst of short
 * tasks costs few wake-ups, and no task waits behind a busy thread while another is idle. Idle
 * threads are a stack, so that those which are not needed stay at its bottom until they leave.
 *
 * Age: a timer of the port stands at the deadline of its oldest waiting task (only ever set
 * again when it fired or the last task came back, so mostly free). A timer of the loop and not
 * a keeper thread: it fires when all threads are busy, obeys the loop's clock and costs no
 * thread. A thread never begins a task that is too old.
 *
 * Memory: the pool lives until its owner, every task that has not come back and every detached
 * thread have let go (`refs`). A thread is joined unless pool_stop() detached it. Only a thread
 * in foreign code (THREAD_AWAY) is ever detached, and it learns so on its way back, before it
 * touches anything.
 *
 * Locks: pool->lock alone; no foreign code runs under it. */
#include "event/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "event/loop.h"
#include "event/signal.h"
#include "event/timer.h"

/* The kernel's usual size, whatever limit the process was started under. Memory is taken only
 * as far as a thread uses it; deep recursion of an interpreter in C needs this much. */
#define STACK_BYTES ((size_t)8 << 20)

/* How long pool_stop() waits past its deadline for threads in thread_start or thread_stop. */
#define STOP_GRACE_NS (100 * NS_PER_MS)

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

/* ---- lists ---- */

static void
list_append(struct task_list *list, struct pool_task *task)
{
    task->next = NULL;
    task->previous = list->last;
    if (list->last != NULL) {
        list->last->next = task;
    } else {
        list->first = task;
    }
    list->last = task;
    list->count++;
}

static void
list_remove(struct task_list *list, struct pool_task *task)
{
    if (task->previous != NULL) {
        task->previous->next = task->next;
    } else {
        list->first = task->next;
    }
    if (task->next != NULL) {
        task->next->previous = task->previous;
    } else {
        list->last = task->previous;
    }
    task->next = task->previous = NULL;
    list->count--;
}

static struct pool_task *
list_take(struct task_list *list)
{
    struct pool_task *task = list->first;
    if (task != NULL) {
        list_remove(list, task);
    }
    return task;
}

static void
idle_push(struct pool *pool, struct pool_thread *thread)
{
    thread->job = THREAD_IDLES;
    thread->idle_next = pool->idlers;
    thread->idle_link = &pool->idlers;
    if (pool->idlers != NULL) {
        pool->idlers->idle_link = &thread->idle_next;
    }
    pool->idlers = thread;
    pool->idle++;
}

static void
idle_remove(struct pool *pool, struct pool_thread *thread)
{
    *thread->idle_link = thread->idle_next;
    if (thread->idle_next != NULL) {
        thread->idle_next->idle_link = thread->idle_link;
    }
    thread->idle_link = NULL;
    pool->idle--;
}

static void
live_add(struct pool *pool, struct pool_thread *thread)
{
    thread->live_next = pool->live;
    thread->live_link = &pool->live;
    if (pool->live != NULL) {
        pool->live->live_link = &thread->live_next;
    }
    pool->live = thread;
}

static void
live_remove(struct pool_thread *thread)
{
    *thread->live_link = thread->live_next;
    if (thread->live_next != NULL) {
        thread->live_next->live_link = thread->live_link;
    }
}

/* ---- lifetime ---- */

static void
thread_free(struct pool_thread *thread)
{
    pthread_cond_destroy(&thread->wake);
    free(thread);
}

static void
pool_ref(struct pool *pool)
{
    atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
}

static void
pool_unref(struct pool *pool)
{
    /* Each release pairs with the acquire of the last one, which frees. */
    if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    struct pool_port *port = atomic_load_explicit(&pool->ports, memory_order_relaxed);
    while (port != NULL) {
        struct pool_port *next = port->next;
        free(port);
        port = next;
    }
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool->name);
    free(pool);
}

/* ---- back to the loop ---- */

static void
deliver(struct letter *letter)
{
    struct pool_task *task = (struct pool_task *)(void *)((char *)letter -
            offsetof(struct pool_task, letter));
    struct pool_port *port = task->port;
    struct pool *pool = port->pool;
    task->place = TASK_AWAY;
    if (port->loop != NULL) {
        size_t out = atomic_load_explicit(&port->out, memory_order_relaxed) - 1;
        atomic_store_explicit(&port->out, out, memory_order_relaxed);
        if (out == 0) {
            /* Nothing of this loop is left here, and nothing of the port on the loop. */
            timer_cancel(&port->oldest);
            loop_undefer(port->loop, &port->give_over);
        }
    }
    task->done(task, task->outcome); /* may free the task, or the pool's owner let go */
    pool_unref(pool);
}

/* The task is on no list, or leaves its own by this. Not touched afterwards. */
static void
send_back(struct pool_task *task)
{
    mailbox_post(task->reply_to, &task->letter);
}

static void
send_all_back(struct task_list *list)
{
    struct pool_task *task;
    while ((task = list_take(list)) != NULL) {
        send_back(task);
    }
}

/* Marks a task that is on no list and puts it on `back`. Under the lock. */
static void
turn_back(struct pool *pool, struct task_list *back, struct pool_task *task,
        enum pool_outcome outcome, uint64_t now_ns)
{
    struct pool_figures *sums = &pool->sums;
    task->outcome = outcome;
    task->place = TASK_TAKEN;
    task->waited_ns = now_ns > task->queued_ns ? now_ns - task->queued_ns : 0;
    switch (outcome) {
    case POOL_RAN:
        sums->ran++;
        break;
    case POOL_BUSY:
        sums->rejected++;
        break;
    case POOL_EXPIRED:
        sums->expired++;
        break;
    case POOL_CANCELLED:
        sums->cancelled++;
        break;
    case POOL_ABANDONED:
        sums->abandoned++;
        break;
    }
    if (outcome == POOL_RAN || outcome == POOL_EXPIRED) {
        sums->waited_ns += task->waited_ns;
    }
    if (back != NULL) {
        list_append(back, task);
    }
}

/* All that waits comes back. Under the lock. */
static void
turn_all_back(struct pool *pool, struct task_list *back, enum pool_outcome outcome)
{
    struct pool_task *task;
    while ((task = list_take(&pool->queue)) != NULL) {
        turn_back(pool, back, task, outcome, clock_monotonic_ns(task->port->clock));
    }
}

static bool
is_too_old(const struct pool *pool, const struct pool_task *task, uint64_t now_ns)
{
    return clock_add_ns(task->queued_ns, pool->settings.queue_timeout_ns) <= now_ns;
}

/* ---- threads ---- */

static void *thread_main(void *context);

static bool
may_grow(const struct pool *pool)
{
    int max = pool->settings.threads_max;
    return !atomic_load_explicit(&pool->is_stopping, memory_order_relaxed) &&
            (max == POOL_UNLIMITED || pool->threads < max);
}

/* Counts a thread that thread_make() is to make. Under the lock. */
static void
thread_reserve(struct pool *pool)
{
    pool->threads++;
    pool->hatching++;
    pool->alive++;
}

/* A thread that was to serve will not. Without any thread at all nobody would ever come for
 * what waits, so it comes back. Under the lock. */
static void
thread_failed(struct pool *pool, struct task_list *back)
{
    pool->threads--;
    pool->cannot_grow = true;
    if (pool->threads == 0) {
        turn_all_back(pool, back, POOL_BUSY);
    }
}

/* Makes the thread that was reserved. Returns 0 or a negative errno; then what waits is seen
 * to. Any thread, without the lock. */
static int
thread_make(struct pool *pool)
{
    int r = ENOMEM;
    struct pool_thread *thread = calloc(1, sizeof(*thread));
    if (thread != NULL) {
        thread->pool = pool;
        atomic_init(&thread->phase, THREAD_OURS);
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&thread->wake, &monotonic);
        pthread_condattr_destroy(&monotonic);

        pthread_attr_t attributes;
        pthread_t id;
        sigset_t signals;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        pthread_sigmask(SIG_SETMASK, NULL, &signals);
        signal_block_all(); /* inherited, so that no signal ever finds it open */
        r = pthread_create(&id, &attributes, thread_main, thread);
        pthread_sigmask(SIG_SETMASK, &signals, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (r == 0) {
        return 0;
    }
    if (thread != NULL) {
        thread_free(thread);
    }
    struct task_list back = { 0 };
    pthread_mutex_lock(&pool->lock);
    pool->hatching--;
    pool->alive--;
    thread_failed(pool, &back);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    send_all_back(&back);
    return -r;
}

/* Sees to it that somebody comes for what waits: wakes one thread, or returns true when one has
 * been reserved that the caller must make after it has let go of the lock. Under the lock. */
static bool
rouse(struct pool *pool)
{
    if (pool->queue.count == 0 || pool->waking > 0) {
        return false; /* who is waking will look after the others */
    }
    if (pool->idlers != NULL) {
        struct pool_thread *thread = pool->idlers;
        idle_remove(pool, thread);
        thread->is_woken = true;
        pool->waking++;
        pthread_cond_signal(&thread->wake);
        return false;
    }
    /* One at a time is on its way; it makes the next. Those in thread_start may take long, but
     * each will have a task. */
    if (pool->hatching > 0 || (size_t)pool->starting >= pool->queue.count || !may_grow(pool)) {
        return false;
    }
    thread_reserve(pool);
    return true;
}

static void
go_away(struct pool_thread *thread)
{
    /* Pairs with the acquire in detach_away(). */
    atomic_store_explicit(&thread->phase, THREAD_AWAY, memory_order_release);
}

/* Returns false when the thread has been detached meanwhile. */
static bool
come_back(struct pool_thread *thread)
{
    enum thread_phase away = THREAD_AWAY;
    return atomic_compare_exchange_strong_explicit(&thread->phase, &away, THREAD_OURS,
            memory_order_acq_rel, memory_order_acquire);
}

/* The end of a detached thread. Its task goes back only if the pool's owner still waits for it:
 * after pool_free() the mailbox may be gone. */
static void
end_detached(struct pool_thread *thread)
{
    struct pool *pool = thread->pool;
    struct pool_task *task = thread->task;
    bool is_lost = false;
    pthread_mutex_lock(&pool->lock);
    pool->detached--;
    if (task != NULL) {
        is_lost = pool->is_orphaned;
        if (!is_lost) {
            send_back(task); /* under the lock, so that pool_free() comes before or after */
        }
    }
    pthread_mutex_unlock(&pool->lock);
    if (is_lost) {
        pool_unref(pool);
    }
    thread_free(thread);
    pool_unref(pool);
}

/* Joins threads that have ended. Without the lock. */
static void
join_all(struct pool_thread *ended)
{
    while (ended != NULL) {
        struct pool_thread *next = ended->live_next;
        pthread_join(ended->id, NULL);
        thread_free(ended);
        ended = next;
    }
}

/* The end of a thread that is no longer counted in pool->threads. Takes the lock over, and lets
 * go of it. */
static void
leave(struct pool_thread *thread, bool has_started)
{
    struct pool *pool = thread->pool;
    thread->job = THREAD_LEAVES;
    struct pool_thread *ended = pool->ended;
    pool->ended = NULL;
    pthread_mutex_unlock(&pool->lock);
    join_all(ended); /* so at most one is ever left to join */
    if (has_started && pool->settings.thread_stop != NULL) {
        go_away(thread);
        pool->settings.thread_stop(pool->settings.context, thread->state);
        if (!come_back(thread)) {
            end_detached(thread);
            return;
        }
    }
    pthread_mutex_lock(&pool->lock);
    live_remove(thread);
    thread->live_next = pool->ended;
    pool->ended = thread;
    pool->alive--;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

/* The next task that may still be run; those that are too old go to `back`. Under the lock. */
static struct pool_task *
take(struct pool *pool, struct task_list *back)
{
    struct pool_task *task;
    while ((task = list_take(&pool->queue)) != NULL) {
        uint64_t now_ns = clock_monotonic_ns(task->port->clock);
        if (!is_too_old(pool, task, now_ns)) {
            turn_back(pool, NULL, task, POOL_RAN, now_ns);
            return task;
        }
        turn_back(pool, back, task, POOL_EXPIRED, now_ns);
    }
    return NULL;
}

static struct timespec
timespec_from(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S),
        .tv_nsec = (long)(ns % NS_PER_S) };
}

/* Waits until woken. Returns false when the thread has been idle for long and is one too many;
 * then it is counted out. Under the lock. */
static bool
sleep_idle(struct pool_thread *thread)
{
    struct pool *pool = thread->pool;
    const struct pool_settings *settings = &pool->settings;
    uint64_t until_ns = clock_add_ns(clock_monotonic_ns(clock_system()),
            settings->idle_timeout_ns);
    while (!thread->is_woken) {
        /* The pool only grows while none is idle: who need not leave now will not have to
         * before it is woken. */
        if (until_ns == CLOCK_NEVER || pool->threads <= settings->threads_min) {
            pthread_cond_wait(&thread->wake, &pool->lock);
            continue;
        }
        struct timespec until = timespec_from(until_ns);
        if (pthread_cond_timedwait(&thread->wake, &pool->lock, &until) != ETIMEDOUT ||
                thread->is_woken) {
            continue;
        }
        if (pool->queue.count == 0 && pool->threads > settings->threads_min) {
            idle_remove(pool, thread);
            pool->threads--;
            return false;
        }
        until_ns = clock_add_ns(until_ns, settings->idle_timeout_ns);
    }
    thread->is_woken = false;
    pool->waking--;
    return true;
}

/* A task ended its thread (pthread_exit, or a host that unwinds its threads): the task comes
 * back as one that ran, and another thread takes this one's place. */
static void
on_unwound(void *context)
{
    struct pool_thread *thread = context;
    struct pool *pool = thread->pool;
    if (!come_back(thread)) {
        end_detached(thread);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->busy--;
    pool->threads--;
    bool makes = pool->threads < pool->settings.threads_min && may_grow(pool);
    if (makes) {
        thread_reserve(pool);
    } else {
        makes = rouse(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    send_back(thread->task);
    thread->task = NULL;
    if (makes) {
        (void)thread_make(pool);
    }
    pthread_mutex_lock(&pool->lock);
    leave(thread, true);
}

/* Returns false when the thread was detached while the task ran. */
static bool
run(struct pool_thread *thread, struct pool_task *task)
{
    thread->task = task;
    go_away(thread);
    pthread_cleanup_push(on_unwound, thread);
    task->run(task, thread->state);
    pthread_cleanup_pop(0);
    return come_back(thread);
}

/* Takes and runs tasks until the thread is to end. Called and left under the lock; returns
 * false, without the lock, when the thread was detached. */
static bool
serve(struct pool_thread *thread)
{
    struct pool *pool = thread->pool;
    struct pool_task *finished = NULL;
    for (;;) {
        struct task_list back = { 0 };
        struct pool_task *task = take(pool, &back);
        bool ends = false;
        if (task != NULL) {
            pool->busy++;
            thread->job = THREAD_WORKS;
        } else if (atomic_load_explicit(&pool->is_stopping, memory_order_relaxed)) {
            pool->threads--;
            thread->job = THREAD_LEAVES;
            ends = true;
        } else {
            idle_push(pool, thread);
        }
        bool makes = rouse(pool);

        /* What was done goes back only now, when this thread is counted as free, or the answer
         * could meet a pool that seems to be busy, and make it grow. */
        if (task != NULL || finished != NULL || back.count > 0) {
            pthread_mutex_unlock(&pool->lock);
            if (finished != NULL) {
                send_back(finished);
                finished = NULL;
            }
            send_all_back(&back);
            if (makes) {
                (void)thread_make(pool); /* on failure it has seen to the queue */
            }
            if (task != NULL && !run(thread, task)) {
                return false;
            }
            finished = task;
            thread->task = NULL;
            pthread_mutex_lock(&pool->lock);
            pool->busy -= task != NULL;
        }
        if (ends || (task == NULL && !sleep_idle(thread))) {
            return true;
        }
    }
}

static void *
thread_main(void *context)
{
    struct pool_thread *thread = context;
    struct pool *pool = thread->pool;
    const struct pool_settings *settings = &pool->settings;

    pthread_mutex_lock(&pool->lock);
    thread->id = pthread_self();
    thread->number = pool->made++;
    thread->job = THREAD_STARTS;
    live_add(pool, thread);
    pool->hatching--;
    pool->starting++;
    bool makes = rouse(pool);
    pthread_mutex_unlock(&pool->lock);
    if (makes) {
        (void)thread_make(pool);
    }

    char name[16]; /* the kernel keeps 15 bytes */
    snprintf(name, sizeof(name), "%.9s-%u", settings->name, thread->number % 100000);
    pthread_setname_np(pthread_self(), name);

    int r = 0;
    if (settings->thread_start != NULL) {
        go_away(thread);
        r = settings->thread_start(settings->context, &thread->state);
        if (!come_back(thread)) {
            end_detached(thread);
            return NULL;
        }
    }

    struct task_list back = { 0 };
    pthread_mutex_lock(&pool->lock);
    pool->starting--;
    if (r != 0) {
        thread_failed(pool, &back);
        pthread_mutex_unlock(&pool->lock);
        send_all_back(&back);
        pthread_mutex_lock(&pool->lock);
        leave(thread, false);
        return NULL;
    }
    pool->cannot_grow = false;
    if (!serve(thread)) {
        end_detached(thread);
        return NULL;
    }
    leave(thread, true);
    return NULL;
}

/* ---- ports ---- */

/* Whether one more may wait. Those for which a thread is there or can be made do not count. */
static bool
has_room(const struct pool *pool)
{
    int max = pool->settings.threads_max;
    int comers = pool->idle + pool->waking + pool->hatching + pool->starting;
    if (!pool->cannot_grow) {
        if (max == POOL_UNLIMITED) {
            return true;
        }
        comers += max - pool->threads;
    }
    return pool->queue.count < pool->settings.queue_max ||
            pool->queue.count - pool->settings.queue_max < (size_t)comers;
}

/* Moves what is staged to the queue. Thread: the port's loop. */
static void
give_over(struct pool_port *port)
{
    struct pool *pool = port->pool;
    uint64_t timeout_ns = pool->settings.queue_timeout_ns;
    uint64_t now_ns = loop_now_ns(port->loop);
    struct task_list back = { 0 };
    struct pool_task *task;
    if (port->staged.count == 0) {
        return; /* all cancelled */
    }
    bool is_refused = atomic_load_explicit(&pool->is_stopping, memory_order_relaxed);
    if (!is_refused && timeout_ns != CLOCK_NEVER && !timer_is_set(&port->oldest)) {
        /* Nothing waits without a bound: without a timer, nothing waits. */
        is_refused = timer_set(&port->oldest,
                             clock_add_ns(port->staged.first->queued_ns, timeout_ns)) != 0;
    }
    pthread_mutex_lock(&pool->lock);
    is_refused = is_refused || atomic_load_explicit(&pool->is_stopping, memory_order_relaxed);
    while ((task = list_take(&port->staged)) != NULL) {
        pool->sums.submitted++;
        if (is_refused || !has_room(pool)) {
            turn_back(pool, &back, task, POOL_BUSY, now_ns);
        } else {
            task->place = TASK_WAITING;
            list_append(&pool->queue, task);
        }
    }
    bool makes = rouse(pool);
    pthread_mutex_unlock(&pool->lock);
    if (makes) {
        (void)thread_make(pool); /* on failure it has seen to the queue */
    }
    send_all_back(&back);
}

static void
on_end_of_turn(struct loop_task *task)
{
    give_over(
            (struct pool_port *)(void *)((char *)task - offsetof(struct pool_port, give_over)));
}

/* The oldest task of this loop may have waited for too long. */
static void
on_oldest(struct timer *timer)
{
    struct pool_port *port = (struct pool_port *)(void *)((char *)timer -
            offsetof(struct pool_port, oldest));
    struct pool *pool = port->pool;
    uint64_t now_ns = loop_now_ns(port->loop);
    uint64_t next_ns = CLOCK_NEVER;
    struct task_list back = { 0 };
    pthread_mutex_lock(&pool->lock);
    while (pool->queue.first != NULL) {
        struct pool_task *task = pool->queue.first;
        if (!is_too_old(pool, task, now_ns)) {
            next_ns = clock_add_ns(task->queued_ns, pool->settings.queue_timeout_ns);
            break;
        }
        list_remove(&pool->queue, task);
        turn_back(pool, &back, task, POOL_EXPIRED, now_ns);
    }
    pthread_mutex_unlock(&pool->lock);
    if (next_ns != CLOCK_NEVER) {
        int r = timer_set(timer, next_ns);
        WEIR_ASSERT(r == 0); /* in its own callback it needs no memory */
    }
    send_all_back(&back);
}

/* The port of a loop; NULL when there is no memory for it. Thread: the loop's. */
static struct pool_port *
port_get(struct pool *pool, struct loop *loop)
{
    struct pool_port *first = atomic_load_explicit(&pool->ports, memory_order_acquire);
    for (struct pool_port *port = first; port != NULL; port = port->next) {
        /* A port without tasks may have outlived its loop, and serves one at the same place. */
        if (port->loop == loop && port->clock == loop_clock(loop)) {
            return port;
        }
    }
    struct pool_port *port = calloc(1, sizeof(*port));
    if (port == NULL) {
        return NULL;
    }
    port->pool = pool;
    port->loop = loop;
    port->clock = loop_clock(loop);
    port->give_over.fn = on_end_of_turn;
    timer_init(&port->oldest, loop, on_oldest);
    do {
        port->next = first;
        /* Pairs with the acquire loads of other loops and of pool_stop(). */
    } while (!atomic_compare_exchange_weak_explicit(&pool->ports, &first, port,
            memory_order_release, memory_order_acquire));
    return port;
}

void
pool_submit(struct pool *pool, struct pool_task *task)
{
    struct loop *loop = mailbox_loop(task->reply_to);
    WEIR_ASSERT(loop_is_current(loop));
    WEIR_ASSERT(task->place == TASK_AWAY);
    pool_ref(pool);
    task->letter = (struct letter){ .fn = deliver };
    task->queued_ns = loop_now_ns(loop);
    task->waited_ns = 0;
    task->port = port_get(pool, loop);
    if (task->port == NULL) {
        task->port = &pool->nowhere;
        pthread_mutex_lock(&pool->lock);
        pool->sums.submitted++;
        turn_back(pool, NULL, task, POOL_BUSY, task->queued_ns);
        pthread_mutex_unlock(&pool->lock);
        send_back(task);
        return;
    }
    struct pool_port *port = task->port;
    task->place = TASK_STAGED;
    list_append(&port->staged, task);
    atomic_store_explicit(&port->out,
            atomic_load_explicit(&port->out, memory_order_relaxed) + 1, memory_order_relaxed);
    loop_defer(loop, &port->give_over);
}

void
pool_cancel(struct pool *pool, struct pool_task *task)
{
    struct loop *loop = mailbox_loop(task->reply_to);
    WEIR_ASSERT(loop_is_current(loop));
    pthread_mutex_lock(&pool->lock);
    bool is_staged = task->place == TASK_STAGED;
    if (!is_staged && task->place != TASK_WAITING) {
        pthread_mutex_unlock(&pool->lock);
        return;
    }
    list_remove(is_staged ? &task->port->staged : &pool->queue, task);
    pool->sums.submitted += is_staged;
    turn_back(pool, NULL, task, POOL_CANCELLED, loop_now_ns(loop));
    pthread_mutex_unlock(&pool->lock);
    send_back(task);
}

/* ---- the pool ---- */

const char *
pool_settings_error(const struct pool_settings *settings)
{
    if (settings->threads_min < 1) {
        return "min must be at least 1";
    }
    if (settings->threads_max == 0) {
        return "max must not be 0; -1 is no limit";
    }
    if (settings->threads_max < 0 && settings->threads_max != POOL_UNLIMITED) {
        return "max must be positive, or -1 for no limit";
    }
    if (settings->threads_max != POOL_UNLIMITED &&
            settings->threads_max < settings->threads_min) {
        return "max must not be below min";
    }
    if (settings->queue_max < 1) {
        return "queue_size must be at least 1";
    }
    if (settings->queue_timeout_ns == 0) {
        return "queue_timeout must be above 0";
    }
    return NULL;
}

int
pool_new(const struct pool_settings *settings, struct pool **out)
{
    if (pool_settings_error(settings) != NULL) {
        return -EINVAL;
    }
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL) {
        return -ENOMEM;
    }
    const char *name = settings->name == NULL ? "pool" : settings->name;
    size_t name_bytes = strlen(name) + 1;
    pool->settings = *settings;
    pool->nowhere.pool = pool;
    atomic_init(&pool->refs, 1);
    /* The lock is held for well under a microsecond: spinning beats sleeping. */
    pthread_mutexattr_t adaptive;
    pthread_mutexattr_init(&adaptive);
    pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&pool->lock, &adaptive);
    pthread_mutexattr_destroy(&adaptive);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pool->name = malloc(name_bytes);
    if (pool->name == NULL) {
        pool_unref(pool);
        return -ENOMEM;
    }
    memcpy(pool->name, name, name_bytes);
    pool->settings.name = pool->name;

    for (int i = 0; i < settings->threads_min; i++) {
        pthread_mutex_lock(&pool->lock);
        thread_reserve(pool);
        pthread_mutex_unlock(&pool->lock);
        int r = thread_make(pool);
        if (r != 0) {
            (void)pool_stop(pool, clock_monotonic_ns(clock_system()) + NS_PER_S);
            pool_free(pool);
            return r;
        }
    }
    *out = pool;
    return 0;
}

/* Detaches threads that are in foreign code: those that run a task, and past `all` those that
 * start or stop as well. Under the lock. */
static void
detach_away(struct pool *pool, bool all)
{
    struct pool_thread *next;
    for (struct pool_thread *thread = pool->live; thread != NULL; thread = next) {
        next = thread->live_next;
        enum thread_phase away = THREAD_AWAY;
        if ((thread->job != THREAD_WORKS && !all) ||
                /* Pairs with come_back(): one of the two wins. */
                !atomic_compare_exchange_strong_explicit(&thread->phase, &away, THREAD_DETACHED,
                        memory_order_acq_rel, memory_order_relaxed)) {
            continue;
        }
        pool_ref(pool);
        pthread_detach(thread->id);
        live_remove(thread);
        pool->detached++;
        pool->alive--;
        pool->threads -= thread->job != THREAD_LEAVES;
        pool->busy -= thread->job == THREAD_WORKS;
        pool->starting -= thread->job == THREAD_STARTS;
    }
}

/* Waits for threads to end, until a time. Under the lock. */
static void
wait_for_threads(struct pool *pool, uint64_t until_ns)
{
    struct timespec until = timespec_from(until_ns);
    int r = 0;
    while (pool->alive > 0 && r != ETIMEDOUT) {
        if (until_ns == CLOCK_NEVER) {
            r = pthread_cond_wait(&pool->changed, &pool->lock);
        } else {
            r = pthread_cond_timedwait(&pool->changed, &pool->lock, &until);
        }
    }
}

bool
pool_stop(struct pool *pool, uint64_t deadline_ns)
{
    const struct clock *clock = clock_system();
    struct pool_port *port = atomic_load_explicit(&pool->ports, memory_order_acquire);
    for (; port != NULL; port = port->next) {
        if (atomic_load_explicit(&port->out, memory_order_relaxed) > 0 &&
                loop_is_current(port->loop)) {
            give_over(port); /* this loop does not turn while we are here */
        }
    }

    struct task_list back = { 0 };
    pthread_mutex_lock(&pool->lock);
    if (!atomic_load_explicit(&pool->is_stopping, memory_order_relaxed)) {
        atomic_store_explicit(&pool->is_stopping, true, memory_order_relaxed);
        while (pool->idlers != NULL) {
            struct pool_thread *thread = pool->idlers;
            idle_remove(pool, thread);
            thread->is_woken = true;
            pool->waking++;
            pthread_cond_signal(&thread->wake);
        }
        wait_for_threads(pool, deadline_ns);
        turn_all_back(pool, &back, POOL_ABANDONED);
        /* Whoever is in our code will be back at the lock at once, or go away: look again. */
        for (;;) {
            uint64_t now_ns = clock_monotonic_ns(clock);
            detach_away(pool, now_ns >= clock_add_ns(deadline_ns, STOP_GRACE_NS));
            if (pool->alive == 0) {
                break;
            }
            wait_for_threads(pool, now_ns + NS_PER_MS);
        }
    }
    struct pool_thread *ended = pool->ended;
    pool->ended = NULL;
    bool all_ended = pool->alive == 0 && pool->detached == 0;
    pthread_mutex_unlock(&pool->lock);
    join_all(ended);
    send_all_back(&back);
    return all_ended;
}

void
pool_free(struct pool *pool)
{
    if (pool == NULL) {
        return;
    }
    struct pool_port *port = atomic_load_explicit(&pool->ports, memory_order_acquire);
    for (; port != NULL; port = port->next) {
        if (atomic_load_explicit(&port->out, memory_order_relaxed) > 0) {
            timer_cancel(&port->oldest); /* asserts that this is the loop's thread */
        }
    }
    pthread_mutex_lock(&pool->lock);
    WEIR_ASSERT(atomic_load_explicit(&pool->is_stopping, memory_order_relaxed));
    WEIR_ASSERT(pool->alive == 0);
    pool->is_orphaned = true;
    pthread_mutex_unlock(&pool->lock);
    pool_unref(pool);
}

struct pool_figures
pool_figures(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct pool_figures figures = pool->sums;
    figures.threads = pool->threads;
    figures.idle = pool->idle + pool->waking;
    figures.busy = pool->busy;
    figures.queued = pool->queue.count;
    pthread_mutex_unlock(&pool->lock);
    for (struct pool_port *port = atomic_load_explicit(&pool->ports, memory_order_acquire);
            port != NULL; port = port->next) {
        figures.out += atomic_load_explicit(&port->out, memory_order_relaxed);
    }
    return figures;
}
