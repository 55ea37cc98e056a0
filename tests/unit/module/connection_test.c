/* SPDX-License-Identifier: MIT */
/* Hooks of connections: who is let in, who waits, and what is told at the end. */
#include "module/connection.h"

#include <stdio.h>

#include <weir/wait.h>

#include "event/mailbox.h"
#include "module/wait.h"
#include "observe/log.h"
#include "support/rig.h"
#include "support/unit.h"
#include "testkit/testbed.h"

#define GET              "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
#define SEND(rig, bytes) rig_send((rig), WEIR_STR(bytes))

static struct {
    enum weir_verdict accept, open, then;
    bool waits, waits_in_accept, waits_in_vain;
    uint64_t timeout_ns;
    struct weir_token token;
    char story[256];
    enum weir_wake how;
    unsigned resumed;
    uint64_t requests, received, sent;
    char reason[32];
} script;

static void
tell(const char *what)
{
    size_t at = strlen(script.story);
    snprintf(script.story + at, sizeof(script.story) - at, "%s ", what);
}

static enum weir_verdict
on_resume(struct weir_connection *connection, const void *conf, enum weir_wake how,
        void *payload)
{
    (void)conf;
    (void)payload;
    tell("resumed");
    script.resumed++;
    script.how = how;
    struct weir_token token;
    if (how == WEIR_ABORTED) {
        ck_assert_int_eq(weir_connection_suspend(connection, on_resume, 0, &token),
                WEIR_FAILED);
    }
    return script.then;
}

static enum weir_verdict
on_accept(struct weir_connection *connection, const void *conf)
{
    (void)conf;
    tell("accept");
    ck_assert(weir_str_eq(weir_connection_peer(connection), WEIR_STR("192.0.2.1")));
    ck_assert_uint_eq(weir_connection_peer_port(connection), 4000);
    ck_assert_uint_eq(weir_connection_close_reason(connection).len, 0);
    ck_assert(weir_connection_listener(connection).len > 0);
    struct weir_token token;
    if (script.waits_in_accept) {
        return weir_connection_suspend(connection, on_resume, 0, &token);
    }
    return script.accept;
}

static enum weir_verdict
on_open(struct weir_connection *connection, const void *conf)
{
    (void)conf;
    tell("open");
    if (script.waits_in_vain) {
        return WEIR_PENDING;
    }
    if (script.waits) {
        enum weir_verdict verdict = weir_connection_suspend(connection, on_resume,
                script.timeout_ns, &script.token);
        struct weir_token token;
        ck_assert_int_eq(weir_connection_suspend(connection, on_resume, 0, &token),
                WEIR_FAILED);
        return verdict;
    }
    return script.open;
}

static enum weir_verdict
on_close(struct weir_connection *connection, const void *conf)
{
    (void)conf;
    tell("close");
    script.requests = weir_connection_requests(connection);
    script.received = weir_connection_received_bytes(connection);
    script.sent = weir_connection_sent_bytes(connection);
    snprintf(script.reason, sizeof(script.reason), "%.*s",
            WEIR_STR_ARG(weir_connection_close_reason(connection)));
    return WEIR_NEXT;
}

static enum weir_verdict
on_open_later(struct weir_connection *connection, const void *conf)
{
    (void)connection;
    (void)conf;
    tell("later");
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCEPT, .connection = on_accept },
    { .on = WEIR_ON_OPEN, .connection = on_open },
    { .on = WEIR_ON_CLOSE, .connection = on_close },
};
static const struct weir_hook later_hooks[] = {
    { .on = WEIR_ON_OPEN, .connection = on_open_later },
};
static const struct weir_handler handlers[] = {
    { .name = "gate", .hooks = WEIR_HOOKS(hooks) },
    { .name = "later", .hooks = WEIR_HOOKS(later_hooks) },
};

static struct rig rig;
static struct mailbox *mailbox;
static struct wait_table *waits;
static struct connection_hooks listener;

static void
begin(void)
{
    memset(&script, 0, sizeof(script));
    rig_init(&rig, handlers, 2);
    ck_assert_int_eq(mailbox_new(rig.loop, &mailbox), 0);
    ck_assert_int_eq(wait_table_new(rig.loop, mailbox, &waits), 0);
    rig.map.waits = waits;
    ck_assert(connection_has_hooks(rig.chain));
    listener = (struct connection_hooks){ rig.chain, WEIR_STR(":80") };
    rig.settings.watch = &connection_watch;
    rig.settings.watch_context = &listener;
}

