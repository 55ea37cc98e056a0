/* SPDX-License-Identifier: MIT */
/* Workers are forked and exec'd, so that each begins with a clean address space and the newest
 * library and modules. What they need comes over their channel, descriptors included; nothing
 * else of the master's is open in them. */
#include "server/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
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
#include "module/chain.h"
#include "observe/log.h"
#include "server/exit.h"
#include "server/privileges.h"

#define REPORT_MAX_BYTES (1u << 20)

/* A worker that dies sooner has died quickly; so many in a row are a loop. */
#define QUICK_NS         NS_PER_S
#define QUICK_DEATHS_MAX 10u

#define RESTART_FIRST_NS (100 * NS_PER_MS)
#define RESTART_LOOP_NS  NS_PER_S /* at the most, until it is a loop */
#define RESTART_MAX_NS   (30 * NS_PER_S)

/* How long after its deadline a worker that should have ended is killed. */
#define KILL_AFTER_NS (3 * NS_PER_S)

#define PROCESSES_MAX 1024u

/* How often loops are looked at, at the least; a stall takes several looks. */
#define WATCH_MAX_NS NS_PER_S

#define DESCRIPTION_BYTES 512

/* ---- words ------------------------------------------------------------------------------- */

/* As the public header names them. */
static const char *
hook_name(unsigned hook)
{
    return phase_name((enum weir_phase)hook);
}

/* How it ended, and in which module, where it was in one. */
static const char *
describe_end(const struct crew_worker *worker, int status, char *text, size_t bytes)
{
    char where[DESCRIPTION_BYTES], how[64];
    bool is_well = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK;
    bool is_known = worker->flight != NULL && !is_well &&
            flight_describe(worker->flight, hook_name, where, sizeof(where));
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(how, sizeof(how), "killed by SIG%s%s", name == NULL ? "?" : name,
                WCOREDUMP(status) ? ", core dumped," : "");
    } else {
        snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(status));
    }
    snprintf(text, bytes, "%s%s%s", how, is_known ? " in " : "", is_known ? where : "");
    return text;
}

/* ---- sending ----------------------------------------------------------------------------- */

/* A worker that takes no messages is none: it is killed, and replaced when it has ended. */
static void
send_to(struct crew_worker *worker, enum channel_type type, const void *body, size_t bytes,
        const int *descriptors, size_t count)
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

static void
send_sockets(struct crew_worker *worker, size_t address, unsigned from)
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
        send_to(worker, CHANNEL_LISTENERS, &body, sizeof(body), &listening->fds[from], count);
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
    send_to(worker, CHANNEL_LOG, &body, sizeof(body), &worker->crew->master->log_fd, 1);
}

static void
send_log_files(struct crew_worker *worker)
{
    const struct crew_master *master = worker->crew->master;
    const struct plan *plan = worker->crew->plan;
    for (size_t i = 0; i < plan->log_files_count; i++) {
        int fd = master->log_file(master->context, plan->log_files[i]);
        if (fd >= 0) {
            send_to(worker, CHANNEL_FILE, plan->log_files[i].ptr, plan->log_files[i].len, &fd,
                    1);
        }
    }
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
    send_to(worker, CHANNEL_HELLO, &hello, sizeof(hello), NULL, 0);
    send_log(worker);
    send_to(worker, CHANNEL_SOURCES, crew->master->file, strlen(crew->master->file),
            &crew->plan->sources_fd, crew->plan->sources_fd >= 0 ? 1 : 0);
    if (worker->flight != NULL) {
        int fd = flight_fd(worker->flight);
        send_to(worker, CHANNEL_FLIGHT, NULL, 0, &fd, 1);
    }
    if (crew->master->metrics != NULL) {
        int fd = metric_fd(crew->master->metrics);
        send_to(worker, CHANNEL_METRICS, NULL, 0, &fd, 1);
    }
    send_log_files(worker);
    for (size_t i = 0; i < crew->plan->listeners_count; i++) {
        send_sockets(worker, i, 0);
    }
    send_to(worker, CHANNEL_START, NULL, 0, NULL, 0);
}

/* ---- who accepts ------------------------------------------------------------------------- */

static struct crew_worker *
find_serving(const struct crew *crew, unsigned index)
{
    struct crew_worker *worker = crew->workers;
    while (worker != NULL && (worker->index != index || worker->state != CREW_WORKER_SERVING)) {
        worker = worker->next;
    }
    return worker;
}

static struct crew_worker *
nth_serving(const struct crew *crew, unsigned n)
{
    struct crew_worker *worker = crew->workers;
    for (;; worker = worker->next) {
        if (worker->state == CREW_WORKER_SERVING && n-- == 0) {
            return worker;
        }
    }
}

