/* SPDX-License-Identifier: MIT */
/* One series of a name and labels may stand in many shards; the first shard is the totals,
 * which the master alone writes. While it folds, `folds` is odd: a reader that met an odd or
 * another number begins again. */
#include "observe/metric.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

#define MAGIC    UINT64_C(0x31636972746d6577) /* "wemtric1" */
#define READ_MAX 10000u                       /* beginnings of a reader */

struct series {
    uint32_t type, cell;
    uint16_t name_len, help_len, labels_len;
    char name[METRIC_NAME_BYTES], help[METRIC_HELP_BYTES], labels[METRIC_LABELS_BYTES];
};

struct metric_shard {
    _Atomic(int64_t) owner; /* process; 0: nobody's */
    _Atomic(uint64_t) refused;
    _Atomic(uint32_t) series_count;
    uint32_t cell_count; /* the writer's */
    struct series series[METRIC_SERIES_MAX];
    metric_cell cells[METRIC_CELLS_MAX];
};

struct shared {
    uint64_t magic, bytes;
    _Atomic(uint64_t) folds;
    struct metric_shard shards[METRIC_SHARDS + 1]; /* the first: totals */
};

struct metric_pages {
    struct shared *shared; /* mapped */
    int fd;                /* owned; -1 */
};

static struct metric_pages *published;

static const struct {
    const char *text;
    uint64_t ns;
} bounds[WEIR_METRIC_BOUNDS] = {
    { "0.005", 5000000 },
    { "0.01", 10000000 },
    { "0.025", 25000000 },
    { "0.05", 50000000 },
    { "0.075", 75000000 },
    { "0.1", 100000000 },
    { "0.25", 250000000 },
    { "0.5", 500000000 },
    { "0.75", 750000000 },
    { "1", 1000000000 },
    { "2.5", 2500000000 },
    { "5", 5000000000 },
    { "7.5", 7500000000 },
    { "10", 10000000000 },
};

const char *
weir_metric_bound(unsigned i)
{
    return i < WEIR_METRIC_BOUNDS ? bounds[i].text : NULL;
}

/* ---- pages ------------------------------------------------------------------------------- */

static int
map(int fd, struct metric_pages **out)
{
    struct metric_pages *pages = calloc(1, sizeof(*pages));
    if (pages == NULL) {
        return -ENOMEM;
    }
    pages->fd = -1;
    void *memory = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        int r = -errno;
        free(pages);
        return r;
    }
    pages->shared = memory;
    *out = pages;
    return 0;
}

int
metric_new(struct metric_pages **out)
{
    int fd = memfd_create("weir-metrics", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd == -1) {
        return -errno;
    }
    int r = ftruncate(fd, (off_t)sizeof(struct shared)) == -1 ? -errno : map(fd, out);
    if (r < 0) {
        close(fd);
        return r;
    }
    (*out)->fd = fd;
    (*out)->shared->magic = MAGIC;
    (*out)->shared->bytes = sizeof(struct shared);
    return 0;
}

int
metric_attach(int fd, struct metric_pages **out)
{
    struct stat file;
    if (fstat(fd, &file) == -1) {
        return -errno;
    }
    if (file.st_size != (off_t)sizeof(struct shared)) {
        return -EPROTO;
    }
    struct metric_pages *pages;
    int r = map(fd, &pages);
    if (r < 0) {
        return r;
    }
    if (pages->shared->magic != MAGIC || pages->shared->bytes != sizeof(struct shared)) {
        metric_free(pages);
        return -EPROTO;
    }
    *out = pages;
    return 0;
}

void
metric_free(struct metric_pages *pages)
{
    if (pages == NULL) {
        return;
    }
    munmap(pages->shared, sizeof(struct shared));
    if (pages->fd >= 0) {
        close(pages->fd);
    }
    free(pages);
}

int
metric_fd(const struct metric_pages *pages)
{
    return pages->fd;
}

/* ---- writing ----------------------------------------------------------------------------- */

