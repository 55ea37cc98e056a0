/* SPDX-License-Identifier: MIT */
/* The head reader by itself: what it makes of each line, that cutting changes nothing, and what
 * it keeps. (h1_test.c sends the rows of HTTP.md through whole connections.) */
#include "http/head_reader.h"

#include <stdio.h>
#include <string.h>

#include "support/unit.h"

static struct http_limits limits;
static struct arena arena;
static struct head head;
static struct head_reader reader;

static void
begin(void)
{
    limits = (struct http_limits)HTTP_LIMITS_PRESET;
    arena_init(&arena, NULL, 0, 4 << 20);
    head_reader_init(&reader, &limits, &arena, &head);
}

/* Feeds all of `text` in pieces of `step`. *taken counts what was used. */
static enum head_progress
feed(struct weir_str text, size_t step, size_t *taken, enum head_refusal *refusal)
{
    enum head_progress progress = HEAD_MORE;
    *taken = 0;
    for (size_t at = 0; at < text.len && progress == HEAD_MORE; at += step) {
        size_t len = text.len - at < step ? text.len - at : step;
        size_t used;
        progress = head_reader_feed(&reader, weir_str_make(text.ptr + at, len), &used, refusal);
        *taken += used;
    }
    return progress;
}

#define HOST "Host: a\r\n"

static const struct {
    const char *why, *text;
    enum head_refusal refusal;
} cases[] = {
    { "the shortest", "GET / HTTP/1.1\r\n" HOST "\r\n", HEAD_ACCEPTED },
    { "HTTP/1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", HEAD_ACCEPTED },
    { "empty lines before it", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HEAD_ACCEPTED },
    { "an empty value", "GET / HTTP/1.1\r\n" HOST "X:\r\n\r\n", HEAD_ACCEPTED },
    { "a value of blanks", "GET / HTTP/1.1\r\n" HOST "X: \t \r\n\r\n", HEAD_ACCEPTED },
    { "obs-text in a value (RFC 9110 5.5)", "GET / HTTP/1.1\r\n" HOST "X: \xe4\r\n\r\n",
            HEAD_ACCEPTED },
    { "a tab in a value", "GET / HTTP/1.1\r\n" HOST "X: a\tb\r\n\r\n", HEAD_ACCEPTED },
    { "a lone LF before it", "\nGET / HTTP/1.1\r\n" HOST "\r\n", HEAD_BARE_LF },
    { "no method", " / HTTP/1.1\r\n" HOST "\r\n", HEAD_BAD_REQUEST_LINE },
    { "no target", "GET HTTP/1.1\r\n" HOST "\r\n", HEAD_BAD_REQUEST_LINE },
    { "HTTP/0.9", "GET /\r\n", HEAD_BAD_REQUEST_LINE },
    { "a word behind the version", "GET / HTTP/1.1 x\r\n" HOST "\r\n", HEAD_BAD_REQUEST_LINE },
    { "a version with two digits", "GET / HTTP/1.10\r\n" HOST "\r\n", HEAD_BAD_REQUEST_LINE },
    { "a later version", "GET / HTTP/1.9\r\n" HOST "\r\n", HEAD_BAD_VERSION },
    { "HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\n", HEAD_BAD_VERSION },
    { "a CR within the request line", "GET /\r HTTP/1.1\r\n" HOST "\r\n",
            HEAD_BAD_REQUEST_LINE },
    { "a NUL in the target", "GET /\001 HTTP/1.1\r\n" HOST "\r\n", HEAD_BAD_REQUEST_LINE },
    { "an unknown method", "BREW / HTTP/1.1\r\n" HOST "\r\n", HEAD_UNKNOWN_METHOD },
    { "a method that only begins like one", "GETS / HTTP/1.1\r\n" HOST "\r\n",
            HEAD_UNKNOWN_METHOD },
    { "a folded line", "GET / HTTP/1.1\r\n" HOST " b\r\n\r\n", HEAD_FOLDED_LINE },
    { "an empty name", "GET / HTTP/1.1\r\n" HOST ":b\r\n\r\n", HEAD_EMPTY_NAME },
    { "no colon", "GET / HTTP/1.1\r\n" HOST "b\r\n\r\n", HEAD_BAD_FIELD },
    { "a space before the colon", "GET / HTTP/1.1\r\n" HOST "b : c\r\n\r\n", HEAD_BAD_FIELD },
    { "a byte that no name has", "GET / HTTP/1.1\r\n" HOST "b(: c\r\n\r\n", HEAD_BAD_FIELD },
    { "a control byte", "GET / HTTP/1.1\r\n" HOST "b: \x07\r\n\r\n", HEAD_BAD_FIELD },
    { "DEL", "GET / HTTP/1.1\r\n" HOST "b: \x7f\r\n\r\n", HEAD_BAD_FIELD },
    { "a CR within a value", "GET / HTTP/1.1\r\n" HOST "b: c\rd\r\n\r\n", HEAD_BAD_FIELD },
    { "two CRs", "GET / HTTP/1.1\r\n" HOST "b: c\r\r\n\r\n", HEAD_BAD_FIELD },
    { "a bare LF", "GET / HTTP/1.1\r\n" HOST "b: c\n\r\n", HEAD_BARE_LF },
    { "a bare LF at the end", "GET / HTTP/1.1\r\n" HOST "\n", HEAD_BARE_LF },
    { "no Host", "GET / HTTP/1.1\r\n\r\n", HEAD_NO_HOST },
    { "two Hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", HEAD_SEVERAL_HOSTS },
    { "two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", HEAD_SEVERAL_HOSTS },
    { "a length of 2^64, which llhttp sees first",
            "GET / HTTP/1.0\r\nContent-Length: 18446744073709551616\r\n\r\n", HEAD_BAD_FIELD },
    { "both lengths, likewise",
            "POST / HTTP/1.1\r\n" HOST
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            HEAD_BAD_FIELD },
    { "an empty coding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: ,chunked\r\n\r\n",
            HEAD_BAD_ENCODING },
    { "no coding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", HEAD_BAD_ENCODING },
    { "a parameter", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n\r\n",
            HEAD_UNKNOWN_ENCODING },
    { "identity", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n",
            HEAD_UNKNOWN_ENCODING },
    { "an Expect of two", "GET / HTTP/1.1\r\n" HOST "Expect: 100-continue, x\r\n\r\n",
            HEAD_BAD_EXPECT },
    { "two Expects, of which the second is unknown",
            "GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nExpect: x\r\n\r\n",
            HEAD_BAD_EXPECT },
};

