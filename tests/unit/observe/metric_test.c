/* SPDX-License-Identifier: MIT */
#include "observe/metric.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/failalloc.h"
#include "support/unit.h"

static const struct weir_str no_labels = { "", 0 };

/* What is told of one series. */
struct wanted {
    struct weir_str name, labels;
    unsigned times;
    struct weir_metric found;
};

static int
look(void *context, const struct weir_metric *metric)
{
    struct wanted *wanted = context;
    if (weir_str_eq(metric->name, wanted->name) &&
            weir_str_eq(metric->labels, wanted->labels)) {
        wanted->times++;
        wanted->found = *metric;
    }
    return 0;
}

static struct wanted
read_one(struct metric_pages *pages, const char *name, struct weir_str labels)
{
    struct wanted wanted = { .name = weir_str_from(name), .labels = labels };
    ck_assert_int_eq(metric_each(pages, look, &wanted), 0);
    return wanted;
}

static struct metric_pages *
new_pages(void)
{
    struct metric_pages *pages;
    ck_assert_int_eq(metric_new(&pages), 0);
    return pages;
}

START_TEST(sums_a_series_over_all_shards)
{
    struct metric_pages *pages = new_pages();
    for (pid_t owner = 1; owner <= 3; owner++) {
        struct metric_shard *shard = metric_shard(pages, owner);
        metric_add(metric_series(shard, WEIR_METRIC_COUNTER, "a_total", "A", no_labels), 5);
        metric_add(metric_series(shard, WEIR_METRIC_COUNTER, "a_total", "A",
                           WEIR_STR("b=\"c\"")),
                1);
    }
    struct wanted wanted = read_one(pages, "a_total", no_labels);
    ck_assert_uint_eq(wanted.times, 1);
    ck_assert_uint_eq(wanted.found.value, 15);
    wanted = read_one(pages, "a_total", WEIR_STR("b=\"c\""));
    ck_assert_uint_eq(wanted.found.value, 3);
    metric_free(pages);
}
END_TEST

START_TEST(keeps_the_counters_of_the_dead_and_forgets_their_gauges)
{
    struct metric_pages *pages = new_pages();
    for (unsigned i = 1; i <= 300; i++) { /* more than there are shards: they are used again */
        struct metric_shard *shard = metric_shard(pages, 77);
        ck_assert_ptr_nonnull(shard);
        metric_add(metric_series(shard, WEIR_METRIC_COUNTER, "a_total", "A", no_labels), 2);
        metric_set(metric_series(shard, WEIR_METRIC_GAUGE, "g", "G", no_labels), 9);
        metric_observe_ns(metric_series(shard, WEIR_METRIC_HISTOGRAM, "h_seconds", "H",
                                  no_labels),
                5000001);
        metric_fold(pages, 77);
        ck_assert_uint_eq(read_one(pages, "a_total", no_labels).found.value, 2 * i);
        struct wanted h = read_one(pages, "h_seconds", no_labels);
        ck_assert_uint_eq(h.found.counts[0], 0);
        ck_assert_uint_eq(h.found.counts[1], i);
        ck_assert_uint_eq(h.found.sum_ns, UINT64_C(5000001) * i);
    }
    ck_assert_uint_eq(read_one(pages, "g", no_labels).times, 0);
    metric_free(pages);
}
END_TEST

START_TEST(refuses_and_counts_series_above_the_cap)
{
    struct metric_pages *pages = new_pages();
    struct metric_shard *shard = metric_shard(pages, 1);
    for (unsigned i = 0; i < METRIC_SERIES_MAX + 10; i++) {
        char labels[32];
        int len = snprintf(labels, sizeof(labels), "i=\"%u\"", i);
        metric_cell *cell = metric_series(shard, WEIR_METRIC_COUNTER, "a_total", "A",
                weir_str_make(labels, (size_t)len));
        ck_assert_int_eq(cell != NULL, i < METRIC_SERIES_MAX);
    }
    struct wanted refused = read_one(pages, "weir_metric_series_refused_total", no_labels);
    ck_assert_uint_eq(refused.found.value, 10);
    metric_fold(pages, 1);
    refused = read_one(pages, "weir_metric_series_refused_total", no_labels);
    ck_assert_uint_eq(refused.found.value, 10);
    metric_free(pages);
}
END_TEST

