/* SPDX-License-Identifier: MIT */
/* F15 to F21 of the feature list, on real threads. Nothing here sleeps or spins: jobs wait at
 * gates that the test opens, threads say when they end, and the loop turns until what must come
 * has come. */
#include "event/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "event/loop.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"

#define JOBS 128

struct job {
    struct pool_task task;
    sem_t *begun, *gate; /* posted when it runs; waited for then. NULL: neither */
    _Atomic(int) runs;
    int dones;
    bool is_out;
    enum pool_outcome outcome;
};

static struct loop *loop;
static struct mailbox *mailbox;
static struct job jobs[JOBS];
static sem_t begun, gate;
static int dones;

/* Posted at the very end of a thread that called tell_end(), be it detached or never begun. */
static sem_t ended;
static pthread_key_t ending;

static void
on_thread_end(void *nothing)
{
    (void)nothing;
    sem_post(&ended);
}

static void
tell_end(void)
{
    static char something;
    ck_assert_int_eq(pthread_setspecific(ending, &something), 0);
}

static void
setup(void)
{
    sem_init(&ended, 0, 0);
    ck_assert_int_eq(pthread_key_create(&ending, on_thread_end), 0);
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    ck_assert_int_eq(mailbox_new(loop, &mailbox), 0);
    sem_init(&begun, 0, 0);
    sem_init(&gate, 0, 0);
    memset(jobs, 0, sizeof(jobs));
    dones = 0;
}

static void
teardown(void)
{
    mailbox_free(mailbox);
    loop_free(loop);
    pthread_key_delete(ending);
}

static void
sem_take(sem_t *sem)
{
    while (sem_wait(sem) == -1) {
        ck_assert_int_eq(errno, EINTR);
    }
}

static void
run_job(struct pool_task *task, void *state)
{
    (void)state;
    struct job *job = (struct job *)task;
    atomic_fetch_add(&job->runs, 1);
    if (job->begun != NULL) {
        sem_post(job->begun);
    }
    if (job->gate != NULL) {
        sem_take(job->gate);
    }
}

static void
on_done(struct pool_task *task, enum pool_outcome outcome)
{
    struct job *job = (struct job *)task;
    ck_assert(loop_is_current(loop));
    job->outcome = outcome;
    job->is_out = false;
    job->dones++;
    dones++;
}

static void
submit(struct pool *pool, struct job *job, bool is_long)
{
    job->task.run = run_job;
    job->task.done = on_done;
    job->task.reply_to = mailbox;
    job->begun = is_long ? &begun : NULL;
    job->gate = is_long ? &gate : NULL;
    job->is_out = true;
    pool_submit(pool, &job->task);
}

/* Submits `count` long jobs from `first` on and waits until all run. */
static void
occupy(struct pool *pool, int first, int count)
{
    for (int i = 0; i < count; i++) {
        submit(pool, &jobs[first + i], true);
    }
    loop_turn(loop, false);
    for (int i = 0; i < count; i++) {
        sem_take(&begun);
    }
}

static void
release(int count)
{
    for (int i = 0; i < count; i++) {
        sem_post(&gate);
    }
}

static void
turn_until_done(int count)
{
    while (dones < count) {
        loop_turn(loop, true);
    }
    loop_turn(loop, false);
    ck_assert_int_eq(dones, count);
}

static struct pool *
pool_of(int min, int max, size_t queue)
{
    struct pool_settings settings = {
        .name = "test",
        .threads_min = min,
        .threads_max = max,
        .queue_max = queue,
        .queue_timeout_ns = CLOCK_NEVER,
        .idle_timeout_ns = CLOCK_NEVER,
    };
    struct pool *pool;
    ck_assert_int_eq(pool_new(&settings, &pool), 0);
    return pool;
}

static void
pool_end(struct pool *pool)
{
    ck_assert(pool_stop(pool, CLOCK_NEVER));
    ck_assert(pool_stop(pool, 0)); /* a second stop returns at once */
    ck_assert_int_eq(pool_figures(pool).threads, 0);
    pool_free(pool);
}

