/* SPDX-License-Identifier: MIT */
/* The whole configuration, checked, merged and compiled: what the engine runs. Made once, read
 * by any thread, freed as one.
 *
 *     site -> listeners -> servers (one for each server and way of being reached) -> routes
 *
 * A server that is reached through listeners with settings of their own is there once for each
 * of them, since what a route inherits differs; its route table is shared. Every value still
 * knows where it was written, for `weir explain`. */
#ifndef WEIR_MODULE_SITE_H
#define WEIR_MODULE_SITE_H

#include <sys/types.h>

#include <weir/module.h>

#include "base/arena.h"
#include "base/map.h"
#include "config/template.h"
#include "config/value.h"
#include "http/settings.h"
#include "module/host_pattern.h"
#include "module/route.h"
#include "module/zone_list.h"
#include "net/addr.h"
#include "upstream/group.h"

/* What one configuration may open. */
#define SITE_MAX_LISTENERS 4096
#define SITE_MAX_LOG_FILES 1024

enum site_log_level {
    SITE_LOG_DEBUG,
    SITE_LOG_INFO,
    SITE_LOG_WARN,
    SITE_LOG_ERROR
};
enum site_log_format {
    SITE_LOG_TEXT,
    SITE_LOG_JSON
};

/* `workers`. */
struct site_workers {
    int64_t processes; /* 0: one per core */
    int64_t loops;
    struct weir_str user, group; /* .len 0: none given */
    uint64_t memory_bytes;       /* 0: a quarter of the machine's, divided by processes;
                                    UINT64_MAX: no limit */
    struct weir_str temp_dir;    /* absolute */
    uint64_t temp_size_bytes;    /* UINT64_MAX: no limit */
    uint64_t drain_timeout_ns;
    uint64_t stop_delay_ns;    /* CLOCK_NEVER: none */
    uint64_t start_timeout_ns; /* CLOCK_NEVER: none */
    uint64_t stall_timeout_ns; /* CLOCK_NEVER: none */
    uint64_t max_requests;     /* UINT64_MAX: no limit */
    bool cpu_affinity;
};

/* One of `pools`; "default" is always there. */
struct site_pool {
    struct weir_str name;
    int64_t min, max; /* max -1: no limit */
    uint64_t queue_size;
    uint64_t queue_timeout_ns, idle_timeout_ns;
};

struct site_log {
    struct weir_str file; /* .len 0: standard error */
    int level;            /* enum site_log_level */
    int format;           /* enum site_log_format */
};

struct site_control {
    struct weir_str listen; /* as written; .len 0: in the run-time directory */
    struct addr addr;       /* .len 0 when `listen` is empty */
};

/* Whom to believe about where a request comes from. */
struct site_trust {
    struct weir_list peers; /* of struct weir_network */
    struct weir_str header; /* lower case */
    uint64_t hops;
};

/* What is inherited key by key; complete on every level. */
struct site_settings {
    struct http_limits limits;
    struct http_timeouts timeouts;
    struct site_trust trust;
    int log_level; /* enum site_log_level */

    /* The merged layers, for explain; NULL: nothing but presets. */
    const struct config_value *limits_from, *timeouts_from, *trust_from, *log_from;
};

/* One filled options struct; equal ones are one. conf_open() and conf_close() are called with
 * it, once each. */
struct site_conf {
    const struct weir_module *module;
    const struct weir_handler *handler;
    void *conf;                        /* handler->options.conf_bytes; never NULL */
    const struct config_value *merged; /* NULL: nothing but presets */
    const struct config_value *where;  /* the entry that first asked for it */
};

/* One entry of an effective `use` or `handle` list. */
struct site_use {
    const struct site_conf *conf;
    struct weir_str name;                /* `as`, else the handler's */
    const struct config_value *where;    /* the entry that put it on the list */
    const struct config_value *final_at; /* NULL: may be changed further in */
    const struct config_value *merged;
};

struct site_uses {
    const struct site_use *items;
    size_t count;
};

struct site_route {
    uint32_t id;                     /* its index in the server's routes */
    struct weir_str name;            /* given, or its first pattern, or "*" */
    const struct site_route *parent; /* NULL: of the server */
    bool is_internal;                /* it or one around it: only internal requests get there */
    const struct config_value *where;
    struct site_settings settings;
    struct site_uses uses;   /* all layers summed */
    struct site_uses handle; /* empty: 404; inherited from the parent when it has none */
};

struct site_listener;

