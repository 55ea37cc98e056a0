/* SPDX-License-Identifier: MIT */
/* How long a client has to wait, on a clock wound by hand. */
#include <errno.h>

#include "gcra.h"
#include "support/unit.h"

#define S    UINT64_C(1000000000)
#define MS   UINT64_C(1000000)
#define US   UINT64_C(1000)
#define HOUR (3600 * S)
#define DAY  (24 * HOUR)

static const struct {
    const char *why;
    struct weir_rate rate;
    uint64_t burst;
    int want;
} bounds[] = {
    { "an ordinary one", { 10, S }, 20, 0 },
    { "the fastest", { 1000000, S }, 1, 0 },
    { "a faster one", { 1000001, S }, 1, -ERANGE },
    { "as fast, written otherwise", { 60000000, 60 * S }, 1, 0 },
    { "a little faster, written otherwise", { 60000001, 60 * S }, 1, -ERANGE },
    { "the slowest", { 1, 31 * DAY }, 1, 0 },
    { "a slower one", { 1, 32 * DAY }, 1, -ERANGE },
    { "the largest burst", { 10, S }, 1000000, 0 },
    { "the largest burst of the slowest", { 1, 31 * DAY }, 1000000, 0 },
    { "a larger one", { 10, S }, 1000001, -ERANGE },
    { "no burst", { 10, S }, 0, -ERANGE },
    { "no rate", { 0, S }, 1, -ERANGE },
    { "no time", { 1, 0 }, 1, -ERANGE },
    { "no limit", { UINT64_MAX, 1 }, 1, -ERANGE },
    { "much in long", { UINT64_MAX - 1, DAY }, 1, -ERANGE },
};

START_TEST(bounds_rates_and_bursts)
{
    struct gcra gcra;
    unit_check(gcra_init(&gcra, bounds[_i].rate, bounds[_i].burst) == bounds[_i].want,
            bounds[_i].why);
}
END_TEST

/* One client. */
struct client {
    struct gcra gcra;
    uint64_t tat;
    bool has_come;
};

static void
begin(struct client *client, struct weir_rate rate, uint64_t burst)
{
    *client = (struct client){ .tat = 0 };
    ck_assert_int_eq(gcra_init(&client->gcra, rate, burst), 0);
}

static uint64_t
ahead_of(struct client *client, uint64_t now_ns)
{
    uint64_t now = gcra_time(&client->gcra, now_ns);
    if (!client->has_come) {
        client->tat = now;
        client->has_come = true;
    }
    return gcra_ahead(&client->gcra, client->tat, now);
}

static bool
ask(struct client *client, uint64_t now_ns)
{
    uint64_t ahead = ahead_of(client, now_ns);
    if (!gcra_allows(&client->gcra, ahead)) {
        return false;
    }
    client->tat = gcra_next(&client->gcra, ahead, gcra_time(&client->gcra, now_ns));
    return true;
}

/* How many of so many at one moment are allowed. */
static unsigned
ask_at_once(struct client *client, uint64_t now_ns, unsigned times)
{
    unsigned allowed = 0;
    while (times-- > 0) {
        allowed += ask(client, now_ns);
    }
    return allowed;
}

static const struct {
    const char *why;
    struct weir_rate rate;
    uint64_t burst, interval_ns;
} rates[] = {
    { "10/s", { 10, S }, 20, 100 * MS },
    { "1/s, one at a time", { 1, S }, 1, S },
    { "5/m", { 5, 60 * S }, 5, 12 * S },
    { "1/h", { 1, HOUR }, 1, HOUR },
    { "1/h, many at once", { 1, HOUR }, 100, HOUR },
    { "1/d", { 1, DAY }, 3, DAY },
    { "3/s, which no decimal divides", { 3, S }, 4, S / 3 },
    { "7/m", { 7, 60 * S }, 2, 60 * S / 7 },
    { "999/s", { 999, S }, 10, S / 999 },
    { "a thousand a second", { 1000, S }, 1, MS },
    { "a million a second", { 1000000, S }, 100, US },
    { "the slowest", { 1, 31 * DAY }, 2, 31 * DAY },
};

/* Times at which a client may come for the first time: at boot, and after years. */
static const uint64_t births_ns[] = { 0, 1, S, 12345678901234567, 3 * 365 * DAY,
    100 * 365 * DAY };
