/* SPDX-License-Identifier: MIT */
/* What stands on the wire: framing for each method, status and version, 100 Continue, early
 * hints, trailers. */
#include <errno.h>
#include <stdio.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "http/h1.h"
#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define CRLF "\r\n"
#define GET  "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))
#define ROWS(cases)        (int)(sizeof(cases) / sizeof((cases)[0]))

static struct rig *
new_rig(void)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    return &rig;
}

/* What was received, with the values of Date and Server left out. */
static const char *
wire(const struct rig *rig)
{
    static char text[1 << 16];
    struct weir_str bytes = rig_received(rig);
    size_t at = 0;
    while (bytes.len > 0) {
        const char *lf = memchr(bytes.ptr, '\n', bytes.len);
        size_t len = lf == NULL ? bytes.len : (size_t)(lf - bytes.ptr) + 1;
        struct weir_str line = weir_str_make(bytes.ptr, len);
        if (!weir_str_starts_with(line, WEIR_STR("Date: ")) &&
                !weir_str_starts_with(line, WEIR_STR("Server: "))) {
            ck_assert_uint_lt(at + len, sizeof(text));
            memcpy(text + at, line.ptr, len);
            at += len;
        }
        bytes.ptr += len;
        bytes.len -= len;
    }
    text[at] = '\0';
    return text;
}

/* ---- framing ----------------------------------------------------------------------------- */

static const struct {
    const char *why, *request, *want;
    bool closes;
} cases[] = {
    { "a known length", GET,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
            false },
    { "HEAD has the length of GET and no body (F47)", "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n", false },
    { "HEAD of an unknown length has none",
            "HEAD /chunks/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\n\r\n", false },
    { "204 has neither body nor length (RFC 9110 8.6)",
            "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\n\r\n", false },
    { "304 has no body", "GET /status/304 HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
            false },
    { "205 has no body either (RFC 9110 15.3.6), and says so",
            "GET /status/205 HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 205 Reset Content\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 0\r\n\r\n",
            false },
    { "HEAD of it", "HEAD /status/205 HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 205 Reset Content\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 0\r\n\r\n",
            false },
    { "HEAD of an error has its length", "HEAD /status/403 HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 14\r\n\r\n",
            false },
    { "a length that is known by the time that the head leaves",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", false },
    { "HTTP/1.0 that is kept is told so (F48)",
            "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
            "Connection: keep-alive\r\n\r\nhello",
            false },
    { "more than declared is cut, and the head says that the connection closes (F49)",
            "GET /over HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n12345", true },
    { "HEAD of more than declared", "HEAD /over HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", true },
    { "no length above what is declared", "HEAD /short HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", false },
    { "hop-by-hop fields of a module are dropped (F51)", "GET /hop HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false },
    { "its close closes", "GET /close HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true },
    { "a body that nobody reads and cannot be skipped closes, and the head says so",
            "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 262145\r\n\r\n0",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
            "Connection: close\r\n\r\nhello",
            true },
    { "one in chunks that can be skipped does not",
            "POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            "1\r\na\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
            false },
};

static void
check_frame(struct rig *rig, int row, size_t split)
{
    rig_connect(rig);
    rig_send_split(rig, weir_str_from(cases[row].request), split);
    ck_assert_msg(strcmp(wire(rig), cases[row].want) == 0, "%s (split %zu): %s", cases[row].why,
            split, wire(rig));
    bool has_closed = rig->stream.is_closed || rig->stream.is_shut_down;
    ck_assert_msg(has_closed == cases[row].closes, "%s (split %zu): %s", cases[row].why, split,
            wire(rig));
    if (!has_closed) {
        size_t before = rig_received(rig).len;
        SEND(rig, GET); /* the framing was right if this one is answered */
        struct weir_str rest = rig_received(rig);
        rest.ptr += before;
        rest.len -= before;
        struct rig_answer answer;
        unit_check(rig_next_answer(&rest, false, &answer) && answer.is_complete &&
                        weir_str_eq(answer.body, WEIR_STR("hello")),
                cases[row].why);
    }
}

START_TEST(frames_each_answer_by_the_rules)
{
    struct rig *rig = new_rig();
    for (size_t split = 0; split < strlen(cases[_i].request); split++) {
        check_frame(rig, _i, split);
    }
    check_frame(rig, _i, RIG_BYTEWISE);
    rig_fini(rig);
}
END_TEST

/* ---- of unknown length ------------------------------------------------------------------- */

/* The answer begins before the body is there, which then comes. */
static const struct {
    const char *why, *request, *begin, *rest;
    bool closes;
} stream_cases[] = {
    { "chunks to HTTP/1.1", "POST /chunks/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n>\r\n",
            "14\r\n01234567890123456789\r\n0\r\n\r\n", false },
    { "to the end to HTTP/1.0 (F48)",
            "POST /chunks/2 HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n>", "01234567890123456789", true },
    { "trailers to those that asked (F59)",
            "POST /trailer HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n>\r\n",
            "14\r\n01234567890123456789\r\n0\r\nX-Sum: 42\r\n\r\n", false },
    { "also among others",
            "POST /trailer HTTP/1.1\r\nHost: a\r\nTE: gzip, trailers\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n>\r\n",
            "14\r\n01234567890123456789\r\n0\r\nX-Sum: 42\r\n\r\n", false },
    { "not unasked", "POST /trailer HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n>\r\n",
            "14\r\n01234567890123456789\r\n0\r\n\r\n", false },
    { "nor to those that take others",
            "POST /trailer HTTP/1.1\r\nHost: a\r\nTE: gzip\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n>\r\n",
            "14\r\n01234567890123456789\r\n0\r\n\r\n", false },
    { "nor to HTTP/1.0", "POST /trailer HTTP/1.0\r\nTE: trailers\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n>", "01234567890123456789", true },
};

static void
check_stream(struct rig *rig, int row, size_t split)
{
    rig_connect(rig);
    rig_send_split(rig, weir_str_from(stream_cases[row].request), split);
    ck_assert_msg(strcmp(wire(rig), stream_cases[row].begin) == 0, "%s (split %zu): %s",
            stream_cases[row].why, split, wire(rig));
    SEND(rig, "x");
    char want[512];
    snprintf(want, sizeof(want), "%s%s", stream_cases[row].begin, stream_cases[row].rest);
    ck_assert_msg(strcmp(wire(rig), want) == 0, "%s (split %zu): %s", stream_cases[row].why,
            split, wire(rig));
    bool has_closed = rig->stream.is_closed || rig->stream.is_shut_down;
    unit_check(has_closed == stream_cases[row].closes && !rig->stream.was_reset,
            stream_cases[row].why);
}

START_TEST(streams_what_has_no_length)
{
    struct rig *rig = new_rig();
    for (size_t split = 0; split < strlen(stream_cases[_i].request); split++) {
        check_stream(rig, _i, split);
    }
    check_stream(rig, _i, RIG_BYTEWISE);
    rig_fini(rig);
}
END_TEST

START_TEST(tells_the_date_of_each_second)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, GET);
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer));
    ck_assert(weir_str_eq(rig_field(answer.head, "date"),
            WEIR_STR("Sun, 06 Nov 1994 08:49:37 GMT")));
    rig_pass(rig, 1);
    size_t before = rig_received(rig).len;
    SEND(rig, GET);
    rest = rig_received(rig);
    rest.ptr += before;
    rest.len -= before;
    ck_assert(rig_next_answer(&rest, false, &answer));
    ck_assert(weir_str_eq(rig_field(answer.head, "date"),
            WEIR_STR("Sun, 06 Nov 1994 08:49:38 GMT")));
    rig_fini(rig);
}
END_TEST

