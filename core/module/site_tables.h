/* SPDX-License-Identifier: MIT */
/* The keys of the document itself (CONFIG.md, "Shape" and "Keys that are settled"), as option
 * tables like any module's. */
#ifndef WEIR_MODULE_SITE_TABLES_H
#define WEIR_MODULE_SITE_TABLES_H

#include "module/site.h"

/* From where on inwards a key of `limits` and `timeouts` may no longer stand. */
enum site_scope {
    SITE_SCOPE_LISTENER, /* decided before a server is known: defaults and listeners */
    SITE_SCOPE_SERVER,   /* decided before a route is known: servers too */
    SITE_SCOPE_ROUTE,    /* everywhere */
};

enum site_scope site_scope_of(const char *group, struct weir_str key);

/* `limits` as the file has it: the rate becomes bytes a second. */
struct limits_conf {
    struct http_limits http;
    struct weir_rate body_rate;
};

struct module_conf {
    int on_crash; /* enum site_crash_policy */
};

struct listener_conf {
    struct weir_str mode;
    int64_t backlog;
    bool proxy_protocol;
};

/* Of one of `upstreams`, as the file has it: where `balance` is an object, and `sticky`. */
struct balance_conf {
    const struct weir_template *hash;
    int64_t bound; /* percent; -1: none */
};

enum site_same_site {
    SITE_SAME_SITE_LAX,
    SITE_SAME_SITE_STRICT,
    SITE_SAME_SITE_NONE,
};

struct sticky_conf {
    struct weir_str cookie, path, secret;
    uint64_t max_age_ns; /* UINT64_MAX: none */
    bool http_only, secure;
    int same_site; /* enum site_same_site */
};

struct upstream_timeouts_conf {
    uint64_t connect_ns, send_ns, read_ns, queue_ns, keepalive_ns;
};

/* `retry`; the lists hold WEIR_RETRY_... */
struct upstream_retry_conf {
    uint64_t times;
    struct weir_list on; /* int */
    int64_t budget;      /* percent; -1: no bound */
    struct weir_rate floor;
};

struct resolve_conf {
    struct weir_list servers; /* of struct weir_str */
    uint64_t timeout_ns, ttl_min_ns, ttl_max_ns;
    int family; /* enum name_family */
};

struct upstream_conf {
    uint64_t slow_start_ns;
    uint64_t keepalive, connections, queue_size;
    int proxy_protocol; /* enum proxy_version */
    int all_out;        /* 1: requests are refused then */
    struct upstream_timeouts_conf timeouts;
    struct eject_settings eject;
    struct upstream_retry_conf retry;
    struct resolve_conf resolve;
};

struct target_conf {
    int64_t weight;
    bool backup;
};

extern const struct weir_options site_top_options, site_workers_options, site_pool_options,
        site_upstream_options, site_upstream_timeouts_options, site_upstream_eject_options,
        site_upstream_retry_options, site_resolve_options, site_balance_options,
        site_sticky_options, site_upstream_health_options, site_upstream_expect_options,
        site_target_options, site_log_options, site_log_level_options, site_control_options,
        site_module_options, site_defaults_options, site_listener_options, site_server_options,
        site_route_options, site_limits_options, site_timeouts_options, site_trust_options;

#endif
