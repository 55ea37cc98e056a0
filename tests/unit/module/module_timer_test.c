/* SPDX-License-Identifier: MIT */
/* Timers of modules, on a clock wound by hand. */
#include "module/module_timer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <weir/reply.h>

#include "base/clock.h"
#include "module/life.h"
#include "observe/log.h"
#include "support/unit.h"
#include "testkit/testbed.h"

/* What a test has its module do, and what came of it; one test at a time in a process. */
static int (*start_worker)(struct weir_worker *worker);
static int (*start_loop)(struct weir_loop *loop);
static void (*do_drain)(struct weir_worker *worker);
static void (*do_stop)(struct weir_loop *loop);
static struct weir_timer timer;
static struct weir_loop *fired_on;
static unsigned fired, marks[3];

static int
on_worker_start(struct weir_worker *worker, struct weir_conf_report *report)
{
    (void)report;
    return start_worker == NULL ? 0 : start_worker(worker);
}

static int
on_loop_start(struct weir_loop *loop, struct weir_conf_report *report)
{
    (void)report;
    return start_loop == NULL ? 0 : start_loop(loop);
}

static void
on_drain(struct weir_worker *worker)
{
    if (do_drain != NULL) {
        do_drain(worker);
    }
}

static void
on_loop_stop(struct weir_loop *loop)
{
    if (do_stop != NULL) {
        do_stop(loop);
    }
}

static void
fire(struct weir_loop *loop, void *data)
{
    (void)data;
    fired_on = loop;
    fired++;
}

/* Sets a timer from a hook. */
static enum weir_verdict
set_later(struct weir_request *request, const void *conf)
{
    (void)conf;
    int r = weir_delay(weir_request_loop(request), 5 * NS_PER_S, fire, NULL, NULL);
    return weir_reply_text(request, r == 0 ? 200 : 500, WEIR_STR("text/plain"),
            WEIR_STR("set"));
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = set_later } };

static const struct weir_module ticker = {
    WEIR_MODULE_HEAD("ticker", "1", ""),
    WEIR_HANDLERS({ .name = "ticker", .hooks = WEIR_HOOKS(hooks) }),
    .worker_start = on_worker_start,
    .loop_start = on_loop_start,
    .loop_stop = on_loop_stop,
    .drain = on_drain,
};
static const struct weir_module *const modules[] = { &ticker };

static int
try_make(struct testbed **out)
{
    const struct testbed_settings settings = { "{ \"modules\": [\"ticker\"], \"servers\": [{ "
                                               "\"listen\": \"127.0.0.1:0\", \"routes\": [{ "
                                               "\"handle\": \"ticker\" }] }] }",
        modules, 1 };
    struct buf report;
    buf_init(&report, 10000);
    int r = testbed_new(&settings, &report, out);
    buf_fini(&report);
    return r;
}

static struct testbed *
make(void)
{
    struct testbed *testbed;
    ck_assert_int_eq(try_make(&testbed), 0);
    return testbed;
}

/* ---- firing ---- */

static int
every_second_of_worker(struct weir_worker *worker)
{
    return weir_every(weir_worker_loop(worker), NS_PER_S, fire, NULL, &timer);
}

START_TEST(fires_again_and_again)
{
    start_worker = every_second_of_worker;
    struct testbed *testbed = make();
    testbed_pass(testbed, 900 * NS_PER_MS);
    ck_assert_uint_eq(fired, 0);
    testbed_pass(testbed, 100 * NS_PER_MS);
    ck_assert_uint_eq(fired, 1);
    testbed_pass(testbed, 10 * NS_PER_S);
    ck_assert_uint_eq(fired, 11);
    ck_assert_uint_eq(weir_loop_index(fired_on), 0);
    weir_timer_cancel(timer);
    weir_timer_cancel(timer);
    weir_timer_cancel((struct weir_timer){ NULL, 0 });
    testbed_pass(testbed, 10 * NS_PER_S);
    ck_assert_uint_eq(fired, 11);
    ck_assert(testbed_free(testbed));
}
END_TEST

