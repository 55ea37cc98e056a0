/* SPDX-License-Identifier: MIT */
#include "base/slice.h"

#include <errno.h>

#include "support/unit.h"

static int freed;

static void
count_free(struct hold *hold)
{
    (void)hold;
    freed++;
}

START_TEST(frees_the_bytes_with_the_last_reference)
{
    struct hold hold;
    hold_init(&hold, count_free);
    struct slice whole = slice_of(&hold, WEIR_STR("abcdef"));
    hold_unref(&hold);
    struct slice part = slice_part(&whole, 2, 3);
    slice_drop(&whole);
    ck_assert_int_eq(freed, 0);
    ck_assert(weir_str_eq(weir_str_make(part.ptr, part.len), WEIR_STR("cde")));
    slice_drop(&part);
    ck_assert_int_eq(freed, 1);
    slice_drop(&part); /* empty: harmless */
    ck_assert_int_eq(freed, 1);
}
END_TEST

static void
check_content(struct slice_queue *queue, const char *want)
{
    char text[256];
    size_t len = 0;
    for (uint32_t i = 0; i < queue->count; i++) {
        struct slice *slice = slice_queue_at(queue, i);
        memcpy(text + len, slice->ptr, slice->len);
        len += slice->len;
    }
    ck_assert_uint_eq(queue->bytes, len);
    ck_assert(weir_str_eq(weir_str_make(text, len), weir_str_from(want)));
}

START_TEST(keeps_order_while_it_grows_and_wraps)
{
    struct slice_queue queue;
    slice_queue_init(&queue);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(slice_queue_push(&queue, slice_static(WEIR_STR("ab"))), 0);
    }
    slice_queue_consume(&queue, 3);
    for (int i = 0; i < 9; i++) {
        struct slice slice;
        ck_assert_int_eq(slice_copy(weir_str_make(&"012345678"[i], 1), &slice), 0);
        ck_assert_int_eq(slice_queue_push(&queue, slice), 0);
    }
    check_content(&queue, "bab012345678");
    slice_queue_consume(&queue, 5);
    check_content(&queue, "2345678");
    slice_queue_fini(&queue);
    check_content(&queue, "");
}
END_TEST

START_TEST(moves_bytes_between_queues_splitting_slices)
{
    struct slice_queue from, to;
    slice_queue_init(&from);
    slice_queue_init(&to);
    ck_assert_int_eq(slice_queue_push(&from, slice_static(WEIR_STR("hello"))), 0);
    ck_assert_int_eq(slice_queue_push(&from, slice_static(WEIR_STR("world"))), 0);
    ck_assert_int_eq(slice_queue_move(&from, &to, 7), 0);
    check_content(&to, "hellowo");
    check_content(&from, "rld");
    slice_queue_fini(&from);
    slice_queue_fini(&to);
}
END_TEST

START_TEST(needs_no_allocation_for_a_few_slices)
{
    struct slice_queue queue;
    slice_queue_init(&queue);
    uint64_t before = failalloc_count();
    for (int i = 0; i < SLICE_QUEUE_INLINE; i++) {
        ck_assert_int_eq(slice_queue_push(&queue, slice_static(WEIR_STR("x"))), 0);
    }
    ck_assert_uint_eq(failalloc_count(), before);
    slice_queue_fini(&queue);
}
END_TEST

