/* SPDX-License-Identifier: MIT */
#include "event/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "event/loop.h"
#include "support/unit.h"

#define SENDERS 4
#define LETTERS 20000

struct note {
    struct letter letter;
    int sender, number;
};

static struct note notes[SENDERS][LETTERS];
static struct mailbox *mailbox;
static struct loop *loop;
static int next_number[SENDERS];
static int arrived;

static void
setup(void)
{
    ck_assert_int_eq(loop_new(NULL, &loop), 0);
    ck_assert_int_eq(mailbox_new(loop, &mailbox), 0);
    arrived = 0;
}

static void
teardown(void)
{
    mailbox_free(mailbox);
    loop_free(loop);
}

static void
on_note(struct letter *letter)
{
    struct note *note = (struct note *)letter;
    ck_assert(loop_is_current(loop));
    if (note->number != next_number[note->sender]) {
        ck_abort_msg("sender %d: letter %d came when %d was due", note->sender, note->number,
                next_number[note->sender]);
    }
    next_number[note->sender]++;
    arrived++;
}

static void *
send_all(void *context)
{
    int sender = *(int *)context;
    for (int i = 0; i < LETTERS; i++) {
        notes[sender][i] = (struct note){ { .fn = on_note }, sender, i };
        mailbox_post(mailbox, &notes[sender][i].letter);
    }
    return NULL;
}

START_TEST(delivers_each_letter_once_and_in_its_senders_order)
{
    pthread_t threads[SENDERS];
    int ids[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        ids[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_all, &ids[i]), 0);
    }
    /* Each turn sleeps until a letter is there: a lost wake-up hangs here. */
    while (arrived < SENDERS * LETTERS) {
        loop_turn(loop, true);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(next_number[i], LETTERS);
    }
    loop_turn(loop, false);
    ck_assert_int_eq(arrived, SENDERS * LETTERS);
}
END_TEST

static _Atomic(int) answers;

static void
on_question(struct letter *letter)
{
    (void)letter;
    arrived++;
    atomic_fetch_add(&answers, 1);
}

/* The next letter is only sent when the last was answered: each meets a loop about to sleep. */
static void *
ask(void *context)
{
    struct letter *letter = context;
    for (int i = 0; i < 2000; i++) {
        mailbox_post(mailbox, letter);
        while (atomic_load(&answers) == i) {
        }
    }
    return NULL;
}

START_TEST(wakes_a_loop_that_sleeps_every_time)
{
    struct letter letter = { .fn = on_question };
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, ask, &letter), 0);
    while (arrived < 2000) {
        loop_turn(loop, true);
    }
    pthread_join(thread, NULL);
}
END_TEST

static int self_posts_left;

static void
post_again(struct letter *letter)
{
    arrived++;
    if (self_posts_left-- > 0) {
        mailbox_post(mailbox, letter);
    }
}

START_TEST(runs_a_letter_that_posts_itself_once_a_turn)
{
    struct letter letter = { .fn = post_again };
    self_posts_left = 5;
    mailbox_post(mailbox, &letter);
    for (int turn = 1; turn <= 6; turn++) {
        loop_turn(loop, true);
        ck_assert_int_eq(arrived, turn);
    }
}
END_TEST

START_TEST(runs_what_is_left_when_it_is_freed)
{
    struct letter letters[3] = { { .fn = post_again }, { .fn = post_again },
        { .fn = post_again } };
    self_posts_left = 2;
    for (int i = 0; i < 3; i++) {
        mailbox_post(mailbox, &letters[i]);
    }
    mailbox_free(mailbox);
    mailbox = NULL; /* for teardown() */
    ck_assert_int_eq(arrived, 5);
}
END_TEST

START_TEST(survives_each_allocation_failing){ UNIT_EACH_ALLOCATION_FAILS({
    struct mailbox *made = NULL;
    int r = mailbox_new(loop, &made);
    ck_assert(r == 0 || (r == -ENOMEM && made == NULL));
    mailbox_free(made);
}) } END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, delivers_each_letter_once_and_in_its_senders_order);
    tcase_add_test(tests, wakes_a_loop_that_sleeps_every_time);
    tcase_add_test(tests, runs_a_letter_that_posts_itself_once_a_turn);
    tcase_add_test(tests, runs_what_is_left_when_it_is_freed);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("event/mailbox", add_tests)
