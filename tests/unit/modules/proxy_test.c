/* SPDX-License-Identifier: MIT */
/* The module `proxy` and the exchange beneath it, with upstreams in memory: what goes up, what
 * comes down, however it is cut, late, out of memory, or over. */
#include <errno.h>
#include <stdio.h>

#include <weir/module.h>

#include "base/clock.h"
#include "event/loop.h"
#include "http/request.h"
#include "observe/log.h"
#include "support/module_rig.h"
#include "support/unit.h"
#include "support/upstream_rig.h"
#include "testkit/answers.h"

static const struct weir_module *const modules[] = { &weir_module_v1 };

static struct upstream_rig upstream;

#define CONFIG(keys, more)                                                                       \
    "{ \"modules\": [\"proxy\"], \"upstreams\": { \"app\": { \"targets\": \"127.0.0.1:9\" " keys \
    " } }, \"servers\": [{ \"listen\": \"127.0.0.1:1\" " more                                    \
    ", \"routes\": [{ \"handle\": { \"proxy\": { \"to\": \"app\", \"forwarded\": \"none\", "     \
    "\"proxy_status\": true } } }] }] }"

static const struct testbed_settings settings = {
    .config = CONFIG("", ""),
    .modules = modules,
    .modules_count = 1,
};

#define GET     "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"
#define OK      "HTTP/1.1 200 OK\r\n"
#define HELLO   OK "Content-Length: 5\r\n\r\nhello"

static void
finish(struct testbed *testbed)
{
    ck_assert(testbed_free(testbed));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}

static bool
received(const struct testbed *testbed, const char *part)
{
    return unit_has(testbed_received(testbed), part);
}

/* ---- answers ----------------------------------------------------------------------------- */

static const struct row {
    const char *why, *request, *answer, *status, *part;
    bool is_kept; /* the connection to the upstream */
} rows[] = {
    { "a length", GET, HELLO, "200 OK", "Content-Length: 5\r\n\r\nhello", true },
    { "chunks", GET, OK CHUNKED "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "200 OK", "hello", true },
    { "until the end", GET, OK "\r\nhello", "200 OK", "hello", false },
    { "HEAD", "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n", OK "Content-Length: 5\r\n\r\n", "200 OK",
            "Content-Length: 5\r\n\r\n", true },
    { "HEAD of chunks", "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n", OK CHUNKED, "200 OK", "\r\n\r\n",
            true },
    { "204", GET, "HTTP/1.1 204 No Content\r\n\r\n", "204 No Content", "\r\n\r\n", true },
    { "304", GET, "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 9\r\n\r\n",
            "304 Not Modified", "ETag: \"e\"\r\n", true },
    { "an error of its own", GET, "HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx",
            "503 Service Unavailable", "\r\n\r\nx", true },
    { "it says close", GET, OK "Connection: close\r\nContent-Length: 1\r\n\r\nx", "200 OK",
            "\r\n\r\nx", false },
    { "more than it said", GET, HELLO "HTTP/1.1", "200 OK", "\r\n\r\nhello", false },
    { "100 of its own accord", GET, "HTTP/1.1 100 Continue\r\n\r\n" HELLO, "200 OK", "hello",
            true },
    { "a hint", GET, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" HELLO, "103 Early Hints",
            "Link: </x>\r\n\r\nHTTP/1.1 200 OK", true },
    { "no hint to HTTP/1.0", "GET /a HTTP/1.0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" HELLO, "200 OK", "hello", true },
    { "101", GET, "HTTP/1.1 101 Switching Protocols\r\n\r\n", "502 Bad Gateway",
            "http_protocol_error", false },
    { "both lengths", GET, OK "Content-Length: 1\r\n" CHUNKED "0\r\n\r\n", "502 Bad Gateway",
            "http_protocol_error", false },
    { "no HTTP", GET, "hello\r\n", "502 Bad Gateway", "http_protocol_error", false },
};

static void
check_row(const struct row *row, size_t piece_bytes)
{
    upstream_rig_init(&upstream, row->answer);
    upstream.piece_bytes = piece_bytes;
    upstream.closes = strcmp(row->why, "until the end") == 0 ||
            strcmp(row->why, "no HTTP") == 0;
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, weir_str_from(row->request));
    for (size_t i = 0; i < strlen(row->answer); i++) {
        testbed_turn(testbed);
    }
    testbed_settle(testbed);
    struct weir_str got = testbed_received(testbed);
    ck_assert_msg(got.len > 9 && strncmp(got.ptr + 9, row->status, strlen(row->status)) == 0,
            "%s: %.*s", row->why, WEIR_STR_ARG(got));
    /* Bodies without their chunks, where an answer to HEAD does not look like half of one. */
    struct buf joined;
    buf_init(&joined, 1 << 20);
    bool is_whole = answers_read(got, testbed_is_over(testbed), &joined) == ANSWERS_WHOLE;
    unit_check(is_whole || row->request[0] == 'H', row->why);
    struct weir_str text = is_whole ? buf_str(&joined) : got;
    ck_assert_msg(unit_has(text, row->part), "%s: %.*s", row->why, WEIR_STR_ARG(text));
    buf_fini(&joined);
    unit_check(upstream_rig_open(&upstream) == row->is_kept, row->why);
    finish(testbed);
}

