/* SPDX-License-Identifier: MIT */
#include "observe/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/unit.h"

#define SPEC(name_, bytes_, layout_) \
    ((struct zone_spec){ WEIR_STR("module"), weir_str_from(name_), bytes_, layout_ })

static void
tear_down(void)
{
    zone_forget();
}

static int
make(const struct zone_spec *spec)
{
    int fd = zone_make(spec);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static _Atomic(uint64_t) *
open_words(const struct zone_spec *spec)
{
    void *memory = NULL;
    ck_assert_int_eq(zone_find(spec, &memory), 0);
    return memory;
}

static const struct {
    const char *why;
    struct zone_spec spec;
    bool want;
} sound[] = {
    { "an ordinary one", { { "m", 1 }, { "keys-1/a:b", 10 }, 1, 0 }, true },
    { "the largest", { { "m", 1 }, { "a", 1 }, WEIR_ZONE_MAX_BYTES, UINT64_MAX }, true },
    { "a larger one", { { "m", 1 }, { "a", 1 }, WEIR_ZONE_MAX_BYTES + 1, 0 }, false },
    { "an empty one", { { "m", 1 }, { "a", 1 }, 0, 0 }, false },
    { "one without a name", { { "m", 1 }, { "", 0 }, 1, 0 }, false },
    { "one of nobody", { { "", 0 }, { "a", 1 }, 1, 0 }, false },
    { "a space", { { "m", 1 }, { "a b", 3 }, 1, 0 }, false },
    { "a quote", { { "m", 1 }, { "a\"", 2 }, 1, 0 }, false },
    { "a byte of UTF-8", { { "m", 1 }, { "\xc3", 1 }, 1, 0 }, false },
    { "a NUL", { { "m", 1 }, { "a\0", 2 }, 1, 0 }, false },
};

START_TEST(bounds_names_and_sizes)
{
    unit_check(zone_is_sound(&sound[_i].spec) == sound[_i].want, sound[_i].why);
}
END_TEST

START_TEST(makes_zeroed_memory_of_which_no_page_is_missing_and_whose_size_stays)
{
    struct zone_spec spec = SPEC("a", 100000, 1);
    int fd = make(&spec);
    struct stat file;
    ck_assert_int_eq(fstat(fd, &file), 0);
    ck_assert_int_ge(file.st_size, 100000);
    ck_assert_int_ge(file.st_blocks * 512, file.st_size); /* all of it is there */
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 1 << 20), -1);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(zone_offer(&spec, fd), 0);
    void *memory = NULL;
    ck_assert_int_eq(zone_find(&spec, &memory), 0);
    const char *bytes = memory;
    for (size_t i = 0; i < 100000; i++) {
        ck_assert_int_eq(bytes[i], 0);
    }
    close(fd);
}
END_TEST

START_TEST(finds_what_was_offered_and_nothing_else)
{
    struct zone_spec a = SPEC("a", 4096, 1), again = SPEC("a", 4096, 2);
    struct zone_spec larger = SPEC("a", 8192, 1);
    void *memory = NULL;
    int fd = make(&a);
    zone_expect_offers();
    ck_assert_int_eq(zone_find(&a, &memory), -ENOENT);
    ck_assert_int_eq(zone_offer(&larger, fd), -EPROTO); /* the file is smaller */
    ck_assert_int_eq(zone_offer(&a, fd), 0);
    ck_assert_int_eq(zone_offer(&a, fd), -EEXIST);
    ck_assert_int_eq(zone_find(&again, &memory), -ENOENT);
    ck_assert_int_eq(zone_find(&larger, &memory), -ENOENT);
    ck_assert_ptr_null(memory);
    ck_assert_int_eq(zone_find(&a, &memory), 0);
    ck_assert_ptr_nonnull(memory);
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(zone_offer(&again, pipes[0]), -EPROTO); /* no file at all */
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
}
END_TEST

START_TEST(is_this_processes_own_where_nobody_offers)
{
    struct zone_spec a = SPEC("a", 64, 1), b = SPEC("b", 64, 1);
    ck_assert_ptr_eq(open_words(&a), open_words(&a));
    ck_assert_ptr_ne(open_words(&a), open_words(&b));
}
END_TEST

/* Processes add to one word, and some of them are killed while they do. What the others have
 * added is there, and those that come later go on with it. */
START_TEST(is_shared_by_processes_whoever_of_them_is_killed)
{
    enum {
        PROCESSES = 4,
        TIMES = 20000
    };
    struct zone_spec spec = SPEC("a", 64, 1);
    int fd = make(&spec);
    ck_assert_int_eq(zone_offer(&spec, fd), 0);
    _Atomic(uint64_t) *words = open_words(&spec);
    pid_t counting[PROCESSES], endless = fork();
    if (endless == 0) {
        for (;;) {
            atomic_fetch_add(&words[1], 1);
        }
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        counting[i] = fork();
        if (counting[i] == 0) {
            for (unsigned n = 0; n < TIMES; n++) {
                atomic_fetch_add(&words[0], 1);
            }
            _exit(0);
        }
    }
    while (atomic_load(&words[1]) == 0) { /* it is at work */
        sched_yield();
    }
    kill(endless, SIGKILL);
    ck_assert_int_eq(waitpid(endless, NULL, 0), endless);
    uint64_t left = atomic_load(&words[1]);
    for (unsigned i = 0; i < PROCESSES; i++) {
        ck_assert_int_eq(waitpid(counting[i], NULL, 0), counting[i]);
    }
    ck_assert_uint_eq(atomic_load(&words[0]), (uint64_t)PROCESSES * TIMES);
    zone_forget(); /* the process that comes in its place maps the same file */
    ck_assert_int_eq(zone_offer(&spec, fd), 0);
    words = open_words(&spec);
    ck_assert_uint_eq(atomic_load(&words[1]), left);
    close(fd);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    struct zone_spec spec = SPEC("a", 64, 1);
    int fd = make(&spec);
    UNIT_EACH_ALLOCATION_FAILS({
        int r = zone_offer(&spec, fd);
        ck_assert(r == 0 || r == -ENOMEM);
        zone_forget();
    })
    close(fd);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, NULL, tear_down);
    tcase_add_loop_test(tests, bounds_names_and_sizes, 0, sizeof(sound) / sizeof(sound[0]));
    tcase_add_test(tests, makes_zeroed_memory_of_which_no_page_is_missing_and_whose_size_stays);
    tcase_add_test(tests, finds_what_was_offered_and_nothing_else);
    tcase_add_test(tests, is_this_processes_own_where_nobody_offers);
    tcase_add_test(tests, is_shared_by_processes_whoever_of_them_is_killed);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("observe/zone", add_tests)
