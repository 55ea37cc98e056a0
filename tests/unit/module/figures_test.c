/* SPDX-License-Identifier: MIT */
#include "module/figures.h"

#include <stdio.h>

#include "base/budget.h"
#include "module/metric_table.h"
#include "support/failalloc.h"
#include "support/metric_rig.h"
#include "support/rig.h"
#include "support/unit.h"

struct counting {
    struct rig rig;
    struct metric_pages *master, *worker;
    struct figures *figures;
};

static void
counting_init(struct counting *counting)
{
    rig_init(&counting->rig, NULL, 0);
    ck_assert_int_eq(metric_new(&counting->master), 0);
    counting->worker = metric_rig_worker(counting->master, counting, 2);
    counting->figures = figures_new(metric_take(counting->worker));
    ck_assert_ptr_nonnull(counting->figures);
    figures_begin(counting->figures, &counting->rig.map);
}

static void
counting_fini(struct counting *counting)
{
    rig_fini(&counting->rig);
    figures_free(counting->figures);
    metric_free(counting->worker);
    metric_free(counting->master);
}

static uint64_t
figure(struct counting *counting, const char *name, const char *labels)
{
    figures_take_engine(counting->figures, &counting->rig.engine);
    return metric_rig_value(counting->master, name, labels);
}

static uint64_t
requests(struct counting *counting, const char *method_and_code)
{
    char labels[200];
    snprintf(labels, sizeof(labels), "server=\"\",route=\"\",%s", method_and_code);
    return figure(counting, "weir_http_requests_total", labels);
}

static void
ask(struct counting *counting, struct weir_str request)
{
    rig_connect(&counting->rig);
    rig_send(&counting->rig, request);
}

