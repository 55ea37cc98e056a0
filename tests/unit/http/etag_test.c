/* SPDX-License-Identifier: MIT */
#include "http/etag.h"

#include <errno.h>

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *why, *text;
    const char *opaque; /* NULL: refused */
    bool is_weak;
} cases[] = {
    { "a strong tag", "\"xyzzy\"", "\"xyzzy\"", false },
    { "a weak tag", "W/\"xyzzy\"", "\"xyzzy\"", true },
    { "an empty tag", "\"\"", "\"\"", false },
    { "a comma within", "\"a,b\"", "\"a,b\"", false },
    { "a backslash escapes nothing", "\"a\\\"", "\"a\\\"", false },
    { "bytes above ASCII", "\"\xc3\xa4\"", "\"\xc3\xa4\"", false },
    { "the weak sign has case", "w/\"a\"", NULL, false },
    { "the weak sign alone", "W/", NULL, false },
    { "half of it", "W", NULL, false },
    { "a space behind it", "W/ \"a\"", NULL, false },
    { "no quotes", "abc", NULL, false },
    { "one quote", "\"", NULL, false },
    { "no closing quote", "\"abc", NULL, false },
    { "something behind it", "\"abc\"d", NULL, false },
    { "a space behind it", "\"abc\" ", NULL, false },
    { "a space within", "\"a b\"", NULL, false },
    { "a control byte within", "\"a\x01\"", NULL, false },
    { "a DEL within", "\"a\x7f\"", NULL, false },
    { "two", "\"a\",\"b\"", NULL, false },
    { "an asterisk", "*", NULL, false },
    { "nothing", "", NULL, false },
};

START_TEST(reads_one_tag)
{
    struct etag etag = { .opaque = WEIR_STR("untouched") };
    int r = etag_parse(weir_str_from(cases[_i].text), &etag);
    unit_check(r == (cases[_i].opaque == NULL ? -EINVAL : 0), cases[_i].why);
    unit_check(weir_str_eq(etag.opaque, weir_str_from(r == 0 ? cases[_i].opaque : "untouched")),
            cases[_i].why);
    unit_check(etag.is_weak == cases[_i].is_weak, cases[_i].why);
}
END_TEST

static const struct {
    const char *why, *list;
    int count, end;
} lists[] = {
    { "one", "\"a\"", 1, 0 },
    { "several", "\"a\", W/\"b\",\"c\"", 3, 0 },
    { "commas within", "\"a,b\" , \"c\"", 2, 0 },
    { "empty elements", ", ,\"a\",,\t\"b\",", 2, 0 },
    { "nothing", "", 0, 0 },
    { "nothing but commas", " , ", 0, 0 },
    { "no comma between", "\"a\" \"b\"", 0, -EINVAL },
    { "something that is no tag", "\"a\", b", 1, -EINVAL },
    { "an asterisk in a list", "\"a\", *", 1, -EINVAL },
    { "cut short", "\"a\", \"b", 1, -EINVAL },
};

START_TEST(reads_lists_of_tags)
{
    struct weir_str rest = weir_str_from(lists[_i].list);
    struct etag etag;
    int r, count = 0;
    while ((r = etag_list_next(&rest, &etag)) == 1) {
        unit_check(etag.opaque.len >= 3 && etag.opaque.ptr[0] == '"', lists[_i].why);
        count++;
    }
    unit_check(count == lists[_i].count, lists[_i].why);
    unit_check(r == lists[_i].end, lists[_i].why);
}
END_TEST

/* The table of RFC 9110 section 8.8.3.2. */
static const struct {
    const char *a, *b;
    bool strong, weak;
} pairs[] = {
    { "W/\"1\"", "W/\"1\"", false, true },
    { "W/\"1\"", "W/\"2\"", false, false },
    { "W/\"1\"", "\"1\"", false, true },
    { "\"1\"", "\"1\"", true, true },
    { "\"1\"", "\"11\"", false, false },
};

START_TEST(compares_strongly_and_weakly)
{
    struct etag a, b;
    ck_assert_int_eq(etag_parse(weir_str_from(pairs[_i].a), &a), 0);
    ck_assert_int_eq(etag_parse(weir_str_from(pairs[_i].b), &b), 0);
    ck_assert(etag_eq_strong(&a, &b) == pairs[_i].strong);
    ck_assert(etag_eq_strong(&b, &a) == pairs[_i].strong);
    ck_assert(etag_eq_weak(&a, &b) == pairs[_i].weak);
    ck_assert(etag_eq_weak(&b, &a) == pairs[_i].weak);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reads_one_tag, 0, COUNT(cases));
    tcase_add_loop_test(tests, reads_lists_of_tags, 0, COUNT(lists));
    tcase_add_loop_test(tests, compares_strongly_and_weakly, 0, COUNT(pairs));
}

UNIT_MAIN("http/etag", add_tests)
