/* SPDX-License-Identifier: MIT */
/* Finding a series by its labels is slow, so that a small table remembers the cells that were
 * used last, by what the labels are made of. */
#include "module/figures.h"

#include <stdlib.h>

#include "base/budget.h"
#include "base/num.h"
#include "event/loop.h"
#include "http/file_cache.h"
#include "http/method.h"
#include "http/spill.h"
#include "http/upgrade.h"
#include "module/hook_figures.h"
#include "module/life.h"
#include "module/module_metrics.h"
#include "module/pools.h"
#include "observe/log_file.h"

#define RECENT 256u

/* Where a request's time went: histograms, in this order. */
enum part {
    PART_ALL,
    PART_READ,
    PART_QUEUE,
    PART_HANDLE,
    PART_WRITE,
    PART_COUNT
};

static const struct {
    const char *name, *help;
} parts[PART_COUNT] = {
    [PART_ALL] = { "weir_http_request_duration_seconds",
            "Time from a request's first byte to its answer's last" },
    [PART_READ] = { "weir_http_request_read_duration_seconds",
            "Time that a request's head took to come, and that its answer waited for its body" },
    [PART_QUEUE] = { "weir_http_request_queue_duration_seconds",
            "Time that work for a request waited for a thread" },
    [PART_HANDLE] = { "weir_http_request_handle_duration_seconds",
            "Time from a request's head to its answer's first byte, but for reading and queues" },
    [PART_WRITE] = { "weir_http_request_write_duration_seconds",
            "Time from an answer's first byte to its last" },
};

struct recent {
    const char *server, *route; /* compared, never followed */
    uint32_t what;              /* method and status; 0: free */
    metric_cell *count, *parts[PART_COUNT];
};

/* What is written where there is no room, and never read. */
static metric_cell nowhere[METRIC_HISTOGRAM_CELLS];

static metric_cell *
or_nowhere(metric_cell *cells)
{
    return cells == NULL ? nowhere : cells;
}

// clang-format off
/* id, type, name, help, value */
#define ENGINE_FIGURES(X)                                                                        \
    X(GAUGE,   "weir_connections", "Open connections, idle ones included",                       \
            f->connections_opened - f->connections_closed)                                       \
    X(GAUGE,   "weir_connections_active", "Open connections with a request in hand",             \
            f->connections_active)                                                               \
    X(GAUGE,   "weir_http_requests_in_flight", "Requests that have begun and not ended",         \
            f->requests_begun - f->requests_ended)                                               \
    X(COUNTER, "weir_http_heads_refused_total", "Heads that were answered with an error by the " \
            "server itself", f->requests_refused)                                                \
    X(COUNTER, "weir_http_requests_shed_total", "Requests answered 503 for want of memory",      \
            f->requests_shed)                                                                    \
    X(COUNTER, "weir_http_readers_shed_total", "Stalled readers closed for want of memory",      \
            f->readers_shed)                                                                     \
    X(GAUGE,   "weir_tunnels", "Open connections that carry another protocol than HTTP",         \
            f->tunnels)                                                                          \
    X(COUNTER, "weir_upgrades_total", "Connections that went on in another protocol",            \
            f->upgrades)                                                                         \
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
    struct hook_figures *hooks; /* owned; NULL without memory */
    struct module_metrics *own; /* owned; likewise: what modules count themselves */
    metric_cell *ends[REQUEST_END_STOPPED + 1];
    metric_cell *opened, *closes[H1_CLOSE_COUNT];
    metric_cell *engine[ENGINE_FIGURES_COUNT];
};

static const struct {
    enum weir_metric_type type;
    const char *name, *help;
} engine_series[] = {
#define X(type, name, help, value) { WEIR_METRIC_##type, name, help },
    ENGINE_FIGURES(X)
#undef X
};

static metric_cell *
by_reason(struct metric_shard *shard, const char *name, const char *help, const char *reason)
{
    char labels[METRIC_LABELS_BYTES];
    size_t len = 0;
    metric_label(labels, &len, "reason", weir_str_from(reason));
    return or_nowhere(
            metric_series(shard, WEIR_METRIC_COUNTER, name, help, weir_str_make(labels, len)));
}

