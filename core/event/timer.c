/* SPDX-License-Identifier: MIT */
/* The heap and the wheel of a loop.
 *
 * Heap: what is due is taken out first, as a batch, and fired then; so a timer that is set
 * again by its own callback fires in the next turn, and one that is cancelled by another's is
 * gone. The heap keeps room for the whole batch, so that setting or moving a timer that was
 * set, or setting it again in its own callback, never needs memory.
 *
 * Wheel: a timer lies in the slot of the first whole second at or after its deadline. Moving
 * the deadline away only stores it; the visit sees that it is not due and puts the timer
 * further on. So it fires never early and less than a second late. */
#include "event/timer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/timers.h"

#define HEAP_CHILDREN 4u
#define HEAP_FIRST    16u /* entries of the first allocation */

/* In timer->place: the timer is in the batch, not in the heap. */
#define PLACE_IN_BATCH 0x80000000u

static void
heap_put(struct timers *timers, uint32_t at, struct heap_entry entry)
{
    timers->heap[at] = entry;
    entry.timer->place = at + 1;
}

static void
sift_up(struct timers *timers, uint32_t at, struct heap_entry entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / HEAP_CHILDREN;
        if (timers->heap[parent].deadline_ns <= entry.deadline_ns) {
            break;
        }
        heap_put(timers, at, timers->heap[parent]);
        at = parent;
    }
    heap_put(timers, at, entry);
}

static void
sift_down(struct timers *timers, uint32_t at, struct heap_entry entry)
{
    for (;;) {
        uint32_t first = at * HEAP_CHILDREN + 1;
        if (first >= timers->count) {
            break;
        }
        uint32_t end = timers->count - first < HEAP_CHILDREN ? timers->count
                                                             : first + HEAP_CHILDREN;
        uint32_t least = first;
        for (uint32_t child = first + 1; child < end; child++) {
            if (timers->heap[child].deadline_ns < timers->heap[least].deadline_ns) {
                least = child;
            }
        }
        if (entry.deadline_ns <= timers->heap[least].deadline_ns) {
            break;
        }
        heap_put(timers, at, timers->heap[least]);
        at = least;
    }
    heap_put(timers, at, entry);
}

static void
heap_place(struct timers *timers, uint32_t at, struct heap_entry entry)
{
    if (at > 0 && entry.deadline_ns < timers->heap[(at - 1) / HEAP_CHILDREN].deadline_ns) {
        sift_up(timers, at, entry);
    } else {
        sift_down(timers, at, entry);
    }
}

static void
heap_remove(struct timers *timers, uint32_t at)
{
    timers->heap[at].timer->place = 0;
    timers->count--;
    if (at < timers->count) {
        heap_place(timers, at, timers->heap[timers->count]);
    }
}

/* Entries that the batch may put back. */
static uint32_t
heap_kept(const struct timers *timers)
{
    return timers->batch_count - timers->batch_at + (timers->firing != NULL);
}

static int
heap_grow(struct timers *timers)
{
    if (timers->capacity >= PLACE_IN_BATCH / 2) {
        return -ENOMEM;
    }
    uint32_t capacity = timers->capacity == 0 ? HEAP_FIRST : timers->capacity * 2;
    struct timer **batch = realloc(timers->batch, capacity * sizeof(struct timer *));
    if (batch == NULL) {
        return -ENOMEM;
    }
    timers->batch = batch;
    struct heap_entry *heap = realloc(timers->heap, capacity * sizeof(*heap));
    if (heap == NULL) {
        return -ENOMEM;
    }
    timers->heap = heap;
    timers->capacity = capacity;
    return 0;
}

void
timer_init(struct timer *timer, struct loop *loop, void (*fn)(struct timer *timer))
{
    *timer = (struct timer){ .fn = fn, .loop = loop };
}

