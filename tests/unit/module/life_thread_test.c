/* SPDX-License-Identifier: MIT */
/* What threads of pools keep for modules: thread_start and thread_stop, on the testbed, whose
 * pools have real threads. With the real server: tests/integration/test_life.py. */
#include "module/life_thread.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir/offload.h>
#include <weir/reply.h>
#include <weir/request.h>

#include "base/clock.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "module/pools.h"
#include "observe/flight.h"
#include "observe/log.h"
#include "support/unit.h"
#include "testkit/testbed.h"
#include "testkit/torture.h"

/* ---- two modules that keep something, and one that does not ------------------------------ */

/* What was called, in order; one test at a time in a process of its own. */
static pthread_mutex_t journal_lock = PTHREAD_MUTEX_INITIALIZER;
static char journal[4096];

static void
note(const char *module, const char *what)
{
    pthread_mutex_lock(&journal_lock);
    size_t at = strlen(journal);
    snprintf(journal + at, sizeof(journal) - at, "%s %s\n", module, what);
    pthread_mutex_unlock(&journal_lock);
}

static void
expect_journal(const char *want)
{
    pthread_mutex_lock(&journal_lock);
    ck_assert_str_eq(journal, want);
    journal[0] = '\0';
    pthread_mutex_unlock(&journal_lock);
}

static atomic_int fails;       /* starts of `one` that are to fail */
static atomic_int kept;        /* states that are there */
static atomic_bool ends_start; /* a start of `one` is to end its thread */
static sem_t gone;             /* threads that stopped */

struct state {
    const char *module;
    pid_t thread;
};

static void
take(sem_t *sem)
{
    while (sem_wait(sem) == -1) {
        ck_assert_int_eq(errno, EINTR);
    }
}

static void
check_hook(const char *name)
{
    unsigned hook = flight_current() >> FLIGHT_MODULE_BITS;
    ck_assert_str_eq(life_hook_name(hook), name);
}

static int
start(struct weir_worker *worker, void **out)
{
    const char *module = weir_worker_state(worker);
    ck_assert_ptr_null(*out);
    check_hook("thread_start");
    note(module, "thread_start");
    if (strcmp(module, "one") == 0 && atomic_exchange(&ends_start, false)) {
        pthread_exit(NULL);
    }
    struct state *state = malloc(sizeof(*state));
    ck_assert_ptr_nonnull(state);
    *state = (struct state){ module, gettid() };
    *out = state;
    if (strcmp(module, "one") == 0 && atomic_load(&fails) > 0) {
        atomic_fetch_sub(&fails, 1);
        free(state); /* what a failed start leaves behind is not looked at */
        return -ECONNREFUSED;
    }
    atomic_fetch_add(&kept, 1);
    return 0;
}

static void
stop(struct weir_worker *worker, void *state_)
{
    struct state *state = state_;
    check_hook("thread_stop");
    ck_assert_ptr_eq(state->module, weir_worker_state(worker));
    ck_assert_int_eq(state->thread, gettid());
    note(state->module, "thread_stop");
    free(state);
    atomic_fetch_sub(&kept, 1);
    sem_post(&gone);
}

struct work {
    bool ends_thread, is_done;
};

static void
run(void *data, void *thread_state)
{
    struct work *work = data;
    const struct state *state = thread_state;
    check_hook("content");
    note(state == NULL ? "none" : state->module, "job");
    ck_assert(state == NULL || state->thread == gettid());
    work->is_done = true;
    if (work->ends_thread) {
        pthread_exit(NULL);
    }
}

static enum weir_verdict
done(struct weir_request *request, const void *conf, enum weir_wake how, void *data)
{
    (void)conf;
    if (how == WEIR_BUSY) {
        ck_assert(!((struct work *)data)->is_done);
    }
    return how != WEIR_WOKEN
            ? WEIR_NEXT
            : weir_reply_text(request, 200, WEIR_STR("text/plain"),
                      ((struct work *)data)->is_done ? WEIR_STR("done") : WEIR_STR("not done"));
}

static const struct weir_job job = { .run = run, .done = done, .free = free };

static enum weir_verdict
offload(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct work *work = calloc(1, sizeof(*work));
    if (work == NULL) {
        return WEIR_FAILED;
    }
    work->ends_thread = weir_str_eq(weir_request_query(request), WEIR_STR("ends"));
    return weir_offload(request, &job, work, WEIR_WAIT_PRESET);
}

