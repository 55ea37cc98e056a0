/* SPDX-License-Identifier: MIT */
/* llhttp is compiled twice where the processor may have SSE 4.2 (core.am): both read every byte
 * in every place of a head alike. What head_reader.c makes of it stands in head_reader_test.c.
 */
#include "http/parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <llhttp.h>

#include "support/unit.h"

#ifdef WEIR_LLHTTP_SSE42

int llhttp__internal_execute_plain(llhttp__internal_t *state, const char *p, const char *end);
int llhttp__internal_execute_sse42(llhttp__internal_t *state, const char *p, const char *end);

/* The spans as they came: a letter for their kind, and where they lay. */
struct story {
    const char *base;
    char text[4096];
    size_t len;
};

static int
tell(llhttp_t *state, char kind, const char *at, size_t len)
{
    struct story *story = state->data;
    int r = snprintf(story->text + story->len, sizeof(story->text) - story->len, "%c%td+%zu ",
            kind, at - story->base, len);
    ck_assert(r > 0 && (size_t)r < sizeof(story->text) - story->len);
    story->len += (size_t)r;
    return 0;
}

static int
on_url(llhttp_t *state, const char *at, size_t len)
{
    return tell(state, 'u', at, len);
}

static int
on_field(llhttp_t *state, const char *at, size_t len)
{
    return tell(state, 'n', at, len);
}

static int
on_value(llhttp_t *state, const char *at, size_t len)
{
    return tell(state, 'v', at, len);
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
};

typedef int execute_fn(llhttp__internal_t *state, const char *p, const char *end);

/* Reads `head` in two portions. The story ends with the error, and where it was. */
static void
read_with(execute_fn *execute, const char *head, size_t len, size_t cut, struct story *story)
{
    llhttp_t state;
    llhttp_init(&state, HTTP_REQUEST, &settings);
    *story = (struct story){ .base = head };
    state.data = story;
    if (execute(&state, head, head + cut) == 0) {
        execute(&state, head + cut, head + len);
    }
    tell(&state, 'e', state.error != 0 ? state.error_pos : head, (size_t)state.error);
}

static void
assert_same(const char *head, size_t len, size_t cut)
{
    /* In memory of its own length, so that a sanitizer sees who reads behind it. */
    char *copy = malloc(len);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, head, len);
    struct story plain, sse42;
    read_with(llhttp__internal_execute_plain, copy, len, cut, &plain);
    read_with(llhttp__internal_execute_sse42, copy, len, cut, &sse42);
    ck_assert_msg(strcmp(plain.text, sse42.text) == 0, "%.*s: %s against %s", (int)len, head,
            plain.text, sse42.text);
    free(copy);
}

static const char head[] =
        "GET /a/path-that-is-longer/than-sixteen-bytes?and=a&query=too HTTP/1.1\r\n"
        "Host: an.example.org:8080\r\n"
        "X-A-Name-Of-More-Than-Sixteen-Bytes: a value of more than sixteen\r\n"
        "Content-Length: 12345678901234567\r\n"
        "Connection: keep-alive, something-else, more\r\n"
        "X-Short: 1\r\n\r\n";

START_TEST(every_byte_in_every_place)
{
    if (!__builtin_cpu_supports("sse4.2")) {
        return; /* the other one cannot run here */
    }
    size_t len = sizeof(head) - 1;
    for (size_t at = 0; at < len; at++) {
        char changed[sizeof(head)];
        memcpy(changed, head, sizeof(head));
        for (unsigned byte = 0; byte < 256; byte++) {
            changed[at] = (char)byte;
            assert_same(changed, len, len);
        }
    }
}
END_TEST

START_TEST(split_at_every_point)
{
    if (!__builtin_cpu_supports("sse4.2")) {
        return;
    }
    for (size_t cut = 0; cut < sizeof(head); cut++) {
        assert_same(head, sizeof(head) - 1, cut < sizeof(head) - 1 ? cut : cut - 1);
    }
}
END_TEST

#endif

static int
count_field(void *context, uint32_t name_at, uint32_t name_len, uint32_t value_at,
        uint32_t value_len)
{
    (void)name_at;
    (void)name_len;
    (void)value_at;
    (void)value_len;
    ++*(unsigned *)context;
    return 0;
}

START_TEST(reads_a_head)
{
    static const char text[] =
            "GET / HTTP/1.1\r\nHost: a\r\nX-Some: more than sixteen bytes\r\n\r\n";
    unsigned fields = 0;
    struct parser parser;
    parser_init(&parser, PARSER_REQUEST);
    parser.on_field = count_field;
    parser.context = &fields;
    ck_assert_int_eq(parser_feed(&parser, text, 0, sizeof(text) - 1), PARSER_DONE);
    ck_assert_uint_eq(fields, 2);
}
END_TEST

static void
add_tests(TCase *tests)
{
#ifdef WEIR_LLHTTP_SSE42
    tcase_add_test(tests, every_byte_in_every_place);
    tcase_add_test(tests, split_at_every_point);
#endif
    tcase_add_test(tests, reads_a_head);
}

UNIT_MAIN("http/parser", add_tests)
