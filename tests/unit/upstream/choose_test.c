/* SPDX-License-Identifier: MIT */
#include "upstream/choose.h"

#include "http/engine.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"

#define SECOND UINT64_C(1000000000)

/* Targets a, b, c, d of weight 1; the last two are backups. */
struct bed {
    struct manual_clock clock;
    struct loop *loop;
    struct engine engine;
    struct upstream_target_settings targets[4];
    struct upstream_settings settings;
    struct upstreams *upstreams;
    struct upstream_group *group;
};

static void
bed_init(struct bed *bed)
{
    *bed = (struct bed){ .settings = { .name = WEIR_STR("app"), .connections = UINT64_MAX } };
    manual_clock_init(&bed->clock, 1000 * SECOND, 0);
    ck_assert_int_eq(loop_new(&bed->clock.clock, &bed->loop), 0);
    bed->engine.loop = bed->loop;
    for (size_t i = 0; i < 4; i++) {
        bed->targets[i] = (struct upstream_target_settings){
            .address = weir_str_make(&"abcd"[i], 1),
            .weight = 1,
            .is_backup = i >= 2,
        };
    }
    bed->settings.targets = bed->targets;
    bed->settings.target_count = 4;
    bed->settings.eject = (struct eject_settings){ .failures = 1,
        .within_ns = SECOND,
        .for_ns = 10 * SECOND,
        .for_max_ns = 10 * SECOND,
        .max_percent = 100 };
    bed->settings.sticky.cookie = WEIR_STR("sticky");
    bed->settings.sticky.key[0] = 1;
}

static void
bed_start(struct bed *bed)
{
    ck_assert_int_eq(upstreams_new(&bed->engine, NULL, NULL, &bed->settings, 1, 1, NULL,
                             &bed->upstreams),
            0);
    bed->group = &bed->upstreams->groups[0];
}

static void
bed_fini(struct bed *bed)
{
    for (size_t i = 0; i < bed->group->target_count; i++) {
        bed->group->targets[i]->open_count = 0;
    }
    upstreams_free(bed->upstreams);
    loop_free(bed->loop);
}

static struct upstream_target *
target_of(const struct bed *bed, char name)
{
    for (size_t i = 0; i < bed->group->target_count; i++) {
        if (bed->group->targets[i]->settings.address.ptr[0] == name) {
            return bed->group->targets[i];
        }
    }
    ck_abort_msg("no target %c", name);
}

/* The names of the targets that one exchange is given, one after the other, each of which
 * fails; then `.` when none is left, or `*` when there is a queue. */
static const char *
tries(struct bed *bed, struct upstream_wish wish)
{
    static char names[16];
    struct upstream_tried tried = { .changes = 0 };
    size_t count = 0;
    for (;;) {
        struct upstream_target *target;
        switch (upstream_choose(bed->group, &tried, &wish, &target)) {
        case UPSTREAM_CHOSEN:
            names[count++] = target->settings.address.ptr[0];
            continue;
        case UPSTREAM_ALL_BUSY:
            names[count++] = '*';
            break;
        case UPSTREAM_ALL_TRIED:
            names[count++] = '.';
            break;
        }
        names[count] = '\0';
        return names;
    }
}

static char
first(struct bed *bed, struct upstream_wish *wish)
{
    struct upstream_tried tried = { .changes = 0 };
    struct upstream_wish none = { .has_id = false };
    struct upstream_target *target;
    ck_assert_int_eq(upstream_choose(bed->group, &tried, wish == NULL ? &none : wish, &target),
            UPSTREAM_CHOSEN);
    return target->settings.address.ptr[0];
}

static void
put_out(struct bed *bed, char name)
{
    struct upstream_target *target = target_of(bed, name);
    upstream_failed(target, "refused");
    ck_assert(!upstream_is_usable(target, loop_now_ns(bed->loop)));
}

static const struct upstream_wish no_wish;

/* ---- backups ----------------------------------------------------------------------------- */

START_TEST(asks_backups_when_no_other_is_left)
{
    struct bed bed;
    bed_init(&bed);
    bed_start(&bed);
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(first(&bed, NULL), "ab"[i % 2]);
    }
    ck_assert_str_eq(tries(&bed, no_wish), "abcd."); /* within one exchange */
    put_out(&bed, 'a');
    ck_assert_int_eq(first(&bed, NULL), 'b');
    put_out(&bed, 'b');
    ck_assert_int_eq(first(&bed, NULL), 'd'); /* it was c's turn above */
    ck_assert_int_eq(first(&bed, NULL), 'c');
    ck_assert_int_eq(first(&bed, NULL), 'd');
    bed_fini(&bed);
}
END_TEST

