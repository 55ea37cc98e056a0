/* SPDX-License-Identifier: MIT */
/* A thread in foreign code may never come back, so stopping waits for it only so long. Who is
 * in whose code is one atomic of the thread, which it and pool_stop() both change by
 * compare-and-swap: either it is back in ours, and ends as ever, or it is detached, and learns
 * so before it touches anything. */
#include <errno.h>

#include "event/pool_parts.h"

/* How long pool_stop() waits past its deadline for threads in thread_start or thread_stop. */
#define STOP_GRACE_NS (100 * NS_PER_MS)

void
pool_go_away(struct pool_thread *thread)
{
    /* Pairs with the acquire in detach_away(). */
    atomic_store_explicit(&thread->phase, THREAD_AWAY, memory_order_release);
}

bool
pool_come_back(struct pool_thread *thread)
{
    enum thread_phase away = THREAD_AWAY;
    return atomic_compare_exchange_strong_explicit(&thread->phase, &away, THREAD_OURS,
            memory_order_acq_rel, memory_order_acquire);
}

void
pool_end_detached(struct pool_thread *thread)
{
    struct pool *pool = thread->pool;
    struct pool_task *task = thread->task;
    bool is_lost = false;
    pthread_mutex_lock(&pool->lock);
    pool->detached--;
    if (task != NULL) {
        is_lost = pool->is_orphaned;
        if (!is_lost) {
            pool_send_back(
                    task); /* under the lock, so that pool_free() comes before or after */
        }
    }
    pthread_mutex_unlock(&pool->lock);
    if (is_lost) {
        pool_unref(pool);
    }
    pool_thread_free(thread);
    pool_unref(pool);
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
                /* Pairs with pool_come_back(): one of the two wins. */
                !atomic_compare_exchange_strong_explicit(&thread->phase, &away, THREAD_DETACHED,
                        memory_order_acq_rel, memory_order_relaxed)) {
            continue;
        }
        pool_ref(pool);
        pthread_detach(thread->id);
        pool_live_remove(thread);
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
    struct timespec until = pool_timespec(until_ns);
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
            pool_give_over(port); /* this loop does not turn while we are here */
        }
    }

    struct task_list back = { 0 };
    pthread_mutex_lock(&pool->lock);
    if (!atomic_load_explicit(&pool->is_stopping, memory_order_relaxed)) {
        atomic_store_explicit(&pool->is_stopping, true, memory_order_relaxed);
        pool_wake_all(pool);
        wait_for_threads(pool, deadline_ns);
        pool_turn_all_back(pool, &back, POOL_ABANDONED);
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
    pool_join_all(ended);
    pool_send_all_back(&back);
    return all_ended;
}
