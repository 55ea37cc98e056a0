/* SPDX-License-Identifier: MIT */
/*
 * Generations come and go in this order:
 *
 *     plan (read and checked) -> sockets, log files -> crew starts -> all ready -> go
 *                                                                        \-> the one before
 * drains
 *
 * A failure before `go` ends the new one and leaves the old one as it was. At most
 * GENERATIONS_MAX are there at once; the next one waits for a place.
 */
#include "server/master.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "event/loop.h"
#include "event/signal.h"
#include "observe/log.h"
#include "server/crew.h"
#include "server/exit.h"
#include "server/log_files.h"

#define GENERATIONS_MAX  3u
#define REPORT_MAX_BYTES (4u << 20)

enum master_state {
    MASTER_STARTING, /* the first generation is not ready yet */
    MASTER_SERVING,
    MASTER_STOPPING,
};

struct master {
    const char *file; /* borrowed: the configuration's name */
    char program[PATH_MAX];
    struct loop *loop;            /* owned */
    struct signal_watch *signals; /* owned */
    struct sockets *sockets;      /* owned */
    struct log_files *log_files;  /* owned */
    struct crew_master crew_master;
    struct crew *crews; /* owned; newest first */
    struct crew *dead;  /* owned: to be freed at the end of the turn */
    struct loop_task burial;
    unsigned generations; /* started so far */
    enum master_state state;
    bool must_reload; /* as soon as there is a place for another generation */
    bool was_told;    /* to stop: a second time means now */
    int exit_code;
};

static struct crew *
find_crew(const struct master *master, enum crew_state state)
{
    struct crew *crew = master->crews;
    while (crew != NULL && crew->state != state) {
        crew = crew->next;
    }
    return crew;
}

/* ---- reports ----------------------------------------------------------------------------- */

/* As weir check prints it, to where the operator looks; at the start that is standard error. */
static void
print_report(const struct buf *report)
{
    struct weir_str text = buf_str(report);
    while (text.len > 0) {
        ssize_t n = write(STDERR_FILENO, text.ptr, text.len);
        if (n <= 0) {
            return;
        }
        text.ptr += n;
        text.len -= (size_t)n;
    }
}

static bool
is_for_terminal(void)
{
    return isatty(STDERR_FILENO) && getenv("NO_COLOR") == NULL;
}

/* ---- generations ------------------------------------------------------------------------- */

static void
on_burial(struct loop_task *task)
{
    struct master *master = (struct master *)((char *)task - offsetof(struct master, burial));
    while (master->dead != NULL) {
        struct crew *crew = master->dead;
        master->dead = crew->next;
        crew_free(crew);
    }
}

/* A crew without workers; it may be in use further up the stack. */
static void
bury(struct master *master, struct crew *crew)
{
    struct crew **link = &master->crews;
    while (*link != crew) {
        link = &(*link)->next;
    }
    *link = crew->next;
    crew->next = master->dead;
    master->dead = crew;
    loop_defer(master->loop, &master->burial);
}

static bool
has_address(const struct crew *crew, const struct listening *listening)
{
    bool has = false;
    for (size_t i = 0; crew != NULL && i < crew->plan->listeners_count; i++) {
        has |= crew->listening[i] == listening;
    }
    return has;
}

/* The addresses that the generation `before` (NULL: none) did not serve. */
static void
announce(const struct crew *crew, const struct crew *before)
{
    for (size_t i = 0; i < crew->plan->listeners_count; i++) {
        if (has_address(before, crew->listening[i])) {
            continue;
        }
        char text[ADDR_TEXT_BYTES];
        addr_format(&crew->listening[i]->bound, text);
        log_info("listening on %s", text);
    }
}

static unsigned
count_crews(const struct master *master)
{
    unsigned count = 0;
    for (const struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        count++;
    }
    return count;
}

static int
start_generation(struct master *master)
{
    struct buf report;
    buf_init(&report, REPORT_MAX_BYTES);
    struct plan *plan = NULL;
    int code = plan_make(master->program, master->file, is_for_terminal(), &report, &plan);
    print_report(&report);
    buf_fini(&report);
    if (code != EXIT_OK) {
        return code;
    }
    code = log_files_open(master->log_files, plan);
    if (code != EXIT_OK) {
        plan_free(plan);
        return code;
    }
    int log_fd = log_files_error_log(master->log_files, plan);
    log_init(log_fd, (enum log_level)(SITE_LOG_ERROR - plan->log.level));
    log_set_form(plan->log.format == SITE_LOG_JSON ? LOG_JSON : LOG_TEXT);
    master->crew_master.log_fd = log_fd;
    struct crew *crew;
    code = crew_new(&master->crew_master, plan, master->generations + 1, &crew);
    if (code != EXIT_OK) {
        return code;
    }
    master->generations++;
    crew->next = master->crews;
    master->crews = crew;
    /* The ones before take what comes to sockets that are new, until this one serves. */
    for (struct crew *other = crew->next; other != NULL; other = other->next) {
        crew_refresh(other);
    }
    return EXIT_OK;
}

static void
reload(struct master *master)
{
    if (master->state != MASTER_SERVING) {
        log_warn("reload: not while the server %s",
                master->state == MASTER_STARTING ? "starts" : "stops");
        return;
    }
    if (find_crew(master, CREW_STARTING) != NULL) {
        log_info("reload: once the one that is under way has ended");
        master->must_reload = true;
        return;
    }
    if (count_crews(master) >= GENERATIONS_MAX) {
        log_warn("reload: waits, %u generations are there already", GENERATIONS_MAX);
        master->must_reload = true;
        return;
    }
    master->must_reload = false;
    log_info("reload: generation %u starts", master->generations + 1);
    int code = start_generation(master);
    if (code == EXIT_RUNTIME) {
        log_info("reload: given up, this server is to stop");
    } else if (code != EXIT_OK) {
        log_error("reload: refused, generation %u serves on",
                find_crew(master, CREW_SERVING) ? find_crew(master, CREW_SERVING)->number : 0);
    }
}