START_TEST(gives_back_what_backups_took_over)
{
    struct bed bed;
    bed_init(&bed);
    bed_start(&bed);
    put_out(&bed, 'a');
    put_out(&bed, 'b');
    ck_assert_int_ge(first(&bed, NULL), 'c');
    manual_clock_advance_ns(&bed.clock, 12 * SECOND); /* and what jitter adds to 10 */
    ck_assert_int_le(first(&bed, NULL), 'b');         /* on trial */
    upstream_answered(target_of(&bed, 'a'), 200);
    upstream_answered(target_of(&bed, 'b'), 200);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_le(first(&bed, NULL), 'b');
    }
    bed_fini(&bed);
}
END_TEST

START_TEST(asks_one_that_is_out_rather_than_none)
{
    struct bed bed;
    bed_init(&bed);
    bed_start(&bed);
    put_out(&bed, 'a');
    put_out(&bed, 'b');
    put_out(&bed, 'c');
    put_out(&bed, 'd');
    const char *names = tries(&bed, no_wish);
    ck_assert_uint_eq(strlen(names), 5);
    ck_assert_int_le(names[0], 'b'); /* those that are no backups first */
    ck_assert_int_le(names[1], 'b');
    ck_assert_int_ge(names[2], 'c');
    bed_fini(&bed);
}
END_TEST

START_TEST(leaves_backups_alone_while_others_are_only_busy)
{
    struct bed bed;
    bed_init(&bed);
    bed.settings.connections = 1;
    bed_start(&bed);
    target_of(&bed, 'a')->open_count = 1;
    ck_assert_str_eq(tries(&bed, no_wish), "b*");
    target_of(&bed, 'b')->open_count = 1;
    ck_assert_str_eq(tries(&bed, no_wish), "*");
    struct upstream_tried tried = { .changes = 0 };
    ck_assert(upstream_is_all_busy(bed.group, &tried));
    upstream_set_tried(&tried, target_of(&bed, 'a'));
    ck_assert(upstream_is_all_busy(bed.group, &tried));
    upstream_set_tried(&tried, target_of(&bed, 'b'));
    ck_assert(!upstream_is_all_busy(bed.group, &tried)); /* the backups are next */
    ck_assert(upstream_has_untried(bed.group, &tried));
    put_out(&bed, 'a');
    put_out(&bed, 'b');
    ck_assert_int_ge(first(&bed, NULL), 'c');
    bed_fini(&bed);
}
END_TEST

START_TEST(gives_nothing_to_one_that_drains)
{
    struct bed bed;
    bed_init(&bed);
    bed_start(&bed);
    upstream_target_drain(target_of(&bed, 'a'), true);
    ck_assert_str_eq(tries(&bed, no_wish), "bcd.");
    struct upstream_wish wish = { .has_id = true, .id = target_of(&bed, 'a')->sticky_id };
    ck_assert_int_eq(first(&bed, &wish), 'b');
    bed_fini(&bed);
}
END_TEST

/* ---- sticky ------------------------------------------------------------------------------ */

START_TEST(asks_the_target_that_the_cookie_names)
{
    struct bed bed;
    bed_init(&bed);
    bed_start(&bed);
    struct upstream_wish wish = { .has_id = true, .id = target_of(&bed, 'b')->sticky_id };
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(first(&bed, &wish), 'b');
    }
    wish.id++; /* names nobody */
    ck_assert_int_eq(first(&bed, &wish), 'a');
    ck_assert_int_eq(first(&bed, &wish), 'b');
    bed_fini(&bed);
}
END_TEST

START_TEST(asks_another_where_the_cookie_s_target_cannot_be)
{
    struct bed bed;
    bed_init(&bed);
    bed.settings.connections = 1;
    bed_start(&bed);
    struct upstream_wish wish = { .has_id = true, .id = target_of(&bed, 'b')->sticky_id };
    ck_assert_str_eq(tries(&bed, wish), "bacd."); /* it failed: the balance decides */
    target_of(&bed, 'b')->open_count = 1;
    ck_assert_int_eq(first(&bed, &wish), 'a');
    ck_assert(wish.keeps_id); /* once it has a connection free, it is asked again */
    put_out(&bed, 'b');
    ck_assert_int_eq(first(&bed, &wish), 'a');
    ck_assert(!wish.keeps_id);
    bed_fini(&bed);
}
END_TEST

START_TEST(keeps_nobody_at_a_backup)
{
    struct bed bed;
    bed_init(&bed);
    bed_start(&bed);
    struct upstream_wish wish = { .has_id = true, .id = target_of(&bed, 'd')->sticky_id };
    ck_assert_int_le(first(&bed, &wish), 'b');
    ck_assert(!wish.keeps_id);
    put_out(&bed, 'a');
    put_out(&bed, 'b');
    ck_assert_int_eq(first(&bed, &wish), 'd');
    ck_assert_int_eq(first(&bed, &wish), 'd');
    bed_fini(&bed);
}
END_TEST

/* ---- slow start -------------------------------------------------------------------------- */

/* How many of 1000 exchanges the target is given. */
static unsigned
share_of(struct bed *bed, char name)
{
    unsigned count = 0;
    for (int i = 0; i < 1000; i++) {
        count += first(bed, NULL) == name;
    }
    return count;
}

