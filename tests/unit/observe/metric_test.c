/* SPDX-License-Identifier: MIT */
#include "observe/metric.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "observe/metric_layout.h"
#include "support/failalloc.h"
#include "support/metric_rig.h"
#include "support/unit.h"

static const struct weir_str no_labels = { "", 0 };

static struct metric_pages *
new_pages(void)
{
    struct metric_pages *pages;
    ck_assert_int_eq(metric_new(&pages), 0);
    return pages;
}

static metric_cell *
counter(struct metric_shard *shard, const char *name, struct weir_str labels)
{
    metric_cell *cell = metric_series(shard, WEIR_METRIC_COUNTER, name, "A", labels);
    ck_assert_ptr_nonnull(cell);
    return cell;
}

START_TEST(sums_a_series_over_all_shards)
{
    struct metric_pages *master = new_pages();
    struct metric_pages *worker = metric_rig_worker(master, "one", 3);
    for (unsigned i = 0; i < 3; i++) {
        struct metric_shard *shard = metric_take(worker);
        metric_add(counter(shard, "a_total", no_labels), 5);
        metric_count(counter(shard, "a_total", WEIR_STR("b=\"c\"")));
    }
    ck_assert_ptr_null(metric_take(worker)); /* no more than were lent */
    metric_add(counter(metric_own(master), "a_total", no_labels), 100);
    for (unsigned side = 0; side < 2; side++) {
        struct metric_pages *pages = side == 0 ? master : worker;
        ck_assert_uint_eq(metric_rig_read(pages, "a_total", "").times, 1);
        ck_assert_uint_eq(metric_rig_value(pages, "a_total", ""), 115);
        ck_assert_uint_eq(metric_rig_value(pages, "a_total", "b=\"c\""), 3);
    }
    metric_free(worker);
    metric_free(master);
}
END_TEST

START_TEST(keeps_the_counters_of_the_dead_and_forgets_their_gauges)
{
    struct metric_pages *master = new_pages();
    for (unsigned i = 1; i <= 300; i++) {
        struct metric_pages *worker = metric_rig_worker(master, "mortal", 1);
        struct metric_shard *shard = metric_take(worker);
        metric_add(counter(shard, "a_total", no_labels), 2);
        metric_set(metric_series(shard, WEIR_METRIC_GAUGE, "g", "G", no_labels), 9);
        static const enum weir_metric_type types[] = { WEIR_METRIC_HISTOGRAM,
            WEIR_METRIC_SHORT_HISTOGRAM };
        static const char *const names[] = { "long_seconds", "short_seconds" };
        for (unsigned t = 0; t < 2; t++) {
            metric_observe_ns(types[t],
                    metric_series(shard, types[t], names[t], "H", no_labels), 5000001);
        }
        metric_free(worker);
        metric_fold(master, "mortal");
        ck_assert_uint_eq(metric_rig_value(master, "a_total", ""), 2 * i);
        struct weir_metric h = metric_rig_read(master, "long_seconds", "").found;
        ck_assert_uint_eq(h.counts[0], 0);
        ck_assert_uint_eq(h.counts[1], i);
        ck_assert_uint_eq(h.sum_ns, UINT64_C(5000001) * i);
        h = metric_rig_read(master, "short_seconds", "").found;
        ck_assert_uint_eq(h.counts[11], i);
    }
    ck_assert_uint_eq(metric_rig_read(master, "g", "").times, 0);
    ck_assert_uint_eq(metric_shard_count(master), 1); /* it was used again */
    metric_free(master);
}
END_TEST

START_TEST(a_shard_that_is_used_again_is_empty)
{
    struct metric_pages *master = new_pages();
    struct metric_pages *worker = metric_rig_worker(master, "first", 1);
    struct metric_page *page = worker->lent[0];
    memset((char *)page + sizeof(page->magic), 0x5a, sizeof(*page) - sizeof(page->magic));
    metric_free(worker);
    metric_fold(master, "first");
    worker = metric_rig_worker(master, "second", 1);
    ck_assert_uint_eq(atomic_load(counter(metric_take(worker), "a_total", no_labels)), 0);
    metric_free(worker);
    metric_free(master);
}
END_TEST

