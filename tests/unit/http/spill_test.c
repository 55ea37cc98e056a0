/* SPDX-License-Identifier: MIT */
/* Bytes that are too many for memory (F14): in order, bounded, and gone when nobody wants them.
 */
#include "http/spill.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/budget.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "event/pool.h"
#include "observe/log.h"
#include "support/file_rig.h"
#include "support/unit.h"

struct bench {
    struct tree tree;
    struct loop *loop;
    struct mailbox *mailbox;
    struct pool *pool;
    struct spill_store *store;
    struct spill *spill;
    struct slice_queue taken;
    unsigned news;
    uint64_t pushed, read; /* bytes; the i-th is pattern(i) */
    uint64_t budget_before;
};

static char
pattern(uint64_t i)
{
    return (char)(i * 31 + i / 256 * 7);
}

static void
on_news(void *owner)
{
    struct bench *bench = owner;
    bench->news++;
}

static void
bench_init_for(struct bench *bench, enum spill_kind kind, uint64_t wait_ns)
{
    *bench = (struct bench){ .budget_before = budget_used_bytes() };
    log_init(-1, LOG_ERROR);
    tree_init(&bench->tree);
    spill_limit(UINT64_MAX);
    ck_assert_int_eq(loop_new(NULL, &bench->loop), 0);
    ck_assert_int_eq(mailbox_new(bench->loop, &bench->mailbox), 0);
    const struct pool_settings settings = {
        .name = "disks",
        .threads_min = 1,
        .threads_max = 2,
        .queue_max = 10,
        .queue_timeout_ns = CLOCK_NEVER,
        .idle_timeout_ns = CLOCK_NEVER,
    };
    ck_assert_int_eq(pool_new(&settings, &bench->pool), 0);
    bench->store = spill_store_new(bench->loop, bench->pool, bench->mailbox,
            weir_str_from(bench->tree.path));
    ck_assert_ptr_nonnull(bench->store);
    bench->spill = spill_new(bench->store, kind, wait_ns, on_news, bench);
    ck_assert_ptr_nonnull(bench->spill);
    slice_queue_init(&bench->taken);
}

static void
bench_init(struct bench *bench)
{
    bench_init_for(bench, SPILL_REQUEST, CLOCK_NEVER);
}

static void
settle(struct bench *bench)
{
    loop_turn(bench->loop, false);
    while (bench->store->out > 0) {
        loop_turn(bench->loop, true);
    }
}

static void
bench_fini(struct bench *bench)
{
    spill_close(bench->spill);
    settle(bench);
    slice_queue_fini(&bench->taken);
    for (enum spill_kind kind = 0; kind < SPILL_KINDS; kind++) {
        ck_assert_uint_eq(spill_figures(kind).held_bytes, 0);
        ck_assert_uint_eq(spill_figures(kind).files, 0);
    }
    ck_assert(pool_stop(bench->pool, CLOCK_NEVER));
    loop_turn(bench->loop, false);
    pool_free(bench->pool);
    mailbox_free(bench->mailbox);
    spill_store_free(bench->store);
    loop_free(bench->loop);
    ck_assert_uint_eq(budget_used_bytes(), bench->budget_before);
    tree_fini(&bench->tree);
}

/* Pushes so many bytes of the pattern, no more than there is room for. */
static uint64_t
push(struct bench *bench, uint64_t bytes)
{
    char piece[10000];
    uint64_t done = 0;
    while (done < bytes && spill_error(bench->spill) == 0) {
        uint64_t room = spill_room(bench->spill), len = bytes - done;
        len = len < room ? len : room;
        len = len < sizeof(piece) ? len : sizeof(piece);
        if (len == 0) {
            break;
        }
        for (uint64_t i = 0; i < len; i++) {
            piece[i] = pattern(bench->pushed + i);
        }
        ck_assert_int_eq(spill_push(bench->spill, weir_str_make(piece, len)), 0);
        bench->pushed += len;
        done += len;
    }
    return done;
}

/* Takes what is there and checks that it is what was pushed. */
static void
take(struct bench *bench)
{
    spill_take(bench->spill, &bench->taken);
    while (bench->taken.count > 0) {
        const struct slice *slice = slice_queue_at(&bench->taken, 0);
        bool is_right = true;
        for (uint64_t i = 0; i < slice->len; i++) {
            is_right &= slice->ptr[i] == pattern(bench->read + i);
        }
        ck_assert(is_right);
        bench->read += slice->len;
        slice_queue_consume(&bench->taken, slice->len);
    }
}

