/* SPDX-License-Identifier: MIT */
/* Answers with the server's figures in Prometheus's text format 0.0.4:
 *     { "match": "/metrics", "handle": "metrics" } */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <weir/metric.h>
#include <weir/module.h>
#include <weir/reply.h>
#include <weir/request.h>

/* Above it a scrape fails rather than taking the worker's memory. */
#define TEXT_MAX_BYTES (8u << 20)

struct text {
    char *bytes; /* owned */
    size_t len, capacity;
    char family[128]; /* whose HELP and TYPE were written last */
};

static int
reserve(struct text *text, size_t bytes)
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

static int append(struct text *text, const char *format, ...) WEIR_PRINTF(2, 3);

static int
append(struct text *text, const char *format, ...)
{
    char line[2048];
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

static const char *
type_name(enum weir_metric_type type)
{
    switch (type) {
    case WEIR_METRIC_COUNTER:
        return "counter";
    case WEIR_METRIC_GAUGE:
        return "gauge";
    case WEIR_METRIC_HISTOGRAM:
    case WEIR_METRIC_SHORT_HISTOGRAM:
        return "histogram";
    }
    return "untyped";
}

static int
append_family(struct text *text, const struct weir_metric *metric)
{
    if (weir_str_eq(weir_str_from(text->family), metric->name)) {
        return 0;
    }
    snprintf(text->family, sizeof(text->family), "%.*s", WEIR_STR_ARG(metric->name));
    return append(text, "# HELP %s %.*s\n# TYPE %s %s\n", text->family,
            WEIR_STR_ARG(metric->help), text->family, type_name(metric->type));
}

static int
append_histogram(struct text *text, const struct weir_metric *metric)
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

static int
append_metric(void *context, const struct weir_metric *metric)
{
    struct text *text = context;
    int r = append_family(text, metric);
    if (r < 0) {
        return r;
    }
    if (metric->type == WEIR_METRIC_HISTOGRAM || metric->type == WEIR_METRIC_SHORT_HISTOGRAM) {
        return append_histogram(text, metric);
    }
    return metric->labels.len == 0
            ? append(text, "%s %" PRIu64 "\n", text->family, metric->value)
            : append(text, "%s{%.*s} %" PRIu64 "\n", text->family, WEIR_STR_ARG(metric->labels),
                      metric->value);
}

static enum weir_verdict
answer(struct weir_request *request, const struct text *text)
{
    enum weir_verdict verdict = weir_reply_text(request, 200,
            WEIR_STR("text/plain; version=0.0.4; charset=utf-8"),
            weir_str_make(text->bytes, text->len));
    if (verdict == WEIR_DONE &&
            weir_reply_set(request, WEIR_STR("Cache-Control"), WEIR_STR("no-store")) < 0) {
        return WEIR_FAILED;
    }
    return verdict;
}

static enum weir_verdict
metrics(struct weir_request *request, const void *conf)
{
    (void)conf;
    struct weir_str method = weir_request_method(request);
    if (!weir_str_eq(method, WEIR_STR("GET")) && !weir_str_eq(method, WEIR_STR("HEAD"))) {
        enum weir_verdict verdict = weir_reply_error(request, 405);
        return verdict == WEIR_DONE &&
                        weir_reply_set(request, WEIR_STR("Allow"), WEIR_STR("GET, HEAD")) < 0
                ? WEIR_FAILED
                : verdict;
    }
    struct text text = { .len = 0 };
    int r = weir_metric_each(append_metric, &text);
    enum weir_verdict verdict = r == 0 ? answer(request, &text)
                                       : weir_reply_error(request, 503);
    free(text.bytes);
    return verdict;
}

static const struct weir_hook hooks[] = {
    { .on = WEIR_ON_CONTENT, .request = metrics },
};

WEIR_EXPORT const struct weir_module weir_module_v1 = {
    WEIR_MODULE_HEAD("metrics", "1.0.0", "Answers with the server's figures"),
    .flags = WEIR_MODULE_MANY_LOOPS,
    WEIR_HANDLERS({ .name = "metrics",
            .help = "Answers with the server's figures in Prometheus's text format",
            .hooks = WEIR_HOOKS(hooks) }),
};
