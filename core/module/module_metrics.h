/* SPDX-License-Identifier: MIT */
/* What modules count themselves (weir/metric.h), in the shard of their loop. Thread: the
 * loop's, but for the public functions, which say so when they are called elsewhere. */
#ifndef WEIR_MODULE_MODULE_METRICS_H
#define WEIR_MODULE_MODULE_METRICS_H

#include <weir/module.h>

#include "observe/metric.h"

struct module_metrics;

/* Of one loop. NULL without memory: then nothing is counted. `shard` is borrowed. */
struct module_metrics *module_metrics_new(struct metric_shard *shard);
void module_metrics_free(struct module_metrics *metrics); /* NULL: nothing */

#endif
