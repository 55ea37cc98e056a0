/* SPDX-License-Identifier: MIT */
/* Counters, gauges and histograms in memory that master and workers share.
 *
 * Each loop writes a shard of its own, without locks; a shard says itself what is in it: series
 * of a name, labels and cells, taken on first use. The master makes every shard and the totals.
 * A worker can write to its own shards alone; all others, and the totals, it can but read. When
 * a worker has ended, the master adds its counters and histograms to the totals and forgets its
 * gauges, so that no counter ever goes down. Nothing that is read from a shard is believed: a
 * worker may have broken it.
 *
 *     metric.c        writing: series, labels, cells
 *     metric_pages.c  the memory: making it, lending it, attaching to it
 *     metric_read.c   reading, and what becomes of the shards of the dead */
#ifndef WEIR_OBSERVE_METRIC_H
#define WEIR_OBSERVE_METRIC_H

#include <stdatomic.h>
#include <stdint.h>

#include <weir/metric.h>

#define METRIC_SHARDS_MAX   512u   /* loops at once, those of draining generations included */
#define METRIC_SERIES_MAX   4096u  /* of one shard */
#define METRIC_CELLS_MAX    32768u /* likewise */
#define METRIC_NAME_BYTES   96u
#define METRIC_HELP_BYTES   200u
#define METRIC_LABELS_BYTES 1000u

/* A histogram's cells: one for each bound, one above all, and the sum in nanoseconds. */
#define METRIC_HISTOGRAM_CELLS (WEIR_METRIC_BOUNDS + 2)

typedef _Atomic(uint64_t) metric_cell;

struct metric_pages;
struct metric_shard;

/* ---- the memory: master ---- */

/* Makes the totals, and shards as they are lent. Returns 0 or a negative errno. */
WEIR_MUST_USE int metric_new(struct metric_pages **out);
void metric_free(struct metric_pages *pages); /* NULL: nothing */

/* Lends `count` shards to a worker, `owner` its name here. Returns 0; -ENOSPC when all are
 * lent; another negative errno. On failure nothing is lent. */
WEIR_MUST_USE int metric_lend(struct metric_pages *pages, const void *owner, unsigned count);

/* Descriptors to be sent to workers; they stay the pages'. Of the totals and of shard `i` one
 * that can only be read; of shard `i` one to write with, -1 when it is not lent to `owner`. */
int metric_totals_fd(const struct metric_pages *pages);
unsigned metric_shard_count(const struct metric_pages *pages);
int metric_shard_fd(const struct metric_pages *pages, unsigned i);
int metric_lent_fd(const struct metric_pages *pages, unsigned i, const void *owner);

/* The worker has ended, or was not started: what it counted becomes part of the totals, and its
 * shards can be lent again. Thread: the master's. */
void metric_fold(struct metric_pages *pages, const void *owner);

/* The master's own shard, in the totals: its gauges stand beside the workers'. NULL: in a
 * worker. */
struct metric_shard *metric_own(struct metric_pages *pages);

/* ---- the memory: a worker ---- */

/* Maps what the master sent; descriptors stay the caller's. Return 0; -EPROTO for what is not
 * of this build; another negative errno. Shards are attached in the order of their numbers.
 * Thread: one at a time; may run beside readers. */
WEIR_MUST_USE int metric_attach(int totals_fd, struct metric_pages **out);
WEIR_MUST_USE int metric_attach_shard(struct metric_pages *pages, unsigned i, int fd);
WEIR_MUST_USE int metric_attach_lent(struct metric_pages *pages, int fd);

/* One of the shards that were lent to this process and that nobody took; NULL: there is none.
 * Lives as long as the pages. While starting, one thread. */
struct metric_shard *metric_take(struct metric_pages *pages);

/* ---- writing: the shard's thread ---- */

/* The cells of a series, one or METRIC_HISTOGRAM_CELLS; made when it is new. `labels` as they
 * are written, `a="b",c="d"`, escaped, or empty. NULL when there is no room, which is counted.
 * Series that are made one after the other have their cells one behind the other. */
metric_cell *metric_series(struct metric_shard *shard, enum weir_metric_type type,
        const char *name, const char *help, struct weir_str labels);

/* Adds `name="value"` to labels of `*len` bytes, of which METRIC_LABELS_BYTES are there; at
 * most four. The value is escaped; a long one is cut, with a mark that tells it from others
 * that begin alike. */
void metric_label(char *labels, size_t *len, const char *name, struct weir_str value);

/* To a cell of one's own shard. */
static inline void
metric_add(metric_cell *cell, uint64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n,
            memory_order_relaxed);
}

/* The same by one, where every instruction counts: compilers make three of the above. Aligned
 * words are not torn on any machine that we build for. */
static inline void
metric_count(metric_cell *cell)
{
#ifdef __SANITIZE_THREAD__
    metric_add(cell, 1);
#else
    ++*(uint64_t *)(uintptr_t)cell;
#endif
}

static inline void
metric_set(metric_cell *cell, uint64_t value)
{
    atomic_store_explicit(cell, value, memory_order_relaxed);
}

/* To a histogram of one's own shard. */
void metric_observe_ns(enum weir_metric_type type, metric_cell *cells, uint64_t ns);

/* ---- reading ---- */

/* Calls `each` with every series, summed, those of one name together. Returns 0; -ENOMEM;
 * -EAGAIN when the master was folding all the while, or has lent shards that are not attached
 * yet; what `each` returned when that was not 0. Any thread. */
int metric_each(struct metric_pages *pages, weir_metric_fn *each, void *context);

/* Whose series weir_metric_each() tells; NULL: nobody's. While starting. */
void metric_publish(struct metric_pages *pages);

#endif