static unsigned
descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

START_TEST(gives_back_what_it_was_given)
{
    /* How much is pushed and taken by turns. */
    static const struct {
        uint64_t pushed;
        bool is_taken;
    } steps[][6] = {
        { { 100, true } },
        { { 3 << 20, false }, { 0, true } },
        { { 300 << 10, false }, { 0, true }, { 100 << 10, true }, { 1 << 20, false },
                { 5, true } },
        { { 65536, true }, { 65536, true }, { 65537, false }, { 1, true } },
    };
    struct bench bench;
    bench_init(&bench);
    uint64_t most = 0;
    for (size_t i = 0; i < 6; i++) {
        for (uint64_t left = steps[_i][i].pushed; left > 0;) {
            left -= push(&bench, left);
            uint64_t used = budget_used_bytes() - bench.budget_before;
            most = used > most ? used : most;
            settle(&bench);
        }
        while (steps[_i][i].is_taken && spill_bytes(bench.spill) > 0) {
            take(&bench);
            settle(&bench);
        }
        ck_assert_uint_eq(spill_bytes(bench.spill), bench.pushed - bench.read);
    }
    ck_assert_uint_eq(bench.read, bench.pushed);
    ck_assert_int_eq(spill_error(bench.spill), 0);
    ck_assert_uint_lt(most, 700 << 10); /* what is pending, and what a thread writes */
    bench_fini(&bench);
}
END_TEST

START_TEST(takes_while_it_is_given)
{
    struct bench bench;
    bench_init(&bench);
    while (bench.read < 5 << 20) {
        if (bench.pushed < 5 << 20) {
            push(&bench, 50000);
        }
        take(&bench);
        loop_turn(bench.loop, false);
    }
    ck_assert_uint_eq(bench.read, bench.pushed);
    bench_fini(&bench);
}
END_TEST

START_TEST(has_no_name_and_leaves_nothing)
{
    struct bench bench;
    bench_init(&bench);
    unsigned before = descriptors();
    push(&bench, 200 << 10);
    settle(&bench);
    ck_assert_uint_eq(descriptors(), before + 1);
    DIR *directory = opendir(bench.tree.path);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        ck_assert_msg(entry->d_name[0] == '.', "%s", entry->d_name);
    }
    closedir(directory);
    struct spill_figures figures = spill_figures(SPILL_REQUEST);
    ck_assert_uint_eq(figures.files, 1);
    ck_assert_uint_ge(figures.held_bytes, 65536);
    ck_assert_uint_eq(figures.written_bytes, figures.held_bytes); /* nothing was taken yet */
    spill_close(bench.spill);
    settle(&bench);
    ck_assert_uint_eq(descriptors(), before);
    ck_assert_uint_eq(spill_figures(SPILL_REQUEST).held_bytes, 0);
    bench.spill = NULL;
    bench_fini(&bench);
}
END_TEST

/* Nobody wants it any more while a thread is at it. */
START_TEST(may_be_closed_at_any_time)
{
    struct bench bench;
    bench_init(&bench);
    push(&bench, 200 << 10);
    if (_i > 0) {
        settle(&bench);
        take(&bench); /* a piece is being read */
    }
    spill_close(bench.spill);
    bench.spill = NULL;
    unsigned news = bench.news;
    settle(&bench);
    ck_assert_uint_eq(bench.news, news);
    bench_fini(&bench);
}
END_TEST

START_TEST(fails_where_no_more_fits)
{
    struct bench bench;
    bench_init(&bench);
    struct rlimit old, small = { .rlim_cur = 100 << 10 };
    if (_i == 0) {
        spill_limit(100 << 10);
    } else {
        signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
        small.rlim_max = old.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    }
    push(&bench, 70 << 10);
    settle(&bench);
    ck_assert_int_eq(spill_error(bench.spill), 0);
    push(&bench, 200 << 10);
    settle(&bench);
    ck_assert_int_eq(spill_error(bench.spill), -ENOSPC);
    ck_assert_uint_eq(spill_figures(SPILL_REQUEST).failures, 1);
    ck_assert_uint_le(spill_figures(SPILL_REQUEST).written_bytes, 100 << 10);
    ck_assert_uint_gt(bench.news, 0);
    struct slice_queue to;
    slice_queue_init(&to);
    ck_assert(!spill_take(bench.spill, &to));
    if (_i == 1) {
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    }
    bench_fini(&bench);
}
END_TEST

