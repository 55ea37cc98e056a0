/* SPDX-License-Identifier: MIT */
/* The budget of memory (DESIGN.md section 1, rule 9): what the server does for its clients when
 * there is little left, and when there is none. */
#include "base/budget.h"
#include "http/request.h"
#include "support/rig.h"
#include "support/unit.h"

#define GET "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

#define SEND(rig, literal) rig_send((rig), WEIR_STR(literal))

static struct rig rig;

/* Takes all but `left` bytes of a budget of 1 GiB. */
static uint64_t
leave(uint64_t left)
{
    budget_init(UINT64_C(1) << 30);
    uint64_t taken = (UINT64_C(1) << 30) - budget_used_bytes() - left;
    budget_take(taken);
    return taken;
}

static struct rig_answer
only_answer(void)
{
    struct weir_str rest = rig_received(&rig);
    struct rig_answer answer;
    ck_assert_msg(rig_next_answer(&rest, false, &answer) && rest.len == 0, "received: %.*s",
            WEIR_STR_ARG(rig_received(&rig)));
    return answer;
}

START_TEST(answers_503_while_memory_is_used_up)
{
    rig_init(&rig, NULL, 0);
    rig_connect(&rig);
    uint64_t taken = leave(0);
    SEND(&rig, GET);
    struct rig_answer answer = only_answer();
    ck_assert_uint_eq(answer.status, 503);
    ck_assert(answer.says_close);
    ck_assert_ptr_nonnull(rig_field(answer.head, "Retry-After").ptr);
    ck_assert_uint_eq(rig.engine.figures.requests_shed, 1);
    ck_assert_uint_eq(rig.engine.figures.requests_begun, 0);

    budget_give(taken);
    rig_connect(&rig);
    SEND(&rig, GET);
    ck_assert_uint_eq(only_answer().status, 200);
    rig_fini(&rig);
}
END_TEST

/* From 80% a slow reader's answer, and a slow handler's body, may hold little. */
START_TEST(holds_little_for_each_client_while_memory_is_tight)
{
    rig_init(&rig, NULL, 0);
    rig_connect(&rig);
    uint64_t taken = leave(UINT64_C(100) << 20);
    ck_assert_int_eq(budget_level(), BUDGET_TIGHT);
    rig.stream.allowed_bytes = 0;
    SEND(&rig, "GET /chunks/100000 HTTP/1.1\r\nHost: a\r\n\r\n");
    uint64_t held = budget_used_bytes() - taken;
    ck_assert_msg(held < 128 << 10, "%llu bytes held", (unsigned long long)held);

    /* It arrives all the same. */
    memory_stream_allow(&rig.stream, UINT64_MAX / 2);
    rig_settle(&rig);
    struct rig_answer answer = only_answer();
    ck_assert(answer.is_complete);
    ck_assert_uint_gt(answer.body.len, 1000000);
    budget_give(taken);
    rig_fini(&rig);
}
END_TEST

START_TEST(streams_large_bodies_both_ways_while_memory_is_tight)
{
    rig_init(&rig, NULL, 0);
    rig.settings.limits.body_bytes = 1 << 20;
    rig_connect(&rig);
    uint64_t taken = leave(UINT64_C(100) << 20);
    SEND(&rig, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    static char block[10000];
    memset(block, 'e', sizeof(block));
    for (int i = 0; i < 100; i++) {
        rig_send(&rig, weir_str_make(block, sizeof(block)));
    }
    struct rig_answer answer = only_answer();
    ck_assert_uint_eq(answer.status, 200);
    ck_assert(answer.is_complete);
    ck_assert_uint_ge(answer.body.len, 1000000);
    budget_give(taken);
    rig_fini(&rig);
}
END_TEST

/* Two clients that do not read, and one that asks when there is nothing left: the one that has
 * been stalled the longest goes, and only as many as must. */
START_TEST(closes_the_oldest_stalled_reader_first)
{
    rig_init(&rig, NULL, 0);
    struct memory_stream streams[2];
    struct addr peer;
    ck_assert_int_eq(addr_parse(WEIR_STR("192.0.2.1:4000"), &peer, NULL), 0);
    for (int i = 0; i < 2; i++) {
        struct h1_conn *conn = h1_conn_new(&rig.engine, &rig.settings, &peer);
        ck_assert_ptr_nonnull(conn);
        memory_stream_init(&streams[i], rig.loop, h1_conn_on_event, conn);
        streams[i].allowed_bytes = 100;
        h1_conn_start(conn, &streams[i].stream);
        memory_stream_send(&streams[i],
                WEIR_STR("GET /chunks/100000 HTTP/1.1\r\nHost: a\r\n\r\n"));
        for (int turn = 0; turn < 5; turn++) {
            loop_turn(rig.loop, false);
        }
        manual_clock_advance_ns(&rig.clock, 3 * NS_PER_S);
    }
    rig_connect(&rig);
    uint64_t taken = leave(0);
    SEND(&rig, GET);
    ck_assert_uint_eq(only_answer().status, 503);
    ck_assert(streams[0].is_closed && streams[0].was_reset);
    ck_assert(!streams[1].is_closed);
    ck_assert_uint_eq(rig.engine.figures.readers_shed, 1);
    ck_assert_int_ne(budget_level(), BUDGET_FULL);

    budget_give(taken);
    memory_stream_reset(&streams[1]);
    rig_settle(&rig);
    ck_assert(streams[1].is_closed);
    memory_stream_fini(&streams[0]);
    memory_stream_fini(&streams[1]);
    rig_fini(&rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, answers_503_while_memory_is_used_up);
    tcase_add_test(tests, holds_little_for_each_client_while_memory_is_tight);
    tcase_add_test(tests, streams_large_bodies_both_ways_while_memory_is_tight);
    tcase_add_test(tests, closes_the_oldest_stalled_reader_first);
}

UNIT_MAIN("http/memory", add_tests)