struct figures *
figures_new(struct metric_shard *shard)
{
    struct figures *figures = shard == NULL ? NULL : calloc(1, sizeof(*figures));
    if (figures == NULL) {
        return NULL;
    }
    figures->shard = shard;
    for (unsigned i = 0; i < ENGINE_FIGURES_COUNT; i++) {
        figures->engine[i] = or_nowhere(metric_series(shard, engine_series[i].type,
                engine_series[i].name, engine_series[i].help, weir_str_make(NULL, 0)));
    }
    figures->opened = or_nowhere(
            metric_series(shard, WEIR_METRIC_COUNTER, "weir_connections_opened_total",
                    "Connections that were accepted", weir_str_make(NULL, 0)));
    for (unsigned end = REQUEST_RUNS + 1; end <= REQUEST_END_STOPPED; end++) {
        figures->ends[end] = by_reason(shard, "weir_http_requests_ended_total",
                "Requests that have ended, by how", request_end_label((enum request_end)end));
    }
    for (unsigned reason = H1_OPEN + 1; reason < H1_CLOSE_COUNT; reason++) {
        figures->closes[reason] = by_reason(shard, "weir_connections_closed_total",
                "Connections that have ended, by why", h1_close_label((enum h1_close)reason));
    }
    figures->hooks = hook_figures_new(shard);
    figures->own = module_metrics_new(shard);
    return figures;
}

void
figures_free(struct figures *figures)
{
    if (figures != NULL) {
        hook_figures_free(figures->hooks);
        module_metrics_free(figures->own);
        free(figures);
    }
}

void
figures_begin(struct figures *figures, struct course_map *map)
{
    map->figures = figures;
    map->metrics = figures == NULL ? NULL : figures->own;
    if (map->life != NULL) {
        life_set_metrics(map->life, map->metrics);
    }
    if (figures != NULL && figures->hooks != NULL) {
        map->hook_figures = figures->hooks;
        map->calls = hook_figures_calls(figures->hooks);
    }
}

void
figures_count_open(struct figures *figures)
{
    if (figures != NULL) {
        metric_count(figures->opened);
    }
}

void
figures_count_close(struct figures *figures, enum h1_close reason)
{
    if (figures != NULL) {
        metric_count(figures->closes[reason]);
    }
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
    for (unsigned i = 0; i < PART_COUNT; i++) {
        recent->parts[i] = or_nowhere(metric_series(figures->shard, WEIR_METRIC_HISTOGRAM,
                parts[i].name, parts[i].help, weir_str_make(labels, len)));
    }
    metric_label(labels, &len, "method", method_label(request));
    metric_label(labels, &len, "code",
            status == 0 ? WEIR_STR("none")
                        : weir_str_make(digits, num_format_u64(digits, status)));
    recent->count = or_nowhere(metric_series(figures->shard, WEIR_METRIC_COUNTER,
            "weir_http_requests_total", "Requests that have ended, by what was answered",
            weir_str_make(labels, len)));
}

/* Of `whole` what is left takes at most as much as there is. */
static uint64_t
take(uint64_t *left, uint64_t ns)
{
    uint64_t taken = ns < *left ? ns : *left;
    *left -= taken;
    return taken;
}

