/* SPDX-License-Identifier: MIT */
/* Checks of a target in memory: each answer whole and byte by byte. */
#include "upstream/health_check.h"

#include <errno.h>
#include <stdio.h>

#include "config/regex.h"
#include "event/loop.h"
#include "support/unit.h"
#include "support/upstream_rig.h"
#include "testkit/manual_clock.h"

#define OK     "HTTP/1.1 200 OK\r\n"
#define LONG   OK "Content-Length: 5\r\n\r\nready"
#define CHUNKS OK "Transfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"
#define HINT   "HTTP/1.1 103 Hint\r\n\r\n"
#define HINTS  HINT HINT HINT HINT

static const struct weir_status twos[] = { { 200, 299 } }, odd[] = { { 418, 418 } };

static const struct check_case {
    const char *why, *answer, *body;
    bool is_odd; /* another status is expected */
    bool closes, resets;
    int error; /* there is no connection */
    enum health_result result;
    const char *text;
} cases[] = {
    { "good", LONG, NULL, .result = HEALTH_FINE, .text = "status 200" },
    { "good without a body", "HTTP/1.1 204 No\r\n\r\n", NULL, .result = HEALTH_FINE,
            .text = "status 204" },
    { "good once the head is there", OK "Content-Length: 5\r\n\r\n", NULL,
            .result = HEALTH_FINE, .text = "status 200" },
    { "good, and endless", OK "\r\nready", NULL, .result = HEALTH_FINE, .text = "status 200" },
    { "good as it was told", "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n", NULL,
            .is_odd = true, .result = HEALTH_FINE, .text = "status 418" },
    { "another status", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", NULL,
            .result = HEALTH_STATUS, .text = "status 500, expected 2xx" },
    { "another status than the odd one", LONG, NULL, .is_odd = true, .result = HEALTH_STATUS,
            .text = "status 200, expected 418" },
    { "interim answers before", HINTS LONG, NULL, .result = HEALTH_FINE, .text = "status 200" },
    { "too many of those", HINTS HINTS HINTS HINTS HINT LONG, NULL, .result = HEALTH_BAD_ANSWER,
            .text = "more 1xx answers than anybody needs" },
    { "101", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", NULL,
            .result = HEALTH_BAD_ANSWER,
            .text = "101 that nobody asked for (RFC 9110 15.2.2)" },
    { "garbage", "220 mail.example ESMTP\r\n", NULL, .result = HEALTH_BAD_ANSWER,
            .text = "a malformed status line" },
    { "both lengths", OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", NULL,
            .result = HEALTH_BAD_ANSWER,
            .text = "Content-Length with Transfer-Encoding (RFC 9112 6.1)" },
    { "closed at once", "", NULL, .closes = true, .result = HEALTH_CLOSED,
            .text = "closed before the end of an answer" },
    { "closed within the head", OK "Content-", NULL, .closes = true, .result = HEALTH_CLOSED,
            .text = "closed before the end of an answer" },
    { "reset", "", NULL, .resets = true, .result = HEALTH_CLOSED,
            .text = "closed before the end of an answer" },
    { "silent", "", NULL, .result = HEALTH_TIMEOUT, .text = "no answer within 2 s" },
    { "silent within the head", OK "Content-", NULL, .result = HEALTH_TIMEOUT,
            .text = "no answer within 2 s" },
    { "refused", LONG, NULL, .error = -ECONNREFUSED, .result = HEALTH_REFUSED,
            .text = "connection refused" },
    { "no such socket", LONG, NULL, .error = -ENOENT, .result = HEALTH_REFUSED,
            .text = "no connection: No such file or directory" },
    { "no descriptor left", LONG, NULL, .error = -EMFILE, .result = HEALTH_EXHAUSTED,
            .text = "no memory or descriptor for a check" },

    { "the body", LONG, "ready", .result = HEALTH_FINE, .text = "status 200" },
    { "the body in chunks", CHUNKS, "ready", .result = HEALTH_FINE, .text = "status 200" },
    { "the body until the end", OK "\r\nnot yet, but now ready", "ready", .closes = true,
            .result = HEALTH_FINE, .text = "status 200" },
    { "another body", OK "Content-Length: 4\r\n\r\nread", "ready", .result = HEALTH_BODY,
            .text = "status 200, but not the body that is expected" },
    { "no body", "HTTP/1.1 204 No\r\n\r\n", "ready", .result = HEALTH_BODY,
            .text = "status 204, but not the body that is expected" },
    { "the body, but another status", "HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nready",
            "ready", .result = HEALTH_STATUS, .text = "status 500, expected 2xx" },
    { "a body without its end", OK "Content-Length: 9\r\n\r\nready", "ready",
            .result = HEALTH_TIMEOUT, .text = "no end of the answer within 2 s" },
    { "a body that is cut", OK "Content-Length: 9\r\n\r\nready", "ready", .closes = true,
            .result = HEALTH_CLOSED, .text = "closed before the end of an answer" },
    { "a bad chunk", OK "Transfer-Encoding: chunked\r\n\r\nx\r\n", "ready",
            .result = HEALTH_BAD_ANSWER, .text = "a malformed chunk (RFC 9112 7.1)" },
};

