/* SPDX-License-Identifier: MIT */
/* Finding a series by its labels is slow, so that a small table remembers the cells that were
 * used last, by what the labels are made of. */
#include "module/figures.h"

#include <stdlib.h>

#include "base/num.h"
#include "event/loop.h"
#include "http/file_cache.h"
#include "http/method.h"

#define RECENT 256u

struct recent {
    const char *server, *route; /* compared, never followed */
    uint32_t what;              /* method and status; 0: free */
    metric_cell *count, *duration;
};

// clang-format off
/* id, type, name, help, value */
#define ENGINE_FIGURES(X)                                                                        \
    X(COUNTER, "weir_connections_opened_total", "Connections that were accepted",                \
            f->connections_opened)                                                               \
    X(COUNTER, "weir_connections_closed_total", "Connections that have ended",                   \
            f->connections_closed)                                                               \
    X(GAUGE,   "weir_connections", "Open connections, idle ones included",                       \
            f->connections_opened - f->connections_closed)                                       \
    X(GAUGE,   "weir_http_requests_in_flight", "Requests that have begun and not ended",         \
            f->requests_begun - f->requests_ended)                                               \
    X(COUNTER, "weir_http_heads_refused_total", "Heads that were answered with an error by the " \
            "server itself", f->requests_refused)                                                \
    X(COUNTER, "weir_http_requests_shed_total", "Requests answered 503 for want of memory",      \
            f->requests_shed)                                                                    \
    X(COUNTER, "weir_http_readers_shed_total", "Stalled readers closed for want of memory",      \
            f->readers_shed)                                                                     \
    X(COUNTER, "weir_received_bytes_total", "Bytes received from clients", f->bytes_in)          \
    X(COUNTER, "weir_sent_bytes_total", "Bytes sent to clients", f->bytes_out)                   \
    X(COUNTER, "weir_file_cache_hits_total", "Files that were found in memory",                  \
            files == NULL ? 0 : files->figures.hits)                                             \
    X(COUNTER, "weir_file_cache_misses_total", "Files that were looked up or looked at again",   \
            files == NULL ? 0 : files->figures.misses)
// clang-format on

enum {
#define X(type, name, help, value) +1
    ENGINE_FIGURES_COUNT = 0 ENGINE_FIGURES(X)
#undef X
};

struct figures {
    struct metric_shard *shard; /* borrowed */
    struct recent recent[RECENT];
    metric_cell *ends[REQUEST_END_STOPPED + 1]; /* NULL: no room, or none yet */
    metric_cell *engine[ENGINE_FIGURES_COUNT];  /* NULL: no room */
};

static const struct {
    enum weir_metric_type type;
    const char *name, *help;
} engine_series[] = {
#define X(type, name, help, value) { WEIR_METRIC_##type, name, help },
    ENGINE_FIGURES(X)
#undef X
};

struct figures *
figures_new(struct metric_shard *shard)
{
    struct figures *figures = shard == NULL ? NULL : calloc(1, sizeof(*figures));
    if (figures == NULL) {
        return NULL;
    }
    figures->shard = shard;
    for (unsigned i = 0; i < ENGINE_FIGURES_COUNT; i++) {
        figures->engine[i] = metric_series(shard, engine_series[i].type, engine_series[i].name,
                engine_series[i].help, weir_str_make(NULL, 0));
    }
    return figures;
}

void
figures_free(struct figures *figures)
{
    free(figures);
}

static struct weir_str
method_label(const struct weir_request *request)
{
    return request->refusal != HEAD_ACCEPTED || request->head.method == METHOD_OTHER
            ? WEIR_STR("_OTHER")
            : head_method(&request->head);
}

static void
find_cells(struct figures *figures, const struct weir_request *request, unsigned status,
        struct recent *recent)
{
    char labels[METRIC_LABELS_BYTES], digits[NUM_U64_DIGITS];
    size_t len = 0;
    metric_label(labels, &len, "server", request->server_name);
    metric_label(labels, &len, "route", request->route_name);
    recent->duration = metric_series(figures->shard, WEIR_METRIC_HISTOGRAM,
            "weir_http_request_duration_seconds",
            "Time from a request's first byte to its answer's last",
            weir_str_make(labels, len));
    metric_label(labels, &len, "method", method_label(request));
    metric_label(labels, &len, "code",
            status == 0 ? WEIR_STR("none")
                        : weir_str_make(digits, num_format_u64(digits, status)));
    recent->count = metric_series(figures->shard, WEIR_METRIC_COUNTER,
            "weir_http_requests_total", "Requests that have ended, by what was answered",
            weir_str_make(labels, len));
}

static void
count_end(struct figures *figures, enum request_end end)
{
    if (figures->ends[end] == NULL) {
        char labels[METRIC_LABELS_BYTES];
        size_t len = 0;
        metric_label(labels, &len, "reason", weir_str_from(request_end_label(end)));
        figures->ends[end] = metric_series(figures->shard, WEIR_METRIC_COUNTER,
                "weir_http_requests_ended_total", "Requests that have ended, by how",
                weir_str_make(labels, len));
    }
    if (figures->ends[end] != NULL) {
        metric_add(figures->ends[end], 1);
    }
}

void
figures_count_request(struct figures *figures, const struct weir_request *request)
{
    if (figures == NULL) {
        return;
    }
    unsigned status = request->reply.head_left ? request->reply.status : 0;
    unsigned method = request->refusal == HEAD_ACCEPTED ? request->head.method : METHOD_OTHER;
    uint32_t what = 1u << 31 | method << 16 | status;
    uintptr_t hash = (uintptr_t)request->route_name.ptr / 8 ^
            (uintptr_t)request->server_name.ptr / 8 ^ what ^ method * 31u;
    struct recent *recent = &figures->recent[(hash ^ hash >> 8) % RECENT];
    if (recent->what != what || recent->route != request->route_name.ptr ||
            recent->server != request->server_name.ptr) {
        recent->what = what;
        recent->route = request->route_name.ptr;
        recent->server = request->server_name.ptr;
        find_cells(figures, request, status, recent);
    }
    if (recent->count != NULL) {
        metric_add(recent->count, 1);
    }
    if (recent->duration != NULL) {
        metric_observe_ns(WEIR_METRIC_HISTOGRAM, recent->duration,
                loop_now_ns(request->engine->loop) - request->began_ns);
    }
    count_end(figures, request->end);
    figures_take_engine(figures, request->engine);
}

void
figures_take_engine(struct figures *figures, const struct engine *engine)
{
    if (figures == NULL) {
        return;
    }
    const struct engine_figures *f = &engine->figures;
    const struct file_cache *files = engine->files;
    const uint64_t values[] = {
#define X(type, name, help, value) value,
        ENGINE_FIGURES(X)
#undef X
    };
    for (unsigned i = 0; i < ENGINE_FIGURES_COUNT; i++) {
        if (figures->engine[i] != NULL) {
            metric_set(figures->engine[i], values[i]);
        }
    }
}
