/* SPDX-License-Identifier: MIT */
/* Workers are forked and exec'd, so that each begins with a clean address space and the newest
 * library and modules. What they need comes over their channel, descriptors included; nothing
 * else of the master's is open in them. */
#include "server/crew_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/signal.h"
#include "module/life.h"
#include "observe/log.h"
#include "server/crew_figures.h"
#include "server/crew_hearing.h"
#include "server/environment.h"
#include "server/exit.h"
#include "server/hint.h"
#include "server/privileges.h"
#include "server/zones.h"

#define REPORT_MAX_BYTES (1u << 20)

/* How long after its deadline a worker that should have ended is killed. */
#define KILL_AFTER_NS (3 * NS_PER_S)

/* ---- words ------------------------------------------------------------------------------- */

/* As the public header names them. */
/* Signals that a process brings upon itself. */
static bool
is_fault(int signo)
{
    return signo == SIGSEGV || signo == SIGBUS || signo == SIGILL || signo == SIGFPE ||
            signo == SIGABRT || signo == SIGTRAP || signo == SIGSYS;
}

/* What ended a worker from outside found it wherever it was. */
bool
crew_worker_find_culprit(const struct crew_worker *worker, int status,
        struct flight_place *place)
{
    bool is_well = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK;
    *place = (struct flight_place){ .is_known = false };
    if (worker->flight == NULL || is_well) {
        return false;
    }
    flight_locate(worker->flight, life_hook_name, place);
    bool is_own = WIFEXITED(status) || is_fault(WTERMSIG(status));
    return place->text[0] != '\0' && (place->is_known || (is_own && place->at_work == 1));
}

/* How it ended, and in which module, where that is known. */
const char *
crew_worker_describe_end(const struct crew_worker *worker, int status, char *text, size_t bytes)
{
    struct flight_place place;
    char how[64], others[64] = "";
    bool is_culprit = crew_worker_find_culprit(worker, status, &place);
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(how, sizeof(how), "killed by SIG%s%s", name == NULL ? "?" : name,
                WCOREDUMP(status) ? ", core dumped," : "");
    } else {
        snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(status));
    }
    if (!is_culprit && place.at_work > 1) {
        snprintf(others, sizeof(others), " and %u other threads in modules", place.at_work - 1);
    }
    const char *in = place.text[0] == '\0' ? "" : is_culprit ? " in " : " while it was in ";
    snprintf(text, bytes, "%s%s%s%s", how, in, place.text, others);
    return text;
}

/* ---- sending ----------------------------------------------------------------------------- */

/* A worker that takes no messages is none: it is killed, and replaced when it has ended. */
void
crew_worker_send(struct crew_worker *worker, enum channel_type type, const void *body,
        size_t bytes, const int *descriptors, size_t count)
{
    int r = worker->channel == NULL
            ? 0
            : channel_send(worker->channel, type, body, bytes, descriptors, count);
    if (r < 0 && r != -EPIPE) {
        log_error("worker %u (generation %u, process %d) takes no messages (%s): killed",
                worker->index, worker->crew->number, (int)worker->pid, strerror(-r));
        kill(worker->pid, SIGKILL);
    }
}

void
crew_worker_send_sockets(struct crew_worker *worker, size_t address, unsigned from)
{
    const struct listening *listening = worker->crew->listening[address];
    while (from < listening->count) {
        unsigned count = listening->count - from;
        count = count < CHANNEL_DESCRIPTORS_MAX ? count : CHANNEL_DESCRIPTORS_MAX;
        const struct channel_listeners body = {
            .address = (uint32_t)address,
            .first = from,
            .is_shared = listening->is_shared,
        };
        crew_worker_send(worker, CHANNEL_LISTENERS, &body, sizeof(body), &listening->fds[from],
                count);
        from += count;
    }
}

