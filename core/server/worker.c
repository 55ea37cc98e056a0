/* SPDX-License-Identifier: MIT */
/*
 *     BEGINNING --START--> (loads, says READY) --> SERVING --DRAIN--> --all loops done--> exit
 *                              \--fails--> exit with a code     \--STOP--> exit
 *
 * The main thread turns the first loop and talks to the master; the other loops turn on threads
 * of their own and are told by letters. The process has given up its privileges before it was
 * executed, and whatever the master does not send it does not have.
 */
#include "server/worker.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/buf.h"
#include "event/loop.h"
#include "event/signal.h"
#include "http/spill.h"
#include "observe/flight.h"
#include "observe/log.h"
#include "observe/metric.h"
#include "observe/zone.h"
#include "server/exit.h"
#include "server/hint.h"
#include "server/memory.h"
#include "server/worker_hearing.h"

#define REPORT_MAX_BYTES (1u << 20)

/* What the pools' threads may take to end after the last connection has. */
#define POOLS_STOP_NS (500 * NS_PER_MS)

/* A loop tells the main thread that it has finished. */
struct farewell {
    struct letter letter;
    struct worker *worker;
};

/* Or that it accepts from a slot, or cannot. */
struct welcome {
    struct letter letter;
    struct worker *worker;
    struct channel_slot slot;
    bool is_open;
};

/* ---- telling the master ------------------------------------------------------------------ */

void
worker_say(struct worker *worker, enum channel_type type, const void *body, size_t bytes)
{
    int r = channel_send(worker->channel, type, body, bytes, NULL, 0);
    (void)r; /* a master that is gone ends us; one that is busy is told again */
}

/* What is wrong with the configuration, as weir check prints it. */
static void
send_report(struct worker *worker, struct diagnostics *diagnostics)
{
    struct buf text;
    buf_init(&text, REPORT_MAX_BYTES);
    if (diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, false, &text) == 0) {
        struct weir_str rest = buf_str(&text);
        while (rest.len > 0) {
            size_t len = rest.len < CHANNEL_BODY_MAX ? rest.len : CHANNEL_BODY_MAX;
            worker_say(worker, CHANNEL_REPORT, rest.ptr, len);
            rest.ptr += len;
            rest.len -= len;
        }
    }
    buf_fini(&text);
}

static void
ask_for_another(struct worker *worker)
{
    const struct channel_recycle body = { .is_told = worker->is_told };
    if (!worker->is_ending) {
        worker_say(worker, CHANNEL_RECYCLE, &body, sizeof(body));
    }
}

static void
on_figures_timer(struct timer *timer)
{
    struct worker *worker = (struct worker *)((char *)timer -
            offsetof(struct worker, figures_timer));
    struct channel_figures sum = { .requests = 0 };
    for (unsigned i = 0; i < worker->loop_count; i++) {
        const struct worker_loop_figures *figures = &worker->loops[i].figures;
        uint64_t accepted = atomic_load_explicit(&figures->accepted, memory_order_relaxed);
        uint64_t closed = atomic_load_explicit(&figures->closed, memory_order_relaxed);
        sum.connections_accepted += accepted;
        sum.connections_open += accepted > closed ? accepted - closed : 0;
        sum.connections_active += atomic_load_explicit(&figures->active, memory_order_relaxed);
        sum.tunnels += atomic_load_explicit(&figures->tunnels, memory_order_relaxed);
        sum.requests += atomic_load_explicit(&figures->requests, memory_order_relaxed);
        sum.bytes_in += atomic_load_explicit(&figures->bytes_in, memory_order_relaxed);
        sum.bytes_out += atomic_load_explicit(&figures->bytes_out, memory_order_relaxed);
    }
    worker_say(worker, CHANNEL_FIGURES, &sum, sizeof(sum));
    if (sum.requests >= worker->max_requests || worker->is_told) {
        ask_for_another(worker); /* again until it is heeded */
    }
    int r = timer_set(timer, clock_add_ns(loop_now_ns(worker->loop), NS_PER_S));
    (void)r; /* in its own callback it cannot fail */
}

/* ---- ending ------------------------------------------------------------------------------ */

static void
order_all(struct worker *worker, const struct worker_order *order)
{
    for (unsigned i = 0; i < worker->loop_count; i++) {
        if (worker_loop_order(&worker->loops[i], order) < 0) {
            log_error("out of memory: the worker ends");
            _exit(EXIT_SYSTEM);
        }
    }
}