START_TEST(lends_no_shard_to_two)
{
    struct metric_pages *master = new_pages();
    ck_assert_int_eq(metric_lend(master, "one", 2), 0);
    ck_assert_int_eq(metric_lend(master, "two", METRIC_SHARDS_MAX), -ENOSPC);
    ck_assert_int_eq(metric_lend(master, "two", METRIC_SHARDS_MAX - 2), 0);
    ck_assert_int_eq(metric_lend(master, "three", 1), -ENOSPC);
    for (unsigned i = 0; i < metric_shard_count(master); i++) {
        bool is_ones = metric_lent_fd(master, i, "one") >= 0;
        ck_assert_int_eq(is_ones, i < 2);
        ck_assert_int_ne(is_ones, metric_lent_fd(master, i, "two") >= 0);
    }
    metric_fold(master, "one");
    ck_assert_int_eq(metric_lend(master, "three", 2), 0);
    metric_free(master);
}
END_TEST

START_TEST(a_worker_can_write_to_what_it_was_lent_and_to_nothing_else)
{
    struct metric_pages *master = new_pages();
    ck_assert_int_eq(metric_lend(master, "other", 1), 0);
    const int reading[] = { metric_totals_fd(master), metric_shard_fd(master, 0) };
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(fcntl(reading[i], F_GETFL) & O_ACCMODE, O_RDONLY);
        ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reading[i], 0),
                MAP_FAILED);
    }
    /* Nor can it break anybody's mapping. */
    int lent = metric_lent_fd(master, 0, "other");
    ck_assert_int_eq(ftruncate(lent, 0), -1);
    ck_assert_int_eq(ftruncate(lent, (off_t)1 << 30), -1);
    metric_free(master);
}
END_TEST

START_TEST(a_reader_that_lacks_a_shard_says_so)
{
    struct metric_pages *master = new_pages();
    struct metric_pages *worker = metric_rig_worker(master, "one", 1);
    ck_assert_int_eq(metric_lend(master, "two", 1), 0);
    struct metric_rig_series wanted = { .name = "a_total", .labels = "" };
    ck_assert_int_eq(metric_each(worker, NULL, &wanted), -EAGAIN);
    ck_assert_int_eq(metric_attach_shard(worker, 1, metric_shard_fd(master, 1)), 0);
    metric_rig_read(worker, "a_total", "");
    metric_free(worker);
    metric_free(master);
}
END_TEST

START_TEST(refuses_and_counts_series_above_the_cap)
{
    struct metric_pages *master = new_pages();
    struct metric_pages *worker = metric_rig_worker(master, "one", 1);
    struct metric_shard *shard = metric_take(worker);
    for (unsigned i = 0; i < METRIC_SERIES_MAX + 10; i++) {
        char labels[32];
        int len = snprintf(labels, sizeof(labels), "i=\"%u\"", i);
        metric_cell *cell = metric_series(shard, WEIR_METRIC_COUNTER, "a_total", "A",
                weir_str_make(labels, (size_t)len));
        ck_assert_int_eq(cell != NULL, i < METRIC_SERIES_MAX);
    }
    ck_assert_uint_eq(metric_rig_value(master, "weir_metric_series_refused_total", ""), 10);
    metric_free(worker);
    metric_fold(master, "one");
    ck_assert_uint_eq(metric_rig_value(master, "weir_metric_series_refused_total", ""), 10);
    metric_free(master);
}
END_TEST

START_TEST(believes_nothing_of_a_broken_shard)
{
    struct metric_pages *master = new_pages();
    struct metric_pages *worker = metric_rig_worker(master, "broken", 1);
    metric_count(counter(metric_take(worker), "a_total", no_labels));
    /* Everything is garbage of several kinds. */
    struct metric_page *page = worker->lent[0];
    static const unsigned char garbage[] = { 0xff, 0x7f, 0x01, 0x80 };
    for (size_t i = 0; i < sizeof(garbage); i++) {
        memset((char *)page + sizeof(page->magic), garbage[i],
                sizeof(*page) - sizeof(page->magic));
        metric_rig_read(master, "a_total", "");
    }
    metric_free(worker);
    metric_fold(master, "broken");
    ck_assert_int_eq(metric_lend(master, "next", 1), 0);
    ck_assert_uint_eq(metric_shard_count(master), 1);
    metric_free(master);
}
END_TEST

static int
count_all(void *context, const struct weir_metric *metric)
{
    unsigned *count = context;
    (void)metric;
    ++*count;
    return 0;
}