static void
send_log(struct crew_worker *worker)
{
    const struct channel_log body = {
        .level = SITE_LOG_ERROR - worker->crew->plan->log.level, /* of enum log_level */
        .format = (int32_t)worker->crew->plan->log.format,
    };
    crew_worker_send(worker, CHANNEL_LOG, &body, sizeof(body), &worker->crew->log_fd, 1);
}

static void
send_log_files(struct crew_worker *worker)
{
    const struct crew_master *master = worker->crew->master;
    const struct plan *plan = worker->crew->plan;
    for (size_t i = 0; i < plan->log_files_count; i++) {
        int fd = master->log_file(master->context, plan->log_files[i]);
        if (fd >= 0) {
            crew_worker_send(worker, CHANNEL_FILE, plan->log_files[i].ptr,
                    plan->log_files[i].len, &fd, 1);
        }
    }
}

static void
send_zones(struct crew_worker *worker)
{
    const struct plan *plan = worker->crew->plan;
    for (size_t i = 0; i < plan->zones_count; i++) {
        const struct zone_spec *zone = &plan->zones[i];
        char body[sizeof(struct channel_zone) + (size_t)2 * WEIR_ZONE_NAME_BYTES];
        const struct channel_zone head = { zone->bytes, zone->layout,
            (uint32_t)zone->module.len, (uint32_t)zone->name.len };
        memcpy(body, &head, sizeof(head));
        memcpy(body + sizeof(head), zone->module.ptr, zone->module.len);
        memcpy(body + sizeof(head) + zone->module.len, zone->name.ptr, zone->name.len);
        int fd = zones_find(worker->crew->master->zones, zone);
        crew_worker_send(worker, CHANNEL_ZONE, body,
                sizeof(head) + zone->module.len + zone->name.len, &fd, fd >= 0 ? 1 : 0);
    }
}

void
crew_worker_send_logs(struct crew_worker *worker)
{
    send_log(worker);
    send_log_files(worker);
}

static void
send_beginning(struct crew_worker *worker)
{
    const struct crew *crew = worker->crew;
    struct channel_hello hello = {
        .version = CHANNEL_VERSION,
        .generation = crew->number,
        .index = worker->index,
        .processes = crew->processes,
        .build = PACKAGE_VERSION,
    };
    crew_worker_send(worker, CHANNEL_HELLO, &hello, sizeof(hello), NULL, 0);
    send_log(worker);
    crew_worker_send(worker, CHANNEL_SOURCES, crew->master->file, strlen(crew->master->file),
            &crew->plan->sources_fd, crew->plan->sources_fd >= 0 ? 1 : 0);
    if (worker->flight != NULL) {
        int fd = flight_fd(worker->flight);
        crew_worker_send(worker, CHANNEL_FLIGHT, NULL, 0, &fd, 1);
    }
    crew_figures_send(worker);
    send_zones(worker);
    send_log_files(worker);
    for (size_t i = 0; i < crew->plan->listeners_count; i++) {
        crew_worker_send_sockets(worker, i, 0);
    }
    crew_worker_send(worker, CHANNEL_START, NULL, 0, NULL, 0);
}

void
crew_worker_drain(struct crew_worker *worker, bool is_stop)
{
    const struct channel_drain body = {
        .timeout_ns = worker->crew->plan->workers.drain_timeout_ns,
        .is_stop = is_stop,
    };
    worker->state = CREW_WORKER_DRAINING;
    crew_worker_limit(worker, clock_add_ns(body.timeout_ns, KILL_AFTER_NS));
    crew_worker_send(worker, CHANNEL_DRAIN, &body, sizeof(body), NULL, 0);
}

void
crew_worker_stop(struct crew_worker *worker)
{
    worker->state = CREW_WORKER_DRAINING;
    crew_worker_limit(worker, KILL_AFTER_NS);
    crew_worker_send(worker, CHANNEL_STOP, NULL, 0, NULL, 0);
}

/* ---- its time ---------------------------------------------------------------------------- */

/* Stopped by a signal or held by a debugger: it cannot come back, and that is nobody's fault.
 */
