/* SPDX-License-Identifier: MIT */
/* What a loop counts of its requests and connections, in its shard (observe/metric.h). Labels
 * are names of the configuration, known methods and statuses: no client can make series.
 * Thread: the loop's. */
#ifndef WEIR_MODULE_FIGURES_H
#define WEIR_MODULE_FIGURES_H

#include "http/h1.h"
#include "http/request.h"
#include "module/course.h"
#include "observe/metric.h"

struct figures;

/* NULL without memory or without a shard: then nothing is counted. */
struct figures *figures_new(struct metric_shard *shard);
void figures_free(struct figures *figures); /* NULL: nothing; the shard keeps what it has */

/* From now on the loop whose map this is counts in them. */
void figures_begin(struct figures *figures, struct course_map *map);

/* A connection was accepted; it has ended, be it one that was never served. Counted at once, so
 * that a worker which dies has not closed more than it opened. NULL: nothing. */
void figures_count_open(struct figures *figures);
void figures_count_close(struct figures *figures, enum h1_close reason);

/* A request has ended, and its log hooks are about to be asked. NULL: nothing. */
void figures_count_request(struct figures *figures, const struct weir_request *request);

/* Likewise what pools count; and log files, the budget of memory and bodies that stand in
 * files. Of a whole process, so that one of its loops does. NULL: nothing. */
void figures_take_pools(struct figures *figures, const struct pools *pools);
void figures_take_process(struct figures *figures);

/* Work that was offloaded comes back from a pool, having waited for a thread. NULL: nothing. */
void figures_observe_queue(struct figures *figures, const char *pool, uint64_t ns);

/* Brings what the engine counts itself up to date. NULL: nothing. */
void figures_take_engine(struct figures *figures, const struct engine *engine);

#endif
