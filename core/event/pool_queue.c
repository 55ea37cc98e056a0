/* SPDX-License-Identifier: MIT */
/*
 *     AWAY --pool_submit()--> STAGED --end of turn--> WAITING --a thread takes it--> TAKEN
 *      ^                        |                        |                            |
 *      |                        +--cancelled, no room----+--too old, cancelled--------+
 *      +------------------------------- done() --------------------------------------+
 */
#include <stdlib.h>

#include "base/assert.h"
#include "event/pool_parts.h"

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

void
pool_send_back(struct pool_task *task)
{
    mailbox_post(task->reply_to, &task->letter);
}

void
pool_send_all_back(struct task_list *list)
{
    struct pool_task *task;
    while ((task = list_take(list)) != NULL) {
        pool_send_back(task);
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

void
pool_turn_all_back(struct pool *pool, struct task_list *back, enum pool_outcome outcome)
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

struct pool_task *
pool_take(struct pool *pool, struct task_list *back)
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

void
pool_give_over(struct pool_port *port)
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
    bool makes = pool_rouse(pool);
    pthread_mutex_unlock(&pool->lock);
    if (makes) {
        (void)pool_thread_make(pool); /* on failure it has seen to the queue */
    }
    pool_send_all_back(&back);
}

static void
on_end_of_turn(struct loop_task *task)
{
    pool_give_over(
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
    pool_send_all_back(&back);
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
        pool_send_back(task);
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
    pool_send_back(task);
}
