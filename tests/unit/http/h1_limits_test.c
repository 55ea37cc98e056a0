/* SPDX-License-Identifier: MIT */
/* What a slow, silent or absent client may cost: time limits on a hand-wound clock, and how
 * connections end when the server stops. Seconds are nominal: the wheel adds up to one.
 * (h1_sizes_test.c: what a greedy one may.) */
#include <errno.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "base/buf.h"
#include "http/h1.h"
#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define CRLF "\r\n"
#define GET  "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"

#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))

/* How late a coarse deadline may be, and the step of rig_pass(). */
#define LATE_S 1.2

static unsigned
statuses(const struct rig *rig, unsigned *out, unsigned max)
{
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer;
    unsigned count = 0;
    while (rest.len > 0 && count < max) {
        ck_assert_msg(rig_next_answer(&rest, false, &answer) && answer.is_complete,
                "malformed: %.*s", WEIR_STR_ARG(rig_received(rig)));
        out[count++] = answer.status;
    }
    return count;
}

static unsigned
only_status(const struct rig *rig)
{
    unsigned status[8];
    unsigned count = statuses(rig, status, 8);
    ck_assert_msg(count == 1, "%u answers: %.*s", count, WEIR_STR_ARG(rig_received(rig)));
    return status[0];
}

static bool
is_over(const struct rig *rig)
{
    return rig->stream.is_closed || rig->stream.is_shut_down;
}

static struct rig *
new_rig(void)
{
    static struct rig rig;
    rig_init(&rig, NULL, 0);
    return &rig;
}

/* ---- the head ---------------------------------------------------------------------------- */

START_TEST(cuts_a_head_that_drips_at_the_deadline)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, "GET /hello HTTP/1.1\r\nX: ");
    for (int second = 0; second < 9; second++) {
        SEND(rig, "a");
        rig_pass(rig, 1);
    }
    ck_assert(!is_over(rig));
    rig_pass(rig, 1 + LATE_S);
    ck_assert_uint_eq(only_status(rig), 408);
    ck_assert(is_over(rig));
    rig_pass(rig, 4);
    ck_assert(rig->stream.is_closed && !rig->stream.was_reset);
    ck_assert_int_eq(rig->closed, H1_CLOSE_SLOW_HEAD);
    rig_fini(rig);
}
END_TEST

START_TEST(cuts_endless_empty_lines_at_the_deadline)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    for (int second = 0; second < 13; second++) {
        SEND(rig, CRLF);
        rig_pass(rig, 1);
    }
    ck_assert(is_over(rig));
    ck_assert_uint_eq(only_status(rig), 408);
    rig_fini(rig);
}
END_TEST

START_TEST(closes_a_connection_that_never_says_anything)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    rig_pass(rig, 9.5);
    ck_assert(!is_over(rig));
    rig_pass(rig, 0.5 + LATE_S);
    ck_assert(rig->stream.is_closed);
    ck_assert_uint_eq(rig_received(rig).len, 0);
    rig_fini(rig);
}
END_TEST

START_TEST(gives_a_later_head_the_same_deadline)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, GET);
    rig_pass(rig, 20);
    SEND(rig, "GET ");
    rig_pass(rig, 9);
    ck_assert(!is_over(rig));
    rig_pass(rig, 1 + LATE_S);
    unsigned status[4];
    ck_assert_uint_eq(statuses(rig, status, 4), 2);
    ck_assert_uint_eq(status[1], 408);
    rig_fini(rig);
}
END_TEST

/* ---- idle -------------------------------------------------------------------------------- */

START_TEST(closes_an_idle_connection_at_its_time_and_no_earlier)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, GET);
    rig_pass(rig, 74);
    ck_assert(!is_over(rig));
    rig_pass(rig, 1 + LATE_S);
    ck_assert(rig->stream.is_closed && !rig->stream.was_reset);
    ck_assert_int_eq(rig->closed, H1_CLOSE_IDLE);
    ck_assert_uint_eq(only_status(rig), 200);
    rig_fini(rig);
}
END_TEST

START_TEST(counts_idleness_from_the_last_byte_that_was_taken)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    rig->stream.allowed_bytes = 1000;
    SEND(rig, "GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 10; i++) { /* 200 s of reading slowly: longer than timeouts.keepalive */
        rig_pass(rig, 20);
        memory_stream_allow(&rig->stream, 1000);
        rig_settle(rig);
    }
    ck_assert(!is_over(rig));
    memory_stream_allow(&rig->stream, UINT64_MAX);
    rig_settle(rig);
    ck_assert_uint_eq(only_status(rig), 200);
    rig_pass(rig, 70);
    ck_assert(!is_over(rig));
    SEND(rig, GET);
    rig_pass(rig, 70);
    ck_assert(!is_over(rig));
    rig_pass(rig, 5 + LATE_S);
    ck_assert(is_over(rig));
    ck_assert_int_eq(rig->closed, H1_CLOSE_IDLE);
    rig_fini(rig);
}
END_TEST

