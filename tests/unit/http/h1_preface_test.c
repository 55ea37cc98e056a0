/* SPDX-License-Identifier: MIT */
/* What a peer says before HTTP on a connection of a listener that takes the PROXY protocol, on
 * memory streams: whole, byte by byte and split at every point. */
#include <stdio.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "http/h1.h"
#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define LINE      "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n"
#define GET       "GET /peer HTTP/1.1\r\nHost: a\r\n\r\n"

#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))

/* As in h1_limits_test.c. */
#define LATE_S 1.2

static struct {
    const struct addr_ip *believed; /* NULL: nobody is */
    unsigned asked;
    unsigned opened, introduced, closed;
    enum h1_admission first, then;
    char peer[ADDR_TEXT_BYTES];
    struct h1_conn *conn;
    struct h1_watched watched;
} script;

static bool
trusts(const void *origin, const struct addr_ip *peer)
{
    ck_assert_ptr_eq(origin, &script);
    script.asked++;
    return script.believed != NULL && peer->family == script.believed->family &&
            memcmp(peer->bytes, script.believed->bytes, sizeof(peer->bytes)) == 0;
}

/* GET /peer: who asks, and where to. */
static enum weir_verdict
tell(struct weir_request *request, const void *conf)
{
    (void)conf;
    char text[2 * ADDR_TEXT_BYTES + 32], peer[ADDR_TEXT_BYTES], local[ADDR_TEXT_BYTES] = "?";
    struct addr_ip to = { .port = 0 };
    if (!weir_str_eq(weir_request_path(request), WEIR_STR("/peer"))) {
        return WEIR_NEXT;
    }
    addr_ip_format(&request->peer, peer);
    if (request->transport->local(request, &to)) {
        addr_ip_format(&to, local);
    }
    int len = snprintf(text, sizeof(text), "%.64s %u %.64s %u", peer, request->peer.port, local,
            to.port);
    return weir_reply_text(request, 200, WEIR_STR("text/plain"),
            weir_str_make(text, (size_t)len));
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = tell } };
static const struct weir_handler handler = { .name = "tell", .hooks = WEIR_HOOKS(hooks) };

static struct rig *
new_rig(void)
{
    static struct rig rig;
    static struct addr_ip peer;
    memset(&script, 0, sizeof(script));
    ck_assert_int_eq(addr_ip_parse(WEIR_STR("192.0.2.1"), &peer), 0);
    script.believed = &peer;
    rig_init(&rig, &handler, 1);
    rig.settings.trusts_proxy = trusts;
    rig.settings.origin = &script;
    return &rig;
}

static void
check_answers(const struct rig *rig, const char *body, unsigned count)
{
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer;
    for (unsigned i = 0; i < count; i++) {
        ck_assert(rig_next_answer(&rest, false, &answer) && answer.is_complete);
        ck_assert_uint_eq(answer.status, 200);
        ck_assert_msg(weir_str_eq(answer.body, weir_str_from(body)), "\"%.*s\"",
                WEIR_STR_ARG(answer.body));
    }
    ck_assert_uint_eq(rest.len, 0);
}

static const struct {
    const char *why;
    struct weir_str header;
    const char *body;
} good[] = {
    { "a line", WEIR_STR_INIT(LINE), "198.51.100.7 4711 203.0.113.1 443" },
    { "an unknown one", WEIR_STR_INIT("PROXY UNKNOWN\r\n"), "192.0.2.1 4000 192.0.2.9 80" },
    { "binary", WEIR_STR_INIT(SIGNATURE "\41\21\0\14\306\63\144\7\313\0\161\1\22\147\1\273"),
            "198.51.100.7 4711 203.0.113.1 443" },
    { "for nobody", WEIR_STR_INIT(SIGNATURE "\40\0\0\0"), "192.0.2.1 4000 192.0.2.9 80" },
    { "with a vector",
            WEIR_STR_INIT(
                    SIGNATURE "\41\21\0\21\306\63\144\7\313\0\161\1\22\147\1\273\5\0\2id"),
            "198.51.100.7 4711 203.0.113.1 443" },
};

#define GOOD (sizeof(good) / sizeof(good[0]))

static void
ask_twice(struct rig *rig, struct weir_str bytes, size_t split, const char *body)
{
    rig_connect(rig);
    ck_assert_int_eq(addr_parse(WEIR_STR("192.0.2.9:80"), &rig->stream.local, NULL), 0);
    rig_send_split(rig, bytes, split);
    check_answers(rig, body, 2);
    buf_consume(&rig->stream.received, rig_received(rig).len);
    SEND(rig, GET); /* the connection is that client's for as long as it lasts */
    check_answers(rig, body, 1);
}

