/* SPDX-License-Identifier: MIT */
#include "config/template.h"

#include <errno.h>
#include <stdio.h>

#include "config/regex.h"
#include "support/unit.h"

/* Pieces as text: literals in quotes, variables as number and argument. */
static void
spell(const struct weir_template *template_, char *dst, size_t bytes)
{
    size_t len = 0;
    dst[0] = '\0';
    for (size_t i = 0; i < template_->count; i++) {
        const struct template_piece *piece = &template_->pieces[i];
        if (piece->variable == TEMPLATE_LITERAL) {
            len += (size_t)snprintf(dst + len, bytes - len, "'%.*s'",
                    WEIR_STR_ARG(piece->text));
        } else {
            len += (size_t)snprintf(dst + len, bytes - len, "<%s%.*s>",
                    template_variable_name((size_t)piece->variable - 1),
                    WEIR_STR_ARG(piece->text));
        }
        ck_assert_uint_lt(len, bytes);
    }
}

static const struct {
    const char *why, *text;
    enum weir_context context;
    int want;
    const char *pieces;
    size_t offset; /* of the mistake */
} cases[] = {
    { "plain text", "hello", WEIR_CONTEXT_TEXT, 0, "'hello'", 0 },
    { "nothing", "", WEIR_CONTEXT_TEXT, 0, "", 0 },
    { "variables between text", "https://{host}{target}#", WEIR_CONTEXT_TARGET, 0,
            "'https://'<host><target>'#'", 0 },
    { "names of fields are lower case", "{header.X-Id}", WEIR_CONTEXT_TEXT, 0, "<header.x-id>",
            0 },
    { "names of parameters stay", "{query.A b}", WEIR_CONTEXT_TEXT, 0, "<query.A b>", 0 },
    { "captures", "/{path.id}/", WEIR_CONTEXT_PATH, 0, "'/'<path.id>'/'", 0 },
    { "the path itself", "{path}", WEIR_CONTEXT_TEXT, 0, "<path>", 0 },
    { "two braces are one", "a{{b", WEIR_CONTEXT_TEXT, 0, "'a{''b'", 0 },
    { "a closing brace is itself", "a}b}}", WEIR_CONTEXT_TEXT, 0, "'a}b}}'", 0 },
    { "a brace, then a variable", "{{{host}", WEIR_CONTEXT_TEXT, 0, "'{'<host>", 0 },
    { "an unknown name", "x{hots}", WEIR_CONTEXT_TEXT, -EINVAL, NULL, 2 },
    { "no name", "x{}", WEIR_CONTEXT_TEXT, -EINVAL, NULL, 2 },
    { "a brace that is not closed", "ab{host", WEIR_CONTEXT_TEXT, -EINVAL, NULL, 2 },
    { "no argument", "{header.}", WEIR_CONTEXT_TEXT, -EINVAL, NULL, 1 },
    { "no field's name", "{header.a b}", WEIR_CONTEXT_TEXT, -EINVAL, NULL, 1 },
    { "a line break in a header", "a\r\nb: c", WEIR_CONTEXT_HEADER, -EINVAL, NULL, 1 },
    { "a control character in a header", "a\001", WEIR_CONTEXT_HEADER, -EINVAL, NULL, 1 },
    { "a tab in a header", "a\tb", WEIR_CONTEXT_HEADER, 0, "'a\tb'", 0 },
    { "a line break in text", "a\nb", WEIR_CONTEXT_TEXT, 0, "'a\nb'", 0 },
    { "what is known at the end, in a line of a log", "{duration} {time.unix}",
            WEIR_CONTEXT_LOG, 0, "<duration>' '<time.unix>", 0 },
    { "and nowhere else", "a {duration}", WEIR_CONTEXT_HEADER, -EINVAL, NULL, 3 },
    { "a variable that no part of this build knows", "{tls.sni}", WEIR_CONTEXT_LOG, -EINVAL,
            NULL, 1 },
    { "a space in a target", "/a b", WEIR_CONTEXT_TARGET, -EINVAL, NULL, 2 },
};