START_TEST(drops_the_slice_when_it_cannot_grow)
{
    struct hold hold;
    hold_init(&hold, count_free);
    freed = 0;
    struct slice_queue queue;
    slice_queue_init(&queue);
    int pushed = 0;
    failalloc_fail_nth(1);
    for (int i = 0; i < 6; i++) {
        pushed += slice_queue_push(&queue, slice_of(&hold, WEIR_STR("x"))) == 0;
    }
    ck_assert(failalloc_has_failed());
    failalloc_fail_nth(0);
    ck_assert_int_eq(pushed, 5); /* the first past the inline ones failed, the next grew */
    ck_assert_uint_eq(hold.references, 6);
    slice_queue_fini(&queue);
    hold_unref(&hold);
    ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(joins_small_runs_into_few_blocks)
{
    struct slice_queue queue;
    slice_queue_init(&queue);
    uint64_t before = failalloc_count();
    for (int i = 0; i < 65536; i++) {
        ck_assert_int_eq(slice_queue_append(&queue, weir_str_make(&"0123456789"[i % 10], 1)),
                0);
        if (i % 3 == 2) {
            slice_queue_consume(&queue, 1);
        }
    }
    ck_assert_uint_eq(queue.bytes, 65536 - 65536 / 3);
    ck_assert_uint_lt(queue.count, 64);
    ck_assert_uint_lt(failalloc_count() - before, 64);
    char want = (char)('0' + 65536 / 3 % 10);
    for (uint32_t i = 0; i < queue.count; i++) {
        const struct slice *slice = slice_queue_at(&queue, i);
        for (uint64_t j = 0; j < slice->len; j++) {
            ck_assert_int_eq(slice->ptr[j], want);
            want = want == '9' ? '0' : (char)(want + 1);
        }
    }
    slice_queue_fini(&queue);
}
END_TEST

START_TEST(appends_behind_what_others_hold_and_never_into_it)
{
    struct slice_queue queue, other;
    slice_queue_init(&queue);
    slice_queue_init(&other);
    ck_assert_int_eq(slice_queue_append(&queue, WEIR_STR("hello")), 0);
    ck_assert_int_eq(slice_queue_append(&queue, WEIR_STR("world")), 0);
    ck_assert_int_eq(slice_queue_move(&queue, &other, 7), 0);
    ck_assert_int_eq(slice_queue_append(&other, WEIR_STR("X")), 0); /* not over the "r" */
    ck_assert_int_eq(slice_queue_append(&queue, WEIR_STR("Y")), 0);
    check_content(&queue, "rldY");
    check_content(&other, "hellowoX");
    ck_assert_int_eq(slice_queue_move(&queue, &other, 4), 0);
    ck_assert_int_eq(slice_queue_append(&queue, WEIR_STR("Q")), 0);
    ck_assert_int_eq(slice_queue_append(&other, WEIR_STR("Z")), 0);
    check_content(&queue, "Q");
    check_content(&other, "hellowoXrldYZ");
    slice_queue_fini(&queue);
    slice_queue_fini(&other);
}
END_TEST

START_TEST(appends_all_or_nothing)
{
    char large[5000];
    memset(large, 'x', sizeof(large));
    UNIT_EACH_ALLOCATION_FAILS({
        struct slice_queue queue;
        slice_queue_init(&queue);
        for (int i = 0; i < 6; i++) {
            uint64_t before = queue.bytes;
            int r = slice_queue_append(&queue, weir_str_make(large, sizeof(large)));
            ck_assert_uint_eq(queue.bytes - before, r == 0 ? sizeof(large) : 0);
            ck_assert_int_eq(slice_queue_push(&queue, slice_static(WEIR_STR("-"))) > 0, 0);
        }
        slice_queue_fini(&queue);
    });
}
END_TEST

START_TEST(takes_slices_back_at_the_front)
{
    struct slice_queue queue;
    slice_queue_init(&queue);
    for (int i = 0; i < 40; i++) {
        ck_assert_int_eq(slice_queue_push_front(&queue, slice_static(WEIR_STR("ab"))), 0);
        ck_assert_int_eq(slice_queue_push(&queue, slice_static(WEIR_STR("c"))), 0);
        slice_queue_consume(&queue, 1);
    }
    ck_assert_uint_eq(queue.bytes, 80);
    ck_assert_uint_eq(queue.count, 80);
    slice_queue_consume(&queue, 40);
    check_content(&queue, "cccccccccccccccccccccccccccccccccccccccc");
    slice_queue_fini(&queue);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, joins_small_runs_into_few_blocks);
    tcase_add_test(tests, appends_behind_what_others_hold_and_never_into_it);
    tcase_add_test(tests, appends_all_or_nothing);
    tcase_add_test(tests, takes_slices_back_at_the_front);
    tcase_add_test(tests, frees_the_bytes_with_the_last_reference);
    tcase_add_test(tests, keeps_order_while_it_grows_and_wraps);
    tcase_add_test(tests, moves_bytes_between_queues_splitting_slices);
    tcase_add_test(tests, needs_no_allocation_for_a_few_slices);
    tcase_add_test(tests, drops_the_slice_when_it_cannot_grow);
}

UNIT_MAIN("base/slice", add_tests)
