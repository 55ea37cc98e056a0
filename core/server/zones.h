/* SPDX-License-Identifier: MIT */
/* The memory that the master keeps for modules (weir/zone.h): made when the first generation
 * declares it, given up when the last one that does has gone. Thread: the master's. */
#ifndef WEIR_SERVER_ZONES_H
#define WEIR_SERVER_ZONES_H

#include "server/plan.h"

struct zones;

struct zones *zones_new(void);        /* NULL without memory */
void zones_free(struct zones *zones); /* NULL: nothing */

/* Makes those of the plan that are not there yet. What is wrong is logged. Returns an exit
 * code; what was made stays until zones_keep(). */
WEIR_MUST_USE int zones_make(struct zones *zones, const struct plan *plan);

/* The descriptor of one that zones_make() made; -1: none. */
int zones_find(const struct zones *zones, const struct zone_spec *spec);

/* Gives up those that none of the plans declares. */
void zones_keep(struct zones *zones, const struct plan *const *plans, size_t count);

/* How many there are, and their bytes. */
struct zones_figures {
    uint64_t count, bytes;
};
struct zones_figures zones_figures(const struct zones *zones);

#endif
