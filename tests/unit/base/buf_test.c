/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <errno.h>

#include "support/unit.h"

START_TEST(keeps_what_was_appended_in_order)
{
    struct buf buf;
    buf_init(&buf, 100000);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(buf_printf(&buf, "%d,", i), 0);
        if (i % 3 == 0) {
            buf_consume(&buf, buf_str(&buf).len > 4 ? 4 : 0);
        }
    }
    struct weir_str all = buf_str(&buf);
    ck_assert(weir_str_starts_with(weir_str_make(all.ptr + all.len - 8, 8),
            WEIR_STR("998,999,")));
    buf_fini(&buf);
    ck_assert_uint_eq(buf_str(&buf).len, 0);
}
END_TEST

START_TEST(never_grows_past_its_ceiling)
{
    struct buf buf;
    buf_init(&buf, 10);
    ck_assert_int_eq(buf_append(&buf, WEIR_STR("0123456789")), 0);
    ck_assert_int_eq(buf_append(&buf, WEIR_STR("x")), -ENOBUFS);
    ck_assert_uint_eq(buf_str(&buf).len, 10);
    buf_consume(&buf, 4);
    ck_assert_int_eq(buf_append(&buf, WEIR_STR("abcd")), 0);
    ck_assert(weir_str_eq(buf_str(&buf), WEIR_STR("456789abcd")));
    buf_fini(&buf);
}
END_TEST

START_TEST(survives_each_allocation_failing){ UNIT_EACH_ALLOCATION_FAILS({
    struct buf buf;
    buf_init(&buf, 100000);
    size_t kept = 0;
    for (int i = 0; i < 100; i++) {
        int r = buf_append(&buf, WEIR_STR("some text of some length"));
        ck_assert(r == 0 || r == -ENOMEM);
        kept += r == 0 ? 24 : 0;
    }
    ck_assert_uint_eq(buf_str(&buf).len, kept);
    buf_fini(&buf);
}) } END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, keeps_what_was_appended_in_order);
    tcase_add_test(tests, never_grows_past_its_ceiling);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("base/buf", add_tests)
