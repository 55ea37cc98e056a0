/* SPDX-License-Identifier: MIT */
#include "server/crew.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "event/loop.h"
#include "observe/log.h"
#include "server/crew_replace.h"
#include "server/crew_slots.h"
#include "server/crew_worker.h"
#include "server/exit.h"

#define REPORT_MAX_BYTES (1u << 20)

#define PROCESSES_MAX 1024u

/* How often loops are looked at, at the least; a stall takes several looks. */
#define WATCH_MAX_NS NS_PER_S

/* Its place was made at birth, so it cannot fail. */
static void
set_timer(struct timer *timer, uint64_t deadline_ns)
{
    int r = timer_set(timer, deadline_ns);
    WEIR_ASSERT(r == 0);
}

/* There was nobody left whose end would have said so. */
static void
on_empty_timer(struct timer *timer)
{
    struct crew *crew = (struct crew *)((char *)timer - offsetof(struct crew, empty_timer));
    set_timer(timer, CLOCK_NEVER);
    crew_tell_empty(crew);
}

static void
tell_when_empty(struct crew *crew)
{
    if (crew->workers == NULL) {
        set_timer(&crew->empty_timer, loop_now_ns(crew->master->loop));
    }
}

/* ---- watching them ----------------------------------------------------------------------- */

static void
watch_later(struct crew *crew)
{
    uint64_t limit_ns = crew->plan->workers.stall_timeout_ns;
    uint64_t every_ns = limit_ns / 4 < WATCH_MAX_NS ? limit_ns / 4 : WATCH_MAX_NS;
    uint64_t at_ns = clock_add_ns(loop_now_ns(crew->master->loop), every_ns);
    set_timer(&crew->watch_timer, limit_ns == CLOCK_NEVER ? CLOCK_NEVER : at_ns);
}

static void
on_watch_timer(struct timer *timer)
{
    struct crew *crew = (struct crew *)((char *)timer - offsetof(struct crew, watch_timer));
    uint64_t now_ns = loop_now_ns(crew->master->loop);
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        crew_worker_watch(worker, now_ns, crew->plan->workers.stall_timeout_ns);
    }
    watch_later(crew);
}

/* ---- life -------------------------------------------------------------------------------- */

static unsigned
count_cores(void)
{
    cpu_set_t cores;
    int count = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 1;
    return count < 1 ? 1 : (unsigned)count;
}

int
crew_new(const struct crew_master *master, struct plan *plan, unsigned number,
        struct crew **out)
{
    struct crew *crew = calloc(1, sizeof(*crew));
    if (crew == NULL) {
        plan_free(plan);
        log_error("out of memory");
        return EXIT_SYSTEM;
    }
    crew->master = master;
    crew->plan = plan;
    crew->number = number;
    crew->log_fd = master->log_fd;
    crew->processes = plan->workers.processes > 0 ? (unsigned)plan->workers.processes
                                                  : count_cores();
    crew->loops = (unsigned)plan->workers.loops;
    buf_init(&crew->report, REPORT_MAX_BYTES);
    timer_init(&crew->restart_timer, master->loop, crew_on_restart_timer);
    timer_init(&crew->assign_timer, master->loop, crew_on_assign_timer);
    timer_init(&crew->empty_timer, master->loop, on_empty_timer);
    timer_init(&crew->watch_timer, master->loop, on_watch_timer);
    size_t addresses = plan->listeners_count == 0 ? 1 : plan->listeners_count;
    crew->listening = calloc(addresses, sizeof(struct listening *));
    crew->sent = calloc(addresses, sizeof(unsigned));
    int code = EXIT_SYSTEM;
    if (crew->listening == NULL || crew->sent == NULL ||
            timer_set(&crew->restart_timer, CLOCK_NEVER) < 0 ||
            timer_set(&crew->assign_timer, CLOCK_NEVER) < 0 ||
            timer_set(&crew->empty_timer, CLOCK_NEVER) < 0 ||
            timer_set(&crew->watch_timer, CLOCK_NEVER) < 0) {
        log_error("out of memory");
        goto fail;
    }
    code = sockets_open(master->sockets, plan, crew->processes * crew->loops, crew->listening);
    if (code != EXIT_OK) {
        goto fail;
    }
    crew->has_sockets = true;
    if (!crew_take_new_sockets(crew)) {
        code = EXIT_SYSTEM;
        goto fail;
    }
    for (unsigned i = 0; i < crew->processes; i++) {
        code = crew_worker_start(crew, i);
        if (code != EXIT_OK) {
            if (crew->workers == NULL) {
                goto fail;
            }
            crew->exit_code = code;
            crew->state = CREW_FAILED; /* on_failed() when those that run have ended */
            crew_kill_all(crew, SIGKILL);
            break;
        }
    }
    *out = crew;
    return EXIT_OK;

fail:
    crew_free(crew);
    return code;
}