START_TEST(counts_each_request_once_by_its_answer)
{
    struct counting counting;
    counting_init(&counting);
    for (unsigned i = 1; i <= 3; i++) {
        ask(&counting, WEIR_STR("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
        ask(&counting, WEIR_STR("GET /none HTTP/1.1\r\nHost: a\r\n\r\n"));
        ask(&counting, WEIR_STR("GET /fail HTTP/1.1\r\nHost: a\r\n\r\n"));
        ask(&counting, WEIR_STR("GET /hello HTTP/1.1\r\nHost : a\r\n\r\n"));
        ck_assert_uint_eq(requests(&counting, "method=\"GET\",code=\"200\""), i);
        ck_assert_uint_eq(requests(&counting, "method=\"GET\",code=\"404\""), i);
        ck_assert_uint_eq(requests(&counting, "method=\"GET\",code=\"500\""), i);
        ck_assert_uint_eq(requests(&counting, "method=\"_OTHER\",code=\"400\""), i);
        ck_assert_uint_eq(figure(&counting, "weir_http_heads_refused_total", ""), i);
        ck_assert_uint_eq(figure(&counting, "weir_http_requests_ended_total",
                                  "reason=\"complete\""),
                4 * i);
        ck_assert_uint_eq(figure(&counting, "weir_http_request_duration_seconds",
                                  "server=\"\",route=\"\""),
                4 * i);
    }
    counting_fini(&counting);
}
END_TEST

START_TEST(counts_clients_that_leave_and_forgets_them)
{
    struct counting counting;
    counting_init(&counting);
    ask(&counting, WEIR_STR("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12"));
    ck_assert_uint_eq(figure(&counting, "weir_http_requests_in_flight", ""), 1);
    ck_assert_uint_eq(figure(&counting, "weir_connections", ""), 1);
    memory_stream_reset(&counting.rig.stream);
    rig_settle(&counting.rig);
    ck_assert_uint_eq(requests(&counting, "method=\"POST\",code=\"none\""), 1);
    ck_assert_uint_eq(figure(&counting, "weir_http_requests_ended_total",
                              "reason=\"client_left\""),
            1);
    ck_assert_uint_eq(figure(&counting, "weir_http_requests_in_flight", ""), 0);
    ck_assert_uint_eq(figure(&counting, "weir_connections", ""), 0);
    counting_fini(&counting);
}
END_TEST

static uint64_t
part_ns(struct counting *counting, const char *part)
{
    char name[80];
    snprintf(name, sizeof(name), "weir_http_request_%sduration_seconds", part);
    return metric_rig_read(counting->master, name, "server=\"\",route=\"\"").found.sum_ns;
}

START_TEST(tells_where_the_time_of_a_request_went)
{
    struct counting counting;
    counting_init(&counting);
    struct rig *rig = &counting.rig;
    rig_connect(rig);
    rig_send(rig, WEIR_STR("POST /echo HTTP/1.1\r\n"));
    rig_pass(rig, 0.95); /* the head comes slowly */
    rig_send(rig, WEIR_STR("Host: a\r\nContent-Length: 2\r\n\r\n"));
    rig_pass(rig, 1.95); /* and so does the body */
    rig_send(rig, WEIR_STR("a"));
    rig_pass(rig, 3.95); /* which the answer follows */
    rig_send(rig, WEIR_STR("b"));
    ck_assert_uint_eq(part_ns(&counting, "read_"), 30 * 100 * NS_PER_MS);
    ck_assert_uint_eq(part_ns(&counting, "write_"), 40 * 100 * NS_PER_MS);
    ck_assert_uint_eq(part_ns(&counting, "queue_"), 0);
    ck_assert_uint_eq(part_ns(&counting, "handle_"), 0);
    ck_assert_uint_eq(part_ns(&counting, ""), 70 * 100 * NS_PER_MS);
    counting_fini(&counting);
}
END_TEST

START_TEST(active_connections_are_those_with_a_request)
{
    struct counting counting;
    counting_init(&counting);
    rig_connect(&counting.rig);
    ck_assert_uint_eq(figure(&counting, "weir_connections_active", ""), 0);
    rig_send(&counting.rig, WEIR_STR("GET /he"));
    ck_assert_uint_eq(figure(&counting, "weir_connections_active", ""), 1);
    rig_send(&counting.rig, WEIR_STR("llo HTTP/1.1\r\nHost: a\r\n\r\n"));
    ck_assert_uint_eq(figure(&counting, "weir_connections_active", ""), 0);
    ck_assert_uint_eq(figure(&counting, "weir_connections", ""), 1);
    ask(&counting, WEIR_STR("GET /sho"));
    memory_stream_reset(&counting.rig.stream);
    rig_settle(&counting.rig);
    ck_assert_uint_eq(figure(&counting, "weir_connections_active", ""), 0);
    counting_fini(&counting);
}
END_TEST

START_TEST(counts_connections_at_once_and_by_why_they_ended)
{
    struct counting counting;
    counting_init(&counting);
    for (unsigned i = 1; i <= 3; i++) {
        figures_count_open(counting.figures);
        ck_assert_uint_eq(metric_rig_value(counting.master, "weir_connections_opened_total",
                                  ""),
                i);
    }
    figures_count_close(counting.figures, H1_CLOSE_IDLE);
    figures_count_close(counting.figures, H1_CLOSE_IDLE);
    ck_assert_uint_eq(figure(&counting, "weir_connections_closed_total", "reason=\"idle\""), 2);
    ck_assert_uint_eq(figure(&counting, "weir_connections_closed_total", "reason=\"client\""),
            0);
    counting_fini(&counting);
}
END_TEST

START_TEST(no_client_makes_series_by_inventing_methods)
{
    struct counting counting;
    counting_init(&counting);
    ask(&counting, WEIR_STR("INVENTED /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
    ask(&counting, WEIR_STR("ELSEWISE /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct weir_str answers = rig_received(&counting.rig);
    struct rig_answer answer;
    ck_assert(rig_next_answer(&answers, false, &answer));
    char labels[64];
    snprintf(labels, sizeof(labels), "method=\"_OTHER\",code=\"%u\"", answer.status);
    ck_assert_uint_eq(requests(&counting, labels), 2);
    counting_fini(&counting);
}
END_TEST

START_TEST(counts_many_requests_of_one_connection_and_survives_a_lack_of_memory)
{
    struct counting counting;
    counting_init(&counting);
    rig_connect(&counting.rig);
    for (unsigned i = 0; i < 1000; i++) {
        rig_send(&counting.rig, WEIR_STR("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    ck_assert_uint_eq(requests(&counting, "method=\"GET\",code=\"200\""), 1000);
    struct metric_shard *shard = metric_take(counting.worker);
    failalloc_fail_nth(1);
    ck_assert_ptr_null(figures_new(shard));
    failalloc_fail_nth(0);
    counting_fini(&counting);
}
END_TEST

START_TEST(tells_what_clients_take_of_memory_and_its_limit)
{
    struct counting counting;
    counting_init(&counting);
    uint64_t before = budget_used_bytes();
    budget_init(before + (1 << 20));
    budget_take(12345);
    figures_take_process(counting.figures);
    ck_assert_uint_eq(figure(&counting, "weir_memory_bytes", ""), before + 12345);
    ck_assert_uint_eq(figure(&counting, "weir_memory_limit_bytes", ""), before + (1 << 20));
    ck_assert_uint_eq(figure(&counting, "weir_body_files", "message=\"request\""), 0);
    budget_give(12345);
    budget_init(UINT64_MAX);
    figures_take_process(counting.figures);
    ck_assert_uint_eq(figure(&counting, "weir_memory_bytes", ""), before);
    ck_assert_uint_eq(figure(&counting, "weir_memory_limit_bytes", ""), 0);
    counting_fini(&counting);
}
END_TEST

static int
expect_reserved(void *context, const struct weir_metric *metric)
{
    unsigned *count = context;
    ++*count;
    ck_assert_msg(metric_table_is_reserved(metric->name), "%.*s", WEIR_STR_ARG(metric->name));
    return 0;
}

START_TEST(no_module_can_have_a_name_of_the_server_s)
{
    struct counting counting;
    counting_init(&counting);
    ask(&counting, WEIR_STR("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
    figures_count_open(counting.figures);
    figures_observe_queue(counting.figures, "default", 1);
    figures_take_process(counting.figures);
    unsigned count = 0;
    ck_assert_int_eq(metric_each(counting.master, expect_reserved, &count), 0);
    ck_assert_uint_gt(count, 40);
    counting_fini(&counting);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, counts_each_request_once_by_its_answer);
    tcase_add_test(tests, counts_clients_that_leave_and_forgets_them);
    tcase_add_test(tests, tells_where_the_time_of_a_request_went);
    tcase_add_test(tests, active_connections_are_those_with_a_request);
    tcase_add_test(tests, counts_connections_at_once_and_by_why_they_ended);
    tcase_add_test(tests, no_client_makes_series_by_inventing_methods);
    tcase_add_test(tests, counts_many_requests_of_one_connection_and_survives_a_lack_of_memory);
    tcase_add_test(tests, tells_what_clients_take_of_memory_and_its_limit);
    tcase_add_test(tests, no_module_can_have_a_name_of_the_server_s);
}

UNIT_MAIN("module/figures", add_tests)
