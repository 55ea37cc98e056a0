/* SPDX-License-Identifier: MIT */
#include "server/crew_replace.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/assert.h"
#include "event/loop.h"
#include "observe/log.h"
#include "server/crew_slots.h"
#include "server/crew_worker.h"
#include "server/exit.h"

/* A worker that dies sooner has died quickly; so many in a row are a loop. */
#define QUICK_NS         NS_PER_S
#define QUICK_DEATHS_MAX 10u

#define RESTART_FIRST_NS (100 * NS_PER_MS)
#define RESTART_LOOP_NS  NS_PER_S /* at the most, until it is a loop */
#define RESTART_MAX_NS   (30 * NS_PER_S)

/* ---- starting what is missing ------------------------------------------------------------ */

/* Somebody serves in that place, or will, and is not to be replaced. */
static bool
has_worker(const struct crew *crew, unsigned index)
{
    for (const struct crew_worker *worker = crew->workers; worker != NULL;
            worker = worker->next) {
        if (worker->index == index && worker->state != CREW_WORKER_DRAINING &&
                !worker->is_replaced) {
            return true;
        }
    }
    return false;
}

static uint64_t
restart_delay_ns(unsigned quick_deaths)
{
    if (quick_deaths == 0) {
        return 0;
    }
    bool is_loop = quick_deaths > QUICK_DEATHS_MAX;
    unsigned steps = is_loop ? quick_deaths - QUICK_DEATHS_MAX : quick_deaths - 1;
    uint64_t first_ns = is_loop ? RESTART_LOOP_NS : RESTART_FIRST_NS;
    uint64_t max_ns = is_loop ? RESTART_MAX_NS : RESTART_LOOP_NS;
    uint64_t delay_ns = first_ns << (steps < 10 ? steps : 10);
    return delay_ns < max_ns ? delay_ns : max_ns;
}

void
crew_start_later(struct crew *crew)
{
    uint64_t delay_ns = restart_delay_ns(crew->quick_deaths);
    if (delay_ns > 0) {
        log_warn("generation %u: workers die soon after their start; the next one in %llu ms",
                crew->number, (unsigned long long)(delay_ns / NS_PER_MS));
    }
    uint64_t at_ns = clock_add_ns(loop_now_ns(crew->master->loop), delay_ns);
    int r = timer_set(&crew->restart_timer, at_ns);
    WEIR_ASSERT(r == 0); /* its place was made at birth */
}

void
crew_start_missing(struct crew *crew)
{
    for (unsigned i = 0; crew->state == CREW_SERVING && i < crew->processes; i++) {
        if (!has_worker(crew, i) && crew_worker_start(crew, i) != EXIT_OK) {
            crew->quick_deaths++;
            crew_start_later(crew);
            return;
        }
    }
}

void
crew_on_restart_timer(struct timer *timer)
{
    struct crew *crew = (struct crew *)((char *)timer - offsetof(struct crew, restart_timer));
    int r = timer_set(timer, CLOCK_NEVER);
    WEIR_ASSERT(r == 0);
    crew_start_missing(crew);
}

/* ---- ends of crews ----------------------------------------------------------------------- */

void
crew_kill_all(const struct crew *crew, int signo)
{
    for (const struct crew_worker *worker = crew->workers; worker != NULL;
            worker = worker->next) {
        kill(worker->pid, signo);
    }
}

/* A crew that serves no more has no worker left. May free it. */
void
crew_tell_empty(struct crew *crew)
{
    if (crew->state == CREW_FAILED) {
        crew->master->on_failed(crew->master->context, crew, crew->exit_code);
    } else {
        crew->master->on_empty(crew->master->context, crew);
    }
}

/* ---- ends of workers --------------------------------------------------------------------- */

/* It was told to end. */
static void
on_end(const struct crew_worker *worker, int status)
{
    bool is_well = worker->was_killed || (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK);
    if (!is_well) {
        char text[CREW_END_BYTES];
        log_error("worker %u (generation %u, process %d) %s while it was stopping",
                worker->index, worker->crew->number, (int)worker->pid,
                crew_worker_describe_end(worker, status, text, sizeof(text)));
    }
}

/* What kept a replacement from starting, in short: nobody waits for its report. */
static void
log_report(const struct crew_worker *worker)
{
    struct weir_str report = buf_str(&worker->report);
    const char *end = report.len == 0 ? NULL : memchr(report.ptr, '\n', report.len);
    if (worker->state == CREW_WORKER_STARTING && end != NULL) {
        log_error("worker %u (generation %u, process %d): %.*s", worker->index,
                worker->crew->number, (int)worker->pid, (int)(end - report.ptr), report.ptr);
    }
}

