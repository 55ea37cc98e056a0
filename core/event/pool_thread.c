/* SPDX-License-Identifier: MIT */
/*
 *     made --thread_start()--> takes a task <---> runs it
 *                                |      ^
 *                   none waits   v      | woken
 *                               asleep -+
 *                                |
 *     thread_stop() <------------+ idle for long and one too many, or the pool is stopping
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "event/pool_parts.h"
#include "event/signal.h"

/* The kernel's usual size, whatever limit the process was started under. Memory is taken only
 * as far as a thread uses it; deep recursion of an interpreter in C needs this much. */
#define STACK_BYTES ((size_t)8 << 20)

static void *thread_main(void *context);

/* ---- lists ---- */

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

void
pool_live_remove(struct pool_thread *thread)
{
    *thread->live_link = thread->live_next;
    if (thread->live_next != NULL) {
        thread->live_next->live_link = thread->live_link;
    }
}

/* ---- growing ---- */

static bool
may_grow(const struct pool *pool)
{
    int max = pool->settings.threads_max;
    return !atomic_load_explicit(&pool->is_stopping, memory_order_relaxed) &&
            (max == POOL_UNLIMITED || pool->threads < max);
}

void
pool_thread_reserve(struct pool *pool)
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
        pool_turn_all_back(pool, back, POOL_BUSY);
    }
}

int
pool_thread_make(struct pool *pool)
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
        pool_thread_free(thread);
    }
    struct task_list back = { 0 };
    pthread_mutex_lock(&pool->lock);
    pool->hatching--;
    pool->alive--;
    thread_failed(pool, &back);
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    pool_send_all_back(&back);
    return -r;
}

/* Whoever fell asleep last. */
static void
wake_one(struct pool *pool)
{
    struct pool_thread *thread = pool->idlers;
    idle_remove(pool, thread);
    thread->is_woken = true;
    pool->waking++;
    pthread_cond_signal(&thread->wake);
}

void
pool_wake_all(struct pool *pool)
{
    while (pool->idlers != NULL) {
        wake_one(pool);
    }
}

bool
pool_rouse(struct pool *pool)
{
    if (pool->queue.count == 0 || pool->waking > 0) {
        return false; /* who is waking will look after the others */
    }
    if (pool->idlers != NULL) {
        wake_one(pool);
        return false;
    }
    /* One at a time is on its way; it makes the next. Those in thread_start may take long, but
     * each will have a task. */
    if (pool->hatching > 0 || (size_t)pool->starting >= pool->queue.count || !may_grow(pool)) {
        return false;
    }
    pool_thread_reserve(pool);
    return true;
}

/* ---- leaving ---- */

void
pool_thread_free(struct pool_thread *thread)
{
    pthread_cond_destroy(&thread->wake);
    free(thread);
}

void
pool_join_all(struct pool_thread *ended)
{
    while (ended != NULL) {
        struct pool_thread *next = ended->live_next;
        pthread_join(ended->id, NULL);
        pool_thread_free(ended);
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
    pool_join_all(ended); /* so at most one is ever left to join */
    if (has_started && pool->settings.thread_stop != NULL) {
        pool_go_away(thread);
        pool->settings.thread_stop(pool->settings.context, thread->state);
        if (!pool_come_back(thread)) {
            pool_end_detached(thread);
            return;
        }
    }
    pthread_mutex_lock(&pool->lock);
    pool_live_remove(thread);
    thread->live_next = pool->ended;
    pool->ended = thread;
    pool->alive--;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

/* ---- working ---- */

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
        struct timespec until = pool_timespec(until_ns);
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
    if (!pool_come_back(thread)) {
        pool_end_detached(thread);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->busy--;
    pool->threads--;
    bool makes = pool->threads < pool->settings.threads_min && may_grow(pool);
    if (makes) {
        pool_thread_reserve(pool);
    } else {
        makes = pool_rouse(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    pool_send_back(thread->task);
    thread->task = NULL;
    if (makes) {
        (void)pool_thread_make(pool);
    }
    pthread_mutex_lock(&pool->lock);
    leave(thread, true);
}

/* Returns false when the thread was detached while the task ran. */
static bool
run(struct pool_thread *thread, struct pool_task *task)
{
    thread->task = task;
    pool_go_away(thread);
    pthread_cleanup_push(on_unwound, thread);
    task->run(task, thread->state);
    pthread_cleanup_pop(0);
    return pool_come_back(thread);
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
        struct pool_task *task = pool_take(pool, &back);
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
        bool makes = pool_rouse(pool);

        /* What was done goes back only now, when this thread is counted as free, or the answer
         * could meet a pool that seems to be busy, and make it grow. */
        if (task != NULL || finished != NULL || back.count > 0) {
            pthread_mutex_unlock(&pool->lock);
            if (finished != NULL) {
                pool_send_back(finished);
                finished = NULL;
            }
            pool_send_all_back(&back);
            if (makes) {
                (void)pool_thread_make(pool); /* on failure it has seen to the queue */
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
    bool makes = pool_rouse(pool);
    pthread_mutex_unlock(&pool->lock);
    if (makes) {
        (void)pool_thread_make(pool);
    }

    char name[16]; /* the kernel keeps 15 bytes */
    snprintf(name, sizeof(name), "%.9s-%u", settings->name, thread->number % 100000);
    pthread_setname_np(pthread_self(), name);

    int r = 0;
    if (settings->thread_start != NULL) {
        pool_go_away(thread);
        r = settings->thread_start(settings->context, &thread->state);
        if (!pool_come_back(thread)) {
            pool_end_detached(thread);
            return NULL;
        }
    }

    struct task_list back = { 0 };
    pthread_mutex_lock(&pool->lock);
    pool->starting--;
    if (r != 0) {
        thread_failed(pool, &back);
        pthread_mutex_unlock(&pool->lock);
        pool_send_all_back(&back);
        pthread_mutex_lock(&pool->lock);
        leave(thread, false);
        return NULL;
    }
    pool->cannot_grow = false;
    if (!serve(thread)) {
        pool_end_detached(thread);
        return NULL;
    }
    leave(thread, true);
    return NULL;
}
