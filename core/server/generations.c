/* SPDX-License-Identifier: MIT */
/*
 * Generations come and go in this order:
 *
 *     plan (read and checked) -> sockets, log files -> crew starts -> all ready -> all accept
 *                                                                                    |
 *                                                              the one before drains <
 *
 * A failure before all accept ends the new one and leaves the old one as it was. At most
 * GENERATIONS_MAX are there at once; the next one waits for a place.
 */
#include "server/generations.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "observe/log.h"
#include "server/exit.h"
#include "server/log_files.h"
#include "server/master_control.h"
#include "server/privileges.h"
#include "server/zones.h"

#define GENERATIONS_MAX 3u

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

/* ---- beginning --------------------------------------------------------------------------- */

/* Where the master's own lines go: the log of the generation that serves. */
static void
use_log(struct master *master, int fd, const struct plan *plan)
{
    master->log_fd = fd;
    log_init(fd, (enum log_level)(SITE_LOG_ERROR - plan->log.level));
    log_set_form(plan->log.format == SITE_LOG_JSON ? LOG_JSON : LOG_TEXT);
}

/* Closes the log files of generations that are no more, and gives up their zones. */
static void
close_unused(struct master *master)
{
    const struct plan *plans[GENERATIONS_MAX + 1];
    size_t count = 0;
    for (const struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        WEIR_ASSERT(count <= GENERATIONS_MAX);
        plans[count++] = crew->plan;
    }
    log_files_keep(master->log_files, plans, count, master->log_fd);
    zones_keep(master->zones, plans, count);
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
    close_unused(master);
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
find_log_file(void *context, struct weir_str path)
{
    const struct master *master = context;
    return log_files_find(master->log_files, path);
}

/* What is logged while a generation starts is for whoever asked for it, too. */
static void
note(void *context, const char *message, size_t len)
{
    struct master *master = context;
    (void)!buf_printf(&master->report, "weir: %.*s\n", (int)len, message);
}

/* The configuration is right: opens what it names, and starts its workers. Takes the plan over.
 * Returns an exit code. */
static int
start_generation(struct master *master, struct plan *plan)
{
    int code = EXIT_OK;
    if (geteuid() == 0 && plan->workers.user.len == 0) {
        /* All mistakes of the text are better known before. */
        code = privileges_drop(plan->workers.user, plan->workers.group);
    }
    code = code == EXIT_OK ? log_files_open(master->log_files, plan) : code;
    code = code == EXIT_OK ? zones_make(master->zones, plan) : code;
    if (code != EXIT_OK) {
        plan_free(plan);
        close_unused(master);
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
        close_unused(master);
        return code;
    }
    if (master->state == MASTER_STARTING) {
        master_open_control(master, crew->plan);
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

/* ---- telling who asked ------------------------------------------------------------------- */

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
void
generations_tell_stop(struct master *master)
{
    begin_telling(master);
    tell_reloaded(master, 503, "the server stops");
}

/* ---- reloading --------------------------------------------------------------------------- */

static unsigned
serving_number(const struct master *master)
{
    const struct crew *crew = master_find_crew(master, CREW_SERVING);
    return crew == NULL ? 0 : crew->number;
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
        generations_tell_stop(master);
        loop_stop(master->loop);
        return;
    }
    unsigned number = serving_number(master);
    log_error("reload: refused, generation %u serves on", number);
    tell_reloaded(master, 409, "generation %u serves on%s", number,
            buf_str(&master->report).len == 0 ? "; the server's log says why" : "");
}

static void
on_planned(void *context, int code, struct plan *plan)
{
    struct master *master = context;
    master->making = NULL;
    print_report(&master->report);
    if (code == EXIT_OK) {
        log_listen(note, master);
        code = start_generation(master, plan);
        log_listen(NULL, NULL);
    }
    if (code != EXIT_OK) {
        refuse(master, code);
        reload_if_due(master);
    }
}

/* Reads the configuration and has it checked, while all else goes on. Returns an exit code. */
int
generations_begin(struct master *master)
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
    int code = plan_begin(&order, &master->making);
    if (code != EXIT_OK) {
        print_report(&master->report);
    }
    return code;
}

/* The server stops: what is being checked is not wanted any more. */
void
generations_cancel(struct master *master)
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

void
generations_reload(struct master *master)
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
    int code = generations_begin(master);
    if (code != EXIT_OK) {
        refuse(master, code);
    }
}

static void
reload_if_due(struct master *master)
{
    if (master->must_reload && master->state == MASTER_SERVING) {
        generations_reload(master);
    }
}

/* ---- what crews tell --------------------------------------------------------------------- */

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
        master_open_control(master, crew->plan);
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
    struct crew *serving = master_find_crew(master, CREW_SERVING);
    if (master->state == MASTER_SERVING && master->crews == NULL) {
        log_error("generation %u failed, and no other is left: the server ends", crew->number);
        master->exit_code = master->exit_code != EXIT_OK ? master->exit_code : exit_code;
        master->state = MASTER_STOPPING;
        generations_tell_stop(master);
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

static void
on_shards(void *context)
{
    const struct master *master = context;
    for (struct crew *crew = master->crews; crew != NULL; crew = crew->next) {
        crew_send_shards(crew);
    }
}

/* ---- life -------------------------------------------------------------------------------- */

void
generations_init(struct master *master)
{
    master->burial.fn = on_burial;
    master->crew_master.on_ready = on_ready;
    master->crew_master.on_serving = on_serving;
    master->crew_master.on_failed = on_failed;
    master->crew_master.on_empty = on_empty;
    master->crew_master.on_shards = on_shards;
    master->crew_master.log_file = find_log_file;
    master->crew_master.context = master;
}

void
generations_fini(struct master *master)
{
    plan_cancel(master->making);
    on_burial(&master->burial);
    while (master->crews != NULL) { /* nobody of them is left but after a failure to start */
        struct crew *crew = master->crews;
        master->crews = crew->next;
        crew_free(crew);
    }
    loop_undefer(master->loop, &master->burial);
}
