/* SPDX-License-Identifier: MIT */
#include "upstream/balance.h"

#include <stdio.h>

#include "support/unit.h"

#define SECOND   UINT64_C(1000000000)
#define MANY     256u
#define KEYS     20000u
#define NOT_THEM SIZE_MAX

/* Targets with addresses 10.0.0.0 and on; all may be asked. */
struct group {
    struct balance_settings settings;
    struct balance_member members[MANY];
    uint64_t weights[MANY];
    struct balance_candidate candidates[MANY];
    size_t count;
    uint64_t random;
};

static void
add(struct group *group, uint64_t weight)
{
    char address[32];
    size_t i = group->count++;
    int len = snprintf(address, sizeof(address), "10.0.0.%zu:80", i);
    group->members[i] = (struct balance_member){
        .id = balance_id(weir_str_make(address, (size_t)len)),
    };
    group->weights[i] = weight;
    group->candidates[i] = (struct balance_candidate){
        .member = &group->members[i],
        .weight = weight * BALANCE_WEIGHT_ONE,
    };
}

static void
make(struct group *group, enum balance_kind kind, const uint64_t *weights, size_t count)
{
    *group = (struct group){ .settings = { .kind = kind } };
    for (size_t i = 0; i < count; i++) {
        add(group, weights[i]);
    }
}

static void
make_even(struct group *group, enum balance_kind kind, size_t count)
{
    *group = (struct group){ .settings = { .kind = kind } };
    for (size_t i = 0; i < count; i++) {
        add(group, 1);
    }
}

static size_t
choose(struct group *group)
{
    return balance_choose(&group->settings, group->candidates, group->count, NULL,
            ++group->random);
}

static uint64_t
key_hash(unsigned i)
{
    char key[16];
    int len = snprintf(key, sizeof(key), "/item/%u", i);
    return balance_hash(weir_str_make(key, (size_t)len));
}

static size_t
choose_for(struct group *group, unsigned key)
{
    uint64_t hash = key_hash(key);
    return balance_choose(&group->settings, group->candidates, group->count, &hash,
            ++group->random);
}

/* Within so many hundredths of what is wanted. */
static bool
is_about(double got, double want, double percent)
{
    return got >= want * (1 - percent / 100) && got <= want * (1 + percent / 100);
}

/* ---- in turn ----------------------------------------------------------------------------- */

START_TEST(takes_turns_evenly_spread)
{
    static const struct {
        uint64_t weights[4];
        size_t count;
        const char *order;
    } cases[] = {
        { { 1 }, 1, "aaa" },
        { { 1, 1 }, 2, "abab" },
        { { 5, 1, 1 }, 3, "aabacaaaabacaa" },
        { { 1, 2 }, 2, "bab" },
        { { 3, 3, 3, 3 }, 4, "abcdabcd" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct group group;
        make(&group, BALANCE_ROUND_ROBIN, cases[i].weights, cases[i].count);
        for (const char *at = cases[i].order; *at != '\0'; at++) {
            ck_assert_msg(choose(&group) == (size_t)(*at - 'a'), "%s at %zu", cases[i].order,
                    (size_t)(at - cases[i].order));
        }
    }
}
END_TEST

START_TEST(gives_each_exactly_its_weight)
{
    static const uint64_t weights[] = { 1, 7, 1000, 13, 1, 250 };
    struct group group;
    make(&group, BALANCE_ROUND_ROBIN, weights, 6);
    for (unsigned period = 0; period < 3; period++) {
        uint64_t got[6] = { 0 };
        for (unsigned i = 0; i < 1272; i++) {
            got[choose(&group)]++;
        }
        for (size_t i = 0; i < 6; i++) {
            ck_assert_uint_eq(got[i], weights[i]);
        }
    }
}
END_TEST

/* ---- by load ----------------------------------------------------------------------------- */

START_TEST(asks_the_one_with_the_least_load_for_its_weight)
{
    static const struct {
        uint64_t weights[3], loads[3];
        size_t want;
    } cases[] = {
        { { 1, 1, 1 }, { 2, 1, 3 }, 1 }, { { 1, 1, 1 }, { 1, 1, 0 }, 2 },
        { { 1, 4, 1 }, { 2, 7, 3 }, 1 },       /* 7/4 of a connection */
        { { 1, 4, 1 }, { 2, 9, 3 }, 0 },       /* 9/4 are more than 2 */
        { { 1000, 1, 1 }, { 999, 1, 1 }, 0 },  /* just below one */
        { { 1000, 1, 1 }, { 1001, 2, 1 }, 2 }, /* just above */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct group group;
        make(&group, BALANCE_LEAST_CONNECTIONS, cases[i].weights, 3);
        for (size_t j = 0; j < 3; j++) {
            group.candidates[j].load = cases[i].loads[j];
        }
        for (int again = 0; again < 5; again++) {
            ck_assert_msg(choose(&group) == cases[i].want, "case %zu", i);
        }
    }
}
END_TEST

START_TEST(goes_in_turn_among_those_with_the_same_load)
{
    static const uint64_t weights[] = { 1, 3, 1 };
    struct group group;
    make(&group, BALANCE_LEAST_CONNECTIONS, weights, 3);
    unsigned got[3] = { 0 };
    for (int i = 0; i < 100; i++) {
        got[choose(&group)]++; /* all are idle */
    }
    ck_assert_uint_eq(got[0], 20);
    ck_assert_uint_eq(got[1], 60);
    ck_assert_uint_eq(got[2], 20);

    make_even(&group, BALANCE_LEAST_CONNECTIONS, 3);
    group.candidates[0].load = 1;
    unsigned some[3] = { 0 };
    for (int i = 0; i < 100; i++) {
        some[choose(&group)]++;
    }
    ck_assert_uint_eq(some[0], 0);
    ck_assert_uint_eq(some[1], 50);
}
END_TEST

START_TEST(keeps_loads_in_the_proportion_of_the_weights)
{
    static const uint64_t weights[] = { 1, 2, 5 };
    struct group group;
    make(&group, BALANCE_LEAST_CONNECTIONS, weights, 3);
    for (int i = 0; i < 80; i++) {
        group.candidates[choose(&group)].load++; /* nobody ends */
    }
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(group.candidates[i].load, 10 * weights[i]);
    }
}
END_TEST

