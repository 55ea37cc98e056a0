/* SPDX-License-Identifier: MIT */
/*
 *     SERVING --DRAIN--> DRAINING --no connection left--> FINISHED
 *        |                  |  \--deadline--> idle ones close --a moment later--> all are cut
 *        +------STOP--------+---------------------------------------------------------^
 */
#include "server/worker_loop.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event/loop.h"
#include "event/signal.h"
#include "http/file_cache.h"
#include "http/spill.h"
#include "module/port.h"
#include "module/wait.h"
#include "net/listener.h"
#include "observe/flight.h"
#include "observe/log.h"
#include "upstream/group.h"

/* While draining, how often it is looked whether the last connection has ended. */
#define DRAIN_LOOK_NS (50 * NS_PER_MS)

/* In the last tenth of their time, and for so long at the most, idle connections close, those
 * of a generation that was replaced too. */
#define LAST_NS NS_PER_S

/* Of one listener: connections that are answered 503, and have yet to take that; each ends
 * within the two seconds that it may linger. */
#define REFUSED_MAX 256u

/* How often the main thread's copy of the figures is brought up to date. */
#define FIGURES_NS NS_PER_S

struct door {
    struct entrance *entrance;
    struct listener *accepting; /* owned */
    uint32_t slot;
    struct door *next;
};

/* ---- connections ------------------------------------------------------------------------- */

static void
pause_doors(const struct entrance *entrance, bool is_full)
{
    for (struct door *door = entrance->doors; door != NULL; door = door->next) {
        if (is_full) {
            listener_pause(door->accepting);
        } else {
            listener_resume(door->accepting);
        }
    }
}

static bool
has_policy_503(const struct entrance *entrance)
{
    return entrance->settings.limits.connections_policy == HTTP_CONNECTIONS_503;
}

/* Whether whoever comes next has to wait: until another ends, or was told that it is one too
 * many. */
static void
update_doors(struct entrance *entrance)
{
    bool is_full = has_policy_503(entrance)
            ? entrance->refused >= REFUSED_MAX
            : entrance->connections >= entrance->connections_max;
    if (is_full != entrance->is_full) {
        entrance->is_full = is_full;
        pause_doors(entrance, is_full);
    }
}

static void
note_end(const struct entrance *entrance, const struct addr_ip *peer, enum h1_close reason)
{
    figures_count_close(entrance->loop->counted, reason);
    if (log_level() >= LOG_DEBUG) {
        char ip[ADDR_TEXT_BYTES];
        addr_ip_format(peer, ip);
        log_debug("connection from %s ended: %s", ip, h1_close_label(reason));
    }
}

static void
on_closed(void *context, const struct addr_ip *peer, enum h1_close reason)
{
    struct entrance *entrance = context;
    entrance->connections--;
    note_end(entrance, peer, reason);
    update_doors(entrance);
}

static void
on_refused(void *context, const struct addr_ip *peer, enum h1_close reason)
{
    struct entrance *entrance = context;
    entrance->refused--;
    note_end(entrance, peer, reason);
    update_doors(entrance);
}

static void
warn_of_waiting(const struct entrance *entrance)
{
    log_warn("listener %.*s: limits.connections (%llu) are open; new ones wait",
            WEIR_STR_ARG(entrance->listener->site->address),
            (unsigned long long)entrance->settings.limits.connections);
}

/* Once a second at the most. */
static void
warn_of_refusal(struct entrance *entrance)
{
    uint64_t now_ns = loop_now_ns(entrance->loop->loop);
    entrance->unwarned++;
    if (entrance->warned_ns != 0 && now_ns < clock_add_ns(entrance->warned_ns, NS_PER_S)) {
        return;
    }
    log_warn("listener %.*s: limits.connections (%llu) are open; new ones are answered 503 "
             "(%llu since the last line)",
            WEIR_STR_ARG(entrance->listener->site->address),
            (unsigned long long)entrance->settings.limits.connections,
            (unsigned long long)entrance->unwarned);
    entrance->warned_ns = now_ns;
    entrance->unwarned = 0;
}

