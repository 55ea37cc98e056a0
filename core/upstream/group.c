/* SPDX-License-Identifier: MIT */
#include "upstream/group.h"

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "http/engine.h"
#include "upstream/conn.h"
#include "upstream/exchange.h"

/* A loop's part of what all have together; the larger ones add up to a little more. */
static uint64_t
share(uint64_t of, unsigned loops)
{
    return of == UINT64_MAX ? of : of / loops + (of % loops != 0);
}

int
upstreams_new(struct engine *engine, const struct connector *connector,
        const struct upstream_settings *settings, size_t count, unsigned loops,
        struct metric_shard *shard, struct upstreams **out)
{
    struct upstreams *upstreams = calloc(1,
            sizeof(*upstreams) + count * sizeof(struct upstream_group));
    if (upstreams == NULL) {
        return -ENOMEM;
    }
    upstreams->engine = engine;
    upstreams->connector = connector;
    upstreams->shard = shard;
    for (size_t i = 0; i < count; i++) {
        struct upstream_group *group = &upstreams->groups[i];
        size_t targets = settings[i].target_count;
        WEIR_ASSERT(targets > 0 && targets <= UPSTREAM_TARGETS_MAX);
        upstreams->count = i + 1;
        group->settings = &settings[i];
        group->all = upstreams;
        group->queue_end = &group->queue;
        group->connections_max = share(settings[i].connections, loops);
        group->keepalive_max = settings[i].proxy != PROXY_NONE
                ? 0 /* each is its client's */
                : share(settings[i].keepalive, loops);
        group->queue_max = share(settings[i].queue_size, loops);
        retry_budget_init(&group->retry_budget, &settings[i].retry, loops,
                loop_now_ns(engine->loop));
        for (size_t j = 0; j < targets; j++) {
            struct upstream_target *target;
            if (upstream_target_add(group, &settings[i].targets[j], &target) < 0) {
                upstreams_free(upstreams);
                return -ENOMEM;
            }
            target->up_since_ns = 0; /* it need not be new: we are */
        }
    }
    *out = upstreams;
    return 0;
}

void
upstreams_free(struct upstreams *upstreams)
{
    if (upstreams == NULL) {
        return;
    }
    health_board_leave(upstreams);
    for (size_t i = 0; i < upstreams->count; i++) {
        struct upstream_group *group = &upstreams->groups[i];
        WEIR_ASSERT(group->queue == NULL);
        while (group->target_count > 0) {
            struct upstream_target *last = group->targets[group->target_count - 1];
            upstream_close_kept(last);
            WEIR_ASSERT(last->open_count == 0 && last->refs == 1);
            upstream_target_remove(last);
        }
        free(group->targets);
    }
    free(upstreams);
}

struct upstream_group *
upstreams_find(struct upstreams *upstreams, struct weir_str name)
{
    for (size_t i = 0; i < upstreams->count; i++) {
        if (weir_str_eq(upstreams->groups[i].settings->name, name)) {
            return &upstreams->groups[i];
        }
    }
    return NULL;
}

/* ---- the queue --------------------------------------------------------------------------- */

bool
upstream_enqueue(struct upstream_group *group, struct exchange *exchange)
{
    if (group->queued >= group->queue_max) {
        return false;
    }
    exchange->next = NULL;
    *group->queue_end = exchange;
    group->queue_end = &exchange->next;
    group->queued++;
    upstream_show_queue(group);
    return true;
}

void
upstream_unqueue(struct upstream_group *group, struct exchange *exchange)
{
    struct exchange **link = &group->queue;
    while (*link != exchange) {
        link = &(*link)->next;
    }
    *link = exchange->next;
    if (exchange->next == NULL) {
        group->queue_end = link;
    }
    group->queued--;
    upstream_show_queue(group);
}

void
upstream_serve_queue(struct upstream_group *group)
{
    struct exchange *oldest = group->queue;
    if (oldest != NULL) {
        upstream_unqueue(group, oldest);
        exchange_unqueued(oldest);
    }
}

void
upstream_serve_all(struct upstream_group *group)
{
    for (uint64_t left = group->queued; left > 0; left--) {
        upstream_serve_queue(group); /* may put it back, behind the others */
    }
}
