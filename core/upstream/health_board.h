/* SPDX-License-Identifier: MIT */
/* Which targets of a worker are up, as one of its loops finds out by checks (health_check.h)
 * for all of them.
 *
 *     the first loop: target --> monitor --check--> entry.is_down      (one an address)
 *                                   |                   ^
 *                                   +-- letters         | read when a letter comes,
 *                                          v            | and when a target is made
 *     other loops:                     targets ---------+
 *
 * A loop copies what it reads into its own targets (upstream_turn()), so that choosing one
 * takes neither lock nor atomic. The board's lock is held where targets are made and go, and
 * where a state changes. */
#ifndef WEIR_UPSTREAM_HEALTH_BOARD_H
#define WEIR_UPSTREAM_HEALTH_BOARD_H

#include <stdbool.h>

#include <weir/api.h>

struct health_board;
struct health_entry;
struct health_monitor;
struct mailbox;
struct upstream_target;
struct upstreams;

/* For so many loops. NULL without memory. Freed when the upstreams and the mailboxes of all of
 * them are. Thread: the one that makes the loops. */
WEIR_MUST_USE struct health_board *health_board_new(unsigned loops);
void health_board_free(struct health_board *board); /* NULL: nothing */

/* Loop `index` has these upstreams: its targets are seen to from here on, those that there are
 * and those that are made. The first checks them, if their group wants that. `mailbox` is the
 * loop's. Returns 0 or -ENOMEM. Thread: the loop's, or before it turns. */
WEIR_MUST_USE int health_board_join(struct health_board *board, unsigned index,
        struct upstreams *upstreams, struct mailbox *mailbox);

/* No letter reaches these upstreams any more. They may not have joined. Thread: likewise. */
void health_board_leave(struct upstreams *upstreams);

/* What a target has of it. All NULL: its group is not checked. */
struct health_seat {
    struct health_entry *entry;     /* counted */
    struct health_monitor *monitor; /* owned; on the first loop */
};

/* A member was made, or is none any more. Returns 0 or -ENOMEM, when nothing was done. Thread:
 * the loop's. */
WEIR_MUST_USE int health_attach(struct upstream_target *target);
void health_detach(struct upstream_target *target); /* not attached: nothing */

#endif
