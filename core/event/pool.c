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
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "event/pool_parts.h"

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
        pool_thread_reserve(pool);
        pthread_mutex_unlock(&pool->lock);
        int r = pool_thread_make(pool);
        if (r != 0) {
            (void)pool_stop(pool, clock_monotonic_ns(clock_system()) + NS_PER_S);
            pool_free(pool);
            return r;
        }
    }
    *out = pool;
    return 0;
}

void
pool_ref(struct pool *pool)
{
    atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
}

void
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
