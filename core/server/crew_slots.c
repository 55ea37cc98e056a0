/* SPDX-License-Identifier: MIT */
#include "server/crew_slots.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "event/loop.h"
#include "observe/log.h"
#include "server/crew_worker.h"

/* How long one that had no descriptors for a slot is not asked again. */
#define FULL_NS NS_PER_S

static struct crew_worker *
find_serving(const struct crew *crew, unsigned index)
{
    struct crew_worker *worker = crew->workers;
    while (worker != NULL && (worker->index != index || worker->state != CREW_WORKER_SERVING)) {
        worker = worker->next;
    }
    return worker;
}

static bool
can_adopt(const struct crew_worker *worker)
{
    return worker->state == CREW_WORKER_SERVING &&
            worker->full_until_ns <= loop_now_ns(worker->crew->master->loop);
}

/* Who accepts from a slot in the place of its own worker: who does already, or one of those who
 * can, in turn; NULL: nobody can now. */
static struct crew_worker *
find_adopter(const struct crew *crew, unsigned slot)
{
    struct crew_worker *before = crew->slots[slot].owner;
    if (before != NULL && before->state == CREW_WORKER_SERVING) {
        return before;
    }
    unsigned count = 0;
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        count += can_adopt(worker);
    }
    unsigned nth = count == 0 ? 0 : slot % count;
    struct crew_worker *worker = count == 0 ? NULL : crew->workers;
    while (worker != NULL && (!can_adopt(worker) || nth-- > 0)) {
        worker = worker->next;
    }
    return worker;
}

bool
crew_is_open(const struct crew *crew)
{
    bool is = true;
    for (unsigned slot = 0; slot < crew->slot_count; slot++) {
        is &= crew->slots[slot].owner != NULL && crew->slots[slot].is_open;
    }
    return is;
}

/* The worker has said of all its slots that it accepts from them. */
static bool
has_opened_all(const struct crew_worker *worker)
{
    bool has = true;
    const struct crew *crew = worker->crew;
    for (unsigned slot = 0; slot < crew->slot_count; slot++) {
        has &= crew->slots[slot].owner != worker || crew->slots[slot].is_open;
    }
    return has;
}

void
crew_slot_opened(struct crew_worker *worker, uint32_t slot)
{
    struct crew *crew = worker->crew;
    if (slot < crew->slot_count && crew->slots[slot].owner == worker) {
        crew->slots[slot].is_open = true;
    }
    if (worker->state == CREW_WORKER_SERVING && has_opened_all(worker)) {
        crew_worker_limit(worker, CLOCK_NEVER);
    }
}

void
crew_slot_declined(struct crew_worker *worker, uint32_t slot)
{
    struct crew *crew = worker->crew;
    if (slot >= crew->slot_count || crew->slots[slot].owner != worker) {
        return;
    }
    worker->full_until_ns = clock_add_ns(loop_now_ns(crew->master->loop), FULL_NS);
    crew->slots[slot] = (struct crew_slot){ .owner = NULL };
    crew_assign(crew);
    if (has_opened_all(worker)) {
        crew_worker_limit(worker, CLOCK_NEVER);
    }
}

void
crew_on_assign_timer(struct timer *timer)
{
    struct crew *crew = (struct crew *)((char *)timer - offsetof(struct crew, assign_timer));
    int r = timer_set(timer, CLOCK_NEVER);
    WEIR_ASSERT(r == 0);
    if (crew_is_accepting(crew)) {
        crew_assign(crew);
    }
}

void
crew_forget_owner(const struct crew_worker *worker)
{
    struct crew *crew = worker->crew;
    for (unsigned slot = 0; slot < crew->slot_count; slot++) {
        if (crew->slots[slot].owner == worker) {
            crew->slots[slot] = (struct crew_slot){ .owner = NULL };
        }
    }
}

static void
give(struct crew *crew, unsigned slot, struct crew_worker *worker)
{
    struct crew_worker *before = crew->slots[slot].owner;
    const struct channel_slot body = { .slot = slot };
    crew->slots[slot] = (struct crew_slot){ .owner = worker };
    if (worker != NULL) {
        if (!timer_is_set(&worker->limit) || worker->limit.deadline_ns == CLOCK_NEVER) {
            crew_worker_limit(worker, crew->plan->workers.start_timeout_ns);
        }
        crew_worker_send(worker, CHANNEL_ACCEPT, &body, sizeof(body), NULL, 0);
    }
    if (before != NULL && before->state == CREW_WORKER_SERVING) {
        crew_worker_send(before, CHANNEL_RELEASE, &body, sizeof(body), NULL, 0);
    }
}

/* Its own worker or, where that is not there, one of the others in turn. */
void
crew_assign(struct crew *crew)
{
    if (crew->is_paused) {
        return;
    }
    bool is_whole = true;
    for (unsigned slot = 0; slot < crew->slot_count; slot++) {
        struct crew_worker *worker = find_serving(crew, slot / crew->loops);
        worker = worker == NULL ? find_adopter(crew, slot) : worker;
        if (crew->slots[slot].owner != worker) {
            give(crew, slot, worker);
        }
        is_whole &= worker != NULL;
    }
    if (!is_whole && crew_count(crew, CREW_WORKER_SERVING) > 0) {
        int r = timer_set(&crew->assign_timer,
                clock_add_ns(loop_now_ns(crew->master->loop), FULL_NS));
        WEIR_ASSERT(r == 0); /* its place was made at birth */
    }
}

/* Sockets that were opened since reach those who serve, and the slots their owners. */
bool
crew_take_new_sockets(struct crew *crew)
{
    unsigned slots = crew->processes * crew->loops;
    for (size_t i = 0; i < crew->plan->listeners_count; i++) {
        const struct listening *listening = crew->listening[i];
        slots = !listening->is_shared && listening->count > slots ? listening->count : slots;
    }
    if (slots > crew->slot_count) {
        struct crew_slot *grown = realloc(crew->slots, slots * sizeof(*grown));
        if (grown == NULL) {
            log_error("out of memory");
            return false;
        }
        memset(grown + crew->slot_count, 0, (slots - crew->slot_count) * sizeof(*grown));
        crew->slots = grown;
        crew->slot_count = slots;
    }
    for (size_t i = 0; i < crew->plan->listeners_count; i++) {
        for (struct crew_worker *worker = crew->workers; worker != NULL;
                worker = worker->next) {
            crew_worker_send_sockets(worker, i, crew->sent[i]);
        }
        crew->sent[i] = crew->listening[i]->count;
    }
    return true;
}

void
crew_refresh(struct crew *crew)
{
    if (crew->has_sockets && crew_take_new_sockets(crew) && crew_is_accepting(crew)) {
        crew_assign(crew);
    }
}

void
crew_pause(struct crew *crew)
{
    crew->is_paused = true;
    for (unsigned slot = 0; slot < crew->slot_count; slot++) {
        if (crew->slots[slot].owner != NULL) {
            give(crew, slot, NULL);
        }
    }
}