START_TEST(passes_answers_on_however_they_are_cut)
{
    const size_t pieces[] = { 0, 1, 3, 7 };
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        check_row(&rows[_i], pieces[i]);
    }
}
END_TEST

/* ---- requests ---------------------------------------------------------------------------- */

static const struct asked_row {
    const char *why, *request, *asked; /* without Via and the id */
} asked_rows[] = {
    { "plain", GET, "GET /a HTTP/1.1\r\nHost: h\r\n" },
    { "HTTP/1.0 without a host", "GET /a HTTP/1.0\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: app\r\n" },
    { "a body", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
            "Content-Length: 2\r\n\r\nhi" },
    { "no body", "POST /a HTTP/1.1\r\nHost: h\r\n\r\n", "Content-Length: 0\r\n\r\n" },
    { "Connection names a field, and the host",
            "GET /a HTTP/1.1\r\nHost: h\r\nA: 1\r\n"
            "Connection: A, Host, close\r\nB: 2\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\nB: 2\r\n" },
    { "a path that climbs", "GET /a/../b?c HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET /b?c HTTP/1.1\r\n" },
    { "OPTIONS of the server", "OPTIONS /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 10\r\n\r\n",
            "Max-Forwards: 9\r\n" },
    { "a bound for others", "GET /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n",
            "Max-Forwards: 0\r\n" },
    { "a client that waits for its turn",
            "PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
            "Content-Length: 2\r\n\r\nhi",
            "Content-Length: 2\r\n\r\nhi" },
};

START_TEST(asks_for_what_was_asked)
{
    const struct asked_row *row = &asked_rows[_i];
    upstream_rig_init(&upstream, HELLO);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, weir_str_from(row->request));
    ck_assert_msg(strstr(upstream.asked, row->asked) != NULL, "%s: %s", row->why,
            upstream.asked);
    unit_check(strstr(upstream.asked, "Expect") == NULL, row->why);
    unit_check(strstr(upstream.asked, "Via: 1.") != NULL, row->why);
    unit_check(received(testbed, "hello"), row->why);
    finish(testbed);
}
END_TEST

/* RFC 9110 section 7.6.2. */
START_TEST(goes_no_further_than_it_may)
{
    upstream_rig_init(&upstream, HELLO);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed,
            WEIR_STR("OPTIONS /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n"));
    ck_assert(received(testbed, "204 No Content"));
    testbed_send(testbed, WEIR_STR("TRACE /a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n"));
    ck_assert(received(testbed, "501 Not Implemented"));
    ck_assert_uint_eq(upstream.connected, 0);
    finish(testbed);
}
END_TEST

/* Bytes of a body in chunks, as a client may cut them. */
START_TEST(sends_a_body_in_chunks_as_it_comes)
{
    upstream_rig_init(&upstream, HELLO);
    struct testbed *testbed = module_testbed_new(&settings);
    struct weir_str all = WEIR_STR("POST /a HTTP/1.1\r\nHost: h\r\n" CHUNKED
                                   "3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n");
    for (size_t i = 0; i < all.len; i++) {
        ck_assert(!received(testbed, "hello"));
        testbed_send(testbed, weir_str_make(all.ptr + i, 1));
    }
    ck_assert(received(testbed, "hello"));
    ck_assert_ptr_nonnull(strstr(upstream.asked,
            CHUNKED "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n1\r\nd\r\n1\r\ne\r\n0\r\nX: y\r\n\r\n"));
    finish(testbed);
}
END_TEST

