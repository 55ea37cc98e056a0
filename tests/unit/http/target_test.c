/* SPDX-License-Identifier: MIT */
#include "http/target.h"

#include <errno.h>

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What is refused (by either step: want is -EINVAL) and what is read. */
static const struct {
    const char *why;
    enum method method;
    const char *raw;
    int want;
    enum target_form form;
    enum target_scheme scheme;
    const char *authority, *raw_path, *path, *query; /* query NULL: there is no `?` */
} cases[] = {
    { "an ordinary target", METHOD_GET, "/a/b", 0, TARGET_ORIGIN, TARGET_NO_SCHEME, "", "/a/b",
            "/a/b", NULL },
    { "a query", METHOD_GET, "/a?b=c&d", 0, TARGET_ORIGIN, TARGET_NO_SCHEME, "", "/a", "/a",
            "b=c&d" },
    { "an empty query", METHOD_GET, "/a?", 0, TARGET_ORIGIN, TARGET_NO_SCHEME, "", "/a", "/a",
            "" },
    { "a question mark in a query", METHOD_GET, "/a??b", 0, TARGET_ORIGIN, TARGET_NO_SCHEME, "",
            "/a", "/a", "?b" },
    { "slashes and dots in a query mean nothing", METHOD_GET, "/?../..//%zz\\", 0,
            TARGET_ORIGIN, TARGET_NO_SCHEME, "", "/", "/", "../..//%zz\\" },
    { "an encoded path", METHOD_POST, "/%61//b/./c?%61", 0, TARGET_ORIGIN, TARGET_NO_SCHEME, "",
            "/%61//b/./c", "/a/b/c", "%61" },
    { "two slashes do not make a host", METHOD_GET, "//evil.example/..", 0, TARGET_ORIGIN,
            TARGET_NO_SCHEME, "", "//evil.example/..", "/", NULL },
    { "a URI within a path", METHOD_GET, "/http://a@b/", 0, TARGET_ORIGIN, TARGET_NO_SCHEME, "",
            "/http://a@b/", "/http:/a@b/", NULL },
    { "any method has the origin form", METHOD_OTHER, "/", 0, TARGET_ORIGIN, TARGET_NO_SCHEME,
            "", "/", "/", NULL },
    { "OPTIONS too", METHOD_OPTIONS, "/", 0, TARGET_ORIGIN, TARGET_NO_SCHEME, "", "/", "/",
            NULL },

    { "the absolute form (RFC 9112 3.2.2)", METHOD_GET, "http://h:80/p?q", 0, TARGET_ABSOLUTE,
            TARGET_HTTP, "h:80", "/p", "/p", "q" },
    { "https, and schemes have no case", METHOD_GET, "HTTPS://h/p", 0, TARGET_ABSOLUTE,
            TARGET_HTTPS, "h", "/p", "/p", NULL },
    { "without a path", METHOD_GET, "http://h", 0, TARGET_ABSOLUTE, TARGET_HTTP, "h", "", "/",
            NULL },
    { "without a path, with a query", METHOD_GET, "http://h?q", 0, TARGET_ABSOLUTE, TARGET_HTTP,
            "h", "", "/", "q" },
    { "an encoded path behind a host", METHOD_GET, "http://[::1]/a/../b", 0, TARGET_ABSOLUTE,
            TARGET_HTTP, "[::1]", "/a/../b", "/b", NULL },
    { "OPTIONS for the whole server (RFC 9112 3.2.4)", METHOD_OPTIONS, "http://h", 0,
            TARGET_ABSOLUTE, TARGET_HTTP, "h", "", "*", NULL },
    { "OPTIONS with a query is for a resource", METHOD_OPTIONS, "http://h?q", 0,
            TARGET_ABSOLUTE, TARGET_HTTP, "h", "", "/", "q" },

    { "the authority form (RFC 9112 3.2.3)", METHOD_CONNECT, "h:443", 0, TARGET_AUTHORITY,
            TARGET_NO_SCHEME, "h:443", "", "", NULL },
    { "the asterisk form (RFC 9112 3.2.4)", METHOD_OPTIONS, "*", 0, TARGET_ASTERISK,
            TARGET_NO_SCHEME, "", "*", "*", NULL },

#define REFUSED -EINVAL, TARGET_ORIGIN, TARGET_NO_SCHEME, NULL, NULL, NULL, NULL
    { "nothing", METHOD_GET, "", REFUSED },
    { "no slash in front", METHOD_GET, "a", REFUSED },
    { "a query alone", METHOD_GET, "?a", REFUSED },
    { "an asterisk for a resource", METHOD_GET, "*", REFUSED },
    { "an asterisk and more", METHOD_OPTIONS, "*a", REFUSED },
    { "an authority for a resource", METHOD_GET, "h:443", REFUSED },
    { "CONNECT to a path", METHOD_CONNECT, "/", REFUSED },
    { "CONNECT to a URI", METHOD_CONNECT, "http://h:80/", REFUSED },
    { "CONNECT without a port", METHOD_CONNECT, "h", REFUSED },
    { "CONNECT with an empty port", METHOD_CONNECT, "h:", REFUSED },
    { "CONNECT with userinfo", METHOD_CONNECT, "u@h:443", REFUSED },
    { "a fragment", METHOD_GET, "/a#b", REFUSED },
    { "a fragment behind a query", METHOD_GET, "/a?b#c", REFUSED },
    { "a fragment behind a host", METHOD_GET, "http://h#c", REFUSED },
    { "a fragment behind an encoded path", METHOD_GET, "/%61#b", REFUSED },
    { "userinfo (RFC 9110 4.2.4)", METHOD_GET, "http://u@h/", REFUSED },
    { "an empty host (RFC 9110 4.2.1)", METHOD_GET, "http:///a", REFUSED },
    { "an empty host with a port", METHOD_GET, "http://:80/a", REFUSED },
    { "no host at all", METHOD_GET, "http://", REFUSED },
    { "an invalid host", METHOD_GET, "http://a b/", REFUSED },
    { "a backslash for a slash", METHOD_GET, "http://h\\a", REFUSED },
    { "another scheme", METHOD_GET, "ftp://h/", REFUSED },
    { "a scheme of scripts", METHOD_GET, "javascript:alert(1)", REFUSED },
    { "a scheme without a host", METHOD_GET, "http:/a", REFUSED },
    { "a scheme alone", METHOD_GET, "http", REFUSED },
    { "a space in the path", METHOD_GET, "/a b", REFUSED },
    { "a space in the query", METHOD_GET, "/a?b c", REFUSED },
    { "a control byte in the query", METHOD_GET, "/a?b\x01", REFUSED },
    { "a DEL in the query", METHOD_GET, "/a?b\x7f", REFUSED },
    { "raw UTF-8 in the path", METHOD_GET, "/\xc3\xa4", REFUSED },
    { "raw UTF-8 in the query", METHOD_GET, "/?\xc3\xa4", REFUSED },
    { "a raw backslash", METHOD_GET, "/a\\..\\b", REFUSED },
    { "an escape without digits", METHOD_GET, "/%zz", REFUSED },
    { "an escape cut short by a query", METHOD_GET, "/%4?1", REFUSED },
    { "NUL", METHOD_GET, "/%00", REFUSED },
    { "above the root", METHOD_GET, "/../a", REFUSED },
    { "above the root of a host", METHOD_GET, "http://h/../a", REFUSED },
#undef REFUSED
};

