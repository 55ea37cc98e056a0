/* SPDX-License-Identifier: MIT */
/* The budget of retries: a share of the requests, and a few a second. */
#include "upstream/retry.h"

#include "base/clock.h"
#include "support/unit.h"

static unsigned
spend_all(struct retry_budget *budget, const struct retry_settings *settings, uint64_t now_ns)
{
    unsigned count = 0;
    while (count < 1000 && retry_budget_spend(budget, settings, now_ns)) {
        count++;
    }
    return count;
}

static const struct {
    const char *why;
    int64_t percent;
    struct weir_rate floor;
    unsigned loops;
    unsigned first;    /* before anything was asked */
    unsigned requests; /* and then so many are, */
    unsigned by_share; /* which bring these */
    uint64_t pass_ns;  /* and so does this time: */
    unsigned by_time;
} rows[] = {
    { "a fifth", 20, { 1, NS_PER_S }, 1, 1, 100, 20, 0, 0 },
    { "a fifth, rounded down", 20, { 1, NS_PER_S }, 1, 1, 9, 1, 0, 0 },
    { "the floor comes back", 0, { 10, NS_PER_S }, 1, 10, 1000, 0, 500 * NS_PER_MS, 5 },
    { "but is not saved up", 0, { 10, NS_PER_S }, 1, 10, 0, 0, 60 * NS_PER_S, 10 },
    { "slowly", 0, { 6, 60 * NS_PER_S }, 1, 6, 0, 0, 25 * NS_PER_S, 2 },
    { "a burst is bounded", 100, { 1, NS_PER_S }, 1, 1, 1000, 100, 0, 0 },
    { "loops share the floor", 0, { 10, NS_PER_S }, 5, 2, 0, 0, NS_PER_S, 2 },
    { "no bound", -1, { 1, NS_PER_S }, 1, 1000, 0, 1000, 0, 1000 },
};

START_TEST(allows_a_share_of_the_requests)
{
    const struct retry_settings settings = { .percent = rows[_i].percent,
        .floor = rows[_i].floor };
    struct retry_budget budget;
    uint64_t now_ns = 5 * NS_PER_S;
    retry_budget_init(&budget, &settings, rows[_i].loops, now_ns);
    unsigned first = spend_all(&budget, &settings, now_ns);
    for (unsigned i = 0; i < rows[_i].requests; i++) {
        retry_budget_save(&budget, &settings);
    }
    unsigned by_share = spend_all(&budget, &settings, now_ns);
    unsigned by_time = spend_all(&budget, &settings, now_ns + rows[_i].pass_ns);
    ck_assert_msg(first == rows[_i].first && by_share == rows[_i].by_share &&
                    by_time == rows[_i].by_time,
            "%s: %u %u %u", rows[_i].why, first, by_share, by_time);
}
END_TEST

START_TEST(knows_a_reason_by_one_word)
{
    ck_assert_str_eq(retry_reason_word(retry_reason_of_error(WEIR_EXCHANGE_REFUSED)),
            "connect");
    ck_assert_str_eq(retry_reason_word(retry_reason_of_error(WEIR_EXCHANGE_SEND_TIMEOUT)),
            "timeout");
    ck_assert_str_eq(retry_reason_word(retry_reason_of_error(WEIR_EXCHANGE_HEAD_TOO_LARGE)),
            "bad_answer");
    ck_assert_str_eq(retry_reason_word(retry_reason_of_status(503)), "503");
    for (unsigned status = 100; status < 429; status++) {
        ck_assert_uint_eq(retry_reason_of_status(status), 0);
    }
    const enum weir_exchange_error never[] = { WEIR_EXCHANGE_FINE, WEIR_EXCHANGE_BODY,
        WEIR_EXCHANGE_BUSY, WEIR_EXCHANGE_EXHAUSTED, WEIR_EXCHANGE_ABORTED };
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        ck_assert_uint_eq(retry_reason_of_error(never[i]), 0);
    }
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, allows_a_share_of_the_requests, 0,
            (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tests, knows_a_reason_by_one_word);
}

UNIT_MAIN("upstream/retry", add_tests)