static void
on_accept(void *owner, int fd, const struct addr *peer)
{
    struct entrance *entrance = ((struct door *)owner)->entrance;
    bool is_refused = has_policy_503(entrance) &&
            entrance->connections >= entrance->connections_max;
    *(is_refused ? &entrance->refused : &entrance->connections) += 1;
    figures_count_open(entrance->loop->counted);
    update_doors(entrance);
    if (is_refused) {
        warn_of_refusal(entrance);
    } else if (entrance->is_full) {
        warn_of_waiting(entrance);
    }
    const struct h1_settings *settings = is_refused ? &entrance->refusal : &entrance->settings;
    int r = h1_serve_fd(&entrance->loop->engine, settings, fd, peer);
    if (r < 0) {
        /* Nobody will call on_closed() for it. */
        settings->on_closed(entrance, &(struct addr_ip){ .family = AF_UNIX },
                H1_CLOSE_NO_MEMORY);
        log_error("connection refused: %s", strerror(-r));
    }
}

/* ---- doors ------------------------------------------------------------------------------- */

static void
open_door(struct worker_loop *loop, const struct worker_order *order)
{
    struct entrance *entrance = &loop->entrances[order->address];
    struct door *door = loop->is_draining ? NULL : calloc(1, sizeof(*door));
    int r = door == NULL ? -ENOMEM : 0;
    if (r == 0) {
        door->entrance = entrance;
        door->slot = order->slot;
        r = listener_new(loop->loop, order->fd, on_accept, door, &door->accepting);
    }
    if (r < 0) {
        free(door);
        close(order->fd);
        loop->has_shut_door = true;
        if (!loop->is_draining) {
            log_error("listener %.*s: %s", WEIR_STR_ARG(entrance->listener->site->address),
                    strerror(-r));
        }
        return;
    }
    door->next = entrance->doors;
    entrance->doors = door;
    if (entrance->is_full) {
        listener_pause(door->accepting);
    }
}

static void
close_door(struct door **link)
{
    struct door *door = *link;
    *link = door->next;
    listener_free(door->accepting);
    free(door);
}

/* Accepts no more from one slot: somebody else does. */
static void
close_slot(struct worker_loop *loop, uint32_t slot)
{
    for (size_t i = 0; i < loop->entrance_count; i++) {
        struct door **link = &loop->entrances[i].doors;
        while (*link != NULL) {
            if ((*link)->slot == slot) {
                close_door(link);
            } else {
                link = &(*link)->next;
            }
        }
    }
}

static void
close_doors(struct worker_loop *loop)
{
    for (size_t i = 0; i < loop->entrance_count; i++) {
        while (loop->entrances[i].doors != NULL) {
            close_door(&loop->entrances[i].doors);
        }
    }
}

/* What waits in the queues of the system is taken in first: it was promised an answer (F70). */
static void
drain_doors(struct worker_loop *loop)
{
    for (size_t i = 0; i < loop->entrance_count; i++) {
        for (struct door *door = loop->entrances[i].doors; door != NULL; door = door->next) {
            listener_drain(door->accepting);
        }
    }
    close_doors(loop);
}

/* ---- the end ----------------------------------------------------------------------------- */

static void
finish(struct worker_loop *loop)
{
    if (loop->is_finished) {
        return;
    }
    loop->is_finished = loop->is_draining = true;
    timer_cancel(&loop->drain_timer);
    close_doors(loop);
    engine_stop(&loop->engine, true);
    if (loop->index !=
            0) { /* the first is the main thread's, who ends it when all have ended */
        loop_stop(loop->loop);
    }
    loop->on_finished(loop->context, loop);
}

static void
look_again(struct worker_loop *loop)
{
    uint64_t at_ns = clock_add_ns(loop_now_ns(loop->loop), DRAIN_LOOK_NS);
    if (timer_set(&loop->drain_timer, at_ns) < 0) {
        finish(loop);
    }
}

/* What goes on for as long as its ends like is told, and has time for that, however late it is.
 */
