/* SPDX-License-Identifier: MIT */
#include "server/master_figures.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "event/loop.h"
#include "event/timer.h"
#include "server/control.h"
#include "server/master_state.h"
#include "server/zones.h"

#define MODULES_MAX   64u /* that deaths are told apart by; the others share the last */
#define LISTENERS_MAX 256u
#define LOOK_NS       NS_PER_S

struct death {
    char module[FLIGHT_NAME_BYTES + 1];
    uint64_t count;
    metric_cell *cell; /* NULL: nothing is counted, or no room */
};

struct master_figures {
    const struct master *master; /* borrowed */
    struct metric_shard *shard;  /* borrowed; NULL: nothing is counted */
    struct death deaths[MODULES_MAX];
    unsigned death_count;
    metric_cell *workers[CREW_WORKER_DRAINING + 1], *generation; /* NULL: no room */
    metric_cell *zones, *zone_bytes;                             /* likewise */
    metric_cell *queues[LISTENERS_MAX][2];                       /* all that were ever made */
    unsigned queue_count;
    struct timer timer;
};

/* ---- series ------------------------------------------------------------------------------ */

static metric_cell *
series(const struct master_figures *figures, enum weir_metric_type type, const char *name,
        const char *help, const char *label, struct weir_str value)
{
    char labels[METRIC_LABELS_BYTES];
    size_t len = 0;
    if (figures->shard == NULL) {
        return NULL;
    }
    if (label != NULL) {
        metric_label(labels, &len, label, value);
    }
    return metric_series(figures->shard, type, name, help, weir_str_make(labels, len));
}

static void
set(metric_cell *cell, uint64_t value)
{
    if (cell != NULL) {
        metric_set(cell, value);
    }
}

/* ---- deaths ------------------------------------------------------------------------------ */

static struct death *
find_death(struct master_figures *figures, const char *module)
{
    unsigned i = 0;
    while (i < figures->death_count && strcmp(figures->deaths[i].module, module) != 0) {
        i++;
    }
    if (i == MODULES_MAX) {
        return &figures->deaths[MODULES_MAX - 1];
    }
    struct death *death = &figures->deaths[i];
    if (i == figures->death_count) {
        figures->death_count++;
        const char *name = i == MODULES_MAX - 1 ? "_OTHER" : module;
        size_t len = strnlen(name, FLIGHT_NAME_BYTES);
        memcpy(death->module, name, len);
        death->cell = series(figures, WEIR_METRIC_COUNTER, "weir_worker_deaths_total",
                "Workers that ended and were not told to, by the module that was the cause",
                "module", weir_str_make(death->module, len));
    }
    return death;
}

void
master_figures_count_death(struct master_figures *figures, const char *module)
{
    if (figures == NULL) {
        return;
    }
    struct death *death = find_death(figures, module);
    death->count++;
    set(death->cell, death->count);
}

int
master_figures_put_deaths(const struct master_figures *figures, struct buf *json)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && figures != NULL && i < figures->death_count; i++) {
        r = i == 0 ? 0 : buf_append(json, WEIR_STR(", "));
        r = r < 0 ? r : control_json_string(json, weir_str_from(figures->deaths[i].module));
        r = r < 0 ? r
                  : buf_printf(json, ": %llu", (unsigned long long)figures->deaths[i].count);
    }
    return r;
}

/* ---- gauges ------------------------------------------------------------------------------ */

bool
master_figures_queue(const struct listening *listening, uint64_t *waiting, uint64_t *room)
{
    *waiting = *room = 0;
    for (unsigned i = 0; i < listening->count; i++) {
        struct tcp_info info;
        socklen_t bytes = sizeof(info);
        if (getsockopt(listening->fds[i], IPPROTO_TCP, TCP_INFO, &info, &bytes) == -1) {
            return false;
        }
        *waiting += info.tcpi_unacked; /* of a socket that listens: its queue, and its end */
        *room += info.tcpi_sacked;
    }
    return true;
}

