/* SPDX-License-Identifier: MIT */
#include "event/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "event/timer.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"

struct step {
    struct loop_task task;
    struct loop *loop;
    struct step *again; /* queued by this one */
    struct step *drop;  /* taken out by this one */
    int id;
};

static int order[32];
static int order_count;

static void
note_step(struct loop_task *task)
{
    struct step *step = (struct step *)task;
    order[order_count++] = step->id;
    if (step->again != NULL) {
        loop_defer(step->loop, &step->again->task);
    }
    if (step->drop != NULL) {
        loop_undefer(step->loop, &step->drop->task);
    }
}

static void
steps_init(struct step *steps, int count, struct loop *loop)
{
    order_count = 0;
    for (int i = 0; i < count; i++) {
        steps[i] = (struct step){ .task = { .fn = note_step }, .loop = loop, .id = i };
    }
}

START_TEST(runs_deferred_tasks_in_order_and_those_they_defer_in_the_same_turn)
{
    struct loop *loop;
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    struct step steps[5];
    steps_init(steps, 5, loop);
    steps[0].again = &steps[3];
    steps[1].drop = &steps[2];
    steps[3].again = &steps[4];
    for (int i = 0; i < 3; i++) {
        loop_defer(loop, &steps[i].task);
        loop_defer(loop, &steps[i].task); /* twice is once */
    }
    ck_assert(loop_turn(loop, true)); /* what is deferred already does not wait */
    static const int want[] = { 0, 1, 3, 4 };
    ck_assert_int_eq(order_count, 4);
    ck_assert_mem_eq(order, want, sizeof(want));
    ck_assert(loop_turn(loop, false));
    ck_assert_int_eq(order_count, 4);
    loop_undefer(loop, &steps[0].task); /* not queued: nothing */
    ck_assert_uint_eq(loop_turns(loop), 2);
    loop_free(loop);
    loop_free(NULL);
}
END_TEST

static struct loop *now_loop;
static struct manual_clock *now_clock;
static uint64_t now_seen[2];

static void
note_now(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context;
    now_seen[0] = loop_now_ns(now_loop);
    manual_clock_advance_ns(now_clock, 5 * NS_PER_S);
    now_seen[1] = loop_now_ns(now_loop);
}

START_TEST(keeps_one_time_for_a_turn_and_reads_a_new_one_for_the_next)
{
    struct manual_clock manual;
    manual_clock_init(&manual, 100, 0);
    struct loop *loop;
    ck_assert_int_eq(loop_new(&manual.clock, &loop), 0);
    ck_assert_ptr_eq(loop_clock(loop), &manual.clock);
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    now_loop = loop;
    now_clock = &manual;
    struct event *event = event_new(loop_base(loop), ends[0], EV_READ | EV_PERSIST, note_now,
            NULL);
    ck_assert_int_eq(event_add(event, NULL), 0);

    manual_clock_advance_ns(&manual, 50);
    ck_assert_uint_eq(loop_now_ns(loop), 150); /* outside a turn it is the clock's */
    loop_turn(loop, true);
    ck_assert_uint_eq(now_seen[0], 150);
    ck_assert_uint_eq(now_seen[1], 150);
    loop_turn(loop, true);
    ck_assert_uint_eq(now_seen[0], 150 + 5 * NS_PER_S);

    event_free(event);
    close(ends[0]);
    close(ends[1]);
    loop_free(loop);
}
END_TEST

static void *
stop_it(void *context)
{
    ck_assert(!loop_is_current(context));
    loop_stop(context);
    return NULL;
}

START_TEST(stops_when_another_thread_says_so)
{
    struct loop *loop;
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_it, loop), 0);
    loop_run(loop); /* asleep or not */
    pthread_join(thread, NULL);
    ck_assert(!loop_turn(loop, true)); /* and never waits again */
    loop_free(loop);
}
END_TEST

static void *
run_it(void *context)
{
    ck_assert(!loop_is_current(context)); /* still whose made it */
    loop_run(context);
    ck_assert(loop_is_current(context));
    return NULL;
}

START_TEST(belongs_to_the_thread_that_turns_it)
{
    struct loop *loop;
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    ck_assert(loop_is_current(loop));
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, run_it, loop), 0);
    while (loop_turns(loop) == 0 && loop_is_current(loop)) {
    }
    ck_assert(!loop_is_current(loop));
    loop_stop(loop);
    pthread_join(thread, NULL);
    ck_assert(!loop_is_current(loop));
    loop_adopt(loop);
    ck_assert(loop_is_current(loop));
    loop_free(loop);
}
END_TEST

struct timed_step {
    struct timer timer;
    struct step step;
};

static void
note_timer(struct timer *timer)
{
    order[order_count++] = 100;
    loop_defer(timer->loop, &((struct timed_step *)timer)->step.task);
}

