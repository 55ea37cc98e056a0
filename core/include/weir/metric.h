/* SPDX-License-Identifier: MIT */
/* The server's figures, summed over all event loops and workers of all generations, and those
 * that modules add to them.
 *
 * Counters and histograms include what workers have counted that are gone, so that they never
 * go down while the server runs; gauges are of workers that live. Grows until 1.0. */
#ifndef WEIR_METRIC_H
#define WEIR_METRIC_H

#include <stdint.h>

#include <weir/api.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

struct weir_request;
struct weir_loop;

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

/* ---- a module's own ---------------------------------------------------------------------- */

/* Labels that a figure takes from the request it is counted for. */
#define WEIR_METRIC_BY_SERVER UINT32_C(1) /* server="...": the server's name */
#define WEIR_METRIC_BY_ROUTE  UINT32_C(2) /* route="...": the route's name */

/*
 * A figure that a module declares in its table (struct weir_module, `metrics`) and counts
 * itself, by its place there:
 *
 *     enum { HITS, MISSES };
 *     static const struct weir_own_metric metrics[] = {
 *         [HITS] = { WEIR_METRIC_COUNTER, WEIR_METRIC_BY_ROUTE, "weir_cache_lookups_total",
 *                 "Answers that were looked for", .label = "result", .value = "hit" },
 *         [MISSES] = { WEIR_METRIC_COUNTER, WEIR_METRIC_BY_ROUTE, "weir_cache_lookups_total",
 *                 "Answers that were looked for", .label = "result", .value = "miss" },
 *     };
 *     ...
 *     weir_metric_add(request, is_there ? HITS : MISSES, 1);
 *
 * The name is weir_MODULE_WHAT in lower case, with _ for every - of the module's name; a
 * counter's ends in _total, a histogram's in _seconds, a gauge's in neither. Label values are
 * the configuration's and the table's, so that no client can make series: whatever else tells
 * figures apart is a `value` of its own, in entries of the same name, type, labels, help and
 * `label`. What does not keep to this is refused when the module is loaded.
 */
struct weir_own_metric {
    enum weir_metric_type type;
    uint32_t labels;           /* WEIR_METRIC_BY_...; 0: none */
    const char *name;          /* at most 96 bytes */
    const char *help;          /* one sentence, no full stop; at most 200 bytes */
    const char *label, *value; /* one more label; NULL: none. At most 64 bytes each */
};

struct weir_own_metrics {
    const struct weir_own_metric *items;
    uint32_t count, item_bytes;
};

/* The table of figures in the array `array`. */
#define WEIR_METRICS(array)                                                         \
    {                                                                               \
        (array), (uint32_t)(sizeof(array) / sizeof((array)[0])), sizeof((array)[0]) \
    }

/*
 * Counts in figure `metric` of the module whose hook runs: adds to a counter (n >= 0) or a
 * gauge, or puts a duration into a histogram. The labels are the request's at that moment: in
 * the phases head and rewrite there is no route yet.
 * Thread:  the request's loop, from within a hook, or what was resumed in its place (a job's
 *          done(), not its run()).
 * Memory:  the first time a figure is counted for a route it is made, in the loop's own part of
 *          the shared memory, and is at hand from then on, within some nanoseconds. Nothing
 *          is ever locked or allocated.
 * Errors:  none. Another thread, a `metric` that is not in the table, one of another type,
 *          and a counter that would go down are not counted, with one line in the log. Where
 *          there is no room for another series (4,096 a loop) it is not counted either, and
 *          weir_metric_series_refused_total says so.
 */
WEIR_API WEIR_LOOP void weir_metric_add(const struct weir_request *request, unsigned metric,
        int64_t n);
WEIR_API WEIR_LOOP void weir_metric_observe(const struct weir_request *request, unsigned metric,
        uint64_t ns);

/*
 * The same where there is no request: from loop_start on, in timers and in what a port calls;
 * not yet in hooks of connections, which have neither. A gauge may be set as well: what is told
 * is the sum over all loops, and what a loop has set is gone with its worker. Labels that a
 * request would give are empty.
 * Thread:  the loop's.
 */
WEIR_API WEIR_LOOP void weir_loop_metric_add(struct weir_loop *loop, unsigned metric,
        int64_t n);
WEIR_API WEIR_LOOP void weir_loop_metric_set(struct weir_loop *loop, unsigned metric,
        int64_t value);
WEIR_API WEIR_LOOP void weir_loop_metric_observe(struct weir_loop *loop, unsigned metric,
        uint64_t ns);

WEIR_END_DECLS

#endif
