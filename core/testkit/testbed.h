/* SPDX-License-Identifier: MIT */
/* A whole server without sockets: a configuration with its modules, one loop on a hand-wound
 * clock, and clients on memory streams. What a worker does with a site (server/worker.c), for
 * tests: they send bytes, wind the clock, and read what was answered. Thread: one. */
#ifndef WEIR_TESTKIT_TESTBED_H
#define WEIR_TESTKIT_TESTBED_H

#include <weir/module.h>

#include "base/buf.h"
#include "http/h1.h"
#include "net/resolver.h"

struct connector;
struct figures;
struct testbed;

struct testbed_settings {
    const char *config;                       /* the document, as a file would hold it */
    const struct weir_module *const *modules; /* made known to the loader, once a process */
    size_t modules_count;
};

/* Returns 0; -EINVAL with what is wrong in *report, as `weir check` prints it; what a module's
 * worker_start or loop_start said; -ENOMEM. The modules are live then. */
WEIR_MUST_USE int testbed_new(const struct testbed_settings *settings, struct buf *report,
        struct testbed **out);

/* Testbeds made from now on reach upstreams by it, which is borrowed; NULL: by sockets. */
void testbed_reach_by(const struct connector *connector);

/* And names by it; preset: resolver_new(). */
void testbed_resolve_by(resolver_new_fn *new_resolver);

/* Ends its clients and everything else. Returns true when nothing was left over: every request
 * and connection ended, every byte of memory given back. NULL: nothing, true. */
bool testbed_free(struct testbed *testbed);

/* A client of the first listener; the last one, if any, is reset. False without memory. */
WEIR_MUST_USE bool testbed_connect(struct testbed *testbed);

/* What the client does. Each runs the server until nothing more happens, pool threads included,
 * but those that are held. */
void testbed_send(struct testbed *testbed, struct weir_str bytes);
void testbed_feed(struct testbed *testbed, struct weir_str bytes); /* sends; nothing runs yet */
void testbed_end(struct testbed *testbed);                         /* its FIN */
void testbed_reset(struct testbed *testbed);
void testbed_allow(struct testbed *testbed, uint64_t bytes); /* takes so many more bytes */

/* From now on the client takes `bytes` and then no more until testbed_allow(); UINT64_MAX: all.
 */
void testbed_limit(struct testbed *testbed, uint64_t bytes);

/* Memory for `bytes` in each direction, so that the client needs none while the server's is
 * denied it. */
void testbed_reserve(struct testbed *testbed, size_t bytes);

/* Runs one turn of the loop, or all until nothing more happens. */
void testbed_turn(struct testbed *testbed);
void testbed_settle(struct testbed *testbed);

/* Lets time pass, in steps of 100 ms. */
void testbed_pass(struct testbed *testbed, uint64_t ns);

/* What the client has received so far; borrowed until the server runs on. */
struct weir_str testbed_received(const struct testbed *testbed);

/* True when the server has closed the client's connection, or shut its side down. */
bool testbed_is_over(const struct testbed *testbed);

/* Work given to the pool `name` stays where it is: its threads are held. With `is_full` its
 * queue has no room either, so that it comes back at once as busy. Returns 0, -ENOENT, or
 * -ENOMEM. testbed_release() lets all pools go. */
WEIR_MUST_USE int testbed_hold(struct testbed *testbed, const char *name, bool is_full);
void testbed_release(struct testbed *testbed);

/* The server accepts no more: modules and ports are told, idle connections end. What goes on
 * does so until testbed_free() cuts it. */
void testbed_drain(struct testbed *testbed);

/* The time for that is nearly over: tunnels end in order. */
void testbed_end_tunnels(struct testbed *testbed);

/* From now on what happens is counted in `figures`, which outlive the testbed. */
void testbed_count(struct testbed *testbed, struct figures *figures);

/* Requests that have ended, by reason. */
uint64_t testbed_ended(const struct testbed *testbed, int end);

#endif
