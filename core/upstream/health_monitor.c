/* SPDX-License-Identifier: MIT */
#include "upstream/health_monitor.h"

#include <errno.h>
#include <stdlib.h>

#include "base/random.h"
#include "http/engine.h"
#include "observe/log.h"
#include "upstream/group.h"
#include "upstream/health_check.h"

struct health_monitor {
    struct health_board *board;     /* borrowed */
    struct health_entry *entry;     /* borrowed from the target */
    struct upstream_target *target; /* borrowed; it ends the monitor before it goes */
    struct health health;
    uint64_t begun_ns; /* the last check */
    struct timer timer;
    struct health_check check;
};

static const struct health_settings *
settings_of(const struct health_monitor *monitor)
{
    return &monitor->target->group->settings->health;
}

/* How many of the group's targets may be asked, as the checks have it. */
static size_t
count_up(const struct upstream_group *group)
{
    size_t up = 0;
    for (size_t i = 0; i < group->target_count; i++) {
        up += !group->targets[i]->is_down && !group->targets[i]->is_draining;
    }
    return up;
}

static void
say_turn(const struct health_monitor *monitor)
{
    const struct upstream_target *target = monitor->target;
    const struct upstream_group *group = target->group;
    char why[HEALTH_CHECK_TEXT_BYTES];
    size_t len = health_check_format(&monitor->check, why, sizeof(why));
    size_t up = count_up(group);
    if (!monitor->health.is_down) {
        log_info("upstream %.*s: %.*s is up: %.*s", WEIR_STR_ARG(group->settings->name),
                WEIR_STR_ARG(target->settings.address), (int)len, why);
    } else if (up > 0) {
        log_warn("upstream %.*s: %.*s is down: %.*s; %zu of %zu targets left",
                WEIR_STR_ARG(group->settings->name), WEIR_STR_ARG(target->settings.address),
                (int)len, why, up, group->target_count);
    } else {
        log_error("upstream %.*s: %.*s is down: %.*s; no target is left, so all are asked",
                WEIR_STR_ARG(group->settings->name), WEIR_STR_ARG(target->settings.address),
                (int)len, why);
    }
}

static void
set_timer(struct health_monitor *monitor)
{
    uint64_t pause_ns = health_pause_ns(&monitor->health, settings_of(monitor), random_next());
    int r = timer_set(&monitor->timer, clock_add_ns(monitor->begun_ns, pause_ns));
    (void)r; /* moving it cannot fail: it is always set */
}

static void
on_done(struct health_check *check)
{
    struct health_monitor *monitor = (struct health_monitor *)((char *)check -
            offsetof(struct health_monitor, check));
    struct upstream_target *target = monitor->target;
    upstream_count_check(target, health_result_word(check->result));
    bool turns = check->result != HEALTH_EXHAUSTED &&
            health_note(&monitor->health, settings_of(monitor), check->result == HEALTH_FINE);
    set_timer(monitor);
    if (turns) {
        bool is_down = monitor->health.is_down;
        target->is_down = is_down; /* counts among the others in what is said */
        say_turn(monitor);
        target->is_down = !is_down;
        upstream_show_health(target, !is_down, is_down);
        health_entry_turn(monitor->board, monitor->entry, is_down);
        upstream_turn(target, is_down); /* may end the monitor */
    }
}

static void
on_timer(struct timer *timer)
{
    struct health_monitor *monitor = (struct health_monitor *)((char *)timer -
            offsetof(struct health_monitor, timer));
    monitor->begun_ns = loop_now_ns(timer->loop);
    /* Until on_done() sets it to when the next one begins. */
    int r = timer_set(timer, CLOCK_NEVER);
    (void)r; /* in its own callback it cannot fail */
    health_check_begin(&monitor->check);
}

int
health_monitor_new(struct health_board *board, struct health_entry *entry,
        struct upstream_target *target, struct health_monitor **out)
{
    struct upstreams *all = target->group->all;
    struct loop *loop = all->engine->loop;
    struct health_monitor *monitor = calloc(1, sizeof(*monitor));
    if (monitor == NULL) {
        return -ENOMEM;
    }
    monitor->board = board;
    monitor->entry = entry;
    monitor->target = target;
    monitor->health.is_down = monitor->health.is_proven = target->is_down;
    timer_init(&monitor->timer, loop, on_timer);
    uint64_t first_ns = health_first_ns(settings_of(monitor), random_next());
    const struct health_question question = {
        .settings = settings_of(monitor),
        .connector = all->connector,
        .addr = &target->settings.addr,
        .address = target->settings.address,
        .proxy = target->group->settings->proxy,
    };
    int r = health_check_init(&monitor->check, loop, &question, on_done);
    if (r == 0) {
        r = timer_set(&monitor->timer, clock_add_ns(loop_now_ns(loop), first_ns));
    }
    if (r < 0) {
        health_check_fini(&monitor->check);
        free(monitor);
        return r;
    }
    upstream_show_health(target, !target->is_down, target->is_down);
    *out = monitor;
    return 0;
}

void
health_monitor_free(struct health_monitor *monitor)
{
    if (monitor == NULL) {
        return;
    }
    upstream_show_health(monitor->target, false, false);
    timer_cancel(&monitor->timer);
    health_check_fini(&monitor->check);
    free(monitor);
}
