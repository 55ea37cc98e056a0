/* SPDX-License-Identifier: MIT */
/* A module's life in a worker: when its functions of struct weir_module are called, on which
 * thread, and where it keeps what it made.
 *
 *     main thread   worker_start            live  drain             worker_stop
 *     each loop                 loop_start   ... hooks ... loop_stop
 *     pool threads                thread_start ... jobs ... thread_stop
 *
 *     worker_start   before any loop turns: make threads, open what all loops share
 *     loop_start     on each loop, one loop after the other, before its first connection
 *     live           the worker is ready, and accepts connections from now on
 *     drain          it accepts no more; what was accepted is answered, for at most
 *                    workers.drain_timeout. Not called where a worker ends at once;
 *                    weir_worker_ending() tells why
 *     loop_stop      on each loop, when its last connection has ended and its last log hook has
 *                    run
 *     thread_start   on a thread of a pool, before its first job of the module: weir/offload.h
 *     thread_stop    on that thread, before it ends
 *     worker_stop    when all loops and the threads of all pools have ended: join the module's
 *                    own threads here
 *
 * A job that never returns keeps its thread from ending. Half a second after the loops the
 * worker then ends without it, and of the modules which have something on that thread neither
 * worker_stop nor conf_close is called.
 *
 * The modules are called in the order of `modules` in the configuration until live, and in the
 * opposite order from drain on: one may build on those before it. The first loop turns on the
 * main thread. Each worker process runs all of it by itself, and a reload starts new ones, so
 * that two generations of a module live side by side until the old one has drained.
 *
 * worker_start and loop_start return 0 or a negative errno, and may say more with
 * weir_conf_error(report, OPTION, ...), whose OPTION is one of the module's own: the worker is
 * then not taken into service, and the start or the reload is refused with that report, while
 * what served before goes on. Of the module that failed no stop function is called, of those
 * before it all are. They may block, for as long as a start may take; all others, but for those
 * on threads of pools, must come back within workers.stall_timeout. Signals are blocked while
 * these functions run, so that threads which they make hear none.
 *
 * A module keeps no variables of its own that change: what it makes hangs on these two, which
 * live until worker_stop has returned. Grows until 1.0. */
#ifndef WEIR_WORKER_H
#define WEIR_WORKER_H

#include <weir/api.h>
#include <weir/module.h>

WEIR_BEGIN_DECLS

/* One module in one worker, and on one of the worker's loops. */
struct weir_worker;
struct weir_loop;

/* The module's own options, as `init` was given them; NULL when its table has none. Constant.
 * Any thread. */
WEIR_API WEIR_ANY const void *weir_worker_options(const struct weir_worker *worker);

/* The module on the worker's first loop, which turns on the main thread: there is one in every
 * worker. Any thread. */
WEIR_API WEIR_ANY struct weir_loop *weir_worker_loop(const struct weir_worker *worker);

/* How many event loops the worker has. Any thread. */
WEIR_API WEIR_ANY unsigned weir_worker_loops(const struct weir_worker *worker);

/* Whether the worker comes to its end, and who comes after it. */
enum weir_ending {
    WEIR_STAYS = 0,
    WEIR_ENDS_REPLACED = 1,    /* it makes way, as after a reload: others accept in its place */
    WEIR_ENDS_WITH_SERVER = 2, /* the server stops: nobody does */
};

/* Known before `drain`, a workers.stop_delay before it where a server stops; it only ever
 * grows. Any thread. */
WEIR_API enum weir_ending weir_worker_ending(const struct weir_worker *worker);

/* What the module keeps for the worker; NULL at first, and the module's to free. Set in
 * worker_start, read on any thread. */
WEIR_API WEIR_SETUP void weir_worker_set_state(struct weir_worker *worker, void *state);
WEIR_API WEIR_ANY void *weir_worker_state(const struct weir_worker *worker);

/* What it keeps for a loop. Thread: the loop's. */
WEIR_API WEIR_LOOP void weir_loop_set_state(struct weir_loop *loop, void *state);
WEIR_API WEIR_LOOP void *weir_loop_state(const struct weir_loop *loop);

/* The worker of a loop; the loop's number, from 0 up. Any thread. */
WEIR_API WEIR_ANY struct weir_worker *weir_loop_worker(const struct weir_loop *loop);
WEIR_API WEIR_ANY unsigned weir_loop_index(const struct weir_loop *loop);

/* Those of the module whose hook runs. Thread: the request's loop, from within a hook. */
WEIR_API WEIR_LOOP struct weir_worker *weir_request_worker(const struct weir_request *request);
WEIR_API WEIR_LOOP struct weir_loop *weir_request_loop(const struct weir_request *request);

WEIR_END_DECLS

#endif
