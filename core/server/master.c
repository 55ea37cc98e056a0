/* SPDX-License-Identifier: MIT */
#include "server/master.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/signal.h"
#include "observe/log.h"
#include "server/exit.h"
#include "server/generations.h"
#include "server/hint.h"
#include "server/log_files.h"
#include "server/master_figures.h"
#include "server/zones.h"

#define REPORT_MAX_BYTES (4u << 20)

struct crew *
master_find_crew(const struct master *master, enum crew_state state)
{
    struct crew *crew = master->crews;
    while (crew != NULL && crew->state != state) {
        crew = crew->next;
    }
    return crew;
}

/* ---- signals ----------------------------------------------------------------------------- */

static void
stop_now(struct master *master, const char *why)
{
    generations_cancel(master);
    log_info("stopped at once%s", why);
    timer_cancel(&master->leave_timer);
    master->state = MASTER_STOPPING;
    master->was_told = true;
    generations_tell_stop(master);
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        crew_stop(crew, false);
    }
    if (master->crews == NULL) {
        loop_stop(master->loop);
    }
}

/* No generation comes any more, and those that do not serve yet end. */
static void
stop_coming(struct master *master)
{
    generations_cancel(master);
    generations_tell_stop(master);
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        if (crew->state == CREW_STARTING || crew->state == CREW_READY) {
            crew_stop(crew, true);
        }
    }
}

static void
drain_all(struct master *master)
{
    log_info("stopping: what was accepted is answered");
    timer_cancel(&master->leave_timer);
    master->was_told = true;
    master->state = MASTER_STOPPING;
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        if (crew->state != CREW_FAILED) {
            crew_drain(crew, true);
        }
    }
}

static void
on_leave_timer(struct timer *timer)
{
    drain_all((struct master *)((char *)timer - offsetof(struct master, leave_timer)));
}

/* What the generation that serves says of workers.stop_delay; 0: none. */
static uint64_t
stop_delay_ns(const struct master *master)
{
    const struct crew *crew = master_find_crew(master, CREW_SERVING);
    uint64_t ns = crew == NULL ? 0 : crew->plan->workers.stop_delay_ns;
    return ns == CLOCK_NEVER ? 0 : ns;
}

/* Serves on until the delay is over. False when there is none. */
static bool
leave_later(struct master *master)
{
    uint64_t delay_ns = stop_delay_ns(master);
    uint64_t at_ns = clock_add_ns(loop_now_ns(master->loop), delay_ns);
    if (delay_ns == 0 || timer_set(&master->leave_timer, at_ns) < 0) {
        return false;
    }
    log_info("stopping in %llu ms (workers.stop_delay): not ready any more, and serving on",
            (unsigned long long)(delay_ns / NS_PER_MS));
    master->state = MASTER_LEAVING;
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        crew_give_notice(crew);
    }
    return true;
}

void
master_stop(struct master *master)
{
    if (master->state == MASTER_LEAVING) {
        drain_all(master); /* it is not to take that long */
        return;
    }
    if (master->was_told || master->state == MASTER_STARTING) {
        stop_now(master, master->was_told ? ": second signal" : "");
        return;
    }
    stop_coming(master);
    if (!leave_later(master)) {
        drain_all(master);
    }
}

static void
reap(struct master *master)
{
    /* Looked at first, for a number is another's as soon as it was waited for. */
    siginfo_t ended = { .si_pid = 0 };
    while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid > 0) {
        pid_t pid = ended.si_pid;
        int status;
        ended.si_pid = 0;
        if (plan_reap(master->making, pid) || waitpid(pid, &status, WNOHANG) != pid) {
            continue;
        }
        struct crew *crew = master->crews;
        while (crew != NULL) {
            struct crew *next = crew->next;
            if (crew_reap(crew, pid, status)) {
                break;
            }
            crew = next;
        }
    }
}

void
master_reopen(struct master *master)
{
    log_files_reopen(master->log_files);
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        crew_reopen(crew);
    }
    log_info("log files are open anew");
}

static void
resize(struct master *master, bool more)
{
    struct crew *crew = master_find_crew(master, CREW_SERVING);
    bool changed = crew != NULL && (more ? crew_grow(crew) : crew_shrink(crew));
    if (changed) {
        log_info("%u workers from now on, until the next reload", crew->processes);
    } else {
        log_warn("%s", more ? "no more workers are possible" : "one worker has to stay");
    }
}

