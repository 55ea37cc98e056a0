/* SPDX-License-Identifier: MIT */
/* Log files (F84; DESIGN.md section 8): lines of many threads come whole and in order, a file
 * that cannot grow loses lines and never halves one, another descriptor takes over between two.
 */
#include "observe/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log.h"
#include "observe/log_ring.h"
#include "support/file_rig.h"
#include "support/unit.h"

#define FLUSH_MS 20000u

static struct tree tree;
static char path[128], other[128];

static void
set_up(void)
{
    log_init(-1, LOG_ERROR);
    tree_init(&tree);
    tree_full(&tree, "a.log", path, sizeof(path));
    tree_full(&tree, "b.log", other, sizeof(other));
}

static void
tear_down(void)
{
    tree_fini(&tree);
}

static struct weir_log_file *
open_log(const char *name)
{
    struct weir_log_file *file;
    ck_assert_int_eq(log_file_open(weir_str_from(name), &file), 0);
    return file;
}

/* The text of a file; the caller frees it. */
static char *
text_of(const char *name)
{
    FILE *file = fopen(name, "r");
    ck_assert_ptr_nonnull(file);
    char *text = calloc(1, 8 << 20);
    size_t len = fread(text, 1, (8 << 20) - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static void
put_number(struct weir_log_file *file, const char *who, int number)
{
    char line[64];
    int len = snprintf(line, sizeof(line), "%s %d", who, number);
    while (weir_log_line(file, weir_str_make(line, (size_t)len)) == -EAGAIN) {
        ck_assert(log_file_flush(FLUSH_MS));
    }
}

START_TEST(writes_lines)
{
    struct weir_log_file *file = open_log(path);
    ck_assert_int_eq(weir_log_line(file, WEIR_STR("one")), 0);
    ck_assert_int_eq(weir_log_line(file, WEIR_STR("")), 0);
    ck_assert_int_eq(weir_log_line(file, WEIR_STR("three")), 0);
    log_file_close(file);
    char *text = text_of(path);
    ck_assert_str_eq(text, "one\n\nthree\n");
    free(text);
}
END_TEST

/* However soon the writer, which sleeps, has made its round. */
START_TEST(a_flush_of_nothing_does_not_wait)
{
    struct weir_log_file *file = open_log(path);
    for (int i = 0; i < 500; i++) {
        ck_assert(log_file_flush(FLUSH_MS));
    }
    log_file_close(file);
}
END_TEST

START_TEST(opens_a_file_once)
{
    struct weir_log_file *file = open_log(path), *again = open_log(path);
    ck_assert_ptr_eq(file, again);
    log_file_close(again);
    ck_assert_int_eq(weir_log_line(file, WEIR_STR("still")), 0);
    log_file_close(file);
    char *text = text_of(path);
    ck_assert_str_eq(text, "still\n");
    free(text);
}
END_TEST

START_TEST(takes_what_was_offered)
{
    int fd = open(other, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(log_file_offer(weir_str_from(path), fd), 0);
    struct weir_log_file *file = open_log(path);
    ck_assert_int_eq(weir_log_line(file, WEIR_STR("there")), 0);
    log_file_close(file);
    char *text = text_of(other);
    ck_assert_str_eq(text, "there\n");
    free(text);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

static const struct {
    const char *why, *path;
    int want;
} refused[] = {
    { "no path", "", -EINVAL },
    { "a relative one", "a.log", -EINVAL },
    { "no such directory", "/nowhere/at/all", -ENOENT },
    { "a directory", "/tmp", -EISDIR },
};

START_TEST(refuses)
{
    struct weir_log_file *file;
    unit_check(log_file_open(weir_str_from(refused[_i].path), &file) == refused[_i].want,
            refused[_i].why);
}
END_TEST

START_TEST(refuses_a_line_too_long)
{
    static char line[WEIR_LOG_LINE_BYTES];
    memset(line, 'x', sizeof(line));
    struct weir_log_file *file = open_log(path);
    ck_assert_int_eq(weir_log_line(file, weir_str_make(line, sizeof(line))), -EMSGSIZE);
    ck_assert_int_eq(weir_log_line(file, weir_str_make(line, sizeof(line) - 1)), 0);
    log_file_close(file);
    char *text = text_of(path);
    ck_assert_uint_eq(strlen(text), sizeof(line));
    free(text);
    ck_assert_uint_eq(log_file_figures().dropped, 1);
    ck_assert_uint_eq(log_file_figures().written, 1);
}
END_TEST

#define THREADS 4
#define LINES   20000

static void *
log_many(void *file)
{
    char who[16];
    snprintf(who, sizeof(who), "%d", (int)((uintptr_t)pthread_self() >> 12 & 0xfffff));
    for (int i = 0; i < LINES; i++) {
        put_number(file, who, i);
    }
    return NULL;
}

/* Also while the file is opened anew again and again. */
START_TEST(loses_no_line_of_many_threads)
{
    struct weir_log_file *file = open_log(path);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, file), 0);
    }
    for (int i = 0; i < 50; i++) {
        log_file_reopen();
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    log_file_close(file);
    char *text = text_of(path);
    int next[THREADS] = { 0 }, whos[THREADS] = { 0 }, count = 0;
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        char *end;
        int who = (int)strtol(line, &end, 10), number = (int)strtol(end, NULL, 10), i = 0;
        while (whos[i] != who && whos[i] != 0) {
            i++;
        }
        ck_assert_int_lt(i, THREADS);
        whos[i] = who;
        ck_assert_int_eq(number, next[i]++);
        count++;
    }
    ck_assert_int_eq(count, THREADS * LINES);
    free(text);
}
END_TEST

START_TEST(never_cuts_a_line_where_the_file_may_grow_no_more)
{
    struct rlimit limit = { 1000, RLIM_INFINITY };
    signal(SIGXFSZ, SIG_IGN);
    struct weir_log_file *file = open_log(path);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 500; i++) {
        put_number(file, "line", i);
    }
    ck_assert(log_file_flush(FLUSH_MS));
    struct log_file_figures figures = log_file_figures();
    ck_assert_uint_eq(figures.written + figures.dropped, 500);
    ck_assert_uint_gt(figures.dropped, 300);
    /* And there is room again. */
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    put_number(file, "line", 500);
    log_file_close(file);
    char *text = text_of(path), *line = text;
    uint64_t count = 0;
    for (; *line != '\0'; line = strchr(line, '\n') + 1) {
        ck_assert_int_eq(strncmp(line, "line ", 5), 0);
        ck_assert_ptr_nonnull(strchr(line, '\n'));
        count++;
    }
    ck_assert_uint_eq(count, figures.written + 1);
    ck_assert_ptr_nonnull(strstr(text, "\nline 500\n"));
    free(text);
}
END_TEST

