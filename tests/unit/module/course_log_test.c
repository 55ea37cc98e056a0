/* SPDX-License-Identifier: MIT */
/* Log hooks that wait: their clients are served and gone, a bounded number of requests is kept
 * for a bounded time, and what is dropped is counted. */
#include <stdio.h>

#include <weir/reply.h>
#include <weir/request.h>
#include <weir/wait.h>

#include "base/budget.h"
#include "event/mailbox.h"
#include "http/request.h"
#include "module/wait.h"
#include "support/rig.h"
#include "support/unit.h"

#define GET              "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
#define SEND(rig, bytes) rig_send((rig), WEIR_STR(bytes))

static struct {
    struct weir_token tokens[2000];
    unsigned waiting, resumed, refused, later;
    enum weir_wake how;
    uint64_t sent, duration_ns;
    char peer[64], end[32];
    bool is_greedy; /* waits again and again */
} script;

static enum weir_verdict
on_resume(struct weir_request *request, const void *conf, enum weir_wake how, void *payload)
{
    (void)conf;
    (void)payload;
    script.resumed++;
    script.how = how;
    script.sent = weir_request_sent_bytes(request);
    script.duration_ns = weir_request_duration_ns(request);
    snprintf(script.peer, sizeof(script.peer), "%.*s",
            WEIR_STR_ARG(weir_request_peer(request)));
    snprintf(script.end, sizeof(script.end), "%.*s",
            WEIR_STR_ARG(weir_request_end_label(request)));
    struct weir_token again;
    return script.is_greedy ? weir_suspend(request, on_resume, 900 * NS_PER_MS, &again)
                            : WEIR_NEXT;
}

static enum weir_verdict
wait_in_log(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_token *token = &script.tokens[script.waiting % 2000];
    enum weir_verdict verdict = weir_suspend(request, on_resume,
            script.is_greedy ? 900 * NS_PER_MS : WEIR_WAIT_PRESET, token);
    script.waiting += verdict == WEIR_PENDING;
    script.refused += verdict == WEIR_FAILED;
    return verdict;
}

static enum weir_verdict
note_later(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    script.later++;
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_LOG, .request = wait_in_log } };
static const struct weir_hook later_hooks[] = { { .on = WEIR_ON_LOG, .request = note_later } };
static const struct weir_handler handlers[] = {
    { .name = "waits", .hooks = WEIR_HOOKS(hooks) },
    { .name = "later", .hooks = WEIR_HOOKS(later_hooks) },
};

static struct rig rig;
static struct mailbox *mailbox;
static struct wait_table *waits;

static void
begin(void)
{
    memset(&script, 0, sizeof(script));
    rig_init(&rig, handlers, 2);
    ck_assert_int_eq(mailbox_new(rig.loop, &mailbox), 0);
    ck_assert_int_eq(wait_table_new(rig.loop, mailbox, &waits), 0);
    rig.map.waits = waits;
    rig_connect(&rig);
}

static void
end(void)
{
    if (!rig.stream.is_closed) {
        memory_stream_reset(&rig.stream);
        rig_settle(&rig);
    }
    course_stop(&rig.map);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 0);
    ck_assert_uint_eq(wait_table_count(waits), 0);
    mailbox_free(mailbox);
    wait_table_free(waits);
    rig_fini(&rig);
}

START_TEST(keeps_what_it_knows_when_the_connection_is_gone)
{
    begin();
    SEND(&rig, GET);
    size_t sent = rig_received(&rig).len;
    memory_stream_end(&rig.stream);
    rig_settle(&rig);
    rig_pass(&rig, 1);
    ck_assert(rig.stream.is_closed);
    ck_assert_ptr_null(rig.engine.carriers);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 1);
    ck_assert(weir_resume(script.tokens[0], NULL, NULL));
    rig_settle(&rig);
    ck_assert_uint_eq(script.sent, sent);
    ck_assert_uint_eq(script.duration_ns, 0); /* by that clock; it has not waited for its log */
    ck_assert_str_eq(script.peer, "192.0.2.1");
    ck_assert_str_eq(script.end, "complete");
    ck_assert_uint_eq(script.later, 1);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 0);
    end();
}
END_TEST

