/* SPDX-License-Identifier: MIT */
/* What a module counts itself, on the testbed. Over reloads, and in a worker that is killed:
 * tests/integration/test_metrics.py. */
#include "module/module_metrics.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>
#include <weir/worker.h>

#include "module/figures.h"
#include "observe/log.h"
#include "support/failalloc.h"
#include "support/metric_rig.h"
#include "support/unit.h"
#include "testkit/testbed.h"

enum {
    HITS,
    MISSES,
    STREAMS,
    WAITS,
    LOOKS,
    TICKS,
};

static const struct weir_own_metric metrics[] = {
    [HITS] = { WEIR_METRIC_COUNTER, WEIR_METRIC_BY_SERVER | WEIR_METRIC_BY_ROUTE,
            "weir_counts_lookups_total", "What was looked for", "result", "hit" },
    [MISSES] = { WEIR_METRIC_COUNTER, WEIR_METRIC_BY_SERVER | WEIR_METRIC_BY_ROUTE,
            "weir_counts_lookups_total", "What was looked for", "result", "miss" },
    [STREAMS] = { WEIR_METRIC_GAUGE, WEIR_METRIC_BY_ROUTE, "weir_counts_streams", "Streams",
            NULL, NULL },
    [WAITS] = { WEIR_METRIC_HISTOGRAM, 0, "weir_counts_wait_seconds", "Waits", NULL, NULL },
    [LOOKS] = { WEIR_METRIC_SHORT_HISTOGRAM, 0, "weir_counts_look_seconds", "Looks", NULL,
            NULL },
    [TICKS] = { WEIR_METRIC_GAUGE, 0, "weir_counts_ticks", "Ticks", NULL, NULL },
};

static struct weir_loop *own_loop;

/* On a thread of the pool: refused. */
static void
run(void *data, void *thread_state)
{
    (void)data;
    (void)thread_state;
    weir_loop_metric_add(own_loop, TICKS, 1);
}

static enum weir_verdict
done(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)conf;
    (void)how;
    (void)data;
    weir_metric_add(request, HITS, 1);
    return weir_reply_error(request, 404);
}

static const struct weir_job job = { .run = run, .done = done };

static void
misuse(const struct weir_request *request)
{
    weir_metric_add(request, HITS, -1);
    weir_metric_add(request, TICKS + 1, 1);
    weir_metric_add(request, UINT_MAX, 1);
    weir_metric_add(request, WAITS, 1);
    weir_metric_observe(request, HITS, 1);
    weir_metric_observe(request, STREAMS, 1);
    weir_loop_metric_set(weir_request_loop(request), HITS, 7);
    weir_loop_metric_set(weir_request_loop(request), WAITS, 7);
}

static enum weir_verdict
count(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str path = weir_request_path(request);
    own_loop = weir_request_loop(request);
    weir_metric_add(request, weir_str_eq(path, WEIR_STR("/miss")) ? MISSES : HITS, 1);
    weir_metric_add(request, STREAMS, weir_str_eq(path, WEIR_STR("/leave")) ? -1 : 1);
    weir_metric_observe(request, WAITS, 20000000);
    weir_metric_observe(request, LOOKS, 700);
    weir_loop_metric_add(own_loop, STREAMS, 5);
    if (weir_str_eq(path, WEIR_STR("/misuse"))) {
        misuse(request);
    }
    return weir_str_eq(path, WEIR_STR("/job"))
            ? weir_offload(request, &job, NULL, WEIR_WAIT_PRESET)
            : weir_reply_error(request, 404);
}

static int
loop_start(struct weir_loop *loop, struct weir_conf_report *report)
{
    (void)report;
    weir_loop_metric_add(loop, TICKS, 1); /* before anything is counted: nothing */
    return 0;
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = count } };

static const struct weir_module counts = {
    WEIR_MODULE_HEAD("counts", "1", ""),
    WEIR_HANDLERS({ .name = "counts", .hooks = WEIR_HOOKS(hooks) }),
    .loop_start = loop_start,
    .metrics = WEIR_METRICS(metrics),
};

static const char config[] =
        "{ \"modules\": [\"counts\"], \"servers\": [{ \"listen\": \"127.0.0.1:1\","
        "  \"name\": \"shop\", \"routes\": ["
        "    { \"match\": \"/named\", \"name\": \"named\", \"handle\": \"counts\" },"
        "    { \"name\": \"rest\", \"handle\": \"counts\" }] }] }";

static struct metric_pages *master, *worker;
static struct metric_shard *shard;
static struct figures *figures;
static struct testbed *testbed;