static void
end(void)
{
    if (rig.has_stream && !rig.stream.is_closed) {
        memory_stream_reset(&rig.stream);
    }
    rig_settle(&rig);
    course_stop(&rig.map);
    mailbox_free(mailbox);
    ck_assert_uint_eq(wait_table_count(waits), 0);
    wait_table_free(waits);
    rig_fini(&rig);
}

START_TEST(tells_what_a_connection_was)
{
    begin();
    rig_connect(&rig);
    ck_assert_str_eq(script.story, "accept open later ");
    SEND(&rig, GET GET);
    ck_assert_str_eq(script.story, "accept open later ");
    memory_stream_end(&rig.stream);
    rig_settle(&rig);
    ck_assert_str_eq(script.story, "accept open later close ");
    ck_assert_uint_eq(script.requests, 2);
    ck_assert_uint_eq(script.received, 2 * strlen(GET));
    ck_assert_uint_eq(script.sent, rig_received(&rig).len);
    ck_assert_str_eq(script.reason, "client");
    ck_assert_int_eq(rig.closed, H1_CLOSE_CLIENT);
    end();
}
END_TEST

static const struct {
    const char *why;
    enum weir_verdict accept, open;
    bool waits_in_accept, waits_in_vain;
    const char *story;
} drop_cases[] = {
    { "at accept", WEIR_DONE, WEIR_NEXT, false, false, "accept close " },
    { "at open", WEIR_NEXT, WEIR_DONE, false, false, "accept open close " },
    { "a failure at accept", WEIR_FAILED, WEIR_NEXT, false, false, "accept close " },
    { "a failure at open", WEIR_NEXT, WEIR_FAILED, false, false, "accept open close " },
    { "a wait at accept, which cannot", WEIR_NEXT, WEIR_NEXT, true, false, "accept close " },
    { "a wait for nothing", WEIR_NEXT, WEIR_NEXT, false, true, "accept open close " },
};

START_TEST(drops_whom_a_hook_does_not_want)
{
    begin();
    script.accept = drop_cases[_i].accept;
    script.open = drop_cases[_i].open;
    script.waits_in_accept = drop_cases[_i].waits_in_accept;
    script.waits_in_vain = drop_cases[_i].waits_in_vain;
    rig_connect(&rig);
    unit_check(rig.stream.is_closed, drop_cases[_i].why);
    ck_assert_str_eq(script.story, drop_cases[_i].story);
    ck_assert_str_eq(script.reason, "dropped");
    ck_assert_int_eq(rig.closed, H1_CLOSE_DROPPED);
    ck_assert_uint_eq(rig_received(&rig).len, 0);
    end();
}
END_TEST

START_TEST(reads_nothing_while_a_hook_waits)
{
    begin();
    script.waits = true;
    script.then = _i == 0 ? WEIR_NEXT : _i == 1 ? WEIR_DONE : WEIR_FAILED;
    rig_connect(&rig);
    SEND(&rig, GET);
    ck_assert_str_eq(script.story, "accept open ");
    ck_assert_uint_eq(rig_received(&rig).len, 0);
    ck_assert_uint_eq(rig.engine.figures.bytes_in, 0);
    ck_assert(weir_resume(script.token, NULL, NULL));
    ck_assert(!weir_resume(script.token, NULL, NULL));
    rig_settle(&rig);
    ck_assert_int_eq(script.how, WEIR_WOKEN);
    ck_assert_uint_eq(script.resumed, 1);
    if (_i == 0) {
        ck_assert_str_eq(script.story, "accept open resumed later ");
        struct weir_str rest = rig_received(&rig);
        struct rig_answer answer;
        ck_assert(rig_next_answer(&rest, false, &answer) && answer.status == 200);
    } else {
        ck_assert_str_eq(script.story, "accept open resumed close ");
        ck_assert(rig.stream.is_closed);
        ck_assert_uint_eq(rig_received(&rig).len, 0);
    }
    end();
}
END_TEST

START_TEST(waits_no_longer_than_a_handshake_may_take)
{
    static const struct {
        uint64_t asked_s, handshake_s, wait_s;
    } times[] = { { 0, 2, 60 }, { 0, 10, 2 }, { 2, 10, 60 }, { 90, 2, 60 } };
    begin();
    script.waits = true;
    script.timeout_ns = times[_i].asked_s * NS_PER_S;
    rig.settings.timeouts.handshake_ns = times[_i].handshake_s * NS_PER_S;
    rig.settings.timeouts.wait_ns = times[_i].wait_s * NS_PER_S;
    rig_connect(&rig);
    rig_pass(&rig, 1.8);
    ck_assert_uint_eq(script.resumed, 0);
    rig_pass(&rig, 0.4);
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert_int_eq(script.how, WEIR_TIMED_OUT);
    ck_assert(!rig.stream.is_closed); /* the hook let it pass */
    end();
}
END_TEST

