/* SPDX-License-Identifier: MIT */
/* When a target is down, and what an answer to a check must be. */
#include "upstream/health.h"

#include "support/unit.h"

static const struct weir_status good_statuses[] = { { 200, 299 }, { 301, 301 }, { 400, 404 } };

static const struct health_settings settings = {
    .is_on = true,
    .statuses = { good_statuses, 3 },
    .every_ns = 5 * NS_PER_S,
    .timeout_ns = NS_PER_S,
    .rise = 2,
    .fall = 3,
};

/* Results of checks, + good and - bad, and behind each the state: U or D. */
static const struct {
    const char *why, *history;
} histories[] = {
    { "it begins as up, whatever comes first", "-U-U+U" },
    { "three failures in a row", "-U-U-D-D" },
    { "a success between them", "-U-U+U-U-U+U-U-U-D" },
    { "two successes bring it back", "-U-U-D+D+U+U" },
    { "not with a failure between them", "-U-U-D+D-D+D-D+D+U" },
    { "and down again", "-U-U-D+D+U-U-U-D" },
};

START_TEST(changes_after_so_many_in_a_row)
{
    struct health health = { .is_down = false };
    for (const char *c = histories[_i].history; *c != '\0'; c += 2) {
        bool was_down = health.is_down;
        bool turns = health_note(&health, &settings, c[0] == '+');
        unit_check(health.is_down == (c[1] == 'D'), histories[_i].why);
        unit_check(turns == (health.is_down != was_down), histories[_i].why);
    }
}
END_TEST

START_TEST(changes_at_once_where_one_is_enough)
{
    struct health health = { .is_down = false };
    struct health_settings quick = settings;
    quick.rise = quick.fall = 1;
    ck_assert(health_note(&health, &quick, false));
    ck_assert(health.is_down);
    ck_assert(health_note(&health, &quick, true));
    ck_assert(!health.is_down);
}
END_TEST

START_TEST(asks_with_jitter_and_more_often_until_it_knows)
{
    static const uint64_t randoms[] = { 0, 1, UINT64_MAX / 2, UINT64_MAX };
    struct health unknown = { .is_down = false }, known = { .is_down = false };
    ck_assert(!health_note(&known, &settings, true));
    for (size_t i = 0; i < 4; i++) {
        uint64_t ns = health_pause_ns(&known, &settings, randoms[i]);
        ck_assert_uint_ge(ns, settings.every_ns - settings.every_ns / 10);
        ck_assert_uint_le(ns, settings.every_ns + settings.every_ns / 10);
        ns = health_pause_ns(&unknown, &settings, randoms[i]);
        ck_assert_uint_ge(ns, HEALTH_SOON_NS - HEALTH_SOON_NS / 10);
        ck_assert_uint_le(ns, HEALTH_SOON_NS + HEALTH_SOON_NS / 10);
        ck_assert_uint_le(health_first_ns(&settings, randoms[i]), HEALTH_SOON_NS);
    }
    ck_assert_uint_ne(health_pause_ns(&known, &settings, 0),
            health_pause_ns(&known, &settings, 1));
    ck_assert_uint_ne(health_first_ns(&settings, 0), health_first_ns(&settings, 1));

    struct health down = { .is_down = false };
    for (unsigned i = 0; i < 3; i++) {
        bool turns = health_note(&down, &settings, false);
        ck_assert(turns == (i == 2));
    }
    ck_assert_uint_ge(health_pause_ns(&down, &settings, 0), 4 * NS_PER_S); /* it is known */
}
END_TEST

START_TEST(never_asks_more_often_than_it_was_told)
{
    struct health unknown = { .is_down = false };
    struct health_settings often = settings;
    often.every_ns = 100 * NS_PER_MS;
    ck_assert_uint_ge(health_pause_ns(&unknown, &often, 0), 90 * NS_PER_MS);
    ck_assert_uint_le(health_pause_ns(&unknown, &often, UINT64_MAX), 110 * NS_PER_MS);
    ck_assert_uint_le(health_first_ns(&often, UINT64_MAX), 100 * NS_PER_MS);
}
END_TEST

START_TEST(expects_statuses)
{
    static const unsigned good[] = { 200, 299, 301, 400, 404 },
                          bad[] = { 199, 300, 302, 405, 500 };
    for (size_t i = 0; i < 5; i++) {
        ck_assert(health_expects_status(&settings, good[i]));
        ck_assert(!health_expects_status(&settings, bad[i]));
    }
}
END_TEST

START_TEST(says_which_statuses_it_expects)
{
    char text[64];
    size_t len = health_format_statuses(&settings, text, sizeof(text));
    ck_assert_str_eq(text, "2xx, 301, 400-404");
    ck_assert_uint_eq(len, 17);
    for (size_t bytes = 1; bytes < 18; bytes++) {
        ck_assert_uint_eq(health_format_statuses(&settings, text, bytes), bytes - 1);
        ck_assert_int_eq(memcmp(text, "2xx, 301, 400-404", bytes - 1), 0);
    }
}
END_TEST

START_TEST(expects_a_text_in_the_body)
{
    struct health_settings wants = settings;
    ck_assert(!health_expects_body(&wants));
    ck_assert(health_body_is_good(&wants, weir_str_make(NULL, 0)));
    wants.body = WEIR_STR("ready");
    ck_assert(health_expects_body(&wants));
    ck_assert(health_body_is_good(&wants, WEIR_STR("I am ready.")));
    ck_assert(health_body_is_good(&wants, WEIR_STR("ready")));
    ck_assert(!health_body_is_good(&wants, WEIR_STR("read")));
    ck_assert(!health_body_is_good(&wants, WEIR_STR("I am Ready.")));
    ck_assert(!health_body_is_good(&wants, weir_str_make(NULL, 0)));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, changes_after_so_many_in_a_row, 0,
            sizeof(histories) / sizeof(histories[0]));
    tcase_add_test(tests, changes_at_once_where_one_is_enough);
    tcase_add_test(tests, asks_with_jitter_and_more_often_until_it_knows);
    tcase_add_test(tests, never_asks_more_often_than_it_was_told);
    tcase_add_test(tests, expects_statuses);
    tcase_add_test(tests, says_which_statuses_it_expects);
    tcase_add_test(tests, expects_a_text_in_the_body);
}

UNIT_MAIN("health", add_tests)
