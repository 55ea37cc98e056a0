/* SPDX-License-Identifier: MIT */
/* The life of the modules of a worker (weir/worker.h): calls them when the worker starts,
 * serves, drains and ends, and keeps what they made.
 *
 *     life_new -> life_attach for each loop -> life_start -> life_loop_start for each loop
 *              -> life_live -> life_drain -> life_loop_stop for each loop -> life_stop
 *              -> life_free
 *
 * Whatever failed or was left out: from life_loop_stop on each undoes what was done, and
 * nothing else. Thread: the worker's main one, but where a loop's is named. */
#ifndef WEIR_MODULE_LIFE_H
#define WEIR_MODULE_LIFE_H

#include <weir/worker.h>

#include "config/diagnostic.h"
#include "module/module_timer.h"
#include "module/site.h"

struct life;
struct life_loop;
struct loop;
struct module_metrics;

/* What a flight record says where the hook is none of a phase (enum weir_phase). */
enum life_hook {
    LIFE_CONF_OPEN = 32,
    LIFE_WORKER_START,
    LIFE_LOOP_START,
    LIFE_LIVE,
    LIFE_DRAIN,
    LIFE_LOOP_STOP,
    LIFE_WORKER_STOP,
    LIFE_CONF_CLOSE,
    LIFE_TIMER,
    LIFE_THREAD_START,
    LIFE_THREAD_STOP,
};

/* The name of what a flight record names: a phase, a variable, or one of the above. */
const char *life_hook_name(unsigned hook);

/* `site` is borrowed. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int life_new(const struct site *site, unsigned loops, struct life **out);

/* After life_stop(). NULL: nothing. */
void life_free(struct life *life);

/* The modules' part of one loop, which is borrowed. */
struct life_loop *life_attach(struct life *life, unsigned index, struct loop *loop);

/* Calls worker_start of all modules, in order. Returns 0, or what the first that failed said;
 * the report of that goes to `diagnostics`. */
WEIR_MUST_USE int life_start(struct life *life, struct diagnostics *diagnostics);

/* The same for loop_start. Thread: the loop's, while nobody else uses `diagnostics`. */
WEIR_MUST_USE int life_loop_start(struct life_loop *loop, struct diagnostics *diagnostics);

/* What weir_worker_ending() says from now on; less than it said: nothing. Before life_drain().
 */
void life_end(struct life *life, enum weir_ending how);

/* Calls `live`, and `drain` if that was called, when the timers of the first loop have ended.
 * Again: nothing. */
void life_live(struct life *life);
void life_drain(struct life *life);

/* Ends the timers of a loop; again: nothing, so that others may be set. Thread: the loop's. */
void life_loop_drain(struct life_loop *loop);

/* Calls loop_stop of those that started. Thread: the loop's, or whoever adopted it. */
void life_loop_stop(struct life_loop *loop);

/* The same for worker_stop, when the pools have stopped. Modules that are held are left out,
 * and named in the log. */
void life_stop(struct life *life);

/* Whether a thread of a pool that has not ended is at work for the module, or keeps something
 * of it: for ever, once the pools have stopped, as for what it uses. Any thread. */
bool life_is_held(const struct life *life, const struct weir_module *module);

/* NULL when `module` is not declared. */
struct weir_worker *life_worker(const struct life_loop *loop, const struct weir_module *module);
struct weir_loop *life_module(struct life_loop *loop, const struct weir_module *module);

/* What modules count in on this loop from now on; NULL: nothing. Borrowed. */
void life_set_metrics(struct life_loop *loop, struct module_metrics *metrics);

struct module_timers *life_timers(struct weir_loop *loop);

#endif