/* Every slot has somebody who accepts from it, for as long as anybody serves: its own worker
 * or, where that is not there, one of the others in turn. */
static void
assign(struct crew *crew)
{
    if (crew->is_paused) {
        return;
    }
    unsigned serving = crew_count(crew, CREW_WORKER_SERVING);
    for (unsigned slot = 0; slot < crew->owner_count; slot++) {
        struct crew_worker *worker = find_serving(crew, slot / crew->loops);
        if (worker == NULL && serving > 0) {
            worker = nth_serving(crew, slot % serving);
        }
        struct crew_worker *before = crew->owners[slot];
        if (before == worker) {
            continue;
        }
        const struct channel_slot body = { .slot = slot };
        crew->owners[slot] = worker;
        if (worker != NULL) {
            send_to(worker, CHANNEL_ACCEPT, &body, sizeof(body), NULL, 0);
        }
        if (before != NULL && before->state == CREW_WORKER_SERVING) {
            send_to(before, CHANNEL_RELEASE, &body, sizeof(body), NULL, 0);
        }
    }
}

/* Sockets that were opened since reach those who serve, and the slots their owners. */
static bool
take_new_sockets(struct crew *crew)
{
    unsigned slots = crew->processes * crew->loops;
    for (size_t i = 0; i < crew->plan->listeners_count; i++) {
        const struct listening *listening = crew->listening[i];
        slots = !listening->is_shared && listening->count > slots ? listening->count : slots;
    }
    if (slots > crew->owner_count) {
        struct crew_worker **owners = realloc(crew->owners, slots * sizeof(*owners));
        if (owners == NULL) {
            log_error("out of memory");
            return false;
        }
        memset(owners + crew->owner_count, 0, (slots - crew->owner_count) * sizeof(*owners));
        crew->owners = owners;
        crew->owner_count = slots;
    }
    for (size_t i = 0; i < crew->plan->listeners_count; i++) {
        for (struct crew_worker *worker = crew->workers; worker != NULL;
                worker = worker->next) {
            send_sockets(worker, i, crew->sent[i]);
        }
        crew->sent[i] = crew->listening[i]->count;
    }
    return true;
}

void
crew_refresh(struct crew *crew)
{
    if (crew->has_sockets && take_new_sockets(crew) && crew->state == CREW_SERVING) {
        assign(crew);
    }
}

/* ---- hearing ----------------------------------------------------------------------------- */

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

static void
drain_one(struct crew_worker *worker, bool is_stop)
{
    const struct channel_drain body = {
        .timeout_ns = worker->crew->plan->workers.drain_timeout_ns,
        .is_stop = is_stop,
    };
    worker->state = CREW_WORKER_DRAINING;
    send_to(worker, CHANNEL_DRAIN, &body, sizeof(body), NULL, 0);
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
        drain_one(before, false);
    }
    assign(crew);
    log_info("worker %u (generation %u) serves as process %d", worker->index, crew->number,
            (int)worker->pid);
}

static void start_missing(struct crew *crew);

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
        start_missing(crew);
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

static void
on_message(void *context, const struct channel_message *message)
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
static void
on_channel_closed(void *context)
{
    (void)context;
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
    close_range(CHANNEL_WORKER_FD + 1, ~0U, 0);
    char *const argv[] = { (char *)(uintptr_t) "weir", (char *)(uintptr_t) "worker", NULL };
    execv(crew->master->program, argv);
    log_error("%s cannot be executed as %s: %s", crew->master->program,
            workers->user.len > 0 ? "workers.user" : "a worker", strerror(errno));
    _exit(errno == EACCES ? EXIT_PERMISSION : EXIT_SYSTEM);
}

static int
start_worker(struct crew *crew, unsigned index)
{
    struct crew_worker *worker = calloc(1, sizeof(*worker));
    int ends[2] = { -1, -1 };
    int r = worker == NULL ? -ENOMEM : channel_pair(ends);
    const struct channel_owner owner = { on_message, on_channel_closed, worker };
    if (r == 0) {
        r = channel_new(crew->master->loop, ends[0], &owner, &worker->channel);
    }
    if (r < 0) {
        goto fail;
    }
    pid_t master = getpid();
    worker->crew = crew;
    worker->index = index;
    worker->started_ns = loop_now_ns(crew->master->loop);
    r = flight_new(&worker->flight);
    if (r < 0) {
        log_warn("worker %u (generation %u): no memory to record what it does: %s", index,
                crew->number, strerror(-r));
    }
    worker->pid = fork();
    if (worker->pid == 0) {
        become_worker(crew, ends[1], master);
    }
    if (worker->pid == -1) {
        r = -errno;
        channel_free(worker->channel);
        flight_free(worker->flight);
        ends[0] = -1;
        goto fail;
    }
    close(ends[1]);
    worker->next = crew->workers;
    crew->workers = worker;
    send_beginning(worker);
    return EXIT_OK;

fail:
    if (ends[0] != -1) {
        close(ends[0]);
    }
    if (ends[1] != -1) {
        close(ends[1]);
    }
    free(worker);
    log_error("worker %u (generation %u) cannot be started: %s", index, crew->number,
            strerror(-r));
    return EXIT_SYSTEM;
}

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

