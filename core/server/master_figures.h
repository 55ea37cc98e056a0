/* SPDX-License-Identifier: MIT */
/* What the master counts itself: how workers ended, how many there are, and how many clients
 * wait to be accepted. Thread: the master's. */
#ifndef WEIR_SERVER_MASTER_FIGURES_H
#define WEIR_SERVER_MASTER_FIGURES_H

#include "base/buf.h"
#include "server/crew.h"

struct master;
struct master_figures;

/* Counts in `metrics`, which may be NULL, and brings gauges up to date once a second. NULL
 * without memory. */
struct master_figures *master_figures_new(const struct master *master,
        struct metric_pages *metrics);
void master_figures_free(struct master_figures *figures); /* NULL: nothing */

/* A worker ended that was not told to; in `module`, empty: in none, or nobody knows in which.
 * NULL: nothing. */
void master_figures_count_death(struct master_figures *figures, const char *module);

/* Appends deaths by module, the members of a JSON object. 0 or a negative errno. */
WEIR_MUST_USE int master_figures_put_deaths(const struct master_figures *figures,
        struct buf *json);

/* Clients that wait to be accepted at one address, in all its queues, and the room that there
 * is for them. False where the system does not say (Unix sockets). */
bool master_figures_queue(const struct listening *listening, uint64_t *waiting, uint64_t *room);

#endif
