/* SPDX-License-Identifier: MIT */
#include "config/diagnostic.h"

#include <errno.h>

#include "module/site.h"
#include "support/sample_modules.h"
#include "support/unit.h"

static char *
printed(struct diagnostics *diagnostics, enum diagnostic_format format, bool color)
{
    static char text[1 << 16];
    struct buf out;
    buf_init(&out, sizeof(text) - 1);
    ck_assert_int_eq(diagnostics_print(diagnostics, format, color, &out), 0);
    struct weir_str all = buf_str(&out);
    memcpy(text, all.ptr == NULL ? "" : all.ptr, all.len);
    text[all.len] = '\0';
    buf_fini(&out);
    return text;
}

/* The example of CONFIG.md, "Mistakes", to the byte. */
START_TEST(shows_a_mistake_as_the_guide_does)
{
    static const char text[] =
            "{\n"
            "  \"modules\": [\"static\", \"proxy\", \"asgi\", \"metrics\"],\n"
            "  \"servers\": [{ \"listen\": \":8080\",\n"
            "      \"routes\": [\n"
            "        { \"match\": \"/1\", \"handle\": \"metrics\" },\n"
            "        { \"match\": \"/2\", \"handle\": \"metrics\" },\n"
            "        { \"match\": \"/3\", \"handle\": \"metrics\" },\n"
            "        { \"match\": [\"/a/*\", \"/b/*\"], \"handle\": { \"prxy\": \"app\" } },\n"
            "      ] }]\n"
            "}\n";
    static const char want[] =
            "weir.json:8:50: error[E0203]: unknown handler \"prxy\"\n"
            "    8 |         { \"match\": [\"/a/*\", \"/b/*\"], \"handle\": { \"prxy\": \"app\" } },\n"
            "      |                                                  ^^^^^^ no declared module provides this\n"
            "      at /servers/0/routes/3/handle      did you mean \"proxy\"?  (declared: static, proxy, asgi, metrics)\n";
    sample_modules_register(true);
    struct diagnostics *diagnostics = diagnostics_new();
    struct site *site;
    ck_assert_int_eq(site_load_text("weir.json", weir_str_from(text), diagnostics, &site),
            -EINVAL);
    ck_assert_str_eq(printed(diagnostics, DIAGNOSTIC_TEXT, false), want);
    ck_assert_str_eq(printed(diagnostics, DIAGNOSTIC_GCC, true),
            "weir.json:8:50: error: unknown handler \"prxy\": no declared module provides this; "
            "did you mean \"proxy\"? [E0203]\n");
    ck_assert_ptr_nonnull(strstr(printed(diagnostics, DIAGNOSTIC_TEXT, true), "\033[1;31m"));
    const char *json = printed(diagnostics, DIAGNOSTIC_JSON, false);
    ck_assert_ptr_nonnull(strstr(json, "\"code\": \"E0203\""));
    ck_assert_ptr_nonnull(strstr(json, "\"line\": 8"));
    ck_assert_ptr_nonnull(strstr(json, "\"column\": 50"));
    ck_assert_ptr_nonnull(strstr(json, "\"pointer\": \"/servers/0/routes/3/handle\""));
    diagnostics_free(diagnostics);
}
END_TEST

static struct source *
source_of(const char *text)
{
    struct source *source;
    ck_assert_int_eq(source_from_text("a.json", weir_str_from(text), &source), 0);
    return source;
}

START_TEST(shows_both_places_of_a_conflict)
{
    struct source *source = source_of("one\n\ttwo three\n");
    struct diagnostics *diagnostics = diagnostics_new();
    struct config_place first = { source, 0, 3 }, second = { source, 9, 5 };
    struct diagnostic *d = diagnostics_add(diagnostics, DIAGNOSTIC_NAME_TWICE, &second,
            "given twice");
    diagnostic_other(d, &first, "first given here");
    source_unref(source); /* the report keeps what it needs */
    ck_assert_str_eq(printed(diagnostics, DIAGNOSTIC_TEXT, false),
            "a.json:2:6: error[E0207]: given twice\n"
            "    2 | \ttwo three\n"
            "      | \t    ^^^^^\n"
            "a.json:1:1: note: first given here\n"
            "    1 | one\n"
            "      | ^^^\n");
    diagnostics_free(diagnostics);
}
END_TEST

START_TEST(escapes_what_could_upset_a_terminal)
{
    struct source *source = source_of("a\033[31m\xff\xe2\x80\xae x\n");
    struct diagnostics *diagnostics = diagnostics_new();
    struct config_place place = { source, 11, 1 };
    diagnostics_add(diagnostics, DIAGNOSTIC_SYNTAX, &place, "%s", "bell \a and\nline");
    ck_assert_str_eq(printed(diagnostics, DIAGNOSTIC_TEXT, false),
            "a.json:1:10: error[E0103]: bell \\x07 and\\nline\n"
            "    1 | a\\x1b[31m\\xff\\u{202e} x\n"
            "      |                       ^\n");
    source_unref(source);
    diagnostics_free(diagnostics);
}
END_TEST

