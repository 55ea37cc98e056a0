/* SPDX-License-Identifier: MIT */
/* As in figures.c, a small table remembers the cells that were used last, by what their labels
 * are made of: the module's table, and the names of server and route, which live as long as the
 * process. */
#include "module/module_metrics.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "event/loop.h"
#include "http/request.h"
#include "module/course_parts.h"
#include "module/life_parts.h"
#include "observe/log.h"

#define RECENT 256u

struct recent {
    const struct weir_own_metric *declared; /* compared, never followed; NULL: free */
    const char *server, *route;             /* likewise */
    metric_cell *cells;                     /* NULL: there was no room */
};

struct module_metrics {
    struct metric_shard *shard; /* borrowed */
    bool has_complained;
    struct recent recent[RECENT];
};

struct module_metrics *
module_metrics_new(struct metric_shard *shard)
{
    struct module_metrics *metrics = calloc(1, sizeof(*metrics));
    if (metrics != NULL) {
        metrics->shard = shard;
    }
    return metrics;
}

void
module_metrics_free(struct module_metrics *metrics)
{
    free(metrics);
}

/* ---- cells ------------------------------------------------------------------------------- */

static metric_cell *
make_cells(const struct module_metrics *metrics, const struct weir_own_metric *declared,
        const struct weir_request *request)
{
    char labels[METRIC_LABELS_BYTES];
    size_t len = 0;
    struct weir_str none = weir_str_make(NULL, 0);
    if ((declared->labels & WEIR_METRIC_BY_SERVER) != 0) {
        metric_label(labels, &len, "server", request == NULL ? none : request->server_name);
    }
    if ((declared->labels & WEIR_METRIC_BY_ROUTE) != 0) {
        metric_label(labels, &len, "route", request == NULL ? none : request->route_name);
    }
    if (declared->label != NULL) {
        metric_label(labels, &len, declared->label, weir_str_from(declared->value));
    }
    return metric_series(metrics->shard, declared->type, declared->name, declared->help,
            weir_str_make(labels, len));
}

/* `request` NULL: labels that it would give are empty. NULL: there is no room. */
static inline metric_cell *
find_cells(struct module_metrics *metrics, const struct weir_own_metric *declared,
        const struct weir_request *request)
{
    bool by_server = request != NULL && (declared->labels & WEIR_METRIC_BY_SERVER) != 0;
    bool by_route = request != NULL && (declared->labels & WEIR_METRIC_BY_ROUTE) != 0;
    const char *server = by_server ? request->server_name.ptr : NULL;
    const char *route = by_route ? request->route_name.ptr : NULL;
    uintptr_t hash = (uintptr_t)declared / 16 ^ (uintptr_t)server / 8 ^ (uintptr_t)route / 8;
    struct recent *recent = &metrics->recent[(hash ^ hash >> 8) % RECENT];
    if (recent->declared != declared || recent->server != server || recent->route != route) {
        *recent = (struct recent){ declared, server, route,
            make_cells(metrics, declared, request) };
    }
    return recent->cells;
}

/* ---- what modules call ------------------------------------------------------------------- */

enum deed {
    DEED_ADD,
    DEED_SET,
    DEED_OBSERVE,
};

static inline bool
is_of_type(const struct weir_own_metric *declared, enum deed deed, int64_t n)
{
    switch (declared->type) {
    case WEIR_METRIC_COUNTER:
        return deed == DEED_ADD && n >= 0;
    case WEIR_METRIC_GAUGE:
        return deed != DEED_OBSERVE;
    case WEIR_METRIC_HISTOGRAM:
    case WEIR_METRIC_SHORT_HISTOGRAM:
        return deed == DEED_OBSERVE;
    }
    return false;
}

/* A mistake of the module's; it would be made again and again. */
static void
complain(struct module_metrics *metrics, const struct weir_module *module, unsigned metric)
{
    if (!metrics->has_complained) {
        metrics->has_complained = true;
        log_error("module %s: its figure %u is not counted: %s (said once)", module->name,
                metric,
                metric < module->metrics.count
                        ? "it is of another type, or a counter that would go down"
                        : "its table has no such entry");
    }
}

/* On another thread: whatever is to be counted is the loop's. */
static void
refuse_thread(void)
{
    static _Atomic(bool) has_said;
    if (!atomic_exchange(&has_said, true)) {
        log_error("a module counts a figure on another thread than its loop's: it is not "
                  "counted (said once)");
    }
}

static inline void
count(struct module_metrics *metrics, const struct weir_module *module,
        const struct weir_request *request, unsigned metric, enum deed deed, uint64_t n)
{
    const struct weir_own_metric *declared = &module->metrics.items[metric];
    if (metric >= module->metrics.count || !is_of_type(declared, deed, (int64_t)n)) {
        complain(metrics, module, metric);
        return;
    }
    metric_cell *cells = find_cells(metrics, declared, request);
    if (cells == NULL) {
        return; /* the shard has counted that it was full */
    }
    switch (deed) {
    case DEED_ADD:
        metric_add(cells, n);
        break;
    case DEED_SET:
        metric_set(cells, n);
        break;
    case DEED_OBSERVE:
        metric_observe_ns(declared->type, cells, n);
        break;
    }
}

static inline void
count_request(const struct weir_request *request, unsigned metric, enum deed deed, uint64_t n)
{
    if (!loop_is_current(request->engine->loop)) {
        refuse_thread();
        return;
    }
    const struct course *course = course_of(request);
    struct module_metrics *metrics = course_map_of(request)->metrics;
    WEIR_ASSERT(course->calling != NULL);
    if (metrics != NULL) {
        count(metrics, course->chain->uses[course->calling->use].module, request, metric, deed,
                n);
    }
}

static inline void
count_loop(const struct weir_loop *loop, unsigned metric, enum deed deed, uint64_t n)
{
    struct module_metrics *metrics = loop->at->metrics;
    if (!loop_is_current(loop->at->loop)) {
        refuse_thread();
    } else if (metrics != NULL) {
        count(metrics, loop->worker->declared->module, NULL, metric, deed, n);
    }
}

void
weir_metric_add(const struct weir_request *request, unsigned metric, int64_t n)
{
    count_request(request, metric, DEED_ADD, (uint64_t)n);
}

void
weir_metric_observe(const struct weir_request *request, unsigned metric, uint64_t ns)
{
    count_request(request, metric, DEED_OBSERVE, ns);
}

void
weir_loop_metric_add(struct weir_loop *loop, unsigned metric, int64_t n)
{
    count_loop(loop, metric, DEED_ADD, (uint64_t)n);
}

void
weir_loop_metric_set(struct weir_loop *loop, unsigned metric, int64_t value)
{
    count_loop(loop, metric, DEED_SET, (uint64_t)value);
}

void
weir_loop_metric_observe(struct weir_loop *loop, unsigned metric, uint64_t ns)
{
    count_loop(loop, metric, DEED_OBSERVE, ns);
}