START_TEST(speaks_for_whom_the_header_names)
{
    struct rig *rig = new_rig();
    char bytes[256];
    struct weir_str header = good[_i].header;
    const struct weir_str gets = WEIR_STR(GET GET);
    ck_assert_uint_le(header.len + gets.len, sizeof(bytes));
    memcpy(bytes, header.ptr, header.len);
    memcpy(bytes + header.len, gets.ptr, gets.len);
    struct weir_str all = weir_str_make(bytes, header.len + gets.len);
    for (size_t split = 0; split < all.len; split++) {
        ask_twice(rig, all, split, good[_i].body);
    }
    ask_twice(rig, all, RIG_BYTEWISE, good[_i].body);
    rig_fini(rig);
}
END_TEST

static const struct {
    const char *why;
    struct weir_str bytes;
} bad[] = {
    { "HTTP at once", WEIR_STR_INIT(GET) },
    { "a malformed line", WEIR_STR_INIT("PROXY TCP4 1.2.3.4\r\n" GET) },
    { "no end within 107 bytes",
            WEIR_STR_INIT("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") },
    { "another version", WEIR_STR_INIT(SIGNATURE "\61\21\0\14") },
};

START_TEST(closes_without_an_answer_what_is_no_header)
{
    struct rig *rig = new_rig();
    for (size_t split = 0; split <= bad[_i].bytes.len; split++) {
        rig_connect(rig);
        rig_send_split(rig, bad[_i].bytes, split == 0 ? RIG_BYTEWISE : split);
        ck_assert(rig->stream.is_closed);
        ck_assert_int_eq(rig->closed, H1_CLOSE_BAD_PROXY);
        ck_assert_uint_eq(rig_received(rig).len, 0);
    }
    ck_assert_uint_eq(rig->engine.figures.requests_begun, 0);
    rig_fini(rig);
}
END_TEST

START_TEST(closes_strangers_before_a_byte_of_theirs_is_read)
{
    struct rig *rig = new_rig();
    script.believed = NULL;
    rig_connect(rig);
    ck_assert(rig->stream.is_closed);
    ck_assert_int_eq(rig->closed, H1_CLOSE_UNTRUSTED);
    ck_assert_uint_eq(rig->engine.figures.bytes_in, 0);
    ck_assert_uint_eq(script.asked, 1);
    rig_fini(rig);
}
END_TEST

START_TEST(gives_the_header_the_time_of_a_head_and_the_head_its_own)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, "PROXY ");
    rig_pass(rig, 9);
    ck_assert(!rig->stream.is_closed);
    rig_pass(rig, 1 + LATE_S);
    ck_assert(rig->stream.is_closed);
    ck_assert_int_eq(rig->closed, H1_CLOSE_SLOW_HEAD);
    ck_assert_uint_eq(rig_received(rig).len, 0);

    rig_connect(rig);
    rig_pass(rig, 9);
    SEND(rig, LINE);
    rig_pass(rig, 9);
    ck_assert(!rig->stream.is_closed);
    rig_pass(rig, 1 + LATE_S);
    ck_assert(rig->stream.is_closed);
    ck_assert_int_eq(rig->closed, H1_CLOSE_IDLE);
    rig_fini(rig);
}
END_TEST

START_TEST(tells_a_look_from_a_header_that_breaks_off)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    memory_stream_end(&rig->stream);
    rig_settle(rig);
    ck_assert_int_eq(rig->closed, H1_CLOSE_CLIENT);
    rig_connect(rig);
    SEND(rig, "PROXY TCP4");
    memory_stream_end(&rig->stream);
    rig_settle(rig);
    ck_assert_int_eq(rig->closed, H1_CLOSE_BAD_PROXY);
    rig_connect(rig);
    SEND(rig, LINE);
    memory_stream_end(&rig->stream);
    rig_settle(rig);
    ck_assert_int_eq(rig->closed, H1_CLOSE_CLIENT);
    rig_fini(rig);
}
END_TEST

START_TEST(does_not_wait_long_for_a_header_when_it_stops)
{
    struct rig *rig = new_rig();
    rig_connect(rig);
    SEND(rig, "PROXY TCP4 198.51.100.7 203.0.113.1 4711 ");
    engine_stop(&rig->engine, false);
    rig_settle(rig);
    ck_assert(!rig->stream.is_closed); /* what was sent may be under way */
    SEND(rig, "443\r\n" GET);
    ck_assert(rig->stream.is_closed || rig->stream.is_shut_down);
    ck_assert(unit_ends(rig_received(rig), "198.51.100.7 4711 203.0.113.1 443"));

    rig_connect(rig); /* of one that was accepted as it stopped */
    SEND(rig, "PROXY ");
    rig_pass(rig, 1 + LATE_S);
    ck_assert(rig->stream.is_closed);
    ck_assert_int_eq(rig->closed, H1_CLOSE_STOPPED);
    rig_fini(rig);
}
END_TEST