/* F15 */
START_TEST(never_lets_a_task_wait_behind_a_busy_thread)
{
    struct pool *pool = pool_of(4, 4, 1000);
    occupy(pool, 0, 1);
    for (int i = 1; i <= 100; i++) {
        submit(pool, &jobs[i], false);
    }
    turn_until_done(100);
    ck_assert_int_eq(jobs[0].dones, 0);
    release(1);
    turn_until_done(101);
    for (int i = 0; i <= 100; i++) {
        ck_assert_int_eq(jobs[i].outcome, POOL_RAN);
        ck_assert_int_eq(jobs[i].runs, 1);
    }
    ck_assert_int_eq(pool_figures(pool).threads, 4);
    pool_end(pool);
}
END_TEST

/* F15, and all of one turn: three long ones take their threads with them. */
START_TEST(shares_out_one_turns_tasks_however_long_the_first_take)
{
    struct pool *pool = pool_of(4, 4, 1000);
    for (int i = 0; i < 100; i++) {
        submit(pool, &jobs[i], i < 3);
    }
    turn_until_done(97);
    struct pool_figures figures = pool_figures(pool);
    ck_assert_int_eq(figures.busy, 3);
    ck_assert_uint_eq(figures.queued, 0);
    release(3);
    turn_until_done(100);
    pool_end(pool);
}
END_TEST

/* F16 */
START_TEST(answers_busy_at_once_when_the_queue_is_full)
{
    struct pool *pool = pool_of(2, 2, 3);
    occupy(pool, 0, 2);
    for (int i = 2; i < 12; i++) {
        submit(pool, &jobs[i], false);
        ck_assert_int_eq(jobs[i].dones, 0); /* never from within the call */
    }
    turn_until_done(7);
    struct pool_figures figures = pool_figures(pool);
    ck_assert_uint_eq(figures.queued, 3);
    ck_assert_uint_eq(figures.rejected, 7);
    ck_assert_uint_eq(figures.submitted, 12);
    ck_assert_int_eq(figures.busy, 2);
    ck_assert_int_eq(figures.idle, 0);
    release(2);
    turn_until_done(12);
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(jobs[i].outcome, i < 5 ? POOL_RAN : POOL_BUSY);
        ck_assert_int_eq(jobs[i].runs, i < 5 ? 1 : 0);
    }
    pool_end(pool);
}
END_TEST

/* F16: the bound is on what must wait. */
START_TEST(takes_more_than_the_queue_holds_while_threads_are_free_or_can_be_made)
{
    struct pool *pool = pool_of(2, 5, 1);
    for (int i = 0; i < 7; i++) {
        submit(pool, &jobs[i], true);
    }
    loop_turn(loop, false);
    for (int i = 0; i < 5; i++) {
        sem_take(&begun);
    }
    turn_until_done(1);
    ck_assert_int_eq(jobs[6].outcome, POOL_BUSY);
    ck_assert_uint_eq(pool_figures(pool).queued, 1);
    release(6);
    turn_until_done(7);
    pool_end(pool);
}
END_TEST

