/* SPDX-License-Identifier: MIT */
/*
 *     START -> SERVING --TERM, QUIT--> DRAINING --no connection left, deadline--> STOPPED
 *                 |                        |                                         ^
 *                 +--INT-------------------+--TERM, INT------------------------------+
 */
#include "server/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "event/signal.h"
#include "event/timer.h"
#include "http/file_cache.h"
#include "http/h1.h"
#include "module/generation.h"
#include "module/pools.h"
#include "module/wait.h"
#include "net/listener.h"
#include "observe/log.h"
#include "server/exit.h"
#include "server/memory.h"
#include "server/privileges.h"

/* While draining, how often it is looked whether the last connection has ended. */
#define DRAIN_LOOK_NS (50 * NS_PER_MS)

/* What the pools' threads may take to end after the last connection has. */
#define POOLS_STOP_NS (2 * NS_PER_S)

enum worker_state {
    WORKER_SERVING,
    WORKER_DRAINING,
    WORKER_STOPPED
};

struct door {
    struct worker *worker;
    struct generation_listener *listener; /* borrowed from the generation */
    int fd;                               /* owned, until `accepting` takes it; -1 */
    struct listener *accepting;           /* owned */
    uint64_t connections;                 /* open ones */
    bool is_full;                         /* paused: limits.connections are open (F22) */
};

struct worker {
    const struct site *site;       /* borrowed */
    struct generation *generation; /* owned */
    struct loop *loop;             /* owned */
    struct engine engine;
    struct course_map map;
    struct mailbox *mailbox;      /* owned */
    struct wait_table *waits;     /* owned */
    struct pools *pools;          /* owned */
    struct file_cache *files;     /* owned */
    struct signal_watch *signals; /* owned */
    struct timer drain_timer;
    struct door *doors; /* owned */
    size_t door_count;
    enum worker_state state;
    uint64_t drain_until_ns;
};

static void
on_closed(void *context, const struct addr_ip *peer, enum h1_close reason)
{
    struct door *door = context;
    door->connections--;
    if (door->is_full && door->accepting != NULL) {
        door->is_full = false;
        listener_resume(door->accepting);
    }
    if (log_level() >= LOG_DEBUG) {
        char ip[ADDR_TEXT_BYTES];
        addr_ip_format(peer, ip);
        log_debug("connection from %s ended: %s", ip, h1_close_label(reason));
    }
}

static void
on_accept(void *owner, int fd, const struct addr *peer)
{
    struct door *door = owner;
    const struct h1_settings *settings = &door->listener->settings;
    door->connections++;
    if (door->connections >= settings->limits.connections) {
        door->is_full = true;
        listener_pause(door->accepting);
        log_warn("listener %.*s: limits.connections (%llu) are open; new ones wait",
                WEIR_STR_ARG(door->listener->site->address),
                (unsigned long long)settings->limits.connections);
    }
    int r = h1_serve_fd(&door->worker->engine, settings, fd, peer);
    if (r < 0) {
        /* Nobody will call on_closed() for it. */
        on_closed(door, &(struct addr_ip){ .family = AF_UNIX }, H1_CLOSE_NO_MEMORY);
        log_error("connection refused: %s", strerror(-r));
    }
}

static int
explain_open_error(const struct site_listener *listener, int error)
{
    const char *hint = "";
    switch (error) {
    case EADDRINUSE:
        hint = "; another program listens there: stop it, or choose another port";
        break;
    case EACCES:
    case EPERM:
        hint = "; ports below 1024 need root or CAP_NET_BIND_SERVICE, a socket file a "
               "directory that you may write to";
        break;
    case EADDRNOTAVAIL:
        hint = "; this machine has no such address";
        break;
    default:
        break;
    }
    log_error("listener %.*s: %s%s", WEIR_STR_ARG(listener->address), strerror(error), hint);
    return error == EACCES || error == EPERM ? EXIT_PERMISSION : EXIT_SYSTEM;
}