void
worker_end(struct worker *worker, enum worker_order_kind how, uint64_t timeout_ns, bool is_stop)
{
    worker->is_ending = true;
    if (!worker->has_started) {
        loop_stop(worker->loop);
        return;
    }
    if (how == WORKER_ORDER_DRAIN) {
        life_end(worker->life, is_stop ? WEIR_ENDS_WITH_SERVER : WEIR_ENDS_REPLACED);
        life_drain(worker->life);
    }
    order_all(worker,
            &(struct worker_order){ .kind = how,
                    .fd = -1,
                    .timeout_ns = timeout_ns,
                    .is_stop = is_stop });
}

static void
on_farewell(struct letter *letter)
{
    struct farewell *farewell = (struct farewell *)((char *)letter -
            offsetof(struct farewell, letter));
    struct worker *worker = farewell->worker;
    free(farewell);
    /* Until the last of them has ended the master is listened to. */
    if (++worker->finished == worker->loop_count) {
        loop_stop(worker->loop);
    }
}

/* On whichever loop it is. */
static void
on_loop_finished(void *context, struct worker_loop *loop)
{
    struct worker *worker = context;
    (void)loop;
    struct farewell *farewell = malloc(sizeof(*farewell));
    if (farewell == NULL) {
        _exit(EXIT_SYSTEM);
    }
    *farewell = (struct farewell){ .letter = { .fn = on_farewell }, .worker = worker };
    mailbox_post(worker->mailbox, &farewell->letter);
}

static void
on_welcome(struct letter *letter)
{
    struct welcome *welcome = (struct welcome *)((char *)letter -
            offsetof(struct welcome, letter));
    worker_say(welcome->worker, welcome->is_open ? CHANNEL_ACCEPTING : CHANNEL_DECLINED,
            &welcome->slot, sizeof(welcome->slot));
    free(welcome);
}

/* On whichever loop it is. */
static void
on_slot_opened(void *context, uint32_t slot, bool is_open)
{
    struct worker *worker = context;
    struct welcome *welcome = malloc(sizeof(*welcome));
    if (welcome == NULL) {
        _exit(EXIT_SYSTEM);
    }
    *welcome = (struct welcome){ { .fn = on_welcome }, worker, { slot }, is_open };
    mailbox_post(worker->mailbox, &welcome->letter);
}

/* Signals of the terminal reach us too and are the master's to act on. TERM is meant for this
 * process: it serves until the master has another in its place, or connections would wait at
 * sockets that nobody looks at. */
static void
on_signal(void *context, int signo)
{
    struct worker *worker = context;
    if (signo == SIGTERM && worker->has_started) {
        worker->is_told = true;
        ask_for_another(worker);
    } else if (signo == SIGTERM) {
        loop_stop(worker->loop);
    }
}

/* ---- starting ---------------------------------------------------------------------------- */

static int
load_site(struct worker *worker, struct diagnostics *diagnostics)
{
    int r = worker->sources_fd >= 0
            ? site_load_bundle(worker->sources_fd, diagnostics, &worker->site)
            : site_load(worker->file, diagnostics, &worker->site);
    if (r < 0) {
        return r == -ENOMEM ? EXIT_SYSTEM : EXIT_CONFIGURATION;
    }
    if (worker->site->listeners_count != worker->inherited_count) {
        log_error(
                "the configuration has %zu listeners, %zu were opened: it has changed, or this "
                "is another build",
                worker->site->listeners_count, worker->inherited_count);
        return EXIT_RUNTIME;
    }
    struct weir_str temp_dir = worker->site->workers.temp_dir;
    r = worker->site->keeps_bodies ? spill_check(temp_dir) : 0;
    if (r < 0) {
        log_error("workers.temp_dir: the bodies of limits.body_buffer cannot be kept in %.*s: "
                  "%s: name a directory that workers.user may write to",
                WEIR_STR_ARG(temp_dir), strerror(-r));
        return EXIT_CONFIGURATION;
    }
    worker->max_requests = worker->site->workers.max_requests;
    budget_init(memory_of_worker(&worker->site->workers, worker->hello.processes));
    spill_limit(worker->site->workers.temp_size_bytes);
    r = generation_new(worker->site, diagnostics, &worker->generation);
    return r == 0 ? EXIT_OK : r == -ENOMEM ? EXIT_SYSTEM : EXIT_CONFIGURATION;
}