static void
end_tunnels(struct worker_loop *loop, uint64_t now_ns)
{
    if (loop->has_ended_tunnels) {
        return;
    }
    loop->has_ended_tunnels = true;
    if (loop->engine.figures.tunnels > 0) {
        uint64_t until_ns = clock_add_ns(now_ns, loop->drain_last_ns);
        loop->drain_until_ns = until_ns > loop->drain_until_ns ? until_ns
                                                               : loop->drain_until_ns;
        engine_end_tunnels(&loop->engine);
    }
}

static void
on_drain_timer(struct timer *timer)
{
    struct worker_loop *loop = (struct worker_loop *)((char *)timer -
            offsetof(struct worker_loop, drain_timer));
    if (loop->engine.carriers == NULL && course_logs_kept(&loop->map) == 0) {
        log_info("stopped: every answer was sent");
        finish(loop);
        return;
    }
    uint64_t now_ns = loop_now_ns(loop->loop);
    bool is_last = now_ns >= loop->drain_until_ns - loop->drain_last_ns;
    if (is_last) {
        end_tunnels(loop, now_ns);
    }
    if (now_ns >= loop->drain_until_ns) {
        log_warn("stopped: workers.drain_timeout is over, open connections are cut");
        finish(loop);
        return;
    }
    if (is_last && !loop->is_over_time) {
        /* Idle ones close while there is time to answer what crosses that. */
        loop->is_over_time = true;
        engine_stop(&loop->engine, false);
    }
    look_again(loop);
}

static void
drain(struct worker_loop *loop, uint64_t timeout_ns, bool is_stop)
{
    if (loop->is_finished) {
        return;
    }
    uint64_t until_ns = clock_add_ns(loop_now_ns(loop->loop), timeout_ns);
    if (!loop->is_draining) {
        loop->is_draining = true;
        loop->drain_until_ns = until_ns;
        loop->drain_last_ns = timeout_ns / 10 < LAST_NS ? timeout_ns / 10 : LAST_NS;
        drain_doors(loop);
        life_loop_drain(loop->map.life);
        ports_drain(&loop->map);
        if (loop->index == 0) {
            log_info("draining: no new connections");
        }
    }
    loop->drain_until_ns = until_ns < loop->drain_until_ns ? until_ns : loop->drain_until_ns;
    loop->is_over_time |= is_stop;
    if (is_stop) {
        engine_stop(&loop->engine, false);
    } else {
        engine_retire(&loop->engine);
    }
    look_again(loop);
}

/* ---- orders ------------------------------------------------------------------------------ */

static void
on_order(struct letter *letter)
{
    struct worker_order *order = (struct worker_order *)((char *)letter -
            offsetof(struct worker_order, letter));
    struct worker_loop *loop = order->loop;
    switch (order->kind) {
    case WORKER_ORDER_OPEN:
        open_door(loop, order);
        break;
    case WORKER_ORDER_OPENED:
        loop->on_opened(loop->context, order->slot, !loop->has_shut_door);
        if (loop->has_shut_door) {
            close_slot(loop, order->slot);
        }
        loop->has_shut_door = false;
        break;
    case WORKER_ORDER_CLOSE:
        close_slot(loop, order->slot);
        break;
    case WORKER_ORDER_DRAIN:
        drain(loop, order->timeout_ns, order->is_stop);
        break;
    case WORKER_ORDER_STOP:
        finish(loop);
        break;
    }
    free(order);
}

int
worker_loop_order(struct worker_loop *loop, const struct worker_order *order)
{
    struct worker_order *copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        if (order->fd >= 0) {
            close(order->fd);
        }
        return -ENOMEM;
    }
    *copy = *order;
    copy->letter = (struct letter){ .fn = on_order };
    copy->loop = loop;
    mailbox_post(loop->mailbox, &copy->letter);
    return 0;
}

/* ---- life -------------------------------------------------------------------------------- */

static void
publish(_Atomic(uint64_t) *to, uint64_t value)
{
    atomic_store_explicit(to, value, memory_order_relaxed);
}