int
timer_set(struct timer *timer, uint64_t deadline_ns)
{
    WEIR_ASSERT(loop_is_current(timer->loop));
    struct timers *timers = loop_timers(timer->loop);
    struct heap_entry entry = { deadline_ns, timer };

    if (timer->place != 0 && (timer->place & PLACE_IN_BATCH) == 0) {
        timer->deadline_ns = deadline_ns;
        heap_place(timers, timer->place - 1, entry);
        return 0;
    }
    if (timer->place != 0) {
        timer_cancel(timer); /* out of the batch; its room in the heap is kept till the end */
    } else if (timer == timers->firing) {
        timers->firing = NULL;
    } else if (timers->count + heap_kept(timers) >= timers->capacity) {
        int r = heap_grow(timers);
        if (r != 0) {
            return r;
        }
    }
    timer->deadline_ns = deadline_ns;
    sift_up(timers, timers->count++, entry);
    return 0;
}

void
timer_cancel(struct timer *timer)
{
    WEIR_ASSERT(loop_is_current(timer->loop));
    struct timers *timers = loop_timers(timer->loop);
    if (timer->place == 0) {
        return;
    }
    if ((timer->place & PLACE_IN_BATCH) == 0) {
        heap_remove(timers, timer->place - 1);
        return;
    }
    timers->batch[(timer->place & ~PLACE_IN_BATCH) - 1] = NULL;
    timer->place = 0;
}

bool
timer_is_set(const struct timer *timer)
{
    return timer->place != 0;
}

static void
heap_run(struct timers *timers, uint64_t now_ns)
{
    timers->batch_at = timers->batch_count = 0;
    while (timers->count > 0 && timers->heap[0].deadline_ns <= now_ns) {
        struct timer *timer = timers->heap[0].timer;
        heap_remove(timers, 0);
        timers->batch[timers->batch_count++] = timer;
        timer->place = timers->batch_count | PLACE_IN_BATCH;
    }
    while (timers->batch_at < timers->batch_count) {
        struct timer *timer = timers->batch[timers->batch_at++];
        if (timer == NULL) {
            continue;
        }
        timer->place = 0;
        timers->firing = timer;
        timer->fn(timer); /* may free it */
        timers->firing = NULL;
    }
}

/* The first whole second that is not before a time. */
static uint64_t
second_from(uint64_t time_ns)
{
    return time_ns / NS_PER_S + (time_ns % NS_PER_S != 0);
}