static int
make_loops(struct worker *worker)
{
    unsigned count = (unsigned)worker->site->workers.loops;
    int r = life_new(worker->site, count, &worker->life);
    r = r < 0 ? r : pools_new(worker->site, worker->life, &worker->pools);
    if (r < 0) {
        log_error("the pools cannot be started: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    worker->loops = calloc(count, sizeof(*worker->loops));
    worker->health = health_board_new(count);
    r = worker->loops == NULL || worker->health == NULL ? -ENOMEM : 0;
    for (unsigned i = 0; r == 0 && i < count; i++) {
        struct loop *loop = worker->loop;
        r = i == 0 ? 0 : loop_new(NULL, &loop);
        if (r == 0) {
            const struct worker_loop_settings settings = {
                .index = i,
                .count = count,
                .generation = worker->generation,
                .pools = worker->pools,
                .life = worker->life,
                .metrics = worker->metrics,
                .temp_dir = worker->site->workers.temp_dir,
                .upstreams = worker->site->upstreams,
                .upstreams_count = worker->site->upstreams_count,
                .health = worker->health,
                .loop = loop,
                .on_opened = on_slot_opened,
                .on_finished = on_loop_finished,
                .context = worker,
            };
            worker->loop_count = i + 1;
            r = worker_loop_init(&worker->loops[i], &settings);
        }
    }
    if (r == 0) {
        r = mailbox_new(worker->loop, &worker->mailbox);
    }
    if (r < 0) {
        log_error("the event loops cannot be made: %s%s", strerror(-r), hint_of(-r));
        return EXIT_SYSTEM;
    }
    return EXIT_OK;
}

/* One core for each loop, in order, of those that the process may use. */
static void
set_affinity(const struct worker *worker, unsigned index)
{
    cpu_set_t allowed, one;
    if (!worker->site->workers.cpu_affinity ||
            sched_getaffinity(0, sizeof(allowed), &allowed) == -1) {
        return;
    }
    int nth = (int)((worker->hello.index * worker->loop_count + index) %
            (unsigned)CPU_COUNT(&allowed));
    size_t core = 0;
    while (!CPU_ISSET(core, &allowed) || nth-- > 0) {
        core++;
    }
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    pthread_t thread = index == 0 ? pthread_self() : worker->loops[index].thread;
    if (pthread_setaffinity_np(thread, sizeof(one), &one) != 0) {
        log_warn("workers.cpu_affinity: a loop cannot be bound to core %zu", core);
    }
}

/* The modules begin, then the loops one by one, with the modules on each. */
static int
start_modules(struct worker *worker)
{
    struct diagnostics *diagnostics = diagnostics_new();
    if (diagnostics == NULL) {
        return EXIT_SYSTEM;
    }
    int r = life_start(worker->life, diagnostics);
    for (unsigned i = 0; r == 0 && i < worker->loop_count; i++) {
        r = worker_loop_start(&worker->loops[i], diagnostics);
        if (r < 0) {
            log_error("event loop %u cannot be started: %s", i, strerror(-r));
        }
    }
    send_report(worker, diagnostics);
    diagnostics_free(diagnostics);
    return r == 0 ? EXIT_OK : EXIT_RUNTIME;
}

static int
start_loops(struct worker *worker)
{
    int code = start_modules(worker);
    if (code != EXIT_OK) {
        return code;
    }
    for (unsigned i = worker->loop_count; i > 0; i--) {
        set_affinity(worker, i - 1);
    }
    int r = timer_set(&worker->figures_timer,
            clock_add_ns(loop_now_ns(worker->loop), NS_PER_S));
    return r < 0 ? EXIT_SYSTEM : EXIT_OK;
}

void
worker_start(struct worker *worker)
{
    struct diagnostics *diagnostics = diagnostics_new();
    int code = diagnostics == NULL || worker->file == NULL ? EXIT_SYSTEM : EXIT_OK;
    if (code == EXIT_OK) {
        code = load_site(worker, diagnostics);
        send_report(worker, diagnostics);
    }
    diagnostics_free(diagnostics);
    if (code == EXIT_OK) {
        code = make_loops(worker);
    }
    if (code == EXIT_OK) {
        worker->has_started = true;
        code = start_loops(worker);
    }
    if (code != EXIT_OK) {
        worker->exit_code = code;
        worker_end(worker, WORKER_ORDER_STOP, 0, true);
        loop_stop(worker->loop); /* a loop without a thread says no farewell */
        return;
    }
    worker_say(worker, CHANNEL_READY, NULL, 0);
}

/* ---- life -------------------------------------------------------------------------------- */

static void
fini(struct worker *worker)
{
    for (unsigned i = 1; i < worker->loop_count; i++) {
        if (worker->loops[i].has_thread) {
            pthread_join(worker->loops[i].thread, NULL);
        }
    }
    for (unsigned i = 0; i < worker->loop_count; i++) {
        worker_loop_settle(&worker->loops[i]);
    }
    signal_watch_free(worker->signals);
    timer_cancel(&worker->figures_timer);
    channel_free(worker->channel);
    bool is_quiet = true;
    if (worker->pools != NULL) {
        uint64_t deadline_ns = clock_add_ns(clock_monotonic_ns(clock_system()), POOLS_STOP_NS);
        is_quiet = pools_stop(worker->pools, deadline_ns);
        if (!is_quiet) {
            log_warn("stopped while threads of a pool were still at work");
        }
    }
    for (unsigned i = 0; i < worker->loop_count; i++) {
        loop_turn(worker->loops[i].loop, false);
    }
    if (worker->loop_count > 0 && worker->pools != NULL) {
        figures_take_pools(worker->loops[0].counted, worker->pools); /* the last of them */
    }
    pools_free(worker->pools);
    if (worker->life != NULL) {
        life_stop(worker->life);
    }
    mailbox_free(worker->mailbox);
    for (unsigned i = 0; i < worker->loop_count; i++) {
        worker_loop_fini(&worker->loops[i]);
    }
    if (worker->loop_count == 0) {
        loop_free(worker->loop);
    }
    free(worker->loops);
    health_board_free(worker->health);
    if (!is_quiet) {
        /* What those threads may look at stays as it is, and goes with the process. */
        generation_close(worker->generation, worker->life);
        _exit(worker->exit_code);
    }
    life_free(worker->life);
    metric_publish(NULL);
    metric_free(worker->metrics);
    generation_free(worker->generation);
    zone_forget();
    site_free(worker->site);
    worker_close_inherited(worker);
    for (size_t i = 0; i < worker->inherited_count; i++) {
        free(worker->inherited[i].fds);
    }
    free(worker->inherited);
    free(worker->file);
    if (worker->sources_fd >= 0) {
        close(worker->sources_fd);
    }
}

static bool
has_channel(void)
{
    int type = 0;
    socklen_t bytes = sizeof(type);
    return getsockopt(CHANNEL_WORKER_FD, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 &&
            type == SOCK_SEQPACKET;
}

int
command_worker(int argc, char **argv)
{
    (void)argv;
    if (argc != 1 || !has_channel()) {
        fputs("weir worker: is started by weir run, and by nobody else\n", stderr);
        return EXIT_USAGE_ERROR;
    }
    fcntl(CHANNEL_WORKER_FD, F_SETFD, FD_CLOEXEC);
    zone_expect_offers();
    static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN,
        SIGTTOU, SIGWINCH };
    struct worker worker = { .sources_fd = -1, .log_fd = -1 };
    flight_catch_crashes(STDERR_FILENO, course_describe);
    signal_ignore_pipe();
    memory_keep_spare();
    int r = loop_new(NULL, &worker.loop);
    if (r == 0) {
        timer_init(&worker.figures_timer, worker.loop, on_figures_timer);
        r = signal_watch_new(worker.loop, signals, sizeof(signals) / sizeof(signals[0]),
                on_signal, &worker, &worker.signals);
    }
    const struct channel_owner owner = { worker_on_message, worker_on_channel_closed, &worker };
    if (r == 0) {
        r = channel_new(worker.loop, CHANNEL_WORKER_FD, &owner, &worker.channel);
    }
    if (r < 0) {
        log_error("the event loop cannot be made: %s%s", strerror(-r), hint_of(-r));
        return EXIT_SYSTEM;
    }
    loop_run(worker.loop);
    /* What ended in the last turn has been put off to the next. */
    loop_turn(worker.loop, false);
    fini(&worker);
    return worker.exit_code;
}