/* The first loop counts what the process has, and not each of its loops. */
static void
take_figures(const struct worker_loop *loop)
{
    figures_take_engine(loop->counted, &loop->engine);
    if (loop->index == 0) {
        figures_take_process(loop->counted);
    }
}

/* While the pools are there. */
static void
take_all_figures(const struct worker_loop *loop)
{
    take_figures(loop);
    if (loop->index == 0) {
        figures_take_pools(loop->counted, loop->map.pools);
    }
}

static void
on_figures_timer(struct timer *timer)
{
    struct worker_loop *loop = (struct worker_loop *)((char *)timer -
            offsetof(struct worker_loop, figures_timer));
    const struct engine_figures *figures = &loop->engine.figures;
    publish(&loop->figures.accepted, figures->connections_opened);
    publish(&loop->figures.closed, figures->connections_closed);
    publish(&loop->figures.active, figures->connections_active);
    publish(&loop->figures.tunnels, figures->tunnels);
    publish(&loop->figures.requests, figures->requests_begun);
    publish(&loop->figures.bytes_in, figures->bytes_in);
    publish(&loop->figures.bytes_out, figures->bytes_out);
    take_all_figures(loop);
    int r = timer_set(timer, clock_add_ns(loop_now_ns(loop->loop), FIGURES_NS));
    (void)r; /* in its own callback it cannot fail */
}

static int
make_entrances(struct worker_loop *loop, const struct worker_loop_settings *settings)
{
    size_t count;
    struct generation_listener *listeners = generation_listeners(settings->generation, &count);
    loop->entrances = calloc(count == 0 ? 1 : count, sizeof(struct entrance));
    if (loop->entrances == NULL) {
        return -ENOMEM;
    }
    loop->entrance_count = count;
    for (size_t i = 0; i < count; i++) {
        struct entrance *entrance = &loop->entrances[i];
        entrance->loop = loop;
        entrance->listener = &listeners[i];
        entrance->settings = listeners[i].settings;
        entrance->settings.on_closed = on_closed;
        entrance->settings.context = entrance;
        entrance->refusal = entrance->settings;
        entrance->refusal.on_closed = on_refused;
        entrance->refusal.refuses = true;
        uint64_t most = entrance->settings.limits.connections;
        uint64_t share = most / settings->count + (most % settings->count != 0);
        entrance->connections_max = most == HTTP_UNLIMITED ? most : share;
    }
    return 0;
}

/* What waits for disks. */
static int
make_files(struct worker_loop *loop, const struct worker_loop_settings *settings)
{
    /* In a pool of their own where one is named for it. */
    struct pool *pool = pools_find(settings->pools, WEIR_STR("files"));
    if (pool == NULL) {
        pool = pools_find(settings->pools, WEIR_STR("default"));
    }
    const struct file_cache_settings preset = FILE_CACHE_PRESET;
    int r = file_cache_new(loop->loop, pool, loop->mailbox, &preset, &loop->files);
    if (r < 0) {
        return r;
    }
    loop->spills = spill_store_new(loop->loop, pool, loop->mailbox, settings->temp_dir);
    return loop->spills == NULL ? -ENOMEM : 0;
}

