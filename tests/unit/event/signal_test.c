/* SPDX-License-Identifier: MIT */
#include "event/signal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "event/loop.h"
#include "support/unit.h"

static struct loop *loop;
static struct signal_watch *watch;
static int seen[65];
static bool frees;

static void
setup(void)
{
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
}

static void
teardown(void)
{
    signal_watch_free(watch);
    watch = NULL;
    loop_free(loop);
}

static void
on_signal(void *context, int signo)
{
    ck_assert_ptr_eq(context, &loop);
    ck_assert(loop_is_current(loop));
    seen[signo]++;
    if (frees) {
        signal_watch_free(watch);
        watch = NULL;
    }
}

static void *
kill_process(void *context)
{
    (void)context;
    kill(getpid(), SIGTERM); /* not blocked by this thread alone: all inherited it */
    return NULL;
}

START_TEST(hears_signals_on_the_loop_whichever_thread_they_came_through)
{
    static const int signals[] = { SIGTERM, SIGHUP, SIGUSR1 };
    ck_assert_int_eq(signal_watch_new(loop, signals, 3, on_signal, &loop, &watch), 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, kill_process, NULL), 0);
    while (seen[SIGTERM] == 0) {
        loop_turn(loop, true);
    }
    pthread_join(thread, NULL);
    ck_assert_int_eq(seen[SIGHUP], 0);

    kill(getpid(), SIGHUP);
    kill(getpid(), SIGUSR1);
    while (seen[SIGHUP] == 0 || seen[SIGUSR1] == 0) {
        loop_turn(loop, true);
    }
    loop_turn(loop, false);
    ck_assert_int_eq(seen[SIGTERM] + seen[SIGHUP] + seen[SIGUSR1], 3);
}
END_TEST

START_TEST(lets_its_function_free_the_watch_and_keeps_the_signal_blocked)
{
    static const int signals[] = { SIGTERM, SIGHUP };
    ck_assert_int_eq(signal_watch_new(loop, signals, 2, on_signal, &loop, &watch), 0);
    frees = true;
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGHUP);
    while (seen[SIGTERM] + seen[SIGHUP] == 0) {
        loop_turn(loop, true);
    }
    ck_assert_ptr_null(watch);
    loop_turn(loop, false); /* the other one is pending for ever */
    ck_assert_int_eq(seen[SIGTERM] + seen[SIGHUP], 1);
}
END_TEST

START_TEST(refuses_what_cannot_be_watched)
{
    static const struct {
        const char *why;
        int signo;
    } cases[] = {
        { "it cannot be caught", SIGKILL },
        { "it cannot be caught", SIGSTOP },
        { "no such signal", 0 },
        { "no such signal", 1000 },
        { "no such signal", -1 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int signals[] = { SIGUSR2, cases[i].signo };
        int r = signal_watch_new(loop, signals, 2, on_signal, &loop, &watch);
        unit_check(r == -EINVAL, cases[i].why);
        unit_check(watch == NULL, cases[i].why);
    }
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ck_assert(!sigismember(&blocked, SIGUSR2)); /* refused as a whole */
}
END_TEST

START_TEST(makes_an_error_of_a_write_to_a_closed_pipe)
{
    signal_ignore_pipe();
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    ck_assert_int_eq(write(ends[1], "x", 1), -1);
    ck_assert_int_eq(errno, EPIPE);
    close(ends[1]);
}
END_TEST

START_TEST(blocks_all_but_the_threads_own_faults)
{
    static const struct {
        const char *why;
        int signo, blocked;
    } cases[] = {
        { "it comes from outside", SIGTERM, 1 },
        { "it comes from outside", SIGCHLD, 1 },
        { "it comes from outside", SIGALRM, 1 },
        { "it comes from outside", SIGPROF, 1 },
        { "a fault must reach its handler", SIGSEGV, 0 },
        { "a fault must reach its handler", SIGBUS, 0 },
        { "a fault must reach its handler", SIGFPE, 0 },
        { "a fault must reach its handler", SIGILL, 0 },
    };
    sigset_t set;
    signal_block_all();
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unit_check(sigismember(&set, cases[i].signo) == cases[i].blocked, cases[i].why);
    }
    signal_unblock_all();
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    for (int signo = 1; signo <= SIGRTMAX; signo++) {
        ck_assert_int_ne(sigismember(&set, signo), 1);
    }
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    static const int signals[] = { SIGTERM };
    UNIT_EACH_ALLOCATION_FAILS({
        struct signal_watch *made = NULL;
        int r = signal_watch_new(loop, signals, 1, on_signal, &loop, &made);
        ck_assert(r == 0 || (r == -ENOMEM && made == NULL));
        signal_watch_free(made);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, hears_signals_on_the_loop_whichever_thread_they_came_through);
    tcase_add_test(tests, lets_its_function_free_the_watch_and_keeps_the_signal_blocked);
    tcase_add_test(tests, refuses_what_cannot_be_watched);
    tcase_add_test(tests, makes_an_error_of_a_write_to_a_closed_pipe);
    tcase_add_test(tests, blocks_all_but_the_threads_own_faults);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("event/signal", add_tests)