#define BIRTHS (sizeof(births_ns) / sizeof(births_ns[0]))

START_TEST(allows_a_burst_at_once_and_then_one_for_each_interval)
{
    for (size_t i = 0; i < BIRTHS; i++) {
        struct client client;
        uint64_t now_ns = births_ns[i];
        unsigned burst = (unsigned)rates[_i].burst;
        begin(&client, rates[_i].rate, burst);
        unit_check(ask_at_once(&client, now_ns, burst * 3) == burst, rates[_i].why);
        for (unsigned n = 0; n < 3; n++) {
            uint64_t wait_ns = gcra_wait_ns(&client.gcra, ahead_of(&client, now_ns));
            /* No longer than an interval, but for what times are rounded by. */
            unit_check(wait_ns > 0 && wait_ns <= rates[_i].interval_ns / 15 * 16 + 2,
                    rates[_i].why);
            unit_check(!ask(&client, now_ns + wait_ns - wait_ns / 8 - 1), rates[_i].why);
            now_ns += wait_ns;
            unit_check(ask_at_once(&client, now_ns, 3) == 1, rates[_i].why);
        }
    }
}
END_TEST

START_TEST(gives_a_burst_back_after_its_time_and_never_more)
{
    for (size_t i = 0; i < BIRTHS; i++) {
        struct client client;
        uint64_t now_ns = births_ns[i];
        unsigned burst = (unsigned)rates[_i].burst;
        begin(&client, rates[_i].rate, burst);
        ck_assert_uint_eq(ask_at_once(&client, now_ns, burst), burst);
        now_ns += gcra_reset_ns(&client.gcra, ahead_of(&client, now_ns));
        unit_check(ask_at_once(&client, now_ns, burst * 2) == burst, rates[_i].why);
        now_ns += 3 * rates[_i].interval_ns * burst;
        unit_check(ask_at_once(&client, now_ns, burst * 2) == burst, rates[_i].why);
    }
}
END_TEST

/* What is allowed over a long time is the rate, to the request. */
START_TEST(keeps_to_the_rate_for_long)
{
    struct client client;
    begin(&client, rates[_i].rate, rates[_i].burst);
    uint64_t allowed = 0, step_ns = rates[_i].interval_ns / 7 + 1, now_ns = 5 * S;
    for (unsigned n = 0; n < 70000 && now_ns < 500 * 365 * DAY; n++, now_ns += step_ns) {
        allowed += ask(&client, now_ns);
    }
    uint64_t passed_ns = now_ns - 5 * S;
    uint64_t want = rates[_i].burst +
            (uint64_t)((unsigned __int128)passed_ns * rates[_i].rate.count /
                    rates[_i].rate.per_ns);
    ck_assert_msg(allowed <= want + 1 && allowed + 2 >= want, "%s: %llu, not %llu",
            rates[_i].why, (unsigned long long)allowed, (unsigned long long)want);
}
END_TEST

START_TEST(allows_the_largest_burst)
{
    struct client client;
    begin(&client, (struct weir_rate){ 1, 31 * DAY }, GCRA_BURST_MAX);
    ck_assert_uint_eq(ask_at_once(&client, S, 1000010), 1000000);
    begin(&client, (struct weir_rate){ 1000000, S }, GCRA_BURST_MAX);
    ck_assert_uint_eq(ask_at_once(&client, S, 1000010), 1000000);
    ck_assert_uint_eq(gcra_remaining(&client.gcra, ahead_of(&client, S)), 0);
    ck_assert_uint_eq(gcra_remaining(&client.gcra, ahead_of(&client, 3 * S)), 1000000);
}
END_TEST

/* Another worker has read its clock before this one, and comes to its turn later. */
START_TEST(holds_against_clocks_that_lie_apart)
{
    struct client client;
    begin(&client, (struct weir_rate){ 10, S }, 5);
    ck_assert_uint_eq(ask_at_once(&client, 1000 * S, 5), 5);
    for (uint64_t behind_ns = 1; behind_ns <= 59 * S; behind_ns *= 3) {
        ck_assert_msg(!ask(&client, 1000 * S - behind_ns), "%llu ns behind",
                (unsigned long long)behind_ns);
    }
    ck_assert_uint_eq(ask_at_once(&client, 1000 * S + 500 * MS, 10), 5);
}
END_TEST

