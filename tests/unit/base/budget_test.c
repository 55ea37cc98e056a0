/* SPDX-License-Identifier: MIT */
#include "base/budget.h"

#include "base/arena.h"
#include "base/slice.h"
#include "support/unit.h"

START_TEST(tells_ample_from_tight_from_full)
{
    budget_init(1000);
    ck_assert_int_eq(budget_level(), BUDGET_AMPLE);
    budget_take(799);
    ck_assert_int_eq(budget_level(), BUDGET_AMPLE);
    budget_take(1);
    ck_assert_int_eq(budget_level(), BUDGET_TIGHT);
    budget_take(200);
    ck_assert_int_eq(budget_level(), BUDGET_FULL);
    budget_take(5000); /* taking never fails */
    ck_assert_uint_eq(budget_used_bytes(), 6000);
    budget_give(5201);
    ck_assert_int_eq(budget_level(), BUDGET_AMPLE);
    budget_give(799);
    ck_assert_uint_eq(budget_used_bytes(), 0);
}
END_TEST

START_TEST(has_no_limit_unless_given_one)
{
    budget_take(UINT64_MAX / 2);
    ck_assert_int_eq(budget_level(), BUDGET_AMPLE);
    budget_give(UINT64_MAX / 2);
}
END_TEST

START_TEST(counts_what_slices_and_counted_arenas_hold)
{
    struct slice_queue queue;
    slice_queue_init(&queue);
    char bytes[5000] = { 0 };
    ck_assert_int_eq(slice_queue_append(&queue, weir_str_make(bytes, sizeof(bytes))), 0);
    ck_assert_uint_ge(budget_used_bytes(), sizeof(bytes));
    slice_queue_consume(&queue, sizeof(bytes));
    ck_assert_uint_eq(budget_used_bytes(), 0);
    slice_queue_fini(&queue);

    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 20);
    ck_assert_ptr_nonnull(arena_alloc(&arena, 3000));
    ck_assert_uint_eq(budget_used_bytes(), 0); /* a configuration's, say */
    arena_reset(&arena);
    arena_count(&arena);
    ck_assert_ptr_nonnull(arena_alloc(&arena, 3000));
    ck_assert_uint_ge(budget_used_bytes(), 3000);
    arena_reset(&arena);
    ck_assert_uint_eq(budget_used_bytes(), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, tells_ample_from_tight_from_full);
    tcase_add_test(tests, has_no_limit_unless_given_one);
    tcase_add_test(tests, counts_what_slices_and_counted_arenas_hold);
}

UNIT_MAIN("base/budget", add_tests)
