/* SPDX-License-Identifier: MIT */
/* Timers against a hand-wound clock, and against a model that looks at every timer. */
#include "event/timer.h"

#include <errno.h>
#include <string.h>

#include "event/loop.h"
#include "support/unit.h"
#include "testkit/manual_clock.h"

#define START_NS (1000 * NS_PER_S + 123456789)

static struct manual_clock manual;
static struct loop *loop;
static uint64_t random_state;

static void
setup(void)
{
    manual_clock_init(&manual, START_NS, 0);
    ck_assert_int_eq(loop_new(&manual.clock, &loop), 0);
    random_state = 88172645463325252u;
}

static void
teardown(void)
{
    loop_free(loop);
}

static uint64_t
random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static uint64_t
now(void)
{
    return clock_monotonic_ns(&manual.clock);
}

static void
turn_after(uint64_t ns)
{
    manual_clock_advance_ns(&manual, ns);
    loop_turn(loop, false);
}

/* ---- the heap ---- */

#define HEAP_TIMERS 300

struct modelled {
    struct timer timer;
    uint64_t deadline_ns; /* as the model has it; CLOCK_NEVER: not set */
    int fired;
};

static struct modelled heap[HEAP_TIMERS];
static uint64_t last_fired_ns; /* deadlines fire in order within a turn */

static void
on_heap(struct timer *timer)
{
    struct modelled *m = (struct modelled *)timer;
    if (m->deadline_ns == CLOCK_NEVER || m->deadline_ns > now() ||
            m->deadline_ns < last_fired_ns) {
        ck_abort_msg("timer %d fired wrongly", (int)(m - heap));
    }
    last_fired_ns = m->deadline_ns;
    m->deadline_ns = CLOCK_NEVER;
    m->fired++;
}

static void
heap_setup(void)
{
    for (int i = 0; i < HEAP_TIMERS; i++) {
        timer_init(&heap[i].timer, loop, on_heap);
        heap[i].deadline_ns = CLOCK_NEVER;
        heap[i].fired = 0;
    }
}

START_TEST(fires_as_a_model_that_looks_at_every_timer)
{
    heap_setup();
    for (int step = 0; step < 60000; step++) {
        struct modelled *m = &heap[random_below(HEAP_TIMERS)];
        switch (random_below(8)) {
        case 0:
            timer_cancel(&m->timer);
            m->deadline_ns = CLOCK_NEVER;
            break;
        case 1:
            last_fired_ns = 0;
            turn_after(random_below(20 * NS_PER_MS));
            for (int i = 0; i < HEAP_TIMERS; i++) {
                ck_assert(heap[i].deadline_ns > now());
                ck_assert(timer_is_set(&heap[i].timer) == (heap[i].deadline_ns != CLOCK_NEVER));
            }
            break;
        default:
            m->deadline_ns = now() - 10 * NS_PER_MS + random_below(100 * NS_PER_MS);
            ck_assert_int_eq(timer_set(&m->timer, m->deadline_ns), 0);
            break;
        }
    }
    last_fired_ns = 0;
    turn_after(NS_PER_S);
    for (int i = 0; i < HEAP_TIMERS; i++) {
        ck_assert(!timer_is_set(&heap[i].timer));
        ck_assert_int_gt(heap[i].fired, 0);
    }
}
END_TEST

START_TEST(fires_a_timer_at_its_deadline_and_not_a_nanosecond_before)
{
    heap_setup();
    heap[0].deadline_ns = START_NS + NS_PER_MS;
    ck_assert_int_eq(timer_set(&heap[0].timer, heap[0].deadline_ns), 0);
    turn_after(NS_PER_MS - 1);
    ck_assert_int_eq(heap[0].fired, 0);
    last_fired_ns = 0;
    turn_after(1);
    ck_assert_int_eq(heap[0].fired, 1);
    ck_assert_int_eq(timer_set(&heap[0].timer, CLOCK_NEVER), 0);
    ck_assert(timer_is_set(&heap[0].timer));
    turn_after(UINT64_MAX / 2);
    ck_assert_int_eq(heap[0].fired, 1);
    timer_cancel(&heap[0].timer);
    ck_assert(!timer_is_set(&heap[0].timer));
}
END_TEST