START_TEST(is_busy_when_no_thread_takes_it)
{
    struct bench bench;
    bench_init(&bench);
    ck_assert(pool_stop(bench.pool, CLOCK_NEVER));
    push(&bench, 100 << 10);
    settle(&bench);
    ck_assert_int_eq(spill_error(bench.spill), -EBUSY);
    bench_fini(&bench);
}
END_TEST

/* ---- answers, of which nothing is lost --------------------------------------------------- */

/* Takes and checks all that is there. */
static void
take_all(struct bench *bench)
{
    while (spill_bytes(bench->spill) > 0 && spill_error(bench->spill) == 0) {
        take(bench);
        settle(bench);
    }
    ck_assert_uint_eq(bench->read, bench->pushed);
}

/* There is no room on the disk, no directory, no thread: what does not fit is not taken. */
START_TEST(keeps_of_an_answer_what_it_cannot_write)
{
    struct bench bench;
    bench_init_for(&bench, SPILL_REPLY, CLOCK_NEVER);
    int directory = bench.store->directory;
    bool has_pool = _i != 2;
    if (_i == 0) {
        spill_limit(100 << 10);
    } else if (_i == 1) {
        bench.store->directory = -ENOENT;
    } else {
        ck_assert(pool_stop(bench.pool, CLOCK_NEVER));
    }
    for (unsigned i = 0; i < 20; i++) {
        push(&bench, 1 << 20);
        settle(&bench);
    }
    ck_assert_int_eq(spill_error(bench.spill), 0);
    ck_assert_uint_eq(spill_room(bench.spill), 0);
    ck_assert_uint_gt(spill_figures(SPILL_REPLY).failures, 0);
    ck_assert_uint_eq(spill_figures(SPILL_REQUEST).failures, 0);
    ck_assert_uint_lt(budget_used_bytes() - bench.budget_before, 700 << 10);
    ck_assert_uint_eq(spill_bytes(bench.spill), bench.pushed);
    take_all(&bench);
    ck_assert_int_eq(spill_error(bench.spill), 0);
    ck_assert_uint_gt(spill_room(bench.spill), 0);

    /* It is tried again, and there is room by now. */
    spill_limit(UINT64_MAX);
    bench.store->directory = directory;
    for (unsigned i = 0; has_pool && i < 20; i++) {
        push(&bench, 1 << 20);
        settle(&bench);
    }
    ck_assert(!has_pool || spill_figures(SPILL_REPLY).held_bytes > 2 << 20);
    take_all(&bench);
    bench_fini(&bench);
}
END_TEST

START_TEST(asks_again_for_a_while_when_no_thread_can_read_an_answer_back)
{
    struct bench bench;
    bench_init_for(&bench, SPILL_REPLY, 250 * NS_PER_MS);
    push(&bench, 200 << 10);
    settle(&bench);
    ck_assert_uint_gt(spill_figures(SPILL_REPLY).held_bytes, 0);
    ck_assert(pool_stop(bench.pool, CLOCK_NEVER));
    unsigned news = bench.news;
    take(&bench);
    settle(&bench);
    ck_assert_int_eq(spill_error(bench.spill), 0);
    ck_assert_uint_eq(bench.news, news);
    while (spill_error(bench.spill) == 0) {
        loop_turn(bench.loop, true);
    }
    ck_assert_int_eq(spill_error(bench.spill), -EBUSY);
    ck_assert_uint_eq(bench.news, news + 1);
    bench_fini(&bench);
}
END_TEST

START_TEST(takes_slices_over)
{
    static char bytes[100000];
    struct bench bench;
    bench_init_for(&bench, SPILL_REPLY, CLOCK_NEVER);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = pattern(i);
    }
    struct slice_queue from;
    struct slice copy;
    slice_queue_init(&from);
    ck_assert_int_eq(slice_copy(weir_str_make(bytes, 70000), &copy), 0);
    ck_assert_int_eq(slice_queue_push(&from, copy), 0);
    ck_assert_int_eq(slice_queue_push(&from, slice_static(weir_str_make(bytes + 70000, 30000))),
            0);
    ck_assert_int_eq(spill_move(bench.spill, &from, 69000), 0);
    settle(&bench);
    ck_assert_int_eq(spill_move(bench.spill, &from, 31000), 0);
    bench.pushed = sizeof(bytes);
    ck_assert_uint_eq(from.bytes, 0);
    ck_assert_uint_eq(spill_bytes(bench.spill), sizeof(bytes));
    take_all(&bench);
    slice_queue_fini(&from);
    bench_fini(&bench);
}
END_TEST