/* ---- connections ------------------------------------------------------------------------- */

START_TEST(keeps_a_connection_for_the_next)
{
    upstream_rig_init(&upstream, HELLO);
    struct testbed *testbed = module_testbed_new(&settings);
    for (int i = 0; i < 3; i++) {
        testbed_send(testbed, WEIR_STR(GET));
    }
    ck_assert_uint_eq(upstream.answered, 3);
    ck_assert_uint_eq(upstream.connected, 1);
    testbed_pass(testbed, 59 * NS_PER_S);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 1);
    testbed_pass(testbed, 2 * NS_PER_S);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    finish(testbed);
}
END_TEST

/* One event tells of both, and none would follow. */
START_TEST(keeps_none_whose_end_came_with_the_answer)
{
    upstream_rig_init(&upstream, HELLO);
    upstream.closes = true;
    struct testbed *testbed = module_testbed_new(&settings);
    for (unsigned i = 1; i <= 3; i++) {
        testbed_send(testbed, WEIR_STR("POST /a HTTP/1.1\r\nHost: h\r\n\r\n"));
        ck_assert_uint_eq(upstream.answered, i);
        ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    }
    ck_assert(!received(testbed, "502"));
    finish(testbed);
}
END_TEST

/* An answer fills what is read at once to its last byte, and more than it said stands behind
 * it: no event will tell of that. */
START_TEST(keeps_none_that_may_hold_more_than_was_read)
{
    static char answer[LOOP_SCRATCH_BYTES + 100];
    int head = snprintf(answer, sizeof(answer), OK "Content-Length: 69000\r\nX: %*s\r\n\r\n",
            (int)(LOOP_SCRATCH_BYTES - 69000 -
                    strlen(OK "Content-Length: 69000\r\nX: \r\n\r\n")),
            "y");
    memset(answer + head, 'x', 69000);
    ck_assert_uint_eq((size_t)head + 69000, LOOP_SCRATCH_BYTES);
    strcpy(answer + head + 69000, OK "Content-Length: 4\r\n\r\nevil");
    upstream_rig_init(&upstream, answer);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert_uint_gt(testbed_received(testbed).len, 69000);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert(!received(testbed, "evil"));
    ck_assert_uint_eq(upstream.connected, 2);
    finish(testbed);
}
END_TEST

/* What a kept connection says in the turn in which it is taken, before anything was sent, is no
 * answer. */
START_TEST(takes_nothing_for_an_answer_that_came_before_the_question)
{
    static const char *const requests[] = { GET,
        "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" };
    upstream_rig_init(&upstream, HELLO);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 1);
    testbed_feed(testbed, weir_str_from(requests[_i]));
    memory_stream_send(&upstream.conns[0].memory,
            WEIR_STR("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"));
    memory_stream_end(&upstream.conns[0].memory);
    testbed_settle(testbed);
    ck_assert(!received(testbed, "408"));
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_COMPLETE), 2);
    ck_assert_uint_eq(upstream.answered, 2);
    finish(testbed);
}
END_TEST

/* A little less than it says, since it counts from when it wrote. */
START_TEST(believes_how_long_an_upstream_waits)
{
    upstream_rig_init(&upstream, OK "Keep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n");
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    testbed_pass(testbed, 3900 * NS_PER_MS);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 1);
    testbed_pass(testbed, 200 * NS_PER_MS);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    finish(testbed);
}
END_TEST

static const struct {
    const char *why, *request;
    unsigned answered, connected;
    const char *second; /* status of the second answer */
} stale_rows[] = {
    { "GET", GET, 2, 2, "200" },
    { "PUT", "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", 2, 2, "200" },
    { "POST", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", 1, 1, "502" },
};

START_TEST(replaces_a_stale_connection_where_that_is_safe)
{
    upstream_rig_init(&upstream, HELLO);
    upstream.refuses_reuse = true;
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, weir_str_from(stale_rows[_i].request));
    size_t first = testbed_received(testbed).len;
    testbed_send(testbed, weir_str_from(stale_rows[_i].request));
    struct weir_str got = testbed_received(testbed);
    ck_assert_msg(strncmp(got.ptr + first + 9, stale_rows[_i].second, 3) == 0, "%s: %.*s",
            stale_rows[_i].why, WEIR_STR_ARG(got));
    ck_assert_uint_eq(upstream.answered, stale_rows[_i].answered);
    ck_assert_uint_eq(upstream.connected, stale_rows[_i].connected);
    finish(testbed);
}
END_TEST