/* At a million a second times wrap after 2^40 units of a sixteenth of a microsecond. */
#define WRAP_NS ((UINT64_C(1) << 40) / 16 * US)

START_TEST(goes_on_when_times_wrap)
{
    struct client client;
    begin(&client, (struct weir_rate){ 1000000, S }, 1000);
    uint64_t now_ns = WRAP_NS - 500 * US; /* the burst ends behind it */
    ck_assert_uint_eq(ask_at_once(&client, now_ns, 2000), 1000);
    ck_assert_uint_le(ask_at_once(&client, WRAP_NS + 1, 2000), 501);
    ck_assert(!ask(&client, WRAP_NS + 1));
    ck_assert_uint_eq(ask_at_once(&client, WRAP_NS + 2000 * US, 2000), 1000);
}
END_TEST

/* An old time is one of the past, whenever somebody comes again; but for the part of a wrap
 * that gcra.h names, in which the client is met as one that has just been here. */
START_TEST(forgets_who_was_idle)
{
    struct client client;
    begin(&client, (struct weir_rate){ 1000000, S }, 1000);
    static const uint64_t idle_ns[] = { 2 * MS, S, 60 * S, HOUR, 10 * HOUR, WRAP_NS - 62 * S,
        WRAP_NS + 2 * MS, 3 * WRAP_NS + HOUR };
    for (size_t i = 0; i < sizeof(idle_ns) / sizeof(idle_ns[0]); i++) {
        ck_assert_uint_eq(ask_at_once(&client, S, 2000), i == 0 ? 1000 : 0);
        struct client again = client;
        ck_assert_msg(ask_at_once(&again, S + idle_ns[i], 2000) == 1000, "%llu ns",
                (unsigned long long)idle_ns[i]);
    }
}
END_TEST

START_TEST(says_what_is_left)
{
    struct client client;
    begin(&client, (struct weir_rate){ 10, S }, 20);
    ck_assert_uint_eq(gcra_remaining(&client.gcra, ahead_of(&client, S)), 20);
    ck_assert_uint_eq(gcra_wait_ns(&client.gcra, ahead_of(&client, S)), 0);
    ck_assert_uint_eq(gcra_reset_ns(&client.gcra, ahead_of(&client, S)), 0);
    for (unsigned left = 20; left > 0; left--) {
        ck_assert(ask(&client, S));
        ck_assert_uint_eq(gcra_remaining(&client.gcra, ahead_of(&client, S)), left - 1);
    }
    ck_assert_uint_eq(gcra_reset_ns(&client.gcra, ahead_of(&client, S)) / MS, 2000);
    ck_assert_uint_eq(gcra_wait_ns(&client.gcra, ahead_of(&client, S)) / MS, 100);
}
END_TEST

/* A million requests, one a day: more nanoseconds than there are. */
START_TEST(says_no_less_than_it_is)
{
    struct gcra gcra;
    ck_assert_int_eq(gcra_init(&gcra, (struct weir_rate){ 1, 24 * HOUR }, GCRA_BURST_MAX), 0);
    ck_assert_uint_eq(gcra_reset_ns(&gcra, gcra.burst), UINT64_MAX);
    ck_assert_uint_eq((gcra_wait_ns(&gcra, gcra.burst) + S / 2) / S, 24 * 3600);
}
END_TEST

#define ROWS(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, bounds_rates_and_bursts, 0, ROWS(bounds));
    tcase_add_loop_test(tests, allows_a_burst_at_once_and_then_one_for_each_interval, 0,
            ROWS(rates));
    tcase_add_loop_test(tests, gives_a_burst_back_after_its_time_and_never_more, 0,
            ROWS(rates));
    tcase_add_loop_test(tests, keeps_to_the_rate_for_long, 0, ROWS(rates));
    tcase_add_test(tests, allows_the_largest_burst);
    tcase_add_test(tests, holds_against_clocks_that_lie_apart);
    tcase_add_test(tests, goes_on_when_times_wrap);
    tcase_add_test(tests, forgets_who_was_idle);
    tcase_add_test(tests, says_what_is_left);
    tcase_add_test(tests, says_no_less_than_it_is);
}

UNIT_MAIN("modules/rate_limit_gcra", add_tests)
