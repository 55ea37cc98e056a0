/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include <weir/str.h>

#include "support/unit.h"

START_TEST(compares_names_without_ascii_case)
{
    ck_assert(weir_str_eq_icase(WEIR_STR("Content-LENGTH"), WEIR_STR("content-length")));
    ck_assert(!weir_str_eq_icase(WEIR_STR("a"), WEIR_STR("ab")));
    ck_assert(!weir_str_eq_icase(WEIR_STR("@"), WEIR_STR("`")));
    ck_assert(!weir_str_eq_icase(WEIR_STR("\xc3\x84"), WEIR_STR("\xc3\xa4")));
    ck_assert_int_lt(weir_str_compare(WEIR_STR("a"), WEIR_STR("ab")), 0);
    ck_assert_int_gt(weir_str_compare(WEIR_STR("b"), WEIR_STR("ab")), 0);
}
END_TEST

static const struct {
    const char *why, *list, *token;
    bool want;
} lists[] = {
    { "one token", "close", "close", true },
    { "any case", "Keep-Alive, CLOSE", "close", true },
    { "spaces and tabs around", "a ,\tclose \t, b", "close", true },
    { "empty elements are legal (RFC 9110 5.6.1)", ",,close,", "close", true },
    { "no substring", "x-close-foo", "close", false },
    { "no prefix", "closed", "close", false },
    { "nothing", "", "close", false },
};

START_TEST(finds_tokens_in_lists)
{
    bool found = weir_str_list_has(weir_str_from(lists[_i].list),
            weir_str_from(lists[_i].token));
    unit_check(found == lists[_i].want, lists[_i].why);
}
END_TEST

START_TEST(splits_at_separators)
{
    struct weir_str rest = WEIR_STR("a,, b"), part;
    ck_assert(weir_str_split(&rest, ',', &part) && weir_str_eq(part, WEIR_STR("a")));
    ck_assert(weir_str_split(&rest, ',', &part) && part.len == 0);
    ck_assert(weir_str_split(&rest, ',', &part) && weir_str_eq(part, WEIR_STR("b")));
    ck_assert(!weir_str_split(&rest, ',', &part));
    rest = WEIR_STR("a,");
    ck_assert(weir_str_split(&rest, ',', &part) && weir_str_eq(part, WEIR_STR("a")));
    ck_assert(weir_str_split(&rest, ',', &part) && part.len == 0);
    ck_assert(!weir_str_split(&rest, ',', &part));
}
END_TEST

START_TEST(knows_tokens)
{
    static const struct {
        struct weir_str text;
        bool is_token;
    } tokens[] = {
        { WEIR_STR_INIT("X-A"), true },
        { WEIR_STR_INIT("!#$%&'*+-.^_`|~09azAZ"), true },
        { WEIR_STR_INIT(""), false },
        { WEIR_STR_INIT("a b"), false },
        { WEIR_STR_INIT("a:"), false },
        { WEIR_STR_INIT("a\0"), false },
        { WEIR_STR_INIT("\xc3\xbc"), false },
    };
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        ck_assert_msg(weir_str_is_token(tokens[i].text) == tokens[i].is_token, "%.*s",
                WEIR_STR_ARG(tokens[i].text));
    }
}
END_TEST

START_TEST(refuses_paths_that_the_kernel_would_cut_short)
{
    char path[8];
    ck_assert_int_eq(weir_str_to_path(WEIR_STR("1234567"), path, sizeof(path)), 0);
    ck_assert_str_eq(path, "1234567");
    ck_assert_int_eq(weir_str_to_path(WEIR_STR("12345678"), path, sizeof(path)), -ENAMETOOLONG);
    ck_assert_int_eq(weir_str_to_path(WEIR_STR("a\0b"), path, sizeof(path)), -EINVAL);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, compares_names_without_ascii_case);
    tcase_add_loop_test(tests, finds_tokens_in_lists, 0, sizeof(lists) / sizeof(lists[0]));
    tcase_add_test(tests, splits_at_separators);
    tcase_add_test(tests, knows_tokens);
    tcase_add_test(tests, refuses_paths_that_the_kernel_would_cut_short);
}

UNIT_MAIN("base/str", add_tests)