static int
parse(struct weir_str raw, enum method method, struct target *target, char *dst)
{
    int r = target_parse(raw, method, target);
    return r == 0 ? target_normalise(target, dst) : r;
}

START_TEST(reads_targets)
{
    struct target target;
    char dst[64];
    int r = parse(weir_str_from(cases[_i].raw), cases[_i].method, &target, dst);
    unit_check(r == cases[_i].want, cases[_i].why);
    if (r != 0) {
        return;
    }
    unit_check(target.form == cases[_i].form, cases[_i].why);
    unit_check(target.scheme == cases[_i].scheme, cases[_i].why);
    unit_check(weir_str_eq(target.authority, weir_str_from(cases[_i].authority)),
            cases[_i].why);
    unit_check(weir_str_eq(target.raw_path, weir_str_from(cases[_i].raw_path)), cases[_i].why);
    unit_check(weir_str_eq(target.path, weir_str_from(cases[_i].path)), cases[_i].why);
    unit_check(weir_str_eq(target.query, weir_str_from(cases[_i].query)), cases[_i].why);
    unit_check(target.has_query == (cases[_i].query != NULL), cases[_i].why);
}
END_TEST

START_TEST(copies_nothing_of_an_ordinary_target)
{
    struct weir_str raw = WEIR_STR("/static/app.js?v=1");
    struct target target;
    ck_assert_int_eq(target_parse(raw, METHOD_GET, &target), 0);
    ck_assert_ptr_eq(target.path.ptr, raw.ptr);
    ck_assert_uint_eq(target.path_flags, 0);
    ck_assert_int_eq(target_normalise(&target, NULL), 0);
    ck_assert_ptr_eq(target.path.ptr, raw.ptr);
}
END_TEST

START_TEST(says_what_was_odd_about_a_path)
{
    struct target target;
    char dst[16];
    ck_assert_int_eq(parse(WEIR_STR("/a%2Fb%5C"), METHOD_GET, &target, dst), 0);
    ck_assert_uint_eq(target.path_flags, PATH_ENCODED_SLASH | PATH_BACKSLASH);
}
END_TEST

START_TEST(refuses_a_nul_anywhere)
{
    static const char raw[] = "http://h/p?q";
    for (size_t i = 0; i < sizeof(raw) - 1; i++) {
        char text[sizeof(raw)], dst[sizeof(raw)];
        struct target target;
        memcpy(text, raw, sizeof(raw));
        text[i] = '\0';
        struct weir_str changed = weir_str_make(text, sizeof(raw) - 1);
        ck_assert_int_eq(parse(changed, METHOD_GET, &target, dst), -EINVAL);
    }
}
END_TEST

START_TEST(leaves_the_result_alone_when_it_refuses)
{
    struct target target = { .path_flags = 77 };
    ck_assert_int_eq(target_parse(WEIR_STR("http://h/#"), METHOD_GET, &target), -EINVAL);
    ck_assert_uint_eq(target.path_flags, 77);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reads_targets, 0, COUNT(cases));
    tcase_add_test(tests, copies_nothing_of_an_ordinary_target);
    tcase_add_test(tests, says_what_was_odd_about_a_path);
    tcase_add_test(tests, refuses_a_nul_anywhere);
    tcase_add_test(tests, leaves_the_result_alone_when_it_refuses);
}

UNIT_MAIN("http/target", add_tests)