START_TEST(believes_nothing_of_a_broken_shard)
{
    struct metric_pages *pages = new_pages();
    struct metric_shard *shard = metric_shard(pages, 1);
    metric_add(metric_series(shard, WEIR_METRIC_COUNTER, "a_total", "A", no_labels), 1);
    /* Everything behind the owner is garbage of several kinds. */
    static const unsigned char garbage[] = { 0xff, 0x7f, 0x01, 0x80 };
    for (size_t i = 0; i < sizeof(garbage); i++) {
        memset((char *)shard + 8, garbage[i], 1 << 16);
        struct wanted any = { .name = WEIR_STR("a_total") };
        ck_assert_int_eq(metric_each(pages, look, &any), 0);
    }
    metric_fold(pages, 1);
    ck_assert_ptr_nonnull(metric_shard(pages, 2));
    metric_free(pages);
}
END_TEST

START_TEST(attaches_only_to_pages_of_this_build)
{
    struct metric_pages *pages = new_pages(), *other;
    ck_assert_int_eq(metric_attach(metric_fd(pages), &other), 0);
    struct metric_shard *shard = metric_shard(other, 1);
    metric_add(metric_series(shard, WEIR_METRIC_COUNTER, "a_total", "A", no_labels), 4);
    ck_assert_uint_eq(read_one(pages, "a_total", no_labels).found.value, 4);
    metric_free(other);
    int fd = memfd_create("test", MFD_CLOEXEC);
    ck_assert_int_eq(metric_attach(fd, &other), -EPROTO);
    close(fd);
    metric_free(pages);
}
END_TEST

START_TEST(escapes_and_cuts_labels)
{
    char labels[METRIC_LABELS_BYTES];
    size_t len = 0;
    metric_label(labels, &len, "a", WEIR_STR("x\"\\\n"));
    ck_assert(weir_str_eq(weir_str_make(labels, len), WEIR_STR("a=\"x\\\"\\\\?\"")));
    char longest[500];
    memset(longest, '"', sizeof(longest));
    len = 0;
    for (unsigned i = 0; i < 4; i++) {
        metric_label(labels, &len, "server", weir_str_make(longest, sizeof(longest)));
    }
    ck_assert_uint_le(len, sizeof(labels));
}
END_TEST

static void *
count_to(void *context)
{
    metric_cell *cell = context;
    for (unsigned i = 0; i < 100000; i++) {
        metric_add(cell, 1);
    }
    return NULL;
}

START_TEST(is_read_while_loops_count_and_workers_end)
{
    struct metric_pages *pages = new_pages();
    metric_cell *cell = metric_series(metric_shard(pages, 1), WEIR_METRIC_COUNTER, "a_total",
            "A", no_labels);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, count_to, cell), 0);
    uint64_t before = 0;
    for (unsigned i = 0; i < 100; i++) {
        uint64_t now = read_one(pages, "a_total", no_labels).found.value;
        ck_assert_uint_ge(now, before);
        before = now;
    }
    pthread_join(thread, NULL);
    metric_fold(pages, 1);
    ck_assert_uint_eq(read_one(pages, "a_total", no_labels).found.value, 100000);
    metric_free(pages);
}
END_TEST

START_TEST(says_so_when_there_is_no_memory)
{
    struct metric_pages *pages, *other;
    failalloc_fail_nth(1);
    ck_assert_int_eq(metric_new(&pages), -ENOMEM);
    pages = new_pages();
    failalloc_fail_nth(1);
    ck_assert_int_eq(metric_attach(metric_fd(pages), &other), -ENOMEM);
    struct metric_shard *shard = metric_shard(pages, 1);
    for (unsigned i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof(name), "a%u_total", i);
        ck_assert_ptr_nonnull(metric_series(shard, WEIR_METRIC_COUNTER, name, "A", no_labels));
    }
    struct wanted wanted = { .name = WEIR_STR("a99_total"), .labels = no_labels };
    for (uint64_t nth = 1; nth <= 2; nth++) { /* the first samples, and those that follow */
        failalloc_fail_nth(nth);
        ck_assert_int_eq(metric_each(pages, look, &wanted), -ENOMEM);
        ck_assert_uint_eq(wanted.times, 0);
    }
    failalloc_fail_nth(0);
    ck_assert_int_eq(metric_each(pages, look, &wanted), 0);
    ck_assert_uint_eq(wanted.times, 1);
    metric_free(pages);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, sums_a_series_over_all_shards);
    tcase_add_test(tests, keeps_the_counters_of_the_dead_and_forgets_their_gauges);
    tcase_add_test(tests, refuses_and_counts_series_above_the_cap);
    tcase_add_test(tests, believes_nothing_of_a_broken_shard);
    tcase_add_test(tests, attaches_only_to_pages_of_this_build);
    tcase_add_test(tests, escapes_and_cuts_labels);
    tcase_add_test(tests, says_so_when_there_is_no_memory);
    tcase_add_test(tests, is_read_while_loops_count_and_workers_end);
}

UNIT_MAIN("observe/metric", add_tests)