static void
setup(void)
{
    static const struct weir_module *const modules[] = { &counts };
    const struct testbed_settings settings = { config, modules, 1 };
    struct buf report;
    log_init(-1, LOG_ERROR);
    buf_init(&report, 4096);
    int r = testbed_new(&settings, &report, &testbed);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
    ck_assert_int_eq(metric_new(&master), 0);
    worker = metric_rig_worker(master, &master, 1);
    shard = metric_take(worker);
    figures = figures_new(shard);
    ck_assert_ptr_nonnull(figures);
    testbed_count(testbed, figures);
}

static void
teardown(void)
{
    ck_assert(testbed_free(testbed));
    figures_free(figures);
    metric_free(worker);
    metric_free(master);
}

static void
ask(const char *path)
{
    char request[100];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed, weir_str_make(request, (size_t)len));
    struct weir_str answer = testbed_received(testbed);
    ck_assert(answer.len > 12 && memcmp(answer.ptr, "HTTP/1.1 404", 12) == 0);
}

static uint64_t
value(const char *name, const char *labels)
{
    return metric_rig_value(master, name, labels);
}

#define HIT(route)  "server=\"shop\",route=\"" route "\",result=\"hit\""
#define MISS(route) "server=\"shop\",route=\"" route "\",result=\"miss\""

START_TEST(counts_for_the_request_s_server_and_route)
{
    setup();
    for (unsigned i = 1; i <= 3; i++) {
        ask("/named");
        ask("/other");
        ask("/miss");
        ask("/leave");
        ck_assert_uint_eq(value("weir_counts_lookups_total", HIT("named")), i);
        ck_assert_uint_eq(value("weir_counts_lookups_total", MISS("named")), 0);
        ck_assert_uint_eq(value("weir_counts_lookups_total", HIT("rest")), 2 * i);
        ck_assert_uint_eq(value("weir_counts_lookups_total", MISS("rest")), i);
        ck_assert_uint_eq(value("weir_counts_streams", "route=\"named\""), i);
        ck_assert_uint_eq(value("weir_counts_streams", "route=\"rest\""), i);
        ck_assert_uint_eq(value("weir_counts_streams", "route=\"\""), 20 * i); /* the loop's */
        ck_assert_uint_eq(value("weir_counts_wait_seconds", ""), 4 * i);
    }
    struct metric_rig_series looks = metric_rig_read(master, "weir_counts_look_seconds", "");
    ck_assert_int_eq(looks.found.type, WEIR_METRIC_SHORT_HISTOGRAM);
    ck_assert_uint_eq(looks.found.counts[1], 12); /* up to 1 us */
    ck_assert_uint_eq(looks.found.sum_ns, 12 * 700);
    teardown();
}
END_TEST

START_TEST(counts_nothing_that_is_against_the_rules)
{
    setup();
    ask("/misuse");
    ask("/misuse");
    ck_assert_uint_eq(value("weir_counts_lookups_total", HIT("rest")), 2);
    ck_assert_uint_eq(value("weir_counts_wait_seconds", ""), 2);
    ck_assert_uint_eq(value("weir_counts_streams", "route=\"rest\""), 2);
    teardown();
}
END_TEST

START_TEST(counts_nothing_from_another_thread)
{
    setup();
    ask("/job");
    ck_assert_uint_eq(value("weir_counts_ticks", ""), 0);
    ck_assert_uint_eq(value("weir_counts_lookups_total", HIT("rest")), 2); /* hook and done() */
    teardown();
}
END_TEST

START_TEST(counts_that_there_is_no_room_for_another_series)
{
    setup();
    char labels[32];
    for (unsigned i = 0; i < METRIC_SERIES_MAX; i++) {
        int len = snprintf(labels, sizeof(labels), "a=\"%u\"", i);
        (void)metric_series(shard, WEIR_METRIC_GAUGE, "weir_fill", "Fills",
                weir_str_make(labels, (size_t)len));
    }
    uint64_t before = value("weir_metric_series_refused_total", "");
    ask("/named");
    ask("/named");
    ck_assert_uint_eq(value("weir_counts_lookups_total", HIT("named")), 0);
    ck_assert_uint_gt(value("weir_metric_series_refused_total", ""), before);
    teardown();
}
END_TEST

START_TEST(does_without_figures_and_without_memory)
{
    setup();
    testbed_count(testbed, NULL);
    ask("/named");
    ask("/misuse");
    ck_assert_uint_eq(value("weir_counts_lookups_total", HIT("named")), 0);
    failalloc_fail_nth(1);
    ck_assert_ptr_null(module_metrics_new(shard));
    failalloc_fail_nth(0);
    teardown();
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, counts_for_the_request_s_server_and_route);
    tcase_add_test(tests, counts_nothing_that_is_against_the_rules);
    tcase_add_test(tests, counts_nothing_from_another_thread);
    tcase_add_test(tests, counts_that_there_is_no_room_for_another_series);
    tcase_add_test(tests, does_without_figures_and_without_memory);
}

UNIT_MAIN("module/module_metrics", add_tests)
