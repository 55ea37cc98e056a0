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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "event/loop.h"
#include "event/signal.h"
#include "observe/log.h"
#include "server/control.h"
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
    int log_fd;                   /* borrowed: where its own lines go */
    struct control *control;      /* owned; NULL: there is none */
    struct control *left;         /* owned; NULL: the one before, once it has moved */
    struct metric_pages *metrics; /* owned; NULL: nothing is counted */
    struct plan_making *making;   /* owned; NULL: no configuration is being checked */
    struct crew_master crew_master;
    struct crew *crews; /* owned; newest first */
    struct crew *dead;  /* owned: to be freed at the end of the turn */
    struct loop_task burial;
    unsigned generations; /* started so far */
    enum master_state state;
    bool must_reload; /* as soon as there is a place for another generation */
    bool was_told;    /* to stop: a second time means now */
    uint64_t started_ns;
    struct buf report; /* of the reload that is under way */
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

/* Closes the log files of generations that are no more. */
static void
close_log_files(struct master *master)
{
    const struct plan *plans[GENERATIONS_MAX + 1];
    size_t count = 0;
    for (const struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        WEIR_ASSERT(count <= GENERATIONS_MAX);
        plans[count++] = crew->plan;
    }
    log_files_keep(master->log_files, plans, count, master->log_fd);
}

static void
on_burial(struct loop_task *task)
{
    struct master *master = (struct master *)((char *)task - offsetof(struct master, burial));
    while (master->dead != NULL) {
        struct crew *crew = master->dead;
        master->dead = crew->next;
        crew_free(crew);
    }
    close_log_files(master);
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

static const struct control_owner control_owner;

/* Where the plan says. A socket that cannot be had is no reason not to serve. */
static void
open_control(struct master *master, const struct plan *plan)
{
    struct addr addr;
    char text[ADDR_TEXT_BYTES] = "control socket";
    int r = control_address(&plan->control, &addr);
    if (r == 0) {
        addr_format(&addr, text);
    }
    if (r == -ENOENT) {
        return; /* no directory for it, and none was asked for */
    }
    if (r == 0 && master->control != NULL && addr_eq(&addr, control_addr(master->control))) {
        return;
    }
    struct control_owner owner = control_owner;
    owner.context = master;
    owner.file = master->file;
    struct control *control = NULL;
    if (r == 0) {
        r = control_open(master->loop, &addr, &owner, &control);
    }
    if (r < 0) {
        log_warn("%s: %s: weir status and weir reload do not reach this server; \"control\": "
                 "{ \"listen\": \"unix:PATH\" } gives it another socket",
                text, r == -EADDRINUSE ? "another server answers there" : strerror(-r));
        return;
    }
    /* Whoever asked there for the reload that moves it reads the answer there. */
    control_leave(master->control);
    control_close(master->left);
    master->left = master->control;
    master->control = control;
}

static void
on_shards(void *context)
{
    const struct master *master = context;
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        crew_send_shards(crew);
    }
}

/* Where the master's own lines go: the log of the generation that serves. */
static void
use_log(struct master *master, int fd, const struct plan *plan)
{
    master->log_fd = fd;
    log_init(fd, (enum log_level)(SITE_LOG_ERROR - plan->log.level));
    log_set_form(plan->log.format == SITE_LOG_JSON ? LOG_JSON : LOG_TEXT);
}

/* The configuration is right: opens what it names, and starts its workers. Takes the plan over.
 * Returns an exit code. */
