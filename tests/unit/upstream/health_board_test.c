/* SPDX-License-Identifier: MIT */
/* The first of two loops checks the targets of both. The test's thread is either's in turn. */
#include "upstream/health_board.h"

#include <errno.h>

#include "event/mailbox.h"
#include "http/engine.h"
#include "support/unit.h"
#include "support/upstream_rig.h"
#include "testkit/manual_clock.h"
#include "upstream/group.h"

#define LOOPS   2
#define OK      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define FAILING "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"

static const struct weir_status twos[] = { { 200, 299 } };

static struct manual_clock manual;
static struct upstream_rig upstream;
static struct health_board *board;
static struct upstream_target_settings targets[2];
static struct upstream_settings settings;

static struct bed {
    struct loop *loop;
    struct engine engine;
    struct mailbox *mailbox;
    struct upstreams *upstreams;
} beds[LOOPS];

static void
setup(void)
{
    const char *why;
    manual_clock_init(&manual, 1000 * NS_PER_S, 0);
    upstream_rig_init(&upstream, OK);
    ck_assert_int_eq(addr_parse(WEIR_STR("127.0.0.1:9"), &targets[0].addr, &why), 0);
    ck_assert_int_eq(addr_parse(WEIR_STR("127.0.0.1:10"), &targets[1].addr, &why), 0);
    for (size_t i = 0; i < 2; i++) {
        targets[i].address = i == 0 ? WEIR_STR("127.0.0.1:9") : WEIR_STR("127.0.0.1:10");
        targets[i].weight = 1;
    }
    settings = (struct upstream_settings){
        .name = WEIR_STR("app"),
        .connections = UINT64_MAX,
        .targets = targets,
        .target_count = 1,
        .health = {
            .is_on = true,
            .path = WEIR_STR("/up"),
            .statuses = { twos, 1 },
            .every_ns = NS_PER_S,
            .timeout_ns = NS_PER_S / 2,
            .rise = 1,
            .fall = 2,
        },
    };
}

static struct upstream_target *
target_of(unsigned loop, size_t i)
{
    return beds[loop].upstreams->groups[0].targets[i];
}

static void
close_bed(unsigned i)
{
    loop_adopt(beds[i].loop);
    upstreams_free(beds[i].upstreams);
    mailbox_free(beds[i].mailbox);
    loop_free(beds[i].loop);
    beds[i] = (struct bed){ .loop = NULL };
}

/* Returns 0 or -ENOMEM, when nothing is left of it. */
static int
open_bed(unsigned i)
{
    struct bed *bed = &beds[i];
    int r = loop_new(&manual.clock, &bed->loop);
    if (r < 0) {
        return r;
    }
    loop_adopt(bed->loop);
    bed->engine.loop = bed->loop;
    r = mailbox_new(bed->loop, &bed->mailbox);
    r = r < 0 ? r
              : upstreams_new(&bed->engine, &upstream.connector, NULL, &settings, 1, LOOPS,
                        NULL, &bed->upstreams);
    r = r < 0 ? r : health_board_join(board, i, bed->upstreams, bed->mailbox);
    if (r < 0) {
        close_bed(i);
    }
    return r;
}

static void
open_all(void)
{
    board = health_board_new(LOOPS);
    ck_assert_ptr_nonnull(board);
    for (unsigned i = 0; i < LOOPS; i++) {
        ck_assert_int_eq(open_bed(i), 0);
    }
}

static void
close_all(void)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        close_bed(i);
    }
    health_board_free(board);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}

static void
turn(unsigned i)
{
    loop_adopt(beds[i].loop);
    for (unsigned turns = 0; turns < 20; turns++) {
        loop_turn(beds[i].loop, false);
    }
}

/* So that the checks of so much time are done, on the first loop alone. */
static void
pass(uint64_t ns)
{
    for (uint64_t passed = 0; passed < ns; passed += 100 * NS_PER_MS) {
        manual_clock_advance_ns(&manual, 100 * NS_PER_MS);
        turn(0);
    }
}

START_TEST(one_loop_asks_and_the_others_are_told)
{
    open_all();
    pass(5 * NS_PER_S);
    turn(1);
    ck_assert_uint_ge(upstream.answered, 4); /* in 5 s, every second or a tenth more */
    ck_assert_uint_le(upstream.answered, 6); /* or a tenth less, and it was one who asked */
    ck_assert(!target_of(0, 0)->is_down && !target_of(1, 0)->is_down);

    upstream.answer = FAILING;
    pass(3 * NS_PER_S);
    ck_assert(target_of(0, 0)->is_down);
    ck_assert(!target_of(1, 0)->is_down); /* it has not looked yet */
    turn(1);
    ck_assert(target_of(1, 0)->is_down);
    ck_assert(!upstream_is_usable(target_of(1, 0), loop_now_ns(beds[1].loop)));

    upstream.answer = OK;
    pass(2 * NS_PER_S);
    turn(1);
    ck_assert(!target_of(0, 0)->is_down && !target_of(1, 0)->is_down);
    ck_assert(upstream_is_usable(target_of(1, 0), loop_now_ns(beds[1].loop)));
    ck_assert_uint_eq(target_of(1, 0)->up_since_ns, loop_now_ns(beds[1].loop));
    close_all();
}
END_TEST