static void
start_later(struct crew *crew)
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

static void
start_missing(struct crew *crew)
{
    for (unsigned i = 0; crew->state == CREW_SERVING && i < crew->processes; i++) {
        if (!has_worker(crew, i) && start_worker(crew, i) != EXIT_OK) {
            crew->quick_deaths++;
            start_later(crew);
            return;
        }
    }
}

static void
on_restart_timer(struct timer *timer)
{
    struct crew *crew = (struct crew *)((char *)timer - offsetof(struct crew, restart_timer));
    int r = timer_set(timer, CLOCK_NEVER);
    WEIR_ASSERT(r == 0);
    start_missing(crew);
}

static void
kill_all(const struct crew *crew, int signo)
{
    for (const struct crew_worker *worker = crew->workers; worker != NULL;
            worker = worker->next) {
        kill(worker->pid, signo);
    }
}

/* A worker that serves nobody yet. */
static void
end_unneeded(struct crew_worker *worker)
{
    worker->was_killed = true;
    kill(worker->pid, SIGKILL);
}

/* A crew that serves no more has no worker left. May free it. */
static void
tell_empty(struct crew *crew)
{
    if (crew->state == CREW_FAILED) {
        crew->master->on_failed(crew->master->context, crew, crew->exit_code);
    } else {
        crew->master->on_empty(crew->master->context, crew);
    }
}

static void
on_kill_timer(struct timer *timer)
{
    struct crew *crew = (struct crew *)((char *)timer - offsetof(struct crew, kill_timer));
    int r = timer_set(timer, CLOCK_NEVER);
    WEIR_ASSERT(r == 0);
    if (crew->workers == NULL) { /* there was nobody left whose end would have said so */
        tell_empty(crew);
        return;
    }
    for (const struct crew_worker *worker = crew->workers; worker != NULL;
            worker = worker->next) {
        log_error("worker %u (generation %u, process %d) does not end: killed", worker->index,
                crew->number, (int)worker->pid);
    }
    kill_all(crew, SIGKILL);
}

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

/* A loop that does not come back from a module serves nobody: its worker is replaced. */
static void
watch(struct crew_worker *worker, uint64_t now_ns, uint64_t limit_ns)
{
    char where[DESCRIPTION_BYTES];
    if (worker->is_stalled) {
        kill(worker->pid, SIGKILL); /* it did not even abort */
        return;
    }
    if (worker->flight == NULL || worker->state == CREW_WORKER_STARTING ||
            !flight_is_stalled(worker->flight, now_ns, limit_ns, hook_name, where,
                    sizeof(where))) {
        return;
    }
    if (is_held(worker->pid)) {
        flight_look_anew(worker->flight);
        return;
    }
    worker->is_stalled = true;
    log_error("worker %u (generation %u, process %d) is stuck in %s, for longer than "
              "workers.stall_timeout: it is ended",
            worker->index, worker->crew->number, (int)worker->pid, where);
    kill(worker->pid, SIGABRT);
}

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
        watch(worker, now_ns, crew->plan->workers.stall_timeout_ns);
    }
    watch_later(crew);
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
    timer_init(&crew->restart_timer, master->loop, on_restart_timer);
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
    if (!take_new_sockets(crew)) {
        code = EXIT_SYSTEM;
        goto fail;
    }
    for (unsigned i = 0; i < crew->processes; i++) {
        code = start_worker(crew, i);
        if (code != EXIT_OK) {
            if (crew->workers == NULL) {
                goto fail;
            }
            crew->exit_code = code;
            crew->state = CREW_FAILED; /* on_failed() when those that run have ended */
            kill_all(crew, SIGKILL);
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

static void
free_worker(struct crew_worker *worker)
{
    channel_free(worker->channel);
    flight_free(worker->flight);
    free(worker);
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
        free_worker(worker);
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
    (void)take_new_sockets(crew); /* TTIN may have opened some since it began */
    crew->unopened = crew->owner_count;
    assign(crew);
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
            end_unneeded(worker);
        } else if (worker->state != CREW_WORKER_DRAINING || is_stop) {
            drain_one(worker, is_stop);
        }
    }
    for (unsigned i = 0; i < crew->owner_count; i++) {
        crew->owners[i] = NULL;
    }
    give_up_sockets(crew);
    kill_after(crew, crew->plan->workers.drain_timeout_ns);
}