static void
give_up_sockets(struct crew *crew)
{
    for (size_t i = 0; crew->has_sockets && i < crew->plan->listeners_count; i++) {
        sockets_unref(crew->master->sockets, crew->listening[i]);
    }
    crew->has_sockets = false;
}

void
crew_free(struct crew *crew)
{
    if (crew == NULL) {
        return;
    }
    while (crew->workers != NULL) {
        struct crew_worker *worker = crew->workers;
        crew->workers = worker->next;
        crew_worker_free(worker);
    }
    timer_cancel(&crew->restart_timer);
    timer_cancel(&crew->assign_timer);
    timer_cancel(&crew->empty_timer);
    timer_cancel(&crew->watch_timer);
    give_up_sockets(crew);
    buf_fini(&crew->report);
    free(crew->listening);
    free(crew->sent);
    free(crew->slots);
    plan_free(crew->plan);
    free(crew);
}

/* ---- what the master asks ---------------------------------------------------------------- */

bool
crew_is_accepting(const struct crew *crew)
{
    return crew->state == CREW_OPENING || crew->state == CREW_SERVING;
}

unsigned
crew_count(const struct crew *crew, enum crew_worker_state state)
{
    unsigned count = 0;
    for (const struct crew_worker *worker = crew->workers; worker != NULL;
            worker = worker->next) {
        count += worker->state == state;
    }
    return count;
}

void
crew_go(struct crew *crew)
{
    WEIR_ASSERT(crew->state == CREW_READY);
    crew->state = CREW_OPENING;
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        worker->state = CREW_WORKER_SERVING;
        worker->serving_ns = loop_now_ns(crew->master->loop);
    }
    (void)crew_take_new_sockets(crew); /* TTIN may have opened some since it began */
    crew_assign(crew);
    watch_later(crew);
}

void
crew_drain(struct crew *crew, bool is_stop)
{
    crew->state = CREW_DRAINING;
    set_timer(&crew->restart_timer, CLOCK_NEVER);
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        if (worker->state == CREW_WORKER_STARTING) {
            crew_worker_end_unneeded(worker);
        } else if (worker->state != CREW_WORKER_DRAINING || is_stop) {
            crew_worker_drain(worker, is_stop);
        }
    }
    memset(crew->slots, 0, crew->slot_count * sizeof(*crew->slots));
    give_up_sockets(crew);
    tell_when_empty(crew);
}

void
crew_give_notice(struct crew *crew)
{
    crew->has_notice = true;
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        if (worker->state != CREW_WORKER_STARTING) {
            crew_worker_send(worker, CHANNEL_NOTICE, NULL, 0, NULL, 0);
        }
    }
}

void
crew_stop(struct crew *crew, bool must_kill)
{
    if (crew->state == CREW_STARTING || crew->state == CREW_READY) {
        crew->state = CREW_FAILED;
    } else if (crew_is_accepting(crew)) {
        crew->state = CREW_DRAINING;
    }
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        if (must_kill || worker->state == CREW_WORKER_STARTING) {
            crew_worker_end_unneeded(worker);
        } else {
            crew_worker_stop(worker);
        }
    }
    tell_when_empty(crew);
}

bool
crew_grow(struct crew *crew)
{
    if (crew->state != CREW_SERVING || crew->processes >= PROCESSES_MAX) {
        return false;
    }
    crew->processes++;
    for (size_t i = 0; i < crew->plan->listeners_count; i++) {
        if (sockets_grow(crew->listening[i], crew->plan->listeners[i].backlog,
                    crew->processes * crew->loops) != EXIT_OK) {
            crew->processes--;
            crew_refresh(crew); /* what was opened is in the port's group already */
            return false;
        }
    }
    crew_refresh(crew);
    crew_start_missing(crew);
    return true;
}

bool
crew_shrink(struct crew *crew)
{
    if (crew->state != CREW_SERVING || crew->processes <= 1) {
        return false;
    }
    crew->processes--;
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        if (worker->index < crew->processes || worker->state == CREW_WORKER_DRAINING) {
            continue;
        }
        if (worker->state == CREW_WORKER_STARTING) {
            crew_worker_end_unneeded(worker);
        } else {
            crew_worker_drain(worker, false);
        }
        worker->is_leaving = true;
    }
    crew_assign(crew);
    return true;
}

void
crew_reopen(struct crew *crew)
{
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        crew_worker_send_logs(worker);
    }
}