START_TEST(aborts_the_wait_of_a_connection_that_ends)
{
    begin();
    script.waits = true;
    rig_connect(&rig);
    if (_i == 1) {
        ck_assert(weir_resume(script.token, NULL, NULL)); /* its letter is under way */
    }
    if (_i == 2) {
        engine_stop(&rig.engine, true);
    } else {
        memory_stream_reset(&rig.stream);
    }
    rig_settle(&rig);
    ck_assert_uint_eq(script.resumed, 1);
    ck_assert(script.how == WEIR_ABORTED || _i == 1);
    ck_assert(rig.stream.is_closed);
    ck_assert(!weir_resume(script.token, NULL, NULL));
    ck_assert_str_eq(script.reason, _i == 2 ? "stopped" : "client_reset");
    end();
    ck_assert_uint_eq(script.resumed, 1);
}
END_TEST

START_TEST(stops_gracefully_while_a_hook_waits)
{
    begin();
    script.waits = true;
    rig_connect(&rig);
    SEND(&rig, GET);
    engine_stop(&rig.engine, false);
    rig_settle(&rig);
    ck_assert(!rig.stream.is_closed); /* it was accepted: what it sent is answered */
    ck_assert(weir_resume(script.token, NULL, NULL));
    rig_settle(&rig);
    struct weir_str rest = rig_received(&rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&rest, false, &answer));
    ck_assert(answer.status == 200 && answer.says_close);
    end();
}
END_TEST

/* ---- from the configuration -------------------------------------------------------------- */

static const struct weir_module gate_module = {
    WEIR_MODULE_HEAD("gate", "1.0.0", "Watches connections"),
    WEIR_HANDLERS({ .name = "gate", .hooks = WEIR_HOOKS(hooks) }),
};

START_TEST(is_used_by_listeners)
{
    static const struct weir_module *const modules[] = { &gate_module };
    static const struct testbed_settings settings = {
        "{ \"modules\": [\"gate\"], \"defaults\": { \"use\": [\"gate\"] },"
        "  \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"routes\": [{}] }] }",
        modules, 1
    };
    memset(&script, 0, sizeof(script));
    log_init(-1, LOG_ERROR);
    struct buf report;
    buf_init(&report, 1 << 20);
    struct testbed *testbed = NULL;
    int r = testbed_new(&settings, &report, &testbed);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed, WEIR_STR(GET));
    struct weir_str received = testbed_received(testbed);
    ck_assert_ptr_nonnull(memmem(received.ptr, received.len, "404", 3));
    testbed_end(testbed);
    ck_assert_str_eq(script.story, "accept open close ");
    script.accept = WEIR_DONE;
    ck_assert(testbed_connect(testbed));
    ck_assert(testbed_is_over(testbed));
    ck_assert(testbed_free(testbed));
}
END_TEST

/* The one allocation that a watched connection needs. */
START_TEST(closes_when_there_is_no_memory_for_it)
{
    begin();
    struct addr peer;
    ck_assert_int_eq(addr_parse(WEIR_STR("192.0.2.1:4000"), &peer, NULL), 0);
    struct h1_conn *conn = h1_conn_new(&rig.engine, &rig.settings, &peer);
    memory_stream_init(&rig.stream, rig.loop, h1_conn_on_event, conn);
    rig.has_stream = true;
    failalloc_fail_nth(1);
    h1_conn_start(conn, &rig.stream.stream);
    ck_assert(failalloc_has_failed());
    failalloc_fail_nth(0);
    rig_settle(&rig);
    ck_assert_int_eq(rig.closed, H1_CLOSE_NO_MEMORY);
    ck_assert_str_eq(script.story, "");
    end();
}
END_TEST

#define ROWS(cases) (int)(sizeof(cases) / sizeof((cases)[0]))

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, tells_what_a_connection_was);
    tcase_add_loop_test(tests, drops_whom_a_hook_does_not_want, 0, ROWS(drop_cases));
    tcase_add_loop_test(tests, reads_nothing_while_a_hook_waits, 0, 3);
    tcase_add_loop_test(tests, waits_no_longer_than_a_handshake_may_take, 0, 4);
    tcase_add_loop_test(tests, aborts_the_wait_of_a_connection_that_ends, 0, 3);
    tcase_add_test(tests, stops_gracefully_while_a_hook_waits);
    tcase_add_test(tests, is_used_by_listeners);
    tcase_add_test(tests, closes_when_there_is_no_memory_for_it);
}

UNIT_MAIN("module/connection", add_tests)