/* F17 */
START_TEST(returns_a_task_that_grew_too_old_while_all_threads_were_busy)
{
    struct manual_clock manual;
    manual_clock_init(&manual, 77 * NS_PER_S, 0);
    struct loop *system_loop = loop;
    mailbox_free(mailbox);
    ck_assert_int_eq(loop_new(&manual.clock, &loop), 0);
    ck_assert_int_eq(mailbox_new(loop, &mailbox), 0);
    struct pool_settings settings = { .name = "old",
        .threads_min = 1,
        .threads_max = 1,
        .queue_max = 10,
        .queue_timeout_ns = 10 * NS_PER_S,
        .idle_timeout_ns = CLOCK_NEVER };
    struct pool *pool;
    ck_assert_int_eq(pool_new(&settings, &pool), 0);

    occupy(pool, 0, 1);
    submit(pool, &jobs[1], false);
    loop_turn(loop, false);
    manual_clock_advance_ns(&manual, 4 * NS_PER_S);
    submit(pool, &jobs[2], false);
    loop_turn(loop, false);
    manual_clock_advance_ns(&manual, 6 * NS_PER_S - 1);
    loop_turn(loop, false);
    loop_turn(loop, false);
    ck_assert_int_eq(dones, 0);
    manual_clock_advance_ns(&manual, 1);
    turn_until_done(1);
    ck_assert_int_eq(jobs[1].outcome, POOL_EXPIRED);
    ck_assert_uint_eq(jobs[1].task.waited_ns, 10 * NS_PER_S);

    /* The next one by the timer that was set again. */
    manual_clock_advance_ns(&manual, 4 * NS_PER_S);
    turn_until_done(2);
    ck_assert_int_eq(jobs[2].outcome, POOL_EXPIRED);

    /* And one that its thread finds too old, before the loop has looked. */
    submit(pool, &jobs[3], false);
    loop_turn(loop, false);
    manual_clock_advance_ns(&manual, 11 * NS_PER_S);
    release(1);
    ck_assert(pool_stop(pool, CLOCK_NEVER)); /* waits for the thread, and does not turn */
    ck_assert_uint_eq(pool_figures(pool).expired, 3);
    turn_until_done(4);
    ck_assert_int_eq(jobs[0].outcome, POOL_RAN);
    ck_assert_int_eq(jobs[3].outcome, POOL_EXPIRED);
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(jobs[i].runs, 0);
    }
    ck_assert_uint_eq(pool_figures(pool).waited_ns, 31 * NS_PER_S);
    pool_end(pool);
    mailbox_free(mailbox);
    loop_free(loop);
    loop = system_loop;
    ck_assert_int_eq(mailbox_new(loop, &mailbox), 0);
}
END_TEST

static sem_t stopped;

static void
note_stop(void *context, void *state)
{
    (void)context;
    (void)state;
    sem_post(&stopped);
}

/* F18 */
START_TEST(grows_to_its_maximum_under_work_and_shrinks_to_its_minimum_when_idle)
{
    sem_init(&stopped, 0, 0);
    struct pool_settings settings = { .name = "elastic",
        .threads_min = 2,
        .threads_max = 6,
        .queue_max = 10,
        .queue_timeout_ns = CLOCK_NEVER,
        .idle_timeout_ns = 20 * NS_PER_MS,
        .thread_stop = note_stop };
    struct pool *pool;
    ck_assert_int_eq(pool_new(&settings, &pool), 0);
    ck_assert_int_eq(pool_figures(pool).threads, 2);
    for (int round = 0; round < 3; round++) {
        dones = 0;
        occupy(pool, 0, 6);
        submit(pool, &jobs[6], false);
        loop_turn(loop, false);
        struct pool_figures figures = pool_figures(pool);
        ck_assert_int_eq(figures.threads, 6);
        ck_assert_int_eq(figures.busy, 6);
        ck_assert_uint_eq(figures.queued, 1);
        release(6);
        turn_until_done(7);
        for (int i = 0; i < 4; i++) {
            sem_take(&stopped);
        }
        figures = pool_figures(pool);
        ck_assert_int_eq(figures.threads, 2);
        ck_assert_int_eq(sem_trywait(&stopped), -1);
    }
    pool_end(pool);
}
END_TEST

/* F18: 1,000 random operations; threads above the minimum leave the moment they are idle. */
START_TEST(stays_within_its_bounds_under_random_growing_and_shrinking)
{
    sem_init(&stopped, 0, 0);
    struct pool_settings settings = { .name = "random",
        .threads_min = 3,
        .threads_max = 12,
        .queue_max = 200,
        .queue_timeout_ns = CLOCK_NEVER,
        .idle_timeout_ns = 0,
        .thread_stop = note_stop };
    struct pool *pool;
    ck_assert_int_eq(pool_new(&settings, &pool), 0);
    unsigned state = 7;
    int submitted = 0, held = 0;
    for (int step = 0; step < 1000; step++) {
        state = state * 1103515245u + 12345u;
        unsigned choice = (state >> 16) % 4;
        if (choice == 0) {
            release(held);
            held = 0;
            turn_until_done(submitted);
        } else if (submitted - dones < 60) {
            int count = (int)(state >> 20) % 6;
            for (int i = 0; i < JOBS && count > 0; i++) {
                if (!jobs[i].is_out) {
                    submit(pool, &jobs[i], choice == 1 && held < 12);
                    held += choice == 1 && held < 12;
                    submitted++;
                    count--;
                }
            }
            loop_turn(loop, false);
        }
        int threads = pool_figures(pool).threads;
        ck_assert_int_ge(threads, 3);
        ck_assert_int_le(threads, 12);
    }
    release(held);
    turn_until_done(submitted);
    while (sem_trywait(&begun) == 0) { /* those until now */
    }
    occupy(pool, 0, 5);
    ck_assert_int_ge(pool_figures(pool).threads, 5);
    release(5);
    turn_until_done(submitted + 5);
    while (pool_figures(pool).threads > 3) {
        sem_take(&stopped); /* whoever leaves is counted out, then stops */
    }
    pool_end(pool);
}
END_TEST

