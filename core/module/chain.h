/* SPDX-License-Identifier: MIT */
/* A route's hooks, compiled when the configuration loads: sorted by phase, stage and position,
 * two to a cache line, so that a phase without hooks costs a compare and one with hooks a walk.
 * Constant once made. Any thread. */
#ifndef WEIR_MODULE_CHAIN_H
#define WEIR_MODULE_CHAIN_H

#include <weir/module.h>

#include "base/arena.h"

#define CHAIN_PHASES (WEIR_ON_CLOSE + 1)

/* The phase of an entry in whose place a module's variables are asked: none of the above. */
#define CHAIN_VARIABLE CHAIN_PHASES

/* One handler as a server or route uses it. */
struct chain_use {
    const struct weir_module *module;   /* borrowed for ever: modules are never unloaded */
    const struct weir_handler *handler; /* likewise */
    const void *conf;                   /* borrowed from the generation */
    uint32_t state_at;                  /* where its state stands in a request's slab */
};

struct chain_entry {
    union {
        weir_request_fn *request;
        weir_filter_fn *filter;
        weir_connection_fn *connection;
    };
    const void *conf;
    uint32_t state_at;
    uint16_t use; /* index into chain->uses */
    uint8_t phase, stage;
    uint32_t flight; /* its entry in flight records (observe/flight.h) */
    uint16_t calls;  /* its cells (module/hook_figures.h) */
};

_Static_assert(sizeof(struct chain_entry) <= 32, "two entries to a cache line");

struct chain {
    const struct chain_use *uses; /* borrowed from the arena it was compiled in */
    uint16_t use_count;
    uint16_t first[CHAIN_PHASES + 1]; /* entries of phase p: [first[p], first[p + 1]) */
    const struct chain_entry *entries;

    /* By use, in whose place its variables are asked: NULL where it has none. NULL when no use
     * has any. */
    const struct chain_entry **variables;
};

/* Compiles `count` uses, in the order of the summed `use` list with the handlers of `handle`
 * behind them. Everything is allocated in `arena`; `uses` is copied. Returns 0; -ENOMEM; -E2BIG
 * for more hooks than 65,535; -EINVAL for a hook whose function does not fit its phase, when
 * *bad (may be NULL) is the use. */
WEIR_MUST_USE int chain_compile(struct arena *arena, const struct chain_use *uses,
        uint16_t count, const struct chain **out, const struct chain_use **bad);

/* The module's name, for logs. */
const char *chain_entry_module(const struct chain *chain, const struct chain_entry *entry);

const char *phase_name(enum weir_phase phase);

#endif