START_TEST(begins_slowly_with_one_that_is_new_or_back)
{
    struct bed bed;
    bed_init(&bed);
    bed.settings.balance.slow_start_ns = 10 * SECOND;
    bed_start(&bed);
    ck_assert_uint_eq(share_of(&bed, 'a'), 500); /* all are as old as we are */

    struct upstream_target_settings more = { .address = WEIR_STR("e"), .weight = 1 };
    ck_assert_int_eq(upstream_target_add(bed.group, &more, NULL), 0);
    ck_assert_uint_le(share_of(&bed, 'e'), 3);
    manual_clock_advance_ns(&bed.clock, 5 * SECOND);
    ck_assert_uint_ge(share_of(&bed, 'e'), 199); /* half a weight of two and a half */
    ck_assert_uint_le(share_of(&bed, 'e'), 201);
    manual_clock_advance_ns(&bed.clock, 5 * SECOND);
    ck_assert_uint_ge(share_of(&bed, 'e'), 333);

    put_out(&bed, 'a');
    ck_assert_uint_eq(share_of(&bed, 'a'), 0);
    upstream_answered(target_of(&bed, 'a'), 200); /* an older exchange was answered */
    ck_assert_uint_le(share_of(&bed, 'a'), 3);
    manual_clock_advance_ns(&bed.clock, 10 * SECOND);
    ck_assert_uint_ge(share_of(&bed, 'a'), 333);

    upstream_target_drain(target_of(&bed, 'b'), true);
    upstream_target_drain(target_of(&bed, 'b'), false);
    ck_assert_uint_le(share_of(&bed, 'b'), 3);
    bed_fini(&bed);
}
END_TEST

START_TEST(counts_connections_in_use_and_not_those_kept)
{
    struct bed bed;
    bed_init(&bed);
    bed.settings.balance.kind = BALANCE_LEAST_CONNECTIONS;
    bed_start(&bed);
    target_of(&bed, 'a')->open_count = 5;
    target_of(&bed, 'a')->idle_count = 4;
    target_of(&bed, 'b')->open_count = 2;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(first(&bed, NULL), 'a');
    }
    target_of(&bed, 'a')->idle_count = 0;
    bed_fini(&bed);
}
END_TEST

START_TEST(asks_the_same_target_for_the_same_key)
{
    struct bed bed;
    bed_init(&bed);
    bed.settings.balance.kind = BALANCE_HASH;
    bed_start(&bed);
    unsigned count_a = 0;
    for (uint64_t key = 0; key < 100; key++) {
        struct upstream_wish wish = { .has_key = true,
            .key = key * UINT64_C(0x9e3779b97f4a7c15) };
        char name = first(&bed, &wish);
        ck_assert_int_le(name, 'b');
        ck_assert_int_eq(first(&bed, &wish), name);
        count_a += name == 'a';
    }
    ck_assert_uint_ge(count_a, 35);
    ck_assert_uint_le(count_a, 65);
    ck_assert_int_ne(first(&bed, NULL), first(&bed, NULL)); /* no key: in turn */
    bed_fini(&bed);
}
END_TEST

START_TEST(asks_none_that_is_out_where_that_is_said)
{
    struct bed bed;
    struct upstream_wish none = { .has_id = false };
    struct upstream_tried tried = { .changes = 0 };
    bed_init(&bed);
    bed.settings.refuses_when_out = true;
    bed_start(&bed);
    for (size_t i = 0; i < 4; i++) {
        ck_assert(upstream_has_untried(bed.group, &tried));
        upstream_failed(target_of(&bed, "abcd"[i]), "refused");
    }
    ck_assert(!upstream_has_untried(bed.group, &tried));
    ck_assert_str_eq(tries(&bed, none), ".");
    bed.group->connections_max = 0;
    ck_assert(!upstream_is_all_busy(bed.group, &tried)); /* whoever waits is refused, too */
    bed.group->connections_max = UINT64_MAX;
    target_of(&bed, 'c')->eject.out_until_ns = 0; /* a backup is well again */
    ck_assert_str_eq(tries(&bed, none), "c.");
    bed_fini(&bed);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, asks_none_that_is_out_where_that_is_said);
    tcase_add_test(tests, asks_backups_when_no_other_is_left);
    tcase_add_test(tests, gives_back_what_backups_took_over);
    tcase_add_test(tests, asks_one_that_is_out_rather_than_none);
    tcase_add_test(tests, leaves_backups_alone_while_others_are_only_busy);
    tcase_add_test(tests, gives_nothing_to_one_that_drains);
    tcase_add_test(tests, asks_the_target_that_the_cookie_names);
    tcase_add_test(tests, asks_another_where_the_cookie_s_target_cannot_be);
    tcase_add_test(tests, keeps_nobody_at_a_backup);
    tcase_add_test(tests, begins_slowly_with_one_that_is_new_or_back);
    tcase_add_test(tests, counts_connections_in_use_and_not_those_kept);
    tcase_add_test(tests, asks_the_same_target_for_the_same_key);
}

UNIT_MAIN("upstream/choose", add_tests)
