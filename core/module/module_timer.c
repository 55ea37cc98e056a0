/* SPDX-License-Identifier: MIT */
/* A value names a slot and the generation in which it was set; slots are used again, and freed
 * only when the worker ends, as those of waits are (wait.c). */
#include "module/module_timer.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/timer.h"
#include "module/life.h"
#include "observe/flight.h"

#define SLOTS_AT_ONCE 8u

struct timer_slot {
    struct timer timer;
    struct module_timers *timers; /* borrowed: owns this */
    weir_timer_fn *fn;            /* NULL: free */
    void *data;
    uint64_t every_ns; /* 0: once */
    uint64_t generation;
    struct timer_slot *next_free;
};

struct timer_chunk {
    struct timer_chunk *next;
    struct timer_slot slots[SLOTS_AT_ONCE];
};

void
module_timers_init(struct module_timers *timers, struct weir_loop *owner, struct loop *loop,
        uint32_t flight)
{
    *timers = (struct module_timers){ .owner = owner, .loop = loop, .flight = flight };
}

static void
release(struct timer_slot *slot)
{
    struct module_timers *timers = slot->timers;
    timer_cancel(&slot->timer);
    slot->fn = NULL;
    slot->generation++;
    slot->next_free = timers->free;
    timers->free = slot;
    timers->count--;
}

void
module_timers_cancel(struct module_timers *timers)
{
    for (struct timer_chunk *chunk = timers->chunks; chunk != NULL; chunk = chunk->next) {
        for (unsigned i = 0; i < SLOTS_AT_ONCE; i++) {
            if (chunk->slots[i].fn != NULL) {
                release(&chunk->slots[i]);
            }
        }
    }
    WEIR_ASSERT(timers->count == 0);
}

void
module_timers_close(struct module_timers *timers)
{
    module_timers_cancel(timers);
    timers->is_closed = true;
}

void
module_timers_fini(struct module_timers *timers)
{
    WEIR_ASSERT(timers->count == 0);
    while (timers->chunks != NULL) {
        struct timer_chunk *next = timers->chunks->next;
        free(timers->chunks);
        timers->chunks = next;
    }
}

static void
on_timer(struct timer *timer)
{
    struct timer_slot *slot = (struct timer_slot *)((char *)timer -
            offsetof(struct timer_slot, timer));
    struct module_timers *timers = slot->timers;
    weir_timer_fn *fn = slot->fn;
    void *data = slot->data;
    /* Set again, or free, before the call, which may cancel it or set another. */
    if (slot->every_ns > 0) {
        uint64_t now_ns = loop_now_ns(timers->loop);
        uint64_t next_ns = clock_add_ns(slot->timer.deadline_ns, slot->every_ns);
        next_ns = next_ns > now_ns ? next_ns : clock_add_ns(now_ns, slot->every_ns);
        int r = timer_set(&slot->timer, next_ns);
        WEIR_ASSERT(r == 0); /* in its own callback it cannot fail */
    } else {
        release(slot);
    }
    flight_enter(timers->flight, NULL);
    fn(timers->owner, data);
    flight_leave();
}

static int
add_slots(struct module_timers *timers)
{
    struct timer_chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL) {
        return -ENOMEM;
    }
    chunk->next = timers->chunks;
    timers->chunks = chunk;
    for (unsigned i = 0; i < SLOTS_AT_ONCE; i++) {
        struct timer_slot *slot = &chunk->slots[i];
        timer_init(&slot->timer, timers->loop, on_timer);
        slot->timers = timers;
        slot->generation = 1;
        slot->next_free = timers->free;
        timers->free = slot;
    }
    return 0;
}

static int
set(struct weir_loop *loop, const struct timer_slot *wanted, uint64_t after_ns,
        struct weir_timer *out)
{
    struct module_timers *timers = life_timers(loop);
    if (wanted->fn == NULL || !loop_is_current(timers->loop)) {
        return -EINVAL;
    }
    if (timers->is_closed) {
        return -ESHUTDOWN;
    }
    if (timers->count == WEIR_TIMERS_MAX) {
        return -ENOBUFS;
    }
    int r = timers->free == NULL ? add_slots(timers) : 0;
    if (r < 0) {
        return r;
    }
    struct timer_slot *slot = timers->free;
    r = timer_set(&slot->timer, clock_add_ns(loop_now_ns(timers->loop), after_ns));
    if (r < 0) {
        return r;
    }
    timers->free = slot->next_free;
    timers->count++;
    slot->fn = wanted->fn;
    slot->data = wanted->data;
    slot->every_ns = wanted->every_ns;
    if (out != NULL) {
        *out = (struct weir_timer){ slot, slot->generation };
    }
    return 0;
}

int
weir_every(struct weir_loop *loop, uint64_t ns, weir_timer_fn *fn, void *data,
        struct weir_timer *timer)
{
    if (ns < WEIR_TIMER_MIN_NS) {
        return -EINVAL;
    }
    return set(loop, &(struct timer_slot){ .fn = fn, .data = data, .every_ns = ns }, ns, timer);
}

int
weir_delay(struct weir_loop *loop, uint64_t ns, weir_timer_fn *fn, void *data,
        struct weir_timer *timer)
{
    return set(loop, &(struct timer_slot){ .fn = fn, .data = data }, ns, timer);
}

void
weir_timer_cancel(struct weir_timer timer)
{
    struct timer_slot *slot = timer.slot;
    if (slot != NULL && slot->generation == timer.generation && slot->fn != NULL) {
        release(slot);
    }
}