static bool
is_held(pid_t pid)
{
    char path[32], text[256]; /* "PID (NAME) STATE ...", and a name is 15 bytes at the most */
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd == -1 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd != -1) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' && (end[2] == 'T' || end[2] == 't');
}

/* To the one thread: it says where it is, which the others do not know. */
static void
abort_thread(const struct crew_worker *worker, int32_t thread)
{
    if (tgkill(worker->pid, thread, SIGABRT) == -1) {
        kill(worker->pid, SIGABRT);
    }
}

/* It had its time. An abort says where it was, in the log; the next time there is no more
 * asking. */
static void
on_limit(struct timer *timer)
{
    struct crew_worker *worker = (struct crew_worker *)((char *)timer -
            offsetof(struct crew_worker, limit));
    const struct site_workers *workers = &worker->crew->plan->workers;
    bool is_start = worker->state == CREW_WORKER_STARTING ||
            worker->state == CREW_WORKER_SERVING;
    if (is_start && !worker->is_mute && !worker->is_overdue && is_held(worker->pid)) {
        crew_worker_limit(worker, workers->start_timeout_ns);
        return;
    }
    const char *what = worker->is_mute ? "closed its channel and does not end: killed"
            : worker->is_overdue       ? "does not even abort: killed"
            : worker->state == CREW_WORKER_STARTING
            ? "does not become ready within workers.start_timeout: it is ended"
            : worker->state == CREW_WORKER_SERVING
            ? "does not begin to accept within workers.start_timeout: it is ended"
            : "does not end: killed";
    log_error("worker %u (generation %u, process %d) %s", worker->index, worker->crew->number,
            (int)worker->pid, what);
    bool may_tell = is_start && !worker->is_mute && !worker->is_overdue;
    worker->is_overdue |= is_start;
    worker->was_killed |= !is_start;
    if (may_tell) {
        abort_thread(worker, worker->pid); /* the main thread, which starts it */
    } else {
        kill(worker->pid, SIGKILL);
    }
    crew_worker_limit(worker, may_tell ? KILL_AFTER_NS : CLOCK_NEVER);
}

void
crew_worker_limit(struct crew_worker *worker, uint64_t ns)
{
    uint64_t now_ns = loop_now_ns(worker->crew->master->loop);
    int r = timer_set(&worker->limit, clock_add_ns(now_ns, ns));
    WEIR_ASSERT(r == 0); /* its place was made at birth */
}

/* ---- starting ---------------------------------------------------------------------------- */

/* In the child, between fork and exec. */
static _Noreturn void
become_worker(const struct crew *crew, int channel_fd, pid_t master)
{
    signal_unblock_all();
    const struct site_workers *workers = &crew->plan->workers;
    int code = privileges_drop(workers->user, workers->group);
    if (code != EXIT_OK) {
        _exit(code);
    }
    /* After the change of user, which would clear it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != master) {
        _exit(EXIT_RUNTIME);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (channel_fd != CHANNEL_WORKER_FD) {
        dup2(channel_fd, CHANNEL_WORKER_FD);
    } else {
        fcntl(channel_fd, F_SETFD, 0);
    }
    /* Not closed before it is executed, for if that fails the log is to say so. */
    if (close_range(CHANNEL_WORKER_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC) == -1) {
        close_range(CHANNEL_WORKER_FD + 1, ~0U, 0); /* Linux 5.10 */
    }
    char *const argv[] = { (char *)(uintptr_t) "weir", (char *)(uintptr_t) "worker", NULL };
    environment_clean();
    execv(crew->master->program, argv);
    log_error("%s cannot be executed as %s: %s", crew->master->program,
            workers->user.len > 0 ? "workers.user" : "a worker", strerror(errno));
    _exit(errno == EACCES ? EXIT_PERMISSION : EXIT_SYSTEM);
}