static struct manual_clock manual;
static struct loop *loop;
static struct upstream_rig upstream;
static struct health_check check;
static unsigned done;
static enum proxy_version proxy; /* what connections begin with */

static void
on_done(struct health_check *it)
{
    ck_assert_ptr_eq(it, &check);
    ck_assert_int_eq(it->state, HEALTH_CHECK_IDLE);
    done++;
}

static void
setup(void)
{
    manual_clock_init(&manual, 1000 * NS_PER_S, 0);
    ck_assert_int_eq(loop_new(&manual.clock, &loop), 0);
    done = 0;
    proxy = PROXY_NONE;
}

static void
teardown(void)
{
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    loop_free(loop);
}

static const struct health_settings *
settings_for(const struct check_case *row)
{
    static struct health_settings settings;
    settings = (struct health_settings){
        .is_on = true,
        .path = WEIR_STR("/up?x"),
        .statuses = { row != NULL && row->is_odd ? odd : twos, 1 },
        .body = row != NULL && row->body != NULL ? weir_str_from(row->body) : WEIR_STR(""),
        .timeout_ns = 2 * NS_PER_S,
        .rise = 1,
        .fall = 1,
    };
    return &settings;
}

static int
prepare(const struct health_settings *settings)
{
    static struct addr addr;
    const char *why;
    ck_assert_int_eq(addr_parse(WEIR_STR("127.0.0.1:9"), &addr, &why), 0);
    const struct health_question question = {
        .settings = settings,
        .connector = &upstream.connector,
        .addr = &addr,
        .address = WEIR_STR("127.0.0.1:9"),
        .proxy = proxy,
    };
    return health_check_init(&check, loop, &question, on_done);
}

/* Until it is done, as long as it may take. */
static void
run(unsigned turns)
{
    health_check_begin(&check);
    for (unsigned i = 0; i < turns && done == 0; i++) {
        loop_turn(loop, false);
    }
    if (done == 0) {
        manual_clock_advance_ns(&manual, 2 * NS_PER_S - 1);
        loop_turn(loop, false);
        ck_assert_uint_eq(done, 0);
        manual_clock_advance_ns(&manual, NS_PER_MS + 1);
        loop_turn(loop, false);
    }
    ck_assert_uint_eq(done, 1);
    done = 0;
}