START_TEST(parses_templates)
{
    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 20);
    const struct weir_template *template_ = NULL;
    struct template_mistake mistake;
    int r = template_parse(&arena, weir_str_from(cases[_i].text), cases[_i].context, NULL,
            &template_, &mistake);
    unit_check(r == cases[_i].want, cases[_i].why);
    if (r == 0) {
        char text[256];
        spell(template_, text, sizeof(text));
        ck_assert_str_eq(text, cases[_i].pieces);
        unit_check(weir_str_eq(template_->raw, weir_str_from(cases[_i].text)), cases[_i].why);
        unit_check(template_->is_literal ==
                        (strchr(text, '<') == NULL && template_->count <= 1),
                cases[_i].why);
    } else {
        unit_check(mistake.offset == cases[_i].offset, cases[_i].why);
        unit_check(mistake.message != NULL, cases[_i].why);
    }
    arena_reset(&arena);
}
END_TEST

START_TEST(compiles_expressions_and_names_their_groups)
{
    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 20);
    const struct weir_regex *regex;
    struct regex_mistake mistake;
    struct regex_capture captures[2];
    size_t count = 2;
    ck_assert_int_eq(regex_compile(&arena, WEIR_STR("^/(?<lang>de|en)/(?<page>\\d+)?"), &regex,
                             &mistake),
            0);
    ck_assert(weir_regex_matches(regex, WEIR_STR("/de/12")));
    ck_assert(!weir_regex_matches(regex, WEIR_STR("/fr/12")));
    ck_assert(regex_match(regex, WEIR_STR("/en/"), captures, &count));
    ck_assert_uint_eq(count, 1);
    ck_assert(weir_str_eq(captures[0].name, WEIR_STR("lang")));
    ck_assert(weir_str_eq(captures[0].value, WEIR_STR("en")));
    ck_assert_int_eq(regex_compile(&arena, WEIR_STR("a(b"), &regex, &mistake), -EINVAL);
    ck_assert_uint_eq(mistake.offset, 3);
    ck_assert_uint_gt(strlen(mistake.message), 0);
    arena_reset(&arena);
}
END_TEST

START_TEST(ends_a_match_that_explodes)
{
    struct arena arena;
    arena_init(&arena, NULL, 0, 1 << 20);
    const struct weir_regex *regex;
    struct regex_mistake mistake;
    char text[4000];
    memset(text, 'a', sizeof(text));
    ck_assert_int_eq(regex_compile(&arena, WEIR_STR("^(a+)+$"), &regex, &mistake), 0);
    text[sizeof(text) - 1] = '!';
    ck_assert(!weir_regex_matches(regex, weir_str_make(text, sizeof(text))));
    arena_reset(&arena);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    UNIT_EACH_ALLOCATION_FAILS({
        struct arena arena;
        arena_init(&arena, NULL, 0, 1 << 20);
        const struct weir_template *template_;
        const struct weir_regex *regex;
        struct template_mistake mistake;
        struct regex_mistake regex_mistake;
        int r = template_parse(&arena, WEIR_STR("a{header.X}b"), WEIR_CONTEXT_TEXT, NULL, &template_,
                &mistake);
        ck_assert(r == 0 || r == -ENOMEM);
        r = regex_compile(&arena, WEIR_STR("^/(?<x>a|b)+"), &regex, &regex_mistake);
        ck_assert(r == 0 || r == -ENOMEM);
        if (r == 0) {
            (void)weir_regex_matches(regex, WEIR_STR("/ab"));
        }
        arena_reset(&arena);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, parses_templates, 0, (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tests, compiles_expressions_and_names_their_groups);
    tcase_add_test(tests, ends_a_match_that_explodes);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("config/template", add_tests)
