/* SPDX-License-Identifier: MIT */
/* What log hooks learn of a request: who sent it, when, how many bytes went which way, and why
 * it ended. */
#include <stdio.h>

#include <weir/reply.h>
#include <weir/request.h>

#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define GET(path)        "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define SEND(rig, bytes) rig_send((rig), WEIR_STR(bytes))

static struct facts {
    char peer[64], client[64], id[64], end[32], iso[64], log[64], unix_s[64];
    unsigned port, status;
    int64_t began_ns;
    uint64_t duration_ns, first_byte_ns, received, sent, sent_body;
    uint32_t ordinal;
} seen[8];
static unsigned count;

static void
copy(char *dst, struct weir_str from)
{
    ck_assert_ptr_nonnull(from.ptr);
    ck_assert_uint_lt(from.len, 32);
    memcpy(dst, from.ptr, from.len);
    dst[from.len] = '\0';
}

static void
copy_began(char *dst, const struct weir_request *request, enum weir_time_form form)
{
    char text[WEIR_TIME_TEXT_BYTES];
    copy(dst, weir_str_make(text, weir_request_began_text(request, form, text)));
}

static enum weir_verdict
look(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct facts *facts = &seen[count++ % 8];
    copy(facts->peer, weir_request_peer(request));
    copy(facts->client, weir_request_client(request));
    copy(facts->id, weir_request_id(request));
    copy(facts->end, weir_request_end_label(request));
    ck_assert(weir_str_eq(weir_request_scheme(request), WEIR_STR("http")));
    ck_assert_uint_eq(weir_request_server_name(request).len, 0);
    ck_assert_uint_eq(weir_request_route_name(request).len, 0);
    facts->port = weir_request_peer_port(request);
    facts->status = weir_reply_status(request);
    facts->began_ns = weir_request_began_ns(request);
    copy_began(facts->iso, request, WEIR_TIME_ISO);
    copy_began(facts->log, request, WEIR_TIME_LOG);
    copy_began(facts->unix_s, request, WEIR_TIME_UNIX);
    facts->duration_ns = weir_request_duration_ns(request);
    facts->first_byte_ns = weir_request_first_byte_ns(request);
    facts->received = weir_request_received_bytes(request);
    facts->sent = weir_request_sent_bytes(request);
    facts->sent_body = weir_request_sent_body_bytes(request);
    facts->ordinal = weir_request_ordinal(request);
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_LOG, .request = look } };
static const struct weir_handler handler = { .name = "log", .hooks = WEIR_HOOKS(hooks) };

static struct rig *
new_rig(void)
{
    static struct rig rig;
    rig_init(&rig, &handler, 1);
    rig_connect(&rig);
    return &rig;
}

START_TEST(tells_who_when_and_how_much)
{
    struct rig *rig = new_rig();
    int64_t began_ns = clock_real_ns(&rig->clock.clock);
    SEND(rig, "GET /hello HTTP/1.1\r\nHo");
    rig_pass(rig, 0.5);
    SEND(rig, "st: a\r\n\r\n");
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(seen[0].peer, "192.0.2.1");
    ck_assert_str_eq(seen[0].client, "192.0.2.1");
    ck_assert_uint_eq(seen[0].port, 4000);
    ck_assert_uint_eq(strlen(seen[0].id), 26);
    ck_assert_str_eq(seen[0].end, "complete");
    ck_assert_int_eq(seen[0].began_ns, began_ns);
    ck_assert_uint_eq(seen[0].duration_ns, 500 * NS_PER_MS);
    ck_assert_uint_eq(seen[0].first_byte_ns, 500 * NS_PER_MS);
    ck_assert_uint_eq(seen[0].received, strlen(GET("/hello")));
    ck_assert_uint_eq(seen[0].sent, rig_received(rig).len);
    ck_assert_uint_eq(seen[0].sent_body, 5);
    rig_fini(rig);
}
END_TEST

START_TEST(writes_when_it_began)
{
    struct rig *rig = new_rig();
    SEND(rig, GET("/hello"));
    ck_assert_str_eq(seen[0].iso, "1994-11-06T08:49:37.000Z");
    ck_assert_str_eq(seen[0].log, "06/Nov/1994:08:49:37 +0000");
    ck_assert_str_eq(seen[0].unix_s, "784111777.000");
    rig_pass(rig, 22.5);
    SEND(rig, "GET /hello HTTP/1.1\r\nHo");
    rig_pass(rig, 5); /* what counts is when it began, not when it was logged */
    SEND(rig, "st: a\r\n\r\n");
    ck_assert_str_eq(seen[1].iso, "1994-11-06T08:49:59.500Z");
    ck_assert_str_eq(seen[1].log, "06/Nov/1994:08:49:59 +0000");
    ck_assert_str_eq(seen[1].unix_s, "784111799.500");
    rig_fini(rig);
}
END_TEST

START_TEST(follows_a_clock_that_was_set_within_a_second)
{
    struct rig *rig = new_rig();
    SEND(rig, GET("/hello"));
    manual_clock_step_real(&rig->clock, 3600 * (int64_t)NS_PER_S);
    rig_pass(rig, 1.5);
    SEND(rig, GET("/hello"));
    ck_assert_str_eq(seen[1].iso, "1994-11-06T09:49:38.500Z");
    rig_fini(rig);
}
END_TEST

START_TEST(counts_each_of_several_answers)
{
    struct rig *rig = new_rig();
    SEND(rig,
            GET("/hello") GET(
                    "/bytes/300000") "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd");
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_eq(seen[0].sent + seen[1].sent + seen[2].sent, rig_received(rig).len);
    ck_assert_uint_eq(seen[1].sent_body, 300000);
    ck_assert_uint_eq(seen[2].sent_body, 1);
    ck_assert_uint_eq(seen[2].received,
            strlen("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"));
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(seen[i].ordinal, i + 1);
    }
    rig_fini(rig);
}
END_TEST

START_TEST(counts_what_a_client_that_left_was_sent)
{
    struct rig *rig = new_rig();
    rig->stream.allowed_bytes = 1000;
    SEND(rig, GET("/bytes/300000") GET("/hello"));
    ck_assert_uint_eq(rig_received(rig).len, 1000);
    memory_stream_reset(&rig->stream);
    rig_settle(rig);
    ck_assert_str_eq(seen[0].end, "client_left");
    ck_assert_uint_eq(seen[0].status, 200);
    ck_assert_uint_eq(seen[0].sent, 1000);
    ck_assert_uint_lt(seen[0].sent_body, 1000);
    rig_fini(rig);
}
END_TEST

START_TEST(knows_of_no_answer_where_none_left)
{
    struct rig *rig = new_rig();
    SEND(rig, "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    memory_stream_reset(&rig->stream);
    rig_settle(rig);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(seen[0].sent, 0);
    ck_assert_uint_eq(seen[0].sent_body, 0);
    ck_assert_uint_eq(seen[0].first_byte_ns, 0);
    rig_fini(rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, tells_who_when_and_how_much);
    tcase_add_test(tests, writes_when_it_began);
    tcase_add_test(tests, follows_a_clock_that_was_set_within_a_second);
    tcase_add_test(tests, counts_each_of_several_answers);
    tcase_add_test(tests, counts_what_a_client_that_left_was_sent);
    tcase_add_test(tests, knows_of_no_answer_where_none_left);
}

UNIT_MAIN("module/request_facts", add_tests)