static void
check_case(const struct check_case *row, size_t piece_bytes)
{
    char text[HEALTH_CHECK_TEXT_BYTES];
    upstream_rig_init(&upstream, row->answer);
    upstream.piece_bytes = piece_bytes;
    upstream.closes = row->closes;
    upstream.resets = row->resets;
    upstream.error = row->error;
    ck_assert_int_eq(prepare(settings_for(row)), 0);
    for (unsigned i = 0; i < 2; i++) { /* the second like the first */
        run(2000);
        size_t len = health_check_format(&check, text, sizeof(text));
        ck_assert_msg(check.result == row->result, "%s: %s", row->why, text);
        ck_assert_msg(strcmp(text, row->text) == 0, "%s: %s", row->why, text);
        ck_assert_uint_eq(len, strlen(text));
        ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    }
    health_check_fini(&check);
}

START_TEST(judges_answers)
{
    check_case(&cases[_i], 0);
    check_case(&cases[_i], 1);
}
END_TEST

START_TEST(asks_for_what_it_was_told)
{
    upstream_rig_init(&upstream, LONG);
    ck_assert_int_eq(prepare(settings_for(NULL)), 0);
    run(100);
    ck_assert_str_eq(upstream.asked,
            "GET /up?x HTTP/1.1\r\nHost: 127.0.0.1:9\r\nUser-Agent: weir (health check)\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n");
    health_check_fini(&check);

    struct health_settings named = *settings_for(NULL);
    named.host = WEIR_STR("shop.example");
    ck_assert_int_eq(prepare(&named), 0);
    run(100);
    ck_assert_ptr_nonnull(strstr(upstream.asked, "\r\nHost: shop.example\r\n"));
    health_check_fini(&check);
}
END_TEST

START_TEST(only_connects_where_nothing_is_asked_for)
{
    char text[HEALTH_CHECK_TEXT_BYTES];
    upstream_rig_init(&upstream, LONG);
    struct health_settings connects = *settings_for(NULL);
    connects.path = WEIR_STR("");
    ck_assert_int_eq(prepare(&connects), 0);
    run(100);
    ck_assert_int_eq(check.result, HEALTH_FINE);
    health_check_format(&check, text, sizeof(text));
    ck_assert_str_eq(text, "it takes connections");
    ck_assert_uint_eq(upstream.answered, 0);
    upstream.error = -ECONNREFUSED;
    run(100);
    ck_assert_int_eq(check.result, HEALTH_REFUSED);
    health_check_fini(&check);
}
END_TEST