struct metric_shard *
metric_shard(struct metric_pages *pages, pid_t owner)
{
    for (unsigned i = 1; i <= METRIC_SHARDS; i++) {
        struct metric_shard *shard = &pages->shared->shards[i];
        int64_t nobody = 0;
        if (atomic_compare_exchange_strong(&shard->owner, &nobody, owner)) {
            return shard;
        }
    }
    return NULL;
}

/* What may be read of a shard, whatever it says. */
static uint32_t
count_series(struct metric_shard *shard)
{
    uint32_t count = atomic_load_explicit(&shard->series_count, memory_order_acquire);
    return count < METRIC_SERIES_MAX ? count : METRIC_SERIES_MAX;
}

static uint32_t
cells_of(uint32_t type)
{
    return type == WEIR_METRIC_HISTOGRAM ? METRIC_HISTOGRAM_CELLS : 1;
}

static bool
is_sound(const struct series *series)
{
    return series->type >= WEIR_METRIC_COUNTER && series->type <= WEIR_METRIC_HISTOGRAM &&
            series->name_len > 0 && series->name_len <= METRIC_NAME_BYTES &&
            series->help_len <= METRIC_HELP_BYTES &&
            series->labels_len <= METRIC_LABELS_BYTES &&
            series->cell <= METRIC_CELLS_MAX - cells_of(series->type);
}

static struct weir_str
cut(const char *text, size_t len, size_t bytes)
{
    return weir_str_make(text, len < bytes ? len : bytes);
}

static metric_cell *
find(struct metric_shard *shard, uint32_t type, struct weir_str name, struct weir_str labels)
{
    uint32_t count = count_series(shard);
    for (uint32_t i = 0; i < count; i++) {
        const struct series *series = &shard->series[i];
        if (series->type == type && is_sound(series) &&
                weir_str_eq(name, weir_str_make(series->name, series->name_len)) &&
                weir_str_eq(labels, weir_str_make(series->labels, series->labels_len))) {
            return &shard->cells[series->cell];
        }
    }
    return NULL;
}

static metric_cell *
take(struct metric_shard *shard, uint32_t type, struct weir_str name, struct weir_str help,
        struct weir_str labels)
{
    metric_cell *found = find(shard, type, name, labels);
    if (found != NULL) {
        return found;
    }
    uint32_t count = count_series(shard), cells = cells_of(type);
    if (count == METRIC_SERIES_MAX || shard->cell_count > METRIC_CELLS_MAX - cells) {
        metric_add(&shard->refused, 1);
        return NULL;
    }
    struct series *series = &shard->series[count];
    series->type = type;
    series->cell = shard->cell_count;
    series->name_len = (uint16_t)name.len;
    series->help_len = (uint16_t)help.len;
    series->labels_len = (uint16_t)labels.len;
    memcpy(series->name, name.ptr, name.len);
    memcpy(series->help, help.ptr, help.len);
    if (labels.len > 0) {
        memcpy(series->labels, labels.ptr, labels.len);
    }
    shard->cell_count += cells;
    /* Pairs with count_series(): whoever sees the count sees the series. */
    atomic_store_explicit(&shard->series_count, count + 1, memory_order_release);
    return &shard->cells[series->cell];
}

metric_cell *
metric_series(struct metric_shard *shard, enum weir_metric_type type, const char *name,
        const char *help, struct weir_str labels)
{
    WEIR_ASSERT(labels.len <= METRIC_LABELS_BYTES);
    return take(shard, type, cut(name, strlen(name), METRIC_NAME_BYTES),
            cut(help, strlen(help), METRIC_HELP_BYTES), labels);
}

/* A label's value takes at most this much, so that four fit. */
#define VALUE_BYTES 48u

