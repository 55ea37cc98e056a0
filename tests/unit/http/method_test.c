/* SPDX-License-Identifier: MIT */
#include "http/method.h"

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 9110 section 9.2 and section 9.3. */
static const struct {
    const char *name;
    enum method method;
    bool is_safe, is_idempotent, is_cacheable;
} rows[] = {
    { "GET", METHOD_GET, true, true, true },
    { "HEAD", METHOD_HEAD, true, true, true },
    { "POST", METHOD_POST, false, false, true },
    { "PUT", METHOD_PUT, false, true, false },
    { "DELETE", METHOD_DELETE, false, true, false },
    { "CONNECT", METHOD_CONNECT, false, false, false },
    { "OPTIONS", METHOD_OPTIONS, true, true, false },
    { "TRACE", METHOD_TRACE, true, true, false },
    { "PATCH", METHOD_PATCH, false, false, false },
    { "M-SEARCH", METHOD_MSEARCH, false, false, false },
};

START_TEST(knows_the_standard_methods_and_what_each_may_do)
{
    enum method method = method_parse(weir_str_from(rows[_i].name));
    ck_assert_int_eq(method, rows[_i].method);
    ck_assert(method_is_safe(method) == rows[_i].is_safe);
    ck_assert(method_is_idempotent(method) == rows[_i].is_idempotent);
    ck_assert(((method_flags(method) & METHOD_CACHEABLE) != 0) == rows[_i].is_cacheable);
}
END_TEST

START_TEST(names_every_method_as_it_reads_it)
{
    for (enum method method = METHOD_GET; method < METHOD_COUNT; method++) {
        ck_assert_int_eq(method_parse(method_name(method)), method);
        /* RFC 9110 section 9.2.2: safe methods are idempotent. */
        ck_assert(!method_is_safe(method) || method_is_idempotent(method));
    }
}
END_TEST

START_TEST(knows_no_other)
{
    static const char *const others[] = { "", "get", "Get", "GETX", "GE", "GET ", "QUERYX",
        "PRI" };
    for (size_t i = 0; i < COUNT(others); i++) {
        ck_assert_int_eq(method_parse(weir_str_from(others[i])), METHOD_OTHER);
    }
    ck_assert_int_eq(method_parse(weir_str_make(NULL, 0)), METHOD_OTHER);
    ck_assert_uint_eq(method_name(METHOD_OTHER).len, 0);
    ck_assert_uint_eq(method_flags(METHOD_OTHER), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, knows_the_standard_methods_and_what_each_may_do, 0, COUNT(rows));
    tcase_add_test(tests, names_every_method_as_it_reads_it);
    tcase_add_test(tests, knows_no_other);
}

UNIT_MAIN("http/method", add_tests)