START_TEST(draws_by_weight)
{
    static const uint64_t weights[] = { 1, 2, 4, 3 };
    struct group group;
    make(&group, BALANCE_RANDOM, weights, 4);
    group.random = 7;
    unsigned got[4] = { 0 };
    for (unsigned i = 0; i < 100000; i++) {
        got[choose(&group)]++; /* idle: the first that was drawn */
    }
    for (size_t i = 0; i < 4; i++) {
        ck_assert_msg(is_about(got[i], 10000.0 * (double)weights[i], 5), "%zu: %u", i, got[i]);
    }
}
END_TEST

START_TEST(takes_the_less_busy_of_two)
{
    struct group group;
    make_even(&group, BALANCE_RANDOM, 3);
    group.candidates[0].load = 5;
    group.candidates[1].load = 6;
    group.candidates[2].load = 7;
    unsigned got[3] = { 0 };
    for (unsigned i = 0; i < 30000; i++) {
        got[choose(&group)]++;
    }
    ck_assert_uint_eq(got[2], 0);              /* any other is better */
    ck_assert(is_about(got[1], 10000, 5));     /* drawn with the last one: a third */
    ck_assert_uint_eq(got[0] + got[1], 30000); /* the best one else */

    make_even(&group, BALANCE_RANDOM, 1);
    ck_assert_uint_eq(choose(&group), 0);
}
END_TEST

/* ---- by key ------------------------------------------------------------------------------ */

START_TEST(spreads_keys_by_weight)
{
    static const uint64_t weights[] = { 1, 2, 4, 3, 10 };
    struct group group;
    make(&group, BALANCE_HASH, weights, 5);
    unsigned got[5] = { 0 };
    for (unsigned i = 0; i < 5 * KEYS; i++) {
        got[choose_for(&group, i)]++;
    }
    for (size_t i = 0; i < 5; i++) {
        ck_assert_msg(is_about(got[i], 5000.0 * (double)weights[i], 5), "%zu: %u", i, got[i]);
    }
}
END_TEST

START_TEST(spreads_keys_evenly_over_many)
{
    struct group group;
    make_even(&group, BALANCE_HASH, MANY);
    unsigned got[MANY] = { 0 };
    for (unsigned i = 0; i < 10 * KEYS; i++) {
        got[choose_for(&group, i)]++;
    }
    double squares = 0;
    double want = 10.0 * KEYS / MANY;
    for (size_t i = 0; i < MANY; i++) {
        ck_assert_msg(is_about(got[i], want, 20), "%zu: %u", i, got[i]);
        squares += (got[i] - want) * (got[i] - want) / want;
    }
    ck_assert(squares > 170 && squares < 350); /* chi square of 255 degrees, 255 +- 4 * 22.6 */
}
END_TEST

static void
choose_all(struct group *group, size_t *chosen)
{
    for (unsigned i = 0; i < KEYS; i++) {
        chosen[i] = choose_for(group, i);
    }
}