static int
every_millisecond(struct weir_loop *loop)
{
    return weir_every(loop, WEIR_TIMER_MIN_NS, fire, NULL, NULL);
}

/* The clock moves by 100 ms at a time here. */
START_TEST(does_not_make_up_for_what_was_missed)
{
    start_loop = every_millisecond;
    struct testbed *testbed = make();
    testbed_pass(testbed, 200 * NS_PER_MS);
    ck_assert_uint_eq(fired, 2);
    ck_assert(testbed_free(testbed));
}
END_TEST

static int
once_in_two_seconds(struct weir_loop *loop)
{
    return weir_delay(loop, 2 * NS_PER_S, fire, NULL, &timer);
}

START_TEST(fires_once)
{
    start_loop = once_in_two_seconds;
    struct testbed *testbed = make();
    testbed_pass(testbed, 1900 * NS_PER_MS);
    ck_assert_uint_eq(fired, 0);
    testbed_pass(testbed, 10 * NS_PER_S);
    ck_assert_uint_eq(fired, 1);
    /* The slot is another's now: the old value does not reach it. */
    struct weir_timer old = timer;
    ck_assert_int_eq(once_in_two_seconds(fired_on), 0);
    ck_assert_ptr_eq(old.slot, timer.slot);
    weir_timer_cancel(old);
    testbed_pass(testbed, 2 * NS_PER_S);
    ck_assert_uint_eq(fired, 2);
    ck_assert(testbed_free(testbed));
}
END_TEST

static void
mark(struct weir_loop *loop, void *data)
{
    (void)loop;
    ++*(unsigned *)data;
}

static void
cancel_itself(struct weir_loop *loop, void *data)
{
    weir_timer_cancel(timer);
    mark(loop, data);
    ck_assert_int_eq(weir_delay(loop, 0, mark, &marks[1], NULL), 0);
    /* Due at the same time, and not to come any more. */
    weir_timer_cancel(*(struct weir_timer *)weir_loop_state(loop));
}

static struct weir_timer other;

static int
set_two(struct weir_loop *loop)
{
    weir_loop_set_state(loop, &other);
    int r = weir_every(loop, NS_PER_S, cancel_itself, &marks[0], &timer);
    return r < 0 ? r : weir_every(loop, NS_PER_S, mark, &marks[2], &other);
}

START_TEST(is_cancelled_and_set_within_its_own_call)
{
    start_loop = set_two;
    struct testbed *testbed = make();
    testbed_pass(testbed, 10 * NS_PER_S);
    ck_assert_uint_eq(marks[0], 1);
    ck_assert_uint_eq(marks[1], 1);
    ck_assert_uint_eq(marks[2], 0);
    ck_assert(testbed_free(testbed));
}
END_TEST

START_TEST(is_set_from_a_hook_and_outlives_the_request)
{
    struct testbed *testbed = make();
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed, WEIR_STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    ck_assert(testbed_is_over(testbed));
    testbed_pass(testbed, 5 * NS_PER_S);
    ck_assert_uint_eq(fired, 1);
    ck_assert(testbed_free(testbed));
}
END_TEST

/* ---- ends ---- */

static int
some_of_each(struct weir_loop *loop)
{
    int r = weir_every(loop, NS_PER_S, fire, NULL, NULL);
    return r < 0 ? r : weir_delay(loop, NS_PER_S, fire, NULL, &timer);
}

START_TEST(ends_when_the_server_drains)
{
    start_loop = some_of_each;
    struct testbed *testbed = make();
    testbed_drain(testbed);
    testbed_pass(testbed, 10 * NS_PER_S);
    ck_assert_uint_eq(fired, 0);
    weir_timer_cancel(timer);
    ck_assert(testbed_free(testbed));
}
END_TEST

