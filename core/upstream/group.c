/* SPDX-License-Identifier: MIT */
#include "upstream/group.h"

#include <errno.h>
#include <stddef.h>
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

/* Its members, as far as they are known without asking. */
static int
make_targets(struct upstream_group *group)
{
    const struct upstream_settings *settings = group->settings;
    for (size_t i = 0; i < settings->target_count; i++) {
        const struct upstream_target_settings *target = &settings->targets[i];
        int r = 0;
        if (target->host != NULL && group->resolver == NULL) {
            r = group->all->new_resolver(group->all->engine->loop, &settings->names.resolver,
                    &group->resolver);
        }
        if (r == 0) {
            r = target->host != NULL ? upstream_name_add(group, target)
                                     : upstream_target_add(group, target, NULL);
        }
        if (r < 0) {
            return r;
        }
    }
    for (size_t i = 0; i < group->target_count; i++) {
        group->targets[i]->up_since_ns = 0; /* it need not be new: we are */
    }
    return 0;
}

static void
on_serve_task(struct loop_task *task)
{
    upstream_serve_all((struct upstream_group *)((char *)task -
            offsetof(struct upstream_group, serve_task)));
}

int
upstreams_new(struct engine *engine, const struct connector *connector,
        resolver_new_fn *new_resolver, const struct upstream_settings *settings, size_t count,
        unsigned loops, struct metric_shard *shard, struct upstreams **out)
{
    struct upstreams *upstreams = calloc(1,
            sizeof(*upstreams) + count * sizeof(struct upstream_group));
    if (upstreams == NULL) {
        return -ENOMEM;
    }
    upstreams->engine = engine;
    upstreams->connector = connector;
    upstreams->new_resolver = new_resolver;
    upstreams->shard = shard;
    for (size_t i = 0; i < count; i++) {
        struct upstream_group *group = &upstreams->groups[i];
        size_t targets = settings[i].target_count;
        WEIR_ASSERT(targets > 0 && targets <= UPSTREAM_TARGETS_MAX);
        upstreams->count = i + 1;
        group->settings = &settings[i];
        group->all = upstreams;
        group->queue_end = &group->queue;
        group->serve_task.fn = on_serve_task;
        group->connections_max = share(settings[i].connections, loops);
        group->keepalive_max = settings[i].proxy != PROXY_NONE
                ? 0 /* each is its client's */
                : share(settings[i].keepalive, loops);
        group->queue_max = share(settings[i].queue_size, loops);
        retry_budget_init(&group->retry_budget, &settings[i].retry, loops,
                loop_now_ns(engine->loop));
        if (make_targets(group) < 0) {
            upstreams_free(upstreams);
            return -ENOMEM;
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
        loop_undefer(upstreams->engine->loop, &group->serve_task);
        upstream_names_free(group);
        if (group->resolver != NULL) {
            group->resolver->free(group->resolver);
        }
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
    bool has_room = group->queued < group->queue_max ||
            (upstream_awaits_names(group) && group->queued < UPSTREAM_NAMES_QUEUE);
    if (!has_room) {
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

static bool
has_room(const struct upstream_group *group)
{
    for (size_t i = 0; i < group->target_count; i++) {
        if (upstream_has_room(group->targets[i])) {
            return true;
        }
    }
    return false;
}

/* The oldest that need not wait any more is tried again. One that has asked all that are free
 * keeps its place, and all do while there is a name to wait for. NULL: there is none. */
static struct exchange *
serve_one(struct upstream_group *group)
{
    struct exchange *exchange = upstream_awaits_names(group) ? NULL : group->queue;
    while (exchange != NULL && upstream_is_all_busy(group, &exchange->tried)) {
        exchange = exchange->next;
    }
    if (exchange != NULL) {
        upstream_unqueue(group, exchange);
        exchange_unqueued(exchange);
    }
    return exchange;
}

void
upstream_serve_queue(struct upstream_group *group)
{
    while (group->queue != NULL && has_room(group)) {
        const struct exchange *served = serve_one(group);
        if (served == NULL || served->state != EXCHANGE_OVER) {
            return; /* the connection is its own, if it is anyone's */
        }
    }
}

void
upstream_serve_all(struct upstream_group *group)
{
    while (serve_one(group) != NULL) {
    }
}

void
upstream_serve_soon(struct upstream_group *group)
{
    if (group->queue != NULL) {
        loop_defer(group->all->engine->loop, &group->serve_task);
    }
}
