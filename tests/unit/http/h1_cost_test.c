/* SPDX-License-Identifier: MIT */
/* What answers cost: reads, writes, allocations; and that whichever allocation fails, a client
 * sees a whole answer, or that it is none. */
#include <weir/reply.h>
#include <weir/request.h>

#include "http/h1.h"
#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define GET "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))
#define ROWS(cases)        (int)(sizeof(cases) / sizeof((cases)[0]))

static struct rig *
new_rig(void)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    return &rig;
}

/* ---- large heads, many answers ----------------------------------------------------------- */

static enum weir_verdict
answer_many_fields(struct weir_request *request, const void *conf)
{
    (void)conf;
    static char value[2000];
    memset(value, 'v', sizeof(value));
    if (weir_reply_begin(request, 200) < 0) {
        return WEIR_FAILED;
    }
    for (int i = 0; i < 100; i++) {
        if (weir_reply_add(request, WEIR_STR("X-Large"), weir_str_make(value, sizeof(value))) <
                0) {
            return WEIR_FAILED;
        }
    }
    return weir_reply_write(request, WEIR_STR("end")) == 3 ? WEIR_DONE : WEIR_FAILED;
}

static const struct weir_hook many_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = answer_many_fields } };
static const struct weir_handler many_fields = { .name = "many",
    .hooks = WEIR_HOOKS(many_hooks) };

START_TEST(sends_heads_larger_than_its_buffer)
{
    struct rig rig;
    rig_init(&rig, &many_fields, 1);
    rig_connect(&rig);
    rig.stream.allowed_bytes = 1000;
    SEND(&rig, GET GET GET);
    for (int i = 0; i < 100; i++) {
        memory_stream_allow(&rig.stream, 10000);
        rig_settle(&rig);
    }
    struct weir_str rest = rig_received(&rig);
    struct rig_answer answer;
    for (int i = 0; i < 3; i++) {
        ck_assert(rig_next_answer(&rest, false, &answer) && answer.is_complete);
        ck_assert_uint_gt(answer.head.len, 200000);
        ck_assert(weir_str_eq(answer.body, WEIR_STR("end")));
    }
    ck_assert_uint_eq(rest.len, 0);
    rig_fini(&rig);
}
END_TEST

/* ---- cost -------------------------------------------------------------------------------- */

static enum weir_verdict
answer_statically(struct weir_request *request, const void *conf)
{
    (void)conf;
    bool is_ok = weir_reply_begin(request, 200) == 0 &&
            weir_reply_add(request, WEIR_STR("Content-Type"), WEIR_STR("text/plain")) == 0 &&
            weir_reply_static(request, WEIR_STR("hello")) == 0 && weir_reply_end(request) == 0;
    return is_ok ? WEIR_DONE : WEIR_FAILED;
}

static enum weir_verdict
look(struct weir_request *request, const void *conf)
{
    (void)conf;
    (void)weir_reply_status(request);
    return WEIR_NEXT;
}

static const struct weir_hook static_hooks[] = {
    { .on = WEIR_ON_HEAD, .request = look },
    { .on = WEIR_ON_ACCESS, .request = look },
    { .on = WEIR_ON_CONTENT, .request = answer_statically },
    { .on = WEIR_ON_REPLY_HEAD, .request = look },
    { .on = WEIR_ON_LOG, .request = look },
};
static const struct weir_handler static_handler = { .name = "static",
    .hooks = WEIR_HOOKS(static_hooks) };

START_TEST(answers_a_small_request_with_one_read_one_write_and_no_allocation)
{
    static struct rig its_rig;
    struct rig *rig = &its_rig;
    rig_init(rig, &static_handler, 1);
    rig_connect(rig);
    for (int i = 0; i < 3; i++) {
        SEND(rig, GET); /* the first ones fill the spares */
    }
    unsigned reads = rig->stream.reads, writes = rig->stream.writes;
    uint64_t begun = rig->engine.figures.requests_begun;
    memory_stream_send(&rig->stream, WEIR_STR(GET));
    memory_stream_reserve(&rig->stream, 4096);
    uint64_t allocations = failalloc_count();
    loop_turn(rig->loop, false);
    ck_assert_uint_eq(failalloc_count() - allocations, 0);
    ck_assert_uint_eq(rig->engine.figures.requests_begun - begun, 1);
    ck_assert_uint_eq(rig->stream.reads - reads, 1);
    ck_assert_uint_eq(rig->stream.writes - writes, 1);
    rig_fini(rig);
}
END_TEST

