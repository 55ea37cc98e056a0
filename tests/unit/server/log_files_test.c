/* SPDX-License-Identifier: MIT */
#include "server/log_files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observe/log.h"
#include "server/exit.h"
#include "support/unit.h"

static char folder[] = "/tmp/weir-test-XXXXXX";
static char a[PATH_MAX], b[PATH_MAX], moved[PATH_MAX];
static struct log_files *files;
static int ends[2]; /* of the log */

static void
set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(a, sizeof(a), "%s/a.log", folder);
    snprintf(b, sizeof(b), "%s/b.log", folder);
    snprintf(moved, sizeof(moved), "%s/moved.log", folder);
    files = log_files_new();
    ck_assert_ptr_nonnull(files);
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    log_init(ends[1], LOG_INFO);
}

static void
tear_down(void)
{
    log_init(STDERR_FILENO, LOG_INFO);
    log_files_free(files);
    close(ends[0]);
    close(ends[1]);
    unlink(a);
    unlink(b);
    unlink(moved);
    ck_assert_int_eq(rmdir(folder), 0);
}

/* Of one generation: its error log (NULL: standard error), and a file of a module's. */
static struct plan
make_plan(const char *error_log, const struct weir_str *file)
{
    struct plan plan = { .sources_fd = -1, .log_files = file, .log_files_count = file != NULL };
    plan.log.file = error_log == NULL ? WEIR_STR("") : weir_str_from(error_log);
    return plan;
}

static bool
is_in(int fd, const char *path)
{
    struct stat opened, there;
    ck_assert_int_eq(fstat(fd, &opened), 0);
    return stat(path, &there) == 0 && opened.st_dev == there.st_dev &&
            opened.st_ino == there.st_ino;
}

static void
expect_logged(const char *text)
{
    char line[4096] = "";
    ck_assert_int_gt(read(ends[0], line, sizeof(line) - 1), 0);
    ck_assert_msg(strstr(line, text) != NULL, "%s", line);
}

START_TEST(opens_each_file_once)
{
    struct weir_str module = weir_str_from(b);
    struct plan plan = make_plan(a, &module), other = make_plan(b, &module);
    ck_assert_int_eq(log_files_open(files, &plan), EXIT_OK);
    int fd = log_files_find(files, module);
    ck_assert(is_in(fd, b));
    ck_assert(is_in(log_files_error_log(files, &plan), a));
    ck_assert_int_eq(log_files_open(files, &other), EXIT_OK);
    ck_assert_int_eq(log_files_error_log(files, &other), fd);
    struct plan none = make_plan(NULL, NULL);
    ck_assert_int_eq(log_files_error_log(files, &none), STDERR_FILENO);
}
END_TEST

START_TEST(closes_what_no_plan_names_any_more)
{
    struct weir_str module = weir_str_from(b);
    struct plan first = make_plan(a, NULL), second = make_plan(NULL, &module);
    const struct plan *both[] = { &first, &second };
    ck_assert_int_eq(log_files_open(files, &first), EXIT_OK);
    ck_assert_int_eq(log_files_open(files, &second), EXIT_OK);
    int fd = log_files_find(files, weir_str_from(a));
    log_files_keep(files, both, 2, -1);
    ck_assert_int_eq(log_files_find(files, weir_str_from(a)), fd);
    log_files_keep(files, both + 1, 1, fd); /* the master still writes there */
    ck_assert_int_eq(log_files_find(files, weir_str_from(a)), fd);
    log_files_keep(files, both + 1, 1, -1);
    ck_assert_int_eq(log_files_find(files, weir_str_from(a)), -1);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_int_ge(log_files_find(files, module), 0);
}
END_TEST

START_TEST(opens_files_anew_under_their_names)
{
    struct plan plan = make_plan(a, NULL);
    ck_assert_int_eq(log_files_open(files, &plan), EXIT_OK);
    int fd = log_files_find(files, weir_str_from(a));
    ck_assert_int_eq(rename(a, moved), 0);
    log_files_reopen(files);
    ck_assert_int_eq(log_files_find(files, weir_str_from(a)), fd);
    ck_assert(is_in(fd, a));
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(follows_no_link)
{
    struct plan plan = make_plan(a, NULL);
    ck_assert_int_eq(symlink(moved, a), 0);
    ck_assert_int_eq(log_files_open(files, &plan), EXIT_SYSTEM);
    expect_logged("is a symbolic link, which is not followed");
    ck_assert_int_eq(access(moved, F_OK), -1);
    unlink(a);
    ck_assert_int_eq(log_files_open(files, &plan), EXIT_OK);
    int fd = log_files_find(files, weir_str_from(a));
    rename(a, b);
    ck_assert_int_eq(symlink(moved, a), 0);
    log_files_reopen(files); /* nor one that came later */
    expect_logged("is a symbolic link, which is not followed");
    ck_assert(is_in(fd, b));
    ck_assert_int_eq(access(moved, F_OK), -1);
}
END_TEST

START_TEST(says_what_cannot_be_opened)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s/none/a.log", folder);
    struct plan plan = make_plan(path, NULL);
    ck_assert_int_eq(log_files_open(files, &plan), EXIT_SYSTEM);
    expect_logged("No such file or directory; its directory has to be there");
    ck_assert_int_eq(mkfifo(a, 0600), 0);
    plan = make_plan(a, NULL);
    ck_assert_int_eq(log_files_open(files, &plan), EXIT_SYSTEM);
    expect_logged("without anybody who reads from it");
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    struct weir_str module = weir_str_from(b);
    struct plan plan = make_plan(a, &module);
    UNIT_EACH_ALLOCATION_FAILS({
        struct log_files *some = log_files_new();
        int code = some == NULL ? EXIT_SYSTEM : log_files_open(some, &plan);
        ck_assert(code == EXIT_OK || code == EXIT_SYSTEM);
        log_files_free(some);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, opens_each_file_once);
    tcase_add_test(tests, closes_what_no_plan_names_any_more);
    tcase_add_test(tests, opens_files_anew_under_their_names);
    tcase_add_test(tests, follows_no_link);
    tcase_add_test(tests, says_what_cannot_be_opened);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("server/log_files", add_tests)