/* F19 */
START_TEST(refuses_bad_bounds_each_with_its_own_message)
{
    static const struct {
        const char *why;
        int min, max;
        size_t queue;
        uint64_t timeout_ns;
        const char *says; /* NULL: good */
    } cases[] = {
        { "no thread at all", 0, 1, 1, 1, "min must be at least 1" },
        { "fewer than none", -5, 1, 1, 1, "min must be at least 1" },
        { "max 0", 1, 0, 1, 1, "max must not be 0; -1 is no limit" },
        { "another negative number", 1, -2, 1, 1, "max must be positive, or -1 for no limit" },
        { "max below min", 3, 2, 1, 1, "max must not be below min" },
        { "no queue", 1, 1, 0, 1, "queue_size must be at least 1" },
        { "no time in the queue", 1, 1, 1, 0, "queue_timeout must be above 0" },
        { "no limit", 3, POOL_UNLIMITED, 1, 1, NULL },
        { "equal bounds", 3, 3, 1, 1, NULL },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pool_settings settings = { .threads_min = cases[i].min,
            .threads_max = cases[i].max,
            .queue_max = cases[i].queue,
            .queue_timeout_ns = cases[i].timeout_ns };
        const char *says = pool_settings_error(&settings);
        if (cases[i].says == NULL) {
            unit_check(says == NULL, cases[i].why);
            continue;
        }
        unit_check(says != NULL && strcmp(says, cases[i].says) == 0, cases[i].why);
        struct pool *pool = NULL;
        unit_check(pool_new(&settings, &pool) == -EINVAL, cases[i].why);
        unit_check(pool == NULL, cases[i].why);
    }
}
END_TEST

static void
run_failing(struct pool_task *task, void *state)
{
    run_job(task, state);
    errno = EIO;
    pthread_setname_np(pthread_self(), "spoilt");
    if ((((struct job *)task) - jobs) % 8 == 0) {
        pthread_exit(NULL); /* the worst that a task can do to its thread */
    }
}

/* F20 */
START_TEST(keeps_its_size_through_10000_failing_tasks)
{
    struct pool *pool = pool_of(4, 4, 1000);
    for (int i = 0; i < 10000; i += 100) {
        dones = 0;
        for (int j = 0; j < 100; j++) {
            jobs[j].task.run = run_failing;
            jobs[j].task.done = on_done;
            jobs[j].task.reply_to = mailbox;
            pool_submit(pool, &jobs[j].task);
        }
        turn_until_done(100);
        ck_assert_int_eq(pool_figures(pool).threads, 4);
    }
    ck_assert_uint_eq(pool_figures(pool).ran, 10000);
    for (int j = 0; j < 100; j++) {
        ck_assert_int_eq(jobs[j].runs, 100);
    }
    /* All four are there: four long tasks run at once. */
    dones = 0;
    occupy(pool, 100, 4);
    release(4);
    turn_until_done(4);
    pool_end(pool);
}
END_TEST

static void
run_straggler(struct pool_task *task, void *state)
{
    tell_end();
    run_job(task, state);
}

