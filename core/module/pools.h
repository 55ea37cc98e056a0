/* SPDX-License-Identifier: MIT */
/* A worker's pools by name, made from the configuration. Thread: the worker's loop, but for
 * what pool.h gives to any. */
#ifndef WEIR_MODULE_POOLS_H
#define WEIR_MODULE_POOLS_H

#include "event/pool.h"
#include "module/site.h"

struct life;
struct pools;

/* Starts the threads of all of `site`'s pools, which keep what the modules of `life` want on
 * them (module/life_thread.h). `life` is borrowed until they have ended; NULL: nothing is kept.
 * Returns 0 or a negative errno. */
WEIR_MUST_USE int pools_new(const struct site *site, struct life *life, struct pools **out);

/* NULL when there is none of that name. */
struct pool *pools_find(const struct pools *pools, struct weir_str name);

/* The pool of that number, from 0 up, and its name; NULL when there are not so many. */
struct pool *pools_at(const struct pools *pools, size_t i, const char **name);

/* Refuses new work and waits for the threads until `deadline_ns`; then the loop must turn once
 * more, for what comes back. True when all threads have ended. */
bool pools_stop(struct pools *pools, uint64_t deadline_ns);

/* After pools_stop(). NULL: nothing. */
void pools_free(struct pools *pools);

#endif
