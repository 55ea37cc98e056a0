/* SPDX-License-Identifier: MIT */
#include "upstream/choose.h"

#include <stddef.h>

#include "base/random.h"
#include "http/engine.h"

static const struct tier {
    bool is_backup, is_out;
} tiers[] = {
    { .is_backup = false, .is_out = false },
    { .is_backup = true, .is_out = false },
    { .is_backup = false, .is_out = true },
    { .is_backup = true, .is_out = true },
};

/* Whether it is in the tier, and may be asked, if it is not busy. */
static bool
belongs(const struct upstream_target *target, const struct tier *tier,
        const struct upstream_tried *tried, uint64_t now_ns)
{
    return target->settings.is_backup == tier->is_backup &&
            upstream_is_usable(target, now_ns) != tier->is_out && !target->is_draining &&
            !upstream_is_tried(tried, target);
}

/* Those of a tier that may be asked. */
struct gathered {
    size_t count;
    struct upstream_target *wanted; /* by the request's cookie; NULL: not among them */
    bool has_busy;
    struct balance_candidate candidates[UPSTREAM_TARGETS_MAX];
};

static void
gather(struct upstream_group *group, const struct upstream_tried *tried,
        const struct tier *tier, struct upstream_wish *wish, struct gathered *gathered)
{
    uint64_t now_ns = loop_now_ns(group->all->engine->loop);
    gathered->count = 0;
    gathered->wanted = NULL;
    gathered->has_busy = false;
    for (size_t i = 0; i < group->target_count; i++) {
        struct upstream_target *target = group->targets[i];
        if (!belongs(target, tier, tried, now_ns)) {
            continue;
        }
        bool is_wanted = wish->has_id && wish->id == target->sticky_id;
        if (!upstream_has_room(target)) {
            gathered->has_busy = true;
            wish->keeps_id |= is_wanted;
            continue;
        }
        if (is_wanted) {
            gathered->wanted = target;
        }
        gathered->candidates[gathered->count++] = (struct balance_candidate){
            .member = &target->balance,
            .weight = balance_weight_now(&group->settings->balance, target->settings.weight,
                    target->up_since_ns, now_ns),
            .load = target->open_count - target->idle_count,
        };
    }
}

static struct upstream_target *
pick(const struct upstream_group *group, const struct upstream_wish *wish,
        const struct gathered *gathered)
{
    const struct balance_settings *settings = &group->settings->balance;
    uint64_t random = settings->kind == BALANCE_RANDOM ? random_next() : 0;
    size_t i = balance_choose(settings, gathered->candidates, gathered->count,
            wish->has_key ? &wish->key : NULL, random);
    return (struct upstream_target *)((char *)gathered->candidates[i].member -
            offsetof(struct upstream_target, balance));
}

enum upstream_choice
upstream_choose(struct upstream_group *group, struct upstream_tried *tried,
        struct upstream_wish *wish, struct upstream_target **out)
{
    upstream_tried_refresh(tried, group);
    wish->keeps_id = false;
    for (size_t i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {
        struct gathered gathered;
        if (tiers[i].is_out && group->settings->refuses_when_out) {
            break;
        }
        gather(group, tried, &tiers[i], wish, &gathered);
        if (gathered.count > 0) {
            *out = gathered.wanted != NULL ? gathered.wanted : pick(group, wish, &gathered);
            upstream_set_tried(tried, *out);
            upstream_asked(*out);
            return UPSTREAM_CHOSEN;
        }
        if (gathered.has_busy) {
            return UPSTREAM_ALL_BUSY;
        }
    }
    return UPSTREAM_ALL_TRIED;
}

bool
upstream_is_all_busy(const struct upstream_group *group, struct upstream_tried *tried)
{
    uint64_t now_ns = loop_now_ns(group->all->engine->loop);
    upstream_tried_refresh(tried, group);
    for (size_t i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {
        bool has_busy = false;
        if (tiers[i].is_out && group->settings->refuses_when_out) {
            break;
        }
        for (size_t j = 0; j < group->target_count; j++) {
            const struct upstream_target *target = group->targets[j];
            if (!belongs(target, &tiers[i], tried, now_ns)) {
                continue;
            }
            if (upstream_has_room(target)) {
                return false;
            }
            has_busy = true;
        }
        if (has_busy) {
            return true;
        }
    }
    return false;
}

bool
upstream_has_untried(const struct upstream_group *group, struct upstream_tried *tried)
{
    upstream_tried_refresh(tried, group);
    for (size_t i = 0; i < group->target_count; i++) {
        const struct upstream_target *target = group->targets[i];
        bool may_be_asked = !group->settings->refuses_when_out ||
                upstream_is_usable(target, loop_now_ns(group->all->engine->loop));
        if (may_be_asked && !target->is_draining && !upstream_is_tried(tried, target)) {
            return true;
        }
    }
    return false;
}
