/* SPDX-License-Identifier: MIT */
/* The timers that one module has set on one loop (weir/timer.h). Thread: the loop's. */
#ifndef WEIR_MODULE_MODULE_TIMER_H
#define WEIR_MODULE_MODULE_TIMER_H

#include <weir/timer.h>

struct loop;
struct timer_chunk;
struct timer_slot;

struct module_timers {
    struct weir_loop *owner;    /* borrowed; what functions are called with */
    struct loop *loop;          /* borrowed */
    uint32_t flight;            /* the entry of its calls */
    struct timer_chunk *chunks; /* owned; freed at the end, so that a stale value is harmless */
    struct timer_slot *free;
    uint32_t count; /* slots in use */
    bool is_closed;
};

void module_timers_init(struct module_timers *timers, struct weir_loop *owner,
        struct loop *loop, uint32_t flight);

/* Cancels all; others may be set. */
void module_timers_cancel(struct module_timers *timers);

/* Cancels all, for ever. */
void module_timers_close(struct module_timers *timers);

/* After that; no value may be used any more. Any thread. */
void module_timers_fini(struct module_timers *timers);

#endif
