/* SPDX-License-Identifier: MIT */
#include "server/crew_figures.h"

#include <string.h>

#include "observe/log.h"
#include "server/crew_worker.h"

void
crew_figures_lend(struct crew_worker *worker)
{
    const struct crew *crew = worker->crew;
    struct metric_pages *metrics = crew->master->metrics;
    if (metrics == NULL) {
        return;
    }
    int r = metric_lend(metrics, worker, crew->loops);
    worker->is_counted = r == 0;
    if (r < 0) {
        log_warn("worker %u (generation %u): what it does is not counted: %s", worker->index,
                crew->number, strerror(-r));
    }
}

/* The shards that were made since, of whichever worker: to be read. */
static void
send_shards(struct crew_worker *worker)
{
    const struct metric_pages *metrics = worker->crew->master->metrics;
    while (worker->is_counted && worker->shards_sent < metric_shard_count(metrics)) {
        const struct channel_metrics body = { CHANNEL_METRICS_SHARDS, worker->shards_sent };
        int fds[CHANNEL_DESCRIPTORS_MAX];
        unsigned count = 0;
        while (count < CHANNEL_DESCRIPTORS_MAX &&
                worker->shards_sent < metric_shard_count(metrics)) {
            fds[count++] = metric_shard_fd(metrics, worker->shards_sent++);
        }
        crew_worker_send(worker, CHANNEL_METRICS, &body, sizeof(body), fds, count);
    }
}

void
crew_figures_send(struct crew_worker *worker)
{
    const struct metric_pages *metrics = worker->crew->master->metrics;
    if (!worker->is_counted) {
        return;
    }
    const struct channel_metrics totals = { CHANNEL_METRICS_TOTALS, 0 };
    int fd = metric_totals_fd(metrics);
    crew_worker_send(worker, CHANNEL_METRICS, &totals, sizeof(totals), &fd, 1);
    send_shards(worker);
    const struct channel_metrics lent = { CHANNEL_METRICS_LENT, 0 };
    for (unsigned i = 0; i < metric_shard_count(metrics); i++) {
        fd = metric_lent_fd(metrics, i, worker);
        if (fd >= 0) {
            crew_worker_send(worker, CHANNEL_METRICS, &lent, sizeof(lent), &fd, 1);
        }
    }
}

void
crew_send_shards(struct crew *crew)
{
    for (struct crew_worker *worker = crew->workers; worker != NULL; worker = worker->next) {
        send_shards(worker);
    }
}

void
crew_figures_take_back(struct crew_worker *worker)
{
    if (worker->is_counted) {
        metric_fold(worker->crew->master->metrics, worker);
        worker->is_counted = false;
    }
}
