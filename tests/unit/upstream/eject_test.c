/* SPDX-License-Identifier: MIT */
/* Passive ejection. Times are given to the machine, so that none passes. */
#include "upstream/eject.h"

#include "base/clock.h"
#include "support/unit.h"

#define S NS_PER_S

static const struct weir_status statuses[] = { { 500, 504 }, { 429, 429 } };

static const struct eject_settings settings = {
    .failures = 3,
    .within_ns = 10 * S,
    .for_ns = 10 * S,
    .for_max_ns = 35 * S,
    .max_percent = 100,
    .statuses = { statuses, 2 },
};

/* Fails three times, and is out. */
static void
throw_out(struct eject *eject, uint64_t now_ns)
{
    ck_assert(!eject_failed(eject, &settings, now_ns, true));
    ck_assert(!eject_failed(eject, &settings, now_ns, true));
    ck_assert(eject_failed(eject, &settings, now_ns, true));
    ck_assert(eject_is_out(eject, now_ns));
}

/* For how long it is out, which is `ns` and at most a tenth. */
static void
check_time_out(const struct eject *eject, uint64_t now_ns, uint64_t ns)
{
    ck_assert_uint_ge(eject->out_until_ns - now_ns, ns);
    ck_assert_uint_le(eject->out_until_ns - now_ns, ns + ns / EJECT_JITTER_PARTS);
}

/* A history: so many seconds after the start it fails (f) or works (w). */
static const struct {
    const char *why;
    struct {
        char what;
        uint64_t at_s;
    } events[6];
    bool is_out;
} histories[] = {
    { "three in a row", { { 'f', 1 }, { 'f', 2 }, { 'f', 3 } }, true },
    { "two are too few", { { 'f', 1 }, { 'f', 2 } }, false },
    { "one that works between them", { { 'f', 1 }, { 'f', 2 }, { 'w', 3 }, { 'f', 4 } },
            false },
    { "as far apart as may be", { { 'f', 1 }, { 'f', 2 }, { 'f', 11 } }, true },
    { "too far apart", { { 'f', 1 }, { 'f', 2 }, { 'f', 12 } }, false },
    { "anew after a pause", { { 'f', 1 }, { 'f', 2 }, { 'f', 12 }, { 'f', 13 }, { 'f', 14 } },
            true },
};

START_TEST(counts_failures_in_a_row_within_a_time)
{
    struct eject eject = { .failures = 0 };
    uint64_t now_ns = 0;
    for (size_t i = 0; i < 6 && histories[_i].events[i].what != '\0'; i++) {
        now_ns = histories[_i].events[i].at_s * S;
        if (histories[_i].events[i].what == 'w') {
            unit_check(!eject_worked(&eject, now_ns), histories[_i].why);
        } else {
            bool is_last = i == 5 || histories[_i].events[i + 1].what == '\0';
            unit_check(eject_failed(&eject, &settings, now_ns, true) ==
                            (is_last && histories[_i].is_out),
                    histories[_i].why);
        }
    }
    unit_check(eject_is_out(&eject, now_ns) == histories[_i].is_out, histories[_i].why);
}
END_TEST

START_TEST(is_out_for_longer_each_time_up_to_a_bound)
{
    static const uint64_t seconds[] = { 10, 20, 35, 35 };
    struct eject eject = { .failures = 0 };
    uint64_t now_ns = 1 * S;
    throw_out(&eject, now_ns);
    for (size_t i = 0; i < 4; i++) {
        check_time_out(&eject, now_ns, seconds[i] * S);
        now_ns = eject.out_until_ns;
        ck_assert(!eject_is_out(&eject, now_ns));
        ck_assert(eject_failed(&eject, &settings, now_ns, true)); /* one is enough on trial */
    }
}
END_TEST

START_TEST(forgets_times_out_when_it_has_worked_for_as_long)
{
    struct eject eject = { .failures = 0 };
    throw_out(&eject, 1 * S);
    uint64_t now_ns = eject.out_until_ns;
    ck_assert(eject_worked(&eject, now_ns));
    now_ns += 10 * S; /* not for longer than it was out */
    throw_out(&eject, now_ns);
    check_time_out(&eject, now_ns, 20 * S);
    now_ns = eject.out_until_ns;
    ck_assert(eject_worked(&eject, now_ns));
    now_ns += 20 * S + 1;
    throw_out(&eject, now_ns);
    check_time_out(&eject, now_ns, 10 * S);
}
END_TEST

