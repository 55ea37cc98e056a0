/* SPDX-License-Identifier: MIT */
/* What a pool's thread keeps for the modules whose jobs it runs: their thread_start and
 * thread_stop (weir/offload.h). Each thread has its own, which nobody else looks at, so that
 * nothing here is locked. */
#ifndef WEIR_MODULE_LIFE_THREAD_H
#define WEIR_MODULE_LIFE_THREAD_H

#include <stdbool.h>

#include "module/life.h"

struct life_thread;

/* Whether threads have anything to keep: one of the modules has such a function. */
bool life_keeps_threads(const struct life *life);

/* For struct pool_settings, whose context is the struct life, which lives until the pool's last
 * thread has ended. The second calls thread_stop of all modules that have started here. Thread:
 * the pool's. */
WEIR_MUST_USE int life_thread_new(void *life, void **thread);
void life_thread_free(void *life, void *thread);

/* Makes the thread ready for a job of the module and sets *state to what the module keeps here,
 * NULL for none. `thread` may be NULL. Returns 0, or a negative errno when thread_start failed;
 * the log has been told. Thread: the pool's. */
WEIR_MUST_USE int life_thread_enter(struct life_thread *thread, struct weir_worker *worker,
        void **state);

/* From the submission of a job until it is back it holds its module (life_is_held()). `worker`
 * may be NULL. Any thread. */
void life_hold(struct weir_worker *worker);
void life_release(struct weir_worker *worker);

#endif