/* ---- the body ---------------------------------------------------------------------------- */

START_TEST(answers_408_when_the_body_pauses_too_long)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, POST "some");
    rig_pass(rig, 29);
    ck_assert(!is_over(rig));
    SEND(rig, "more");
    rig_pass(rig, 29);
    ck_assert(!is_over(rig));
    rig_pass(rig, 1 + LATE_S);
    ck_assert_uint_eq(only_status(rig), 408);
    ck_assert(is_over(rig));
    rig_pass(rig, 4);
    ck_assert_int_eq(rig->closed, H1_CLOSE_SLOW_BODY);
    ck_assert_uint_eq(rig->ended[REQUEST_END_COMPLETE], 1);
    rig_fini(rig);
}
END_TEST

START_TEST(answers_408_when_the_body_is_slower_than_the_least_rate)
{
    struct rig *rig = new_rig();
    rig->settings.limits.body_rate_bytes_per_s = 10;
    rig_connect(rig);
    SEND(rig, POST);
    int second = 0;
    for (; second < 100 && !is_over(rig); second++) {
        SEND(rig, "a");
        rig_pass(rig, 1);
    }
    ck_assert_int_gt(second, 4);
    ck_assert_int_lt(second, 9);
    ck_assert_uint_eq(only_status(rig), 408);
    rig_fini(rig);
}
END_TEST

START_TEST(leaves_a_steady_upload_alone)
{
    struct rig *rig = new_rig();
    rig->settings.limits.body_rate_bytes_per_s = 10;
    rig->settings.limits.body_bytes = HTTP_UNLIMITED;
    rig_connect(rig);
    SEND(rig, POST);
    for (int second = 0; second < 90; second++) {
        SEND(rig, "0123456789a");
        rig_pass(rig, 1);
        ck_assert(!is_over(rig));
    }
    SEND(rig, "0123456789");
    ck_assert_uint_eq(only_status(rig), 200);
    rig_fini(rig);
}
END_TEST

/* Waits for 20 s for something of its own, then reads. */
static struct {
    struct course_wait wait;
    struct weir_request *request;
} late;

static void
abandon_late(struct course_wait *wait)
{
    (void)wait;
    late.request = NULL;
}

static enum weir_verdict
read_all(struct weir_request *request, const void *conf)
{
    (void)conf;
    char bytes[512];
    ssize_t n;
    while ((n = weir_body_read(request, bytes, sizeof(bytes))) > 0) {
    }
    if (n == -EAGAIN) {
        return weir_body_wait(request, read_all);
    }
    return n < 0 ? WEIR_FAILED
                 : weir_reply_text(request, 200, WEIR_STR("text/plain"), WEIR_STR("read"));
}

static enum weir_verdict
wait_first(struct weir_request *request, const void *conf)
{
    (void)conf;
    late.request = request;
    late.wait.abandon = abandon_late;
    return course_wait_for(request, &late.wait, read_all);
}

static const struct weir_hook late_hooks[] = { { .on = WEIR_ON_CONTENT,
        .request = wait_first } };
static const struct weir_handler late_handler = { .name = "late",
    .hooks = WEIR_HOOKS(late_hooks) };

START_TEST(holds_its_own_slowness_against_nobody)
{
    struct rig rig;
    rig_init(&rig, &late_handler, 1);
    rig.settings.limits.body_rate_bytes_per_s = 100;
    rig_connect(&rig);
    SEND(&rig, POST "a");
    rig_pass(&rig, 40);
    ck_assert(!is_over(&rig));
    course_ripen(&late.wait);
    rig_settle(&rig);
    rig_pass(&rig, 3);
    ck_assert_msg(!is_over(&rig), "%.*s", WEIR_STR_ARG(rig_received(&rig)));
    rig_pass(&rig, 2 + LATE_S);
    ck_assert_uint_eq(only_status(&rig), 408);
    rig_fini(&rig);
}
END_TEST

START_TEST(bounds_the_time_of_a_body_that_nobody_wants)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, "POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    ck_assert_uint_eq(only_status(rig), 200);
    int second = 0;
    for (; second < 200 && !is_over(rig); second++) {
        SEND(rig, "a");
        rig_pass(rig, 1);
    }
    ck_assert_int_lt(second, 35);
    rig_fini(rig);
}
END_TEST

/* A client that reads nothing of a streamed echo, whose own body is complete, was not slow to
 * send. */
