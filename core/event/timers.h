/* SPDX-License-Identifier: MIT */
/* All timers of one loop: what loop.c asks of timer.c. Private to this floor. */
#ifndef WEIR_EVENT_TIMERS_H
#define WEIR_EVENT_TIMERS_H

#include <stddef.h>
#include <stdint.h>

#include <weir/api.h>

struct coarse_timer;
struct loop;
struct timer;

/* Seconds that the wheel spans, a power of two. A later deadline is visited once a round. */
#define WHEEL_SLOTS 256u

struct heap_entry {
    uint64_t deadline_ns; /* the timer's, beside it so that sifting touches no timer */
    struct timer *timer;  /* borrowed */
};

struct timers {
    /* The heap: four children a node, the earliest deadline at index 0. */
    struct heap_entry *heap; /* owned */
    struct timer **batch;    /* owned; what is due in this turn, NULL where it was cancelled */
    uint32_t count, capacity;
    uint32_t batch_at, batch_count; /* batch[batch_at, batch_count) has not fired yet */
    struct timer *firing;           /* whose fn runs; its place in the heap is kept for it */

    /* The wheel. All seconds up to and including visited_s have been visited. */
    struct coarse_timer *slots[WHEEL_SLOTS];
    struct coarse_timer *visiting; /* what is left of the slot that is being visited */
    uint64_t occupied[WHEEL_SLOTS / 64];
    uint64_t visited_s;
    size_t coarse_count;
};

/* `timers` is all zero before. Nothing may be set when it ends. */
void timers_fini(struct timers *timers);

/* When timers_run() must be called next; CLOCK_NEVER: no need. */
uint64_t timers_next_ns(const struct timers *timers);

/* Fires what is due, each timer at most once. */
void timers_run(struct timers *timers, uint64_t now_ns);

/* Of a loop (loop.c). */
struct timers *loop_timers(struct loop *loop);

#endif