struct site_server {
    struct weir_str name; /* given, or its first host, or "" */
    const struct config_value *where;
    const struct host_pattern *hosts;
    size_t hosts_count; /* 0: any host */
    struct site_settings settings;
    struct site_uses uses; /* without the routes' */
    const struct route_table *table;
    const struct site_route *routes;
    size_t routes_count;
    bool has_tls;
};

struct site_listener {
    struct weir_str name;    /* .len 0: only given as an address */
    struct weir_str address; /* as written */
    struct addr addr;
    mode_t mode;
    int backlog;
    bool takes_proxy; /* its peers say for whom they speak (net/proxy_protocol.h) */
    const struct config_value *where; /* the listener, or the `listen` that gave the address */
    struct site_settings settings;
    struct site_uses uses; /* of the whole document and the listener: connection hooks */
    const struct site_server *const *servers; /* in file order */
    size_t servers_count;

    /* site_server_find()'s. */
    struct map exact, suffixes; /* name, or ".suffix", to struct site_server */
    const struct site_server *any;
};

struct site_module {
    const struct weir_module *module;
    const void *options;              /* NULL when the module has none */
    const struct config_value *given; /* its options as written; NULL: none */
    const struct config_value *where;
};

struct site {
    struct arena arena; /* all of it */
    const struct config_value *document;
    struct site_workers workers;
    struct site_log log;
    struct site_control control;
    const struct site_pool *pools;
    size_t pools_count;
    const struct upstream_settings *upstreams;
    size_t upstreams_count;
    const struct site_module *modules;
    size_t modules_count;
    struct site_listener *const *listeners;
    size_t listeners_count;
    struct site_conf *const *confs;
    size_t confs_count;
    struct template_extras extras; /* variables of modules */
    bool keeps_bodies; /* a limits.body_buffer is given: workers.temp_dir is needed */
    const struct weir_str *log_files; /* values of type WEIR_TYPE_LOG, absolute, each once */
    size_t log_files_count;
    struct zone_list zones; /* that modules declare */
};

/* What follows when a worker crashes in a module: the key `on_crash`. */
enum site_crash_policy {
    SITE_CRASH_RESTART, /* another takes its place */
    SITE_CRASH_STOP,    /* the server stops */
};

/* The sections about the process itself, which no module has a part in. */
struct site_process {
    struct site_workers workers;
    struct site_log log;
    struct site_control control;
};

/* Reads and checks the configuration in `file`: everything that can be known without binding,
 * opening or starting anything. Mistakes go to `diagnostics`. Returns 0 and sets *out when
 * there is no error (there may be warnings); -EINVAL when there is; -ENOMEM. */
WEIR_MUST_USE int site_load(const char *file, struct diagnostics *diagnostics,
        struct site **out);

/* The same from a bundle (config/intake.h), borrowed: what its maker read, under the names and
 * places of its files. -EPROTO when it is no bundle. */
WEIR_MUST_USE int site_load_bundle(int fd, struct diagnostics *diagnostics, struct site **out);

/* The same for a text; `name` stands for the file in reports and relative paths. */
WEIR_MUST_USE int site_load_text(const char *name, struct weir_str text,
        struct diagnostics *diagnostics, struct site **out);

/* Reads `workers`, `log` and `control` alone, into `arena`, without loading anything. Mistakes
 * go to `diagnostics`. Returns 0; -EINVAL when there were errors; -ENOMEM. */
WEIR_MUST_USE int site_read_process(const struct config_value *document, struct arena *arena,
        struct diagnostics *diagnostics, struct site_process *out);

/* The entry of `modules` that declares `name`: its name, or the string that it is; NULL: none.
 * And what that entry says of crashes. Of a document that was checked. */
const struct config_value *site_find_module(const struct config_value *document,
        struct weir_str name);
enum site_crash_policy site_crash_policy(const struct config_value *document,
        struct weir_str module);

void site_free(struct site *site); /* NULL: nothing. conf_close() is the caller's */

/* The server for a host (as host_name() writes it; empty: none was sent) among those of the
 * listener: exact, then the longest suffix, then the one without host. NULL: answer 421. */
const struct site_server *site_server_find(const struct site_listener *listener,
        struct weir_str host);

/* The route of a request to the server; NULL: 404 with the server's own hooks. */
const struct site_route *site_route_find(const struct site_server *server,
        const struct route_request *request, struct route_match *match);

/* Handlers and keys that CONFIG.md settles and no part of this build brings. */
bool site_is_settled_handler(struct weir_str name);

/* The tables of the document's own keys, for its schema. */
struct site_level {
    const char *name; /* "top", "workers", ... */
    const struct weir_options *options;
};
extern const struct site_level site_levels[];
extern const size_t site_levels_count;

#endif