void
metric_label(char *labels, size_t *len, const char *name, struct weir_str value)
{
    size_t name_len = strlen(name), at = *len;
    WEIR_ASSERT(at + name_len + VALUE_BYTES + 4 <= METRIC_LABELS_BYTES);
    if (at > 0) {
        labels[at++] = ',';
    }
    memcpy(labels + at, name, name_len);
    at += name_len;
    labels[at++] = '=';
    labels[at++] = '"';
    size_t end = at + VALUE_BYTES;
    for (size_t i = 0; i < value.len && at + 2 <= end; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c == '\\' || c == '"') {
            labels[at++] = '\\';
            labels[at++] = (char)c;
        } else {
            labels[at++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
        }
    }
    labels[at++] = '"';
    *len = at;
}

void
metric_observe_ns(metric_cell *cells, uint64_t ns)
{
    unsigned i = 0;
    while (i < WEIR_METRIC_BOUNDS && ns > bounds[i].ns) {
        i++;
    }
    metric_add(&cells[i], 1);
    metric_add(&cells[WEIR_METRIC_BOUNDS + 1], ns);
}

/* ---- folding ----------------------------------------------------------------------------- */

/* Released, as all that a fold stores: pairs with the reader's loads, so that one which meets
 * any of it finds that `folds` is odd, or has changed. */
static void
fold_cell(metric_cell *total, const metric_cell *cell)
{
    atomic_fetch_add_explicit(total, atomic_load_explicit(cell, memory_order_relaxed),
            memory_order_release);
}

static void
fold_shard(struct metric_shard *totals, struct metric_shard *shard)
{
    uint32_t count = count_series(shard);
    for (uint32_t i = 0; i < count; i++) {
        struct series series = shard->series[i]; /* a copy: it cannot change after the check */
        if (!is_sound(&series) || series.type == WEIR_METRIC_GAUGE) {
            continue;
        }
        metric_cell *cells = take(totals, series.type,
                weir_str_make(series.name, series.name_len),
                weir_str_make(series.help, series.help_len),
                weir_str_make(series.labels, series.labels_len));
        for (uint32_t j = 0; cells != NULL && j < cells_of(series.type); j++) {
            fold_cell(&cells[j], &shard->cells[series.cell + j]);
        }
    }
    fold_cell(&totals->refused, &shard->refused);
    atomic_store_explicit(&shard->refused, 0, memory_order_release);
    atomic_store_explicit(&shard->series_count, 0, memory_order_release);
    shard->cell_count = 0;
    for (uint32_t i = 0; i < METRIC_CELLS_MAX; i++) {
        atomic_store_explicit(&shard->cells[i], 0, memory_order_release);
    }
}

void
metric_fold(struct metric_pages *pages, pid_t owner)
{
    struct shared *shared = pages->shared;
    atomic_fetch_add(&shared->folds, 1);
    for (unsigned i = 1; i <= METRIC_SHARDS; i++) {
        if (atomic_load(&shared->shards[i].owner) == owner) {
            fold_shard(&shared->shards[0], &shared->shards[i]);
            atomic_store(&shared->shards[i].owner, 0);
        }
    }
    atomic_fetch_add(&shared->folds, 1);
}

/* ---- reading ----------------------------------------------------------------------------- */

/* A series as it was read. */
struct sample {
    struct series series;
    uint64_t cells[METRIC_HISTOGRAM_CELLS];
};

struct samples {
    struct sample *items; /* owned */
    size_t count, capacity;
};

static int
add_sample(struct samples *samples, const struct series *series, metric_cell *cells)
{
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity == 0 ? 64 : samples->capacity * 2;
        struct sample *items = realloc(samples->items, capacity * sizeof(*items));
        if (items == NULL) {
            return -ENOMEM;
        }
        samples->items = items;
        samples->capacity = capacity;
    }
    struct sample *sample = &samples->items[samples->count++];
    sample->series = *series;
    for (uint32_t i = 0; i < cells_of(series->type); i++) {
        sample->cells[i] = atomic_load_explicit(&cells[i], memory_order_acquire);
    }
    return 0;
}

