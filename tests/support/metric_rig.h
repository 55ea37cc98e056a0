/* SPDX-License-Identifier: MIT */
/* Master and worker of observe/metric.h in one process. */
#ifndef WEIR_SUPPORT_METRIC_RIG_H
#define WEIR_SUPPORT_METRIC_RIG_H

#include "observe/metric.h"

/* What a worker that the master calls `owner` sees after it was lent `shards` shards. */
struct metric_pages *metric_rig_worker(struct metric_pages *master, const void *owner,
        unsigned shards);

/* One series, summed; `times` is 0 where there is none. */
struct metric_rig_series {
    const char *name, *labels;
    unsigned times;
    struct weir_metric found;
};

struct metric_rig_series metric_rig_read(struct metric_pages *pages, const char *name,
        const char *labels);

/* The value of a counter or gauge, the count of a histogram; 0 where there is none. */
uint64_t metric_rig_value(struct metric_pages *pages, const char *name, const char *labels);

#endif
