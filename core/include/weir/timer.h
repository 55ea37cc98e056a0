/* SPDX-License-Identifier: MIT */
/* Timers: a function that is called on a loop, once or again and again.
 *
 *     static int
 *     loop_start(struct weir_loop *loop, struct weir_conf_report *report)
 *     {
 *         ...
 *         return weir_every(loop, 10 * UINT64_C(1000000000), sweep, table, NULL);
 *     }
 *
 * What is to happen once in a worker is set on weir_worker_loop(), in worker_start; what each
 * loop does for itself in loop_start. A timer fires within a millisecond after its time, and
 * later where the loop is held up, never early. A hook's own time limit is no timer but
 * weir_suspend().
 *
 * All timers are cancelled when their loop begins to drain, before `drain` is called: a server
 * that is replaced no longer refreshes what its successor does. What is to go on until the last
 * answer is set anew from there, or from a hook; it ends before loop_stop. `data` is the
 * module's, and may be freed from loop_stop on. Grows until 1.0. */
#ifndef WEIR_TIMER_H
#define WEIR_TIMER_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/worker.h>

WEIR_BEGIN_DECLS

/* Those that one module may have set on one loop. */
#define WEIR_TIMERS_MAX 1000u

/* The shortest time of weir_every(). */
#define WEIR_TIMER_MIN_NS UINT64_C(1000000)

/* A timer, as a value: may be copied, kept and forgotten. One that has fired or was cancelled
 * is harmless for as long as the worker lives. All zero is no timer. */
struct weir_timer {
    void *slot; /* the core's */
    uint64_t generation;
};

/* Thread: the loop's, never from within another call of the module; must not block. May set and
 * cancel timers, itself included. */
typedef void weir_timer_fn(struct weir_loop *loop, void *data);

/*
 * Calls `fn` every `ns`, first after that time. Where the loop was held up for several times
 * that long, what was missed is not made up for.
 * Thread:  the loop's; for weir_worker_loop() also in worker_start.
 * Returns: 0, and *timer (which may be NULL); -EINVAL without `fn`, below WEIR_TIMER_MIN_NS, or
 *          on another thread; -ENOBUFS when WEIR_TIMERS_MAX are set; -ESHUTDOWN from loop_stop
 *          on; -ENOMEM.
 */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_every(struct weir_loop *loop, uint64_t ns,
        weir_timer_fn *fn, void *data, struct weir_timer *timer);

/* The same once, after `ns`; 0: in the loop's next turn. */
WEIR_MUST_USE WEIR_API WEIR_LOOP int weir_delay(struct weir_loop *loop, uint64_t ns,
        weir_timer_fn *fn, void *data, struct weir_timer *timer);

/* It fires no more. Again, or when it has fired: nothing. Thread: its loop's. */
WEIR_API WEIR_LOOP void weir_timer_cancel(struct weir_timer timer);

WEIR_END_DECLS

#endif
