/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <errno.h>

#include "support/unit.h"

START_TEST(gives_aligned_separate_memory)
{
    struct arena arena;
    _Alignas(16) char first[128];
    arena_init(&arena, first, sizeof(first), 1 << 20);
    char *previous_end = NULL;
    for (size_t bytes = 0; bytes < 600; bytes++) {
        char *memory = arena_alloc(&arena, bytes);
        ck_assert_ptr_nonnull(memory);
        ck_assert_uint_eq((uintptr_t)memory & 15, 0);
        ck_assert(memory != previous_end || bytes == 0 || memory >= previous_end);
        memset(memory, 0xa5, bytes);
        previous_end = memory + bytes;
    }
    arena_reset(&arena);
    ck_assert_ptr_eq(arena_alloc(&arena, 8), first);
    arena_reset(&arena);
}
END_TEST

START_TEST(uses_the_provided_block_without_allocating)
{
    struct arena arena;
    _Alignas(16) char first[256];
    arena_init(&arena, first, sizeof(first), 256);
    uint64_t before = failalloc_count();
    for (int i = 0; i < 16; i++) {
        ck_assert_ptr_nonnull(arena_alloc(&arena, 16));
    }
    ck_assert_ptr_null(arena_alloc(&arena, 1)); /* the ceiling is the provided block */
    ck_assert_uint_eq(failalloc_count(), before);
    arena_reset(&arena);
}
END_TEST

START_TEST(stops_at_its_ceiling)
{
    struct arena arena;
    arena_init(&arena, NULL, 0, 10000);
    size_t total = 0;
    while (arena_alloc(&arena, 160) != NULL) {
        total += 160;
        ck_assert_uint_le(total, 10000);
    }
    ck_assert_uint_ge(total, 9000);
    ck_assert_ptr_null(arena_alloc(&arena, SIZE_MAX));
    ck_assert_ptr_null(arena_alloc(&arena, SIZE_MAX - 8));
    ck_assert_ptr_null(arena_array(&arena, SIZE_MAX / 2, 4));
    arena_reset(&arena);
}
END_TEST

static int order[4], calls;

static void
note(void *object)
{
    order[calls++] = *(int *)object;
}

START_TEST(runs_cleanups_last_in_first_out)
{
    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 20);
    int ids[3] = { 1, 2, 3 };
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(arena_defer(&arena, note, &ids[i]), 0);
    }
    arena_reset(&arena);
    ck_assert_int_eq(calls, 3);
    ck_assert_int_eq(order[0], 3);
    ck_assert_int_eq(order[2], 1);
    arena_reset(&arena);
    ck_assert_int_eq(calls, 3);
}
END_TEST

START_TEST(survives_each_allocation_failing){ UNIT_EACH_ALLOCATION_FAILS({
    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 20);
    int id = 0;
    for (int i = 0; i < 40; i++) {
        char *memory = arena_zalloc(&arena, 300);
        ck_assert(memory == NULL || memory[299] == 0);
        int r = arena_defer(&arena, note, &id);
        ck_assert(r == 0 || r == -ENOMEM);
        calls = 0;
    }
    struct weir_str copy = arena_copy(&arena, WEIR_STR("text"));
    ck_assert(copy.ptr == NULL || strcmp(copy.ptr, "text") == 0);
    arena.cleanups = NULL;
    arena_reset(&arena);
}) } END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, gives_aligned_separate_memory);
    tcase_add_test(tests, uses_the_provided_block_without_allocating);
    tcase_add_test(tests, stops_at_its_ceiling);
    tcase_add_test(tests, runs_cleanups_last_in_first_out);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("base/arena", add_tests)