static void
on_signal(void *context, int signo)
{
    struct master *master = context;
    struct crew *serving = master_find_crew(master, CREW_SERVING);
    switch (signo) {
    case SIGCHLD:
        reap(master);
        return;
    case SIGTERM:
    case SIGQUIT:
        master_stop(master);
        return;
    case SIGINT:
        stop_now(master, "");
        return;
    case SIGHUP:
        generations_reload(master);
        return;
    case SIGUSR1:
        master_reopen(master);
        return;
    case SIGTTIN:
        resize(master, true);
        return;
    case SIGTTOU:
        resize(master, false);
        return;
    case SIGWINCH:
        log_info("no new connections are accepted, until the next reload");
        if (serving != NULL) {
            crew_pause(serving);
        }
        return;
    default:
        log_warn(
                "SIG%s: the upgrade of a running server is not in this build: restart it after "
                "another version was installed",
                sigabbrev_np(signo));
        return;
    }
}

/* ---- life -------------------------------------------------------------------------------- */

/* Workers inherit it: each connection wants one. */
static void
raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Its name rather than the file that runs, so that later workers are what is installed under it
 * then; one of another version refuses to start. */
static int
find_program(struct master *master)
{
    ssize_t len = readlink("/proc/self/exe", master->program, sizeof(master->program) - 1);
    if (len <= 0) {
        log_error("/proc/self/exe: %s", strerror(errno));
        return EXIT_SYSTEM;
    }
    master->program[len] = '\0';
    return EXIT_OK;
}

static bool
on_death(void *context, const struct crew *crew, const char *module)
{
    const struct master *master = context;
    master_figures_count_death(master->figures, module);
    return site_crash_policy(crew->plan->document, weir_str_from(module)) == SITE_CRASH_STOP;
}

/* A module crashed whose on_crash is "stop": whoever supervises the server decides what is to
 * become of it. What others have accepted is answered. */
static void
on_fatal(void *context)
{
    struct master *master = context;
    if (master->exit_code == EXIT_OK) {
        master->exit_code = EXIT_RUNTIME;
    }
    if (master->state == MASTER_STOPPING) {
        return;
    }
    stop_coming(master);
    drain_all(master);
}

static int
start(struct master *master)
{
    static const int signals[] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2,
        SIGTTIN, SIGTTOU, SIGWINCH };
    signal_ignore_pipe();
    raise_descriptors();
    int code = find_program(master);
    if (code != EXIT_OK) {
        return code;
    }
    int r = loop_new(NULL, &master->loop);
    if (r == 0) {
        timer_init(&master->leave_timer, master->loop, on_leave_timer);
        r = signal_watch_new(master->loop, signals, sizeof(signals) / sizeof(signals[0]),
                on_signal, master, &master->signals);
    }
    master->sockets = sockets_new();
    master->log_files = log_files_new();
    master->zones = zones_new();
    if (r < 0 || master->sockets == NULL || master->log_files == NULL ||
            master->zones == NULL) {
        r = r < 0 ? r : -ENOMEM;
        log_error("the event loop cannot be made: %s%s", strerror(-r), hint_of(-r));
        return EXIT_SYSTEM;
    }
    r = metric_new(&master->metrics);
    if (r < 0) {
        log_warn("no memory for figures, nothing is counted: %s%s", strerror(-r), hint_of(-r));
    }
    master->figures = master_figures_new(master, master->metrics);
    master->started_ns = loop_now_ns(master->loop);
    master->crew_master = (struct crew_master){
        .loop = master->loop,
        .sockets = master->sockets,
        .program = master->program,
        .file = master->file,
        .metrics = master->metrics,
        .zones = master->zones,
        .on_death = on_death,
        .on_fatal = on_fatal,
    };
    generations_init(master);
    return generations_begin(master);
}

int
master_run(const char *file)
{
    struct master master = { .file = file, .log_fd = STDERR_FILENO, .state = MASTER_STARTING };
    buf_init(&master.report, REPORT_MAX_BYTES);
    int code = start(&master);
    if (code == EXIT_OK) {
        loop_run(master.loop);
        code = master.exit_code;
    }
    if (master.loop != NULL) {
        timer_cancel(&master.leave_timer);
        control_close(master.control);
        control_close(master.left);
        generations_fini(&master);
    }
    log_init(STDERR_FILENO, LOG_INFO);
    buf_fini(&master.report);
    sockets_free(master.sockets);
    log_files_free(master.log_files);
    zones_free(master.zones);
    master_figures_free(master.figures);
    metric_free(master.metrics);
    signal_watch_free(master.signals);
    loop_free(master.loop);
    return code;
}
