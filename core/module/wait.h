/* SPDX-License-Identifier: MIT */
/* The waits of one loop: the slots behind tokens, and the mailbox through which other threads
 * resume. Made with the loop, freed after every thread that may hold a token has ended. */
#ifndef WEIR_MODULE_WAIT_H
#define WEIR_MODULE_WAIT_H

#include <stddef.h>

#include <weir/wait.h>

struct loop;
struct mailbox;
struct wait_slot;
struct wait_table;

/* `mailbox` is the loop's, borrowed. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int wait_table_new(struct loop *loop, struct mailbox *mailbox,
        struct wait_table **out);

/* No request waits any more, and the mailbox is empty. NULL: nothing. */
void wait_table_free(struct wait_table *table);

/* Hooks that are suspended now. Thread: the loop's. */
size_t wait_table_count(const struct wait_table *table);

struct mailbox *wait_table_mailbox(const struct wait_table *table);

/* What the open hook of a connection waited in has become ripe, or the connection has ended:
 * calls the module in the hook's place. */
enum weir_verdict wait_resume_connection(struct wait_slot *slot,
        struct weir_connection *connection, const void *conf);
void wait_abort_connection(struct wait_slot *slot, struct weir_connection *connection,
        const void *conf);

#endif