START_TEST(is_tried_by_one_when_its_time_is_up)
{
    struct eject eject = { .failures = 0 };
    throw_out(&eject, 1 * S);
    uint64_t now_ns = eject.out_until_ns;
    eject_asked(&eject, &settings, now_ns);
    ck_assert(eject_is_out(&eject, now_ns));           /* for the others */
    ck_assert(!eject_is_out(&eject, now_ns + 10 * S)); /* nothing came of it: another tries */
    ck_assert(eject_worked(&eject, now_ns + 1));
    ck_assert(!eject_is_out(&eject, now_ns + 1));

    throw_out(&eject, now_ns + 2);
    now_ns = eject.out_until_ns;
    eject_asked(&eject, &settings, now_ns);
    ck_assert(eject_failed(&eject, &settings, now_ns + 1, true));
    check_time_out(&eject, now_ns + 1, 35 * S);
}
END_TEST

START_TEST(is_asked_for_want_of_others_and_stays_out_unless_it_works)
{
    struct eject eject = { .failures = 0 };
    throw_out(&eject, 1 * S);
    uint64_t until_ns = eject.out_until_ns;
    eject_asked(&eject, &settings, 2 * S);
    ck_assert(!eject_failed(&eject, &settings, 3 * S, true));
    ck_assert_uint_eq(eject.out_until_ns, until_ns);
    ck_assert(eject_worked(&eject, 4 * S));
    ck_assert(!eject_is_out(&eject, 4 * S));
    ck_assert(!eject_worked(&eject, 4 * S));
}
END_TEST

START_TEST(stays_in_where_too_many_are_out)
{
    struct eject eject = { .failures = 0 };
    for (unsigned i = 0; i < 5; i++) {
        ck_assert(!eject_failed(&eject, &settings, 1 * S, false));
        ck_assert(!eject_is_out(&eject, 1 * S));
    }
    ck_assert(eject_failed(&eject, &settings, 1 * S, true)); /* another has come back */

    uint64_t now_ns = eject.out_until_ns;
    ck_assert(!eject_failed(&eject, &settings, now_ns, false));
    ck_assert(!eject_is_out(&eject, now_ns));
}
END_TEST

START_TEST(says_how_many_may_be_out)
{
    struct eject_settings half = settings;
    half.max_percent = 50;
    ck_assert(!eject_has_room(&half, 0, 1));
    ck_assert(eject_has_room(&half, 0, 2));
    ck_assert(!eject_has_room(&half, 1, 2));
    ck_assert(!eject_has_room(&half, 1, 3));
    ck_assert(eject_has_room(&half, 1, 4));
    ck_assert(eject_has_room(&settings, 0, 1));
    ck_assert(eject_has_room(&settings, 255, 256));
}
END_TEST

START_TEST(counts_the_statuses_that_it_was_told)
{
    static const unsigned failures[] = { 429, 500, 502, 504 },
                          others[] = { 200, 428, 430, 505 };
    for (size_t i = 0; i < 4; i++) {
        ck_assert(eject_counts_status(&settings, failures[i]));
        ck_assert(!eject_counts_status(&settings, others[i]));
    }
}
END_TEST

START_TEST(does_nothing_where_it_is_off)
{
    struct eject eject = { .failures = 0 };
    struct eject_settings off = { .failures = 0 };
    for (unsigned i = 0; i < 10; i++) {
        ck_assert(!eject_failed(&eject, &off, 1 * S, true));
    }
    ck_assert(!eject_is_out(&eject, 1 * S));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, counts_failures_in_a_row_within_a_time, 0,
            sizeof(histories) / sizeof(histories[0]));
    tcase_add_test(tests, is_out_for_longer_each_time_up_to_a_bound);
    tcase_add_test(tests, forgets_times_out_when_it_has_worked_for_as_long);
    tcase_add_test(tests, is_tried_by_one_when_its_time_is_up);
    tcase_add_test(tests, is_asked_for_want_of_others_and_stays_out_unless_it_works);
    tcase_add_test(tests, stays_in_where_too_many_are_out);
    tcase_add_test(tests, says_how_many_may_be_out);
    tcase_add_test(tests, counts_the_statuses_that_it_was_told);
    tcase_add_test(tests, does_nothing_where_it_is_off);
}

UNIT_MAIN("eject", add_tests)
