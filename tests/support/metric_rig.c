/* SPDX-License-Identifier: MIT */
#include "support/metric_rig.h"

#include "support/unit.h"

struct metric_pages *
metric_rig_worker(struct metric_pages *master, const void *owner, unsigned shards)
{
    struct metric_pages *worker;
    ck_assert_int_eq(metric_lend(master, owner, shards), 0);
    ck_assert_int_eq(metric_attach(metric_totals_fd(master), &worker), 0);
    for (unsigned i = 0; i < metric_shard_count(master); i++) {
        ck_assert_int_eq(metric_attach_shard(worker, i, metric_shard_fd(master, i)), 0);
        int fd = metric_lent_fd(master, i, owner);
        if (fd >= 0) {
            ck_assert_int_eq(metric_attach_lent(worker, fd), 0);
        }
    }
    return worker;
}

static int
look(void *context, const struct weir_metric *metric)
{
    struct metric_rig_series *wanted = context;
    if (weir_str_eq(metric->name, weir_str_from(wanted->name)) &&
            weir_str_eq(metric->labels, weir_str_from(wanted->labels))) {
        wanted->times++;
        wanted->found = *metric;
    }
    return 0;
}

struct metric_rig_series
metric_rig_read(struct metric_pages *pages, const char *name, const char *labels)
{
    struct metric_rig_series wanted = { .name = name, .labels = labels };
    ck_assert_int_eq(metric_each(pages, look, &wanted), 0);
    return wanted;
}

uint64_t
metric_rig_value(struct metric_pages *pages, const char *name, const char *labels)
{
    struct metric_rig_series series = metric_rig_read(pages, name, labels);
    uint64_t value = series.found.value;
    for (unsigned i = 0; i <= WEIR_METRIC_BOUNDS; i++) {
        value += series.found.counts[i];
    }
    return value;
}