/* ---- 100 Continue (F39) ------------------------------------------------------------------ */

#define EXPECT "Expect: 100-continue\r\n"

static const struct {
    const char *why, *head, *body;
    bool gets_100;
} expect_cases[] = {
    { "when the body is wanted",
            "POST /sink HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5\r\n\r\n", "hello",
            true },
    { "also where the answer has begun and waits for it",
            "POST /echo HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5\r\n\r\n", "hello",
            true },
    { "also chunked",
            "POST /sink HTTP/1.1\r\nHost: a\r\n" EXPECT "Transfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n", true },
    { "not unless asked for", "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
            "hello", false },
    { "not to HTTP/1.0", "POST /sink HTTP/1.0\r\n" EXPECT "Content-Length: 5\r\n\r\n", "hello",
            false },
    { "not when nobody wants it",
            "POST /ignore HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5\r\n\r\n", NULL,
            false },
    { "not before a refusal",
            "POST /sink HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5000000\r\n\r\n", NULL,
            false },
    { "not before a 404",
            "POST /elsewhere HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5\r\n\r\n", NULL,
            false },
    { "not when there is no body", "POST /sink HTTP/1.1\r\nHost: a\r\n" EXPECT "\r\n", "",
            false },
    { "not after the final head",
            "POST /chunks/1 HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5\r\n\r\n",
            "hello", false },
};

static const char continues[] = "HTTP/1.1 100 Continue\r\n\r\n";

