/* SPDX-License-Identifier: MIT */
/* How a target has been of late, and what that does to it. */
#include <stdio.h>

#include "http/engine.h"
#include "observe/log.h"
#include "upstream/conn.h"
#include "upstream/group.h"

static uint64_t
now_ns(const struct upstream_target *target)
{
    return loop_now_ns(target->group->all->engine->loop);
}

static const struct eject_settings *
eject_settings_of(const struct upstream_target *target)
{
    return &target->group->settings->eject;
}

/* Whether it may go out, for all that are out already. */
static bool
may_go_out(const struct upstream_target *target, uint64_t at_ns)
{
    const struct upstream_group *group = target->group;
    size_t out = 0;
    for (size_t i = 0; i < group->target_count; i++) {
        const struct upstream_target *other = group->targets[i];
        out += other != target && !upstream_is_usable(other, at_ns);
    }
    return target->is_member &&
            eject_has_room(&group->settings->eject, out, group->target_count);
}

void
upstream_asked(struct upstream_target *target)
{
    eject_asked(&target->eject, eject_settings_of(target), now_ns(target));
}

void
upstream_failed(struct upstream_target *target, const char *why)
{
    uint64_t at_ns = now_ns(target);
    const struct eject_settings *settings = eject_settings_of(target);
    if (!eject_failed(&target->eject, settings, at_ns, may_go_out(target, at_ns))) {
        return;
    }
    uint64_t out_ms = (target->eject.out_until_ns - at_ns) / NS_PER_MS;
    upstream_count_ejection(target);
    upstream_serve_soon(target->group); /* whom it kept waiting */
    log_warn("upstream %.*s: %.*s keeps failing, last with \"%s\"; passed over for %llu.%llu s",
            WEIR_STR_ARG(target->group->settings->name), WEIR_STR_ARG(target->settings.address),
            why, (unsigned long long)(out_ms / 1000), (unsigned long long)(out_ms / 100 % 10));
}

void
upstream_answered(struct upstream_target *target, unsigned status)
{
    if (eject_counts_status(eject_settings_of(target), status)) {
        char why[16];
        snprintf(why, sizeof(why), "status %u", status);
        upstream_failed(target, why);
    } else if (eject_worked(&target->eject, now_ns(target))) {
        target->up_since_ns = now_ns(target);
        log_info("upstream %.*s: %.*s works again", WEIR_STR_ARG(target->group->settings->name),
                WEIR_STR_ARG(target->settings.address));
    }
}

void
upstream_turn(struct upstream_target *target, bool is_down)
{
    struct upstream_group *group = target->group;
    if (target->is_down == is_down) {
        return;
    }
    target->is_down = is_down;
    if (is_down) {
        upstream_close_kept(target);
    } else {
        target->eject = (struct eject){ .failures = 0 }; /* it is not what it was */
        target->up_since_ns = now_ns(target);
    }
    upstream_serve_all(group); /* whom it kept waiting, or would have */
}
