/* SPDX-License-Identifier: MIT */
#include "server/checker.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/wire.h"
#include "config/document.h"
#include "event/loop.h"
#include "server/exit.h"
#include "support/unit.h"

/* A bundle of a configuration whose module does `init` when it starts and `check` when its
 * options are checked. */
static int
make_bundle(const char *init, const char *check)
{
    char path[] = "/tmp/weir-checker-XXXXXX";
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    const char *builddir = getenv("WEIR_BUILDDIR");
    dprintf(file,
            "{ \"modules\": [{ \"name\": \"wicked\","
            " \"path\": \"%s/tests/support/.libs/libwicked.so\","
            " \"options\": { \"init\": \"%s\" } }],\n"
            "  \"servers\": [{ \"listen\": \"127.0.0.1:1\","
            " \"routes\": [{ \"handle\": { \"wicked\": { \"check\": \"%s\" } } }] }] }",
            builddir == NULL ? "." : builddir, init, check);
    close(file);
    struct intake intake;
    struct arena arena;
    struct diagnostics *diagnostics = diagnostics_new();
    const struct config_value *root;
    intake_init(&intake, true);
    arena_init(&arena, NULL, 0, 1 << 20);
    ck_assert_int_eq(document_load(&intake, path, &arena, diagnostics, &root), 0);
    int fd = intake_seal(&intake);
    ck_assert_int_ge(fd, 0);
    intake_fini(&intake);
    arena_reset(&arena);
    diagnostics_free(diagnostics);
    unlink(path); /* only the bundle is left */
    return fd;
}

struct outcome {
    struct checker_result result; /* with buffers of its own */
    bool is_done;
};

static void
keep(void *context, const struct checker_result *result)
{
    struct outcome *outcome = context;
    outcome->result = *result;
    buf_init(&outcome->result.answer, CHECKER_ANSWER_MAX_BYTES);
    buf_init(&outcome->result.output, CHECKER_OUTPUT_KEPT_BYTES);
    ck_assert_int_eq(buf_append(&outcome->result.answer, buf_str(&result->answer)), 0);
    ck_assert_int_eq(buf_append(&outcome->result.output, buf_str(&result->output)), 0);
    if (result->end == CHECKER_ANSWERED) {
        ck_assert_int_eq(checker_answer_read(buf_str(&outcome->result.answer),
                                 &outcome->result.said),
                0);
    }
    outcome->is_done = true;
}

static void
forget(struct checker_result *result)
{
    buf_fini(&result->answer);
    buf_fini(&result->output);
}

static void
run_job(const struct checker_job *job, struct checker_result *result)
{
    struct loop *loop;
    struct checker *checker;
    struct outcome outcome = { .is_done = false };
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    ck_assert_int_eq(checker_start(loop, job, keep, &outcome, &checker), 0);
    while (!outcome.is_done) {
        loop_turn(loop, true);
    }
    checker_free(checker);
    loop_free(loop);
    *result = outcome.result;
}

static struct checker_job
make_job(char program[PATH_MAX], const char *init, const char *check, double seconds)
{
    const char *builddir = getenv("WEIR_BUILDDIR");
    snprintf(program, PATH_MAX, "%s/weir", builddir == NULL ? "." : builddir);
    return (struct checker_job){ .program = program,
        .sources_fd = make_bundle(init, check),
        .user = WEIR_STR("root"), /* the build may lie where nobody else may look */
        .deadline_ns = (uint64_t)(seconds * 1e9) };
}

static void
run(const char *init, const char *check, double seconds, struct checker_result *result)
{
    char program[PATH_MAX];
    struct checker_job job = make_job(program, init, check, seconds);
    run_job(&job, result);
    close(job.sources_fd);
}

static const struct {
    const char *why, *load, *init, *check;
    enum checker_end end;
    int signo; /* of CHECKER_DIED; 0: it exits */
    const char *step;
} ends[] = {
    { "a module that behaves", "", "", "", CHECKER_ANSWERED, 0, "" },
    { "a crash while it is loaded", "crash", "", "", CHECKER_DIED, SIGSEGV, "load" },
    { "a crash in init", "", "crash", "", CHECKER_DIED, SIGSEGV, "init" },
    { "an abort in conf_check", "", "", "abort", CHECKER_DIED, SIGABRT, "conf_check" },
    { "an exit", "", "exit", "", CHECKER_DIED, 0, "init" },
    { "prints without end", "", "print", "", CHECKER_FLOODED, 0, "init" },
    { "an answer without end", "", "", "flood", CHECKER_FLOODED, 0, "conf_check" },
    { "an answer of its own", "", "garble", "", CHECKER_GARBLED, 0, "" },
    { "a process that it leaves behind", "", "leave", "", CHECKER_ANSWERED, 0, "" },
};

START_TEST(outlives_whatever_modules_do)
{
    struct checker_result result;
    setenv("WEIR_WICKED", ends[_i].load, 1);
    run(ends[_i].init, ends[_i].check, unit_slow(20), &result);
    ck_assert_msg(result.end == ends[_i].end, "%s: ended as %d, %.*s", ends[_i].why,
            (int)result.end, WEIR_STR_ARG(buf_str(&result.output)));
    if (ends[_i].end == CHECKER_DIED && ends[_i].signo == 0) {
        unit_check(WIFEXITED(result.status), ends[_i].why);
    } else if (ends[_i].end == CHECKER_DIED) {
        /* A sanitizer turns some of them into an exit. */
        unit_check(WIFEXITED(result.status) || WTERMSIG(result.status) == ends[_i].signo,
                ends[_i].why);
    }
    if (ends[_i].end == CHECKER_ANSWERED) {
        ck_assert_msg(result.said.code == EXIT_OK, "%.*s", WEIR_STR_ARG(result.said.report));
    } else {
        ck_assert_msg(strcmp(result.page.step, ends[_i].step) == 0, "%s: in \"%s\"",
                ends[_i].why, result.page.step);
    }
    forget(&result);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}
