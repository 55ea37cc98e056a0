/* SPDX-License-Identifier: MIT */
/* Reading: everything is copied first and looked at afterwards, so that what a broken worker
 * does meanwhile changes nothing. Folding: what becomes of the shards of the dead. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "observe/metric_layout.h"

#define READ_MAX 10000u /* beginnings of a reader */

static struct metric_pages *published;

/* ---- checks ------------------------------------------------------------------------------ */

static bool
is_name_byte(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
            (!is_first && c >= '0' && c <= '9');
}

static size_t
name_length(struct weir_str text)
{
    size_t len = 0;
    while (len < text.len && is_name_byte(text.ptr[len], len == 0)) {
        len++;
    }
    return len;
}

/* `a="b",c="d"`, as metric_label() writes it. */
static bool
are_labels(struct weir_str text)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    while (at < end) {
        size_t len = name_length(weir_str_make(at, (size_t)(end - at)));
        at += len;
        if (len == 0 || end - at < 3 || at[0] != '=' || at[1] != '"') {
            return false;
        }
        for (at += 2; at < end && *at != '"'; at++) {
            if (*at == '\n' || (*at == '\\' && ++at == end)) {
                return false;
            }
        }
        if (at == end || (++at < end && (*at++ != ',' || at == end))) {
            return false;
        }
    }
    return true;
}

/* What a worker wrote into its shard may be anything; no line of it goes out that would make
 * another. */
static bool
is_tellable(struct weir_str name, struct weir_str help, struct weir_str labels)
{
    return name_length(name) == name.len && memchr(help.ptr, '\n', help.len) == NULL &&
            memchr(help.ptr, '\\', help.len) == NULL && are_labels(labels);
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

static bool
is_gauge(uint32_t type)
{
    return type == WEIR_METRIC_GAUGE;
}

/* Text that nobody can change any more: its writer has ended. */
static struct weir_str
text_of(const struct metric_page *page, uint32_t at, size_t len)
{
    return weir_str_make(page->text + at, len);
}

/* Empties the page; what it took of the machine's memory is given back. */
static void
empty(struct metric_page *page, int fd)
{
    uint64_t magic = METRIC_MAGIC;
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, sizeof(*page)) == -1) {
        memset(page, 0, sizeof(*page));
    }
    memcpy(&page->magic, &magic, sizeof(magic));
}

static void
fold_page(struct metric_shard *totals, struct metric_page *page)
{
    uint32_t count = metric_count_series(page);
    for (uint32_t i = 0; i < count; i++) {
        const struct metric_series series = page->series[i];
        if (!metric_is_sound(&series) || is_gauge(series.type)) {
            continue;
        }
        struct weir_str name = text_of(page, series.name_at, series.name_len);
        struct weir_str help = text_of(page, series.help_at, series.help_len);
        struct weir_str labels = text_of(page, series.labels_at, series.labels_len);
        metric_cell *cells = is_tellable(name, help, labels)
                ? metric_take_series(totals, series.type, name, help, labels)
                : NULL;
        for (uint32_t j = 0; cells != NULL && j < metric_cells_of(series.type); j++) {
            fold_cell(&cells[j], &page->cells[series.cell + j]);
        }
    }
    fold_cell(&totals->page->refused, &page->refused);
}

void
metric_fold(struct metric_pages *pages, const void *owner)
{
    atomic_fetch_add(&pages->totals->folds, 1);
    for (unsigned i = 0; i < pages->count; i++) {
        if (pages->owners[i] == owner) {
            struct metric_page *page = atomic_load(&pages->pages[i]);
            fold_page(pages->folded, page);
            empty(page, pages->fds[i].write);
            pages->owners[i] = NULL;
        }
    }
    atomic_fetch_add(&pages->totals->folds, 1);
}

/* ---- copies ------------------------------------------------------------------------------ */

/* A series as it was read; its text stands in the samples' own. */
struct sample {
    struct metric_series series;
    uint64_t cells[METRIC_HISTOGRAM_CELLS];
    const char *text; /* name, help and labels, once all are there */
};

struct samples {
    struct sample *items; /* owned */
    size_t count, capacity;
    char *text; /* owned */
    size_t text_bytes, text_capacity;
    uint64_t refused;
};

static int
grow(void **memory, size_t *capacity, size_t wanted, size_t first, size_t item_bytes)
{
    if (wanted <= *capacity) {
        return 0;
    }
    size_t next = *capacity == 0 ? first : *capacity * 2;
    next = next < wanted ? wanted : next;
    void *grown = realloc(*memory, next * item_bytes);
    if (grown == NULL) {
        return -ENOMEM;
    }
    *memory = grown;
    *capacity = next;
    return 0;
}

static uint32_t
copy_text(struct samples *samples, const struct metric_page *page, uint32_t at, size_t len)
{
    uint32_t to = (uint32_t)samples->text_bytes;
    memcpy(samples->text + to, page->text + at, len);
    samples->text_bytes += len;
    return to;
}

static int
add_sample(struct samples *samples, const struct metric_page *page,
        const struct metric_series *series)
{
    size_t text_bytes = (size_t)series->name_len + series->help_len + series->labels_len;
    void *items = samples->items, *text = samples->text;
    int r = grow(&items, &samples->capacity, samples->count + 1, 64, sizeof(struct sample));
    samples->items = items;
    r = r < 0 ? r
              : grow(&text, &samples->text_capacity, samples->text_bytes + text_bytes, 8192, 1);
    samples->text = text;
    if (r < 0) {
        return r;
    }
    struct sample *sample = &samples->items[samples->count++];
    sample->series = *series;
    sample->series.name_at = copy_text(samples, page, series->name_at, series->name_len);
    sample->series.help_at = copy_text(samples, page, series->help_at, series->help_len);
    sample->series.labels_at = copy_text(samples, page, series->labels_at, series->labels_len);
    for (uint32_t i = 0; i < metric_cells_of(series->type); i++) {
        sample->cells[i] = atomic_load_explicit(&page->cells[series->cell + i],
                memory_order_acquire);
    }
    return 0;
}