START_TEST(a_change_that_is_taken_back_is_none)
{
    open_all();
    upstream.answer = FAILING;
    pass(4 * NS_PER_S);
    upstream.answer = OK;
    pass(2 * NS_PER_S);
    turn(1); /* one letter, and both changes are past */
    ck_assert(!target_of(1, 0)->is_down);
    ck_assert_uint_eq(target_of(1, 0)->up_since_ns, 0);
    upstream.answer = FAILING;
    pass(4 * NS_PER_S);
    turn(1);
    ck_assert(target_of(1, 0)->is_down);
    close_all();
}
END_TEST

START_TEST(targets_may_come_and_go)
{
    struct upstream_target *added;
    open_all();
    upstream.answer = FAILING;
    pass(4 * NS_PER_S);
    turn(1);
    for (unsigned i = 0; i < LOOPS; i++) { /* the same address once more: what is known of it */
        loop_adopt(beds[i].loop);
        ck_assert_int_eq(upstream_target_add(&beds[i].upstreams->groups[0], &targets[0],
                                 &added),
                0);
        ck_assert(added->is_down);
        ck_assert_int_eq(upstream_target_add(&beds[i].upstreams->groups[0], &targets[1],
                                 &added),
                0);
        ck_assert(!added->is_down);
    }
    pass(4 * NS_PER_S);
    turn(1);
    ck_assert(target_of(0, 2)->is_down && target_of(1, 2)->is_down);

    /* While a check of it runs. */
    loop_adopt(beds[0].loop);
    upstream.answer = "";
    unsigned before = upstream_rig_open(&upstream);
    while (upstream_rig_open(&upstream) == before) {
        manual_clock_advance_ns(&manual, 10 * NS_PER_MS);
        loop_turn(beds[0].loop, false);
    }
    for (size_t i = 3; i > 0; i--) {
        upstream_target_remove(target_of(0, i - 1));
    }
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    unsigned connected = upstream.connected;
    pass(5 * NS_PER_S);
    turn(1);
    ck_assert_uint_eq(upstream.connected, connected);
    ck_assert(target_of(1, 0)->is_down); /* the last that was heard of it */
    close_all();
}
END_TEST

START_TEST(a_loop_may_end_with_a_letter_on_its_way)
{
    open_all();
    upstream.answer = FAILING;
    pass(4 * NS_PER_S);
    close_bed(1);
    upstream.answer = OK;
    pass(4 * NS_PER_S); /* nobody else is told */
    ck_assert(!target_of(0, 0)->is_down);
    close_bed(0);
    health_board_free(board);
}
END_TEST

START_TEST(groups_without_checks_are_not_checked)
{
    settings.health.is_on = false;
    open_all();
    pass(5 * NS_PER_S);
    ck_assert_uint_eq(upstream.connected, 0);
    ck_assert_ptr_null(target_of(0, 0)->health.entry);
    close_all();
}
END_TEST

START_TEST(a_lack_of_our_own_says_nothing_of_a_target)
{
    open_all();
    upstream.error = -EMFILE;
    pass(10 * NS_PER_S);
    ck_assert(!target_of(0, 0)->is_down);
    upstream.error = -ECONNREFUSED;
    pass(4 * NS_PER_S);
    ck_assert(target_of(0, 0)->is_down);
    upstream.error = -EMFILE;
    pass(10 * NS_PER_S);
    ck_assert(target_of(0, 0)->is_down);
    close_all();
}
END_TEST

static void
open_without_memory(void)
{
    board = health_board_new(LOOPS);
    int r = board == NULL ? -ENOMEM : open_bed(0);
    if (r == 0) {
        struct upstream_target *added = NULL;
        r = upstream_target_add(&beds[0].upstreams->groups[0], &targets[1], &added);
        ck_assert((r == 0) == (added != NULL));
        ck_assert_uint_eq(beds[0].upstreams->groups[0].target_count, r == 0 ? 2 : 1);
        close_bed(0);
    }
    ck_assert(r == 0 || (r == -ENOMEM && failalloc_has_failed()));
    health_board_free(board);
}

START_TEST(begins_or_says_that_there_is_no_memory)
{
    UNIT_EACH_ALLOCATION_FAILS(open_without_memory());
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, one_loop_asks_and_the_others_are_told);
    tcase_add_test(tests, a_change_that_is_taken_back_is_none);
    tcase_add_test(tests, targets_may_come_and_go);
    tcase_add_test(tests, a_loop_may_end_with_a_letter_on_its_way);
    tcase_add_test(tests, groups_without_checks_are_not_checked);
    tcase_add_test(tests, a_lack_of_our_own_says_nothing_of_a_target);
    tcase_add_test(tests, begins_or_says_that_there_is_no_memory);
}

UNIT_MAIN("health_board", add_tests)