static const struct weir_hook hooks[] = { { .on = WEIR_ON_CONTENT, .request = offload } };

#define MODULE(name_, ...)                                                        \
    static int name_##_worker_start(struct weir_worker *worker,                   \
            struct weir_conf_report *report)                                      \
    {                                                                             \
        static char state[] = #name_;                                             \
        (void)report;                                                             \
        weir_worker_set_state(worker, state);                                     \
        return 0;                                                                 \
    }                                                                             \
    static void name_##_worker_stop(struct weir_worker *worker)                   \
    {                                                                             \
        note(weir_worker_state(worker), "worker_stop");                           \
    }                                                                             \
    static const struct weir_module name_ = { WEIR_MODULE_HEAD(#name_, "1", ""),  \
        WEIR_HANDLERS({ .name = #name_, .hooks = WEIR_HOOKS(hooks) }),            \
        .worker_start = name_##_worker_start, .worker_stop = name_##_worker_stop, \
        __VA_ARGS__ }

MODULE(one, .thread_start = start, .thread_stop = stop);
MODULE(two, .thread_start = start, .thread_stop = stop);
MODULE(none, .live = NULL);
#undef MODULE

static const struct weir_module *const modules[] = { &one, &two, &none };

/* ---- a server with them ------------------------------------------------------------------ */

static struct testbed *testbed;

static char config[1000];

static void
configure(const char *pool)
{
    ck_assert_int_eq(sem_init(&gone, 0, 0), 0);
    snprintf(config, sizeof(config),
            "{ \"modules\": [\"one\", \"two\", \"none\"], \"pools\": { \"default\": %s },"
            "\"servers\": [{ \"listen\": \"127.0.0.1:0\", \"routes\": ["
            "{ \"match\": \"/one\", \"handle\": \"one\" },"
            "{ \"match\": \"/two\", \"handle\": \"two\" }, { \"handle\": \"none\" }] }] }",
            pool);
}

static void
begin(const char *pool)
{
    struct buf report;
    configure(pool);
    const struct testbed_settings settings = { config, modules, 3 };
    buf_init(&report, 10000);
    int r = testbed_new(&settings, &report, &testbed);
    ck_assert_msg(r == 0, "%d %.*s", r, WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
}

#define ONE_THREAD "{ \"min\": 1, \"max\": 1 }"

static void
end(void)
{
    ck_assert(testbed_free(testbed));
    ck_assert_int_eq(atomic_load(&kept), 0);
}

static bool
has(const char *part)
{
    return unit_has(testbed_received(testbed), part);
}

#define GET(target) WEIR_STR("GET " target " HTTP/1.1\r\nHost: a\r\n\r\n")

static void
ask(struct weir_str request, const char *status)
{
    ck_assert(testbed_connect(testbed));
    testbed_send(testbed, request);
    ck_assert_msg(has(status), "%s: %.*s", status, WEIR_STR_ARG(testbed_received(testbed)));
}

START_TEST(start_before_the_first_job_and_stop_before_worker_stop)
{
    begin(ONE_THREAD);
    ask(GET("/none"), "200");
    expect_journal("none job\n");
    ask(GET("/one"), "200");
    ask(GET("/one"), "200");
    expect_journal("one thread_start\none job\none job\n");
    ask(GET("/two"), "200");
    ask(GET("/one"), "200");
    expect_journal("two thread_start\ntwo job\none job\n");
    end();
    expect_journal("two thread_stop\none thread_stop\n"
                   "none worker_stop\ntwo worker_stop\none worker_stop\n");
}
END_TEST

START_TEST(are_not_called_where_there_was_no_job)
{
    begin(ONE_THREAD);
    ask(GET("/two"), "200");
    expect_journal("two thread_start\ntwo job\n");
    end();
    expect_journal("two thread_stop\nnone worker_stop\ntwo worker_stop\none worker_stop\n");
}
END_TEST

START_TEST(cost_the_job_a_503_when_they_fail_and_are_tried_again)
{
    begin(ONE_THREAD);
    atomic_store(&fails, 2);
    for (int i = 0; i < 2; i++) {
        ask(GET("/one"), "503 Service Unavailable");
        ck_assert(has("Retry-After: "));
    }
    expect_journal("one thread_start\none thread_start\n");
    ask(GET("/two"), "200"); /* of no concern to another module */
    expect_journal("two thread_start\ntwo job\n");
    ask(GET("/one"), "200");
    expect_journal("one thread_start\none job\n");
    end();
    expect_journal("two thread_stop\none thread_stop\n"
                   "none worker_stop\ntwo worker_stop\none worker_stop\n");
}
END_TEST

START_TEST(stop_although_the_job_ends_its_thread)
{
    begin(ONE_THREAD);
    ask(GET("/one?ends"), "200");
    take(&gone);
    ask(GET("/one"), "200"); /* on another thread */
    end();
    expect_journal("one thread_start\none job\none thread_stop\none thread_start\none job\n"
                   "one thread_stop\nnone worker_stop\ntwo worker_stop\none worker_stop\n");
}
END_TEST

START_TEST(may_end_their_thread_at_the_start)
{
    begin(ONE_THREAD);
    atomic_store(&ends_start, true);
    ask(GET("/one"), "503 Service Unavailable");
    ask(GET("/one"), "200");
    end();
    expect_journal("one thread_start\none thread_start\none job\n"
                   "one thread_stop\nnone worker_stop\ntwo worker_stop\none worker_stop\n");
}
END_TEST

START_TEST(survive_torture)
{
    configure(ONE_THREAD);
    const struct torture torture = {
        .settings = { config, modules, 3 },
        .input = WEIR_STR_INIT("GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
                               "GET /two HTTP/1.1\r\nHost: a\r\n\r\n"),
        .patience_ns = 60 * NS_PER_S,
        .fail_nth = failalloc_fail_nth,
        .has_failed = failalloc_has_failed,
    };
    struct buf report;
    buf_init(&report, 100000);
    int r = torture_run(&torture, &report);
    ck_assert_msg(r == 0, "%.*s", WEIR_STR_ARG(buf_str(&report)));
    buf_fini(&report);
    ck_assert_int_eq(atomic_load(&kept), 0);
}
END_TEST

/* ---- by themselves ----------------------------------------------------------------------- */

static const struct site_pool elastic = {
    .name = WEIR_STR_INIT("default"),
    .min = 1,
    .max = 2,
    .queue_size = 1,
    .queue_timeout_ns = 100 * NS_PER_S,
    .idle_timeout_ns = 1,
};
static const struct site_module declared[] = { { .module = &one }, { .module = &none } };
static const struct site site = { .modules = declared,
    .modules_count = 2,
    .pools = &elastic,
    .pools_count = 1 };
static const struct site poor_site = { .modules = &declared[1], .modules_count = 1 };

static struct weir_worker *
worker_of(struct life *life, const struct weir_module *module)
{
    struct weir_worker *worker = life_worker(life_attach(life, 0, NULL), module);
    ck_assert_ptr_nonnull(worker);
    static char name[] = "one";
    weir_worker_set_state(worker, name);
    return worker;
}

START_TEST(need_memory_for_each_thread)
{
    struct life *life;
    ck_assert_int_eq(life_new(&site, 1, &life), 0);
    ck_assert(life_keeps_threads(life));
    void *thread = NULL;
    int failures = 0;
    UNIT_EACH_ALLOCATION_FAILS({
        int r = life_thread_new(life, &thread);
        ck_assert(r == 0 || (r == -ENOMEM && thread == NULL));
        failures += r < 0;
        if (r == 0) {
            life_thread_free(life, thread);
        }
    })
    ck_assert_int_eq(failures, 1);
    life_free(life);
    ck_assert_int_eq(life_new(&poor_site, 1, &life), 0);
    ck_assert(!life_keeps_threads(life));
    life_free(life);
}
END_TEST

START_TEST(hold_their_module_until_they_have_stopped)
{
    struct life *life;
    ck_assert_int_eq(life_new(&site, 1, &life), 0);
    struct weir_worker *worker = worker_of(life, &one);
    void *thread, *state;
    ck_assert_int_eq(life_thread_new(life, &thread), 0);
    ck_assert(!life_is_held(life, &one));
    atomic_store(&fails, 1);
    ck_assert_int_eq(life_thread_enter(thread, worker, &state), -ECONNREFUSED);
    ck_assert_ptr_null(state);
    ck_assert(!life_is_held(life, &one));
    ck_assert_int_eq(life_thread_enter(thread, worker, &state), 0);
    ck_assert_ptr_nonnull(state);
    ck_assert(life_is_held(life, &one) && !life_is_held(life, &none));
    ck_assert_int_eq(life_thread_enter(thread, worker_of(life, &none), &state), 0);
    ck_assert_ptr_null(state);
    ck_assert(!life_is_held(life, &none));
    life_hold(worker);
    life_thread_free(life, thread);
    ck_assert(life_is_held(life, &one)); /* by a job */
    life_release(worker);
    ck_assert(!life_is_held(life, &one));
    life_free(life);
}
END_TEST

/* A task that enters the module and stays until it is let go. */
struct held {
    struct pool_task task;
    struct weir_worker *worker;
    void *state;
};

static sem_t begun, gate;
static int back;

static void
run_held(struct pool_task *task, void *thread)
{
    struct held *held = (struct held *)task;
    ck_assert_int_eq(life_thread_enter(thread, held->worker, &held->state), 0);
    sem_post(&begun);
    take(&gate);
}

static void
on_held_back(struct pool_task *task, enum pool_outcome outcome)
{
    (void)task;
    ck_assert_int_eq(outcome, POOL_RAN);
    back++;
}

START_TEST(belong_to_each_thread_and_end_with_it_when_it_was_idle)
{
    struct loop *loop;
    struct mailbox *mailbox;
    struct life *life;
    struct pools *pools;
    ck_assert_int_eq(sem_init(&begun, 0, 0), 0);
    ck_assert_int_eq(sem_init(&gate, 0, 0), 0);
    ck_assert_int_eq(sem_init(&gone, 0, 0), 0);
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    ck_assert_int_eq(mailbox_new(loop, &mailbox), 0);
    ck_assert_int_eq(life_new(&site, 1, &life), 0);
    ck_assert_int_eq(pools_new(&site, life, &pools), 0);
    struct held held[2];
    for (int i = 0; i < 2; i++) {
        held[i] = (struct held){
            .task = { .run = run_held, .done = on_held_back, .reply_to = mailbox },
            .worker = worker_of(life, &one),
        };
        pool_submit(pools_find(pools, WEIR_STR("default")), &held[i].task);
    }
    loop_turn(loop, false);
    take(&begun);
    take(&begun);
    ck_assert_ptr_ne(held[0].state, held[1].state);
    ck_assert_int_eq(atomic_load(&kept), 2);
    sem_post(&gate);
    sem_post(&gate);
    while (back < 2) {
        loop_turn(loop, true);
    }
    take(&gone); /* one of the two leaves, though the pool goes on */
    ck_assert_int_eq(atomic_load(&kept), 1);
    ck_assert(pools_stop(pools, CLOCK_NEVER));
    ck_assert_int_eq(atomic_load(&kept), 0);
    ck_assert(!life_is_held(life, &one));
    pools_free(pools);
    mailbox_free(mailbox);
    loop_free(loop);
    life_free(life);
}
END_TEST

static int lines;

static void
count_line(void *context, const char *message, size_t len)
{
    (void)context;
    lines++;
    ck_assert_msg(unit_has(weir_str_make(message, len),
                          "module one, hook thread_start: failed: Connection refused"),
            "%.*s", (int)len, message);
}

START_TEST(name_their_module_in_the_log_when_they_fail_but_not_each_time)
{
    struct life *life;
    ck_assert_int_eq(life_new(&site, 1, &life), 0);
    struct weir_worker *worker = worker_of(life, &one);
    void *thread, *state;
    ck_assert_int_eq(life_thread_new(life, &thread), 0);
    atomic_store(&fails, 1000);
    log_listen(count_line, NULL);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(life_thread_enter(thread, worker, &state), -ECONNREFUSED);
    }
    log_listen(NULL, NULL);
    ck_assert_int_ge(lines, 1);
    ck_assert_int_lt(lines, 500);
    life_thread_free(life, thread);
    life_free(life);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, start_before_the_first_job_and_stop_before_worker_stop);
    tcase_add_test(tests, are_not_called_where_there_was_no_job);
    tcase_add_test(tests, cost_the_job_a_503_when_they_fail_and_are_tried_again);
    tcase_add_test(tests, stop_although_the_job_ends_its_thread);
    tcase_add_test(tests, may_end_their_thread_at_the_start);
    tcase_add_test(tests, survive_torture);
    tcase_add_test(tests, need_memory_for_each_thread);
    tcase_add_test(tests, hold_their_module_until_they_have_stopped);
    tcase_add_test(tests, belong_to_each_thread_and_end_with_it_when_it_was_idle);
    tcase_add_test(tests, name_their_module_in_the_log_when_they_fail_but_not_each_time);
}

UNIT_MAIN("module/life_thread", add_tests)
