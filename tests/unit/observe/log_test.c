/* SPDX-License-Identifier: MIT */
#include "observe/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/document.h"
#include "support/unit.h"

static int ends[2];

static void
set_up(void)
{
    ck_assert_int_eq(pipe(ends), 0);
    log_init(ends[1], LOG_INFO);
}

static void
tear_down(void)
{
    log_init(STDERR_FILENO, LOG_INFO);
    log_set_form(LOG_TEXT);
    close(ends[0]);
    close(ends[1]);
}

static size_t
read_line(char *line, size_t bytes)
{
    ssize_t n = read(ends[0], line, bytes - 1);
    ck_assert_int_gt(n, 0);
    line[n] = '\0';
    ck_assert_int_eq(line[n - 1], '\n');
    return (size_t)n;
}

/* The members of a line, which is JSON; in `arena`. */
static const struct config_value *
parse(const char *line, struct arena *arena)
{
    const struct config_value *root = NULL;
    struct diagnostics *diagnostics = diagnostics_new();
    arena_init(arena, NULL, 0, 1 << 20);
    ck_assert_int_eq(document_load_text("log", weir_str_from(line), arena, diagnostics, &root),
            0);
    ck_assert_uint_eq(diagnostics_errors(diagnostics), 0);
    diagnostics_free(diagnostics);
    return root;
}

static const struct {
    const char *why, *message, *text, *json; /* what stands in the line */
} cases[] = {
    { "plain text", "all is well", "all is well", "\"message\":\"all is well\"" },
    { "quotes and backslashes", "a \"b\" \\c", "a \"b\" \\c", "a \\\"b\\\" \\\\c" },
    { "line breaks never make lines", "a\r\nb", "a\\x0d\\x0ab", "a\\u000d\\u000ab" },
    { "delete", "a\x7f", "a\\x7f", "a\\u007f" },
    { "UTF-8 stays", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9", "\xe2\x82\xac\xf0" },
    { "bytes that are not UTF-8",
            "a\xff"
            "b\xc3",
            "a\xff", "a\\ufffdb\\ufffd" },
    { "overlong forms", "\xc0\x80\xe0\x80\x80", "\xc0", "\\ufffd\\ufffd\\ufffd" },
    { "surrogates", "\xed\xa0\x80", "\xed", "\\ufffd\\ufffd\\ufffd" },
};

START_TEST(writes_one_line_whatever_the_message)
{
    char line[4096];
    log_info("%s", cases[_i].message);
    read_line(line, sizeof(line));
    ck_assert_msg(strstr(line, cases[_i].text) != NULL, "%s: %s", cases[_i].why, line);
    log_set_form(LOG_JSON);
    log_warn("%s", cases[_i].message);
    size_t len = read_line(line, sizeof(line));
    ck_assert_msg(strstr(line, cases[_i].json) != NULL, "%s: %s", cases[_i].why, line);
    ck_assert_ptr_eq(memchr(line, '\n', len), line + len - 1);

    struct arena arena;
    const struct config_value *root = parse(line, &arena);
    ck_assert(weir_str_eq(config_find_name(root, "level")->string, WEIR_STR("warn")));
    ck_assert_int_eq(config_find_name(root, "pid")->integer, getpid());
    ck_assert_uint_eq(config_find_name(root, "time")->string.len, 24);
    arena_reset(&arena);
}
END_TEST

START_TEST(cuts_a_long_line_where_it_stays_whole)
{
    char line[4096], message[3000];
    for (size_t shift = 0; shift < 6; shift++) {
        memset(message, 'x', shift);
        memset(message + shift, '\n', sizeof(message) - 1 - shift);
        message[sizeof(message) - 1] = '\0';
        log_set_form(LOG_JSON);
        log_info("%s", message);
        ck_assert_uint_le(read_line(line, sizeof(line)), 2048);
        struct arena arena;
        ck_assert_ptr_nonnull(config_find_name(parse(line, &arena), "message"));
        arena_reset(&arena);
    }
}
END_TEST

/* The level of a part of the site counts instead of the log's, in both directions. */
START_TEST(keeps_to_the_level_of_a_part)
{
    char line[4096];
    log_write_within(LOG_ERROR, LOG_WARN, "not this");
    log_debug("nor this");
    log_write_within(LOG_DEBUG, LOG_DEBUG, "but %s", "this");
    read_line(line, sizeof(line));
    ck_assert_ptr_nonnull(strstr(line, " debug: but this\n"));
}
END_TEST

/* A full disk. */
START_TEST(lines_that_cannot_be_written_go_to_standard_error)
{
    char text[4096] = "";
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), before = dup(STDERR_FILENO);
    ck_assert_int_ge(full, 0);
    dup2(ends[1], STDERR_FILENO);
    log_init(full, LOG_INFO);
    log_error("one");
    log_error("two");
    dup2(before, STDERR_FILENO);
    size_t len = 0;
    while (strstr(text, "two\n") == NULL) {
        ssize_t n = read(ends[0], text + len, sizeof(text) - 1 - len);
        ck_assert_int_gt(n, 0);
        len += (size_t)n;
        text[len] = '\0';
    }
    const char *why = strstr(text, "the error log cannot be written: No space left on device");
    ck_assert_ptr_nonnull(why);
    ck_assert_ptr_null(strstr(why + 40, "cannot be written")); /* once for a while */
    ck_assert_ptr_nonnull(strstr(text, "error: one\n"));
    close(before);
    close(full);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, lines_that_cannot_be_written_go_to_standard_error);
    tcase_add_loop_test(tests, writes_one_line_whatever_the_message, 0,
            sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, cuts_a_long_line_where_it_stays_whole);
    tcase_add_test(tests, keeps_to_the_level_of_a_part);
}

UNIT_MAIN("observe/log", add_tests)
