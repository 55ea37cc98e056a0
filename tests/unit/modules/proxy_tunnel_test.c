/* SPDX-License-Identifier: MIT */
/* Tunnels (http/upgrade.h) between clients and upstreams in memory: however what is said is
 * cut, whoever ends first, stalls or leaves, and whatever runs out. */
#include <stdlib.h>

#include <weir/module.h>

#include "base/clock.h"
#include "http/request.h"
#include "observe/log.h"
#include "support/module_rig.h"
#include "support/unit.h"
#include "support/upstream_rig.h"

static const struct weir_module *const modules[] = { &weir_module_v1 };

static struct upstream_rig upstream;

static const struct testbed_settings settings = {
    .config =
            "{ \"modules\": [\"proxy\"], \"upstreams\": { \"app\": { \"targets\": "
            "\"127.0.0.1:9\" } }, \"servers\": [{ \"listen\": \"127.0.0.1:1\", \"routes\": [{ "
            "\"timeouts\": { \"idle\": \"10m\", \"send\": \"30s\", \"request\": \"1m\" }, "
            "\"handle\": { \"proxy\": { \"to\": \"app\", \"forwarded\": \"none\", \"upgrade\": "
            "[\"websocket\"] } } }] }] }",
    .modules = modules,
    .modules_count = 1,
};

#define ASK                                                                                     \
    "GET /a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: chat, WebSocket" \
    "\r\n\r\n"
#define SWITCH                                                                              \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nA: b" \
    "\r\n\r\n"
#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static void
finish(struct testbed *testbed)
{
    ck_assert(testbed_free(testbed));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}

/* What has come through the tunnel to the client. */
static struct weir_str
tunnelled(const struct testbed *testbed)
{
    struct weir_str got = testbed_received(testbed);
    const char *end = memmem(got.ptr, got.len, "\r\n\r\n", 4);
    ck_assert_msg(end != NULL && strncmp(got.ptr, "HTTP/1.1 101 ", 13) == 0, "%.*s",
            WEIR_STR_ARG(got));
    size_t head = (size_t)(end - got.ptr) + 4;
    return weir_str_make(got.ptr + head, got.len - head);
}

static struct testbed *
switched(bool echoes)
{
    upstream_rig_init(&upstream, SWITCH);
    upstream.echoes = echoes;
    struct testbed *testbed = module_testbed_new(&settings);
    testbed_send(testbed, WEIR_STR(ASK));
    ck_assert_uint_eq(tunnelled(testbed).len, 0);
    return testbed;
}

static struct memory_stream *
peer(void)
{
    return &upstream.conns[0].memory;
}

/* What the upstream has received behind the request. */
static size_t
sent_up(void)
{
    return buf_str(&peer()->received).len - strlen(upstream.asked);
}

START_TEST(says_what_it_switches_to)
{
    struct testbed *testbed = switched(true);
    ck_assert(unit_has(testbed_received(testbed),
            "A: b\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"));
    ck_assert(strstr(upstream.asked, "\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n") !=
            NULL);
    ck_assert(strstr(upstream.asked, "chat") == NULL &&
            strstr(upstream.asked, "keep-alive") == NULL);
    testbed_send(testbed, WEIR_STR(ASK));
    ck_assert(weir_str_eq(tunnelled(testbed), WEIR_STR(ASK)));
    ck_assert_uint_eq(upstream.answered, 1);
    finish(testbed);
}
END_TEST

