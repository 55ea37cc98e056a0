/* SPDX-License-Identifier: MIT */
#include "http/path.h"

#include <errno.h>

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    NONE = 0
};

/* `path` is NULL where the raw one is refused. */
static const struct {
    const char *why, *raw, *path;
    unsigned flags;
} cases[] = {
    { "the root", "/", "/", NONE },
    { "an ordinary path", "/a/b.html", "/a/b.html", NONE },
    { "a slash at the end stays", "/a/", "/a/", NONE },
    { "a name that begins with a dot", "/.well-known/x", "/.well-known/x", NONE },
    { "three dots are a name", "/...", "/...", NONE },
    { "dots within a name", "/a..b/c.", "/a..b/c.", NONE },
    { "escapes are decoded", "/%41%7e%c3%A4", "/A~\xc3\xa4", NONE },
    { "a space and a plus", "/a%20b+c", "/a b+c", NONE },
    { "decoded once, not twice", "/%252e%252e/%252F", "/%2e%2e/%2F", NONE },
    { "an escaped question mark is part of the path", "/a%3Fb%23c", "/a?b#c", NONE },
    { "bytes that are not UTF-8 are bytes", "/%ff%fe", "/\xff\xfe", NONE },
    { "an overlong slash is no slash", "/..%c0%afx", "/..\xc0\xafx", NONE },
    { "a line feed, and a word about it", "/a%0d%0ab", "/a\r\nb", PATH_CONTROL },
    { "a DEL", "/%7f", "/\x7f", PATH_CONTROL },

    { "`.` goes (RFC 3986 5.2.4)", "/a/./b", "/a/b", PATH_DOT_SEGMENT },
    { "`..` goes, and what is before it", "/a/b/../c", "/a/c", PATH_DOT_SEGMENT },
    { "`.` at the end leaves a folder", "/a/.", "/a/", PATH_DOT_SEGMENT },
    { "`..` at the end leaves a folder", "/a/b/..", "/a/", PATH_DOT_SEGMENT },
    { "back to the root", "/a/..", "/", PATH_DOT_SEGMENT },
    { "back to the root and on", "/a/../b", "/b", PATH_DOT_SEGMENT },
    { "encoded dots are dots", "/a/%2e%2E/b", "/b", PATH_DOT_SEGMENT },
    { "half-encoded dots are dots", "/a/.%2e/b/%2e/c", "/b/c", PATH_DOT_SEGMENT },
    { "several, with several before them", "/a/b/c/../../d", "/a/d", PATH_DOT_SEGMENT },

    { "above the root", "/..", NULL, NONE },
    { "above the root and down again", "/../etc/passwd", NULL, NONE },
    { "above the root by one too many", "/a/../../b", NULL, NONE },
    { "above the root, encoded", "/%2e%2e/etc/passwd", NULL, NONE },
    { "above the root by `.`", "/./../a", NULL, NONE },

    { "slashes are merged", "/a//b///c", "/a/b/c", PATH_EMPTY_SEGMENT },
    { "slashes at the end are merged", "/a//", "/a/", PATH_EMPTY_SEGMENT },
    { "slashes in front are merged: no host for a redirect", "//evil.example/x",
            "/evil.example/x", PATH_EMPTY_SEGMENT },
    { "a host and dots", "//evil.example/..", "/", PATH_EMPTY_SEGMENT | PATH_DOT_SEGMENT },
    { "dots right behind an empty segment: which is taken back?", "/a//../b", NULL, NONE },
    { "the same with a `.` between", "/a//./../b", NULL, NONE },
    { "dots that reach back to an empty segment", "/a//b/../../c", NULL, NONE },
    { "dots that do not reach that far", "/a//b/../c", "/a/c",
            PATH_EMPTY_SEGMENT | PATH_DOT_SEGMENT },

    { "an encoded slash is a slash, and a word about it", "/a%2Fb", "/a/b",
            PATH_ENCODED_SLASH },
    { "an encoded slash in lower case at the end", "/a%2f", "/a/", PATH_ENCODED_SLASH },
    { "encoded slashes are merged", "/%2F%2Fevil.example", "/evil.example",
            PATH_ENCODED_SLASH | PATH_EMPTY_SEGMENT },
    { "dots before an encoded slash", "/a/..%2fb", NULL, NONE },
    { "dots behind an encoded slash", "/a%2f../b", NULL, NONE },
    { "dots between encoded slashes", "/a%2f..%2fb", NULL, NONE },
    { "dots at the end behind an encoded slash", "/a%2f..", NULL, NONE },
    { "everything encoded", "/%2e%2e%2f%2e%2e%2fetc", NULL, NONE },
    { "a `.` beside an encoded slash", "/a%2F./b", NULL, NONE },
    { "dots behind a raw slash that follows an encoded one", "/a%2F/../b", NULL, NONE },
    { "dots that take back what an encoded slash began", "/a%2Fb/../c", NULL, NONE },
    { "dots that take back what came later", "/a%2Fb/c/../d", "/a/b/d",
            PATH_ENCODED_SLASH | PATH_DOT_SEGMENT },

    { "an encoded backslash is a byte of the name", "/a%5Cb", "/a\\b", PATH_BACKSLASH },
    { "one in front: no host for a redirect once encoded again", "/%5cevil.example",
            "/\\evil.example", PATH_BACKSLASH },
    { "dots before a backslash", "/a/..%5cb", NULL, NONE },
    { "dots behind a backslash", "/a%5c..", NULL, NONE },
    { "dots between backslashes", "/a%5c..%5cb", NULL, NONE },
    { "a `.` beside a backslash", "/.%5cb", NULL, NONE },
    { "dots that take back a name with a backslash", "/a%5Cb/../c", NULL, NONE },
    { "a raw backslash", "/a\\b", NULL, NONE },

    { "nothing", "", NULL, NONE },
    { "no slash in front", "a", NULL, NONE },
    { "an encoded slash in front", "%2Fa", NULL, NONE },
    { "an asterisk", "*", NULL, NONE },
    { "NUL", "/a%00.html", NULL, NONE },
    { "no digits", "/%zz", NULL, NONE },
    { "one digit", "/%4z", NULL, NONE },
    { "one digit and the end", "/%4", NULL, NONE },
    { "no digit and the end", "/%", NULL, NONE },
    { "a sign for a digit", "/%+1", NULL, NONE },
    { "a space", "/a b", NULL, NONE },
    { "a tab", "/a\tb", NULL, NONE },
    { "a line feed", "/a\nb", NULL, NONE },
    { "a DEL, raw", "/a\x7f", NULL, NONE },
    { "raw UTF-8", "/\xc3\xa4", NULL, NONE },
    { "a fragment", "/a#b", NULL, NONE },
    { "a query", "/a?b", NULL, NONE },
};

