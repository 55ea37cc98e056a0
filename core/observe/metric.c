/* SPDX-License-Identifier: MIT */
/* Writing. The page is the writer's own, and what it remembers of it is its own too: nothing
 * here reads what another process may have written. */
#include "observe/metric.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "observe/metric_layout.h"

/* ---- bounds ------------------------------------------------------------------------------ */

/* OpenTelemetry's, for requests. */
static const uint64_t long_ns[WEIR_METRIC_BOUNDS] = {
    5000000,
    10000000,
    25000000,
    50000000,
    75000000,
    100000000,
    250000000,
    500000000,
    750000000,
    1000000000,
    2500000000,
    5000000000,
    7500000000,
    10000000000,
};
static const char *const long_text[WEIR_METRIC_BOUNDS] = { "0.005", "0.01", "0.025", "0.05",
    "0.075", "0.1", "0.25", "0.5", "0.75", "1.0", "2.5", "5.0", "7.5", "10.0" };

/* For calls that should not be felt. */
static const uint64_t short_ns[WEIR_METRIC_BOUNDS] = {
    500,
    1000,
    2500,
    5000,
    10000,
    25000,
    50000,
    100000,
    250000,
    500000,
    1000000,
    10000000,
    100000000,
    1000000000,
};
static const char *const short_text[WEIR_METRIC_BOUNDS] = { "5e-07", "1e-06", "2.5e-06",
    "5e-06", "1e-05", "2.5e-05", "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.01", "0.1",
    "1.0" };

const char *
weir_metric_bound(enum weir_metric_type type, unsigned i)
{
    return i >= WEIR_METRIC_BOUNDS                ? NULL
            : type == WEIR_METRIC_SHORT_HISTOGRAM ? short_text[i]
                                                  : long_text[i];
}

void
metric_observe_ns(enum weir_metric_type type, metric_cell *cells, uint64_t ns)
{
    const uint64_t *bounds = type == WEIR_METRIC_SHORT_HISTOGRAM ? short_ns : long_ns;
    unsigned i = 0;
    while (i < WEIR_METRIC_BOUNDS && ns > bounds[i]) {
        i++;
    }
    metric_count(&cells[i]);
    if (ns > 0) {
        metric_add(&cells[WEIR_METRIC_BOUNDS + 1], ns);
    }
}

/* ---- shards ------------------------------------------------------------------------------ */

struct metric_shard *
metric_shard_new(struct metric_page *page)
{
    struct metric_shard *shard = calloc(1, sizeof(*shard));
    if (shard != NULL) {
        shard->page = page;
    }
    return shard;
}

void
metric_shard_forget(struct metric_shard *shard)
{
    memset(shard->index, 0, sizeof(shard->index));
}

/* ---- series ------------------------------------------------------------------------------ */

bool
metric_is_sound(const struct metric_series *series)
{
    return series->type >= WEIR_METRIC_COUNTER && series->type <= WEIR_METRIC_SHORT_HISTOGRAM &&
            series->name_len > 0 && series->name_len <= METRIC_NAME_BYTES &&
            series->help_len <= METRIC_HELP_BYTES &&
            series->labels_len <= METRIC_LABELS_BYTES &&
            series->name_at <= METRIC_TEXT_BYTES - series->name_len &&
            series->help_at <= METRIC_TEXT_BYTES - series->help_len &&
            series->labels_at <= METRIC_TEXT_BYTES - series->labels_len &&
            series->cell <= METRIC_CELLS_MAX - metric_cells_of(series->type);
}

/* FNV-1a: names and labels are the configuration's, nobody chooses collisions. */
static uint32_t
hash_more(uint32_t hash, struct weir_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        hash = (hash ^ (unsigned char)text.ptr[i]) * UINT32_C(16777619);
    }
    return hash;
}

static bool
is_at(const struct metric_page *page, uint32_t at, size_t len, struct weir_str text)
{
    return weir_str_eq(weir_str_make(page->text + at, len), text);
}

/* The place of the series in the index, or the free one where it is to be entered. */
static uint16_t *
find_slot(struct metric_shard *shard, uint32_t type, struct weir_str name,
        struct weir_str labels)
{
    uint32_t hash = hash_more(hash_more(UINT32_C(2166136261) ^ type, name), labels);
    for (uint32_t i = hash;; i++) {
        uint16_t *slot = &shard->index[i % METRIC_INDEX_SLOTS];
        if (*slot == 0) {
            return slot;
        }
        const struct metric_series *series = &shard->page->series[*slot - 1];
        if (series->type == type &&
                is_at(shard->page, series->name_at, series->name_len, name) &&
                is_at(shard->page, series->labels_at, series->labels_len, labels)) {
            return slot;
        }
    }
}

static uint32_t
put_text(struct metric_page *page, struct weir_str text)
{
    uint32_t at = page->text_bytes;
    if (text.len > 0) {
        memcpy(page->text + at, text.ptr, text.len);
    }
    page->text_bytes += (uint32_t)text.len;
    return at;
}

/* The same name and help stand in the text once, where series of one name are made one after
 * the other, as they mostly are. */