START_TEST(takes_a_slow_reader_for_no_slow_sender)
{
    struct rig *rig = new_rig();
    rig->settings.timeouts.body_ns = 10 * NS_PER_S;
    rig_connect(rig);
    rig->stream.allowed_bytes = 10;
    SEND(rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234");
    SEND(rig, "56789");
    rig_pass(rig, 20);
    ck_assert(!is_over(rig));
    memory_stream_allow(&rig->stream, UINT64_MAX);
    rig_settle(rig);
    ck_assert_uint_eq(only_status(rig), 200);
    ck_assert(!is_over(rig));
    rig_fini(rig);
}
END_TEST

/* ---- the answer -------------------------------------------------------------------------- */

START_TEST(closes_on_a_reader_that_reads_nothing)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    rig->stream.allowed_bytes = 100;
    SEND(rig, "GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    rig_pass(rig, 29);
    ck_assert(!is_over(rig));
    memory_stream_allow(&rig->stream, 1);
    rig_settle(rig);
    rig_pass(rig, 29);
    ck_assert(!is_over(rig));
    rig_pass(rig, 1 + LATE_S);
    ck_assert(rig->stream.is_closed && rig->stream.was_reset);
    ck_assert_int_eq(rig->closed, H1_CLOSE_SLOW_READER);
    ck_assert_uint_eq(rig->ended[REQUEST_END_CLIENT_SLOW], 1);
    rig_fini(rig);
}
END_TEST

START_TEST(answers_504_to_a_request_that_takes_too_long)
{
    struct rig rig;
    rig_init(&rig, &late_handler, 1);
    rig.settings.timeouts.request_ns = 20 * NS_PER_S;
    rig_connect(&rig);
    SEND(&rig, GET);
    rig_pass(&rig, 19);
    ck_assert(!is_over(&rig));
    rig_pass(&rig, 1 + LATE_S);
    ck_assert_uint_eq(only_status(&rig), 504);
    rig_fini(&rig);
}
END_TEST

START_TEST(ends_an_answer_that_is_read_for_longer_than_the_request_may_take)
{
    struct rig *rig = new_rig();
    rig->settings.timeouts.request_ns = 20 * NS_PER_S;
    rig_connect(rig);
    rig->stream.allowed_bytes = 100;
    SEND(rig, "GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    int second = 0;
    for (; second < 100 && !is_over(rig); second++) {
        memory_stream_allow(&rig->stream, 100);
        rig_pass(rig, 1);
    }
    ck_assert_int_gt(second, 18);
    ck_assert_int_lt(second, 23);
    ck_assert_int_eq(rig->closed, H1_CLOSE_SLOW_REQUEST);
    rig_fini(rig);
}
END_TEST

START_TEST(waits_for_a_slow_reader_before_it_answers_more)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    rig->stream.allowed_bytes = 100;
    struct buf many;
    buf_init(&many, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(buf_append(&many,
                                 WEIR_STR("GET /bytes/10000 HTTP/1.1\r\nHost: a\r\n\r\n")),
                0);
    }
    rig_send(rig, buf_str(&many));
    const struct engine_figures *figures = &rig->engine.figures;
    ck_assert_uint_le(figures->requests_begun - figures->requests_ended, 40);
    memory_stream_allow(&rig->stream, UINT64_MAX);
    rig_settle(rig);
    for (int i = 0; i < 200; i++) {
        rig_settle(rig);
    }
    ck_assert_uint_eq(rig->ended[REQUEST_END_COMPLETE], 1000);
    buf_fini(&many);
    rig_fini(rig);
}
END_TEST

START_TEST(lingers_for_two_seconds_whatever_is_sent)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, "GET / HTTP/1.1\r\n\r\n");
    ck_assert(rig->stream.is_shut_down && !rig->stream.is_closed);
    int tenths = 0;
    for (; tenths < 100 && !rig->stream.is_closed; tenths++) {
        SEND(rig, "0123456789");
        rig_pass(rig, 0.1);
    }
    ck_assert_int_ge(tenths, 19);
    ck_assert_int_lt(tenths, 35);
    ck_assert(!rig->stream.was_reset);
    rig_fini(rig);
}
END_TEST

/* ---- stopping ---------------------------------------------------------------------------- */

START_TEST(closes_idle_connections_when_it_stops)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, GET);
    engine_stop(&rig->engine, false);
    rig_settle(rig);
    ck_assert(is_over(rig));
    ck_assert_int_eq(rig->closed, H1_CLOSE_STOPPED);
    ck_assert(!rig->stream.was_reset);
    rig_fini(rig);
}
END_TEST

START_TEST(answers_what_had_arrived_when_it_stops)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    if (_i == 1) {
        SEND(rig, GET);
    }
    memory_stream_send(&rig->stream, WEIR_STR(GET)); /* its event is yet to come */
    engine_stop(&rig->engine, false);
    rig_settle(rig);
    unsigned status[4];
    unsigned count = statuses(rig, status, 4);
    ck_assert_uint_eq(count, _i == 1 ? 2 : 1);
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer = { 0 };
    while (rest.len > 0 && rig_next_answer(&rest, false, &answer)) {
    }
    ck_assert(answer.says_close);
    ck_assert(is_over(rig) && !rig->stream.was_reset);
    rig_fini(rig);
}
END_TEST