/* Addresses come and go with generations; the gauges of one that is gone stay at zero. */
static void
set_queue(struct master_figures *figures, struct weir_str address, uint64_t waiting,
        uint64_t room)
{
    metric_cell *cells[2] = {
        series(figures, WEIR_METRIC_GAUGE, "weir_listener_queue",
                "Clients that wait to be accepted", "listener", address),
        series(figures, WEIR_METRIC_GAUGE, "weir_listener_queue_limit",
                "Clients that may wait to be accepted, over all of the address's sockets",
                "listener", address),
    };
    set(cells[0], waiting);
    set(cells[1], room);
    unsigned i = 0;
    while (i < figures->queue_count && figures->queues[i][0] != cells[0]) {
        i++;
    }
    if (i == figures->queue_count && i < LISTENERS_MAX) {
        memcpy(figures->queues[i], cells, sizeof(cells));
        figures->queue_count++;
    }
}

static void
look_at_queues(struct master_figures *figures)
{
    for (unsigned i = 0; i < figures->queue_count; i++) {
        set(figures->queues[i][0], 0);
        set(figures->queues[i][1], 0);
    }
    const struct crew *crew = master_find_crew(figures->master, CREW_SERVING);
    for (size_t i = 0; crew != NULL && i < crew->plan->listeners_count; i++) {
        uint64_t waiting, room;
        if (i < LISTENERS_MAX && master_figures_queue(crew->listening[i], &waiting, &room)) {
            char text[ADDR_TEXT_BYTES];
            size_t len = addr_format(&crew->listening[i]->bound, text);
            set_queue(figures, weir_str_make(text, len), waiting, room);
        }
    }
}

static void
look_at_workers(struct master_figures *figures)
{
    for (unsigned state = 0; state <= CREW_WORKER_DRAINING; state++) {
        uint64_t count = 0;
        for (const struct crew *crew = figures->master->crews; crew != NULL;
                crew = crew->next) {
            count += crew_count(crew, (enum crew_worker_state)state);
        }
        set(figures->workers[state], count);
    }
    const struct crew *serving = master_find_crew(figures->master, CREW_SERVING);
    set(figures->generation, serving == NULL ? 0 : serving->number);
}

static void
look_at_zones(struct master_figures *figures)
{
    const struct zones_figures zones = zones_figures(figures->master->zones);
    set(figures->zones, zones.count);
    set(figures->zone_bytes, zones.bytes);
}

static void
on_timer(struct timer *timer)
{
    struct master_figures *figures = (struct master_figures *)((char *)timer -
            offsetof(struct master_figures, timer));
    look_at_workers(figures);
    look_at_queues(figures);
    look_at_zones(figures);
    int r = timer_set(timer, clock_add_ns(loop_now_ns(timer->loop), LOOK_NS));
    (void)r; /* in its own callback it cannot fail */
}

/* ---- life -------------------------------------------------------------------------------- */

struct master_figures *
master_figures_new(const struct master *master, struct metric_pages *metrics)
{
    static const char *const states[] = { "starting", "ready", "serving", "draining" };
    struct master_figures *figures = calloc(1, sizeof(*figures));
    if (figures == NULL) {
        return NULL;
    }
    figures->master = master;
    figures->shard = metrics == NULL ? NULL : metric_own(metrics);
    for (unsigned state = 0; state <= CREW_WORKER_DRAINING; state++) {
        figures->workers[state] = series(figures, WEIR_METRIC_GAUGE, "weir_workers",
                "Worker processes", "state", weir_str_from(states[state]));
    }
    figures->generation = series(figures, WEIR_METRIC_GAUGE, "weir_generation",
            "Number of the generation that serves; it grows with every reload", NULL,
            WEIR_STR(""));
    figures->zones = series(figures, WEIR_METRIC_GAUGE, "weir_zones",
            "Pieces of memory that modules share over all workers", NULL, WEIR_STR(""));
    figures->zone_bytes = series(figures, WEIR_METRIC_GAUGE, "weir_zone_bytes",
            "Bytes of the memory that modules share over all workers", NULL, WEIR_STR(""));
    set(series(figures, WEIR_METRIC_GAUGE, "weir_build_info", "What runs; always 1", "version",
                weir_str_from(PACKAGE_VERSION)),
            1);
    timer_init(&figures->timer, master->loop, on_timer);
    if (figures->shard != NULL &&
            timer_set(&figures->timer, clock_add_ns(loop_now_ns(master->loop), LOOK_NS)) < 0) {
        free(figures);
        return NULL;
    }
    return figures;
}

void
master_figures_free(struct master_figures *figures)
{
    if (figures != NULL) {
        timer_cancel(&figures->timer);
        free(figures);
    }
}