static void
put_name(struct metric_page *page, struct metric_series *series, uint32_t number,
        struct weir_str name, struct weir_str help)
{
    const struct metric_series *before = number == 0 ? NULL : &page->series[number - 1];
    bool is_same = before != NULL && is_at(page, before->name_at, before->name_len, name) &&
            is_at(page, before->help_at, before->help_len, help);
    series->name_at = is_same ? before->name_at : put_text(page, name);
    series->help_at = is_same ? before->help_at : put_text(page, help);
    series->name_len = (uint16_t)name.len;
    series->help_len = (uint16_t)help.len;
}

metric_cell *
metric_take_series(struct metric_shard *shard, uint32_t type, struct weir_str name,
        struct weir_str help, struct weir_str labels)
{
    struct metric_page *page = shard->page;
    uint16_t *slot = find_slot(shard, type, name, labels);
    if (*slot != 0) {
        return &page->cells[page->series[*slot - 1].cell];
    }
    uint32_t count = metric_count_series(page), cells = metric_cells_of(type);
    if (count == METRIC_SERIES_MAX || page->cell_count > METRIC_CELLS_MAX - cells ||
            page->text_bytes > METRIC_TEXT_BYTES - name.len - help.len - labels.len) {
        metric_add(&page->refused, 1);
        return NULL;
    }
    struct metric_series *series = &page->series[count];
    series->type = type;
    series->cell = page->cell_count;
    put_name(page, series, count, name, help);
    series->labels_at = put_text(page, labels);
    series->labels_len = (uint16_t)labels.len;
    page->cell_count += cells;
    *slot = (uint16_t)(count + 1);
    atomic_store_explicit(&page->series_count, count + 1, memory_order_release);
    return &page->cells[series->cell];
}

static struct weir_str
cut(const char *text, size_t bytes)
{
    size_t len = strlen(text);
    return weir_str_make(text, len < bytes ? len : bytes);
}

metric_cell *
metric_series(struct metric_shard *shard, enum weir_metric_type type, const char *name,
        const char *help, struct weir_str labels)
{
    WEIR_ASSERT(labels.len <= METRIC_LABELS_BYTES);
    return metric_take_series(shard, type, cut(name, METRIC_NAME_BYTES),
            cut(help, METRIC_HELP_BYTES), labels);
}

/* ---- labels ------------------------------------------------------------------------------ */

/* What a label's value takes at the most, so that four fit; and the mark of one that was cut:
 * `~` and eight digits. */
#define VALUE_BYTES 200u
#define MARK_BYTES  9u

/* The length of the character of UTF-8 at the front of `text`; 0: it is none. */
static size_t
character(struct weir_str text)
{
    unsigned char first = (unsigned char)text.ptr[0];
    size_t len = first < 0x80 ? 1
            : first < 0xc2    ? 0
            : first < 0xe0    ? 2
            : first < 0xf0    ? 3
            : first < 0xf5    ? 4
                              : 0;
    if (len > text.len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)text.ptr[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    unsigned char second = len > 2 ? (unsigned char)text.ptr[1] : 0;
    bool is_overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    bool is_outside = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
    return is_overlong || is_outside ? 0 : len;
}

/* One character, escaped, of at most four bytes; sets *used to what it took of `text`. */
static size_t
escape(char *dst, struct weir_str text, size_t *used)
{
    size_t len = character(text);
    unsigned char c = (unsigned char)text.ptr[0];
    *used = len == 0 ? 1 : len;
    if (c == '\\' || c == '"' || c == '\n') {
        dst[0] = '\\';
        dst[1] = c == '\n' ? 'n' : (char)c;
        return 2;
    }
    if (len == 0 || c < 0x20 || c == 0x7f) {
        dst[0] = '?';
        return 1;
    }
    memcpy(dst, text.ptr, len);
    return len;
}

static size_t
put_value(char *dst, struct weir_str value)
{
    size_t at = 0, mark_at = 0;
    struct weir_str rest = value;
    while (rest.len > 0) {
        char escaped[4];
        size_t used, len = escape(escaped, rest, &used);
        if (at + len > VALUE_BYTES) {
            snprintf(dst + mark_at, MARK_BYTES + 1, "~%08x",
                    (unsigned)hash_more(UINT32_C(2166136261), value));
            return mark_at + MARK_BYTES;
        }
        memcpy(dst + at, escaped, len);
        at += len;
        mark_at = at <= VALUE_BYTES - MARK_BYTES ? at : mark_at;
        rest.ptr += used;
        rest.len -= used;
    }
    return at;
}

void
metric_label(char *labels, size_t *len, const char *name, struct weir_str value)
{
    size_t name_len = strlen(name), at = *len;
    /* With the byte that ends the mark, before a quote takes its place. */
    WEIR_ASSERT(at + name_len + VALUE_BYTES + 5 <= METRIC_LABELS_BYTES);
    if (at > 0) {
        labels[at++] = ',';
    }
    memcpy(labels + at, name, name_len);
    at += name_len;
    labels[at++] = '=';
    labels[at++] = '"';
    at += put_value(labels + at, value);
    labels[at++] = '"';
    *len = at;
}
