/* SPDX-License-Identifier: MIT */
#include "http/query.h"

#include <stdio.h>

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *why, *query, *params; /* name=value| of each, ! for a missing `=` */
} cases[] = {
    { "one", "a=1", "a=1|" },
    { "several", "a=1&b=2", "a=1|b=2|" },
    { "nothing", "", "" },
    { "empty ones are passed over", "&&a=1&&", "a=1|" },
    { "no value", "a&b=", "a!|b=|" },
    { "no name", "=1", "=1|" },
    { "an equals sign in a value", "a=b=c", "a=b=c|" },
    { "a plus is a space", "a+b=c+d", "a b=c d|" },
    { "escapes", "%61=%3d%26%2B", "a==&+|" },
    { "decoded once", "a=%2541", "a=%41|" },
    { "a `%` without digits stands for itself", "a=100%&b=%zz&c=%4", "a=100%|b=%zz|c=%4|" },
};

START_TEST(takes_queries_apart)
{
    struct weir_str rest = weir_str_from(cases[_i].query);
    struct query_param param;
    char got[128] = "", name[64], value[64];
    size_t len = 0;
    while (query_next(&rest, &param)) {
        size_t name_len = query_decode(param.raw_name, name);
        size_t value_len = query_decode(param.raw_value, value);
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%.*s%c%.*s|", (int)name_len,
                name, param.has_value ? '=' : '!', (int)value_len, value);
        ck_assert_uint_lt(len, sizeof(got));
    }
    unit_check(strcmp(got, cases[_i].params) == 0, cases[_i].why);
}
END_TEST

static const struct {
    const char *why, *query, *name, *raw_value; /* NULL: not found */
} finds[] = {
    { "the first of two", "b=0&a=1&a=2", "a", "1" },
    { "an encoded name", "%61%20b=1", "a b", "1" },
    { "a longer name is another", "ab=1", "a", NULL },
    { "a shorter name is another", "a=1", "ab", NULL },
    { "a name in another case is another", "A=1", "a", NULL },
    { "without a value", "x&a", "a", "" },
    { "in nothing", "", "a", NULL },
    { "the value stays encoded", "a=%31+", "a", "%31+" },
};

START_TEST(finds_a_parameter)
{
    struct weir_str value = WEIR_STR("untouched");
    bool found = query_find(weir_str_from(finds[_i].query), weir_str_from(finds[_i].name),
            &value);
    unit_check(found == (finds[_i].raw_value != NULL), finds[_i].why);
    unit_check(weir_str_eq(value, weir_str_from(found ? finds[_i].raw_value : "untouched")),
            finds[_i].why);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, takes_queries_apart, 0, COUNT(cases));
    tcase_add_loop_test(tests, finds_a_parameter, 0, COUNT(finds));
}

UNIT_MAIN("http/query", add_tests)