START_TEST(speaks_for_nobody_where_connections_are_introduced)
{
    static const char local[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    proxy = PROXY_V2;
    upstream_rig_init(&upstream, "\0");
    ck_assert_int_eq(prepare(settings_for(NULL)), 0);
    health_check_begin(&check);
    loop_turn(loop, false);
    loop_turn(loop, false);
    struct weir_str sent = buf_str(&upstream.conns[0].memory.received);
    ck_assert_uint_gt(sent.len, 16);
    ck_assert_int_eq(memcmp(sent.ptr, local, 16), 0);
    ck_assert_int_eq(memcmp(sent.ptr + 16, "GET /up?x HTTP/1.1\r\n", 20), 0);
    health_check_fini(&check);
}
END_TEST

START_TEST(looks_at_the_beginning_of_a_large_body)
{
    static char answer[HEALTH_BODY_BYTES_MAX + 100];
    struct health_settings wants = *settings_for(NULL);
    wants.body = WEIR_STR("ready");
    size_t head = (size_t)snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\n\r\n");
    memset(answer + head, 'x', sizeof(answer) - head - 1);
    memcpy(answer + head + HEALTH_BODY_BYTES_MAX - 5, "ready", 5);
    upstream_rig_init(&upstream, answer); /* which does not end */
    ck_assert_int_eq(prepare(&wants), 0);
    run(1000);
    ck_assert_int_eq(check.result, HEALTH_FINE);
    memset(answer + head + HEALTH_BODY_BYTES_MAX - 5, 'x', 5);
    memcpy(answer + head + HEALTH_BODY_BYTES_MAX - 4, "ready", 5); /* a byte too late */
    run(1000);
    ck_assert_int_eq(check.result, HEALTH_BODY);
    health_check_fini(&check);
}
END_TEST

START_TEST(reads_only_so_much)
{
    /* Heads of interim answers, each of which is small enough. */
    static char answer[HEALTH_TOTAL_BYTES_MAX + 70000];
    char text[HEALTH_CHECK_TEXT_BYTES];
    size_t len = 0;
    while (len + 30100 < sizeof(answer)) {
        len += (size_t)snprintf(answer + len, sizeof(answer) - len,
                "HTTP/1.1 103 Hint\r\nLink: %030000d\r\n\r\n", 0);
    }
    upstream_rig_init(&upstream, answer);
    upstream.piece_bytes = 4000;
    ck_assert_int_eq(prepare(settings_for(NULL)), 0);
    run(1000);
    ck_assert_int_eq(check.result, HEALTH_TOO_LARGE);
    health_check_format(&check, text, sizeof(text));
    ck_assert_str_eq(text, "more than 256 KiB, and no end");
    health_check_fini(&check);
}
END_TEST

START_TEST(matches_a_regular_expression)
{
    struct arena arena;
    struct regex_mistake mistake;
    struct health_settings wants = *settings_for(NULL);
    arena_init(&arena, NULL, 0, 1 << 20);
    ck_assert_int_eq(regex_compile(&arena, WEIR_STR("^re[a-z]+$"), &wants.body_regex, &mistake),
            0);
    upstream_rig_init(&upstream, LONG);
    ck_assert_int_eq(prepare(&wants), 0);
    run(100);
    ck_assert_int_eq(check.result, HEALTH_FINE);
    upstream.answer = OK "Content-Length: 5\r\n\r\nREADY";
    run(100);
    ck_assert_int_eq(check.result, HEALTH_BODY);
    health_check_fini(&check);
    arena_reset(&arena);
}
END_TEST

START_TEST(stops_without_a_word)
{
    upstream_rig_init(&upstream, "");
    ck_assert_int_eq(prepare(settings_for(NULL)), 0);
    health_check_stop(&check);
    for (unsigned turns = 0; turns < 5; turns++) {
        health_check_begin(&check);
        for (unsigned i = 0; i < turns; i++) {
            loop_turn(loop, false);
        }
        health_check_stop(&check);
        ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    }
    manual_clock_advance_ns(&manual, 10 * NS_PER_S);
    loop_turn(loop, false);
    ck_assert_uint_eq(done, 0);
    health_check_fini(&check);
}
END_TEST

/* Its own lack says nothing of the target. */
static void
check_without_memory(void)
{
    struct health_settings wants = *settings_for(NULL);
    wants.body = WEIR_STR("ready");
    upstream_rig_init(&upstream, CHUNKS);
    done = 0;
    int r = prepare(&wants);
    if (r == 0) {
        health_check_begin(&check);
        for (unsigned i = 0; i < 100 && done == 0; i++) {
            loop_turn(loop, false);
        }
        ck_assert_uint_eq(done, 1);
        ck_assert(check.result == HEALTH_FINE ||
                (failalloc_has_failed() && check.result == HEALTH_EXHAUSTED));
    } else {
        ck_assert_int_eq(r, -ENOMEM);
    }
    health_check_fini(&check);
}

START_TEST(says_nothing_of_a_target_without_memory)
{
    UNIT_EACH_ALLOCATION_FAILS(check_without_memory());
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, judges_answers, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, asks_for_what_it_was_told);
    tcase_add_test(tests, only_connects_where_nothing_is_asked_for);
    tcase_add_test(tests, speaks_for_nobody_where_connections_are_introduced);
    tcase_add_test(tests, looks_at_the_beginning_of_a_large_body);
    tcase_add_test(tests, reads_only_so_much);
    tcase_add_test(tests, matches_a_regular_expression);
    tcase_add_test(tests, stops_without_a_word);
    tcase_add_test(tests, says_nothing_of_a_target_without_memory);
}

UNIT_MAIN("health_check", add_tests)