START_TEST(decodes_and_normalises_paths)
{
    struct weir_str raw = weir_str_from(cases[_i].raw);
    /* No larger than promised, so that a sanitizer sees a byte too many. */
    char *dst = malloc(raw.len == 0 ? 1 : raw.len);
    struct weir_str path = WEIR_STR("untouched");
    unsigned flags = 1000;
    int r = path_normalise(raw, dst, &path, &flags);
    if (cases[_i].path == NULL) {
        unit_check(r == -EINVAL, cases[_i].why);
        unit_check(weir_str_eq(path, WEIR_STR("untouched")) && flags == 1000, cases[_i].why);
        unit_check(!path_is_plain(raw), cases[_i].why);
    } else {
        unit_check(r == 0, cases[_i].why);
        unit_check(weir_str_eq(path, weir_str_from(cases[_i].path)), cases[_i].why);
        unit_check(flags == cases[_i].flags, cases[_i].why);
        unit_check(!path_is_plain(raw) || (weir_str_eq(path, raw) && flags == 0),
                cases[_i].why);
    }
    free(dst);
}
END_TEST

START_TEST(sees_paths_that_need_no_copy)
{
    static const char *const plain[] = { "/", "/a", "/a/", "/a/b.html", "/a.b/c..d/e",
        "/index.php;v=1:2@x,(y)!*'$&=~_-" };
    static const char *const others[] = { "", "a", "//", "/a//b", "/.", "/./", "/a/.", "/a/..",
        "/.x", "/%41", "/a?", "/a#", "/a\\", "/a b", "/\xc3\xa4" };
    for (size_t i = 0; i < COUNT(plain); i++) {
        ck_assert_msg(path_is_plain(weir_str_from(plain[i])), "%s", plain[i]);
    }
    for (size_t i = 0; i < COUNT(others); i++) {
        ck_assert_msg(!path_is_plain(weir_str_from(others[i])), "%s", others[i]);
    }
    ck_assert(!path_is_plain(weir_str_make("/\0", 2)));
}
END_TEST

static const struct {
    const char *why, *raw, *path;
} decoded[] = {
    { "dots and slashes stay", "/a//../%2e%2e/b%2fc", "/a//../../b/c" },
    { "nothing", "", "" },
    { "a plus is a plus", "+", "+" },
    { "NUL", "/%00", NULL },
    { "no digits", "/%g0", NULL },
    { "cut short", "/%4", NULL },
};

START_TEST(decodes_without_normalising)
{
    struct weir_str raw = weir_str_from(decoded[_i].raw);
    char *dst = malloc(raw.len == 0 ? 1 : raw.len);
    struct weir_str path = WEIR_STR("untouched");
    int r = path_decode(raw, dst, &path);
    unit_check((r == 0) == (decoded[_i].path != NULL), decoded[_i].why);
    unit_check(weir_str_eq(path, weir_str_from(r == 0 ? decoded[_i].path : "untouched")),
            decoded[_i].why);
    free(dst);
}
END_TEST

/* Whatever byte a path holds, what is sent holds none that could end a line, a path or a host,
 * and reads back as the same path. */
START_TEST(encodes_what_it_decodes)
{
    for (int c = 1; c < 256; c++) {
        char text[4] = { '/', 'x', (char)c, 'y' }, encoded[12], back[12];
        struct weir_str path = weir_str_make(text, 4), again;
        size_t len = path_encode(encoded, path);
        for (size_t i = 0; i < len; i++) {
            ck_assert(encoded[i] > 0x20 && encoded[i] < 0x7f);
            ck_assert(strchr("\\\"<>#?^`{|}", encoded[i]) == NULL);
        }
        unsigned flags;
        ck_assert_int_eq(path_normalise(weir_str_make(encoded, len), back, &again, &flags), 0);
        ck_assert(weir_str_eq(again, path));
        ck_assert((flags & PATH_ENCODED_SLASH) == 0);
    }
    char encoded[64];
    size_t len = path_encode(encoded, WEIR_STR("/a b/\xc3\xa4%\r\n"));
    ck_assert(weir_str_eq(weir_str_make(encoded, len), WEIR_STR("/a%20b/%C3%A4%25%0D%0A")));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, decodes_and_normalises_paths, 0, COUNT(cases));
    tcase_add_test(tests, sees_paths_that_need_no_copy);
    tcase_add_loop_test(tests, decodes_without_normalising, 0, COUNT(decoded));
    tcase_add_test(tests, encodes_what_it_decodes);
}

UNIT_MAIN("http/path", add_tests)