START_TEST(runs_sockets_before_timers_before_deferred_tasks)
{
    struct manual_clock manual;
    manual_clock_init(&manual, NS_PER_S, 0);
    struct loop *loop;
    ck_assert_int_eq(loop_new(&manual.clock, &loop), 0);
    struct timed_step both;
    steps_init(&both.step, 1, loop);
    both.step.id = 200;
    timer_init(&both.timer, loop, note_timer);
    ck_assert_int_eq(timer_set(&both.timer, 0), 0);

    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    now_loop = loop;
    now_clock = &manual;
    now_seen[0] = 0;
    struct event *event = event_new(loop_base(loop), ends[0], EV_READ, note_now, NULL);
    ck_assert_int_eq(event_add(event, NULL), 0);
    loop_turn(loop, true);
    static const int want[] = { 100, 200 };
    ck_assert_int_eq(order_count, 2);
    ck_assert_mem_eq(order, want, sizeof(want));
    ck_assert_uint_eq(now_seen[0], NS_PER_S);

    event_free(event);
    close(ends[0]);
    close(ends[1]);
    loop_free(loop);
}
END_TEST

START_TEST(lends_its_scratch)
{
    struct loop *loop;
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    char *scratch = loop_scratch(loop);
    scratch[0] = scratch[LOOP_SCRATCH_BYTES - 1] = 'x';
    ck_assert_ptr_eq(loop_scratch(loop), scratch);
    loop_free(loop);
}
END_TEST

START_TEST(gives_its_scratch_away)
{
    struct loop *loop;
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    char *first = loop_scratch(loop);
    first[0] = first[LOOP_SCRATCH_BYTES - 1] = 'x';
    struct slice taken;
    ck_assert_int_eq(loop_take_scratch(loop, &taken), 0);
    ck_assert_ptr_eq(taken.ptr, first);
    ck_assert_uint_eq(taken.len, LOOP_SCRATCH_BYTES);
    memset(loop_scratch(loop), 'y', LOOP_SCRATCH_BYTES);
    loop_free(loop); /* the slice outlives it */
    ck_assert(taken.ptr[0] == 'x' && taken.ptr[LOOP_SCRATCH_BYTES - 1] == 'x');
    slice_drop(&taken);
}
END_TEST

START_TEST(keeps_its_scratch_when_there_is_no_memory_for_another)
{
    struct loop *loop;
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    UNIT_EACH_ALLOCATION_FAILS({
        char *before = loop_scratch(loop);
        struct slice taken = slice_static(weir_str_make(NULL, 0));
        int r = loop_take_scratch(loop, &taken);
        ck_assert(r == 0 || (r == -ENOMEM && loop_scratch(loop) == before && taken.len == 0));
        slice_drop(&taken);
    })
    loop_free(loop);
}
END_TEST

static struct step hurried[3];

/* Two callbacks of one turn. */
static void
defer_one(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct step *step = context;
    order[order_count++] = 100 + step->id;
    loop_defer(step->loop, &step->task);
    if (step->id == 0) {
        loop_hurry(step->loop);
    }
    loop_end_callback();
}

START_TEST(runs_deferred_tasks_at_the_end_of_a_callback_that_hurries)
{
    struct loop *loop;
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    steps_init(hurried, 3, loop);
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct event *events[2];
    for (int i = 0; i < 2; i++) {
        events[i] = event_new(loop_base(loop), ends[1], EV_WRITE, defer_one, &hurried[i]);
        ck_assert_int_eq(event_add(events[i], NULL), 0);
    }
    loop_end_callback(); /* outside a turn: nothing */
    loop_turn(loop, true);
    /* In whichever order they came: 0 at the end of its callback, with what was there before.
     */
    bool is_first = order[0] == 100;
    int first[] = { 100, 0, 101, 1 }, second[] = { 101, 100, 1, 0 };
    ck_assert_int_eq(order_count, 4);
    ck_assert_mem_eq(order, is_first ? first : second, sizeof(first));

    for (int i = 0; i < 2; i++) {
        event_free(events[i]);
        close(ends[i]);
    }
    loop_free(loop);
}
END_TEST

static int
open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}

START_TEST(survives_each_allocation_failing)
{
    int before = open_descriptors();
    UNIT_EACH_ALLOCATION_FAILS({
        struct loop *loop = NULL;
        int r = loop_new(NULL, &loop);
        ck_assert(r == 0 || (r == -ENOMEM && loop == NULL));
        loop_free(loop);
    })
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, runs_deferred_tasks_in_order_and_those_they_defer_in_the_same_turn);
    tcase_add_test(tests, keeps_one_time_for_a_turn_and_reads_a_new_one_for_the_next);
    tcase_add_test(tests, stops_when_another_thread_says_so);
    tcase_add_test(tests, belongs_to_the_thread_that_turns_it);
    tcase_add_test(tests, runs_sockets_before_timers_before_deferred_tasks);
    tcase_add_test(tests, lends_its_scratch);
    tcase_add_test(tests, gives_its_scratch_away);
    tcase_add_test(tests, keeps_its_scratch_when_there_is_no_memory_for_another);
    tcase_add_test(tests, runs_deferred_tasks_at_the_end_of_a_callback_that_hurries);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("event/loop", add_tests)
