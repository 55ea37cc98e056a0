/* SPDX-License-Identifier: MIT */
/* Which target of a group an exchange asks next: of those that may be asked, in tiers, each
 * only when there is none in those before it:
 *
 *     targets in service
 *     backups in service
 *     targets that are out for a while, since that is better than none
 *     backups that are out
 *
 * The last two are left out where the configuration would rather have requests refused.
 *
 * Of a tier it is the one that the request's cookie names (sticky.h), else the balance's
 * (balance.h). Where all that are left in a tier have no connection free, there is a queue, and
 * the next tier is not asked: busy is not out. Thread: the loop's. */
#ifndef WEIR_UPSTREAM_CHOOSE_H
#define WEIR_UPSTREAM_CHOOSE_H

#include "upstream/group.h"

/* What a request has to say about it. All zero: nothing. */
struct upstream_wish {
    bool has_key, has_id;
    uint64_t key;  /* balance_hash() of what the configuration says */
    uint64_t id;   /* sticky_id() of the target that its cookie names */
    bool keeps_id; /* changes: that target only has no connection free */
};

enum upstream_choice {
    UPSTREAM_CHOSEN,
    UPSTREAM_ALL_BUSY,  /* one that was not tried has no connection left */
    UPSTREAM_ALL_TRIED, /* there is none left to try */
};

/* The next target to ask, which counts as tried from now on. */
WEIR_MUST_USE enum upstream_choice upstream_choose(struct upstream_group *group,
        struct upstream_tried *tried, struct upstream_wish *wish, struct upstream_target **out);

/* Whether upstream_choose() would find that all are busy. */
bool upstream_is_all_busy(const struct upstream_group *group, struct upstream_tried *tried);

/* There is another that could be asked, now or when it has a connection left. */
bool upstream_has_untried(const struct upstream_group *group, struct upstream_tried *tried);

#endif