START_TEST(judges_each_head_the_same_however_it_is_cut)
{
    struct weir_str text = weir_str_from(cases[_i].text);
    for (size_t step = 1; step <= text.len; step++) {
        begin();
        size_t taken;
        enum head_refusal refusal = HEAD_ACCEPTED;
        enum head_progress progress = feed(text, step, &taken, &refusal);
        ck_assert_msg(refusal == cases[_i].refusal, "%s (step %zu): %s", cases[_i].why, step,
                head_refusal_text(refusal));
        unit_check(progress == (refusal == HEAD_ACCEPTED ? HEAD_DONE : HEAD_REFUSED),
                cases[_i].why);
        ck_assert(refusal != HEAD_ACCEPTED || taken == text.len);
        arena_reset(&arena);
    }
}
END_TEST

START_TEST(takes_no_byte_behind_the_head)
{
    static const char text[] = "GET /a?b HTTP/1.1\r\nHost: a\r\nX-Y:  z \r\n\r\nrest\r\n\r\n";
    struct weir_str all = weir_str_make(text, sizeof(text) - 1);
    for (size_t step = 1; step <= all.len; step++) {
        begin();
        size_t taken;
        enum head_refusal refusal;
        ck_assert_int_eq(feed(all, step, &taken, &refusal), HEAD_DONE);
        ck_assert_uint_eq(taken, all.len - 8);
        ck_assert(weir_str_eq(head_method(&head), WEIR_STR("GET")));
        ck_assert(weir_str_eq(head_target(&head), WEIR_STR("/a?b")));
        ck_assert_uint_eq(head.field_count, 2);
        ck_assert(weir_str_eq(head_field_name(&head, 1), WEIR_STR("X-Y")));
        ck_assert(weir_str_eq(head_field_value(&head, 1), WEIR_STR("z")));
        ck_assert(weir_str_eq(head_find(&head, FIELD_HOST), WEIR_STR("a")));
        ck_assert_ptr_null(head_find(&head, FIELD_COOKIE).ptr);
        ck_assert_uint_eq(head_find_named(&head, WEIR_STR("x-y"), 0), 1);
        ck_assert_uint_eq(head_find_named(&head, WEIR_STR("x-y"), 2), 2);
        arena_reset(&arena);
    }
}
END_TEST

static const struct {
    const char *why, *fields;
    bool keep_alive, expects_continue, wants_trailers;
    enum head_body body;
} meanings[] = {
    { "HTTP/1.1 goes on", " HTTP/1.1\r\n" HOST, true, false, false, HEAD_BODY_NONE },
    { "HTTP/1.0 does not", " HTTP/1.0\r\n", false, false, false, HEAD_BODY_NONE },
    { "unless it says so", " HTTP/1.0\r\nConnection: x, Keep-Alive\r\n", true, false, false,
            HEAD_BODY_NONE },
    { "close wins", " HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n", false,
            false, false, HEAD_BODY_NONE },
    { "on whichever line", " HTTP/1.1\r\n" HOST "Connection: a\r\nConnection: b , CLOSE\r\n",
            false, false, false, HEAD_BODY_NONE },
    { "100-continue in any case", " HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\n", true, true,
            false, HEAD_BODY_NONE },
    { "not in HTTP/1.0", " HTTP/1.0\r\nExpect: 100-continue\r\n", false, false, false,
            HEAD_BODY_NONE },
    { "TE: trailers", " HTTP/1.1\r\n" HOST "TE: deflate, trailers\r\n", true, false, true,
            HEAD_BODY_NONE },
    { "a length of nothing is no body", " HTTP/1.1\r\n" HOST "Content-Length: 0\r\n", true,
            false, false, HEAD_BODY_NONE },
    { "leading zeros are digits", " HTTP/1.1\r\n" HOST "Content-Length: 0005\r\n", true, false,
            false, HEAD_BODY_LENGTH },
    { "chunked in any case", " HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n", true, false,
            false, HEAD_BODY_CHUNKED },
};

