/* SPDX-License-Identifier: MIT */
/* The listening sockets of the master, by address. A TCP address has one socket a slot
 * (SO_REUSEPORT; a slot is one event loop of one worker), any other one socket for all. They
 * are made once and handed to every generation that wants the address: closing the last
 * reference to a listening socket would reset whoever waits in its queue. Thread: the master's.
 */
#ifndef WEIR_SERVER_SOCKETS_H
#define WEIR_SERVER_SOCKETS_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/plan.h"

struct sockets;

struct listening {
    struct addr configured; /* what the configuration says */
    struct addr bound;      /* with the port that the system chose */
    struct weir_str text;   /* owned; as written */
    bool is_shared;         /* one socket, not one a slot */
    dev_t file_device;      /* of a Unix socket's file, which may be another's by now */
    ino_t file_number;
    int *fds; /* owned; by slot, or the shared one */
    unsigned count;
    unsigned references;
    struct listening *next;
};

struct sockets *sockets_new(void);          /* NULL without memory */
void sockets_free(struct sockets *sockets); /* closes all. NULL: nothing */

/*
 * All addresses of the plan with at least `slots` sockets each: what is open already is used
 * again, the rest is opened, all of it or nothing (F6). What is wrong is logged.
 * Params:  out: plan->listeners_count pointers, one counted reference each.
 * Returns: an exit code.
 */
int sockets_open(struct sockets *sockets, const struct plan *plan, unsigned slots,
        struct listening **out);

/* Opens what is missing up to `slots` sockets. Returns an exit code. */
int sockets_grow(struct listening *listening, int backlog, unsigned slots);

/* What the plan of the generation that serves now says of sockets that were open before: their
 * backlog, and the mode of a Unix socket's file. What cannot be had is logged. */
void sockets_adjust(const struct listening *listening, const struct plan_listener *planned);

/* The last reference closes the sockets, and takes a Unix socket's file away. */
void sockets_unref(struct sockets *sockets, struct listening *listening);

#endif