static void
wheel_remove(struct timers *timers, struct coarse_timer *timer)
{
    *timer->link = timer->next;
    if (timer->next != NULL) {
        timer->next->link = timer->link;
    }
    uint64_t slot = timer->visit_s % WHEEL_SLOTS;
    if (timers->slots[slot] == NULL) {
        timers->occupied[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    }
    timer->next = NULL;
    timer->link = NULL;
    timers->coarse_count--;
}

static void
wheel_put(struct timers *timers, struct coarse_timer *timer)
{
    uint64_t visit_s = second_from(timer->deadline_ns);
    if (visit_s <= timers->visited_s) {
        visit_s = timers->visited_s + 1;
    } else if (visit_s - timers->visited_s >= WHEEL_SLOTS) {
        visit_s = timers->visited_s + WHEEL_SLOTS - 1;
    }
    uint64_t slot = visit_s % WHEEL_SLOTS;
    timer->visit_s = visit_s;
    timer->next = timers->slots[slot];
    timer->link = &timers->slots[slot];
    if (timer->next != NULL) {
        timer->next->link = &timer->next;
    }
    timers->slots[slot] = timer;
    timers->occupied[slot / 64] |= UINT64_C(1) << slot % 64;
    timers->coarse_count++;
}

void
coarse_timer_init(struct coarse_timer *timer, struct loop *loop,
        void (*fn)(struct coarse_timer *timer))
{
    *timer = (struct coarse_timer){ .fn = fn, .loop = loop, .deadline_ns = CLOCK_NEVER };
}

void
coarse_timer_set(struct coarse_timer *timer, uint64_t deadline_ns)
{
    WEIR_ASSERT(loop_is_current(timer->loop));
    uint64_t before_ns = timer->deadline_ns;
    timer->deadline_ns = deadline_ns;
    if (timer->link != NULL && deadline_ns >= before_ns) {
        return;
    }
    if (deadline_ns == CLOCK_NEVER) {
        return;
    }
    struct timers *timers = loop_timers(timer->loop);
    if (timer->link != NULL) {
        if (second_from(deadline_ns) >= timer->visit_s) {
            return;
        }
        wheel_remove(timers, timer);
    }
    if (timers->coarse_count == 0) {
        /* An empty wheel is not turned; it starts from today. */
        uint64_t now_s = loop_now_ns(timer->loop) / NS_PER_S;
        timers->visited_s = now_s > timers->visited_s ? now_s : timers->visited_s;
    }
    wheel_put(timers, timer);
}

void
coarse_timer_fini(struct coarse_timer *timer)
{
    WEIR_ASSERT(loop_is_current(timer->loop));
    if (timer->link != NULL) {
        wheel_remove(loop_timers(timer->loop), timer);
    }
    timer->deadline_ns = CLOCK_NEVER;
}

/* Visits one slot. It is detached first, so that what is put back, even into the same slot, is
 * not met again. */
static void
wheel_visit(struct timers *timers, uint64_t slot, uint64_t now_ns)
{
    timers->visiting = timers->slots[slot];
    timers->slots[slot] = NULL;
    timers->occupied[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    if (timers->visiting != NULL) {
        timers->visiting->link = &timers->visiting;
    }
    while (timers->visiting != NULL) {
        struct coarse_timer *timer = timers->visiting;
        wheel_remove(timers, timer);
        if (timer->deadline_ns <= now_ns) {
            timer->deadline_ns = CLOCK_NEVER;
            timer->fn(timer); /* may free it */
        } else if (timer->deadline_ns != CLOCK_NEVER) {
            wheel_put(timers, timer);
        }
    }
}

static void
wheel_run(struct timers *timers, uint64_t now_ns)
{
    uint64_t now_s = now_ns / NS_PER_S;
    if (timers->coarse_count == 0 || now_s <= timers->visited_s) {
        return;
    }
    uint64_t first_s = timers->visited_s + 1;
    uint64_t slots = now_s - timers->visited_s;
    slots = slots < WHEEL_SLOTS ? slots : WHEEL_SLOTS;
    timers->visited_s = now_s; /* what is put back comes up later than now */
    for (uint64_t i = 0; i < slots; i++) {
        uint64_t slot = (first_s + i) % WHEEL_SLOTS;
        if (timers->slots[slot] != NULL) {
            wheel_visit(timers, slot, now_ns);
        }
    }
}

/* The second of the next occupied slot. The wheel is not empty. */
static uint64_t
wheel_next_s(const struct timers *timers)
{
    for (uint64_t ahead = 1;;) {
        uint64_t slot = (timers->visited_s + ahead) % WHEEL_SLOTS;
        uint64_t word = timers->occupied[slot / 64] >> slot % 64;
        if (word != 0) {
            return timers->visited_s + ahead + (uint64_t)__builtin_ctzll(word);
        }
        ahead += 64 - slot % 64;
        WEIR_ASSERT(ahead < WHEEL_SLOTS);
    }
}

uint64_t
timers_next_ns(const struct timers *timers)
{
    uint64_t next_ns = timers->count > 0 ? timers->heap[0].deadline_ns : CLOCK_NEVER;
    if (timers->coarse_count > 0) {
        uint64_t second = wheel_next_s(timers);
        uint64_t wheel_ns = second > CLOCK_NEVER / NS_PER_S ? CLOCK_NEVER : second * NS_PER_S;
        next_ns = wheel_ns < next_ns ? wheel_ns : next_ns;
    }
    return next_ns;
}

void
timers_run(struct timers *timers, uint64_t now_ns)
{
    heap_run(timers, now_ns);
    wheel_run(timers, now_ns);
}

void
timers_fini(struct timers *timers)
{
    WEIR_ASSERT(timers->count == 0);
    WEIR_ASSERT(timers->coarse_count == 0);
    free(timers->heap);
    free(timers->batch);
}
