/* SPDX-License-Identifier: MIT */
/* Checks one target for as long as it is there, and says when its state changes. Lives on the
 * worker's first loop. Thread: that loop's. */
#ifndef WEIR_UPSTREAM_HEALTH_MONITOR_H
#define WEIR_UPSTREAM_HEALTH_MONITOR_H

#include <stdbool.h>

#include <weir/api.h>

struct health_board;
struct health_entry;
struct health_monitor;
struct upstream_target;

/* The first check follows soon. `target` is borrowed. Returns 0 or
 * -ENOMEM. */
WEIR_MUST_USE int health_monitor_new(struct health_board *board, struct health_entry *entry,
        struct upstream_target *target, struct health_monitor **out);

/* Without another word of it; NULL: nothing. */
void health_monitor_free(struct health_monitor *monitor);

/* ---- the board's, for monitors: writes the state down and tells the other loops ---- */

void health_entry_turn(struct health_board *board, struct health_entry *entry, bool is_down);

#endif
