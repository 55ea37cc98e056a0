/* SPDX-License-Identifier: MIT */
#include "config/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/wire.h"
#include "support/unit.h"

static char directory[64], path[PATH_MAX];

static void
set_up(void)
{
    snprintf(directory, sizeof(directory), "/tmp/weir-intake-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/a.json", directory);
}

static void
tear_down(void)
{
    unlink(path);
    rmdir(directory);
}

static void
write_text(const char *content)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(content, file);
    fclose(file);
}

/* Asks what a configuration would ask; the answers must be those of the first time. */
static int
ask(struct intake *intake, bool is_first)
{
    struct source *source = NULL;
    struct intake_paths paths = { .items = NULL };
    struct weir_str value;
    char secret[16], pattern[PATH_MAX];
    snprintf(pattern, sizeof(pattern), "%s/*", directory);
    int r = intake_source(intake, path, &source);
    if (r == 0) {
        ck_assert(weir_str_eq(source->text, WEIR_STR("first")));
        ck_assert_str_eq(source->name, path);
        ck_assert_str_eq(source->directory, directory);
        ck_assert_uint_ne(source->inode, 0);
    }
    source_unref(source);
    if (r == 0) {
        r = intake_environment(intake, "WEIR_TEST_SET", &value);
        ck_assert(r < 0 || weir_str_eq(value, WEIR_STR("one")));
    }
    if (r == 0) {
        r = intake_environment(intake, "WEIR_TEST_UNSET", &value);
        ck_assert(r < 0 || value.ptr == NULL);
    }
    if (r == 0) {
        r = intake_glob(intake, pattern, &paths);
        ck_assert(r < 0 || paths.count == 1);
        ck_assert(r < 0 || strcmp(paths.items[0], path) == 0);
        intake_paths_free(&paths);
    }
    if (r == 0) {
        ssize_t n = intake_secret(intake, path, secret, sizeof(secret));
        ck_assert(n < 0 || (n == 5 && memcmp(secret, "first", 5) == 0));
        r = n < 0 ? (int)n : 0;
    }
    if (r == 0 && is_first) {
        ck_assert_int_eq(intake_source(intake, "/no/such/file", &source), -ENOENT);
    }
    return r;
}

static int
record(void)
{
    struct intake intake;
    write_text("first");
    setenv("WEIR_TEST_SET", "one", 1);
    unsetenv("WEIR_TEST_UNSET");
    intake_init(&intake, true);
    ck_assert_int_eq(ask(&intake, true), 0);
    int fd = intake_seal(&intake);
    ck_assert_int_ge(fd, 0);
    intake_fini(&intake);
    return fd;
}

START_TEST(answers_as_the_first_time_whatever_has_changed)
{
    struct intake intake;
    struct source *source;
    int fd = record();
    write_text("second");
    setenv("WEIR_TEST_SET", "two", 1);
    setenv("WEIR_TEST_UNSET", "two", 1);
    for (int i = 0; i < 2; i++) { /* as checker and workers do, with one open file */
        ck_assert_int_eq(intake_replay(&intake, fd), 0);
        ck_assert(weir_str_eq(intake_main_file(&intake), weir_str_from(path)));
        ck_assert_int_eq(ask(&intake, false), 0);
        ck_assert_int_eq(intake_source(&intake, "/no/such/file", &source), -ENOENT);
        ck_assert(!intake.is_foreign);
        ck_assert_int_eq(intake_source(&intake, "/etc/passwd", &source), -EPROTO);
        ck_assert(intake.is_foreign);
        intake_fini(&intake);
    }
    unlink(path);
    close(fd);
}
END_TEST

START_TEST(believes_only_what_is_sealed)
{
    struct intake intake;
    int fd = memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(write(fd, "weir bundle 1\n\0\0", 16), 16);
    ck_assert_int_eq(intake_replay(&intake, fd), -EPROTO);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    ck_assert_int_eq(intake_replay(&intake, fd), 0);
    ck_assert_uint_eq(intake_main_file(&intake).len, 0);
    intake_fini(&intake);
    close(fd);
    ck_assert_int_eq(intake_replay(&intake, -1), -EBADF);

    int whole = record();
    ck_assert_int_eq(write(whole, "x", 1), -1);
    ck_assert_int_eq(ftruncate(whole, 0), -1);
    close(whole);
}
END_TEST

START_TEST(reads_no_further_than_a_damaged_bundle_goes)
{
    char bytes[4096];
    int fd = record();
    ssize_t len = pread(fd, bytes, sizeof(bytes), 0);
    close(fd);
    ck_assert_int_gt(len, 0);
    ck_assert_int_lt(len, (ssize_t)sizeof(bytes));
    for (size_t cut = 0; cut < (size_t)len; cut++) {
        struct intake intake;
        int r = intake_replay_bytes(&intake, weir_str_make(bytes, cut));
        if (r == 0) {
            r = ask(&intake, false);
            intake_fini(&intake);
        }
        /* All but the last answer, which is not asked for here, is needed. */
        ck_assert(r == -EPROTO || (r == 0 && cut > (size_t)len / 2));
    }
}
END_TEST

START_TEST(bounds_the_whole)
{
    struct intake intake;
    struct source *source;
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(ftruncate(fd, SOURCE_MAX_BYTES), 0);
    close(fd);
    intake_init(&intake, false);
    for (size_t i = 0; i < INTAKE_MAX_BYTES / SOURCE_MAX_BYTES; i++) {
        ck_assert_int_eq(intake_source(&intake, path, &source), 0);
        source_unref(source);
    }
    ck_assert_int_eq(intake_source(&intake, path, &source), -ENOBUFS);
    intake_fini(&intake);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    write_text("first");
    setenv("WEIR_TEST_SET", "one", 1);
    int fd = record();
    UNIT_EACH_ALLOCATION_FAILS({
        struct intake intake;
        intake_init(&intake, true);
        int r = ask(&intake, false);
        ck_assert(r == 0 || r == -ENOMEM);
        intake_fini(&intake);
    })
    UNIT_EACH_ALLOCATION_FAILS({
        struct intake intake;
        ck_assert_int_eq(intake_replay(&intake, fd), 0);
        int r = ask(&intake, false);
        ck_assert(r == 0 || r == -ENOMEM);
        intake_fini(&intake);
    })
    close(fd);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, answers_as_the_first_time_whatever_has_changed);
    tcase_add_test(tests, believes_only_what_is_sealed);
    tcase_add_test(tests, reads_no_further_than_a_damaged_bundle_goes);
    tcase_add_test(tests, bounds_the_whole);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("config/intake", add_tests)