START_TEST(drops_what_a_stuck_reader_leaves_no_room_for)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct weir_log_file *file = open_log(path);
    static char line[8000];
    memset(line, 'x', sizeof(line));
    int dropped = 0;
    for (int i = 0; i < 400; i++) {
        dropped += weir_log_line(file, weir_str_make(line, sizeof(line))) == -EAGAIN;
    }
    ck_assert_int_gt(dropped, 100); /* the ring holds one MiB, the pipe 64 KiB */
    close(reader);
    log_file_close(file);
}
END_TEST

START_TEST(copes_without_memory)
{
    UNIT_EACH_ALLOCATION_FAILS({
        struct weir_log_file *file;
        int r = log_file_open(weir_str_from(path), &file);
        ck_assert(r == 0 || r == -ENOMEM || r == -EAGAIN);
        if (r == 0) {
            r = weir_log_line(file, WEIR_STR("line"));
            ck_assert(r == 0 || r == -ENOMEM);
            log_file_close(file);
        }
    });
}
END_TEST

START_TEST(a_ring_takes_until_it_is_full)
{
    struct log_ring *ring = log_ring_new();
    int owner, count = 0;
    uint64_t at = 0, seen = 0;
    char line[100];
    memset(line, 'y', sizeof(line));
    for (int round = 0; round < 5; round++) {
        while (log_ring_put(ring, &owner, weir_str_make(line, (size_t)(count * 7 % 100)))) {
            count++;
        }
        ck_assert(log_ring_is_half_full(ring));
        uint64_t head = atomic_load(&ring->head);
        const struct log_record *record;
        while ((record = log_ring_next(ring, &at, head)) != NULL) {
            ck_assert_ptr_eq(record->file, &owner);
            ck_assert_uint_eq(record->bytes, seen * 7 % 100 + 1);
            seen++;
        }
        atomic_store(&ring->tail, at);
        ck_assert(!log_ring_is_half_full(ring));
    }
    ck_assert_uint_eq(seen, (uint64_t)count);
    log_ring_free(ring);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, writes_lines);
    tcase_add_test(tests, a_flush_of_nothing_does_not_wait);
    tcase_add_test(tests, opens_a_file_once);
    tcase_add_test(tests, takes_what_was_offered);
    tcase_add_loop_test(tests, refuses, 0, (int)(sizeof(refused) / sizeof(refused[0])));
    tcase_add_test(tests, refuses_a_line_too_long);
    tcase_add_test(tests, loses_no_line_of_many_threads);
    tcase_add_test(tests, never_cuts_a_line_where_the_file_may_grow_no_more);
    tcase_add_test(tests, drops_what_a_stuck_reader_leaves_no_room_for);
    tcase_add_test(tests, copes_without_memory);
    tcase_add_test(tests, a_ring_takes_until_it_is_full);
}

UNIT_MAIN("observe/log_file", add_tests)