/* ---- with hooks of connections ----------------------------------------------------------- */

static enum h1_admission
opened(struct engine *engine, const struct h1_settings *settings, struct h1_conn *conn,
        const struct addr_ip *peer, struct h1_watched **out)
{
    (void)engine;
    (void)settings;
    script.opened++;
    script.conn = conn;
    addr_ip_format(peer, script.peer);
    *out = &script.watched;
    return script.first;
}

static enum h1_admission
introduced(struct h1_watched *watched, const struct addr_ip *peer)
{
    ck_assert_ptr_eq(watched, &script.watched);
    script.introduced++;
    addr_ip_format(peer, script.peer);
    return script.then;
}

static void
closed(struct h1_watched *watched, enum h1_close reason, uint64_t requests, uint64_t sent_bytes)
{
    (void)reason;
    (void)requests;
    (void)sent_bytes;
    ck_assert_ptr_eq(watched, &script.watched);
    script.closed++;
}

static const struct h1_watch watch = { .opened = opened,
    .introduced = introduced,
    .closed = closed };

START_TEST(tells_its_watcher_of_the_peer_first_and_then_of_whom_it_speaks_for)
{
    struct rig *rig = new_rig();
    rig->settings.watch = &watch;
    rig_connect(rig);
    ck_assert_uint_eq(script.opened, 1);
    ck_assert_str_eq(script.peer, "192.0.2.1");
    script.then = H1_HELD;
    SEND(rig, LINE GET);
    ck_assert_uint_eq(script.introduced, 1);
    ck_assert_str_eq(script.peer, "198.51.100.7");
    ck_assert_uint_eq(rig_received(rig).len, 0);
    h1_conn_admit(script.conn, H1_ADMITTED);
    rig_settle(rig);
    check_answers(rig, "198.51.100.7 4711 203.0.113.1 443", 1);

    script.then = H1_DROPPED;
    rig_connect(rig);
    SEND(rig, LINE GET);
    ck_assert_int_eq(rig->closed, H1_CLOSE_DROPPED);

    script.first = H1_DROPPED;
    script.asked = 0;
    rig_connect(rig);
    ck_assert_int_eq(rig->closed, H1_CLOSE_DROPPED);
    ck_assert_uint_eq(script.introduced, 2);
    ck_assert_uint_eq(script.asked, 0);
    ck_assert_uint_eq(script.closed, 3);
    rig_fini(rig);
}
END_TEST

START_TEST(ends_the_connection_without_memory)
{
    struct rig *rig = new_rig();
    struct addr peer;
    ck_assert_int_eq(addr_parse(WEIR_STR("192.0.2.1:4000"), &peer, NULL), 0);
    unsigned failures = 0;
    UNIT_EACH_ALLOCATION_FAILS({
        failalloc_fail_nth(0);
        struct memory_stream stream;
        struct h1_conn *conn = h1_conn_new(&rig->engine, &rig->settings, &peer);
        memory_stream_init(&stream, rig->loop, h1_conn_on_event, conn);
        memory_stream_reserve(&stream, 4096);
        failalloc_fail_nth(unit_nth);
        h1_conn_start(conn, &stream.stream);
        if (!stream.is_closed) {
            memory_stream_send(&stream, WEIR_STR("PROXY UNKNOWN\r\n"));
            for (int turn = 0; turn < 4; turn++) {
                loop_turn(rig->loop, false);
            }
        }
        bool has_failed = failalloc_has_failed();
        failures += has_failed;
        ck_assert(stream.is_closed == has_failed);
        if (!stream.is_closed) {
            memory_stream_reset(&stream);
            loop_turn(rig->loop, false);
        }
        memory_stream_fini(&stream);
    })
    ck_assert_uint_eq(failures, 2);
    rig_fini(rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, speaks_for_whom_the_header_names, 0, GOOD);
    tcase_add_loop_test(tests, closes_without_an_answer_what_is_no_header, 0,
            sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tests, closes_strangers_before_a_byte_of_theirs_is_read);
    tcase_add_test(tests, gives_the_header_the_time_of_a_head_and_the_head_its_own);
    tcase_add_test(tests, tells_a_look_from_a_header_that_breaks_off);
    tcase_add_test(tests, does_not_wait_long_for_a_header_when_it_stops);
    tcase_add_test(tests, tells_its_watcher_of_the_peer_first_and_then_of_whom_it_speaks_for);
    tcase_add_test(tests, ends_the_connection_without_memory);
}

UNIT_MAIN("http/h1_preface", add_tests)
