/* SPDX-License-Identifier: MIT */
#include "server/crew_slots.h"

#include <stdlib.h>
#include <string.h>

#include "observe/log.h"
#include "server/crew_worker.h"

static struct crew_worker *
find_serving(const struct crew *crew, unsigned index)
{
    struct crew_worker *worker = crew->workers;
    while (worker != NULL && (worker->index != index || worker->state != CREW_WORKER_SERVING)) {
        worker = worker->next;
    }
    return worker;
}

static struct crew_worker *
nth_serving(const struct crew *crew, unsigned n)
{
    struct crew_worker *worker = crew->workers;
    for (;; worker = worker->next) {
        if (worker->state == CREW_WORKER_SERVING && n-- == 0) {
            return worker;
        }
    }
}

/* Every slot has somebody who accepts from it, for as long as anybody serves: its own worker
 * or, where that is not there, one of the others in turn. */
void
crew_assign(struct crew *crew)
{
    if (crew->is_paused) {
        return;
    }
    unsigned serving = crew_count(crew, CREW_WORKER_SERVING);
    for (unsigned slot = 0; slot < crew->owner_count; slot++) {
        struct crew_worker *worker = find_serving(crew, slot / crew->loops);
        if (worker == NULL && serving > 0) {
            worker = nth_serving(crew, slot % serving);
        }
        struct crew_worker *before = crew->owners[slot];
        if (before == worker) {
            continue;
        }
        const struct channel_slot body = { .slot = slot };
        crew->owners[slot] = worker;
        if (worker != NULL) {
            crew_worker_send(worker, CHANNEL_ACCEPT, &body, sizeof(body), NULL, 0);
        }
        if (before != NULL && before->state == CREW_WORKER_SERVING) {
            crew_worker_send(before, CHANNEL_RELEASE, &body, sizeof(body), NULL, 0);
        }
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
    if (slots > crew->owner_count) {
        struct crew_worker **owners = realloc(crew->owners, slots * sizeof(*owners));
        if (owners == NULL) {
            log_error("out of memory");
            return false;
        }
        memset(owners + crew->owner_count, 0, (slots - crew->owner_count) * sizeof(*owners));
        crew->owners = owners;
        crew->owner_count = slots;
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
    if (crew->has_sockets && crew_take_new_sockets(crew) && crew->state == CREW_SERVING) {
        crew_assign(crew);
    }
}

void
crew_pause(struct crew *crew)
{
    crew->is_paused = true;
    for (unsigned slot = 0; slot < crew->owner_count; slot++) {
        const struct channel_slot body = { .slot = slot };
        if (crew->owners[slot] != NULL) {
            crew_worker_send(crew->owners[slot], CHANNEL_RELEASE, &body, sizeof(body), NULL, 0);
            crew->owners[slot] = NULL;
        }
    }
}