/* True when the server is to end. */
static bool
tell_death(const struct crew *crew, const struct crew_worker *worker, int status)
{
    struct flight_place place;
    bool is_culprit = crew_worker_find_culprit(worker, status, &place);
    return crew->master->on_death != NULL &&
            crew->master->on_death(crew->master->context, crew, is_culprit ? place.module : "");
}

static void
on_death_while_serving(struct crew *crew, const struct crew_worker *worker, int status)
{
    if (worker->state == CREW_WORKER_DRAINING || worker->is_leaving) {
        on_end(worker, status);
        return;
    }
    char text[CREW_END_BYTES];
    log_report(worker);
    uint64_t now_ns = loop_now_ns(crew->master->loop);
    bool was_quick = worker->state == CREW_WORKER_STARTING ||
            now_ns - worker->serving_ns < QUICK_NS;
    /* With whatever status: one that is to end has been told to. */
    bool is_fatal = tell_death(crew, worker, status);
    log_error("worker %u (generation %u, process %d) %s: %s", worker->index, crew->number,
            (int)worker->pid, crew_worker_describe_end(worker, status, text, sizeof(text)),
            is_fatal ? "the server ends, as the module's on_crash says" : "it is replaced");
    if (is_fatal) {
        crew->master->on_fatal(crew->master->context);
        return;
    }
    crew->quick_deaths = was_quick ? crew->quick_deaths + 1 : 0;
    crew->restarts++;
    /* As long as others serve, one that cannot be replaced is no reason to end them. */
    if (crew->quick_deaths >= QUICK_DEATHS_MAX && crew->number == 1 &&
            crew_count(crew, CREW_WORKER_SERVING) == 0) {
        crew->exit_code = EXIT_RUNTIME;
        log_error("workers die as soon as they serve, and there is no earlier generation to "
                  "return to: giving up");
        crew_stop(crew, true);
        return;
    }
    crew_start_later(crew);
}

static void
on_death_while_starting(struct crew *crew, struct crew_worker *worker, int status)
{
    if (crew->state == CREW_FAILED) {
        return;
    }
    bool has_code = WIFEXITED(status) && WEXITSTATUS(status) != EXIT_OK;
    crew->exit_code = has_code ? WEXITSTATUS(status) : EXIT_RUNTIME;
    crew_take_report(worker);
    char text[CREW_END_BYTES];
    crew_worker_describe_end(worker, status, text, sizeof(text));
    snprintf(crew->failure, sizeof(crew->failure),
            "worker %u (generation %u) %s%s before it %s%s", worker->index, crew->number,
            worker->is_overdue ? "took longer than workers.start_timeout: it was ended, " : "",
            text, crew->state == CREW_OPENING ? "served" : "was ready",
            has_code && buf_str(&worker->report).len == 0 ? "; the server's log says why" : "");
    if (!has_code) { /* else it has said why */
        log_error("%s", crew->failure);
    }
    crew->state = CREW_FAILED;
    crew_kill_all(crew, SIGKILL);
}

bool
crew_reap(struct crew *crew, pid_t pid, int status)
{
    struct crew_worker **link = &crew->workers;
    while (*link != NULL && (*link)->pid != pid) {
        link = &(*link)->next;
    }
    struct crew_worker *worker = *link;
    if (worker == NULL) {
        return false;
    }
    /* What it said last may still stand in its channel. */
    worker->is_reaped = true;
    channel_take_rest(worker->channel);
    crew_worker_tell_stall(worker);
    *link = worker->next;
    crew_forget_owner(worker);
    for (struct crew_worker *other = crew->workers; other != NULL; other = other->next) {
        other->is_replaced &= other->index != worker->index; /* its replacement failed */
    }
    switch (crew->state) {
    case CREW_STARTING:
    case CREW_READY:
    case CREW_FAILED:
        on_death_while_starting(crew, worker, status);
        break;
    case CREW_OPENING:
        if (crew_count(crew, CREW_WORKER_SERVING) == 0) { /* it has proved nothing yet */
            on_death_while_starting(crew, worker, status);
            break;
        }
        on_death_while_serving(crew, worker, status);
        break;
    case CREW_SERVING:
        on_death_while_serving(crew, worker, status);
        break;
    case CREW_DRAINING:
        on_end(worker, status);
        break;
    }
    crew_worker_free(worker);
    if (crew_is_accepting(crew)) {
        crew_assign(crew);
    } else if (crew->workers == NULL) {
        crew_tell_empty(crew);
    }
    return true;
}