static int
start_generation(struct master *master, struct plan *plan)
{
    int code = log_files_open(master->log_files, plan);
    if (code != EXIT_OK) {
        plan_free(plan);
        close_log_files(master);
        return code;
    }
    master->crew_master.log_fd = log_files_error_log(master->log_files, plan);
    if (master->state == MASTER_STARTING) {
        use_log(master, master->crew_master.log_fd, plan);
    }
    struct crew *crew;
    code = crew_new(&master->crew_master, plan, master->generations + 1, &crew);
    if (code != EXIT_OK) {
        for (struct crew *other = master->crews; other != NULL; other = other->next) {
            crew_refresh(other); /* sockets that it opened are in their ports' groups already */
        }
        close_log_files(master);
        return code;
    }
    if (master->state == MASTER_STARTING) {
        open_control(master, crew->plan);
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

static unsigned
serving_number(const struct master *master)
{
    const struct crew *crew = find_crew(master, CREW_SERVING);
    return crew == NULL ? 0 : crew->number;
}

/* Whoever asked for it over the control socket. */
static void WEIR_PRINTF(3, 4)
        tell_reloaded(struct master *master, unsigned status, const char *format, ...)
{
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    control_reloaded(master->control, status, weir_str_from(message), buf_str(&master->report));
    control_reloaded(master->left, status, weir_str_from(message), buf_str(&master->report));
}

static void
begin_telling(struct master *master)
{
    control_reload_begins(master->control);
    control_reload_begins(master->left);
}

/* No reload will take place any more. */
static void
end_telling(struct master *master)
{
    begin_telling(master);
    tell_reloaded(master, 503, "the server stops");
}

/* Another generation is on its way. */
static bool
is_changing(const struct master *master)
{
    bool is = master->making != NULL;
    for (const struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        is |= crew->state == CREW_STARTING || crew->state == CREW_READY ||
                crew->state == CREW_OPENING;
    }
    return is;
}

static void reload_if_due(struct master *master);

/* The generation that was to come does not. */
static void
refuse(struct master *master, int code)
{
    if (master->state == MASTER_STARTING || master->crews == NULL) {
        /* With an earlier one, that one's end counts. */
        if (master->state != MASTER_STARTING) {
            log_error("reload: refused, and no generation is left: the server ends");
        }
        master->exit_code = master->exit_code != EXIT_OK ? master->exit_code : code;
        master->state = MASTER_STOPPING;
        end_telling(master);
        loop_stop(master->loop);
        return;
    }
    unsigned number = serving_number(master);
    log_error("reload: refused, generation %u serves on", number);
    tell_reloaded(master, 409, "generation %u serves on", number);
}

static void
on_planned(void *context, int code, struct plan *plan)
{
    struct master *master = context;
    master->making = NULL;
    print_report(&master->report);
    code = code == EXIT_OK ? start_generation(master, plan) : code;
    if (code != EXIT_OK) {
        refuse(master, code);
        reload_if_due(master);
    }
}

/* Reads the configuration and has it checked, while all else goes on. Returns an exit code. */
static int
begin_plan(struct master *master)
{
    buf_consume(&master->report, buf_str(&master->report).len);
    const struct plan_order order = {
        .loop = master->loop,
        .program = master->program,
        .file = master->file,
        .color = is_for_terminal(),
        .report = &master->report,
        .done = on_planned,
        .context = master,
    };
    return plan_begin(&order, &master->making);
}

/* The server stops: what is being checked is not wanted any more. */
static void
cancel_plan(struct master *master)
{
    if (master->making == NULL) {
        return;
    }
    plan_cancel(master->making);
    master->making = NULL;
    log_info("stopped while the configuration was being checked");
    if (master->state == MASTER_STARTING) {
        master->exit_code = EXIT_RUNTIME; /* nothing was served */
    }
}

static void
reload(struct master *master)
{
    if (master->state != MASTER_SERVING) {
        log_warn("reload: not while the server %s",
                master->state == MASTER_STARTING ? "starts" : "stops");
        begin_telling(master);
        tell_reloaded(master, 503, "not while the server %s",
                master->state == MASTER_STARTING ? "starts" : "stops");
        return;
    }
    if (is_changing(master)) {
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
    begin_telling(master);
    log_info("reload: generation %u starts", master->generations + 1);
    int code = begin_plan(master);
    if (code != EXIT_OK) {
        print_report(&master->report);
        refuse(master, code);
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
    (void)context;
    print_report(&crew->report); /* warnings */
    crew_go(crew);
}

/* The one that served until now: the newest but `crew` itself. */
static struct crew *
find_before(const struct master *master, const struct crew *crew)
{
    struct crew *before = master->crews;
    while (before != NULL && (before == crew || before->state != CREW_SERVING)) {
        before = before->next;
    }
    return before;
}

static void
on_serving(void *context, struct crew *crew)
{
    struct master *master = context;
    struct crew *before = find_before(master, crew);
    use_log(master, crew->log_fd, crew->plan);
    announce(crew, before);
    for (size_t i = 0; before != NULL && i < crew->plan->listeners_count; i++) {
        sockets_adjust(crew->listening[i], &crew->plan->listeners[i]);
    }
    master->exit_code = EXIT_OK; /* whatever became of those before */
    if (before != NULL) {
        log_info("generation %u serves with %u workers; generation %u ends with what it has",
                crew->number, crew->processes, before->number);
        crew_drain(before, false);
    }
    if (master->state == MASTER_STARTING) {
        master->state = MASTER_SERVING;
    } else {
        tell_reloaded(master, 200, "generation %u serves with %u workers", crew->number,
                crew->processes);
        open_control(master, crew->plan);
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
    if (master->state == MASTER_SERVING && master->crews == NULL) {
        log_error("generation %u failed, and no other is left: the server ends", crew->number);
        master->exit_code = master->exit_code != EXIT_OK ? master->exit_code : exit_code;
        master->state = MASTER_STOPPING;
        end_telling(master);
        loop_stop(master->loop);
    } else if (master->state == MASTER_SERVING) {
        struct weir_str said = buf_str(&crew->report);
        /* One that does not fit is cut. */
        (void)!buf_append(&master->report, said);
        if (crew->failure[0] != '\0') {
            (void)!buf_printf(&master->report, "weir: %s\n", crew->failure);
        }
        log_error("reload: generation %u failed, generation %u serves on", crew->number,
                serving == NULL ? 0 : serving->number);
        tell_reloaded(master, 409, "generation %u failed, generation %u serves on",
                crew->number, serving == NULL ? 0 : serving->number);
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
    if (master->crews == NULL && master->making == NULL) {
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
    cancel_plan(master);
    log_info("stopped at once%s", why);
    master->state = MASTER_STOPPING;
    master->was_told = true;
    end_telling(master);
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
    cancel_plan(master);
    log_info("stopping: what was accepted is answered");
    master->was_told = true;
    master->state = MASTER_STOPPING;
    end_telling(master);
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

/* ---- the control socket ------------------------------------------------------------------ */

static const char *
worker_state(const struct crew_worker *worker)
{
    switch (worker->state) {
    case CREW_WORKER_STARTING:
        return "starting";
    case CREW_WORKER_READY:
        return "ready";
    case CREW_WORKER_SERVING:
        return "serving";
    case CREW_WORKER_DRAINING:
        return "draining";
    }
    return "";
}

static const char *
crew_state_name(const struct crew *crew)
{
    switch (crew->state) {
    case CREW_STARTING:
        return "starting";
    case CREW_READY:
        return "ready";
    case CREW_OPENING:
        return "opening";
    case CREW_SERVING:
        return "serving";
    case CREW_FAILED:
        return "failed";
    case CREW_DRAINING:
        return "draining";
    }
    return "";
}

static int
put_worker(const struct crew_worker *worker, struct buf *json)
{
    const struct channel_figures *figures = &worker->figures;
    return buf_printf(json,
            "{\"index\": %u, \"process\": %d, \"state\": \"%s\", \"requests\": %llu, "
            "\"connections_open\": %llu, \"connections_accepted\": %llu, \"bytes_in\": %llu, "
            "\"bytes_out\": %llu}",
            worker->index, (int)worker->pid, worker_state(worker),
            (unsigned long long)figures->requests,
            (unsigned long long)figures->connections_open,
            (unsigned long long)figures->connections_accepted,
            (unsigned long long)figures->bytes_in, (unsigned long long)figures->bytes_out);
}

static int
put_crew(const struct crew *crew, struct buf *json)
{
    int r = buf_printf(json,
            "{\"number\": %u, \"state\": \"%s\", \"processes\": %u, \"loops\": %u, "
            "\"restarts\": %llu, \"workers\": [",
            crew->number, crew_state_name(crew), crew->processes, crew->loops,
            (unsigned long long)crew->restarts);
    for (const struct crew_worker *worker = crew->workers; r == 0 && worker != NULL;
            worker = worker->next) {
        r = worker == crew->workers ? 0 : buf_append(json, WEIR_STR(", "));
        r = r < 0 ? r : put_worker(worker, json);
    }
    return r < 0 ? r : buf_append(json, WEIR_STR("]}"));
}

static int
put_listeners(const struct crew *crew, struct buf *json)
{
    int r = 0;
    for (size_t i = 0; r == 0 && crew != NULL && i < crew->plan->listeners_count; i++) {
        char text[ADDR_TEXT_BYTES];
        size_t len = addr_format(&crew->listening[i]->bound, text);
        r = buf_append(json,
                i == 0 ? WEIR_STR("{\"address\": ") : WEIR_STR(", {\"address\": "));
        r = r < 0 ? r : control_json_string(json, weir_str_make(text, len));
        r = r < 0 ? r : buf_printf(json, ", \"sockets\": %u}", crew->listening[i]->count);
    }
    return r;
}

static int
on_status(void *context, struct buf *json)
{
    const struct master *master = context;
    static const char *const states[] = { "starting", "serving", "stopping" };
    uint64_t up_ns = loop_now_ns(master->loop) - master->started_ns;
    int r = buf_printf(json,
            "{\"version\": \"" PACKAGE_VERSION "\", \"process\": %d, \"state\": \"%s\", "
            "\"uptime_seconds\": %llu, \"generations\": [",
            (int)getpid(), states[master->state], (unsigned long long)(up_ns / NS_PER_S));
    for (const struct crew *crew = master->crews; r == 0 && crew != NULL; crew = crew->next) {
        r = crew == master->crews ? 0 : buf_append(json, WEIR_STR(", "));
        r = r < 0 ? r : put_crew(crew, json);
    }
    r = r < 0 ? r : buf_append(json, WEIR_STR("], \"listeners\": ["));
    r = r < 0 ? r : put_listeners(find_crew(master, CREW_SERVING), json);
    return r < 0 ? r : buf_append(json, WEIR_STR("]}\n"));
}

static void
on_reload(void *context)
{
    reload(context);
}

static void
on_reopen(void *context)
{
    reopen(context);
}

static void
on_stop(void *context)
{
    stop(context);
}

static const struct control_owner control_owner = {
    .status = on_status,
    .reload = on_reload,
    .reopen = on_reopen,
    .stop = on_stop,
};

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
    r = metric_new(&master->metrics);
    if (r < 0) {
        log_warn("no memory for figures, nothing is counted: %s", strerror(-r));
    }
    master->burial.fn = on_burial;
    master->started_ns = loop_now_ns(master->loop);
    master->crew_master = (struct crew_master){
        .loop = master->loop,
        .sockets = master->sockets,
        .program = master->program,
        .file = master->file,
        .metrics = master->metrics,
        .log_file = find_log_file,
        .on_shards = on_shards,
        .on_ready = on_ready,
        .on_serving = on_serving,
        .on_failed = on_failed,
        .on_empty = on_empty,
        .context = master,
    };
    code = begin_plan(master);
    print_report(&master->report);
    return code;
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
        plan_cancel(master.making);
        control_close(master.control);
        control_close(master.left);
        on_burial(&master.burial);
        while (master.crews != NULL) { /* nobody of them is left but after a failure to start */
            struct crew *crew = master.crews;
            master.crews = crew->next;
            crew_free(crew);
        }
        loop_undefer(master.loop, &master.burial);
    }
    log_init(STDERR_FILENO, LOG_INFO);
    buf_fini(&master.report);
    sockets_free(master.sockets);
    log_files_free(master.log_files);
    metric_free(master.metrics);
    signal_watch_free(master.signals);
    loop_free(master.loop);
    return code;
}