/* How many keys have moved; none but from or to the one that changed. */
static unsigned
count_moves(const size_t *before, const size_t *after, size_t changed)
{
    unsigned moves = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        moves += before[i] != after[i];
        ck_assert(before[i] == after[i] || before[i] == changed || after[i] == changed);
    }
    return moves;
}

static size_t before[KEYS], after[KEYS];

START_TEST(moves_only_the_keys_of_a_target_that_comes_or_goes)
{
    static const size_t sizes[] = { 1, 2, 9, 31 };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct group group;
        size_t count = sizes[i];
        make_even(&group, BALANCE_HASH, count);
        choose_all(&group, before);
        add(&group, 1);
        choose_all(&group, after);
        unsigned moves = count_moves(before, after, count);
        ck_assert_msg(is_about(moves, (double)KEYS / (double)(count + 1), 10), "%zu: %u", count,
                moves);
        group.count--; /* and back */
        choose_all(&group, after);
        ck_assert_uint_eq(count_moves(before, after, NOT_THEM), 0);
    }
}
END_TEST

START_TEST(moves_no_key_when_one_in_the_middle_is_out)
{
    struct group group;
    make_even(&group, BALANCE_HASH, 10);
    choose_all(&group, before);
    struct balance_candidate rest[9];
    for (size_t i = 0, j = 0; i < 10; i++) {
        if (i != 4) {
            rest[j++] = group.candidates[i];
        }
    }
    unsigned others[10] = { 0 };
    for (unsigned i = 0; i < KEYS; i++) {
        uint64_t hash = key_hash(i);
        size_t got = balance_choose(&group.settings, rest, 9, &hash, ++group.random);
        got += got >= 4;
        ck_assert(before[i] == 4 || got == before[i]);
        others[got] += before[i] == 4;
    }
    for (size_t i = 0; i < 10; i++) { /* its keys go to all others alike */
        ck_assert(i == 4 ? others[i] == 0 : is_about(others[i], KEYS / 90.0, 30));
    }
}
END_TEST

START_TEST(moves_only_the_keys_of_a_target_whose_weight_changes)
{
    static const uint64_t weights[] = { 3, 3, 3, 3 };
    struct group group;
    make(&group, BALANCE_HASH, weights, 4);
    choose_all(&group, before);
    group.candidates[1].weight = 4 * BALANCE_WEIGHT_ONE;
    choose_all(&group, after);
    /* From 3 of 12 to 4 of 13. */
    ck_assert(is_about(count_moves(before, after, 1), KEYS * (4.0 / 13 - 3.0 / 12), 10));
}
END_TEST

START_TEST(goes_in_turn_where_a_request_has_no_key)
{
    struct group group;
    make_even(&group, BALANCE_HASH, 3);
    for (size_t i = 0; i < 9; i++) {
        ck_assert_uint_eq(choose(&group), i % 3);
    }
}
END_TEST

START_TEST(bounds_the_load_of_a_key_that_all_want)
{
    static const uint64_t weights[] = { 1, 1, 2, 4 };
    struct group group;
    make(&group, BALANCE_HASH, weights, 4);
    group.settings.bound_percent = 125;
    for (unsigned i = 1; i <= 800; i++) {
        size_t got = choose_for(&group, 1);
        uint64_t load = ++group.candidates[got].load;
        double most = 1.25 * i * (double)weights[got] / 8;
        ck_assert_msg((double)load < most + 1, "%u: %zu has %u", i, got, (unsigned)load);
    }
    make_even(&group, BALANCE_HASH, 4);
    choose_all(&group, before);
    group.settings.bound_percent = 125;
    for (size_t i = 0; i < 4; i++) {
        group.candidates[i].load = 10;
    }
    choose_all(&group, after);
    ck_assert_uint_eq(count_moves(before, after, NOT_THEM), 0); /* all are below it */
}
END_TEST

START_TEST(bounds_with_one_target_and_at_the_tightest)
{
    struct group group;
    make_even(&group, BALANCE_HASH, 1);
    group.settings.bound_percent = 100;
    group.candidates[0].load = 1000;
    ck_assert_uint_eq(choose_for(&group, 1), 0);
    make_even(&group, BALANCE_HASH, 3);
    group.settings.bound_percent = 100;
    for (unsigned i = 1; i <= 300; i++) {
        group.candidates[choose_for(&group, 1)].load++;
        for (size_t j = 0; j < 3; j++) {
            ck_assert_uint_le(group.candidates[j].load, (i + 2) / 3);
        }
    }
}
END_TEST