START_TEST(ends_each_flow_for_itself)
{
    struct testbed *testbed = switched(false);
    testbed_end(testbed);
    ck_assert(peer()->is_shut_down && !testbed_is_over(testbed));
    memory_stream_send(peer(), WEIR_STR("late"));
    testbed_settle(testbed);
    ck_assert(weir_str_eq(tunnelled(testbed), WEIR_STR("late")));
    memory_stream_end(peer());
    testbed_settle(testbed);
    ck_assert(testbed_is_over(testbed));
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_COMPLETE), 1);
    finish(testbed);

    testbed = switched(false);
    memory_stream_send(peer(), WEIR_STR("bye"));
    memory_stream_end(peer());
    testbed_settle(testbed);
    ck_assert(testbed_is_over(testbed) && upstream_rig_open(&upstream) == 1);
    testbed_send(testbed, WEIR_STR("late"));
    ck_assert_uint_eq(sent_up(), 4);
    testbed_end(testbed);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    ck_assert(!peer()->was_reset);
    ck_assert(weir_str_eq(tunnelled(testbed), WEIR_STR("bye")));
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_COMPLETE), 1);
    finish(testbed);

    /* The last bytes and the last end at once. */
    testbed = switched(false);
    testbed_end(testbed);
    memory_stream_send(peer(), WEIR_STR("bye"));
    memory_stream_end(peer());
    testbed_settle(testbed);
    ck_assert(weir_str_eq(tunnelled(testbed), WEIR_STR("bye")));
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_COMPLETE), 1);
    finish(testbed);
}
END_TEST

START_TEST(is_cut_where_either_end_is)
{
    struct testbed *testbed = switched(true);
    testbed_reset(testbed);
    ck_assert(upstream_rig_open(&upstream) == 0 && peer()->was_reset);
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_CLIENT_LEFT), 1);
    finish(testbed);

    testbed = switched(false);
    memory_stream_reset(peer());
    testbed_settle(testbed);
    ck_assert(testbed_is_over(testbed) && upstream_rig_open(&upstream) == 0);
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_ANSWER_FAILED), 1);
    finish(testbed);

    /* One that has said its last, and then resets: nothing can be sent there any more. */
    testbed = switched(false);
    memory_stream_end(peer());
    testbed_settle(testbed);
    memory_stream_reset(peer());
    testbed_settle(testbed);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_COMPLETE), 1);
    finish(testbed);
}
END_TEST

/* Bytes in either direction keep it; the time of a request does not count. */
START_TEST(ends_when_nothing_goes_through)
{
    struct testbed *testbed = switched(false);
    for (int i = 0; i < 3; i++) {
        testbed_pass(testbed, 599 * NS_PER_S);
        testbed_send(testbed, WEIR_STR("up"));
        testbed_pass(testbed, 599 * NS_PER_S);
        memory_stream_send(peer(), WEIR_STR("down"));
        testbed_settle(testbed);
    }
    testbed_pass(testbed, 598 * NS_PER_S);
    ck_assert(!testbed_is_over(testbed) && upstream_rig_open(&upstream) == 1);
    testbed_pass(testbed, 3 * NS_PER_S);
    ck_assert(testbed_is_over(testbed) && upstream_rig_open(&upstream) == 0);
    ck_assert(!peer()->was_reset);
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_IDLE), 1);
    finish(testbed);
}
END_TEST

#define MUCH_BYTES 1000000u

static struct weir_str
much(void)
{
    static char bytes[MUCH_BYTES];
    for (size_t i = 0; i < MUCH_BYTES; i++) {
        bytes[i] = (char)(i % 251);
    }
    return weir_str_make(bytes, MUCH_BYTES);
}

/* What stands in memory for an end that does not read is bounded; all of it comes when it does.
 */
START_TEST(reads_no_faster_than_the_other_end)
{
    struct testbed *testbed = switched(false);
    peer()->allowed_bytes = 1000;
    testbed_send(testbed, much());
    ck_assert_uint_eq(sent_up(), 1000);
    for (size_t sent = 1000; sent < MUCH_BYTES; sent = sent_up()) {
        testbed_pass(testbed, 20 * NS_PER_S); /* longer than timeouts.send in all */
        memory_stream_allow(peer(), 50000);
        testbed_settle(testbed);
        ck_assert_uint_eq(upstream_rig_open(&upstream), 1);
        ck_assert_uint_gt(sent_up(), sent);
    }
    struct weir_str got = buf_str(&peer()->received);
    got = weir_str_make(got.ptr + got.len - MUCH_BYTES, MUCH_BYTES);
    ck_assert(weir_str_eq(got, much()));
    finish(testbed);

    testbed = switched(false);
    testbed_limit(testbed, 1000);
    memory_stream_send(peer(), much());
    testbed_settle(testbed);
    size_t left = buf_str(&peer()->incoming).len;
    ck_assert_uint_gt(left, MUCH_BYTES - 500000);
    testbed_pass(testbed, 20 * NS_PER_S);
    ck_assert_uint_eq(buf_str(&peer()->incoming).len, left);
    testbed_allow(testbed, UINT64_MAX);
    ck_assert(weir_str_eq(tunnelled(testbed), much()));
    finish(testbed);
}
END_TEST