int
worker_loop_init(struct worker_loop *loop, const struct worker_loop_settings *settings)
{
    *loop = (struct worker_loop){
        .index = settings->index,
        .loop = settings->loop,
        .on_opened = settings->on_opened,
        .on_finished = settings->on_finished,
        .context = settings->context,
    };
    timer_init(&loop->drain_timer, loop->loop, on_drain_timer);
    timer_init(&loop->figures_timer, loop->loop, on_figures_timer);
    int r = mailbox_new(loop->loop, &loop->mailbox);
    if (r == 0) {
        r = wait_table_new(loop->loop, loop->mailbox, &loop->waits);
    }
    if (r == 0) {
        r = make_files(loop, settings);
    }
    if (r == 0) {
        r = make_entrances(loop, settings);
    }
    if (r == 0) {
        r = timer_set(&loop->figures_timer, clock_add_ns(loop_now_ns(loop->loop), FIGURES_NS));
    }
    if (r < 0) {
        return r;
    }
    generation_map_init(settings->generation, &loop->map);
    loop->map.waits = loop->waits;
    loop->map.pools = settings->pools;
    loop->map.life = life_attach(settings->life, loop->index, loop->loop);
    struct metric_shard *shard = NULL;
    if (settings->metrics != NULL) {
        shard = metric_take(settings->metrics);
        loop->counted = figures_new(shard);
        if (loop->counted == NULL) {
            log_warn("what event loop %u does is not counted: no memory, or too many loops",
                    loop->index);
        }
    }
    figures_begin(loop->counted, &loop->map);
    r = engine_init(&loop->engine, loop->loop, generation_handler(settings->generation),
            &loop->map);
    loop->engine.files = loop->files;
    loop->engine.spills = loop->spills;
    if (r == 0) {
        r = upstreams_new(&loop->engine, &connect_socket, resolver_new, settings->upstreams,
                settings->upstreams_count, settings->count, shard, &loop->map.upstreams);
    }
    if (r == 0) {
        loop->map.upstreams->is_quiet = loop->index != 0;
        r = health_board_join(settings->health, settings->index, loop->map.upstreams,
                loop->mailbox);
    }
    take_all_figures(loop); /* so that they are there before anybody asks */
    return r;
}

/* Nothing comes any more: the last that modules hear of the loop. */
static void
settle(struct worker_loop *loop)
{
    /* What ended in the last turn has been put off to the next, and tells others in turn. */
    loop_turn(loop->loop, false);
    course_stop(&loop->map);
    loop_turn(loop->loop, false);
    loop_turn(loop->loop, false);
    life_loop_stop(loop->map.life);
}

/* What the main thread waits for while another starts. */
struct loop_start {
    struct worker_loop *loop;
    struct diagnostics *diagnostics;
    int result;
    sem_t is_done;
};

static void *
turn_loop(void *context)
{
    struct loop_start *start = context; /* gone once it is done */
    struct worker_loop *loop = start->loop;
    signal_block_all();
    flight_begin_thread(FLIGHT_LOOP);
    loop_adopt(loop->loop);
    int r = life_loop_start(loop->map.life, start->diagnostics);
    start->result = r;
    sem_post(&start->is_done);
    if (r == 0) {
        loop_run(loop->loop);
    }
    settle(loop);
    return NULL;
}

int
worker_loop_start(struct worker_loop *loop, struct diagnostics *diagnostics)
{
    if (loop->index == 0) {
        return life_loop_start(loop->map.life, diagnostics);
    }
    struct loop_start start = { .loop = loop, .diagnostics = diagnostics };
    sem_init(&start.is_done, 0, 0);
    int r = pthread_create(&loop->thread, NULL, turn_loop, &start);
    loop->has_thread = r == 0;
    while (loop->has_thread && sem_wait(&start.is_done) == -1) { /* EINTR */
    }
    sem_destroy(&start.is_done);
    return r == 0 ? start.result : -r;
}

void
worker_loop_settle(struct worker_loop *loop)
{
    if (loop->has_thread) {
        loop_adopt(loop->loop);
    } else if (loop->engine.loop != NULL) {
        settle(loop);
    }
}

void
worker_loop_fini(struct worker_loop *loop)
{
    if (loop->loop == NULL) {
        return;
    }
    timer_cancel(&loop->drain_timer);
    timer_cancel(&loop->figures_timer);
    if (loop->engine.loop != NULL) {
        close_doors(loop);
        loop_turn(loop->loop, false);
        take_figures(loop);
        upstreams_free(loop->map.upstreams);
        engine_fini(&loop->engine);
    }
    mailbox_free(loop->mailbox);
    file_cache_free(loop->files);
    spill_store_free(loop->spills);
    figures_free(loop->counted);
    wait_table_free(loop->waits);
    free(loop->entrances);
    loop_free(loop->loop);
}
