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

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/buf.h"
#include "event/loop.h"
#include "event/signal.h"
#include "observe/flight.h"
#include "observe/log.h"
#include "observe/log_file.h"
#include "observe/metric.h"
#include "server/channel.h"
#include "server/exit.h"
#include "server/hint.h"
#include "server/memory.h"
#include "server/worker_loop.h"

#define REPORT_MAX_BYTES (1u << 20)

/* What the pools' threads may take to end after the last connection has. */
#define POOLS_STOP_NS (500 * NS_PER_MS)

/* The sockets of one address, as the master sent them. */
struct inherited {
    int *fds; /* owned; by slot, or the shared one */
    unsigned count;
    bool is_shared;
    bool is_cut; /* there were no descriptors left for the others */
};

struct worker {
    struct loop *loop; /* the first one's; the loop's own once there are loops */
    struct channel *channel;
    struct signal_watch *signals;
    struct channel_hello hello;
    char *file;                  /* owned: the configuration's name */
    int sources_fd;              /* owned; -1 */
    int log_fd;                  /* owned; -1: standard error */
    struct inherited *inherited; /* owned; by address */
    size_t inherited_count;

    struct site *site;             /* owned */
    struct generation *generation; /* owned */
    struct life *life;             /* owned */
    struct pools *pools;           /* owned */
    struct metric_pages *metrics;  /* owned; NULL: nothing is counted */
    struct worker_loop *loops;     /* owned */
    unsigned loop_count, finished;
    struct mailbox *mailbox; /* owned: from the other loops */
    struct timer figures_timer;
    uint64_t max_requests;
    bool has_started, is_ending;
    bool is_told; /* by a signal, to end: once another serves in its place */
    int exit_code;
};

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

static void
say(struct worker *worker, enum channel_type type, const void *body, size_t bytes)
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
            say(worker, CHANNEL_REPORT, rest.ptr, len);
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
        say(worker, CHANNEL_RECYCLE, &body, sizeof(body));
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
        sum.requests += atomic_load_explicit(&figures->requests, memory_order_relaxed);
        sum.bytes_in += atomic_load_explicit(&figures->bytes_in, memory_order_relaxed);
        sum.bytes_out += atomic_load_explicit(&figures->bytes_out, memory_order_relaxed);
    }
    say(worker, CHANNEL_FIGURES, &sum, sizeof(sum));
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

