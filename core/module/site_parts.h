/* SPDX-License-Identifier: MIT */
/* What the parts of a site's making share. Private to site*.c:
 *
 *     site.c            the order of things
 *     site_process.c    workers, pools, log, control
 *     site_settings.c   limits, timeouts, trust and levels, layer by layer
 *     site_listeners.c  addresses, listeners, who answers there by host
 *     site_servers.c    servers and routes, as written and put together
 *
 * Reports never stop the work: all mistakes of a run are found. Memory running out does. */
#ifndef WEIR_MODULE_SITE_PARTS_H
#define WEIR_MODULE_SITE_PARTS_H

#include "config/schema.h"
#include "module/site.h"
#include "module/site_tables.h"
#include "module/site_uses.h"
#include "module/template_check.h"

/* A route of a server as written, before it is put together with its outer layers. */
struct site_plan_route {
    const struct config_value *where;
    uint32_t parent; /* index; UINT32_MAX: the server */
};

/* A server as written. */
struct site_plan {
    const struct config_value *where;
    struct weir_str name;
    const struct host_pattern *hosts;
    const struct config_value **host_values; /* of each, for reports */
    size_t hosts_count;
    const struct route_table *table;
    struct site_plan_route *routes; /* parents before their children */
    size_t routes_count;
    bool has_tls;
};

/* What a listener's connections inherit: the document's defaults and the listener's own. */
struct site_layer {
    struct site_settings settings;
    struct site_uses uses;
};

struct site_member {
    const struct site_plan *plan;
    const struct site_server *server;
    const struct config_value *listen; /* the entry of its `listen` */
};

/* A listener while its servers are gathered. */
struct site_gathering {
    struct site_listener *listener;
    const struct site_layer *layer;
    struct site_member *members; /* owned */
    size_t count, room;
};

struct site_builder {
    struct site *site;
    struct schema schema;
    struct uses_builder uses;
    struct template_check templates;
    struct site_layer defaults;
    struct site_gathering **gatherings; /* owned */
    size_t count, room;
    struct map by_address, by_name; /* to struct site_gathering */
};

/* Remembers that memory ran out; false. */
bool site_no_memory(struct site_builder *builder);

/* `count` cleared elements of the configuration's; NULL without memory, which is remembered. */
void *site_array(struct site_builder *builder, size_t count, size_t bytes);

void site_build_process(struct site_builder *builder);
void site_build_pools(struct site_builder *builder);
void site_name_upstreams(struct site_builder *builder); /* whom modules may name */
void site_build_upstreams(struct site_builder *builder);
void site_check_eject(struct site_builder *builder, const struct config_value *upstream,
        const struct eject_settings *eject);

/* The keys `balance` and `sticky` of an upstream; templates may have variables of modules. */
void site_read_balance(struct site_builder *builder, const struct config_value *upstream,
        struct upstream_settings *out);
void site_read_sticky(struct site_builder *builder, const struct config_value *upstream,
        struct upstream_settings *out);

void site_read_health(struct site_builder *builder, const struct config_value *upstream,
        struct health_settings *out);

/* Whether the text is host:port with a name for a host, or srv:name, when *port is 0. */
bool site_is_name(struct weir_str text, struct weir_str *host, uint16_t *port);
bool site_read_name(struct site_builder *builder, struct weir_str host, uint16_t port,
        struct upstream_target_settings *out);
void site_read_resolve(struct site_builder *builder, const struct config_value *upstream,
        const struct resolve_conf *conf, struct name_settings *out);
void site_build_defaults(struct site_builder *builder);
void site_build_listeners(struct site_builder *builder);
void site_build_servers(struct site_builder *builder);

/* Enters what was gathered into site->listeners, with hosts. */
void site_finish_listeners(struct site_builder *builder);

/* Overlays the settings with those of one layer (an object; NULL: none). */
void site_merge_settings(struct site_builder *builder, const struct config_value *layer,
        enum site_scope level, bool has_trust, bool has_log, struct site_settings *settings);

/* Reads an address; a relative Unix path is seen from the file. False after a report. */
bool site_read_address(struct site_builder *builder, const struct config_value *value,
        struct addr *out);

/* The listener that an entry of `listen` means; NULL after a report. */
struct site_gathering *site_find_listener(struct site_builder *builder,
        const struct config_value *value);

#endif