START_TEST(tells_no_series_that_would_write_another_line)
{
    struct metric_pages *master = new_pages();
    struct metric_pages *worker = metric_rig_worker(master, "broken", 1);
    struct metric_shard *shard = metric_take(worker);
    static const struct {
        const char *name, *help, *labels;
    } bad[] = {
        { "a b", "A", "" },
        { "9a", "A", "" },
        { "a", "A\nb", "" },
        { "a", "A\\", "" },
        { "a", "A", "b" },
        { "a", "A", "b=\"" },
        { "a", "A", "b=\"c\\" },
        { "a", "A", "b=\"c\"x" },
        { "a", "A", "b=\"c\"," },
        { "a", "A", "b=\"c\nd\"" },
        { "a", "A", "=\"c\"" },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        metric_count(metric_series(shard, WEIR_METRIC_COUNTER, bad[i].name, bad[i].help,
                weir_str_from(bad[i].labels)));
    }
    /* One name, two types: the first of them. */
    metric_count(counter(shard, "two", no_labels));
    metric_set(metric_series(shard, WEIR_METRIC_GAUGE, "two", "A", no_labels), 7);
    unsigned count = 0;
    ck_assert_int_eq(metric_each(master, count_all, &count), 0);
    ck_assert_uint_eq(count, 2); /* and the number of those refused */
    ck_assert_uint_eq(metric_rig_value(master, "two", ""), 1);
    metric_free(worker);
    metric_fold(master, "broken");
    count = 0;
    ck_assert_int_eq(metric_each(master, count_all, &count), 0);
    ck_assert_uint_eq(count, 2);
    metric_free(master);
}
END_TEST

START_TEST(attaches_only_to_pages_of_this_build)
{
    struct metric_pages *master = new_pages(), *other;
    ck_assert_int_eq(metric_lend(master, "one", 1), 0);
    int fd = memfd_create("test", MFD_CLOEXEC), ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(metric_attach(fd, &other), -EPROTO);
    ck_assert_int_eq(metric_attach(ends[0], &other), -EPROTO);
    ck_assert_int_eq(ftruncate(fd, sizeof(struct metric_totals)), 0);
    ck_assert_int_eq(metric_attach(fd, &other), -EPROTO);
    ck_assert_int_eq(metric_attach(metric_totals_fd(master), &other), 0);
    ck_assert_int_eq(metric_attach_shard(other, 0, fd), -EPROTO);
    ck_assert_int_eq(metric_attach_lent(other, fd), -EPROTO);
    ck_assert_int_eq(ftruncate(fd, sizeof(struct metric_page)), 0);
    ck_assert_int_eq(metric_attach_shard(other, 0, fd), -EPROTO);
    ck_assert_int_eq(metric_attach_lent(other, fd), -EPROTO);
    ck_assert_int_eq(metric_attach_shard(other, METRIC_SHARDS_MAX, metric_shard_fd(master, 0)),
            -EPROTO);
    ck_assert_int_eq(metric_attach_shard(other, 0, metric_shard_fd(master, 0)), 0);
    ck_assert_int_eq(metric_attach_shard(other, 0, metric_shard_fd(master, 0)), -EPROTO);
    close(fd);
    close(ends[0]);
    close(ends[1]);
    metric_free(other);
    metric_free(master);
}
END_TEST

static struct weir_str
label(char *labels, struct weir_str value)
{
    size_t len = 0;
    metric_label(labels, &len, "a", value);
    return weir_str_make(labels, len);
}

static void
check_label(struct weir_str value, const char *wanted)
{
    char labels[METRIC_LABELS_BYTES];
    struct weir_str found = label(labels, value);
    ck_assert_msg(weir_str_eq(found, weir_str_from(wanted)), "%.*s", WEIR_STR_ARG(found));
}

START_TEST(escapes_labels)
{
    check_label(WEIR_STR("x\"\\\n\r"), "a=\"x\\\"\\\\\\n?\"");
    check_label(WEIR_STR("Bücher €𝄞"), "a=\"Bücher €𝄞\"");
    /* What is not UTF-8: alone, cut, overlong, a surrogate, beyond the last. */
    check_label(WEIR_STR("\x80 \xc3 \xe2\x82"), "a=\"? ? ??\"");
    check_label(WEIR_STR("\xc0\xaf \xe0\x80\xaf"), "a=\"?? ???\"");
    check_label(WEIR_STR("\xed\xa0\x80 \xf4\x90\x80\x80"), "a=\"??? ????\"");
}
END_TEST