/* Binds all listeners or none (F6). Returns an exit code. */
static int
bind_doors(struct worker *worker)
{
    size_t count = worker->site->listeners_count;
    worker->doors = calloc(count == 0 ? 1 : count, sizeof(*worker->doors));
    if (worker->doors == NULL) {
        log_error("out of memory while opening listeners");
        return EXIT_SYSTEM;
    }
    worker->door_count = count;
    int code = EXIT_OK;
    for (size_t i = 0; i < count; i++) {
        const struct site_listener *site = worker->site->listeners[i];
        struct listener_settings settings = { .addr = site->addr,
            .backlog = site->backlog,
            .mode = site->mode };
        worker->doors[i].fd = listener_open_fd(&settings);
        if (worker->doors[i].fd < 0) {
            /* The others are tried, so that all are named. */
            code = explain_open_error(site, -worker->doors[i].fd);
        }
    }
    return code;
}

/* Begins to accept. Returns an exit code. */
static int
open_doors(struct worker *worker)
{
    size_t count;
    struct generation_listener *listeners = generation_listeners(worker->generation, &count);
    for (size_t i = 0; i < count; i++) {
        struct door *door = &worker->doors[i];
        door->worker = worker;
        door->listener = &listeners[i];
        door->listener->settings.on_closed = on_closed;
        door->listener->settings.context = door;
        int r = listener_new(worker->loop, door->fd, on_accept, door, &door->accepting);
        if (r < 0) {
            return explain_open_error(listeners[i].site, -r);
        }
        door->fd = -1; /* the listener's */
    }
    return EXIT_OK;
}

static void
close_doors(struct worker *worker)
{
    for (size_t i = 0; i < worker->door_count; i++) {
        struct door *door = &worker->doors[i];
        listener_free(door->accepting);
        door->accepting = NULL;
        if (door->fd >= 0) {
            listener_close_fd(door->fd);
            door->fd = -1;
        }
    }
}

static void
announce(const struct worker *worker)
{
    for (size_t i = 0; i < worker->door_count; i++) {
        char text[ADDR_TEXT_BYTES];
        addr_format(listener_addr(worker->doors[i].accepting), text);
        log_info("listening on %s", text);
    }
}

static void
finish(struct worker *worker)
{
    worker->state = WORKER_STOPPED;
    timer_cancel(&worker->drain_timer);
    close_doors(worker);
    engine_stop(&worker->engine, true);
    loop_stop(worker->loop);
}

static void
look_again(struct worker *worker)
{
    uint64_t at_ns = clock_add_ns(loop_now_ns(worker->loop), DRAIN_LOOK_NS);
    if (timer_set(&worker->drain_timer, at_ns) < 0) {
        finish(worker);
    }
}

static void
on_drain_timer(struct timer *timer)
{
    struct worker *worker = (struct worker *)((char *)timer -
            offsetof(struct worker, drain_timer));
    if (worker->engine.carriers == NULL && course_logs_kept(&worker->map) == 0) {
        log_info("stopped: every answer was sent");
        finish(worker);
    } else if (loop_now_ns(worker->loop) >= worker->drain_until_ns) {
        log_warn("stopped: workers.drain_timeout is over, open connections are cut");
        finish(worker);
    } else {
        look_again(worker);
    }
}

static void
drain(struct worker *worker)
{
    log_info("stopping: no new connections; what was accepted is answered");
    worker->state = WORKER_DRAINING;
    worker->drain_until_ns = clock_add_ns(loop_now_ns(worker->loop),
            worker->site->workers.drain_timeout_ns);
    for (size_t i = 0; i < worker->door_count; i++) {
        listener_drain(worker->doors[i].accepting);
    }
    close_doors(worker);
    engine_stop(&worker->engine, false);
    look_again(worker);
}

static void
on_signal(void *context, int signo)
{
    struct worker *worker = context;
    switch (signo) {
    case SIGTERM:
    case SIGQUIT:
        if (worker->state == WORKER_SERVING) {
            drain(worker);
        } else {
            log_info("stopped at once: second signal");
            finish(worker);
        }
        break;
    case SIGINT:
        log_info("stopped at once");
        finish(worker);
        break;
    default:
        log_warn("SIG%s: not in this build", sigabbrev_np(signo));
        break;
    }
}

