/* SPDX-License-Identifier: MIT */
/*
 *     NONE --thread_start()--> STARTING --0--> STARTED --the thread ends--> thread_stop()
 *       ^                         |
 *       +-------- failed ---------+
 *
 * for each module on each thread. A thread that ends in STARTING was ended by the module itself
 * (pthread_exit), and there is nothing to stop.
 */
#include "module/life_thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "module/life_parts.h"
#include "observe/flight.h"
#include "observe/log.h"

/* The log hears of a module's failed starts at most so often, however many jobs meet one. */
#define SAY_NS NS_PER_S

struct life_thread {
    struct life *life; /* borrowed */
    struct kept {
        enum {
            KEPT_NONE,
            KEPT_STARTING,
            KEPT_STARTED
        } step;
        void *state; /* the module's */
    } modules[];     /* as life->workers */
};

static bool
has_functions(const struct weir_module *module)
{
    return module->thread_start != NULL || module->thread_stop != NULL;
}

bool
life_keeps_threads(const struct life *life)
{
    for (size_t i = 0; i < life->count; i++) {
        if (has_functions(life->workers[i].declared->module)) {
            return true;
        }
    }
    return false;
}

/* ---- holds ------------------------------------------------------------------------------- */

void
life_hold(struct weir_worker *worker)
{
    if (worker != NULL) {
        atomic_fetch_add_explicit(&worker->holds, 1, memory_order_relaxed);
    }
}

void
life_release(struct weir_worker *worker)
{
    if (worker != NULL) {
        /* Pairs with life_is_held(): what the thread did for the module comes before. */
        atomic_fetch_sub_explicit(&worker->holds, 1, memory_order_release);
    }
}

bool
life_is_held(const struct life *life, const struct weir_module *module)
{
    for (size_t i = 0; i < life->count; i++) {
        const struct weir_worker *worker = &life->workers[i];
        if (worker->declared->module == module) {
            return atomic_load_explicit(&worker->holds, memory_order_acquire) > 0;
        }
    }
    return false;
}

/* ---- threads ----------------------------------------------------------------------------- */

int
life_thread_new(void *life_, void **out)
{
    struct life *life = life_;
    struct life_thread *thread = calloc(1,
            sizeof(*thread) + life->count * sizeof(thread->modules[0]));
    if (thread == NULL) {
        return -ENOMEM;
    }
    thread->life = life;
    *out = thread;
    return 0;
}

static void
enter(const struct weir_worker *worker, enum life_hook hook)
{
    flight_begin_thread(FLIGHT_POOL);
    flight_enter(worker->flight | (uint32_t)hook << FLIGHT_MODULE_BITS, NULL);
}

void
life_thread_free(void *life_, void *thread_)
{
    const struct life *life = life_;
    struct life_thread *thread = thread_;
    for (size_t i = life->count; i > 0; i--) {
        struct weir_worker *worker = &life->workers[i - 1];
        const struct kept *kept = &thread->modules[i - 1];
        if (kept->step == KEPT_NONE) {
            continue;
        }
        void (*stop)(struct weir_worker *, void *) = worker->declared->module->thread_stop;
        if (kept->step == KEPT_STARTED && stop != NULL) {
            enter(worker, LIFE_THREAD_STOP);
            stop(worker, kept->state);
            flight_leave();
        }
        life_release(worker);
    }
    free(thread);
}

static void
say_failure(struct weir_worker *worker, int r)
{
    uint64_t now_ns = clock_monotonic_ns(clock_system());
    uint64_t said_ns = atomic_load_explicit(&worker->said_ns, memory_order_relaxed);
    if ((said_ns != 0 && now_ns < clock_add_ns(said_ns, SAY_NS)) ||
            !atomic_compare_exchange_strong_explicit(&worker->said_ns, &said_ns, now_ns,
                    memory_order_relaxed, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&worker->unsaid, 1, memory_order_relaxed);
        return;
    }
    char more[48] = "";
    uint32_t unsaid = atomic_exchange_explicit(&worker->unsaid, 0, memory_order_relaxed);
    if (unsaid > 0) {
        snprintf(more, sizeof(more), " (and %u times before)", unsaid);
    }
    const char *why = r < -4095 ? NULL : strerrordesc_np(-r);
    log_error("module %s, hook thread_start: failed: %s: its job is not done, the next one "
              "tries again%s",
            worker->declared->module->name, why == NULL ? "unknown error" : why, more);
}

int
life_thread_enter(struct life_thread *thread, struct weir_worker *worker, void **state)
{
    *state = NULL;
    if (thread == NULL || !has_functions(worker->declared->module)) {
        return 0;
    }
    struct kept *kept = &thread->modules[worker - thread->life->workers];
    if (kept->step == KEPT_NONE) {
        int (*start)(struct weir_worker *, void **) = worker->declared->module->thread_start;
        int r = 0;
        kept->step = KEPT_STARTING;
        kept->state = NULL;
        life_hold(worker);
        if (start != NULL) {
            enter(worker, LIFE_THREAD_START);
            r = start(worker, &kept->state);
            flight_leave();
        }
        if (r < 0) {
            kept->step = KEPT_NONE;
            life_release(worker);
            say_failure(worker, r);
            return r;
        }
        kept->step = KEPT_STARTED;
    }
    *state = kept->state;
    return 0;
}
