/* SPDX-License-Identifier: MIT */
#include "module/hook_figures.h"

#include <stdio.h>

#include <weir/reply.h>

#include "module/figures.h"
#include "support/failalloc.h"
#include "support/metric_rig.h"
#include "support/rig.h"
#include "support/unit.h"

#define GET  "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
#define CALL "weir_hook_call_duration_seconds"
#define WAIT "weir_hook_wait_duration_seconds"

/* ---- hooks that say what the test wants -------------------------------------------------- */

static struct rig rig;
static enum weir_verdict prepared;
static uint64_t takes_ns;

static enum weir_verdict
pass(struct weir_request *request, const void *conf)
{
    (void)request;
    (void)conf;
    manual_clock_advance_ns(&rig.clock, takes_ns);
    return WEIR_NEXT;
}

static enum weir_verdict
prepare(struct weir_request *request, const void *conf)
{
    (void)conf;
    return prepared == WEIR_DONE ? weir_reply_error(request, 418) : prepared;
}

static enum weir_verdict
drop(struct weir_connection *connection, const void *conf)
{
    (void)connection;
    (void)conf;
    return WEIR_NEXT;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_ACCESS, .request = pass },
    { .on = WEIR_ON_ACCESS, .request = pass },
    { .on = WEIR_ON_PREPARE, .request = prepare },
    { .on = WEIR_ON_LOG, .request = pass },
    { .on = WEIR_ON_CLOSE, .connection = drop },
};

static struct metric_pages *master, *worker;
static struct figures *figures;

static void
setup(void)
{
    static const struct weir_handler handler = { .name = "test", .hooks = WEIR_HOOKS(hooks) };
    rig_init(&rig, &handler, 1);
    ck_assert_int_eq(metric_new(&master), 0);
    worker = metric_rig_worker(master, &rig, 1);
    figures = figures_new(metric_take(worker));
    ck_assert_ptr_nonnull(figures);
    figures_begin(figures, &rig.map);
    prepared = WEIR_NEXT;
    takes_ns = 0;
}

static void
teardown(void)
{
    rig_fini(&rig);
    figures_free(figures);
    metric_free(worker);
    metric_free(master);
}

static void
ask(const char *request, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        rig_connect(&rig);
        rig_send(&rig, weir_str_from(request));
    }
}

static uint64_t
calls(const char *hook, const char *verdict)
{
    char labels[200];
    snprintf(labels, sizeof(labels), "module=\"rig\",hook=\"%s\",verdict=\"%s\"", hook,
            verdict);
    return metric_rig_value(master, "weir_hook_calls_total", labels);
}

static struct weir_metric
histogram(const char *name, const char *hook)
{
    char labels[200];
    snprintf(labels, sizeof(labels), "module=\"rig\",hook=\"%s\"", hook);
    return metric_rig_read(master, name, labels).found;
}

static uint64_t
count_of(struct weir_metric metric)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= WEIR_METRIC_BOUNDS; i++) {
        count += metric.counts[i];
    }
    return count;
}

/* ---- tests ------------------------------------------------------------------------------- */

START_TEST(counts_every_call_by_what_it_said)
{
    ask(GET, 100);
    ck_assert_uint_eq(calls("access", "next"), 200); /* two hooks */
    ck_assert_uint_eq(calls("prepare", "next"), 100);
    ck_assert_uint_eq(calls("content", "done"), 100);
    ck_assert_uint_eq(calls("log", "next"), 100);
    ck_assert_uint_eq(calls("content", "next"), 0);
    prepared = WEIR_DONE;
    ask(GET, 10);
    prepared = WEIR_FAILED;
    ask(GET, 20);
    prepared = (enum weir_verdict)77; /* is no verdict, and nobody's memory */
    ask(GET, 30);
    ck_assert_uint_eq(calls("access", "next"), 320);
    ck_assert_uint_eq(calls("prepare", "done"), 10);
    ck_assert_uint_eq(calls("prepare", "failed"), 50);
    ck_assert_uint_eq(calls("content", "done"), 100);
}
END_TEST