/* What hooks wait with: the mailbox, the table of waits, the pools' threads. */
static int
start_means(struct worker *worker)
{
    int r = mailbox_new(worker->loop, &worker->mailbox);
    if (r == 0) {
        r = wait_table_new(worker->loop, worker->mailbox, &worker->waits);
    }
    if (r == 0) {
        r = pools_new(worker->site, &worker->pools);
    }
    if (r == 0) {
        /* Disks are waited for in a pool of their own where one is named for it. */
        struct pool *pool = pools_find(worker->pools, WEIR_STR("files"));
        const struct file_cache_settings settings = FILE_CACHE_PRESET;
        r = file_cache_new(worker->loop,
                pool != NULL ? pool : pools_find(worker->pools, WEIR_STR("default")),
                worker->mailbox, &settings, &worker->files);
    }
    generation_map_init(worker->generation, &worker->map);
    worker->map.waits = worker->waits;
    worker->map.pools = worker->pools;
    return r;
}

/* Connections have ended, so nobody waits any more; threads may still be at work. */
static void
stop_means(struct worker *worker)
{
    course_stop(&worker->map);
    if (worker->pools != NULL) {
        uint64_t deadline_ns = clock_add_ns(clock_monotonic_ns(clock_system()), POOLS_STOP_NS);
        if (!pools_stop(worker->pools, deadline_ns)) {
            log_warn("stopped while threads of a pool were still at work");
        }
        loop_turn(worker->loop, false);
    }
    pools_free(worker->pools);
    mailbox_free(worker->mailbox);
    file_cache_free(worker->files);
    wait_table_free(worker->waits);
}

static void
fini(struct worker *worker)
{
    close_doors(worker);
    free(worker->doors);
    signal_watch_free(worker->signals);
    if (worker->loop != NULL) {
        timer_cancel(&worker->drain_timer);
        stop_means(worker);
        engine_fini(&worker->engine);
        loop_free(worker->loop);
    }
    generation_free(worker->generation);
}

/* In this order: what needs root (the listeners), what must not have it (everything else). */
static int
start(struct worker *worker, struct diagnostics *diagnostics)
{
    int code = bind_doors(worker);
    if (code != EXIT_OK) {
        return code;
    }
    const struct site_workers *workers = &worker->site->workers;
    code = privileges_drop(workers->user, workers->group);
    if (code != EXIT_OK) {
        return code;
    }
    static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 };
    signal_ignore_pipe();
    budget_init(memory_of_worker(workers, 1));
    int r = loop_new(NULL, &worker->loop);
    if (r == 0) {
        timer_init(&worker->drain_timer, worker->loop, on_drain_timer);
        r = signal_watch_new(worker->loop, signals, sizeof(signals) / sizeof(signals[0]),
                on_signal, worker, &worker->signals);
    }
    if (r < 0) {
        log_error("the event loop cannot be made: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    r = generation_new(worker->site, diagnostics, &worker->generation);
    if (r < 0) {
        return r == -ENOMEM ? EXIT_SYSTEM : EXIT_CONFIGURATION;
    }
    r = start_means(worker);
    if (r < 0) {
        log_error("the pools cannot be started: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    r = engine_init(&worker->engine, worker->loop, generation_handler(worker->generation),
            &worker->map);
    if (r < 0) {
        log_error("the worker cannot start: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    worker->engine.files = worker->files;
    return open_doors(worker);
}

int
worker_run(struct site *site, struct diagnostics *diagnostics)
{
    struct worker worker = { .site = site, .state = WORKER_SERVING };
    int code = start(&worker, diagnostics);
    if (code == EXIT_OK) {
        announce(&worker);
        loop_run(worker.loop);
        /* What ended in the last turn has been put off to the next. */
        loop_turn(worker.loop, false);
    }
    fini(&worker);
    return code;
}