static int
read_page(const struct metric_page *page, struct samples *samples)
{
    uint32_t count = metric_count_series(page);
    for (uint32_t i = 0; i < count; i++) {
        const struct metric_series series = page->series[i]; /* cannot change any more */
        int r = metric_is_sound(&series) ? add_sample(samples, page, &series) : 0;
        if (r < 0) {
            return r;
        }
    }
    samples->refused += atomic_load_explicit(&page->refused, memory_order_acquire);
    return 0;
}

static int
read_pages(struct metric_pages *pages, struct samples *samples)
{
    samples->count = samples->text_bytes = 0;
    samples->refused = 0;
    int r = read_page(&pages->totals->folded, samples);
    r = r < 0 ? r : read_page(&pages->totals->master, samples);
    unsigned count = atomic_load(&pages->totals->shard_count);
    for (unsigned i = 0; r == 0 && i < count; i++) {
        struct metric_page *page = i < METRIC_SHARDS_MAX ? atomic_load(&pages->pages[i]) : NULL;
        r = page == NULL ? -EAGAIN : read_page(page, samples);
    }
    return r;
}

static int
read_all(struct metric_pages *pages, struct samples *samples)
{
    for (unsigned tries = 0; tries < READ_MAX; tries++) {
        uint64_t folds = atomic_load(&pages->totals->folds);
        if (folds % 2 != 0) {
            sched_yield(); /* the master is at it, for some microseconds */
            continue;
        }
        int r = read_pages(pages, samples);
        if (r < 0) {
            return r;
        }
        if (atomic_load(&pages->totals->folds) == folds) {
            for (size_t i = 0; i < samples->count; i++) {
                samples->items[i].text = samples->text;
            }
            return 0;
        }
    }
    return -EAGAIN;
}

static struct weir_str
name_of(const struct sample *sample)
{
    return weir_str_make(sample->text + sample->series.name_at, sample->series.name_len);
}

static struct weir_str
help_of(const struct sample *sample)
{
    return weir_str_make(sample->text + sample->series.help_at, sample->series.help_len);
}

static struct weir_str
labels_of(const struct sample *sample)
{
    return weir_str_make(sample->text + sample->series.labels_at, sample->series.labels_len);
}

static void
drop_untellable(struct samples *samples)
{
    size_t kept = 0;
    for (size_t i = 0; i < samples->count; i++) {
        const struct sample *sample = &samples->items[i];
        if (is_tellable(name_of(sample), help_of(sample), labels_of(sample))) {
            samples->items[kept++] = *sample;
        }
    }
    samples->count = kept;
}

/* ---- telling ----------------------------------------------------------------------------- */

static int
order(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    int r = weir_str_compare(name_of(x), name_of(y));
    if (r == 0) {
        r = (x->series.type > y->series.type) - (x->series.type < y->series.type);
    }
    return r != 0 ? r : weir_str_compare(labels_of(x), labels_of(y));
}

static int
tell(const struct sample *sample, weir_metric_fn *each, void *context)
{
    struct weir_metric metric = {
        .type = (enum weir_metric_type)sample->series.type,
        .name = name_of(sample),
        .help = help_of(sample),
        .labels = labels_of(sample),
    };
    if (metric_cells_of(sample->series.type) > 1) {
        memcpy(metric.counts, sample->cells, sizeof(metric.counts));
        metric.sum_ns = sample->cells[WEIR_METRIC_BOUNDS + 1];
    } else {
        metric.value = sample->cells[0];
    }
    return each(context, &metric);
}

/* Of those that are in order: series of one name and another type than the first are not told,
 * for no reader could tell them apart. */
static int
tell_all(struct samples *samples, weir_metric_fn *each, void *context)
{
    struct sample *family = NULL, *sum = NULL;
    int r = 0;
    for (size_t i = 0; r == 0 && i < samples->count; i++) {
        struct sample *next = &samples->items[i];
        if (sum != NULL && order(sum, next) == 0) {
            for (uint32_t j = 0; j < metric_cells_of(sum->series.type); j++) {
                sum->cells[j] += next->cells[j];
            }
            continue;
        }
        bool is_of_family = family != NULL && weir_str_eq(name_of(family), name_of(next));
        if (is_of_family && family->series.type != next->series.type) {
            continue;
        }
        r = sum == NULL ? 0 : tell(sum, each, context);
        sum = next;
        family = is_of_family ? family : next;
    }
    return r != 0 || sum == NULL ? r : tell(sum, each, context);
}

int
metric_each(struct metric_pages *pages, weir_metric_fn *each, void *context)
{
    struct samples samples = { .count = 0 };
    int r = read_all(pages, &samples);
    if (r == 0) {
        drop_untellable(&samples);
        if (samples.count > 0) {
            qsort(samples.items, samples.count, sizeof(*samples.items), order);
        }
        r = tell_all(&samples, each, context);
    }
    if (r == 0) {
        const struct weir_metric metric = {
            .type = WEIR_METRIC_COUNTER,
            .name = WEIR_STR("weir_metric_series_refused_total"),
            .help = WEIR_STR("Series that found no room, or that were not told"),
            .value = samples.refused,
        };
        r = each(context, &metric);
    }
    free(samples.items);
    free(samples.text);
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
