/* SPDX-License-Identifier: MIT */
/* What is sent to another target, and what is not (F143): two targets in memory, of which the
 * first that is asked does something wrong. */
#include <errno.h>
#include <stdio.h>

#include <weir/module.h>

#include "base/clock.h"
#include "observe/log.h"
#include "support/module_rig.h"
#include "support/unit.h"
#include "support/upstream_rig.h"

static const struct weir_module *const modules[] = { &weir_module_v1 };

static struct upstream_rig upstream;

#define CONFIG(retry)                                                                         \
    "{ \"modules\": [\"proxy\"], \"upstreams\": { \"app\": { \"targets\": [\"127.0.0.1:9\", " \
    "\"127.0.0.1:10\"], \"retry\": " retry                                                    \
    " } }, \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"routes\": [{ \"handle\": { "        \
    "\"proxy\": { \"to\": \"app\", \"forwarded\": \"none\" } } }] }] }"

#define ALL                                                                                      \
    CONFIG("{ \"on\": [\"connect\", \"timeout\", \"closed\", \"bad_answer\", \"429\", \"500\", " \
           "\"502\", \"503\", \"504\"] }")

static struct testbed_settings settings = { .modules = modules, .modules_count = 1 };

#define GET     "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
#define PUT     "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
#define CHUNKED "PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
#define OK      "HTTP/1.1 200 OK\r\n"
#define HELLO   OK "Content-Length: 5\r\n\r\nhello"
#define BUSY    "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
#define HINT    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
#define NOTHING ""

static const char *first_answer;
static bool first_closes;

/* The first request has the first answer, all others a good one. */
static void
answer_by_turn(struct upstream_rig *rig)
{
    bool is_first = rig->answered == 1;
    rig->answer = is_first ? first_answer : HELLO;
    rig->closes = is_first && first_closes;
}

static struct testbed *
begin(const char *config, const char *first, bool closes)
{
    settings.config = config;
    first_answer = first;
    first_closes = closes;
    upstream_rig_init(&upstream, HELLO);
    upstream.on_request = answer_by_turn;
    return module_testbed_new(&settings);
}

static void
finish(struct testbed *testbed)
{
    ck_assert(testbed_free(testbed));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}

static const struct row {
    const char *why, *config, *request, *first;
    bool closes;
    unsigned asked;     /* how many targets */
    const char *status; /* of the answer; "": 200 or, when its head had not left, 502 */
    unsigned kept;      /* connections, in the end */
} rows[] = {
    { "closed", ALL, GET, NOTHING, true, 2, "200", 1 },
    { "closed in the head", ALL, GET, OK "X: y", true, 2, "200", 1 },
    { "closed in the body", ALL, GET, OK "Content-Length: 5\r\n\r\nhe", true, 1, "", 0 },
    { "no HTTP", ALL, GET, "what?\r\n", true, 2, "200", 1 },
    { "503", ALL, GET, BUSY, false, 2, "200", 2 },
    { "503 and closed", ALL, GET, BUSY, true, 2, "200", 1 },
    { "503, whose body is yet to come", ALL, GET,
            "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\n", false, 2, "200", 1 },
    { "503 in bad chunks", ALL, GET,
            "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, 2, "200",
            1 },
    { "503 and more", ALL, GET, BUSY BUSY, false, 2, "200", 1 },
    { "404", ALL, GET, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", false, 1, "404", 1 },
    { "a hint, and nothing more", ALL, GET, HINT, true, 1, "103", 0 },
    { "POST, closed", ALL, POST, NOTHING, true, 1, "502", 0 },
    { "POST, 503", ALL, POST, BUSY, false, 1, "503", 1 },
    { "PUT, closed", ALL, PUT, NOTHING, true, 2, "200", 1 },
    { "PUT in chunks, 503", ALL, CHUNKED "2\r\nhi\r\n0\r\nX: y\r\n\r\n", BUSY, false, 2, "200",
            2 },
    { "HEAD, 503", ALL, "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\n", false, 2, "200", 1 },
    { "the preset: closed", CONFIG("null"), GET, NOTHING, true, 2, "200", 1 },
    { "the preset: not 503", CONFIG("null"), GET, BUSY, false, 1, "503", 1 },
    { "none at all", CONFIG("{ \"times\": 0 }"), GET, NOTHING, true, 1, "502", 0 },
    { "503 alone", CONFIG("{ \"on\": [\"503\"] }"), GET, NOTHING, true, 1, "502", 0 },
};

START_TEST(asks_another_target_where_that_is_safe)
{
    const struct row *row = &rows[_i];
    const size_t pieces[] = { 0, 1 };
    for (size_t i = 0; i < 2; i++) {
        struct testbed *testbed = begin(row->config, row->first, row->closes);
        upstream.piece_bytes = pieces[i];
        testbed_send(testbed, weir_str_from(row->request));
        for (size_t turns = 0; turns < 200; turns++) {
            testbed_turn(testbed);
        }
        testbed_pass(testbed, NS_PER_S);
        struct weir_str got = testbed_received(testbed);
        ck_assert_msg(got.len > 12 &&
                        strncmp(got.ptr + 9, row->status, strlen(row->status)) == 0,
                "%s: %.*s", row->why, WEIR_STR_ARG(got));
        ck_assert_msg(upstream.answered == row->asked, "%s: %u", row->why, upstream.answered);
        unit_check(row->asked == 1 || upstream.ports[0] != upstream.ports[1], row->why);
        if (strncmp(row->request, "PUT", 3) == 0) {
            unit_check(strstr(upstream.asked, "hi") != NULL, row->why);
        }
        if (pieces[i] == 0) { /* cut in pieces, an answer that is passed over has not come */
            unit_check(upstream_rig_open(&upstream) == row->kept, row->why);
        }
        finish(testbed);
    }
}
END_TEST

START_TEST(asks_another_when_one_takes_too_long)
{
    struct testbed *testbed = begin(ALL, OK "X: y", false);
    testbed_send(testbed, WEIR_STR(GET));
    testbed_pass(testbed, 59 * NS_PER_S);
    ck_assert_uint_eq(testbed_received(testbed).len, 0);
    testbed_pass(testbed, 2 * NS_PER_S);
    ck_assert(unit_has(testbed_received(testbed), "hello"));
    ck_assert_uint_eq(upstream.answered, 2);
    finish(testbed);
}
END_TEST

/* Both are busy: what the second said is the answer. */
START_TEST(passes_on_what_the_last_said)
{
    struct testbed *testbed = begin(ALL, BUSY, false);
    upstream.on_request = NULL;
    upstream.answer = BUSY;
    testbed_send(testbed, WEIR_STR(GET));
    ck_assert(unit_has(testbed_received(testbed), "busy"));
    ck_assert_uint_eq(upstream.answered, 2);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 2);
    finish(testbed);
}
END_TEST