int
crew_worker_start(struct crew *crew, unsigned index)
{
    struct crew_worker *worker = calloc(1, sizeof(*worker));
    int ends[2] = { -1, -1 };
    int r = worker == NULL ? -ENOMEM : channel_pair(ends);
    const struct channel_owner owner = { crew_on_message, crew_on_channel_closed, worker };
    if (r == 0) {
        r = channel_new(crew->master->loop, ends[0], &owner, &worker->channel);
    }
    if (r < 0) {
        goto fail;
    }
    pid_t master = getpid();
    worker->crew = crew;
    worker->index = index;
    buf_init(&worker->report, REPORT_MAX_BYTES);
    timer_init(&worker->limit, crew->master->loop, on_limit);
    r = timer_set(&worker->limit, CLOCK_NEVER);
    if (r < 0) {
        goto fail;
    }
    crew_worker_limit(worker, crew->plan->workers.start_timeout_ns);
    r = flight_new(&worker->flight);
    if (r < 0) {
        log_warn("worker %u (generation %u): no memory to record what it does: %s", index,
                crew->number, strerror(-r));
    }
    crew_figures_lend(worker);
    worker->pid = fork();
    if (worker->pid == 0) {
        become_worker(crew, ends[1], master);
    }
    if (worker->pid == -1) {
        r = -errno;
        goto fail;
    }
    close(ends[1]);
    worker->next = crew->workers;
    crew->workers = worker;
    send_beginning(worker);
    if (worker->is_counted) {
        crew_send_shards(crew);
        crew->master->on_shards(crew->master->context);
    }
    return EXIT_OK;

fail:
    if (ends[0] != -1 && (worker == NULL || worker->channel == NULL)) {
        close(ends[0]);
    }
    if (ends[1] != -1) {
        close(ends[1]);
    }
    crew_worker_free(worker);
    log_error("worker %u (generation %u) cannot be started: %s%s", index, crew->number,
            strerror(-r), hint_of(-r));
    return EXIT_SYSTEM;
}

void
crew_take_report(struct crew_worker *worker)
{
    struct buf *report = &worker->crew->report;
    buf_consume(report, buf_str(report).len);
    (void)!buf_append(report, buf_str(&worker->report)); /* without memory it is lost */
}

/* ---- its end ----------------------------------------------------------------------------- */

/* A worker that serves nobody yet. */
void
crew_worker_end_unneeded(struct crew_worker *worker)
{
    worker->was_killed = true;
    kill(worker->pid, SIGKILL);
}

void
crew_worker_tell_stall(struct crew_worker *worker)
{
    if (!worker->is_stalled || worker->is_stall_told) {
        return;
    }
    struct flight_place place;
    flight_locate(worker->flight, life_hook_name, &place);
    worker->is_stall_told = true;
    log_error("worker %u (generation %u, process %d) is stuck in %s, for longer than "
              "workers.stall_timeout: it is ended",
            worker->index, worker->crew->number, (int)worker->pid,
            place.text[0] == '\0' ? "a module" : place.text);
}

/* A loop that does not come back from a module serves nobody: its worker is replaced. */
void
crew_worker_watch(struct crew_worker *worker, uint64_t now_ns, uint64_t limit_ns)
{
    int32_t thread;
    if (worker->is_stalled) {
        crew_worker_tell_stall(worker);
        kill(worker->pid, SIGKILL); /* it did not even abort */
        return;
    }
    if (worker->flight == NULL || worker->state == CREW_WORKER_STARTING ||
            !flight_is_stalled(worker->flight, now_ns, limit_ns, &thread)) {
        return;
    }
    if (is_held(worker->pid)) {
        flight_look_anew(worker->flight);
        return;
    }
    worker->is_stalled = true;
    abort_thread(worker, thread);
}

void
crew_worker_free(struct crew_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    if (worker->crew != NULL) {
        timer_cancel(&worker->limit);
        crew_figures_take_back(worker);
    }
    channel_free(worker->channel);
    flight_free(worker->flight);
    buf_fini(&worker->report);
    free(worker);
}