/* What a callback does to timers, its own and others. */
struct actor {
    struct timer timer;
    enum {
        ACT_NOTHING,
        ACT_AGAIN,
        ACT_CANCEL,
        ACT_MOVE,
        ACT_FREE
    } act;
    struct actor *other;
    int fired;
};

static void
on_actor(struct timer *timer)
{
    struct actor *actor = (struct actor *)timer;
    actor->fired++;
    switch (actor->act) {
    case ACT_NOTHING:
        break;
    case ACT_AGAIN:
        ck_assert_int_eq(timer_set(timer, 0), 0);
        break;
    case ACT_CANCEL:
        timer_cancel(&actor->other->timer);
        break;
    case ACT_MOVE:
        ck_assert_int_eq(timer_set(&actor->other->timer, now()), 0);
        break;
    case ACT_FREE:
        timer_cancel(&actor->other->timer);
        free(actor->other);
        free(actor);
        break;
    }
}

static void
actor_set(struct actor *actor, uint64_t deadline_ns)
{
    timer_init(&actor->timer, loop, on_actor);
    ck_assert_int_eq(timer_set(&actor->timer, deadline_ns), 0);
}

START_TEST(lets_a_callback_set_cancel_move_and_free_timers_that_are_due_too)
{
    struct actor again = { .act = ACT_AGAIN };
    actor_set(&again, 1);
    for (int turn = 1; turn <= 3; turn++) {
        loop_turn(loop, true); /* set for the past again: one fire a turn, no wait */
        ck_assert_int_eq(again.fired, turn);
    }
    timer_cancel(&again.timer);

    struct actor victim = { .act = ACT_NOTHING };
    struct actor canceller = { .act = ACT_CANCEL, .other = &victim };
    actor_set(&canceller, 1);
    actor_set(&victim, 2);
    loop_turn(loop, false);
    ck_assert_int_eq(canceller.fired, 1);
    ck_assert_int_eq(victim.fired, 0);
    ck_assert(!timer_is_set(&victim.timer));

    struct actor mover = { .act = ACT_MOVE, .other = &victim };
    actor_set(&mover, 1);
    actor_set(&victim, 2);
    loop_turn(loop, false);
    ck_assert_int_eq(victim.fired, 0); /* moved: not in this turn */
    loop_turn(loop, false);
    ck_assert_int_eq(victim.fired, 1);

    struct actor *killer = calloc(1, sizeof(*killer));
    ck_assert_ptr_nonnull(killer);
    killer->act = ACT_FREE;
    killer->other = calloc(1, sizeof(*killer));
    ck_assert_ptr_nonnull(killer->other);
    actor_set(killer, 1);
    actor_set(killer->other, 2);
    actor_set(&victim, 3);
    loop_turn(loop, false);
    ck_assert_int_eq(victim.fired, 2);
}
END_TEST

#define DUE 10

static int filled;

/* The first that fires sets others while memory is refused, until one cannot be set; then each
 * that is due sets itself again. */
static void
on_refill(struct timer *timer)
{
    struct modelled *m = (struct modelled *)timer;
    m->fired++;
    if (m == &heap[0]) {
        failalloc_fail_nth(1);
        while (filled < HEAP_TIMERS - DUE &&
                timer_set(&heap[DUE + filled].timer, CLOCK_NEVER) == 0) {
            filled++;
        }
        ck_assert(failalloc_has_failed());
    }
    failalloc_fail_nth(1);
    ck_assert_int_eq(timer_set(timer, CLOCK_NEVER), 0);
    ck_assert(!failalloc_has_failed());
    failalloc_fail_nth(0);
}

