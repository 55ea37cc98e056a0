/* SPDX-License-Identifier: MIT */
/* From any thread to a loop: an intrusive lock-free stack with an eventfd that is written only
 * when the mailbox was empty, so that a busy loop is woken once for many letters.
 *
 * A letter belongs to the sender until mailbox_post(), then to the mailbox, and to the receiver
 * from the moment its `fn` runs on the loop. Letters of one sender arrive in order. */
#ifndef WEIR_EVENT_MAILBOX_H
#define WEIR_EVENT_MAILBOX_H

#include <weir/api.h>

struct loop;
struct mailbox;

struct letter {
    void (*fn)(struct letter *letter); /* on the loop */
    struct letter *next;
};

/* Thread: the loop's, or any before the loop turns. Returns 0 or a negative errno. */
WEIR_MUST_USE int mailbox_new(struct loop *loop, struct mailbox **out);

/* Runs what is still in it, and what that posts, then frees. No thread may post any more, or
 * still be within mailbox_post(); not from within a letter. NULL: nothing. */
void mailbox_free(struct mailbox *mailbox);

/* Any thread; never blocks, never fails. Wakes the loop when it sleeps. What a letter's `fn`
 * posts, be it itself, is run in the next turn. */
void mailbox_post(struct mailbox *mailbox, struct letter *letter);

/* The loop on which letters are run. Any thread. */
struct loop *mailbox_loop(const struct mailbox *mailbox);

#endif