static void
reload_if_due(struct master *master)
{
    if (master->must_reload && master->state == MASTER_SERVING) {
        reload(master);
    }
}

static void
on_ready(void *context, struct crew *crew)
{
    struct master *master = context;
    print_report(&crew->report); /* warnings */
    struct crew *before = find_crew(master, CREW_SERVING);
    crew_go(crew);
    announce(crew, before);
    if (before != NULL) {
        log_info("generation %u serves with %u workers; generation %u ends with what it has",
                crew->number, crew->processes, before->number);
        crew_drain(before, false);
    }
    if (master->state == MASTER_STARTING) {
        master->state = MASTER_SERVING;
    }
    reload_if_due(master);
}

static void
on_failed(void *context, struct crew *crew, int exit_code)
{
    struct master *master = context;
    print_report(&crew->report);
    bury(master, crew);
    if (master->state == MASTER_STARTING) {
        master->exit_code = exit_code;
        loop_stop(master->loop);
        return;
    }
    struct crew *serving = find_crew(master, CREW_SERVING);
    if (master->state == MASTER_SERVING) {
        log_error("reload: generation %u failed, generation %u serves on", crew->number,
                serving == NULL ? 0 : serving->number);
        reload_if_due(master);
    } else if (master->crews == NULL) {
        loop_stop(master->loop);
    }
}

static void
on_empty(void *context, struct crew *crew)
{
    struct master *master = context;
    bool has_given_up = crew->exit_code != EXIT_OK;
    if (has_given_up) {
        master->exit_code = crew->exit_code;
    }
    bury(master, crew);
    if (master->crews == NULL) {
        if (!has_given_up) {
            log_info("stopped");
        }
        loop_stop(master->loop);
        return;
    }
    reload_if_due(master);
}

static int
find_log_file(void *context, struct weir_str path)
{
    const struct master *master = context;
    return log_files_find(master->log_files, path);
}

/* ---- signals ----------------------------------------------------------------------------- */

static void
stop_now(struct master *master, const char *why)
{
    log_info("stopped at once%s", why);
    master->state = MASTER_STOPPING;
    master->was_told = true;
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        crew_stop(crew, false);
    }
    if (master->crews == NULL) {
        loop_stop(master->loop);
    }
}

static void
stop(struct master *master)
{
    if (master->was_told || master->state == MASTER_STARTING) {
        stop_now(master, master->was_told ? ": second signal" : "");
        return;
    }
    log_info("stopping: what was accepted is answered");
    master->was_told = true;
    master->state = MASTER_STOPPING;
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        if (crew->state == CREW_STARTING || crew->state == CREW_READY) {
            crew_stop(crew, true);
        } else if (crew->state != CREW_FAILED) {
            crew_drain(crew, true);
        }
    }
}

static void
reap(struct master *master)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
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

static void
reopen(struct master *master)
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
    struct crew *crew = find_crew(master, CREW_SERVING);
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
    struct crew *serving = find_crew(master, CREW_SERVING);
    switch (signo) {
    case SIGCHLD:
        reap(master);
        return;
    case SIGTERM:
    case SIGQUIT:
        stop(master);
        return;
    case SIGINT:
        stop_now(master, "");
        return;
    case SIGHUP:
        reload(master);
        return;
    case SIGUSR1:
        reopen(master);
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
                "SIG%s: the upgrade of a running binary is not in this build; install it, then "
                "reload (HUP): new workers run it",
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

/* Its name rather than the file that runs: what is installed under it later is what later
 * workers are. */
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
        r = signal_watch_new(master->loop, signals, sizeof(signals) / sizeof(signals[0]),
                on_signal, master, &master->signals);
    }
    master->sockets = sockets_new();
    master->log_files = log_files_new();
    if (r < 0 || master->sockets == NULL || master->log_files == NULL) {
        log_error("the event loop cannot be made: %s", strerror(r < 0 ? -r : ENOMEM));
        return EXIT_SYSTEM;
    }
    master->burial.fn = on_burial;
    master->crew_master = (struct crew_master){
        .loop = master->loop,
        .sockets = master->sockets,
        .program = master->program,
        .file = master->file,
        .log_file = find_log_file,
        .on_ready = on_ready,
        .on_failed = on_failed,
        .on_empty = on_empty,
        .context = master,
    };
    return start_generation(master);
}

int
master_run(const char *file)
{
    struct master master = { .file = file, .state = MASTER_STARTING };
    int code = start(&master);
    if (code == EXIT_OK) {
        loop_run(master.loop);
        code = master.exit_code;
    }
    if (master.loop != NULL) {
        on_burial(&master.burial);
        while (master.crews != NULL) { /* nobody of them is left but after a failure to start */
            struct crew *crew = master.crews;
            master.crews = crew->next;
            crew_free(crew);
        }
        loop_undefer(master.loop, &master.burial);
    }
    log_init(STDERR_FILENO, LOG_INFO);
    sockets_free(master.sockets);
    log_files_free(master.log_files);
    signal_watch_free(master.signals);
    loop_free(master.loop);
    return code;
}