START_TEST(knows_the_same_address_and_key_in_each_release)
{
    /* Servers of two releases may stand side by side. */
    ck_assert_uint_eq(balance_id(WEIR_STR("127.0.0.1:9000")), UINT64_C(0x17565a59fdab04c9));
    ck_assert_uint_eq(balance_hash(WEIR_STR("/item/1")), UINT64_C(0x5367bfe9f33ec78b));
    static const size_t want[] = { 6, 4, 4, 7, 3, 1, 9, 6, 7, 9, 8, 5, 3, 9, 6, 1 };
    struct group group;
    make_even(&group, BALANCE_HASH, 10);
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        ck_assert_uint_eq(choose_for(&group, i), want[i]);
    }
}
END_TEST

/* ---- slow start -------------------------------------------------------------------------- */

START_TEST(grows_to_its_weight)
{
    static const struct {
        uint64_t slow_start_s, up_since_s, now_s, weight, want;
    } cases[] = {
        { 0, 100, 100, 4, 4 * 256 },  /* none is asked for */
        { 10, 0, 100, 4, 4 * 256 },   /* it was always there */
        { 10, 100, 100, 4, 4 },       /* the least there is */
        { 10, 100, 101, 4, 102 },     /* a tenth of 1024 */
        { 10, 100, 105, 4, 512 },     /* half */
        { 10, 100, 109, 4, 921 },     /* nearly */
        { 10, 100, 110, 4, 4 * 256 }, /* all */
        { 10, 100, 100000, 1, 256 },  /* for ever */
        { 10, 105, 100, 1, 1 },       /* not back yet, and asked for want of another */
        { 10, 105, 100, 1000, 1000 }, /* likewise */
        { 86400 * 365, 1, 86400 * 73 + 1, 1000, 51200 }, /* a fifth of a year */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct balance_settings settings = { .slow_start_ns = cases[i].slow_start_s * SECOND };
        uint64_t got = balance_weight_now(&settings, cases[i].weight,
                cases[i].up_since_s * SECOND, cases[i].now_s * SECOND);
        ck_assert_msg(got == cases[i].want, "case %zu: %u", i, (unsigned)got);
    }
}
END_TEST

/* Requests of one second, 1000 of them, after the second target came back at 100. */
static unsigned
share_at(struct group *group, uint64_t now_s)
{
    unsigned got = 0;
    for (size_t i = 0; i < group->count; i++) {
        group->candidates[i].weight = balance_weight_now(&group->settings, group->weights[i],
                i == 1 ? 100 * SECOND : 0, now_s * SECOND);
    }
    for (unsigned i = 0; i < 1000; i++) {
        got += choose_for(group, i) == 1;
    }
    return got;
}

START_TEST(gives_a_target_that_came_back_more_and_more)
{
    static const enum balance_kind kinds[] = { BALANCE_ROUND_ROBIN, BALANCE_RANDOM,
        BALANCE_LEAST_CONNECTIONS, BALANCE_HASH };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct group group;
        make_even(&group, kinds[i], 2);
        group.settings.slow_start_ns = 10 * SECOND;
        ck_assert_uint_le(share_at(&group, 100), 10);
        ck_assert(is_about(share_at(&group, 102), 1000.0 / 6, 25));
        ck_assert(is_about(share_at(&group, 105), 1000.0 / 3, 20));
        ck_assert(is_about(share_at(&group, 110), 500, 12));
    }
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, takes_turns_evenly_spread);
    tcase_add_test(tests, gives_each_exactly_its_weight);
    tcase_add_test(tests, asks_the_one_with_the_least_load_for_its_weight);
    tcase_add_test(tests, goes_in_turn_among_those_with_the_same_load);
    tcase_add_test(tests, keeps_loads_in_the_proportion_of_the_weights);
    tcase_add_test(tests, draws_by_weight);
    tcase_add_test(tests, takes_the_less_busy_of_two);
    tcase_add_test(tests, spreads_keys_by_weight);
    tcase_add_test(tests, spreads_keys_evenly_over_many);
    tcase_add_test(tests, moves_only_the_keys_of_a_target_that_comes_or_goes);
    tcase_add_test(tests, moves_no_key_when_one_in_the_middle_is_out);
    tcase_add_test(tests, moves_only_the_keys_of_a_target_whose_weight_changes);
    tcase_add_test(tests, goes_in_turn_where_a_request_has_no_key);
    tcase_add_test(tests, bounds_the_load_of_a_key_that_all_want);
    tcase_add_test(tests, bounds_with_one_target_and_at_the_tightest);
    tcase_add_test(tests, knows_the_same_address_and_key_in_each_release);
    tcase_add_test(tests, grows_to_its_weight);
    tcase_add_test(tests, gives_a_target_that_came_back_more_and_more);
}

UNIT_MAIN("upstream/balance", add_tests)
