/* SPDX-License-Identifier: MIT */
/* A line of body filters between two queues: each takes from the queue before it and writes to
 * the one behind. The queues are the core's, so a filter keeps nothing. Thread: the loop's. */
#ifndef WEIR_MODULE_FILTER_H
#define WEIR_MODULE_FILTER_H

#include <weir/filter.h>

#include "base/arena.h"
#include "base/slice.h"
#include "module/chain.h"
#include "module/hook_wait.h"

struct weir_filter {
    const struct chain_entry *entry; /* borrowed */
    struct slice_queue *input;       /* borrowed: the queue before */
    struct slice_queue output;
    bool input_ended;
    bool is_passing;       /* WEIR_DONE: the rest goes through unchanged */
    bool has_ended;        /* nothing follows in `output` */
    bool has_changed;      /* the call in progress did something */
    bool is_waiting;       /* it said WEIR_PENDING */
    uint8_t stalls;        /* calls in a row that did nothing */
    uint32_t want_bytes;   /* 0, or how long the input must be before the next call */
    uint64_t pause_bytes;  /* no call while `output` holds as much */
    struct hook_wait wait; /* whoever calls it: what it waits for */
    struct weir_filter *next;
};

struct filter_line {
    struct weir_filter *first; /* in the request's arena; NULL: no filters */
    struct slice_queue *source;
    struct weir_filter *last;
    const struct weir_filter *failed; /* whose fault it was, when a step fails */
};

/* Adds a filter behind the others. Its queues live until the arena ends. Returns 0 or -ENOMEM.
 */
WEIR_MUST_USE int filter_line_add(struct filter_line *line, struct arena *arena,
        struct slice_queue *source, const struct chain_entry *entry);

/* Calls filters for as long as they get on. `source_ended`: nothing follows in the source.
 * Filters pause while the queue behind them holds FILTER_MARK_BYTES and what the next one wants
 * to see at once; they always have FILTER_MARK_BYTES of room beyond that. `*moved` when
 * anything changed. `call` runs one filter's function; one that said WEIR_PENDING is called
 * with every step, whatever there is to do, until it says something else, and then as usual.
 * Returns 0; -EPROTO when a filter failed, -ELOOP when it did nothing three times, -ENOMEM, or
 * what reading a file said. */
#define FILTER_MARK_BYTES 32768u

typedef enum weir_verdict filter_call_fn(void *context, struct weir_filter *filter);
WEIR_MUST_USE int filter_line_step(struct filter_line *line, bool source_ended,
        filter_call_fn *call, void *context, bool *moved);

#endif
