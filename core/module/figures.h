/* SPDX-License-Identifier: MIT */
/* What a loop counts of its requests and connections, in its shard (observe/metric.h). Labels
 * are names of the configuration, known methods and statuses: no client can make series.
 * Thread: the loop's. */
#ifndef WEIR_MODULE_FIGURES_H
#define WEIR_MODULE_FIGURES_H

#include "http/request.h"
#include "observe/metric.h"

struct figures;

/* NULL without memory or without a shard: then nothing is counted. */
struct figures *figures_new(struct metric_shard *shard);
void figures_free(struct figures *figures); /* NULL: nothing; the shard keeps what it has */

/* A request has ended, and its log hooks are about to be asked. NULL: nothing. */
void figures_count_request(struct figures *figures, const struct weir_request *request);

/* Brings what the engine counts itself up to date. NULL: nothing. */
void figures_take_engine(struct figures *figures, const struct engine *engine);

#endif