START_TEST(long_labels_stay_apart_and_fit)
{
    char labels[METRIC_LABELS_BYTES], others[METRIC_LABELS_BYTES], value[500];
    memset(value, 'x', sizeof(value));
    struct weir_str one = label(labels, weir_str_make(value, sizeof(value)));
    value[499] = 'y';
    struct weir_str other = label(others, weir_str_make(value, sizeof(value)));
    ck_assert(!weir_str_eq(one, other));
    ck_assert(weir_str_eq(label(labels, weir_str_make(value, 200)),
            weir_str_make(labels, strlen("a=\"\"") + 200)));
    memset(value, '"', sizeof(value));
    size_t len = 0;
    for (unsigned i = 0; i < 4; i++) {
        metric_label(labels, &len, "server", weir_str_make(value, sizeof(value)));
    }
    ck_assert_uint_le(len, sizeof(labels));
    /* Four bytes at the cut are not torn. */
    char music[400];
    for (size_t i = 0; i < sizeof(music); i += 4) {
        memcpy(music + i, "𝄞", 4);
    }
    one = label(labels, weir_str_make(music, sizeof(music)));
    ck_assert_uint_eq((one.len - strlen("a=\"~12345678\"")) % 4, 0);
}
END_TEST

static void *
count_to(void *context)
{
    metric_cell *cell = context;
    for (unsigned i = 0; i < 100000; i++) {
        metric_count(cell);
    }
    return NULL;
}

START_TEST(is_read_while_loops_count_and_workers_end)
{
    struct metric_pages *master = new_pages();
    struct metric_pages *worker = metric_rig_worker(master, "one", 1);
    metric_cell *cell = counter(metric_take(worker), "a_total", no_labels);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, count_to, cell), 0);
    uint64_t before = 0;
    for (unsigned i = 0; i < 100; i++) {
        uint64_t now = metric_rig_value(worker, "a_total", "");
        ck_assert_uint_ge(now, before);
        before = now;
    }
    pthread_join(thread, NULL);
    metric_free(worker);
    metric_fold(master, "one");
    ck_assert_uint_eq(metric_rig_value(master, "a_total", ""), 100000);
    metric_free(master);
}
END_TEST

START_TEST(says_so_when_there_is_no_memory)
{
    struct metric_pages *master, *worker;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        failalloc_fail_nth(nth);
        ck_assert_int_eq(metric_new(&master), -ENOMEM);
    }
    failalloc_fail_nth(0);
    master = new_pages();
    failalloc_fail_nth(1);
    ck_assert_int_eq(metric_attach(metric_totals_fd(master), &worker), -ENOMEM);
    failalloc_fail_nth(0);
    worker = metric_rig_worker(master, "one", 1);
    failalloc_fail_nth(1);
    ck_assert_ptr_null(metric_take(worker));
    failalloc_fail_nth(0);
    struct metric_shard *shard = metric_take(worker);
    ck_assert_ptr_nonnull(shard);
    char name[METRIC_NAME_BYTES];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "a%u_and_what_makes_its_name_much_longer_total", i);
        counter(shard, name, no_labels);
    }
    unsigned count = 0;
    for (uint64_t nth = 1; nth <= 5; nth++) { /* samples and text, and what follows each */
        failalloc_fail_nth(nth);
        ck_assert_int_eq(metric_each(master, count_all, &count), -ENOMEM);
        ck_assert_uint_eq(count, 0);
    }
    failalloc_fail_nth(0);
    ck_assert_int_eq(metric_each(master, count_all, &count), 0);
    ck_assert_uint_eq(count, 201);
    metric_free(worker);
    metric_free(master);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, sums_a_series_over_all_shards);
    tcase_add_test(tests, keeps_the_counters_of_the_dead_and_forgets_their_gauges);
    tcase_add_test(tests, a_shard_that_is_used_again_is_empty);
    tcase_add_test(tests, lends_no_shard_to_two);
    tcase_add_test(tests, a_worker_can_write_to_what_it_was_lent_and_to_nothing_else);
    tcase_add_test(tests, a_reader_that_lacks_a_shard_says_so);
    tcase_add_test(tests, refuses_and_counts_series_above_the_cap);
    tcase_add_test(tests, believes_nothing_of_a_broken_shard);
    tcase_add_test(tests, tells_no_series_that_would_write_another_line);
    tcase_add_test(tests, attaches_only_to_pages_of_this_build);
    tcase_add_test(tests, escapes_labels);
    tcase_add_test(tests, long_labels_stay_apart_and_fit);
    tcase_add_test(tests, says_so_when_there_is_no_memory);
    tcase_add_test(tests, is_read_while_loops_count_and_workers_end);
}

UNIT_MAIN("observe/metric", add_tests)