static const struct {
    int error;
    const char *status, *word;
} connect_rows[] = {
    { -ECONNREFUSED, "502", "connection_refused" },
    { -ENOENT, "502", "connection_refused" },
    { -ENETUNREACH, "502", "destination_ip_unroutable" },
    { -EHOSTUNREACH, "502", "destination_ip_unroutable" },
    { -ETIMEDOUT, "504", "connection_timeout" },
    { -EMFILE, "503", "proxy_internal_error" },
    { -ENOMEM, "503", "proxy_internal_error" },
};

START_TEST(says_why_there_is_no_connection)
{
    upstream_rig_init(&upstream, HELLO);
    upstream.error = connect_rows[_i].error;
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert(strncmp(testbed_received(testbed).ptr + 9, connect_rows[_i].status, 3) == 0);
    ck_assert(received(testbed, connect_rows[_i].word));
    finish(testbed);
}
END_TEST

static const struct {
    const char *why, *answer, *status;
    unsigned seconds; /* until it is over, and not before */
    bool is_cut;
} late_rows[] = {
    { "nothing comes", "", "504", 60, false },
    { "half a head", OK "X:", "504", 60, false },
    { "a head alone", OK "Content-Length: 5\r\n\r\n", "200", 60, true },
    { "half a body", OK "Content-Length: 5\r\n\r\nhe", "200", 60, true },
};

START_TEST(waits_no_longer_than_it_may)
{
    upstream_rig_init(&upstream, late_rows[_i].answer);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    testbed_pass(testbed, (late_rows[_i].seconds - 1) * NS_PER_S);
    unit_check(!testbed_is_over(testbed) && upstream_rig_open(&upstream) == 1,
            late_rows[_i].why);
    testbed_pass(testbed, 2 * NS_PER_S);
    struct weir_str got = testbed_received(testbed);
    ck_assert_msg(strncmp(got.ptr + 9, late_rows[_i].status, 3) == 0, "%s: %.*s",
            late_rows[_i].why, WEIR_STR_ARG(got));
    unit_check(testbed_is_over(testbed) == late_rows[_i].is_cut, late_rows[_i].why);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    finish(testbed);
}
END_TEST

/* Not held for longer than it takes most bodies to come. */
START_TEST(lets_a_head_go_without_its_body)
{
    upstream_rig_init(&upstream, OK CHUNKED);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert_uint_eq(testbed_received(testbed).len, 0);
    testbed_pass(testbed, 100 * NS_PER_MS);
    ck_assert(received(testbed, "200 OK"));
    memory_stream_send(&upstream.conns[0].memory, WEIR_STR("5\r\nhello\r\n0\r\n\r\n"));
    testbed_settle(testbed);
    ck_assert(received(testbed, "hello\r\n0\r\n\r\n"));
    finish(testbed);
}
END_TEST

/* The client does not read: the upstream is not read further, and its time does not run. */
START_TEST(reads_no_faster_than_the_client)
{
    static char answer[1000000];
    int head = snprintf(answer, sizeof(answer), OK "Content-Length: 900000\r\n\r\n");
    memset(answer + head, 'x', 900000);
    answer[head + 900000] = '\0';
    upstream_rig_init(&upstream, answer);
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_limit(testbed, 1000);
    testbed_send(testbed, WEIR_STR(GET));
    size_t left = buf_str(&upstream.conns[0].memory.incoming).len;
    ck_assert_uint_gt(left, 900000 - 400000);
    testbed_pass(testbed, 20 * NS_PER_S);
    ck_assert_uint_eq(buf_str(&upstream.conns[0].memory.incoming).len, left);
    for (int i = 0; i < 10; i++) {
        testbed_allow(testbed, 50000);
        testbed_pass(testbed, 20 * NS_PER_S); /* longer than timeouts.read in all */
    }
    testbed_allow(testbed, UINT64_MAX);
    ck_assert_uint_gt(testbed_received(testbed).len, 900000);
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_COMPLETE), 1);
    finish(testbed);
}
END_TEST