void
crew_pause(struct crew *crew)
{
    crew->is_paused = true;
    for (unsigned slot = 0; slot < crew->owner_count; slot++) {
        const struct channel_slot body = { .slot = slot };
        if (crew->owners[slot] != NULL) {
            send_to(crew->owners[slot], CHANNEL_RELEASE, &body, sizeof(body), NULL, 0);
            crew->owners[slot] = NULL;
        }
    }
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
            end_unneeded(worker);
        } else {
            worker->state = CREW_WORKER_DRAINING;
            send_to(worker, CHANNEL_STOP, NULL, 0, NULL, 0);
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
    start_missing(crew);
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
            end_unneeded(worker);
        } else {
            drain_one(worker, false);
        }
        worker->is_leaving = true;
    }
    assign(crew);
    return true;
}

void
crew_reopen(struct crew *crew)
{
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        send_log(worker);
        send_log_files(worker);
    }
}

/* ---- ends -------------------------------------------------------------------------------- */

static void
on_death_while_serving(struct crew *crew, const struct crew_worker *worker, int status)
{
    bool is_wanted = worker->state == CREW_WORKER_DRAINING || worker->is_leaving;
    if (is_wanted) {
        return;
    }
    char text[DESCRIPTION_BYTES + 128];
    uint64_t now_ns = loop_now_ns(crew->master->loop);
    bool was_quick = worker->state == CREW_WORKER_STARTING ||
            now_ns - worker->serving_ns < QUICK_NS;
    bool was_asked = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK;
    if (was_asked) {
        log_info("worker %u (generation %u, process %d) ended by itself: it is replaced",
                worker->index, crew->number, (int)worker->pid);
    } else {
        log_error("worker %u (generation %u, process %d) %s: it is replaced", worker->index,
                crew->number, (int)worker->pid,
                describe_end(worker, status, text, sizeof(text)));
    }
    crew->quick_deaths = was_quick && !was_asked ? crew->quick_deaths + 1 : 0;
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
    start_later(crew);
}

static void
on_death_while_starting(struct crew *crew, const struct crew_worker *worker, int status)
{
    if (crew->state == CREW_FAILED) {
        return;
    }
    bool has_code = WIFEXITED(status) && WEXITSTATUS(status) != EXIT_OK;
    crew->exit_code = has_code ? WEXITSTATUS(status) : EXIT_RUNTIME;
    if (!has_code) {
        char text[DESCRIPTION_BYTES + 128];
        log_error("worker %u (generation %u) %s before it was ready", worker->index,
                crew->number, describe_end(worker, status, text, sizeof(text)));
    }
    crew->state = CREW_FAILED;
    kill_all(crew, SIGKILL);
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
    channel_take_rest(worker->channel);
    *link = worker->next;
    for (unsigned i = 0; i < crew->owner_count; i++) {
        crew->owners[i] = crew->owners[i] == worker ? NULL : crew->owners[i];
    }
    for (struct crew_worker *other = crew->workers; other != NULL; other = other->next) {
        other->is_replaced &= other->index != worker->index; /* its replacement failed */
    }
    switch (crew->state) {
    case CREW_STARTING:
    case CREW_READY:
    case CREW_FAILED:
        on_death_while_starting(crew, worker, status);
        break;
    case CREW_SERVING:
        on_death_while_serving(crew, worker, status);
        break;
    case CREW_DRAINING: {
        char text[DESCRIPTION_BYTES + 128];
        bool is_well = worker->was_killed ||
                (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK);
        if (!is_well) {
            log_error("worker %u (generation %u, process %d) %s while it was stopping",
                    worker->index, crew->number, (int)worker->pid,
                    describe_end(worker, status, text, sizeof(text)));
        }
        break;
    }
    }
    if (crew->master->metrics != NULL) {
        metric_fold(crew->master->metrics, worker->pid);
    }
    free_worker(worker);
    if (crew->state == CREW_SERVING) {
        assign(crew);
        if (crew->unopened > 0) { /* it may have been the one that was waited for */
            crew->unopened = 0;
            crew->master->on_serving(crew->master->context, crew);
        }
    } else if (crew->workers == NULL) {
        int r = timer_set(&crew->kill_timer, CLOCK_NEVER);
        WEIR_ASSERT(r == 0);
        tell_empty(crew);
    }
    return true;
}
