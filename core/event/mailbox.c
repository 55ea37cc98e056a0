/* SPDX-License-Identifier: MIT */
/* A Treiber stack that is only ever taken whole, so that it knows no ABA; turned round when it
 * is taken, so that the letters of one sender come in the order in which they were posted.
 *
 * Whoever posts into an empty stack writes to the eventfd, and the loop takes the stack only
 * after that edge or an earlier one: no letter is left lying. The eventfd is edge-triggered and
 * never read. A letter posted while letters are run comes with the next turn. */
#include "event/mailbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/assert.h"
#include "event/loop.h"

struct mailbox {
    struct loop *loop; /* borrowed */
    int fd;            /* owned; written when the stack was empty */
    bool is_running;   /* letters are being run */
    struct event on_post;
    _Atomic(struct letter *) newest; /* any thread */
};

/* Runs all that is in it now, the oldest first. */
static void
run(struct mailbox *mailbox)
{
    /* Pairs with the release in mailbox_post(): what the senders wrote is seen here. */
    struct letter *letter = atomic_exchange_explicit(&mailbox->newest, NULL,
            memory_order_acquire);
    struct letter *oldest = NULL;
    while (letter != NULL) {
        struct letter *next = letter->next;
        letter->next = oldest;
        oldest = letter;
        letter = next;
    }
    mailbox->is_running = true;
    while (oldest != NULL) {
        letter = oldest;
        oldest = letter->next;
        letter->fn(letter); /* may free or post it */
    }
    mailbox->is_running = false;
}

static void
on_post(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    run(context);
}

int
mailbox_new(struct loop *loop, struct mailbox **out)
{
    int r;
    struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
    if (mailbox == NULL) {
        return -ENOMEM;
    }
    mailbox->loop = loop;
    mailbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mailbox->fd == -1) {
        r = -errno;
        goto fail;
    }
    if (event_assign(&mailbox->on_post, loop_base(loop), mailbox->fd,
                EV_READ | EV_ET | EV_PERSIST, on_post, mailbox) != 0 ||
            event_add(&mailbox->on_post, NULL) != 0) {
        r = -ENOMEM;
        goto fail;
    }
    *out = mailbox;
    return 0;

fail:
    mailbox_free(mailbox);
    return r;
}

void
mailbox_free(struct mailbox *mailbox)
{
    if (mailbox == NULL) {
        return;
    }
    WEIR_ASSERT(!mailbox->is_running);
    while (atomic_load_explicit(&mailbox->newest, memory_order_relaxed) != NULL) {
        run(mailbox);
    }
    if (event_initialized(&mailbox->on_post)) {
        event_del(&mailbox->on_post);
    }
    if (mailbox->fd != -1) {
        close(mailbox->fd);
    }
    free(mailbox);
}

void
mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
    /* From the exchange on the receiver may run the letter: nothing of it is touched after. */
    struct letter *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do {
        letter->next = newest;
        /* Pairs with the acquire in run(). */
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, letter,
            memory_order_release, memory_order_relaxed));
    if (newest == NULL) {
        int r = eventfd_write(mailbox->fd, 1);
        WEIR_ASSERT(r == 0);
    }
}

struct loop *
mailbox_loop(const struct mailbox *mailbox)
{
    return mailbox->loop;
}
