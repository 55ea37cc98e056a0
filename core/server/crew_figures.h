/* SPDX-License-Identifier: MIT */
/* What a worker is given to count in, and to tell the sums of all from (observe/metric.h).
 * Thread: the master's. */
#ifndef WEIR_SERVER_CREW_FIGURES_H
#define WEIR_SERVER_CREW_FIGURES_H

#include "server/crew.h"

/* Lends a shard for each of its loops to a worker that is about to be started; where there are
 * none it works all the same, and is not counted. */
void crew_figures_lend(struct crew_worker *worker);

/* Sends it what it counts in, and what it reads; part of its beginning. */
void crew_figures_send(struct crew_worker *worker);

/* The worker has ended, or was not started: what it counted stays in the totals. */
void crew_figures_take_back(struct crew_worker *worker);

#endif