/* The parts make up the whole. */
static void
count_parts(const struct recent *recent, const struct weir_request *request)
{
    uint64_t now_ns = loop_now_ns(request->engine->loop), ns[PART_COUNT];
    uint64_t left_at_ns = request->reply_left_ns;
    if (reply_is_switch(&request->reply) && left_at_ns != 0) {
        now_ns = left_at_ns; /* the time of a tunnel, hours perhaps, is none of an answer */
    }
    uint64_t left_ns = ns[PART_ALL] = now_ns - request->began_ns;
    ns[PART_WRITE] = left_at_ns == 0 ? 0 : take(&left_ns, now_ns - left_at_ns);
    ns[PART_READ] = take(&left_ns,
            request->head_read_ns == 0
                    ? left_ns
                    : request->head_read_ns - request->began_ns + request->body_waited_ns);
    ns[PART_QUEUE] = take(&left_ns, request->queued_ns);
    ns[PART_HANDLE] = left_ns;
    for (unsigned i = 0; i < PART_COUNT; i++) {
        if (ns[i] == 0) { /* most are, within one turn of the loop */
            metric_count(&recent->parts[i][0]);
        } else {
            metric_observe_ns(WEIR_METRIC_HISTOGRAM, recent->parts[i], ns[i]);
        }
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
    metric_count(recent->count);
    count_parts(recent, request);
    metric_count(figures->ends[request->end]);
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
    metric_cell **cell = figures->engine;
#define X(type, name, help, value) metric_set(*cell++, value);
    ENGINE_FIGURES(X)
#undef X
}

/* ---- of the process ---------------------------------------------------------------------- */

static metric_cell *
of_pool(struct figures *figures, enum weir_metric_type type, const char *name, const char *help,
        const char *pool)
{
    char labels[METRIC_LABELS_BYTES];
    size_t len = 0;
    metric_label(labels, &len, "pool", weir_str_from(pool));
    return or_nowhere(
            metric_series(figures->shard, type, name, help, weir_str_make(labels, len)));
}

// clang-format off
#define POOL_FIGURES(X)                                                                          \
    X(GAUGE,   "weir_pool_threads", "Threads of a pool", f.threads)                              \
    X(GAUGE,   "weir_pool_threads_busy", "Threads of a pool that are at work", f.busy)           \
    X(GAUGE,   "weir_pool_threads_idle", "Threads of a pool that wait for work", f.idle)         \
    X(GAUGE,   "weir_pool_queue", "Work that waits for a thread", f.queued)                      \
    X(COUNTER, "weir_pool_submitted_total", "Work that a pool was given", f.submitted)           \
    X(COUNTER, "weir_pool_ran_total", "Work that threads have begun", f.ran)                     \
    X(COUNTER, "weir_pool_rejected_total", "Work that found no room in the queue", f.rejected)   \
    X(COUNTER, "weir_pool_expired_total", "Work that waited for too long", f.expired)
// clang-format on

void
figures_take_pools(struct figures *figures, const struct pools *pools)
{
    const char *name;
    for (size_t i = 0; figures != NULL && pools != NULL; i++) {
        struct pool *pool = pools_at(pools, i, &name);
        if (pool == NULL) {
            return;
        }
        const struct pool_figures f = pool_figures(pool);
#define X(type, series, help, value) \
    metric_set(of_pool(figures, WEIR_METRIC_##type, series, help, name), (uint64_t)(value));
        POOL_FIGURES(X)
#undef X
    }
}

void
figures_observe_queue(struct figures *figures, const char *pool, uint64_t ns)
{
    if (figures != NULL) {
        metric_observe_ns(WEIR_METRIC_HISTOGRAM,
                of_pool(figures, WEIR_METRIC_HISTOGRAM, "weir_pool_wait_duration_seconds",
                        "Time that what requests offloaded waited for a thread", pool),
                ns);
    }
}

// clang-format off
#define PROCESS_FIGURES(X)                                                                       \
    X(COUNTER, "weir_log_lines_total", "Lines written to log files", lines.written)              \
    X(COUNTER, "weir_log_lines_dropped_total",                                                   \
            "Lines that log files did not take, for the disk is full or slow", lines.dropped)    \
    X(GAUGE,   "weir_memory_bytes", "Memory that clients take of workers.memory", used)          \
    X(GAUGE,   "weir_memory_limit_bytes", "What workers.memory allows; 0: no limit", limit)

#define SPILL_FIGURES(X)                                                                         \
    X(GAUGE,   "weir_body_files", "Bodies of requests and answers that stand in files", files)   \
    X(GAUGE,   "weir_body_file_bytes", "What these files hold of workers.temp_size", held_bytes) \
    X(COUNTER, "weir_body_file_written_bytes_total",                                             \
            "Bytes of bodies that were too many for memory and went to files", written_bytes)    \
    X(COUNTER, "weir_body_file_failures_total",                                                  \
            "Times that a body could not be kept in a file, or read back", failures)
// clang-format on

static void
take_spills(struct figures *figures, enum spill_kind kind)
{
    const struct spill_figures bodies = spill_figures(kind);
    char labels[METRIC_LABELS_BYTES];
    size_t len = 0;
    metric_label(labels, &len, "message",
            kind == SPILL_REQUEST ? WEIR_STR("request") : WEIR_STR("reply"));
#define X(type, name, help, value)                                                      \
    metric_set(or_nowhere(metric_series(figures->shard, WEIR_METRIC_##type, name, help, \
                       weir_str_make(labels, len))),                                    \
            bodies.value);
    SPILL_FIGURES(X)
#undef X
}

void
figures_take_process(struct figures *figures)
{
    if (figures == NULL) {
        return;
    }
    const struct log_file_figures lines = log_file_figures();
    uint64_t used = budget_used_bytes(), limit = budget_limit_bytes();
    limit = limit == UINT64_MAX ? 0 : limit;
#define X(type, name, help, value)                                                      \
    metric_set(or_nowhere(metric_series(figures->shard, WEIR_METRIC_##type, name, help, \
                       weir_str_make(NULL, 0))),                                        \
            value);
    PROCESS_FIGURES(X)
#undef X
    take_spills(figures, SPILL_REQUEST);
    take_spills(figures, SPILL_REPLY);
}
