/* SPDX-License-Identifier: MIT */
/* The two formats differ in the name of a counter's family, which in OpenMetrics lacks _total,
 * and in the end. */
#include "exposition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above it a scrape fails rather than taking the worker's memory. */
#define TEXT_MAX_BYTES (8u << 20)

/* Name, help and labels are shorter, by core/observe/metric.h. */
#define LINE_MAX_BYTES 2048u

void
exposition_init(struct exposition *text, enum exposition_format format)
{
    *text = (struct exposition){ .format = format };
}

void
exposition_fini(struct exposition *text)
{
    free(text->bytes);
    text->bytes = NULL;
}

struct weir_str
exposition_type(enum exposition_format format)
{
    return format == EXPOSITION_OPENMETRICS
            ? WEIR_STR("application/openmetrics-text; version=1.0.0; charset=utf-8")
            : WEIR_STR("text/plain; version=0.0.4; charset=utf-8");
}

static int
reserve(struct exposition *text, size_t bytes)
{
    if (bytes <= text->capacity - text->len) {
        return 0;
    }
    size_t capacity = text->capacity == 0 ? 16384 : text->capacity;
    while (capacity - text->len < bytes) {
        capacity *= 2;
        if (capacity > TEXT_MAX_BYTES) {
            return -ENOBUFS;
        }
    }
    char *grown = realloc(text->bytes, capacity);
    if (grown == NULL) {
        return -ENOMEM;
    }
    text->bytes = grown;
    text->capacity = capacity;
    return 0;
}

static int append(struct exposition *text, const char *format, ...) WEIR_PRINTF(2, 3);

static int
append(struct exposition *text, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof(line)) {
        return -ENOBUFS;
    }
    int r = reserve(text, (size_t)len);
    if (r < 0) {
        return r;
    }
    memcpy(text->bytes + text->len, line, (size_t)len);
    text->len += (size_t)len;
    return 0;
}

static bool
is_histogram(const struct weir_metric *metric)
{
    return metric->type == WEIR_METRIC_HISTOGRAM || metric->type == WEIR_METRIC_SHORT_HISTOGRAM;
}

static const char *
type_name(const struct weir_metric *metric)
{
    return is_histogram(metric)                   ? "histogram"
            : metric->type == WEIR_METRIC_COUNTER ? "counter"
                                                  : "gauge";
}

static int
append_family(struct exposition *text, const struct weir_metric *metric)
{
    if (weir_str_eq(weir_str_from(text->family), metric->name)) {
        return 0;
    }
    snprintf(text->family, sizeof(text->family), "%.*s", WEIR_STR_ARG(metric->name));
    struct weir_str name = metric->name, total = WEIR_STR("_total");
    if (text->format == EXPOSITION_OPENMETRICS && metric->type == WEIR_METRIC_COUNTER &&
            name.len > total.len &&
            memcmp(name.ptr + name.len - total.len, total.ptr, total.len) == 0) {
        name.len -= total.len;
    }
    return append(text, "# HELP %.*s %.*s\n# TYPE %.*s %s\n", WEIR_STR_ARG(name),
            WEIR_STR_ARG(metric->help), WEIR_STR_ARG(name), type_name(metric));
}

static int
append_histogram(struct exposition *text, const struct weir_metric *metric)
{
    const char *comma = metric->labels.len > 0 ? "," : "";
    uint64_t count = 0;
    int r = 0;
    for (unsigned i = 0; r == 0 && i <= WEIR_METRIC_BOUNDS; i++) {
        const char *bound = weir_metric_bound(metric->type, i);
        count += metric->counts[i];
        r = append(text, "%s_bucket{%.*s%sle=\"%s\"} %" PRIu64 "\n", text->family,
                WEIR_STR_ARG(metric->labels), comma, bound == NULL ? "+Inf" : bound, count);
    }
    if (r == 0) {
        r = append(text, "%s_sum{%.*s} %" PRIu64 ".%09" PRIu64 "\n%s_count{%.*s} %" PRIu64 "\n",
                text->family, WEIR_STR_ARG(metric->labels), metric->sum_ns / 1000000000,
                metric->sum_ns % 1000000000, text->family, WEIR_STR_ARG(metric->labels), count);
    }
    return r;
}

int
exposition_add(void *context, const struct weir_metric *metric)
{
    struct exposition *text = context;
    int r = append_family(text, metric);
    if (r < 0) {
        return r;
    }
    if (is_histogram(metric)) {
        return append_histogram(text, metric);
    }
    char value[32];
    if (metric->type == WEIR_METRIC_GAUGE) {
        snprintf(value, sizeof(value), "%" PRId64, (int64_t)metric->value);
    } else {
        snprintf(value, sizeof(value), "%" PRIu64, metric->value);
    }
    return metric->labels.len == 0
            ? append(text, "%s %s\n", text->family, value)
            : append(text, "%s{%.*s} %s\n", text->family, WEIR_STR_ARG(metric->labels), value);
}

int
exposition_end(struct exposition *text)
{
    return text->format == EXPOSITION_OPENMETRICS ? append(text, "# EOF\n") : 0;
}