static void
set_anew(struct weir_worker *worker)
{
    ck_assert_int_eq(every_second_of_worker(worker), 0);
}

START_TEST(goes_on_when_it_is_set_while_draining)
{
    start_loop = some_of_each;
    do_drain = set_anew;
    struct testbed *testbed = make();
    testbed_drain(testbed);
    testbed_pass(testbed, 10 * NS_PER_S);
    ck_assert_uint_eq(fired, 10);
    ck_assert(testbed_free(testbed));
}
END_TEST

static void
set_too_late(struct weir_loop *loop)
{
    ck_assert_int_eq(weir_delay(loop, 0, fire, NULL, NULL), -ESHUTDOWN);
    ck_assert_int_eq(weir_every(loop, NS_PER_S, fire, NULL, NULL), -ESHUTDOWN);
    weir_timer_cancel(timer); /* which has ended before */
}

START_TEST(ends_before_its_loop_does)
{
    start_loop = some_of_each;
    do_stop = set_too_late;
    ck_assert(testbed_free(make()));
    ck_assert_uint_eq(fired, 0);
}
END_TEST

/* ---- what is refused ---- */

static void *
set_elsewhere(void *loop)
{
    static int r;
    r = weir_delay(loop, 0, fire, NULL, NULL);
    return &r;
}

static int
set_badly(struct weir_loop *loop)
{
    ck_assert_int_eq(weir_every(loop, WEIR_TIMER_MIN_NS - 1, fire, NULL, NULL), -EINVAL);
    ck_assert_int_eq(weir_every(loop, NS_PER_S, NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(weir_delay(loop, 0, NULL, NULL, NULL), -EINVAL);
    pthread_t thread;
    void *result;
    ck_assert_int_eq(pthread_create(&thread, NULL, set_elsewhere, loop), 0);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_int_eq(*(int *)result, -EINVAL);
    /* As many as there may be, and one more in the place of one that ended. */
    for (unsigned i = 0; i < WEIR_TIMERS_MAX; i++) {
        ck_assert_int_eq(weir_delay(loop, UINT64_MAX, fire, NULL, &timer), 0);
    }
    ck_assert_int_eq(weir_delay(loop, 0, fire, NULL, NULL), -ENOBUFS);
    weir_timer_cancel(timer);
    ck_assert_int_eq(weir_delay(loop, 0, fire, NULL, NULL), 0);
    return 0;
}

START_TEST(refuses_what_cannot_be_and_too_many)
{
    start_loop = set_badly;
    struct testbed *testbed = make();
    testbed_pass(testbed, 100 * NS_PER_MS);
    ck_assert_uint_eq(fired, 1);
    ck_assert(testbed_free(testbed));
}
END_TEST

static int
set_many(struct weir_loop *loop)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && i < 40; i++) {
        r = weir_delay(loop, NS_PER_S, fire, NULL, NULL);
    }
    return r;
}

START_TEST(survives_each_allocation_failing)
{
    log_init(-1, LOG_ERROR);
    start_loop = set_many;
    UNIT_EACH_ALLOCATION_FAILS({
        struct testbed *testbed;
        if (try_make(&testbed) == 0) {
            ck_assert(testbed_free(testbed));
        }
    });
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, fires_again_and_again);
    tcase_add_test(tests, does_not_make_up_for_what_was_missed);
    tcase_add_test(tests, fires_once);
    tcase_add_test(tests, is_cancelled_and_set_within_its_own_call);
    tcase_add_test(tests, is_set_from_a_hook_and_outlives_the_request);
    tcase_add_test(tests, ends_when_the_server_drains);
    tcase_add_test(tests, goes_on_when_it_is_set_while_draining);
    tcase_add_test(tests, ends_before_its_loop_does);
    tcase_add_test(tests, refuses_what_cannot_be_and_too_many);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("module_timer", add_tests)