/* F21; loop test: whether the straggler returns before or after pool_free(). */
START_TEST(stops_at_its_deadline_although_a_task_never_returns)
{
    bool returns_before_free = _i == 1;
    struct pool *pool = pool_of(1, 1, 10);
    submit(pool, &jobs[0], true);
    jobs[0].task.run = run_straggler;
    loop_turn(loop, false);
    sem_take(&begun);
    for (int i = 1; i <= 3; i++) {
        submit(pool, &jobs[i], false);
    }
    uint64_t start_ns = clock_monotonic_ns(clock_system());
    uint64_t deadline_ns = start_ns + 50 * NS_PER_MS;
    ck_assert(!pool_stop(pool, deadline_ns));
    uint64_t end_ns = clock_monotonic_ns(clock_system());
    ck_assert_uint_ge(end_ns, deadline_ns);
    ck_assert_uint_lt(end_ns, deadline_ns + (uint64_t)(unit_slow(1) * 1e9));
    ck_assert(!pool_stop(pool, CLOCK_NEVER));
    ck_assert_int_eq(pool_figures(pool).threads, 0);
    ck_assert_int_eq(pool_figures(pool).busy, 0);

    submit(pool, &jobs[4], false);
    turn_until_done(4);
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(jobs[i].outcome, POOL_ABANDONED);
        ck_assert_int_eq(jobs[i].runs, 0);
    }
    ck_assert_int_eq(jobs[4].outcome, POOL_BUSY);
    if (returns_before_free) {
        release(1);
        turn_until_done(5);
        ck_assert_int_eq(jobs[0].outcome, POOL_RAN);
    }
    pool_free(pool);
    mailbox_free(mailbox);
    mailbox = NULL;
    loop_free(loop);
    loop = NULL;
    if (!returns_before_free) {
        release(1); /* it touches neither task nor mailbox any more */
    }
    sem_take(&ended);
    ck_assert_int_eq(jobs[0].dones, returns_before_free ? 1 : 0);
}
END_TEST

/* F21 */
START_TEST(serves_its_queue_first_while_time_remains)
{
    struct pool *pool = pool_of(2, 4, 1000);
    occupy(pool, 0, 2);
    for (int i = 2; i < 100; i++) {
        submit(pool, &jobs[i], false);
    }
    release(2); /* the rest was not even handed over: that turn has not ended */
    pool_end(pool);
    turn_until_done(100);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(jobs[i].outcome, POOL_RAN);
    }
}
END_TEST

START_TEST(takes_a_cancelled_task_out_unless_it_runs)
{
    struct pool *pool = pool_of(1, 1, 10);
    occupy(pool, 0, 1);
    submit(pool, &jobs[1], false);
    submit(pool, &jobs[2], false);
    loop_turn(loop, false);
    submit(pool, &jobs[3], false);
    pool_cancel(pool, &jobs[0].task); /* runs: left alone */
    pool_cancel(pool, &jobs[1].task); /* in the queue */
    pool_cancel(pool, &jobs[3].task); /* not yet there */
    pool_cancel(pool, &jobs[3].task);
    ck_assert_int_eq(dones, 0);
    turn_until_done(2);
    ck_assert_int_eq(jobs[1].outcome, POOL_CANCELLED);
    ck_assert_int_eq(jobs[3].outcome, POOL_CANCELLED);
    release(1);
    turn_until_done(4);
    ck_assert_int_eq(jobs[0].outcome, POOL_RAN);
    ck_assert_int_eq(jobs[2].outcome, POOL_RAN);
    pool_cancel(pool, &jobs[2].task); /* back already */
    submit(pool, &jobs[2], false);    /* and used again */
    turn_until_done(5);
    struct pool_figures figures = pool_figures(pool);
    ck_assert_uint_eq(figures.submitted, 5);
    ck_assert_uint_eq(figures.ran, 3);
    ck_assert_uint_eq(figures.cancelled, 2);
    pool_end(pool);
}
END_TEST

/* ---- threads ---- */

static _Atomic(int) starts, stops, start_failures;

static int
start_counted(void *context, void **state)
{
    ck_assert_ptr_eq(context, &starts);
    if (atomic_load(&start_failures) > 0) {
        atomic_fetch_sub(&start_failures, 1);
        tell_end();
        return -EAGAIN;
    }
    atomic_fetch_add(&starts, 1);
    *state = &stops;
    return 0;
}

