/* SPDX-License-Identifier: MIT */
#include "module/metric_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "module/loader.h"
#include "observe/metric.h"

/* How the server's own begin. A module of such a name has figures of no such name. */
static const char *const reserved[] = { "weir_body_", "weir_build_", "weir_connections",
    "weir_file_cache_", "weir_generation", "weir_hook_", "weir_http_", "weir_listener_",
    "weir_log_", "weir_memory_", "weir_metric_", "weir_pool_", "weir_received_", "weir_sent_",
    "weir_tunnels", "weir_upgrades_", "weir_worker_", "weir_workers" };

static const char expected_name[] =
        "weir_MODULE_WHAT: lower case letters, digits and _, with _ for - in the module's name";

static bool
begins_with(struct weir_str text, const char *front)
{
    size_t len = strlen(front);
    return text.len >= len && memcmp(text.ptr, front, len) == 0;
}

static bool
ends_with(struct weir_str text, const char *end)
{
    size_t len = strlen(end);
    return text.len >= len && memcmp(text.ptr + text.len - len, end, len) == 0;
}

bool
metric_table_is_reserved(struct weir_str name)
{
    bool is = false;
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        is |= begins_with(name, reserved[i]);
    }
    return is;
}

/* ---- one figure -------------------------------------------------------------------------- */

static bool
is_word(const char *text, size_t bytes_max)
{
    size_t len = strnlen(text, bytes_max + 1);
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || c == '_' || (i > 0 && c >= '0' && c <= '9'))) {
            return false;
        }
    }
    return len > 0 && len <= bytes_max;
}

/* One line that needs no escaping. */
static bool
is_sentence(const char *text, size_t bytes_max)
{
    size_t len = strnlen(text, bytes_max + 1);
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '\\' || text[i] == '"') {
            return false;
        }
    }
    return len > 0 && len <= bytes_max;
}

static bool
is_of_module(const char *name, const struct weir_module *module)
{
    char front[LOADER_NAME_MAX + 8];
    int len = snprintf(front, sizeof(front), "weir_%s_", module->name);
    for (int i = 0; i < len; i++) {
        front[i] = front[i] == '-'                   ? '_'
                : front[i] >= 'A' && front[i] <= 'Z' ? (char)(front[i] | 0x20)
                                                     : front[i];
    }
    return begins_with(weir_str_from(name), front) && name[len] != '\0';
}

/* Suffixes say what a figure is, and those of histograms are the format's. NULL, or what was
 * expected. */
static const char *
suffix_mistake(enum weir_metric_type type, struct weir_str name)
{
    switch (type) {
    case WEIR_METRIC_COUNTER:
        return ends_with(name, "_total") ? NULL : "a counter's name ends in _total";
    case WEIR_METRIC_GAUGE:
        return ends_with(name, "_total") || ends_with(name, "_bucket") ||
                        ends_with(name, "_count") || ends_with(name, "_sum") ||
                        ends_with(name, "_info")
                ? "a gauge's name does not end in _total, _bucket, _count, _sum or _info"
                : NULL;
    case WEIR_METRIC_HISTOGRAM:
    case WEIR_METRIC_SHORT_HISTOGRAM:
        return ends_with(name, "_seconds") ? NULL : "a histogram's name ends in _seconds";
    }
    return "its type is unknown";
}

/* NULL, or what was expected. */
static const char *
label_mistake(const struct weir_own_metric *metric)
{
    if (metric->label == NULL && metric->value == NULL) {
        return NULL;
    }
    if (metric->label == NULL || metric->value == NULL || !is_word(metric->label, 64) ||
            !is_sentence(metric->value, 64)) {
        return "a label is a word, and has a value";
    }
    return begins_with(weir_str_from(metric->label), "__") ||
                    strcmp(metric->label, "server") == 0 ||
                    strcmp(metric->label, "route") == 0 || strcmp(metric->label, "le") == 0
            ? "its label is another's: __..., server, route or le"
            : NULL;
}

static const char *
mistake_of(const struct weir_own_metric *metric, const struct weir_module *module)
{
    if (metric->name == NULL || !is_word(metric->name, METRIC_NAME_BYTES) ||
            !is_of_module(metric->name, module)) {
        return expected_name;
    }
    struct weir_str name = weir_str_from(metric->name);
    if (metric_table_is_reserved(name)) {
        return "such names are the server's own";
    }
    if (metric->help == NULL || !is_sentence(metric->help, METRIC_HELP_BYTES)) {
        return "its help is one line, without \\ and \"";
    }
    if ((metric->labels & ~(WEIR_METRIC_BY_SERVER | WEIR_METRIC_BY_ROUTE)) != 0) {
        return "its labels are of a newer Weir";
    }
    const char *mistake = suffix_mistake(metric->type, name);
    return mistake != NULL ? mistake : label_mistake(metric);
}

/* ---- all of them ------------------------------------------------------------------------- */

static bool
is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* The name under which a format knows it: OpenMetrics has counters without their _total. */
static struct weir_str
family(const struct weir_own_metric *metric)
{
    struct weir_str name = weir_str_from(metric->name), total = WEIR_STR("_total");
    name.len -= metric->type == WEIR_METRIC_COUNTER && name.len > total.len ? total.len : 0;
    return name;
}

/* NULL, or what was expected of two. */
static const char *
pair_mistake(const struct weir_own_metric *a, const struct weir_own_metric *b)
{
    if (!weir_str_eq(family(a), family(b))) {
        return NULL;
    }
    if (strcmp(a->name, b->name) != 0) {
        return "a counter's name without _total is no other's";
    }
    if (a->type != b->type || a->labels != b->labels || !is_same_text(a->help, b->help) ||
            !is_same_text(a->label, b->label)) {
        return "entries of one name have the same type, labels, help and label";
    }
    return is_same_text(a->value, b->value) ? "entries of one name have values that differ"
                                            : NULL;
}

static int
refuse(struct metric_table_mistake *mistake, size_t number,
        const struct weir_own_metric *metric, const char *expected)
{
    snprintf(mistake->message, sizeof(mistake->message), "its figure %zu, \"%.100s\", is wrong",
            number, metric->name == NULL ? "" : metric->name);
    snprintf(mistake->note, sizeof(mistake->note), "%s", expected);
    return -EINVAL;
}

int
metric_table_check(const struct weir_module *module, struct metric_table_mistake *mistake)
{
    const struct weir_own_metrics *metrics = &module->metrics;
    for (size_t i = 0; i < metrics->count; i++) {
        const struct weir_own_metric *metric = &metrics->items[i];
        const char *expected = mistake_of(metric, module);
        for (size_t j = 0; j < i && expected == NULL; j++) {
            expected = pair_mistake(&metrics->items[j], metric);
        }
        if (expected != NULL) {
            return refuse(mistake, i, metric, expected);
        }
    }
    return 0;
}

const char *
metric_table_common(const struct weir_module *a, const struct weir_module *b)
{
    for (size_t i = 0; i < a->metrics.count; i++) {
        for (size_t j = 0; j < b->metrics.count; j++) {
            if (weir_str_eq(family(&a->metrics.items[i]), family(&b->metrics.items[j]))) {
                return b->metrics.items[j].name;
            }
        }
    }
    return NULL;
}
