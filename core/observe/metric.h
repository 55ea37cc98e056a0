/* SPDX-License-Identifier: MIT */
/* Counters, gauges and histograms in pages that the master owns and all workers share.
 *
 * Each loop writes a shard of its own, without locks; a shard says itself what is in it: series
 * of a name, labels and cells, taken on first use. Whoever maps the pages may sum them. When a
 * worker has ended, the master adds its counters and histograms to the totals and forgets its
 * gauges, so that no counter ever goes down. Nothing that is read from a shard is believed: a
 * worker may have broken it. */
#ifndef WEIR_OBSERVE_METRIC_H
#define WEIR_OBSERVE_METRIC_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include <weir/metric.h>

#define METRIC_SHARDS       128u  /* loops at once, those of draining generations included */
#define METRIC_SERIES_MAX   1024u /* of one shard */
#define METRIC_CELLS_MAX    8192u /* likewise */
#define METRIC_NAME_BYTES   64u
#define METRIC_HELP_BYTES   128u
#define METRIC_LABELS_BYTES 256u

/* A histogram's cells: one for each bound, one above all, and the sum in nanoseconds. */
#define METRIC_HISTOGRAM_CELLS (WEIR_METRIC_BOUNDS + 2)

typedef _Atomic(uint64_t) metric_cell;

struct metric_pages;
struct metric_shard;

/* Makes the pages, of which only what is used takes memory. Returns 0 or a negative errno. */
WEIR_MUST_USE int metric_new(struct metric_pages **out);
void metric_free(struct metric_pages *pages); /* NULL: nothing */
int metric_fd(const struct metric_pages *pages);

/* Maps the pages that the master made; `fd` stays the caller's. Returns 0; -EPROTO when they
 * are not those of this build; another negative errno. */
WEIR_MUST_USE int metric_attach(int fd, struct metric_pages **out);

/* A shard that nobody has, for the process `owner`; NULL: all are in use. Any thread. */
struct metric_shard *metric_shard(struct metric_pages *pages, pid_t owner);

/* The cells of a series, one or METRIC_HISTOGRAM_CELLS; made when it is new. `labels` as they
 * are written, `a="b",c="d"`, escaped, or empty. NULL when there is no room, which is counted.
 * Thread: the shard's. */
metric_cell *metric_series(struct metric_shard *shard, enum weir_metric_type type,
        const char *name, const char *help, struct weir_str labels);

/* Adds `name="value"` to labels of `*len` bytes, of which METRIC_LABELS_BYTES are there; the
 * value is escaped, and cut where it is long. */
void metric_label(char *labels, size_t *len, const char *name, struct weir_str value);

/* To a cell of one's own shard. */
static inline void
metric_add(metric_cell *cell, uint64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n,
            memory_order_relaxed);
}

static inline void
metric_set(metric_cell *cell, uint64_t value)
{
    atomic_store_explicit(cell, value, memory_order_relaxed);
}

/* To a histogram of one's own shard. */
void metric_observe_ns(metric_cell *cells, uint64_t ns);

/* The process has ended: its counters become part of the totals. Thread: the master's. */
void metric_fold(struct metric_pages *pages, pid_t owner);

/* Calls `each` with every series, summed, those of one name together. Returns 0; -ENOMEM;
 * -EAGAIN when the master was folding all the while; what `each` returned when that was not 0.
 * Any thread. */
int metric_each(struct metric_pages *pages, weir_metric_fn *each, void *context);

/* Whose series weir_metric_each() tells; NULL: nobody's. While starting. */
void metric_publish(struct metric_pages *pages);

#endif
