/* SPDX-License-Identifier: MIT */
/* What is kept of each module in its worker, and on the worker's loops. Private to life*.c. */
#ifndef WEIR_MODULE_LIFE_PARTS_H
#define WEIR_MODULE_LIFE_PARTS_H

#include <stdatomic.h>

#include "module/life.h"

struct weir_worker {
    const struct life *life;            /* borrowed: holds this */
    const struct site_module *declared; /* borrowed */
    uint32_t flight;                    /* its entry, but for the hook */

    void *state; /* the module's */
    bool has_started;

    /* Of threads of pools (life_thread.c). */
    _Atomic(uint32_t) holds; /* jobs that are out, and threads that have begun with it */
    _Atomic(uint64_t)
            said_ns; /* when the log was last told that thread_start failed; 0: never */
    _Atomic(uint32_t) unsaid; /* failures since then */
};

struct weir_loop {
    struct weir_worker *worker; /* borrowed */
    struct life_loop *at;       /* borrowed: holds this */
    void *state;                /* the module's */
    bool has_started;
    struct module_timers timers;
};

struct life_loop {
    struct life *life; /* borrowed: holds this */
    struct loop *loop; /* borrowed; NULL: not attached */
    unsigned index;
    struct weir_loop *modules; /* owned; in order */
    bool is_draining;
    struct module_metrics *metrics; /* borrowed; NULL: modules count nothing themselves */
};

struct life {
    const struct site *site; /* borrowed */
    size_t count;            /* modules */
    struct weir_worker *workers;
    unsigned loop_count;
    bool is_live, is_draining;
    _Atomic(enum weir_ending) ending; /* any thread */
    struct life_loop loops[];
};

#endif
