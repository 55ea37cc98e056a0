/* SPDX-License-Identifier: MIT */
/* A token names a slot and the generation in which it was given out; slots are used again,
 * never freed before the worker ends, so that a stale token finds another generation and
 * nothing else.
 *
 *     FREE --weir_suspend()--> ARMED --weir_resume(), deadline, end of request--> FIRED -->
 * FREE
 *
 * Whoever moves a slot from ARMED to FIRED has won, and no one else may touch the wait; that
 * one compare-and-swap is all the synchronisation there is. */
#include "module/wait.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "event/timer.h"
#include "http/request.h"
#include "module/course.h"

#define SLOTS_AT_ONCE 64u

#define ARMED 1u

struct slot {
    /* Any thread: generation << 1, plus ARMED. */
    _Atomic(uint64_t) state;

    /* Written by whoever fired it, read by the loop after the letter arrived. */
    void *payload;
    void (*free_payload)(void *payload);
    struct letter letter;

    /* The loop's. */
    struct wait_table *table;
    struct weir_request *request; /* NULL: it ended while the letter was under way */
    weir_resume_fn *resume;
    enum weir_wake how;
    bool is_ripe; /* fired, and the loop knows: no letter is under way */
    struct course_wait wait;
    struct timer timer;
    struct slot *next_free;
};

struct chunk {
    struct chunk *next;
    struct slot slots[SLOTS_AT_ONCE];
};

struct wait_table {
    struct loop *loop;       /* borrowed */
    struct mailbox *mailbox; /* borrowed */
    struct chunk *chunks;    /* owned */
    struct slot *free;
    size_t count;
};

int
wait_table_new(struct loop *loop, struct mailbox *mailbox, struct wait_table **out)
{
    struct wait_table *table = calloc(1, sizeof(*table));
    if (table == NULL) {
        return -ENOMEM;
    }
    table->loop = loop;
    table->mailbox = mailbox;
    *out = table;
    return 0;
}

void
wait_table_free(struct wait_table *table)
{
    if (table == NULL) {
        return;
    }
    WEIR_ASSERT(table->count == 0);
    struct chunk *chunk = table->chunks;
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(table);
}

size_t
wait_table_count(const struct wait_table *table)
{
    return table->count;
}

struct mailbox *
wait_table_mailbox(const struct wait_table *table)
{
    return table->mailbox;
}

/* True for the one caller that ends the wait of this generation. Pairs with itself on every
 * thread: what the winner writes afterwards reaches the loop through the mailbox. */
static bool
fire(struct slot *slot, uint64_t generation)
{
    uint64_t expected = generation << 1 | ARMED;
    return atomic_compare_exchange_strong_explicit(&slot->state, &expected, generation << 1,
            memory_order_acq_rel, memory_order_relaxed);
}

static uint64_t
generation_of(struct slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_relaxed) >> 1;
}

static void
release(struct slot *slot)
{
    struct wait_table *table = slot->table;
    timer_cancel(&slot->timer);
    atomic_store_explicit(&slot->state, (generation_of(slot) + 1) << 1, memory_order_release);
    slot->request = NULL;
    slot->next_free = table->free;
    table->free = slot;
    table->count--;
}

static void
drop_payload(struct slot *slot)
{
    if (slot->free_payload != NULL) {
        slot->free_payload(slot->payload);
    }
}

static void
on_letter(struct letter *letter)
{
    struct slot *slot = (struct slot *)((char *)letter - offsetof(struct slot, letter));
    slot->is_ripe = true;
    if (slot->request != NULL) {
        course_ripen(&slot->wait);
        return;
    }
    drop_payload(slot);
    release(slot);
}

static void
on_deadline(struct timer *timer)
{
    struct slot *slot = (struct slot *)((char *)timer - offsetof(struct slot, timer));
    if (fire(slot, generation_of(slot))) {
        slot->how = WEIR_TIMED_OUT;
        slot->is_ripe = true;
        course_ripen(&slot->wait);
    }
}

static struct slot *
slot_of(struct course_wait *wait)
{
    return (struct slot *)((char *)wait - offsetof(struct slot, wait));
}

/* In the suspended hook's place. */
static enum weir_verdict
resume_slot(struct weir_request *request, const void *conf)
{
    struct slot *slot = slot_of(course_awaited(request));
    weir_resume_fn *resume = slot->resume;
    enum weir_wake how = slot->how;
    void *payload = how == WEIR_WOKEN ? slot->payload : NULL;
    release(slot);
    return resume(request, conf, how, payload);
}

/* The request ends while the hook waits. */
static enum weir_verdict
abort_slot(struct weir_request *request, const void *conf)
{
    struct slot *slot = slot_of(course_awaited(request));
    weir_resume_fn *resume = slot->resume;
    if (slot->is_ripe) {
        drop_payload(slot);
        release(slot);
    } else if (fire(slot, generation_of(slot))) {
        release(slot);
    } else {
        slot->request = NULL; /* the letter is under way and releases it */
    }
    return resume(request, conf, WEIR_ABORTED, NULL);
}

static bool
add_chunk(struct wait_table *table)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL) {
        return false;
    }
    chunk->next = table->chunks;
    table->chunks = chunk;
    for (unsigned i = 0; i < SLOTS_AT_ONCE; i++) {
        struct slot *slot = &chunk->slots[i];
        slot->table = table;
        slot->letter.fn = on_letter;
        slot->wait.aborted = abort_slot;
        timer_init(&slot->timer, table->loop, on_deadline);
        atomic_init(&slot->state, 2);
        slot->next_free = table->free;
        table->free = slot;
    }
    return true;
}

enum weir_verdict
weir_suspend(struct weir_request *request, weir_resume_fn *resume, uint64_t timeout_ns,
        struct weir_token *token)
{
    struct wait_table *table = course_map_of(request)->waits;
    if (table == NULL || resume == NULL || (table->free == NULL && !add_chunk(table))) {
        return WEIR_FAILED;
    }
    struct slot *slot = table->free;
    uint64_t longest_ns = request->timeouts->wait_ns;
    if (timeout_ns == WEIR_WAIT_PRESET || timeout_ns > longest_ns) {
        timeout_ns = longest_ns;
    }
    uint64_t deadline_ns = clock_add_ns(loop_now_ns(table->loop), timeout_ns);
    if (deadline_ns != CLOCK_NEVER && timer_set(&slot->timer, deadline_ns) < 0) {
        return WEIR_FAILED;
    }
    enum weir_verdict verdict = course_wait_for(request, &slot->wait, resume_slot);
    if (verdict != WEIR_PENDING) {
        timer_cancel(&slot->timer);
        return verdict;
    }
    table->free = slot->next_free;
    table->count++;
    slot->request = request;
    slot->resume = resume;
    slot->how = WEIR_WOKEN;
    slot->is_ripe = false;
    slot->payload = NULL;
    slot->free_payload = NULL;
    uint64_t generation = generation_of(slot);
    atomic_store_explicit(&slot->state, generation << 1 | ARMED, memory_order_release);
    *token = (struct weir_token){ slot, generation };
    return WEIR_PENDING;
}

bool
weir_resume(struct weir_token token, void *payload, void (*free_payload)(void *payload))
{
    struct slot *slot = token.slot;
    if (slot == NULL || !fire(slot, token.generation)) {
        if (free_payload != NULL) {
            free_payload(payload);
        }
        return false;
    }
    slot->payload = payload;
    slot->free_payload = free_payload;
    mailbox_post(slot->table->mailbox, &slot->letter);
    return true;
}
