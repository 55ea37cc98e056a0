/* SPDX-License-Identifier: MIT */
/* The server's figures, summed over all event loops and workers of all generations.
 *
 * Counters and histograms include what workers have counted that are gone, so that they never
 * go down while the server runs. Grows until 1.0. */
#ifndef WEIR_METRIC_H
#define WEIR_METRIC_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

enum weir_metric_type {
    WEIR_METRIC_COUNTER = 1,
    WEIR_METRIC_GAUGE = 2,
    WEIR_METRIC_HISTOGRAM = 3,       /* of durations that people wait for: 5 ms to 10 s */
    WEIR_METRIC_SHORT_HISTOGRAM = 4, /* of durations that nobody should feel: 500 ns to 1 s */
};

/* Bounds of a histogram, upper ones, in seconds as text; the long ones are those of
 * OpenTelemetry's HTTP conventions. NULL from WEIR_METRIC_BOUNDS on. */
#define WEIR_METRIC_BOUNDS 14
WEIR_API WEIR_ANY const char *weir_metric_bound(enum weir_metric_type type, unsigned i);

struct weir_metric {
    enum weir_metric_type type;
    struct weir_str name;   /* a counter's ends in _total */
    struct weir_str help;   /* one sentence */
    struct weir_str labels; /* a="b",c="d": values escaped as Prometheus wants; may be empty */
    uint64_t value;         /* of a counter; of a gauge, an int64_t in its bits */
    uint64_t counts[WEIR_METRIC_BOUNDS + 1]; /* of a histogram: by bound, the last above all */
    uint64_t sum_ns;                         /* of a histogram */
};

/* Returns 0, or another number to stop. The metric lives until it returns. */
typedef int weir_metric_fn(void *context, const struct weir_metric *metric);

/*
 * Calls `each` with every series, those of one name one after the other.
 * Thread:  any.
 * Returns: 0; -ENOMEM; -EAGAIN when it should be tried again; what `each` returned when that
 *          was not 0.
 */
WEIR_MUST_USE WEIR_API WEIR_ANY int weir_metric_each(weir_metric_fn *each, void *context);

WEIR_END_DECLS

#endif
