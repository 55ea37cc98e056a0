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
#include "module/connection.h"
#include "module/course.h"

#define SLOTS_AT_ONCE 64u

#define ARMED 1u

struct wait_slot {
    /* Any thread: generation << 1, plus ARMED. */
    _Atomic(uint64_t) state;

    /* Written by whoever fired it, read by the loop after the letter arrived. */
    void *payload;
    void (*free_payload)(void *payload);
    struct letter letter;

    /* The loop's. */
    struct wait_table *table;
    bool is_awaited; /* false: whoever waited ended while the letter was under way */
    struct weir_connection *connection; /* whose hook waits; NULL: a request's */
    weir_resume_fn *resume;
    weir_connection_resume_fn *resume_connection;
    enum weir_wake how;
    bool is_ripe; /* fired, and the loop knows: no letter is under way */
    struct course_wait wait;
    struct timer timer;
    struct wait_slot *next_free;
};

struct chunk {
    struct chunk *next;
    struct wait_slot slots[SLOTS_AT_ONCE];
};

struct wait_table {
    struct loop *loop;       /* borrowed */
    struct mailbox *mailbox; /* borrowed */
    struct chunk *chunks;    /* owned */
    struct wait_slot *free;
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
fire(struct wait_slot *slot, uint64_t generation)
{
    uint64_t expected = generation << 1 | ARMED;
    return atomic_compare_exchange_strong_explicit(&slot->state, &expected, generation << 1,
            memory_order_acq_rel, memory_order_relaxed);
}

static uint64_t
generation_of(struct wait_slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_relaxed) >> 1;
}

static void
release(struct wait_slot *slot)
{
    struct wait_table *table = slot->table;
    timer_cancel(&slot->timer);
    atomic_store_explicit(&slot->state, (generation_of(slot) + 1) << 1, memory_order_release);
    slot->is_awaited = false;
    slot->next_free = table->free;
    table->free = slot;
    table->count--;
}

static void
drop_payload(struct wait_slot *slot)
{
    if (slot->free_payload != NULL) {
        slot->free_payload(slot->payload);
    }
}

static void
ripen(struct wait_slot *slot)
{
    if (slot->connection != NULL) {
        connection_ripen(slot->connection);
    } else {
        course_ripen(&slot->wait);
    }
}

static void
on_letter(struct letter *letter)
{
    struct wait_slot *slot = (struct wait_slot *)((char *)letter -
            offsetof(struct wait_slot, letter));
    slot->is_ripe = true;
    if (slot->is_awaited) {
        ripen(slot);
        return;
    }
    drop_payload(slot);
    release(slot);
}

static void
on_deadline(struct timer *timer)
{
    struct wait_slot *slot = (struct wait_slot *)((char *)timer -
            offsetof(struct wait_slot, timer));
    if (fire(slot, generation_of(slot))) {
        slot->how = WEIR_TIMED_OUT;
        slot->is_ripe = true;
        ripen(slot);
    }
}

static struct wait_slot *
slot_of(struct course_wait *wait)
{
    return (struct wait_slot *)((char *)wait - offsetof(struct wait_slot, wait));
}

/* What the resume function is given; the slot is free again. */
static void *
take_payload(struct wait_slot *slot)
{
    void *payload = slot->how == WEIR_WOKEN ? slot->payload : NULL;
    release(slot);
    return payload;
}

/* In the suspended hook's place. */
static enum weir_verdict
resume_slot(struct weir_request *request, const void *conf)
{
    struct wait_slot *slot = slot_of(course_awaited(request));
    weir_resume_fn *resume = slot->resume;
    enum weir_wake how = slot->how;
    return resume(request, conf, how, take_payload(slot));
}

enum weir_verdict
wait_resume_connection(struct wait_slot *slot, struct weir_connection *connection,
        const void *conf)
{
    weir_connection_resume_fn *resume = slot->resume_connection;
    enum weir_wake how = slot->how;
    return resume(connection, conf, how, take_payload(slot));
}

/* Whoever waits ends first. */
static void
leave(struct wait_slot *slot)
{
    if (slot->is_ripe) {
        drop_payload(slot);
        release(slot);
    } else if (fire(slot, generation_of(slot))) {
        release(slot);
    } else {
        slot->is_awaited = false; /* the letter is under way and releases it */
    }
}

/* The request ends while the hook waits. */
static enum weir_verdict
abort_slot(struct weir_request *request, const void *conf)
{
    struct wait_slot *slot = slot_of(course_awaited(request));
    weir_resume_fn *resume = slot->resume;
    leave(slot);
    return resume(request, conf, WEIR_ABORTED, NULL);
}

void
wait_abort_connection(struct wait_slot *slot, struct weir_connection *connection,
        const void *conf)
{
    weir_connection_resume_fn *resume = slot->resume_connection;
    leave(slot);
    (void)resume(connection, conf, WEIR_ABORTED, NULL);
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
        struct wait_slot *slot = &chunk->slots[i];
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

/* A slot whose deadline is set, at the front of the free ones; NULL without memory. */
static struct wait_slot *
prepare(struct wait_table *table, uint64_t timeout_ns, uint64_t longest_ns)
{
    if (table == NULL || (table->free == NULL && !add_chunk(table))) {
        return NULL;
    }
    struct wait_slot *slot = table->free;
    if (timeout_ns == WEIR_WAIT_PRESET || timeout_ns > longest_ns) {
        timeout_ns = longest_ns;
    }
    uint64_t deadline_ns = clock_add_ns(loop_now_ns(table->loop), timeout_ns);
    bool is_set = deadline_ns == CLOCK_NEVER || timer_set(&slot->timer, deadline_ns) == 0;
    return is_set ? slot : NULL;
}

/* It is waited in from now on. */
static struct weir_token
arm(struct wait_slot *slot)
{
    slot->table->free = slot->next_free;
    slot->table->count++;
    slot->is_awaited = true;
    slot->how = WEIR_WOKEN;
    slot->is_ripe = false;
    slot->payload = NULL;
    slot->free_payload = NULL;
    uint64_t generation = generation_of(slot);
    atomic_store_explicit(&slot->state, generation << 1 | ARMED, memory_order_release);
    return (struct weir_token){ slot, generation };
}

enum weir_verdict
weir_suspend(struct weir_request *request, weir_resume_fn *resume, uint64_t timeout_ns,
        struct weir_token *token)
{
    struct wait_slot *slot = resume == NULL
            ? NULL
            : prepare(course_map_of(request)->waits, timeout_ns, request->timeouts->wait_ns);
    if (slot == NULL) {
        return WEIR_FAILED;
    }
    enum weir_verdict verdict = course_wait_for(request, &slot->wait, resume_slot);
    if (verdict != WEIR_PENDING) {
        timer_cancel(&slot->timer);
        return verdict;
    }
    slot->connection = NULL;
    slot->resume = resume;
    *token = arm(slot);
    return WEIR_PENDING;
}

enum weir_verdict
weir_connection_suspend(struct weir_connection *connection, weir_connection_resume_fn *resume,
        uint64_t timeout_ns, struct weir_token *token)
{
    struct wait_slot *slot = resume == NULL ? NULL
                                            : prepare(connection_waits(connection), timeout_ns,
                                                      connection_longest_ns(connection));
    if (slot == NULL) {
        return WEIR_FAILED;
    }
    slot->connection = connection;
    slot->resume_connection = resume;
    connection_hold(connection, slot);
    *token = arm(slot);
    return WEIR_PENDING;
}

bool
weir_resume(struct weir_token token, void *payload, void (*free_payload)(void *payload))
{
    struct wait_slot *slot = token.slot;
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