START_TEST(waits_a_moment_for_a_connection_that_was_just_accepted)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    engine_stop(&rig->engine, false);
    rig_settle(rig);
    ck_assert(!is_over(rig));
    if (_i == 1) {
        SEND(rig, GET);
        ck_assert_uint_eq(only_status(rig), 200);
    } else {
        rig_pass(rig, 1 + LATE_S);
    }
    ck_assert(is_over(rig) && !rig->stream.was_reset);
    rig_fini(rig);
}
END_TEST

START_TEST(ends_pipelined_requests_in_order_when_it_stops)
{
    struct rig rig;
    rig_init(&rig, &late_handler, 1);
    rig_connect(&rig);
    SEND(&rig, GET GET);
    engine_stop(&rig.engine, false);
    rig_settle(&rig);
    ck_assert(!is_over(&rig));
    course_ripen(&late.wait);
    rig_settle(&rig);
    /* A client that pipelined gets its answers first; the last one says close (F74). */
    ck_assert(!is_over(&rig));
    course_ripen(&late.wait);
    rig_settle(&rig);
    struct weir_str rest = rig_received(&rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer) && answer.status == 200);
    ck_assert(!answer.says_close);
    ck_assert(rig_next_answer(&rest, false, &answer) && answer.status == 200);
    ck_assert(answer.says_close && is_over(&rig));
    ck_assert(!rig.stream.was_reset);
    rig_fini(&rig);
}
END_TEST

START_TEST(sends_a_large_answer_whole_while_it_stops)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    rig->stream.allowed_bytes = 1000;
    SEND(rig, "GET /bytes/300000 HTTP/1.1\r\nHost: a\r\n\r\n");
    engine_stop(&rig->engine, false);
    rig_settle(rig);
    ck_assert(!is_over(rig));
    memory_stream_allow(&rig->stream, UINT64_MAX);
    rig_settle(rig);
    ck_assert_uint_eq(only_status(rig), 200);
    ck_assert(is_over(rig) && !rig->stream.was_reset);
    rig_fini(rig);
}
END_TEST

START_TEST(ends_everything_at_once_when_it_must)
{
    struct rig rig;
    rig_init(&rig, &late_handler, 1);
    rig_connect(&rig);
    SEND(&rig, GET GET);
    engine_stop(&rig.engine, true);
    ck_assert(rig.stream.is_closed);
    ck_assert_ptr_null(late.request);
    ck_assert_uint_eq(rig.ended[REQUEST_END_STOPPED], 1);
    rig_fini(&rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, cuts_a_head_that_drips_at_the_deadline);
    tcase_add_test(tests, cuts_endless_empty_lines_at_the_deadline);
    tcase_add_test(tests, closes_a_connection_that_never_says_anything);
    tcase_add_test(tests, gives_a_later_head_the_same_deadline);
    tcase_add_test(tests, closes_an_idle_connection_at_its_time_and_no_earlier);
    tcase_add_test(tests, counts_idleness_from_the_last_byte_that_was_taken);
    tcase_add_test(tests, answers_408_when_the_body_pauses_too_long);
    tcase_add_test(tests, answers_408_when_the_body_is_slower_than_the_least_rate);
    tcase_add_test(tests, leaves_a_steady_upload_alone);
    tcase_add_test(tests, holds_its_own_slowness_against_nobody);
    tcase_add_test(tests, bounds_the_time_of_a_body_that_nobody_wants);
    tcase_add_test(tests, takes_a_slow_reader_for_no_slow_sender);
    tcase_add_test(tests, closes_on_a_reader_that_reads_nothing);
    tcase_add_test(tests, answers_504_to_a_request_that_takes_too_long);
    tcase_add_test(tests, ends_an_answer_that_is_read_for_longer_than_the_request_may_take);
    tcase_add_test(tests, waits_for_a_slow_reader_before_it_answers_more);
    tcase_add_test(tests, lingers_for_two_seconds_whatever_is_sent);
    tcase_add_test(tests, closes_idle_connections_when_it_stops);
    tcase_add_loop_test(tests, answers_what_had_arrived_when_it_stops, 0, 2);
    tcase_add_loop_test(tests, waits_a_moment_for_a_connection_that_was_just_accepted, 0, 2);
    tcase_add_test(tests, ends_pipelined_requests_in_order_when_it_stops);
    tcase_add_test(tests, sends_a_large_answer_whole_while_it_stops);
    tcase_add_test(tests, ends_everything_at_once_when_it_must);
}

UNIT_MAIN("http/h1_limits", add_tests)
