/* SPDX-License-Identifier: MIT */
/* What stands in the shared memory of observe/metric.h. Private to metric*.c. */
#ifndef WEIR_OBSERVE_METRIC_LAYOUT_H
#define WEIR_OBSERVE_METRIC_LAYOUT_H

#include <stdbool.h>

#include "observe/metric.h"

/* Changes whenever the layout does. */
#define METRIC_MAGIC UINT64_C(0x32636972746d6577) /* "wemtric2" */

#define METRIC_TEXT_BYTES (1u << 20) /* names, helps and labels of one shard */

struct metric_series {
    uint32_t type, cell;
    uint32_t name_at, help_at, labels_at; /* in the text */
    uint16_t name_len, help_len, labels_len;
};

struct metric_page {
    uint64_t magic;
    _Atomic(uint64_t) refused;
    _Atomic(uint32_t) series_count;
    uint32_t cell_count, text_bytes; /* the writer's */
    struct metric_series series[METRIC_SERIES_MAX];
    char text[METRIC_TEXT_BYTES];
    metric_cell cells[METRIC_CELLS_MAX];
};

/* While the master folds, `folds` is odd: a reader that met an odd or another number begins
 * again. */
struct metric_totals {
    uint64_t magic, bytes;
    _Atomic(uint64_t) folds;
    _Atomic(uint32_t) shard_count; /* that exist */
    struct metric_page folded;     /* of the dead */
    struct metric_page master;     /* the master's own */
};

#define METRIC_INDEX_SLOTS 8192u /* a power of two, well above METRIC_SERIES_MAX */

/* A page and what its writer remembers of it. */
struct metric_shard {
    struct metric_page *page;           /* borrowed */
    uint16_t index[METRIC_INDEX_SLOTS]; /* by hash: number of a series, from 1; 0: free */
    struct metric_shard *next;          /* in the list of the pages' */
};

struct metric_pages {
    struct metric_totals *totals; /* mapped; a worker can but read it */
    int totals_fd;                /* owned; -1 in a worker */

    /* Shards, in order; all but the pointers are the master's alone. Set once, from NULL. */
    _Atomic(struct metric_page *) pages[METRIC_SHARDS_MAX]; /* mapped */
    const void *owners[METRIC_SHARDS_MAX];                  /* NULL: not lent */
    struct {
        int read, write; /* owned */
    } fds[METRIC_SHARDS_MAX];
    unsigned count;

    struct metric_shard *folded, *master;        /* owned; NULL in a worker */
    struct metric_page *lent[METRIC_SHARDS_MAX]; /* a worker's: mapped, to be written */
    unsigned lent_count, taken_count;
    struct metric_shard *shards; /* owned: a list of those that were taken */
};

static inline uint32_t
metric_cells_of(uint32_t type)
{
    return type == WEIR_METRIC_HISTOGRAM || type == WEIR_METRIC_SHORT_HISTOGRAM
            ? METRIC_HISTOGRAM_CELLS
            : 1;
}

/* What may be read of a page, whatever it says. Pairs with metric_take_series(): whoever sees
 * the count sees the series. */
static inline uint32_t
metric_count_series(const struct metric_page *page)
{
    uint32_t count = atomic_load_explicit(&page->series_count, memory_order_acquire);
    return count < METRIC_SERIES_MAX ? count : METRIC_SERIES_MAX;
}

/* Of a copy, which cannot change after the look. */
bool metric_is_sound(const struct metric_series *series);

/* metric_series() for texts that are short enough. */
metric_cell *metric_take_series(struct metric_shard *shard, uint32_t type, struct weir_str name,
        struct weir_str help, struct weir_str labels);

/* NULL without memory. */
struct metric_shard *metric_shard_new(struct metric_page *page);

/* Forgets what it remembers: its page was emptied. */
void metric_shard_forget(struct metric_shard *shard);

#endif
