/* SPDX-License-Identifier: MIT */
#include "server/crew_hearing.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "event/loop.h"
#include "observe/log.h"
#include "server/crew_replace.h"
#include "server/crew_slots.h"
#include "server/crew_worker.h"

/* How long a process that has closed its channel may take to end. */
#define MUTE_NS (10 * NS_PER_S)

static void
check_ready(struct crew *crew)
{
    if (crew->state == CREW_STARTING &&
            crew_count(crew, CREW_WORKER_READY) == crew->processes) {
        crew->state = CREW_READY;
        crew->master->on_ready(crew->master->context, crew);
    }
}

static struct crew_worker *
find_other(const struct crew_worker *than)
{
    struct crew_worker *worker = than->crew->workers;
    while (worker != NULL &&
            (worker == than || worker->index != than->index ||
                    worker->state != CREW_WORKER_SERVING)) {
        worker = worker->next;
    }
    return worker;
}

/* A worker of a crew that serves already is ready: it replaces one that died or is full. */
static void
join_in(struct crew_worker *worker)
{
    struct crew *crew = worker->crew;
    struct crew_worker *before = find_other(worker);
    worker->state = CREW_WORKER_SERVING;
    worker->serving_ns = loop_now_ns(crew->master->loop);
    if (before != NULL) {
        crew_worker_drain(before, false);
    }
    if (crew->has_notice) {
        crew_worker_send(worker, CHANNEL_NOTICE, NULL, 0, NULL, 0);
    }
    crew_assign(crew);
    log_info("worker %u (generation %u) serves as process %d", worker->index, crew->number,
            (int)worker->pid);
}

/* Never two at once: the others wait for their turn, they ask again. */
static void
recycle(struct crew_worker *worker, const struct channel_message *message)
{
    struct channel_recycle body;
    if (message->bytes != sizeof(body)) {
        return;
    }
    memcpy(&body, message->body, sizeof(body));
    struct crew *crew = worker->crew;
    bool is_busy = !crew_is_accepting(crew);
    for (const struct crew_worker *other = crew->workers; other != NULL; other = other->next) {
        is_busy |= other->is_replaced || other->state == CREW_WORKER_STARTING;
    }
    if (!is_busy && worker->state == CREW_WORKER_SERVING) {
        log_info("worker %u (generation %u, process %d) %s: it is replaced", worker->index,
                crew->number, (int)worker->pid,
                body.is_told ? "was told to end by a signal"
                             : "has served workers.max_requests");
        worker->is_replaced = true;
        crew_start_missing(crew);
    }
}

/* What it says cannot be understood: another is better off in its place. */
static void
break_off(struct crew_worker *worker, const char *why)
{
    if (!worker->is_reaped && !worker->was_killed) {
        log_error("worker %u (generation %u, process %d): %s: killed", worker->index,
                worker->crew->number, (int)worker->pid, why);
        kill(worker->pid, SIGKILL);
    }
}

static void
check_open(struct crew *crew)
{
    if (crew->state == CREW_OPENING && crew_is_open(crew)) {
        crew->state = CREW_SERVING;
        crew_start_missing(crew);
        crew->master->on_serving(crew->master->context, crew);
    }
}

/* The crew serves once all of its slots have somebody who accepts. */
static void
take_accepting(struct crew_worker *worker, const struct channel_message *message)
{
    struct channel_slot body;
    if (message->bytes != sizeof(body)) {
        return;
    }
    memcpy(&body, message->body, sizeof(body));
    crew_slot_opened(worker, body.slot);
    check_open(worker->crew);
}

/* A generation whose workers cannot accept from all sockets does not serve. */
static void
take_declined(struct crew_worker *worker, const struct channel_message *message)
{
    struct channel_slot body;
    if (message->bytes != sizeof(body)) {
        return;
    }
    memcpy(&body, message->body, sizeof(body));
    if (worker->crew->state == CREW_OPENING ||
            body.slot / worker->crew->loops == worker->index) {
        break_off(worker, "cannot accept from all sockets (its log says why)");
    } else {
        crew_slot_declined(worker, body.slot);
    }
}

static void
take_ready(struct crew_worker *worker)
{
    struct crew *crew = worker->crew;
    if (worker->state != CREW_WORKER_STARTING) {
        return;
    }
    worker->state = CREW_WORKER_READY;
    crew_worker_limit(worker, CLOCK_NEVER);
    if (buf_str(&crew->report).len == 0) {
        crew_take_report(worker);
    }
    if (crew_is_accepting(crew)) {
        join_in(worker);
    } else {
        check_ready(crew);
    }
}

void
crew_on_message(void *context, const struct channel_message *message)
{
    struct crew_worker *worker = context;
    switch (message->type) {
    case CHANNEL_REPORT:
        if (worker->state == CREW_WORKER_STARTING) {
            int r = buf_append(&worker->report, weir_str_make(message->body, message->bytes));
            (void)r; /* a report that does not fit is cut */
        }
        return;
    case CHANNEL_READY:
        if (!worker->is_reaped) {
            take_ready(worker);
        }
        return;
    case CHANNEL_ACCEPTING:
        if (!worker->is_reaped) {
            take_accepting(worker, message);
        }
        return;
    case CHANNEL_DECLINED:
        if (!worker->is_reaped) {
            take_declined(worker, message);
        }
        return;
    case CHANNEL_FIGURES:
        if (message->bytes == sizeof(worker->figures)) {
            memcpy(&worker->figures, message->body, sizeof(worker->figures));
        }
        return;
    case CHANNEL_RECYCLE:
        if (!worker->is_reaped) {
            recycle(worker, message);
        }
        return;
    case CHANNEL_NONE:
    case CHANNEL_HELLO:
    case CHANNEL_LOG:
    case CHANNEL_FLIGHT:
    case CHANNEL_METRICS:
    case CHANNEL_ZONE:
    case CHANNEL_SOURCES:
    case CHANNEL_FILE:
    case CHANNEL_LISTENERS:
    case CHANNEL_START:
    case CHANNEL_ACCEPT:
    case CHANNEL_RELEASE:
    case CHANNEL_NOTICE:
    case CHANNEL_DRAIN:
    case CHANNEL_STOP:
    case CHANNEL_TYPE_COUNT:
        break_off(worker, "sent a message that is not its to send");
        return;
    }
}

/* As a rule its end follows at once. */
void
crew_on_channel_closed(void *context, int error)
{
    struct crew_worker *worker = context;
    if (error != -EPIPE) {
        break_off(worker, error == -EPROTO ? "sent what is no message" : strerror(-error));
    } else if (worker->state != CREW_WORKER_DRAINING) {
        worker->is_mute = true;
        crew_worker_limit(worker, MUTE_NS);
    }
}