static void
stop_counted(void *context, void *state)
{
    ck_assert_ptr_eq(context, &starts);
    ck_assert_ptr_eq(state, &stops);
    atomic_fetch_add(&stops, 1);
}

static void
run_looking(struct pool_task *task, void *state)
{
    ck_assert_ptr_eq(state, &stops);
    char name[16];
    ck_assert_int_eq(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
    ck_assert_int_eq(strncmp(name, "a-long-na-", 10), 0);
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ck_assert(sigismember(&blocked, SIGTERM));
    ck_assert(sigismember(&blocked, SIGCHLD));
    pthread_attr_t attributes;
    size_t stack_bytes;
    ck_assert_int_eq(pthread_getattr_np(pthread_self(), &attributes), 0);
    pthread_attr_getstacksize(&attributes, &stack_bytes);
    pthread_attr_destroy(&attributes);
    ck_assert_uint_ge(stack_bytes, 4u << 20);
    run_job(task, state);
}

static struct pool_settings
counted_settings(void)
{
    return (struct pool_settings){ .name = "a-long-name-of-a-pool",
        .threads_min = 2,
        .threads_max = 4,
        .queue_max = 100,
        .queue_timeout_ns = 3600 * NS_PER_S,
        .idle_timeout_ns = CLOCK_NEVER,
        .thread_start = start_counted,
        .thread_stop = stop_counted,
        .context = &starts };
}

START_TEST(starts_names_and_stops_each_thread)
{
    struct pool_settings settings = counted_settings();
    struct pool *pool;
    ck_assert_int_eq(pool_new(&settings, &pool), 0);
    occupy(pool, 0, 4);
    release(4);
    turn_until_done(4);
    dones = 0;
    for (int i = 0; i < 20; i++) {
        jobs[i] = (struct job){
            .task = { .run = run_looking, .done = on_done, .reply_to = mailbox }
        };
        pool_submit(pool, &jobs[i].task);
    }
    turn_until_done(20);
    pool_end(pool);
    ck_assert_int_eq(starts, 4);
    ck_assert_int_eq(stops, 4);
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    ck_assert(!sigismember(&blocked, SIGTERM)); /* the maker's are as they were */
}
END_TEST

START_TEST(answers_busy_when_no_thread_can_be_had_and_recovers)
{
    struct pool_settings settings = counted_settings();
    atomic_store(&start_failures, 1000000);
    struct pool *pool;
    ck_assert_int_eq(pool_new(&settings, &pool), 0);
    for (int i = 0; i < 10; i++) {
        submit(pool, &jobs[i], false);
    }
    turn_until_done(10);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(jobs[i].outcome, POOL_BUSY);
        ck_assert_int_eq(jobs[i].runs, 0);
    }
    atomic_store(&start_failures, 0);
    do { /* one that fails may still be on its way out */
        dones = 0;
        submit(pool, &jobs[0], false);
        turn_until_done(1);
    } while (jobs[0].outcome == POOL_BUSY);
    ck_assert_int_eq(jobs[0].outcome, POOL_RAN);
    pool_end(pool);
    ck_assert_int_eq(stops, starts);
}
END_TEST

START_TEST(leaves_tasks_to_the_other_threads_when_one_cannot_be_started)
{
    struct pool_settings settings = counted_settings();
    settings.threads_min = 1;
    struct pool *pool;
    ck_assert_int_eq(pool_new(&settings, &pool), 0);
    occupy(pool, 0, 1);
    atomic_store(&start_failures, 1);
    submit(pool, &jobs[1], false); /* its own thread fails to start */
    loop_turn(loop, false);
    sem_take(&ended);
    ck_assert_int_eq(pool_figures(pool).threads, 1);
    ck_assert_uint_eq(pool_figures(pool).queued, 1);
    release(1);
    turn_until_done(2);
    ck_assert_int_eq(jobs[1].outcome, POOL_RAN);
    pool_end(pool);
}
END_TEST

/* ---- storms ---- */

#define STORM_LOOPS 3
#define STORM_TASKS 64
#define STORM_STEPS 3000

