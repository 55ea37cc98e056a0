/* SPDX-License-Identifier: MIT */
/* What a process keeps of memory that it has freed. */
#include "server/memory.h"

#include <stdlib.h>
#include <unistd.h>

#include "support/unit.h"

#define BLOCK_BYTES (64u << 10)
#define BLOCKS      128u /* 8 MiB in all */

/* How much of so many blocks at the heap's end goes back to the system when all are freed. */
static size_t
given_back(void)
{
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        ck_assert_ptr_nonnull(blocks[i]);
        memset(blocks[i], 1, BLOCK_BYTES);
    }
    const char *high = sbrk(0);
    for (size_t i = BLOCKS; i > 0; i--) {
        free(blocks[i - 1]);
    }
    const char *low = sbrk(0);
    return (size_t)(high - low);
}

/* So that a large body after another asks the system for nothing. */
START_TEST(blocks_of_bodies_are_kept_for_the_next)
{
    ck_assert_uint_gt(given_back(), 4 << 20); /* what the C library does unless told */
    memory_keep_spare();
    ck_assert_uint_eq(given_back(), 0);
    ck_assert_uint_eq(given_back(), 0);
}
END_TEST

START_TEST(a_worker_has_its_part_of_the_machine)
{
    struct site_workers workers = { .memory_bytes = 0 };
    uint64_t one = memory_of_worker(&workers, 1), four = memory_of_worker(&workers, 4);
    ck_assert_uint_ge(four, 16 << 20);
    ck_assert(one == UINT64_MAX || one / 4 == four || four == 16 << 20);
    workers.memory_bytes = 12345678;
    ck_assert_uint_eq(memory_of_worker(&workers, 4), 12345678);
}
END_TEST

static void
add_tests(TCase *tests)
{
#if !defined(__SANITIZE_ADDRESS__) && \
        !defined(__SANITIZE_THREAD__) /* they have malloc()s of their own */
    tcase_add_test(tests, blocks_of_bodies_are_kept_for_the_next);
#else
    (void)blocks_of_bodies_are_kept_for_the_next;
#endif
    tcase_add_test(tests, a_worker_has_its_part_of_the_machine);
}

UNIT_MAIN("server/memory", add_tests)
