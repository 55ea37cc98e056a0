/* SPDX-License-Identifier: MIT */
/* A set of targets that changes, and what exchanges remember of it. */
#include "upstream/target.h"

#include <errno.h>
#include <stdio.h>

#include "http/engine.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"
#include "upstream/group.h"

static struct manual_clock manual;
static struct engine engine;
static struct upstreams *all;
static struct upstream_group *group;
static const struct upstream_target_settings none = { .address = WEIR_STR("@none"),
    .weight = 1 };
static const struct upstream_settings settings = { .targets = &none,
    .target_count = 1,
    .name = WEIR_STR("app"),
    .connections = UINT64_MAX };

static void
begin(void)
{
    manual_clock_init(&manual, 1000 * NS_PER_S, 0);
    ck_assert_int_eq(loop_new(&manual.clock, &engine.loop), 0);
    ck_assert_int_eq(upstreams_new(&engine, NULL, NULL, &settings, 1, 1, NULL, &all), 0);
    group = &all->groups[0];
    upstream_target_remove(group->targets[0]);
}

static void
finish(void)
{
    upstreams_free(all);
    loop_free(engine.loop);
}

static struct upstream_target *
add(unsigned port)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    const struct upstream_target_settings target = {
        .address = weir_str_make(text, (size_t)len),
        .weight = 1,
    };
    struct upstream_target *out = NULL;
    return upstream_target_add(group, &target, &out) < 0 ? NULL : out;
}

START_TEST(keeps_the_order_of_those_that_stay)
{
    begin();
    struct upstream_target *first = add(1), *second = add(2), *third = add(3);
    upstream_target_remove(second);
    ck_assert_uint_eq(group->target_count, 2);
    ck_assert(group->targets[0] == first && group->targets[1] == third);
    ck_assert_uint_ne(first->slot, third->slot);
    struct upstream_target *fourth = add(4);
    ck_assert(group->targets[2] == fourth);
    ck_assert_uint_ne(fourth->slot, first->slot);
    ck_assert_uint_ne(fourth->slot, third->slot);
    finish();
}
END_TEST

START_TEST(keeps_a_target_until_all_have_let_go)
{
    begin();
    struct upstream_target *target = add(1);
    upstream_target_ref(target);
    upstream_target_remove(target);
    ck_assert(!target->is_member && target->is_draining);
    ck_assert(weir_str_eq(target->settings.address, WEIR_STR("127.0.0.1:1")));
    upstream_target_unref(target);
    finish();
}
END_TEST

START_TEST(forgets_who_was_tried_with_its_place)
{
    begin();
    struct upstream_tried tried = { .changes = 0 };
    struct upstream_target *first = add(1), *second = add(2);
    upstream_tried_refresh(&tried, group);
    upstream_set_tried(&tried, first);
    upstream_set_tried(&tried, second);
    unsigned slot = first->slot;
    upstream_target_remove(first);
    struct upstream_target *third = add(3);
    ck_assert_uint_eq(third->slot, slot); /* the same bit, and another target */
    upstream_tried_refresh(&tried, group);
    ck_assert(!upstream_is_tried(&tried, third));
    ck_assert(upstream_is_tried(&tried, second));
    upstream_set_tried(&tried, third);
    upstream_target_weigh(second, 5);
    upstream_target_drain(second, true);
    upstream_tried_refresh(&tried, group);
    ck_assert(upstream_is_tried(&tried, third));
    ck_assert(upstream_is_tried(&tried, second));
    finish();
}
END_TEST

START_TEST(holds_so_many_and_no_more)
{
    begin();
    for (unsigned i = 0; i < UPSTREAM_TARGETS_MAX; i++) {
        ck_assert_ptr_nonnull(add(i + 1));
    }
    ck_assert_ptr_null(add(1000));
    upstream_target_remove(group->targets[100]);
    struct upstream_target *last = add(1001);
    ck_assert_ptr_nonnull(last);
    for (unsigned i = 0; i + 1 < UPSTREAM_TARGETS_MAX; i++) {
        ck_assert_uint_ne(group->targets[i]->slot, last->slot);
    }
    finish();
}
END_TEST

START_TEST(is_as_it_was_without_memory)
{
    begin();
    ck_assert_ptr_nonnull(add(1));
    UNIT_EACH_ALLOCATION_FAILS({
        size_t before = group->target_count;
        struct upstream_target *target = add(2);
        ck_assert_uint_eq(group->target_count, before + (target != NULL));
    })
    finish();
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, keeps_the_order_of_those_that_stay);
    tcase_add_test(tests, keeps_a_target_until_all_have_let_go);
    tcase_add_test(tests, forgets_who_was_tried_with_its_place);
    tcase_add_test(tests, holds_so_many_and_no_more);
    tcase_add_test(tests, is_as_it_was_without_memory);
}

UNIT_MAIN("upstream/target", add_tests)