/* A body that is too large to be kept, and one that just is not. */
START_TEST(sends_a_body_again_only_whole)
{
    static char request[200000];
    const size_t sizes[] = { 65536, 65537 };
    for (size_t i = 0; i < 2; i++) {
        int head = snprintf(request, sizeof(request),
                "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", sizes[i]);
        memset(request + head, 'x', sizes[i]);
        struct testbed *testbed = begin(ALL, NOTHING, true);
        testbed_send(testbed, weir_str_make(request, (size_t)head + sizes[i]));
        ck_assert_uint_eq(upstream.answered, i == 0 ? 2 : 1);
        ck_assert(unit_has(testbed_received(testbed), i == 0 ? "hello" : "502"));
        finish(testbed);
    }
}
END_TEST

/* A connection was kept, and its end is found when nothing has left yet. */
START_TEST(sends_anything_again_of_which_nothing_left)
{
    struct testbed *testbed = begin(ALL, HELLO, false);
    testbed_send(testbed, WEIR_STR(POST));
    testbed_send(testbed, WEIR_STR(POST));
    ck_assert_uint_eq(upstream.connected, 2);   /* one to each */
    upstream.conns[0].memory.allowed_bytes = 0; /* takes nothing for now */
    size_t before = testbed_received(testbed).len;
    testbed_send(testbed, WEIR_STR(POST));
    ck_assert_uint_eq(testbed_received(testbed).len, before);
    memory_stream_reset(&upstream.conns[0].memory);
    testbed_settle(testbed);
    ck_assert(unit_has(weir_str_make(testbed_received(testbed).ptr + before,
                               testbed_received(testbed).len - before),
            "hello"));
    ck_assert_uint_eq(upstream.answered, 3);
    finish(testbed);
}
END_TEST

/* A group that is down: the share, and what the floor allows. */
START_TEST(does_not_double_the_load_of_a_group_that_is_down)
{
    struct testbed *testbed =
            begin(CONFIG("{ \"on\": [\"503\"], \"budget\": 20, \"floor\": \"2/s\" }"), BUSY,
                    false);
    upstream.on_request = NULL;
    upstream.answer = BUSY;
    for (int i = 0; i < 100; i++) {
        testbed_send(testbed, WEIR_STR(GET));
    }
    ck_assert_uint_ge(upstream.answered, 120);
    ck_assert_uint_le(upstream.answered, 122);
    finish(testbed);
}
END_TEST

START_TEST(survives_every_disturbance)
{
    static const char *const requests[] = { GET, PUT,
        CHUNKED "3\r\nabc\r\n0\r\nX: y\r\n\r\n" GET };
    upstream_rig_init(&upstream, BUSY);
    settings.config = ALL;
    module_check_torture(&settings, weir_str_from(requests[_i]));
    upstream_rig_init(&upstream, NOTHING);
    upstream.closes = true;
    module_check_torture(&settings, weir_str_from(requests[_i]));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    log_init(-1, LOG_ERROR);
    tcase_add_loop_test(tests, asks_another_target_where_that_is_safe, 0, MODULE_ROWS(rows));
    tcase_add_test(tests, asks_another_when_one_takes_too_long);
    tcase_add_test(tests, passes_on_what_the_last_said);
    tcase_add_test(tests, sends_a_body_again_only_whole);
    tcase_add_test(tests, sends_anything_again_of_which_nothing_left);
    tcase_add_test(tests, does_not_double_the_load_of_a_group_that_is_down);
    tcase_add_loop_test(tests, survives_every_disturbance, 0, 3);
}

UNIT_MAIN("modules/proxy_retry", add_tests)