struct stormer {
    pthread_t thread;
    struct pool *pool;
    struct loop *loop;
    struct mailbox *mailbox;
    unsigned seed;
    uint64_t submitted, done;
    uint64_t outcomes[POOL_ABANDONED + 1];
    struct storm_task {
        struct pool_task task;
        struct stormer *stormer;
        bool is_out;
        _Atomic(int) runs;
    } tasks[STORM_TASKS];
};

static pthread_barrier_t storm_over, storm_drained, pool_freed;

static void
run_storm(struct pool_task *task, void *state)
{
    (void)state;
    struct storm_task *storm = (struct storm_task *)task;
    int spin = atomic_fetch_add(&storm->runs, 1) % 7;
    for (int i = 0; i < spin * 100; i++) {
        atomic_load(&storm->runs);
    }
}

static void
on_storm_done(struct pool_task *task, enum pool_outcome outcome)
{
    struct storm_task *storm = (struct storm_task *)task;
    struct stormer *stormer = storm->stormer;
    if (!storm->is_out || !loop_is_current(stormer->loop)) {
        ck_abort_msg("done without submit, or elsewhere");
    }
    storm->is_out = false;
    stormer->done++;
    stormer->outcomes[outcome]++;
}

static void *
storm(void *context)
{
    struct stormer *stormer = context;
    ck_assert_int_eq(loop_new(NULL, &stormer->loop), 0);
    ck_assert_int_eq(mailbox_new(stormer->loop, &stormer->mailbox), 0);
    for (int i = 0; i < STORM_TASKS; i++) {
        stormer->tasks[i].task = (struct pool_task){ .run = run_storm,
            .done = on_storm_done,
            .reply_to = stormer->mailbox };
        stormer->tasks[i].stormer = stormer;
    }
    for (int step = 0; step < STORM_STEPS; step++) {
        stormer->seed = stormer->seed * 1103515245u + 12345u;
        struct storm_task *task = &stormer->tasks[(stormer->seed >> 8) % STORM_TASKS];
        switch ((stormer->seed >> 20) % 8) {
        case 0:
            pool_cancel(stormer->pool, &task->task); /* whatever it does */
            break;
        case 1:
            loop_turn(stormer->loop, false);
            sched_yield();
            break;
        default:
            if (!task->is_out) {
                task->is_out = true;
                stormer->submitted++;
                pool_submit(stormer->pool, &task->task);
            }
            break;
        }
    }
    /* The last of all are stopped half-way. */
    pthread_barrier_wait(&storm_over);
    while (stormer->done < stormer->submitted) {
        loop_turn(stormer->loop, true);
    }
    pthread_barrier_wait(&storm_drained);
    pthread_barrier_wait(&pool_freed);
    loop_turn(stormer->loop, false);
    ck_assert_uint_eq(stormer->done, stormer->submitted);
    mailbox_free(stormer->mailbox);
    loop_free(stormer->loop);
    return NULL;
}

