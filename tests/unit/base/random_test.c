/* SPDX-License-Identifier: MIT */
#include "base/random.h"

#include "support/unit.h"

START_TEST(stays_below_the_limit_and_reaches_all_of_it)
{
    unsigned seen[7] = { 0 };
    for (unsigned i = 0; i < 7000; i++) {
        uint64_t n = random_below(7);
        ck_assert_uint_lt(n, 7);
        seen[n]++;
    }
    for (unsigned i = 0; i < 7; i++) {
        ck_assert_uint_gt(seen[i], 500); /* of 1000; fails once in more than 10^60 runs */
    }
    ck_assert_uint_eq(random_below(1), 0);
    ck_assert_uint_eq(random_below(0), 0);
}
END_TEST

START_TEST(does_not_say_the_same_twice)
{
    ck_assert_uint_ne(random_next(), random_next());
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, stays_below_the_limit_and_reaches_all_of_it);
    tcase_add_test(tests, does_not_say_the_same_twice);
}

UNIT_MAIN("random", add_tests)
