/* SPDX-License-Identifier: MIT */
/* Targets: where an upstream's requests go, one address each.
 *
 *     upstream_target_add()
 *          |
 *        MEMBER ---- upstream_target_drain() ----> DRAINING
 *          |                                          |
 *          +-------- upstream_target_remove() --------+
 *                            v
 *                          GONE ---- the last that refers to it lets go ----> freed
 *
 * The group's array holds its members, which may be draining. A connection holds its target,
 * and so does the exchange that asked it last: the object lives until all of them have let go,
 * so that a set may change at any time. One that drains or is gone is given no exchange; its
 * kept connections close, and those in use close behind their exchange. Thread: the loop's. */
#ifndef WEIR_UPSTREAM_TARGET_H
#define WEIR_UPSTREAM_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/str.h>

#include "net/addr.h"
#include "upstream/balance.h"
#include "upstream/eject.h"
#include "upstream/health_board.h"
#include "upstream/upstream_figures.h"

struct upstream_conn;
struct upstream_group;
struct upstream_name;

/* Of one group. */
#define UPSTREAM_TARGETS_MAX 256u

/* What is said of a target: by the configuration, by names (name.h), or while it runs. A target
 * has a copy of its own. */
struct upstream_target_settings {
    struct weir_str address; /* as written; at most ADDR_TEXT_BYTES are kept */
    struct weir_str label;   /* of its figures; outlives the group; .ptr NULL: the address */
    const char *host;        /* a name to look up; NULL: `addr` is known */
    uint16_t port;           /* of the host */
    bool is_service;         /* the name is of SRV records, which say port and weight */
    struct addr addr;
    uint64_t weight; /* from 1 */
    bool is_backup;  /* asked when no other can be */
};

struct upstream_target {
    /* Fixed at birth. */
    struct upstream_group *group; /* borrowed: it outlives its targets */
    uint64_t sticky_id;           /* its name in cookies */
    struct upstream_name *name;   /* what stands for it, as long as it is a member; or NULL */

    /* Whether it is in the set. */
    unsigned refs;       /* the group's, connections', exchanges' */
    bool is_member;      /* of group->targets */
    bool is_draining;    /* true of those that are gone, too */
    unsigned slot;       /* a member's bit in `upstream_tried`; no other member has it */
    uint64_t slot_since; /* group->changes when it took that */

    /* Changes. `weight` is changed by upstream_target_weigh(); `address` is `text`. */
    struct upstream_target_settings settings;
    struct upstream_conn *idle;      /* owned; last used first */
    uint64_t idle_count, open_count; /* connections; the former among the latter */
    struct balance_member balance;
    bool is_down; /* as checks have found */
    struct eject eject;
    struct health_seat health;
    uint64_t up_since_ns; /* when it was last of use again; 0: it always was */
    uint64_t name_round;  /* name->round when it stood for it last */
    struct upstream_figures figures;

    char text[ADDR_TEXT_BYTES];
};

/* A new member, the last of group->targets. *out (may be NULL) is borrowed from the group.
 * upstream_serve_all() is to follow, when all that join have. Returns 0; -ENOSPC when there are
 * UPSTREAM_TARGETS_MAX; -ENOMEM. */
WEIR_MUST_USE int upstream_target_add(struct upstream_group *group,
        const struct upstream_target_settings *settings, struct upstream_target **out);

/* No member any more, and freed when nobody refers to it. */
void upstream_target_remove(struct upstream_target *target);

/* A member that is given nothing more, or is again. */
void upstream_target_drain(struct upstream_target *target, bool is_draining);

void upstream_target_weigh(struct upstream_target *target, uint64_t weight);

void upstream_target_ref(struct upstream_target *target);
void upstream_target_unref(struct upstream_target *target); /* NULL: nothing */

/* Another connection may be made to the target, or a kept one used. */
bool upstream_has_room(const struct upstream_target *target);

/* Whether it is asked before those that were not well of late. */
static inline bool
upstream_is_usable(const struct upstream_target *target, uint64_t now_ns)
{
    return !target->is_down && !eject_is_out(&target->eject, now_ns);
}

/* It will be asked next. What became of that: it failed, for `why` in a word; or a head with
 * this status came. */
void upstream_asked(struct upstream_target *target);
void upstream_failed(struct upstream_target *target, const char *why);
void upstream_answered(struct upstream_target *target, unsigned status);

/* Checks have found it down, or up again. */
void upstream_turn(struct upstream_target *target, bool is_down);

/* Which of the members an exchange has asked already. All zero: none. Right whatever has
 * changed in between: who took a slot since it was looked at last was not asked. */
struct upstream_tried {
    uint64_t changes; /* group->changes when it was looked at last */
    uint64_t bits[UPSTREAM_TARGETS_MAX / 64];
};

/* Before the others are called, in the same turn. */
void upstream_tried_refresh(struct upstream_tried *tried, const struct upstream_group *group);

static inline bool
upstream_is_tried(const struct upstream_tried *tried, const struct upstream_target *target)
{
    return (tried->bits[target->slot / 64] >> (target->slot % 64) & 1) != 0;
}

static inline void
upstream_set_tried(struct upstream_tried *tried, const struct upstream_target *target)
{
    tried->bits[target->slot / 64] |= UINT64_C(1) << (target->slot % 64);
}

/* It was chosen, and could not be asked after all. */
static inline void
upstream_unset_tried(struct upstream_tried *tried, const struct upstream_target *target)
{
    tried->bits[target->slot / 64] &= ~(UINT64_C(1) << (target->slot % 64));
}

#endif