START_TEST(serves_on_while_a_thousand_are_kept_and_drops_the_others)
{
    begin();
    for (unsigned i = 0; i < 1100; i++) {
        SEND(&rig, GET);
    }
    ck_assert_uint_eq(course_logs_kept(&rig.map), 1000);
    ck_assert_uint_eq(script.waiting, 1000);
    ck_assert_uint_eq(script.refused, 100);
    ck_assert_uint_eq(course_logs_dropped(&rig.map), 100);
    ck_assert_uint_eq(script.later, 100); /* the other hooks of those */
    ck_assert_uint_eq(rig.ended[REQUEST_END_COMPLETE], 1100);

    ck_assert(weir_resume(script.tokens[500], NULL, NULL));
    rig_settle(&rig);
    SEND(&rig, GET); /* there is room for one */
    ck_assert_uint_eq(script.waiting, 1001);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 1000);
    rig_pass(&rig, 5.2);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 0);
    ck_assert_uint_eq(course_logs_dropped(&rig.map), 1100);
    ck_assert_uint_eq(script.resumed, 1001);
    ck_assert_uint_eq(script.later, 1101);
    end();
}
END_TEST

/* Each has its own five seconds, however often it waits in them. */
START_TEST(cuts_each_after_five_seconds_in_all)
{
    begin();
    script.is_greedy = _i == 1;
    SEND(&rig, GET);
    rig_pass(&rig, 3);
    SEND(&rig, GET);
    rig_pass(&rig, 1.8);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 2);
    ck_assert_uint_eq(script.later, 0);
    rig_pass(&rig, 0.4);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 1);
    ck_assert_int_eq(script.how, WEIR_ABORTED);
    ck_assert_uint_eq(script.later, 1);
    rig_pass(&rig, 2.4);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 1);
    rig_pass(&rig, 0.6);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 0);
    ck_assert_uint_eq(course_logs_dropped(&rig.map), 2);
    ck_assert_uint_eq(script.later, 2);
    end();
}
END_TEST

/* A client that left has not read its answer; nobody else will. */
START_TEST(gives_the_bodies_back_at_once)
{
    begin();
    uint64_t before = budget_used_bytes();
    rig.stream.allowed_bytes = 100;
    SEND(&rig, "POST /chunks/90000 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    ck_assert_uint_gt(budget_used_bytes() - before, 500000);
    memory_stream_reset(&rig.stream);
    rig_settle(&rig);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 1);
    ck_assert_uint_lt(budget_used_bytes() - before, 20000);
    ck_assert(weir_resume(script.tokens[0], NULL, NULL));
    rig_settle(&rig);
    ck_assert_str_eq(script.end, "client_left");
    ck_assert_uint_eq(script.sent, 100);
    end();
}
END_TEST

START_TEST(keeps_none_once_the_loop_stops)
{
    begin();
    SEND(&rig, GET);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 1);
    course_stop(&rig.map);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 0);
    ck_assert_int_eq(script.how, WEIR_ABORTED);
    SEND(&rig, GET);
    ck_assert_uint_eq(script.refused, 1);
    ck_assert_uint_eq(script.later, 2);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 0);
    end();
}
END_TEST

/* Ready, and its five seconds over, in one turn of the loop. */
START_TEST(takes_what_came_in_the_last_moment)
{
    begin();
    SEND(&rig, GET);
    rig_pass(&rig, 4.8);
    ck_assert(weir_resume(script.tokens[0], NULL, NULL));
    manual_clock_advance_ns(&rig.clock, NS_PER_S);
    rig_settle(&rig);
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_uint_eq(script.later, 1);
    ck_assert_uint_eq(course_logs_kept(&rig.map), 0);
    end();
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_set_timeout(tests, unit_slow(60));
    tcase_add_test(tests, keeps_what_it_knows_when_the_connection_is_gone);
    tcase_add_test(tests, serves_on_while_a_thousand_are_kept_and_drops_the_others);
    tcase_add_loop_test(tests, cuts_each_after_five_seconds_in_all, 0, 2);
    tcase_add_test(tests, gives_the_bodies_back_at_once);
    tcase_add_test(tests, keeps_none_once_the_loop_stops);
    tcase_add_test(tests, takes_what_came_in_the_last_moment);
}

UNIT_MAIN("module/course_log", add_tests)