static int
read_shard(struct metric_shard *shard, struct samples *samples, uint64_t *refused)
{
    uint32_t count = count_series(shard);
    for (uint32_t i = 0; i < count; i++) {
        struct series series = shard->series[i];
        if (is_sound(&series)) {
            int r = add_sample(samples, &series, &shard->cells[series.cell]);
            if (r < 0) {
                return r;
            }
        }
    }
    *refused += atomic_load_explicit(&shard->refused, memory_order_acquire);
    return 0;
}

static int
read_all(struct shared *shared, struct samples *samples, uint64_t *refused)
{
    for (unsigned tries = 0; tries < READ_MAX; tries++) {
        uint64_t folds = atomic_load(&shared->folds);
        if (folds % 2 != 0) {
            sched_yield(); /* the master is at it, for some microseconds */
            continue;
        }
        samples->count = 0;
        *refused = 0;
        for (unsigned i = 0; i <= METRIC_SHARDS; i++) {
            int r = read_shard(&shared->shards[i], samples, refused);
            if (r < 0) {
                return r;
            }
        }
        if (atomic_load(&shared->folds) == folds) {
            return 0;
        }
    }
    return -EAGAIN;
}

static int
order(const void *a, const void *b)
{
    const struct series *x = &((const struct sample *)a)->series;
    const struct series *y = &((const struct sample *)b)->series;
    int r = weir_str_compare(weir_str_make(x->name, x->name_len),
            weir_str_make(y->name, y->name_len));
    if (r == 0) {
        r = (x->type > y->type) - (x->type < y->type);
    }
    return r != 0 ? r
                  : weir_str_compare(weir_str_make(x->labels, x->labels_len),
                            weir_str_make(y->labels, y->labels_len));
}

static int
tell(const struct sample *sample, weir_metric_fn *each, void *context)
{
    const struct series *series = &sample->series;
    struct weir_metric metric = {
        .type = (enum weir_metric_type)series->type,
        .name = weir_str_make(series->name, series->name_len),
        .help = weir_str_make(series->help, series->help_len),
        .labels = weir_str_make(series->labels, series->labels_len),
    };
    if (metric.type == WEIR_METRIC_HISTOGRAM) {
        memcpy(metric.counts, sample->cells, sizeof(metric.counts));
        metric.sum_ns = sample->cells[WEIR_METRIC_BOUNDS + 1];
    } else {
        metric.value = sample->cells[0];
    }
    return each(context, &metric);
}

static int
tell_all(struct samples *samples, weir_metric_fn *each, void *context)
{
    if (samples->count == 0) {
        return 0;
    }
    qsort(samples->items, samples->count, sizeof(*samples->items), order);
    struct sample *sum = &samples->items[0];
    for (size_t i = 1; i < samples->count; i++) {
        const struct sample *next = &samples->items[i];
        if (order(sum, next) != 0) {
            int r = tell(sum, each, context);
            if (r != 0) {
                return r;
            }
            sum = &samples->items[i];
            continue;
        }
        for (uint32_t j = 0; j < cells_of(sum->series.type); j++) {
            sum->cells[j] += next->cells[j];
        }
    }
    return tell(sum, each, context);
}

int
metric_each(struct metric_pages *pages, weir_metric_fn *each, void *context)
{
    struct samples samples = { .count = 0 };
    uint64_t refused = 0;
    int r = read_all(pages->shared, &samples, &refused);
    if (r == 0) {
        r = tell_all(&samples, each, context);
    }
    if (r == 0) {
        const struct weir_metric metric = {
            .type = WEIR_METRIC_COUNTER,
            .name = WEIR_STR("weir_metric_series_refused_total"),
            .help = WEIR_STR("Times that a series found no room any more"),
            .value = refused,
        };
        r = each(context, &metric);
    }
    free(samples.items);
    return r;
}

void
metric_publish(struct metric_pages *pages)
{
    published = pages;
}

int
weir_metric_each(weir_metric_fn *each, void *context)
{
    return published == NULL ? 0 : metric_each(published, each, context);
}