START_TEST(needs_no_memory_to_set_timers_again_in_their_own_callbacks)
{
    heap_setup();
    for (int i = 0; i < DUE; i++) {
        heap[i].timer.fn = on_refill;
        ck_assert_int_eq(timer_set(&heap[i].timer, (uint64_t)i), 0);
    }
    loop_turn(loop, false);
    for (int i = 0; i < DUE; i++) {
        ck_assert_int_eq(heap[i].fired, 1);
        ck_assert(timer_is_set(&heap[i].timer));
    }
    /* The others got what there was room for beside those: a power of two in all. */
    int all = DUE + filled;
    ck_assert_int_eq(all & (all - 1), 0);
    for (int i = 0; i < HEAP_TIMERS; i++) {
        timer_cancel(&heap[i].timer);
    }
}
END_TEST

/* Sets and cancels all; returns how many could not be set. */
static int
set_and_cancel_all(void)
{
    int failed = 0;
    heap_setup();
    for (int i = 0; i < HEAP_TIMERS; i++) {
        int r = timer_set(&heap[i].timer, START_NS + NS_PER_S + (uint64_t)i);
        ck_assert(r == 0 || r == -ENOMEM);
        ck_assert(timer_is_set(&heap[i].timer) == (r == 0));
        failed += r != 0;
    }
    for (int i = 0; i < HEAP_TIMERS; i++) {
        timer_cancel(&heap[i].timer);
    }
    return failed;
}

START_TEST(leaves_a_timer_as_it_was_when_each_allocation_fails)
{
    int failures = 0;
    loop_free(loop);
    UNIT_EACH_ALLOCATION_FAILS({
        loop = NULL;
        if (loop_new(&manual.clock, &loop) == 0) {
            failures += set_and_cancel_all();
        }
        loop_free(loop);
    })
    ck_assert_int_gt(failures, 2); /* the heap grew, and failed to, several times */
    ck_assert_int_eq(loop_new(&manual.clock, &loop), 0);
}
END_TEST

/* ---- the wheel ---- */

#define COARSE_TIMERS 500

struct coarse_model {
    struct coarse_timer timer;
    uint64_t deadline_ns; /* CLOCK_NEVER: not set */
    uint64_t set_ns;      /* when it was set last */
    int fired;
};

static struct coarse_model coarse[COARSE_TIMERS];

static void
on_coarse(struct coarse_timer *timer)
{
    struct coarse_model *m = (struct coarse_model *)timer;
    if (m->deadline_ns == CLOCK_NEVER || m->deadline_ns > now()) {
        ck_abort_msg("coarse timer %d fired early", (int)(m - coarse));
    }
    m->deadline_ns = CLOCK_NEVER;
    m->fired++;
}

static void
coarse_setup(void)
{
    for (int i = 0; i < COARSE_TIMERS; i++) {
        coarse_timer_init(&coarse[i].timer, loop, on_coarse);
        coarse[i].deadline_ns = CLOCK_NEVER;
        coarse[i].fired = 0;
    }
}

static void
coarse_teardown(void)
{
    for (int i = 0; i < COARSE_TIMERS; i++) {
        coarse_timer_fini(&coarse[i].timer);
    }
}

static void
coarse_set(struct coarse_model *m, uint64_t deadline_ns)
{
    m->deadline_ns = deadline_ns;
    m->set_ns = now();
    coarse_timer_set(&m->timer, deadline_ns);
}

/* What is a second over its deadline, and a second after it was set, must have fired. */
static void
check_none_late(void)
{
    for (int i = 0; i < COARSE_TIMERS; i++) {
        if (coarse[i].deadline_ns == CLOCK_NEVER) {
            continue;
        }
        uint64_t from_ns = coarse[i].deadline_ns > coarse[i].set_ns ? coarse[i].deadline_ns
                                                                    : coarse[i].set_ns;
        if (now() - START_NS > from_ns - START_NS + NS_PER_S) {
            ck_abort_msg("coarse timer %d is late", i);
        }
    }
}

