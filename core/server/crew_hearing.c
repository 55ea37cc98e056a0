/* SPDX-License-Identifier: MIT */
#include "server/crew_hearing.h"

#include <signal.h>
#include <string.h>

#include "event/loop.h"
#include "observe/log.h"
#include "server/crew_replace.h"
#include "server/crew_slots.h"
#include "server/crew_worker.h"

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
    crew_assign(crew);
    log_info("worker %u (generation %u) serves as process %d", worker->index, crew->number,
            (int)worker->pid);
}

/* Never two at once: the others wait for their turn, they ask again. */
static void
recycle(struct crew_worker *worker)
{
    struct crew *crew = worker->crew;
    bool is_busy = crew->state != CREW_SERVING;
    for (const struct crew_worker *other = crew->workers; other != NULL; other = other->next) {
        is_busy |= other->is_replaced || other->state == CREW_WORKER_STARTING;
    }
    if (!is_busy && worker->state == CREW_WORKER_SERVING) {
        log_info("worker %u (generation %u) has served workers.max_requests: it is replaced",
                worker->index, crew->number);
        worker->is_replaced = true;
        crew_start_missing(crew);
    }
}

/* The crew serves once all of its slots have somebody who accepts. */
static void
take_accepting(struct crew *crew)
{
    if (crew->unopened > 0 && --crew->unopened == 0) {
        crew->master->on_serving(crew->master->context, crew);
    }
}

void
crew_on_message(void *context, const struct channel_message *message)
{
    struct crew_worker *worker = context;
    struct crew *crew = worker->crew;
    switch (message->type) {
    case CHANNEL_REPORT:
        if (worker->state == CREW_WORKER_STARTING) {
            int r = buf_append(&crew->report, weir_str_make(message->body, message->bytes));
            (void)r; /* a report that does not fit is cut */
        }
        return;
    case CHANNEL_READY:
        if (worker->state != CREW_WORKER_STARTING) {
            return;
        }
        worker->state = CREW_WORKER_READY;
        if (crew->state == CREW_SERVING) {
            join_in(worker);
        } else {
            check_ready(crew);
        }
        return;
    case CHANNEL_ACCEPTING:
        take_accepting(crew);
        return;
    case CHANNEL_FIGURES:
        if (message->bytes == sizeof(worker->figures)) {
            memcpy(&worker->figures, message->body, sizeof(worker->figures));
        }
        return;
    case CHANNEL_RECYCLE:
        recycle(worker);
        return;
    case CHANNEL_NONE:
    case CHANNEL_HELLO:
    case CHANNEL_LOG:
    case CHANNEL_FLIGHT:
    case CHANNEL_METRICS:
    case CHANNEL_SOURCES:
    case CHANNEL_FILE:
    case CHANNEL_LISTENERS:
    case CHANNEL_START:
    case CHANNEL_ACCEPT:
    case CHANNEL_RELEASE:
    case CHANNEL_DRAIN:
    case CHANNEL_STOP:
    case CHANNEL_TYPE_COUNT:
        log_error("worker %u (generation %u) sent a message that is not its to send: killed",
                worker->index, crew->number);
        kill(worker->pid, SIGKILL);
        return;
    }
}

/* Its end follows. */
void
crew_on_channel_closed(void *context)
{
    (void)context;
}