START_TEST(times_calls_of_one_request_in_sixteen)
{
    takes_ns = 3000;
    ask(GET, 1); /* the first always is */
    ck_assert_uint_eq(histogram(CALL, "access").counts[3], 2);
    ck_assert_uint_eq(histogram(CALL, "access").sum_ns, 6000);
    ask(GET, 16000);
    uint64_t timed = count_of(histogram(CALL, "log"));
    ck_assert_uint_ge(timed, 800);
    ck_assert_uint_le(timed, 1200);
    ck_assert_uint_eq(count_of(histogram(CALL, "access")), 2 * timed);
    ck_assert_uint_eq(histogram(CALL, "access").sum_ns, timed * 6000);
    ck_assert_uint_eq(calls("access", "next"), 32002);
}
END_TEST

START_TEST(says_how_long_hooks_waited)
{
    rig_connect(&rig);
    rig_send(&rig, WEIR_STR("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"));
    rig_pass(&rig, 2);
    rig_send(&rig, WEIR_STR("1"));
    rig_pass(&rig, 0.2);
    rig_send(&rig, WEIR_STR("2"));
    struct weir_metric waits = histogram(WAIT, "content");
    ck_assert_uint_eq(count_of(waits), 2);
    ck_assert_uint_eq(waits.counts[6], 1);
    ck_assert_uint_eq(waits.counts[10], 1);
    ck_assert_uint_eq(waits.sum_ns, 22 * 100 * NS_PER_MS);
    ck_assert_uint_eq(calls("content", "pending"), 2);
    ck_assert_uint_eq(calls("content", "done"), 1);
    /* A wait that nobody ends is one too. */
    ask("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", 1);
    rig_pass(&rig, 1);
    memory_stream_reset(&rig.stream);
    rig_settle(&rig);
    ck_assert_uint_eq(count_of(histogram(WAIT, "content")), 3);
}
END_TEST

START_TEST(a_hook_has_one_place_and_too_many_share_the_last)
{
    ck_assert_uint_eq(hook_figures_at("a", WEIR_ON_LOG), hook_figures_at("a", WEIR_ON_LOG));
    ck_assert_uint_ne(hook_figures_at("a", WEIR_ON_LOG), hook_figures_at("a", WEIR_ON_HEAD));
    ck_assert_uint_ne(hook_figures_at("a", WEIR_ON_LOG), hook_figures_at("b", WEIR_ON_LOG));
    static char names[2 * HOOK_FIGURES_MAX][8];
    uint16_t last = 0;
    for (unsigned i = 0; i < 2 * HOOK_FIGURES_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "m%u", i);
        last = hook_figures_at(names[i], WEIR_ON_LOG);
        ck_assert_uint_lt(last, HOOK_FIGURES_MAX * HOOK_VERDICTS);
    }
    ck_assert_uint_eq(last, (HOOK_FIGURES_MAX - 1) * HOOK_VERDICTS);
}
END_TEST

START_TEST(without_memory_requests_are_counted_and_hooks_are_not)
{
    struct metric_pages *other = metric_rig_worker(master, "other", 1);
    struct metric_shard *shard = metric_take(other);
    failalloc_fail_nth(2);
    struct figures *without = figures_new(shard);
    failalloc_fail_nth(0);
    ck_assert_ptr_nonnull(without);
    rig.map.hook_figures = NULL;
    rig.map.calls = NULL;
    figures_begin(without, &rig.map);
    ask(GET, 3);
    ck_assert_uint_eq(calls("access", "next"), 0);
    ck_assert_uint_eq(metric_rig_value(master, "weir_http_requests_total",
                              "server=\"\",route=\"\",method=\"GET\",code=\"200\""),
            3);
    figures_free(without);
    metric_free(other);
    rig.map.figures = figures;
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, counts_every_call_by_what_it_said);
    tcase_add_test(tests, times_calls_of_one_request_in_sixteen);
    tcase_add_test(tests, says_how_long_hooks_waited);
    tcase_add_test(tests, a_hook_has_one_place_and_too_many_share_the_last);
    tcase_add_test(tests, without_memory_requests_are_counted_and_hooks_are_not);
}

UNIT_MAIN("module/hook_figures", add_tests)