START_TEST(lets_go_when_the_client_leaves)
{
    upstream_rig_init(&upstream, "");
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 1);
    testbed_reset(testbed);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    finish(testbed);
}
END_TEST

/* Two targets, of which all connections fail: each is asked once a request, and after three
 * times is passed over; where all are, they are asked all the same. */
START_TEST(asks_each_target_once)
{
    static const struct testbed_settings two = {
        .config =
                "{ \"modules\": [\"proxy\"], \"upstreams\": { \"app\": { \"targets\": "
                "[\"127.0.0.1:9\", \"127.0.0.1:10\"], \"retry\": { \"on\": [\"connect\"] } } }, "
                "\"servers\": [{ \"listen\": "
                "\"127.0.0.1:1\", \"routes\": [{ \"handle\": { \"proxy\": \"app\" } }] }] }",
        .modules = modules,
        .modules_count = 1,
    };
    upstream_rig_init(&upstream, "");
    upstream.closes = true;
    struct testbed *testbed = module_testbed_new(&two);
    for (unsigned i = 1; i <= 8; i++) {
        testbed_send(testbed, WEIR_STR(GET));
        ck_assert_uint_eq(upstream.connected, i); /* what was sent is not sent again */
    }
    upstream.error = -ECONNREFUSED;
    testbed_send(testbed, WEIR_STR(GET));
    upstream.error = 0;
    upstream.answer = HELLO;
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert(received(testbed, "hello"));
    finish(testbed);
}
END_TEST

/* ---- everything that may happen ---------------------------------------------------------- */

static const struct {
    const char *request, *answer;
    size_t piece_bytes;
    bool closes;
} tortures[] = {
    { GET GET, HELLO, 0, false },
    { GET, OK CHUNKED "2\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n", 5, false },
    { "POST /a HTTP/1.1\r\nHost: h\r\n" CHUNKED "3\r\nabc\r\n0\r\n\r\n", HELLO, 0, false },
    { "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd" GET, HELLO, 0, false },
    { GET, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" OK "\r\nhello", 0, true },
    { GET, OK "Content-Length: 10\r\n\r\nhello", 0, true },
};

START_TEST(survives_every_disturbance)
{
    upstream_rig_init(&upstream, tortures[_i].answer);
    upstream.piece_bytes = tortures[_i].piece_bytes;
    upstream.closes = tortures[_i].closes;
    module_check_torture(&settings, weir_str_from(tortures[_i].request));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    log_init(-1, LOG_ERROR);
    tcase_add_loop_test(tests, passes_answers_on_however_they_are_cut, 0, MODULE_ROWS(rows));
    tcase_add_loop_test(tests, asks_for_what_was_asked, 0, MODULE_ROWS(asked_rows));
    tcase_add_test(tests, goes_no_further_than_it_may);
    tcase_add_test(tests, sends_a_body_in_chunks_as_it_comes);
    tcase_add_test(tests, keeps_a_connection_for_the_next);
    tcase_add_test(tests, keeps_none_whose_end_came_with_the_answer);
    tcase_add_test(tests, keeps_none_that_may_hold_more_than_was_read);
    tcase_add_loop_test(tests, takes_nothing_for_an_answer_that_came_before_the_question, 0, 2);
    tcase_add_test(tests, believes_how_long_an_upstream_waits);
    tcase_add_loop_test(tests, replaces_a_stale_connection_where_that_is_safe, 0,
            MODULE_ROWS(stale_rows));
    tcase_add_loop_test(tests, says_why_there_is_no_connection, 0, MODULE_ROWS(connect_rows));
    tcase_add_loop_test(tests, waits_no_longer_than_it_may, 0, MODULE_ROWS(late_rows));
    tcase_add_test(tests, lets_a_head_go_without_its_body);
    tcase_add_test(tests, reads_no_faster_than_the_client);
    tcase_add_test(tests, lets_go_when_the_client_leaves);
    tcase_add_test(tests, asks_each_target_once);
    tcase_add_loop_test(tests, survives_every_disturbance, 0, MODULE_ROWS(tortures));
}

UNIT_MAIN("modules/proxy", add_tests)