/* Loop test: with time for the queue and without. */
START_TEST(calls_done_exactly_once_for_each_submit_under_random_storms)
{
    static struct stormer stormers[STORM_LOOPS];
    struct pool_settings settings = { .name = "storm",
        .threads_min = 1,
        .threads_max = 6,
        .queue_max = 20,
        .queue_timeout_ns = _i == 0 ? NS_PER_MS / 2 : CLOCK_NEVER,
        .idle_timeout_ns = _i == 0 ? 0 : NS_PER_MS };
    struct pool *pool;
    ck_assert_int_eq(pool_new(&settings, &pool), 0);
    pthread_barrier_init(&storm_over, NULL, STORM_LOOPS + 1);
    pthread_barrier_init(&storm_drained, NULL, STORM_LOOPS + 1);
    pthread_barrier_init(&pool_freed, NULL, STORM_LOOPS + 1);
    for (unsigned i = 0; i < STORM_LOOPS; i++) {
        memset(&stormers[i], 0, sizeof(stormers[i]));
        stormers[i].pool = pool;
        stormers[i].seed = i * 77 + 1;
        ck_assert_int_eq(pthread_create(&stormers[i].thread, NULL, storm, &stormers[i]), 0);
    }
    pthread_barrier_wait(&storm_over);
    bool all_ended = pool_stop(pool, _i == 0 ? 0 : CLOCK_NEVER);
    ck_assert(all_ended || _i == 0);
    pthread_barrier_wait(&storm_drained);
    struct pool_figures figures = pool_figures(pool);
    pool_free(pool);
    pthread_barrier_wait(&pool_freed);
    uint64_t sums[POOL_ABANDONED + 1] = { 0 }, submitted = 0, runs = 0;
    for (int i = 0; i < STORM_LOOPS; i++) {
        pthread_join(stormers[i].thread, NULL);
        submitted += stormers[i].submitted;
        for (int j = 0; j < STORM_TASKS; j++) {
            runs += (uint64_t)stormers[i].tasks[j].runs;
        }
        for (int j = 0; j <= POOL_ABANDONED; j++) {
            sums[j] += stormers[i].outcomes[j];
        }
    }
    ck_assert_uint_eq(figures.submitted, submitted);
    ck_assert_uint_eq(figures.ran, sums[POOL_RAN]);
    ck_assert_uint_eq(figures.ran, runs);
    ck_assert_uint_eq(figures.rejected, sums[POOL_BUSY]);
    ck_assert_uint_eq(figures.expired, sums[POOL_EXPIRED]);
    ck_assert_uint_eq(figures.cancelled, sums[POOL_CANCELLED]);
    ck_assert_uint_eq(figures.abandoned, sums[POOL_ABANDONED]);
    ck_assert(figures.ran > 0 || _i == 0);
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    struct pool_settings settings = counted_settings();
    settings.threads_min = 1;
    UNIT_EACH_ALLOCATION_FAILS({
        struct pool *pool = NULL;
        int r = pool_new(&settings, &pool);
        ck_assert(r == 0 || (r == -ENOMEM && pool == NULL));
        if (r == 0) {
            dones = 0;
            for (int i = 0; i < 6; i++) {
                submit(pool, &jobs[i], false);
            }
            turn_until_done(6);
            for (int i = 0; i < 6; i++) {
                ck_assert(jobs[i].outcome == POOL_RAN || jobs[i].outcome == POOL_BUSY);
            }
            pool_end(pool);
        }
        /* A new loop each time: its heap of timers grows again. */
        mailbox_free(mailbox);
        loop_free(loop);
        loop = NULL;
        mailbox = NULL;
        while (loop == NULL && loop_new(NULL, &loop) != 0) {
        }
        while (mailbox == NULL && mailbox_new(loop, &mailbox) != 0) {
        }
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, never_lets_a_task_wait_behind_a_busy_thread);
    tcase_add_test(tests, shares_out_one_turns_tasks_however_long_the_first_take);
    tcase_add_test(tests, answers_busy_at_once_when_the_queue_is_full);
    tcase_add_test(tests,
            takes_more_than_the_queue_holds_while_threads_are_free_or_can_be_made);
    tcase_add_test(tests, returns_a_task_that_grew_too_old_while_all_threads_were_busy);
    tcase_add_test(tests, grows_to_its_maximum_under_work_and_shrinks_to_its_minimum_when_idle);
    tcase_add_test(tests, stays_within_its_bounds_under_random_growing_and_shrinking);
    tcase_add_test(tests, refuses_bad_bounds_each_with_its_own_message);
    tcase_add_test(tests, keeps_its_size_through_10000_failing_tasks);
    tcase_add_loop_test(tests, stops_at_its_deadline_although_a_task_never_returns, 0, 2);
    tcase_add_test(tests, serves_its_queue_first_while_time_remains);
    tcase_add_test(tests, takes_a_cancelled_task_out_unless_it_runs);
    tcase_add_test(tests, starts_names_and_stops_each_thread);
    tcase_add_test(tests, answers_busy_when_no_thread_can_be_had_and_recovers);
    tcase_add_test(tests, leaves_tasks_to_the_other_threads_when_one_cannot_be_started);
    tcase_add_loop_test(tests, calls_done_exactly_once_for_each_submit_under_random_storms, 0,
            2);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("event/pool", add_tests)