END_TEST

START_TEST(ends_one_that_hangs_at_its_deadline)
{
    struct checker_result result;
    uint64_t before_ns = clock_monotonic_ns(clock_system());
    run("hang", "", unit_slow(1), &result);
    ck_assert_int_eq(result.end, CHECKER_HUNG);
    uint64_t took_ns = clock_monotonic_ns(clock_system()) - before_ns;
    ck_assert((double)took_ns < unit_slow(20) * 1e9);
    forget(&result);
}
END_TEST

static void
never(void *context, const struct checker_result *result)
{
    (void)context;
    (void)result;
    ck_abort_msg("done, though it was given up");
}

START_TEST(is_given_up_at_any_time)
{
    char program[PATH_MAX];
    struct loop *loop;
    struct checker *checker;
    struct checker_job job = make_job(program, "hang", "", unit_slow(20));
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    ck_assert_int_eq(checker_start(loop, &job, never, NULL, &checker), 0);
    loop_turn(loop, false);
    checker_free(checker);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    loop_turn(loop, false);
    loop_free(loop);
    close(job.sources_fd);
}
END_TEST

/* By whoever waits for all of its children. */
START_TEST(is_told_that_its_process_has_ended)
{
    char program[PATH_MAX];
    struct loop *loop;
    struct checker *checker;
    struct outcome outcome = { .is_done = false };
    struct checker_job job = make_job(program, "", "", unit_slow(20));
    siginfo_t ended = { .si_pid = 0 };
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    ck_assert_int_eq(checker_start(loop, &job, keep, &outcome, &checker), 0);
    ck_assert_int_eq(waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT), 0);
    ck_assert(!checker_reap(checker, ended.si_pid + 1));
    ck_assert(checker_reap(checker, ended.si_pid));
    ck_assert(outcome.is_done);
    ck_assert_int_eq(outcome.result.end, CHECKER_ANSWERED);
    ck_assert(!checker_reap(checker, ended.si_pid));
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    checker_free(checker);
    loop_free(loop);
    forget(&outcome.result);
    close(job.sources_fd);
}
END_TEST

START_TEST(starts_whole_or_not_at_all)
{
    char program[PATH_MAX];
    struct loop *loop;
    struct checker_job job = make_job(program, "", "", unit_slow(20));
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    UNIT_EACH_ALLOCATION_FAILS({
        struct checker *checker = NULL;
        int r = checker_start(loop, &job, never, NULL, &checker);
        ck_assert(r == 0 || r == -ENOMEM);
        checker_free(checker);
        ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    })
    loop_free(loop);
    close(job.sources_fd);
}
END_TEST

START_TEST(keeps_some_of_what_was_printed)
{
    struct checker_result result;
    run("abort", "", unit_slow(20), &result);
    struct weir_str output = buf_str(&result.output);
    ck_assert_ptr_nonnull(memmem(output.ptr, output.len, "I give up", 9));
    forget(&result);
}
END_TEST

START_TEST(says_why_it_cannot_start)
{
    struct checker_result result;
    struct checker_job job = { .program = "/no/such/program",
        .sources_fd = make_bundle("", ""),
        .user = WEIR_STR("root"),
        .deadline_ns = 20 * NS_PER_S };
    run_job(&job, &result);
    ck_assert_int_eq(result.end, CHECKER_REFUSED);
    ck_assert_int_eq(result.code, EXIT_SYSTEM);
    ck_assert_int_eq(result.page.error, ENOENT);
    forget(&result);
    close(job.sources_fd);
}
END_TEST

START_TEST(believes_no_damaged_answer)
{
    struct checker_answer answer = { EXIT_CONFIGURATION, WEIR_STR("what is wrong"),
        WEIR_STR("plan") };
    struct checker_answer out;
    struct buf buf;
    buf_init(&buf, 1000);
    ck_assert_int_eq(checker_answer_write(&answer, &buf), 0);
    struct weir_str whole = buf_str(&buf);
    ck_assert_int_eq(checker_answer_read(whole, &out), 0);
    ck_assert_int_eq(out.code, EXIT_CONFIGURATION);
    ck_assert(weir_str_eq(out.report, answer.report));
    ck_assert(weir_str_eq(out.plan, answer.plan));
    for (size_t len = 0; len < whole.len; len++) {
        char *cut = malloc(len + 1); /* so that a sanitizer sees a step beyond */
        memcpy(cut, whole.ptr, len);
        ck_assert_int_eq(checker_answer_read(weir_str_make(cut, len), &out), -EPROTO);
        free(cut);
    }
    ck_assert_int_eq(buf_append(&buf, WEIR_STR("x")), 0);
    ck_assert_int_eq(checker_answer_read(buf_str(&buf), &out), -EPROTO);
    buf_fini(&buf);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_set_timeout(tests, unit_slow(120));
    tcase_add_loop_test(tests, outlives_whatever_modules_do, 0, sizeof(ends) / sizeof(ends[0]));
    tcase_add_test(tests, ends_one_that_hangs_at_its_deadline);
    tcase_add_test(tests, is_given_up_at_any_time);
    tcase_add_test(tests, is_told_that_its_process_has_ended);
    tcase_add_test(tests, starts_whole_or_not_at_all);
    tcase_add_test(tests, keeps_some_of_what_was_printed);
    tcase_add_test(tests, says_why_it_cannot_start);
    tcase_add_test(tests, believes_no_damaged_answer);
}

UNIT_MAIN("server/checker", add_tests)
