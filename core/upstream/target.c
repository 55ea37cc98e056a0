/* SPDX-License-Identifier: MIT */
#include "upstream/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "http/engine.h"
#include "upstream/conn.h"
#include "upstream/group.h"

static void
begin_slowly(struct upstream_target *target)
{
    target->up_since_ns = loop_now_ns(target->group->all->engine->loop);
}

/* ---- the set ----------------------------------------------------------------------------- */

/* A bit that no member has. */
static unsigned
free_slot(const struct upstream_group *group)
{
    uint64_t used[UPSTREAM_TARGETS_MAX / 64] = { 0 };
    for (size_t i = 0; i < group->target_count; i++) {
        unsigned slot = group->targets[i]->slot;
        used[slot / 64] |= UINT64_C(1) << (slot % 64);
    }
    unsigned word = 0;
    while (used[word] == UINT64_MAX) {
        word++;
    }
    return word * 64 + (unsigned)__builtin_ctzll(~used[word]);
}

int
upstream_target_add(struct upstream_group *group,
        const struct upstream_target_settings *settings, struct upstream_target **out)
{
    if (group->target_count == UPSTREAM_TARGETS_MAX) {
        return -ENOSPC;
    }
    struct upstream_target *target = calloc(1, sizeof(*target));
    struct upstream_target **targets = reallocarray(group->targets, group->target_count + 1,
            sizeof(struct upstream_target *));
    if (targets != NULL) {
        group->targets = targets;
    }
    if (target == NULL || targets == NULL) {
        free(target);
        return -ENOMEM;
    }
    size_t len = settings->address.len < sizeof(target->text) ? settings->address.len
                                                              : sizeof(target->text);
    memcpy(target->text, settings->address.ptr, len);
    target->group = group;
    target->settings = *settings;
    target->settings.address = weir_str_make(target->text, len);
    target->sticky_id = sticky_id(&group->settings->sticky, target->settings.address);
    target->balance.id = balance_id(target->settings.address);
    if (settings->label.ptr == NULL) {
        target->settings.label = target->settings.address;
    }
    target->refs = 1;
    target->is_member = true;
    int r = health_attach(target);
    if (r < 0) {
        free(target);
        return r;
    }
    target->slot = free_slot(group);
    target->slot_since = ++group->changes;
    begin_slowly(target);
    group->targets[group->target_count++] = target;
    if (out != NULL) {
        *out = target;
    }
    return 0;
}

void
upstream_target_remove(struct upstream_target *target)
{
    struct upstream_group *group = target->group;
    WEIR_ASSERT(target->is_member);
    health_detach(target);
    size_t i = 0;
    while (group->targets[i] != target) {
        i++;
    }
    group->target_count--;
    memmove(&group->targets[i], &group->targets[i + 1],
            (group->target_count - i) * sizeof(struct upstream_target *));
    target->is_member = false;
    upstream_target_drain(target, true);
    upstream_target_unref(target);
}

void
upstream_target_drain(struct upstream_target *target, bool is_draining)
{
    target->is_draining = is_draining;
    target->group->changes++;
    if (is_draining) {
        upstream_close_kept(target);
    } else {
        begin_slowly(target);
    }
    upstream_serve_all(target->group);
}

void
upstream_target_weigh(struct upstream_target *target, uint64_t weight)
{
    WEIR_ASSERT(weight > 0);
    target->settings.weight = weight;
    target->group->changes++;
}

void
upstream_target_ref(struct upstream_target *target)
{
    target->refs++;
}

void
upstream_target_unref(struct upstream_target *target)
{
    if (target == NULL || --target->refs > 0) {
        return;
    }
    WEIR_ASSERT(!target->is_member && target->open_count == 0);
    free(target);
}

void
upstream_tried_refresh(struct upstream_tried *tried, const struct upstream_group *group)
{
    if (tried->changes == group->changes) {
        return;
    }
    for (size_t i = 0; i < group->target_count; i++) {
        const struct upstream_target *target = group->targets[i];
        if (target->slot_since > tried->changes) {
            tried->bits[target->slot / 64] &= ~(UINT64_C(1) << (target->slot % 64));
        }
    }
    tried->changes = group->changes;
}

bool
upstream_has_room(const struct upstream_target *target)
{
    return target->idle != NULL || target->open_count < target->group->connections_max;
}