START_TEST(writes_once_for_sixteen_pipelined_requests)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    unsigned writes = rig->stream.writes;
    SEND(rig, GET GET GET GET GET GET GET GET GET GET GET GET GET GET GET GET);
    ck_assert_uint_eq(rig->stream.writes - writes, 1);
    ck_assert_uint_eq(rig->ended[REQUEST_END_COMPLETE], 16);
    rig_fini(rig);
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------ */

static const char *const exchanges[] = {
    GET GET GET,
    "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" GET,
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\nhello\r\n0\r\nX: y\r\n\r\n" GET,
    "POST /ignore HTTP/1.1\r\nHost: A.example.\r\nContent-Length: 5\r\n\r\nhello" GET,
    "GET / HTTP/1.1\r\n\r\nrest",
    "GET /chunks/100 HTTP/1.0\r\n\r\n",
    "GET /trailer HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n" GET,
    "GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\n\r\n" GET,
    "GET /%2e%2fhello?x HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n",
    "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
};

/* One exchange with a slow reader, its `nth` allocation failing. False when the connection
 * could not be made. */
static bool
exchange_slowly(struct rig *rig, const char *bytes, uint64_t nth)
{
    failalloc_fail_nth(0);
    memory_stream_init(&rig->stream, rig->loop, h1_conn_on_event, NULL);
    memory_stream_reserve(&rig->stream, 4 << 20);
    failalloc_fail_nth(nth);
    struct addr peer;
    ck_assert_int_eq(addr_parse(WEIR_STR("192.0.2.1:4000"), &peer, NULL), 0);
    struct h1_conn *conn = h1_conn_new(&rig->engine, &rig->settings, &peer);
    if (conn == NULL) {
        return false;
    }
    rig->closed = H1_OPEN;
    rig->stream.stream.owner = conn;
    rig->has_stream = true;
    rig->stream.allowed_bytes = 60;
    h1_conn_start(conn, &rig->stream.stream);
    struct weir_str all = weir_str_from(bytes);
    for (size_t at = 0; at < all.len; at += 40) {
        rig_send(rig, weir_str_make(all.ptr + at, all.len - at < 40 ? all.len - at : 40));
    }
    memory_stream_allow(&rig->stream, UINT64_MAX);
    rig_settle(rig);
    return true;
}

/* Whichever allocation fails: an answer or a closed connection, what was sent is well-formed,
 * nothing is lost (rig_fini() and the leak checker look), and the next connection is served. */
START_TEST(survives_each_allocation_that_fails)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    UNIT_EACH_ALLOCATION_FAILS({
        if (rig->has_stream && !rig->stream.is_closed) {
            memory_stream_reset(&rig->stream);
            rig_settle(rig);
        }
        memory_stream_fini(&rig->stream);
        rig->has_stream = false;
        bool is_served = exchange_slowly(rig, exchanges[_i], unit_nth);
        struct weir_str rest = is_served ? rig_received(rig) : weir_str_make("", 0);
        while (rest.len > 0) {
            struct rig_answer answer;
            bool is_head = rig_next_answer(&rest, false, &answer);
            bool is_closed = rig->stream.is_closed || rig->stream.is_shut_down;
            ck_assert_msg(is_head || is_closed, "%.*s", WEIR_STR_ARG(rest));
            if (!is_head || !answer.is_complete) {
                ck_assert(is_closed);
                break;
            }
        }
        ck_assert(!is_served || rig->stream.is_closed || rig->stream.is_shut_down ||
                rig_received(rig).len > 0);
    });
    if (rig->has_stream && !rig->stream.is_closed) {
        memory_stream_reset(&rig->stream);
        rig_settle(rig);
    }
    rig_connect(rig);
    SEND(rig, GET);
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer) && answer.is_complete);
    rig_fini(rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, sends_heads_larger_than_its_buffer);
    tcase_add_test(tests, answers_a_small_request_with_one_read_one_write_and_no_allocation);
    tcase_add_test(tests, writes_once_for_sixteen_pipelined_requests);
    tcase_add_loop_test(tests, survives_each_allocation_that_fails, 0, ROWS(exchanges));
}

UNIT_MAIN("http/h1_cost", add_tests)