START_TEST(says_what_the_fields_mean)
{
    char text[256];
    int len = snprintf(text, sizeof(text), "GET /%s\r\n", meanings[_i].fields);
    begin();
    size_t taken;
    enum head_refusal refusal;
    ck_assert_int_eq(feed(weir_str_make(text, (size_t)len), SIZE_MAX, &taken, &refusal),
            HEAD_DONE);
    unit_check(head.keep_alive == meanings[_i].keep_alive, meanings[_i].why);
    unit_check(head.expects_continue == meanings[_i].expects_continue, meanings[_i].why);
    unit_check(head.wants_trailers == meanings[_i].wants_trailers, meanings[_i].why);
    unit_check(head.body == meanings[_i].body, meanings[_i].why);
    ck_assert(head.body != HEAD_BODY_LENGTH || head.body_bytes == 5);
    arena_reset(&arena);
}
END_TEST

/* More fields than the short index can say. */
START_TEST(finds_fields_past_the_256th)
{
    begin();
    limits.fields = 1000;
    size_t taken;
    enum head_refusal refusal;
    ck_assert_int_eq(feed(WEIR_STR("GET / HTTP/1.1\r\n"), 99, &taken, &refusal), HEAD_MORE);
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(feed(WEIR_STR("X: y\r\n"), 99, &taken, &refusal), HEAD_MORE);
    }
    ck_assert_int_eq(feed(WEIR_STR("Cookie: c\r\nHost: h\r\nCookie: d\r\n\r\n"), 99, &taken,
                             &refusal),
            HEAD_DONE);
    ck_assert(weir_str_eq(head_find(&head, FIELD_HOST), WEIR_STR("h")));
    ck_assert(weir_str_eq(head_find(&head, FIELD_COOKIE), WEIR_STR("c")));
    ck_assert_ptr_null(head_find(&head, FIELD_RANGE).ptr);
    arena_reset(&arena);
}
END_TEST

START_TEST(says_so_when_it_has_no_memory)
{
    char value[3000];
    memset(value, 'v', sizeof(value));
    UNIT_EACH_ALLOCATION_FAILS({
        begin();
        size_t taken;
        enum head_refusal refusal = HEAD_ACCEPTED;
        enum head_progress progress = feed(WEIR_STR("GET / HTTP/1.1\r\nHost: h\r\nX: "), 5,
                &taken, &refusal);
        if (progress == HEAD_MORE) {
            progress = feed(weir_str_make(value, sizeof(value)), 700, &taken, &refusal);
        }
        for (int i = 0; i < 80 && progress == HEAD_MORE; i++) {
            progress = feed(WEIR_STR("\r\nA: b"), 99, &taken, &refusal);
        }
        if (progress == HEAD_MORE) {
            progress = feed(WEIR_STR("\r\n\r\n"), 99, &taken, &refusal);
        }
        ck_assert(progress == HEAD_DONE ||
                (progress == HEAD_REFUSED && refusal == HEAD_OUT_OF_MEMORY));
        arena_reset(&arena);
    });
}
END_TEST

START_TEST(has_a_status_and_a_text_for_each_refusal)
{
    for (int refusal = HEAD_ACCEPTED + 1; refusal <= HEAD_OUT_OF_MEMORY; refusal++) {
        ck_assert_uint_ge(head_refusal_status((enum head_refusal)refusal), 400);
        ck_assert_uint_gt(strlen(head_refusal_text((enum head_refusal)refusal)), 5);
    }
    ck_assert_uint_eq(head_refusal_status(HEAD_ACCEPTED), 0);
}
END_TEST

#define ROWS(cases) (int)(sizeof(cases) / sizeof((cases)[0]))

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, judges_each_head_the_same_however_it_is_cut, 0, ROWS(cases));
    tcase_add_test(tests, takes_no_byte_behind_the_head);
    tcase_add_loop_test(tests, says_what_the_fields_mean, 0, ROWS(meanings));
    tcase_add_test(tests, finds_fields_past_the_256th);
    tcase_add_test(tests, says_so_when_it_has_no_memory);
    tcase_add_test(tests, has_a_status_and_a_text_for_each_refusal);
}

UNIT_MAIN("http/head_reader", add_tests)