START_TEST(never_fires_a_coarse_timer_early_or_more_than_a_second_late)
{
    coarse_setup();
    for (int step = 0; step < 40000; step++) {
        struct coarse_model *m = &coarse[random_below(COARSE_TIMERS)];
        switch (random_below(12)) {
        case 0:
            coarse_set(m, CLOCK_NEVER);
            break;
        case 1:
            coarse_timer_fini(&m->timer);
            m->deadline_ns = CLOCK_NEVER;
            break;
        case 2: /* far beyond the span of the wheel */
            coarse_set(m, now() + random_below(2000 * NS_PER_S));
            break;
        case 3:
            turn_after(random_below(40) == 0 ? random_below(900 * NS_PER_S)
                                             : random_below(3 * NS_PER_S));
            check_none_late();
            break;
        default:
            coarse_set(m, now() - NS_PER_S + random_below(60 * NS_PER_S));
            break;
        }
    }
    turn_after(2100 * NS_PER_S);
    for (int i = 0; i < COARSE_TIMERS; i++) {
        ck_assert(coarse[i].deadline_ns == CLOCK_NEVER);
        ck_assert_int_gt(coarse[i].fired, 0);
    }
    coarse_teardown();
}
END_TEST

START_TEST(moves_a_deadline_both_ways)
{
    static const struct {
        const char *why;
        uint64_t first_s, then_s, fires_s;
    } cases[] = {
        { "as set", 10, 10, 10 },
        { "later", 10, 20, 20 },
        { "earlier", 20, 10, 10 },
        { "into the past", 20, 0, 1 },
        { "later than the wheel spans", 10, 700, 700 },
        { "earlier, from beyond the wheel's span", 700, 3, 3 },
        { "far beyond the span", 5000, 5000, 5000 },
    };
    coarse_setup();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct coarse_model *m = &coarse[i];
        uint64_t start_ns = now();
        coarse_set(m, start_ns + cases[i].first_s * NS_PER_S);
        coarse_set(m, start_ns + cases[i].then_s * NS_PER_S);
        uint64_t ticks = 0;
        while (m->fired == 0 && ticks < 6000 * 4) {
            turn_after(NS_PER_S / 4);
            ticks++;
        }
        unit_check(m->fired == 1, cases[i].why);
        unit_check(now() >= start_ns + cases[i].then_s * NS_PER_S, cases[i].why);
        unit_check(now() <= start_ns + (cases[i].fires_s + 1) * NS_PER_S + NS_PER_S / 4,
                cases[i].why);
    }
    coarse_teardown();
}
END_TEST

START_TEST(only_stores_a_deadline_that_is_later_than_the_last)
{
    coarse_setup();
    coarse_set(&coarse[0], now() + 10 * NS_PER_S);
    struct coarse_timer before = coarse[0].timer;
    coarse_set(&coarse[0], now() + 100 * NS_PER_S);
    coarse_set(&coarse[0], CLOCK_NEVER);
    coarse_set(&coarse[0], now() + 50 * NS_PER_S);
    before.deadline_ns = coarse[0].timer.deadline_ns;
    ck_assert_mem_eq(&coarse[0].timer, &before, sizeof(before));
    coarse_teardown();
}
END_TEST

static struct coarse_model *coarse_victims[2];
static int coarse_acts;

static void
on_coarse_actor(struct coarse_timer *timer)
{
    struct coarse_model *m = (struct coarse_model *)timer;
    coarse_acts++;
    for (int i = 0; i < 2; i++) {
        if (coarse_victims[i] != NULL) {
            coarse_timer_fini(&coarse_victims[i]->timer);
            free(coarse_victims[i]);
            coarse_victims[i] = NULL;
        }
    }
    if (coarse_acts < 3) {
        coarse_timer_set(timer, 0);
    } else {
        free(m);
    }
}