START_TEST(cuts_an_end_that_does_not_read)
{
    struct testbed *testbed = switched(false);
    peer()->allowed_bytes = 1000;
    testbed_send(testbed, much());
    testbed_pass(testbed, 70 * NS_PER_S); /* the upstream's timeouts.send, and a look at it */
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    ck_assert(testbed_is_over(testbed) && peer()->was_reset);
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_ANSWER_FAILED), 1);
    finish(testbed);

    testbed = switched(false);
    testbed_limit(testbed, 1000);
    memory_stream_send(peer(), much());
    testbed_pass(testbed, 32 * NS_PER_S);
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
    ck_assert(peer()->was_reset);
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_CLIENT_SLOW), 1);
    finish(testbed);
}
END_TEST

START_TEST(outlives_a_drain_that_ends_idle_connections)
{
    struct testbed *testbed = switched(true);
    testbed_drain(testbed);
    testbed_send(testbed, WEIR_STR("still"));
    ck_assert(weir_str_eq(tunnelled(testbed), WEIR_STR("still")));
    testbed_end(testbed);
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_COMPLETE), 1);
    finish(testbed);
}
END_TEST

/* The upstream is told as if by the client, and its last words reach that. */
START_TEST(ends_in_order_when_the_server_must)
{
    struct testbed *testbed = switched(false);
    testbed_drain(testbed);
    testbed_end_tunnels(testbed);
    ck_assert(peer()->is_shut_down && !testbed_is_over(testbed));
    testbed_send(testbed, WEIR_STR("too late"));
    ck_assert_uint_eq(sent_up(), 0);
    memory_stream_send(peer(), WEIR_STR("bye"));
    memory_stream_end(peer());
    testbed_settle(testbed);
    ck_assert(weir_str_eq(tunnelled(testbed), WEIR_STR("bye")));
    ck_assert(testbed_is_over(testbed));
    ck_assert_uint_eq(testbed_ended(testbed, REQUEST_END_STOPPED), 1);
    finish(testbed);
}
END_TEST

/* ---- everything that may happen ---------------------------------------------------------- */

static const struct {
    const char *request, *answer;
    size_t piece_bytes;
    bool closes, echoes;
} tortures[] = {
    { ASK HELLO, SWITCH, 0, false, true },
    { ASK HELLO HELLO, SWITCH, 7, false, true },
    { ASK "up", SWITCH HELLO, 0, true, false },
    { ASK, SWITCH HELLO, 3, false, false },
    { ASK ASK, HELLO, 0, false, false },
    { ASK, "HTTP/1.1 101 Switching\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n", 0, false,
            false },
};

START_TEST(survives_every_disturbance)
{
    upstream_rig_init(&upstream, tortures[_i].answer);
    upstream.piece_bytes = tortures[_i].piece_bytes;
    upstream.closes = tortures[_i].closes;
    upstream.echoes = tortures[_i].echoes;
    module_check_torture(&settings, weir_str_from(tortures[_i].request));
    ck_assert_uint_eq(upstream_rig_open(&upstream), 0);
}
END_TEST

static void
add_tests(TCase *tests)
{
    log_init(-1, LOG_ERROR);
    tcase_add_test(tests, says_what_it_switches_to);
    tcase_add_test(tests, ends_each_flow_for_itself);
    tcase_add_test(tests, is_cut_where_either_end_is);
    tcase_add_test(tests, ends_when_nothing_goes_through);
    tcase_add_test(tests, reads_no_faster_than_the_other_end);
    tcase_add_test(tests, cuts_an_end_that_does_not_read);
    tcase_add_test(tests, outlives_a_drain_that_ends_idle_connections);
    tcase_add_test(tests, ends_in_order_when_the_server_must);
    tcase_add_loop_test(tests, survives_every_disturbance, 0, MODULE_ROWS(tortures));
}

UNIT_MAIN("modules/proxy_tunnel", add_tests)