static void
check_expect(struct rig *rig, int row, size_t split)
{
    const char *why = expect_cases[row].why, *body = expect_cases[row].body;
    rig_connect(rig);
    rig_send_split(rig, weir_str_from(expect_cases[row].head), split);
    bool got = weir_str_starts_with(rig_received(rig), weir_str_from(continues));
    ck_assert_msg(got == expect_cases[row].gets_100, "%s (split %zu): %s", why, split,
            wire(rig));
    if (body == NULL) {
        /* The client may or may not send it: the connection cannot be kept. */
        unit_check(rig->stream.is_closed || rig->stream.is_shut_down, why);
        return;
    }
    rig_send_split(rig, weir_str_from(body), split);
    SEND(rig, GET);
    const char *text = wire(rig);
    const char *second = strstr(text, continues);
    second = second == NULL ? NULL : strstr(second + 1, continues);
    unit_check(second == NULL, why); /* once */
    if (strstr(expect_cases[row].head, "1.0\r") == NULL) {
        ck_assert_msg(strlen(text) > 5 && strcmp(text + strlen(text) - 5, "hello") == 0,
                "%s (split %zu): %s", why, split, text);
    }
}

START_TEST(sends_100_continue_exactly_when_it_is_due)
{
    struct rig *rig = new_rig();
    for (size_t split = 0; split < strlen(expect_cases[_i].head); split++) {
        check_expect(rig, _i, split);
    }
    check_expect(rig, _i, RIG_BYTEWISE);
    rig_fini(rig);
}
END_TEST

/* Of a body that comes unasked, which the client may send for it waits no longer. */
START_TEST(sends_no_100_continue_when_the_body_arrives_with_the_head)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, "POST /sink HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5\r\n\r\nh");
    SEND(rig, "ello" GET);
    ck_assert_ptr_null(strstr(wire(rig), continues));
    ck_assert_uint_eq(rig->ended[REQUEST_END_COMPLETE], 2);
    rig_fini(rig);
}
END_TEST

/* ---- interim answers --------------------------------------------------------------------- */

static int hint_result;

static enum weir_verdict
hint(struct weir_request *request, const void *conf)
{
    (void)conf;
    hint_result = weir_reply_hint(request, WEIR_STR("</b.css>"));
    return WEIR_NEXT;
}

static enum weir_verdict
hint_badly(struct weir_request *request, const void *conf)
{
    (void)conf;
    hint_result = weir_reply_hint(request, WEIR_STR("</a.css>\r\nX: y"));
    return WEIR_NEXT;
}

static const struct weir_hook late_hint_hooks[] = {
    { .on = WEIR_ON_LOG, .request = hint },
};
static const struct weir_hook bad_hint_hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = hint_badly },
};
static const struct weir_handler hints[] = {
    { .name = "late-hints", .hooks = WEIR_HOOKS(late_hint_hooks) },
    { .name = "bad-hints", .hooks = WEIR_HOOKS(bad_hint_hooks) },
};

static const struct {
    const char *why, *request, *want;
} hint_cases[] = {
    { "before the head", "GET /hint HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhinted" },
    { "that of each of several requests",
            "HEAD /hint HTTP/1.1\r\nHost: a\r\n\r\nGET /hint HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\n"
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhinted" },
    { "never to HTTP/1.0", "GET /hint HTTP/1.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n"
            "Connection: close\r\n\r\nhinted" },
};

/* And never after it: the log hook tries. */
START_TEST(sends_early_hints_before_the_head)
{
    struct rig rig;
    rig_init(&rig, &hints[0], 1);
    size_t len = strlen(hint_cases[_i].request);
    for (size_t split = 0; split <= len; split++) {
        rig_connect(&rig);
        rig_send_split(&rig, weir_str_from(hint_cases[_i].request),
                split == len ? RIG_BYTEWISE : split);
        ck_assert_msg(strcmp(wire(&rig), hint_cases[_i].want) == 0, "%s (split %zu): %s",
                hint_cases[_i].why, split, wire(&rig));
        ck_assert_int_eq(hint_result, -EALREADY);
    }
    rig_fini(&rig);
}
END_TEST

START_TEST(sends_no_hint_that_would_split)
{
    struct rig rig;
    rig_init(&rig, &hints[1], 1);
    rig_connect(&rig);
    SEND(&rig, GET);
    ck_assert_int_eq(hint_result, -EINVAL);
    ck_assert_ptr_null(strstr(wire(&rig), "103"));
    rig_fini(&rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, frames_each_answer_by_the_rules, 0, ROWS(cases));
    tcase_add_loop_test(tests, streams_what_has_no_length, 0, ROWS(stream_cases));
    tcase_add_test(tests, tells_the_date_of_each_second);
    tcase_add_loop_test(tests, sends_100_continue_exactly_when_it_is_due, 0,
            ROWS(expect_cases));
    tcase_add_test(tests, sends_no_100_continue_when_the_body_arrives_with_the_head);
    tcase_add_loop_test(tests, sends_early_hints_before_the_head, 0, ROWS(hint_cases));
    tcase_add_test(tests, sends_no_hint_that_would_split);
}

UNIT_MAIN("http/h1_answer", add_tests)