START_TEST(needs_a_directory_that_can_be_written_to)
{
    struct bench bench;
    bench_init(&bench);
    ck_assert_int_eq(spill_check(weir_str_from(bench.tree.path)), 0);
    ck_assert_int_eq(spill_check(WEIR_STR("/does/not/exist")), -ENOENT);
    ck_assert_int_lt(spill_check(WEIR_STR("/proc")), 0);
    ck_assert_int_eq(spill_check(WEIR_STR("/dev/null")), -ENOTDIR);
    bench_fini(&bench);
}
END_TEST

/* The n-th allocation of what the spill of an answer does fails: what it took comes out, unless
 * it says that it cannot. True when it was reached. */
static bool
reply_fails_at(uint64_t nth)
{
    struct bench bench;
    bench_init_for(&bench, SPILL_REPLY, 3600 * NS_PER_S);
    failalloc_fail_nth(nth);
    char piece[10000];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 10; i++) {
            for (size_t j = 0; j < sizeof(piece); j++) {
                piece[j] = pattern(bench.pushed + j);
            }
            if (spill_push(bench.spill, weir_str_make(piece, sizeof(piece))) == 0) {
                bench.pushed += sizeof(piece);
            }
        }
        settle(&bench);
        take(&bench);
        settle(&bench);
    }
    bool has_failed = failalloc_has_failed();
    failalloc_fail_nth(0);
    while (spill_bytes(bench.spill) > 0 && spill_error(bench.spill) == 0) {
        take(&bench);
        settle(&bench);
    }
    ck_assert(spill_error(bench.spill) == 0 ? bench.read == bench.pushed
                                            : spill_error(bench.spill) == -ENOMEM);
    ck_assert(has_failed || spill_error(bench.spill) == 0);
    bench_fini(&bench);
    return has_failed;
}

START_TEST(loses_nothing_of_an_answer_to_failing_allocations)
{
    uint64_t nth = 1;
    while (reply_fails_at(nth)) {
        nth++;
    }
    ck_assert_uint_gt(nth, 5);
}
END_TEST

/* The n-th allocation of what a spill does fails. True when it was reached. */
static bool
fails_at(uint64_t nth)
{
    static const char bytes[70000];
    struct bench bench;
    bench_init(&bench);
    failalloc_fail_nth(nth);
    int r = spill_push(bench.spill, weir_str_make(bytes, sizeof(bytes)));
    settle(&bench);
    spill_take(bench.spill, &bench.taken);
    settle(&bench);
    spill_take(bench.spill, &bench.taken);
    bool has_failed = failalloc_has_failed();
    failalloc_fail_nth(0);
    ck_assert(r == 0 || (r == -ENOMEM && has_failed));
    ck_assert(has_failed || (bench.taken.bytes > 0 && spill_error(bench.spill) == 0));
    bench_fini(&bench);
    return has_failed;
}

START_TEST(survives_failing_allocations)
{
    for (uint64_t nth = 1; fails_at(nth); nth++) {
        ck_assert_uint_lt(nth, 1000);
    }
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, gives_back_what_it_was_given, 0, 4);
    tcase_add_test(tests, takes_while_it_is_given);
    tcase_add_test(tests, has_no_name_and_leaves_nothing);
    tcase_add_loop_test(tests, may_be_closed_at_any_time, 0, 2);
    tcase_add_loop_test(tests, fails_where_no_more_fits, 0, 2);
    tcase_add_test(tests, is_busy_when_no_thread_takes_it);
    tcase_add_loop_test(tests, keeps_of_an_answer_what_it_cannot_write, 0, 3);
    tcase_add_test(tests, asks_again_for_a_while_when_no_thread_can_read_an_answer_back);
    tcase_add_test(tests, takes_slices_over);
    tcase_add_test(tests, loses_nothing_of_an_answer_to_failing_allocations);
    tcase_add_test(tests, needs_a_directory_that_can_be_written_to);
    tcase_add_test(tests, survives_failing_allocations);
}

UNIT_MAIN("http/spill", add_tests)
