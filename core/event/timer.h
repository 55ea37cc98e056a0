/* SPDX-License-Identifier: MIT */
/* Deadlines on a loop, by its clock.
 *
 * Two kinds. A `timer` fires within a millisecond after its deadline (a heap): for hooks,
 * queues and upstreams. A `coarse_timer` fires within a second after it (a wheel of one-second
 * slots): for the time limits of peers, where setting a deadline on every request must cost one
 * store. Neither ever fires early. Both are embedded in their object and fire once; the
 * callback may set the timer again or free the object. Thread: the loop's. */
#ifndef WEIR_EVENT_TIMER_H
#define WEIR_EVENT_TIMER_H

#include <stdint.h>

#include <weir/api.h>

#include "base/clock.h"

struct loop;

struct timer {
    void (*fn)(struct timer *timer);
    struct loop *loop;
    uint64_t deadline_ns;
    uint32_t place; /* in the heap, 1 up; 0: not set */
};

void timer_init(struct timer *timer, struct loop *loop, void (*fn)(struct timer *timer));

/* Sets or moves the deadline (monotonic; one in the past fires in the next turn). Returns 0 or
 * -ENOMEM, when the timer is as it was. */
WEIR_MUST_USE int timer_set(struct timer *timer, uint64_t deadline_ns);
void timer_cancel(struct timer *timer); /* not set: nothing */
bool timer_is_set(const struct timer *timer);

struct coarse_timer {
    void (*fn)(struct coarse_timer *timer);
    struct loop *loop;
    struct coarse_timer *next, **link; /* the slot's list; link is NULL when in none */
    uint64_t deadline_ns;              /* CLOCK_NEVER: not set */
    uint64_t visit_s;                  /* the second in which its slot comes up */
};

void coarse_timer_init(struct coarse_timer *timer, struct loop *loop,
        void (*fn)(struct coarse_timer *timer));

/* Sets or moves the deadline; CLOCK_NEVER clears it. A later deadline than the last is only
 * stored: the wheel finds out when it visits. Cannot fail. */
void coarse_timer_set(struct coarse_timer *timer, uint64_t deadline_ns);

/* Takes the timer out of the wheel, before its object goes. */
void coarse_timer_fini(struct coarse_timer *timer);

#endif
