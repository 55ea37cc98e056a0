/* SPDX-License-Identifier: MIT */
/* A listener's connection hooks, called for its connections of whatever protocol: between the
 * protocol (h1.h) and modules (weir/connection.h). A listener without such hooks has none of
 * this, and its connections cost nothing more. Thread: the loop's. */
#ifndef WEIR_MODULE_CONNECTION_H
#define WEIR_MODULE_CONNECTION_H

#include <weir/connection.h>

#include "http/h1.h"
#include "module/chain.h"

struct wait_slot;
struct wait_table;

/* h1_settings.watch_context of a listener with hooks; constant. */
struct connection_hooks {
    const struct chain *chain;
    struct weir_str listener; /* its address, as written */
};

/* h1_settings.watch. The engine's handler_context is a struct course_map. */
extern const struct h1_watch connection_watch;

/* True when the chain has hooks for connections. */
bool connection_has_hooks(const struct chain *chain);

/* ---- for wait.c ---- */

/* Where the open hook that runs may wait; NULL: it may not. And for how long. */
struct wait_table *connection_waits(struct weir_connection *connection);
uint64_t connection_longest_ns(const struct weir_connection *connection);

/* The hook waits in `slot`; and what it waits for is there. */
void connection_hold(struct weir_connection *connection, struct wait_slot *slot);
void connection_ripen(struct weir_connection *connection);

#endif
