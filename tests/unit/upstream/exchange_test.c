/* SPDX-License-Identifier: MIT */
/* Several exchanges that want the connections of two targets, in memory. */
#include "upstream/exchange.h"

#include <unistd.h>

#include "observe/log.h"
#include "support/unit.h"
#include "support/upstream_rig.h"
#include "testkit/manual_clock.h"
#include "upstream/conn.h"
#include "upstream/group.h"

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define BUSY  "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

static struct manual_clock manual;
static struct engine engine;
static struct upstream_rig rig;
static struct upstream_target_settings targets[2];
static struct upstream_settings settings;
static struct upstreams *all;
static struct upstream_target *first, *second;

/* Two targets with one connection each. */
static void
begin(const char *answer)
{
    static const struct request_handler none;
    upstream_rig_init(&rig, answer);
    for (size_t i = 0; i < 2; i++) {
        targets[i] = (struct upstream_target_settings){
            .address = i == 0 ? WEIR_STR("127.0.0.1:9") : WEIR_STR("127.0.0.1:10"),
            .weight = 1,
        };
        const char *why;
        ck_assert_int_eq(addr_parse(targets[i].address, &targets[i].addr, &why), 0);
    }
    settings = (struct upstream_settings){
        .name = WEIR_STR("app"),
        .targets = targets,
        .target_count = 2,
        .keepalive = 1,
        .connections = 1,
        .queue_size = 10,
        .connect_ns = 100 * NS_PER_S,
        .send_ns = 100 * NS_PER_S,
        .read_ns = 100 * NS_PER_S,
        .queue_ns = 100 * NS_PER_S,
        .idle_ns = 100 * NS_PER_S,
        .eject = { .failures = 1,
                .within_ns = NS_PER_S,
                .for_ns = 10 * NS_PER_S,
                .for_max_ns = 10 * NS_PER_S,
                .max_percent = 100 },
        .retry = { .on = WEIR_RETRY_503, .times = 1, .percent = -1 },
        .sticky = { .cookie = WEIR_STR("sticky"), .key = { 1, 2 } },
    };
    manual_clock_init(&manual, 1000 * NS_PER_S, 0);
    struct loop *loop;
    ck_assert_int_eq(loop_new(&manual.clock, &loop), 0);
    ck_assert_int_eq(engine_init(&engine, loop, &none, NULL), 0);
}

static void
start(void)
{
    ck_assert_int_eq(upstreams_new(&engine, &rig.connector, NULL, &settings, 1, 1, NULL, &all),
            0);
    first = all->groups[0].targets[0];
    second = all->groups[0].targets[1];
}

static void
settle(void)
{
    for (int i = 0; i < 10; i++) {
        loop_turn(engine.loop, false);
    }
}

static void
finish(void)
{
    upstreams_free(all);
    ck_assert_uint_eq(upstream_rig_open(&rig), 0);
    engine_fini(&engine);
    loop_free(engine.loop);
}

struct asker {
    struct exchange exchange;
    struct weir_request request;
};

static void
on_news(struct exchange *exchange)
{
    (void)exchange; /* whoever wants to know looks */
}

static void
ask(struct asker *asker)
{
    struct exchange *exchange = &asker->exchange;
    arena_init(&asker->request.arena, NULL, 0, 1 << 20);
    exchange->group = &all->groups[0];
    exchange->request = &asker->request;
    exchange->on_news = on_news;
    exchange->head = slice_static(WEIR_STR("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    exchange->retry_on = settings.retry.on;
    exchange->retries_left = settings.retry.times;
    exchange_begin(exchange);
}

static void
leave(struct asker *asker)
{
    exchange_end(&asker->exchange);
    arena_reset(&asker->request.arena);
}

/* A kept connection has ended, which nobody has heard of yet: whoever finds out gives its place
 * to another, and may not have it as well. */
START_TEST(makes_no_more_connections_than_it_may)
{
    begin(HELLO);
    targets[1].is_backup = true;
    start();
    upstream_failed(first, "refused");
    struct asker once = { .exchange.is_idempotent = true };
    ask(&once);
    settle();
    ck_assert_int_eq(once.exchange.state, EXCHANGE_OVER);
    leave(&once);
    ck_assert_uint_eq(second->idle_count, 1);
    upstream_answered(first, 200);

    rig.answer = "";
    struct asker busy = { .exchange.is_idempotent = true };
    struct asker waits = { .exchange.is_idempotent = true };
    struct asker last = { .exchange.is_idempotent = false };
    ask(&busy);
    settle();
    ck_assert_ptr_eq(busy.exchange.target, first);
    ask(&waits);
    ck_assert_int_eq(waits.exchange.state, EXCHANGE_QUEUED);
    upstream_failed(first, "refused");
    memory_stream_end(&rig.conns[0].memory);
    ask(&last);
    ck_assert_ptr_eq(waits.exchange.target, second);
    ck_assert_uint_eq(second->open_count, 1);
    ck_assert_int_eq(last.exchange.state, EXCHANGE_QUEUED);
    leave(&waits);
    ck_assert_ptr_eq(last.exchange.target, second); /* its turn */
    ck_assert_uint_eq(second->open_count, 1);
    leave(&last);
    leave(&busy);
    finish();
}
END_TEST

/* An answer is passed over for the sake of another target, which somebody else then gets. */
START_TEST(is_not_fine_without_an_answer)
{
    begin("");
    settings.refuses_when_out = true;
    start();
    upstream_failed(second, "refused");
    struct asker retries = { .exchange.is_idempotent = true };
    struct asker waits = { .exchange.wish = { .has_id = true, .id = second->sticky_id } };
    ask(&retries);
    settle();
    ask(&waits);
    ck_assert_int_eq(waits.exchange.state, EXCHANGE_QUEUED);
    manual_clock_advance_ns(&manual, 12 * NS_PER_S); /* the second is on trial */
    settle();
    memory_stream_send(&rig.conns[0].memory, WEIR_STR(BUSY));
    settle();
    ck_assert_ptr_eq(waits.exchange.target, second);
    ck_assert_int_eq(retries.exchange.state, EXCHANGE_OVER);
    ck_assert(!retries.exchange.has_head);
    ck_assert_int_eq(retries.exchange.error, WEIR_EXCHANGE_UNAVAILABLE);
    leave(&retries);
    leave(&waits);
    finish();
}
END_TEST

/* Who waits for a target that is passed over from now on goes to the next. */
START_TEST(waits_for_no_target_that_is_out)
{
    begin("");
    targets[1].is_backup = true;
    start();
    struct asker busy = { .exchange.is_idempotent = true };
    struct asker waits = { .exchange.is_idempotent = true };
    ask(&busy);
    settle();
    ask(&waits);
    ck_assert_int_eq(waits.exchange.state, EXCHANGE_QUEUED);
    upstream_failed(first, "refused");
    settle();
    ck_assert_ptr_eq(waits.exchange.target, second);
    ck_assert_int_eq(waits.exchange.state, EXCHANGE_RUNNING);
    leave(&waits);
    leave(&busy);
    upstream_answered(first, 200);
    upstream_failed(first, "refused");
    finish(); /* with nobody to tell */
}
END_TEST

static void
add_tests(TCase *tests)
{
    log_init(STDERR_FILENO, LOG_ERROR);
    tcase_add_test(tests, makes_no_more_connections_than_it_may);
    tcase_add_test(tests, is_not_fine_without_an_answer);
    tcase_add_test(tests, waits_for_no_target_that_is_out);
}

UNIT_MAIN("upstream/exchange", add_tests)
