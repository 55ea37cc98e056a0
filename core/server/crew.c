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

/* How long after its deadline a worker that should have ended is killed. */
#define KILL_AFTER_NS (3 * NS_PER_S)

/* How often loops are looked at, at the least; a stall takes several looks. */
#define WATCH_MAX_NS NS_PER_S

/* ---- ending workers ---------------------------------------------------------------------- */

static void
on_kill_timer(struct timer *timer)
{
    struct crew *crew = (struct crew *)((char *)timer - offsetof(struct crew, kill_timer));
    int r = timer_set(timer, CLOCK_NEVER);
    WEIR_ASSERT(r == 0);
    if (crew->workers == NULL) { /* there was nobody left whose end would have said so */
        crew_tell_empty(crew);
        return;
    }
    for (const struct crew_worker *worker = crew->workers; worker != NULL;
            worker = worker->next) {
        log_error("worker %u (generation %u, process %d) does not end: killed", worker->index,
                crew->number, (int)worker->pid);
    }
    crew_kill_all(crew, SIGKILL);
}

static void
kill_after(struct crew *crew, uint64_t ns)
{
    uint64_t at_ns = loop_now_ns(crew->master->loop); /* at once where nobody is left */
    if (crew->workers != NULL) {
        at_ns = clock_add_ns(clock_add_ns(at_ns, ns), KILL_AFTER_NS);
    }
    int r = timer_set(&crew->kill_timer, at_ns);
    WEIR_ASSERT(r == 0);
}

/* ---- watching them ----------------------------------------------------------------------- */

static void
watch_later(struct crew *crew)
{
    uint64_t limit_ns = crew->plan->workers.stall_timeout_ns;
    uint64_t every_ns = limit_ns / 4 < WATCH_MAX_NS ? limit_ns / 4 : WATCH_MAX_NS;
    uint64_t at_ns = clock_add_ns(loop_now_ns(crew->master->loop), every_ns);
    int r = timer_set(&crew->watch_timer, limit_ns == CLOCK_NEVER ? CLOCK_NEVER : at_ns);
    WEIR_ASSERT(r == 0);
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
    crew->processes = plan->workers.processes > 0 ? (unsigned)plan->workers.processes
                                                  : count_cores();
    crew->loops = (unsigned)plan->workers.loops;
    buf_init(&crew->report, REPORT_MAX_BYTES);
    timer_init(&crew->restart_timer, master->loop, crew_on_restart_timer);
    timer_init(&crew->kill_timer, master->loop, on_kill_timer);
    timer_init(&crew->watch_timer, master->loop, on_watch_timer);
    size_t addresses = plan->listeners_count == 0 ? 1 : plan->listeners_count;
    crew->listening = calloc(addresses, sizeof(struct listening *));
    crew->sent = calloc(addresses, sizeof(unsigned));
    int code = EXIT_SYSTEM;
    if (crew->listening == NULL || crew->sent == NULL ||
            timer_set(&crew->restart_timer, CLOCK_NEVER) < 0 ||
            timer_set(&crew->kill_timer, CLOCK_NEVER) < 0 ||
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
    timer_cancel(&crew->kill_timer);
    timer_cancel(&crew->watch_timer);
    give_up_sockets(crew);
    buf_fini(&crew->report);
    free(crew->listening);
    free(crew->sent);
    free(crew->owners);
    plan_free(crew->plan);
    free(crew);
}

/* ---- what the master asks ---------------------------------------------------------------- */

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
    crew->state = CREW_SERVING;
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        worker->state = CREW_WORKER_SERVING;
        worker->serving_ns = loop_now_ns(crew->master->loop);
    }
    (void)crew_take_new_sockets(crew); /* TTIN may have opened some since it began */
    crew->unopened = crew->owner_count;
    crew_assign(crew);
    watch_later(crew);
}

void
crew_drain(struct crew *crew, bool is_stop)
{
    crew->unopened = 0; /* it is not to serve any more */
    crew->state = CREW_DRAINING;
    int r = timer_set(&crew->restart_timer, CLOCK_NEVER);
    WEIR_ASSERT(r == 0);
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        if (worker->state == CREW_WORKER_STARTING) {
            crew_worker_end_unneeded(worker);
        } else if (worker->state != CREW_WORKER_DRAINING || is_stop) {
            crew_worker_drain(worker, is_stop);
        }
    }
    for (unsigned i = 0; i < crew->owner_count; i++) {
        crew->owners[i] = NULL;
    }
    give_up_sockets(crew);
    kill_after(crew, crew->plan->workers.drain_timeout_ns);
}

void
crew_stop(struct crew *crew, bool must_kill)
{
    crew->unopened = 0; /* it is not to serve any more */
    if (crew->state == CREW_STARTING || crew->state == CREW_READY) {
        crew->state = CREW_FAILED;
    } else if (crew->state == CREW_SERVING) {
        crew->state = CREW_DRAINING;
    }
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        if (must_kill || worker->state == CREW_WORKER_STARTING) {
            crew_worker_end_unneeded(worker);
        } else {
            worker->state = CREW_WORKER_DRAINING;
            crew_worker_send(worker, CHANNEL_STOP, NULL, 0, NULL, 0);
        }
    }
    kill_after(crew, 0);
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