START_TEST(lets_a_callback_free_what_lies_in_the_same_slot)
{
    /* The actor is set last and so comes first in its slot. */
    for (int i = 0; i < 2; i++) {
        coarse_victims[i] = calloc(1, sizeof(struct coarse_model));
        ck_assert_ptr_nonnull(coarse_victims[i]);
        coarse_timer_init(&coarse_victims[i]->timer, loop, on_coarse);
        coarse_timer_set(&coarse_victims[i]->timer, now() + 2 * NS_PER_S);
    }
    struct coarse_model *actor = calloc(1, sizeof(*actor));
    ck_assert_ptr_nonnull(actor);
    coarse_timer_init(&actor->timer, loop, on_coarse_actor);
    coarse_timer_set(&actor->timer, now() + 2 * NS_PER_S);
    coarse_acts = 0;
    turn_after(3 * NS_PER_S);
    ck_assert_int_eq(coarse_acts, 1);
    turn_after(NS_PER_S);
    turn_after(NS_PER_S);
    ck_assert_int_eq(coarse_acts, 3); /* set again twice, then freed by itself */
}
END_TEST

/* ---- the kernel's clock ---- */

static int real_fired;

static void
on_real(struct timer *timer)
{
    uint64_t now_ns = clock_monotonic_ns(loop_clock(timer->loop));
    ck_assert_uint_ge(now_ns, timer->deadline_ns);
    ck_assert(now_ns - timer->deadline_ns < (uint64_t)(unit_slow(5) * 1e9));
    real_fired++;
}

static void
on_real_coarse(struct coarse_timer *timer)
{
    (void)timer;
    real_fired += 100;
}

START_TEST(wakes_a_sleeping_loop_for_the_earliest_of_all_timers)
{
    struct loop *real;
    ck_assert_int_eq(loop_new(NULL, &real), 0);
    struct timer timers[3];
    uint64_t start_ns = loop_now_ns(real);
    for (int i = 0; i < 3; i++) {
        timer_init(&timers[i], real, on_real);
    }
    struct coarse_timer slow;
    coarse_timer_init(&slow, real, on_real_coarse);
    coarse_timer_set(&slow, start_ns + NS_PER_S / 100);

    ck_assert_int_eq(timer_set(&timers[0], start_ns + 3600 * NS_PER_S), 0);
    loop_turn(real, false); /* armed for an hour */
    ck_assert_int_eq(timer_set(&timers[1], start_ns + 30 * NS_PER_MS), 0); /* earlier now */
    ck_assert_int_eq(timer_set(&timers[2], start_ns - 1), 0);
    while (real_fired % 100 < 1) {
        loop_turn(real, true);
    }
    ck_assert(timer_is_set(&timers[1]));
    while (real_fired % 100 < 2) {
        loop_turn(real, true);
    }
    while (real_fired < 100) { /* and a second of the wheel */
        loop_turn(real, true);
    }
    ck_assert(loop_now_ns(real) >= start_ns + NS_PER_S / 100);
    timer_cancel(&timers[0]);
    coarse_timer_fini(&slow);
    loop_free(real);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, fires_as_a_model_that_looks_at_every_timer);
    tcase_add_test(tests, fires_a_timer_at_its_deadline_and_not_a_nanosecond_before);
    tcase_add_test(tests, lets_a_callback_set_cancel_move_and_free_timers_that_are_due_too);
    tcase_add_test(tests, needs_no_memory_to_set_timers_again_in_their_own_callbacks);
    tcase_add_test(tests, leaves_a_timer_as_it_was_when_each_allocation_fails);
    tcase_add_test(tests, never_fires_a_coarse_timer_early_or_more_than_a_second_late);
    tcase_add_test(tests, moves_a_deadline_both_ways);
    tcase_add_test(tests, only_stores_a_deadline_that_is_later_than_the_last);
    tcase_add_test(tests, lets_a_callback_free_what_lies_in_the_same_slot);
    tcase_add_test(tests, wakes_a_sleeping_loop_for_the_earliest_of_all_timers);
}

UNIT_MAIN("event/timer", add_tests)