static void
end(struct worker *worker, enum worker_order_kind how, uint64_t timeout_ns, bool is_stop)
{
    worker->is_ending = true;
    if (!worker->has_started) {
        loop_stop(worker->loop);
        return;
    }
    if (how == WORKER_ORDER_DRAIN) {
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
    say(welcome->worker, welcome->is_open ? CHANNEL_ACCEPTING : CHANNEL_DECLINED,
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
    worker->max_requests = worker->site->workers.max_requests;
    budget_init(memory_of_worker(&worker->site->workers, worker->hello.processes));
    r = generation_new(worker->site, diagnostics, &worker->generation);
    return r == 0 ? EXIT_OK : r == -ENOMEM ? EXIT_SYSTEM : EXIT_CONFIGURATION;
}

static int
make_loops(struct worker *worker)
{
    unsigned count = (unsigned)worker->site->workers.loops;
    int r = life_new(worker->site, count, &worker->life);
    r = r < 0 ? r : pools_new(worker->site, &worker->pools);
    if (r < 0) {
        log_error("the pools cannot be started: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    worker->loops = calloc(count, sizeof(*worker->loops));
    r = worker->loops == NULL ? -ENOMEM : 0;
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

static void
start(struct worker *worker)
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
        end(worker, WORKER_ORDER_STOP, 0, true);
        loop_stop(worker->loop); /* a loop without a thread says no farewell */
        return;
    }
    say(worker, CHANNEL_READY, NULL, 0);
}

/* ---- what the master says ---------------------------------------------------------------- */

static void
take_hello(struct worker *worker, const struct channel_message *message)
{
    if (message->bytes != sizeof(worker->hello)) {
        worker->exit_code = EXIT_RUNTIME;
        loop_stop(worker->loop);
        return;
    }
    memcpy(&worker->hello, message->body, sizeof(worker->hello));
    if (worker->hello.version != CHANNEL_VERSION ||
            strncmp(worker->hello.build, PACKAGE_VERSION, sizeof(worker->hello.build)) != 0) {
        log_error("this program is weir " PACKAGE_VERSION ", the server that started it is "
                  "another (%.*s): restart the server",
                (int)sizeof(worker->hello.build), worker->hello.build);
        worker->exit_code = EXIT_RUNTIME;
        loop_stop(worker->loop);
    }
}

/* A log file of the modules', opened with the master's rights; again when it was reopened. */
static void
take_file(const struct channel_message *message)
{
    struct weir_str path = weir_str_make(message->body, message->bytes);
    if ((message->descriptor_count != 1 && !message->is_cut) || message->bytes == 0) {
        return;
    }
    int r = -EMFILE;
    if (!message->is_cut) {
        r = log_file_offer(path, message->descriptors[0]);
        message->descriptors[0] = -1;
    }
    if (r < 0) {
        log_error("log file %.*s cannot be taken over: %s", WEIR_STR_ARG(path), strerror(-r));
    }
}

/* The error log; again when it was reopened, over the old descriptor, so that no line is lost.
 */
static void
take_log(struct worker *worker, const struct channel_message *message)
{
    struct channel_log log;
    if (message->is_cut) {
        log_error("the error log cannot be taken over, for too many files are open: this "
                  "worker goes on with the old one");
    }
    if (message->bytes != sizeof(log) || message->descriptor_count != 1) {
        return;
    }
    memcpy(&log, message->body, sizeof(log));
    int fd = message->descriptors[0];
    if (worker->log_fd >= 0) {
        dup3(fd, worker->log_fd, O_CLOEXEC);
    } else {
        worker->log_fd = fd;
        message->descriptors[0] = -1;
    }
    log_init(worker->log_fd, (enum log_level)log.level);
    flight_set_log(worker->log_fd);
    log_set_form(log.format == SITE_LOG_JSON ? LOG_JSON : LOG_TEXT);
}

static void
take_flight(const struct channel_message *message)
{
    int r = message->descriptor_count == 1 ? flight_attach(message->descriptors[0]) : -EPROTO;
    if (r < 0) {
        log_warn("what this worker does is not recorded: %s", strerror(-r));
    }
    flight_begin_thread(FLIGHT_LOOP);
}

static int
attach_metrics(struct worker *worker, const struct channel_metrics *body, const int *fds,
        size_t count)
{
    int r = 0;
    if (body->kind == CHANNEL_METRICS_TOTALS) {
        r = count != 1 || worker->metrics != NULL ? -EPROTO
                                                  : metric_attach(fds[0], &worker->metrics);
        metric_publish(worker->metrics);
        return r;
    }
    if (worker->metrics == NULL) {
        return -EPROTO;
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = body->kind == CHANNEL_METRICS_LENT
                ? metric_attach_lent(worker->metrics, fds[i])
                : metric_attach_shard(worker->metrics, body->first + (unsigned)i, fds[i]);
    }
    return r;
}

static void
take_metrics(struct worker *worker, const struct channel_message *message)
{
    struct channel_metrics body;
    int r = -EPROTO;
    if (message->bytes == sizeof(body)) {
        memcpy(&body, message->body, sizeof(body));
        r = attach_metrics(worker, &body, message->descriptors, message->descriptor_count);
    }
    if (r < 0) {
        log_warn("not all figures of the server can be told here: %s", strerror(-r));
    }
}

static void
take_sources(struct worker *worker, const struct channel_message *message)
{
    free(worker->file);
    worker->file = strndup(message->body, message->bytes);
    if (message->descriptor_count == 1) {
        worker->sources_fd = message->descriptors[0];
        message->descriptors[0] = -1;
    }
}

static void
take_listeners(struct worker *worker, const struct channel_message *message)
{
    struct channel_listeners listeners;
    if (message->bytes != sizeof(listeners)) {
        return;
    }
    memcpy(&listeners, message->body, sizeof(listeners));
    if (listeners.address >= worker->inherited_count) {
        size_t count = (size_t)listeners.address + 1;
        struct inherited *grown = realloc(worker->inherited, count * sizeof(*grown));
        if (grown == NULL) {
            _exit(EXIT_SYSTEM);
        }
        memset(grown + worker->inherited_count, 0,
                (count - worker->inherited_count) * sizeof(*grown));
        worker->inherited = grown;
        worker->inherited_count = count;
    }
    struct inherited *inherited = &worker->inherited[listeners.address];
    if (listeners.first != inherited->count) {
        return; /* what a replacement was given already */
    }
    size_t count = inherited->count + message->descriptor_count;
    int *fds = realloc(inherited->fds, (count == 0 ? 1 : count) * sizeof(*fds));
    if (fds == NULL) {
        _exit(EXIT_SYSTEM);
    }
    inherited->fds = fds;
    inherited->is_shared = listeners.is_shared != 0;
    inherited->is_cut |= message->is_cut;
    for (size_t i = 0; i < message->descriptor_count; i++) {
        fds[inherited->count++] = message->descriptors[i];
        message->descriptors[i] = -1;
    }
}

/* The master may have somebody else for this slot, and it knows what to do with us when it is
 * our own: no connection that we have is to suffer. */
static void
decline_slot(struct worker *worker, uint32_t slot, const struct site_listener *listener,
        int error)
{
    log_warn("listener %.*s: no further socket can be accepted from: %s%s",
            WEIR_STR_ARG(listener->address), strerror(error), hint_of(error));
    const struct worker_order order = { .kind = WORKER_ORDER_CLOSE, .slot = slot, .fd = -1 };
    if (worker_loop_order(&worker->loops[slot % worker->loop_count], &order) < 0) {
        _exit(EXIT_SYSTEM);
    }
    const struct channel_slot body = { .slot = slot };
    say(worker, CHANNEL_DECLINED, &body, sizeof(body));
}

/* Opens the doors of one slot on its loop: its own socket of each address, and those that all
 * share. */
static void
accept_slot(struct worker *worker, uint32_t slot)
{
    struct worker_loop *loop = &worker->loops[slot % worker->loop_count];
    for (size_t i = 0; i < worker->inherited_count; i++) {
        const struct inherited *inherited = &worker->inherited[i];
        unsigned at = inherited->is_shared ? 0 : slot;
        if (at >= inherited->count && inherited->is_cut) {
            decline_slot(worker, slot, worker->site->listeners[i], EMFILE);
            return;
        }
        if (at >= inherited->count) {
            continue;
        }
        /* A listener owns its descriptor; ours stays for another time. */
        const struct worker_order order = {
            .kind = WORKER_ORDER_OPEN,
            .address = (uint32_t)i,
            .slot = slot,
            .fd = fcntl(inherited->fds[at], F_DUPFD_CLOEXEC, 0),
        };
        int error = order.fd == -1 ? errno : 0;
        error = error == 0 && worker_loop_order(loop, &order) < 0 ? ENOMEM : error;
        if (error != 0) {
            decline_slot(worker, slot, worker->site->listeners[i], error);
            return;
        }
    }
    const struct worker_order opened = { .kind = WORKER_ORDER_OPENED, .slot = slot, .fd = -1 };
    if (worker_loop_order(loop, &opened) < 0) {
        _exit(EXIT_SYSTEM);
    }
}

static void
take_slot(struct worker *worker, const struct channel_message *message)
{
    struct channel_slot slot;
    if (message->bytes != sizeof(slot) || !worker->has_started) {
        return;
    }
    memcpy(&slot, message->body, sizeof(slot));
    if (message->type == CHANNEL_ACCEPT) {
        life_live(worker->life);
        accept_slot(worker, slot.slot);
        return;
    }
    const struct worker_order order = { .kind = WORKER_ORDER_CLOSE,
        .slot = slot.slot,
        .fd = -1 };
    if (worker_loop_order(&worker->loops[slot.slot % worker->loop_count], &order) < 0) {
        _exit(EXIT_SYSTEM);
    }
}

/* The master's copies are closed by now, or belong to others: ours go too, or clients would
 * wait in queues that nobody looks at. What accepts has descriptors of its own. */
static void
close_inherited(struct worker *worker)
{
    for (size_t i = 0; i < worker->inherited_count; i++) {
        for (unsigned j = 0; j < worker->inherited[i].count; j++) {
            close(worker->inherited[i].fds[j]);
        }
        worker->inherited[i].count = 0;
    }
}

static void
take_drain(struct worker *worker, const struct channel_message *message)
{
    struct channel_drain drain;
    if (message->bytes != sizeof(drain)) {
        return;
    }
    memcpy(&drain, message->body, sizeof(drain));
    end(worker, WORKER_ORDER_DRAIN, drain.timeout_ns, drain.is_stop != 0);
    close_inherited(worker);
}

static void
on_message(void *context, const struct channel_message *message)
{
    struct worker *worker = context;
    switch (message->type) {
    case CHANNEL_HELLO:
        take_hello(worker, message);
        return;
    case CHANNEL_LOG:
        take_log(worker, message);
        return;
    case CHANNEL_SOURCES:
        take_sources(worker, message);
        return;
    case CHANNEL_FLIGHT:
        take_flight(message);
        return;
    case CHANNEL_METRICS:
        take_metrics(worker, message);
        return;
    case CHANNEL_LISTENERS:
        take_listeners(worker, message);
        return;
    case CHANNEL_START:
        if (!worker->has_started && !worker->is_ending) {
            start(worker);
        }
        return;
    case CHANNEL_ACCEPT:
    case CHANNEL_RELEASE:
        take_slot(worker, message);
        return;
    case CHANNEL_DRAIN:
        take_drain(worker, message);
        return;
    case CHANNEL_STOP:
        end(worker, WORKER_ORDER_STOP, 0, true);
        return;
    case CHANNEL_FILE:
        take_file(message);
        return;
    case CHANNEL_NONE:
    case CHANNEL_REPORT:
    case CHANNEL_READY:
    case CHANNEL_ACCEPTING:
    case CHANNEL_DECLINED:
    case CHANNEL_FIGURES:
    case CHANNEL_RECYCLE:
    case CHANNEL_TYPE_COUNT:
        return;
    }
}

/* Nobody is left who could tell us anything, or would start another. */
static void
on_channel_closed(void *context, int error)
{
    struct worker *worker = context;
    log_warn("%s: worker %u ends",
            error == -EPIPE ? "the master is gone" : "the channel to the master is broken",
            worker->hello.index);
    _exit(EXIT_RUNTIME);
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
    if (worker->pools != NULL) {
        uint64_t deadline_ns = clock_add_ns(clock_monotonic_ns(clock_system()), POOLS_STOP_NS);
        if (!pools_stop(worker->pools, deadline_ns)) {
            log_warn("stopped while threads of a pool were still at work");
        }
    }
    for (unsigned i = 0; i < worker->loop_count; i++) {
        loop_turn(worker->loops[i].loop, false);
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
    life_free(worker->life);
    metric_publish(NULL);
    metric_free(worker->metrics);
    generation_free(worker->generation);
    site_free(worker->site);
    close_inherited(worker);
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
    static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN,
        SIGTTOU, SIGWINCH };
    struct worker worker = { .sources_fd = -1, .log_fd = -1 };
    flight_catch_crashes(STDERR_FILENO, course_describe);
    signal_ignore_pipe();
    int r = loop_new(NULL, &worker.loop);
    if (r == 0) {
        timer_init(&worker.figures_timer, worker.loop, on_figures_timer);
        r = signal_watch_new(worker.loop, signals, sizeof(signals) / sizeof(signals[0]),
                on_signal, &worker, &worker.signals);
    }
    const struct channel_owner owner = { on_message, on_channel_closed, &worker };
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
