/* SPDX-License-Identifier: MIT */
/* Targets that are known by a name: a host, or a service (RFC 2782) whose records name hosts.
 *
 *     "api.internal:80"        -> one host -> its addresses
 *     "srv:_http._tcp.example" -> records  -> a host each -> its addresses
 *
 * A name keeps the group's members in line with what it stands for: what is new joins before
 * what is gone leaves. Its set changes only for another that has at least one address: while
 * names cannot be resolved, whatever the reason, the last good set stays. The hosts of a
 * service change all together, when each of the new ones has been asked for.
 *
 * Until its first answer or failure a name is not settled, and requests for a group without a
 * member wait for it. Thread: the loop's. */
#ifndef WEIR_UPSTREAM_NAME_H
#define WEIR_UPSTREAM_NAME_H

#include "upstream/name_host.h"

struct upstream_group;
struct upstream_target_settings;

struct upstream_name {
    /* Fixed at birth. */
    struct upstream_group *group;                    /* borrowed */
    const struct upstream_target_settings *settings; /* borrowed: the configuration's */
    struct upstream_name *next;                      /* of group->names */

    /* Changes. */
    struct name_host *hosts;  /* owned */
    struct name_host *coming; /* owned: of the last answer, not settled, or without address */
    struct timer timer;       /* of a service: when its records are asked for again */
    struct resolver_query *query;
    unsigned failures;
    bool is_settled;
    enum resolver_result told; /* what the log heard last */
    uint64_t round;            /* counts how often its members were looked at */
    size_t members;
};

/* Joins group->names. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int upstream_name_add(struct upstream_group *group,
        const struct upstream_target_settings *settings);

/* Of all of a group; its members stay. */
void upstream_names_free(struct upstream_group *group);

/* True while a group has no member, and a name of it has not settled. */
bool upstream_awaits_names(const struct upstream_group *group);

#endif