START_TEST(shows_a_part_of_a_long_line)
{
    char text[100000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    text[50000] = '!';
    struct source *source = source_of(text);
    struct diagnostics *diagnostics = diagnostics_new();
    struct config_place place = { source, 50000, 40000 };
    diagnostics_add(diagnostics, DIAGNOSTIC_SYNTAX, &place, "here");
    const char *shown = printed(diagnostics, DIAGNOSTIC_TEXT, false);
    ck_assert_uint_lt(strlen(shown), 700);
    const char *bang = strchr(shown, '!'), *caret = strchr(shown, '^');
    const char *bang_line = strstr(shown, "    1 |"), *caret_line = strstr(shown, "      |");
    ck_assert_int_eq(bang - bang_line, caret - caret_line);
    source_unref(source);
    diagnostics_free(diagnostics);
}
END_TEST

START_TEST(sorts_into_file_order_and_says_nothing_twice)
{
    struct source *first = source_of("abc"), *second = source_of("abc");
    first->order = 0;
    second->order = 1;
    struct diagnostics *diagnostics = diagnostics_new();
    struct config_place places[] = { { second, 0, 1 }, { first, 2, 1 }, { first, 1, 1 },
        { first, 2, 1 } };
    for (size_t i = 0; i < 4; i++) {
        diagnostics_add(diagnostics, DIAGNOSTIC_SYNTAX, &places[i], "same");
    }
    diagnostic_warn(diagnostics_add(diagnostics, DIAGNOSTIC_SYNTAX, NULL, "nowhere"));
    ck_assert_uint_eq(diagnostics_count(diagnostics), 4);
    ck_assert_uint_eq(diagnostics_errors(diagnostics), 3);
    diagnostics_sort(diagnostics);
    ck_assert_uint_eq(diagnostics_get(diagnostics, 0)->place.offset, 1);
    ck_assert_uint_eq(diagnostics_get(diagnostics, 1)->place.offset, 2);
    ck_assert_ptr_eq(diagnostics_get(diagnostics, 2)->place.source, second);
    ck_assert_ptr_null(diagnostics_get(diagnostics, 3)->place.source);
    source_unref(first);
    source_unref(second);
    diagnostics_free(diagnostics);
}
END_TEST

START_TEST(keeps_a_bounded_number_and_counts_the_rest)
{
    struct source *source = source_of("abc");
    struct diagnostics *diagnostics = diagnostics_new();
    for (int i = 0; i < DIAGNOSTICS_MAX + 25; i++) {
        struct config_place place = { source, 0, 1 };
        diagnostic_hint(diagnostics_add(diagnostics, DIAGNOSTIC_TYPE, &place, "nr. %d", i),
                "x");
    }
    ck_assert_uint_eq(diagnostics_count(diagnostics), DIAGNOSTICS_MAX);
    ck_assert_uint_eq(diagnostics_errors(diagnostics), DIAGNOSTICS_MAX + 25);
    ck_assert_ptr_nonnull(strstr(printed(diagnostics, DIAGNOSTIC_GCC, false), "and 25 more\n"));
    source_unref(source);
    diagnostics_free(diagnostics);
}
END_TEST

static const struct {
    const char *why, *word, *candidates[4], *want;
} suggestions[] = {
    { "one letter is missing", "prxy", { "proxy", "static" }, "proxy" },
    { "two letters are swapped", "lsiten", { "listen", "name" }, "listen" },
    { "case and hyphens are no difference", "Cache-Control", { "cache_control" },
            "cache_control" },
    { "the nearest wins", "logs", { "logo", "log", "lo" }, "logo" },
    { "nothing is near", "handle", { "listen", "name" }, NULL },
    { "a short word forgives one letter", "ab", { "xy" }, NULL },
};

START_TEST(suggests_the_nearest_word)
{
    struct suggestion suggestion;
    suggestion_init(&suggestion, weir_str_from(suggestions[_i].word));
    for (size_t i = 0; i < 4 && suggestions[_i].candidates[i] != NULL; i++) {
        suggestion_offer(&suggestion, weir_str_from(suggestions[_i].candidates[i]));
    }
    unit_check(weir_str_eq(suggestion.best, weir_str_from(suggestions[_i].want)),
            suggestions[_i].why);
}
END_TEST

static void
report_and_print(struct source *source)
{
    struct diagnostics *diagnostics = diagnostics_new();
    if (diagnostics == NULL) {
        return;
    }
    struct config_place place = { source, 2, 3 };
    struct diagnostic *d = diagnostics_add(diagnostics, DIAGNOSTIC_TYPE, &place, "message");
    diagnostic_note(d, "note");
    diagnostic_hint(d, "hint");
    diagnostic_other(d, &place, "other");
    struct buf out;
    buf_init(&out, 1 << 16);
    int r = diagnostics_print(diagnostics, DIAGNOSTIC_TEXT, true, &out);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_fini(&out);
    diagnostics_free(diagnostics);
}

START_TEST(survives_each_allocation_failing)
{
    struct source *source = source_of("{ \"a\": 1 }\n");
    UNIT_EACH_ALLOCATION_FAILS(report_and_print(source));
    ck_assert_uint_eq(source->references, 1);
    source_unref(source);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, shows_a_mistake_as_the_guide_does);
    tcase_add_test(tests, shows_both_places_of_a_conflict);
    tcase_add_test(tests, escapes_what_could_upset_a_terminal);
    tcase_add_test(tests, shows_a_part_of_a_long_line);
    tcase_add_test(tests, sorts_into_file_order_and_says_nothing_twice);
    tcase_add_test(tests, keeps_a_bounded_number_and_counts_the_rest);
    tcase_add_loop_test(tests, suggests_the_nearest_word, 0,
            (int)(sizeof(suggestions) / sizeof(suggestions[0])));
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("config/diagnostic", add_tests)
