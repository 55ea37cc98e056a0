/* SPDX-License-Identifier: MIT */
/* A server is read once, as it is written, and put together once for each set of outer layers
 * through which it is reached. */
#include <stdio.h>
#include <stdlib.h>

#include "module/site_parts.h"

/* Servers as written */

static void
read_hosts(struct site_builder *builder, const struct config_value *value,
        struct site_plan *plan)
{
    if (value == NULL || value->kind == CONFIG_NULL) {
        return;
    }
    const struct config_value *list = schema_as_list(&builder->schema, value);
    struct host_pattern *hosts = list == NULL
            ? NULL
            : site_array(builder, list->count, sizeof(*hosts));
    plan->host_values = list == NULL
            ? NULL
            : site_array(builder, list->count, sizeof(*plan->host_values));
    if (hosts == NULL || plan->host_values == NULL) {
        return;
    }
    if (list->count == 0) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_EMPTY,
                value, "an empty list of hosts matches none");
        diagnostic_hint(d, "leave \"host\" out to take every name");
    }
    for (uint32_t i = 0; i < list->count; i++) {
        if (host_pattern_read(&builder->schema, list->items[i], &hosts[plan->hosts_count])) {
            plan->host_values[plan->hosts_count++] = list->items[i];
        }
    }
    plan->hosts = hosts;
}

static size_t
count_routes(const struct config_value *list, unsigned depth)
{
    size_t count = 0;
    if (list == NULL || list->kind != CONFIG_LIST || depth >= ROUTE_DEPTH_MAX) {
        return 0;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i]->kind == CONFIG_OBJECT) {
            count += 1 + count_routes(config_find_name(list->items[i], "routes"), depth + 1);
        }
    }
    return count;
}

/* Flattens the routes below `list` into plan->routes and makes their rules. */
static const struct route_rule *
plan_routes(struct site_builder *builder, struct site_plan *plan,
        const struct config_value *list, uint32_t parent, unsigned depth, size_t *count)
{
    *count = 0;
    if (list == NULL || list->kind == CONFIG_NULL) {
        return NULL;
    }
    if (!schema_expect_list(&builder->schema, list, "\"routes\"")) {
        return NULL;
    }
    if (depth == ROUTE_DEPTH_MAX) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_DEPTH, list,
                "routes are nested more than %d deep", ROUTE_DEPTH_MAX);
        return NULL;
    }
    struct route_rule *rules = site_array(builder, list->count, sizeof(*rules));
    for (uint32_t i = 0; rules != NULL && i < list->count && !builder->schema.no_memory; i++) {
        const struct config_value *where = list->items[i];
        if (!schema_expect_object(&builder->schema, where, "a route")) {
            continue;
        }
        schema_check_keys(&builder->schema, &site_route_options, where);
        const struct config_value *internal = config_find_name(where, "internal");
        struct route_rule *rule = &rules[(*count)++];
        *rule = (struct route_rule){ .id = (uint32_t)plan->routes_count,
            .where = where,
            .match = config_find_name(where, "match") };
        if (internal != NULL && internal->kind != CONFIG_NULL) {
            (void)!schema_expect_bool(&builder->schema, internal, "\"internal\"",
                    &rule->is_internal);
        }
        plan->routes[plan->routes_count++] = (struct site_plan_route){ where, parent };
        rule->children = plan_routes(builder, plan, config_find_name(where, "routes"), rule->id,
                depth + 1, &rule->children_count);
    }
    return rules;
}

static struct weir_str
read_name(struct site_builder *builder, const struct config_value *where, const char *what)
{
    struct weir_str name = weir_str_make("", 0);
    const struct config_value *value = config_find_name(where, "name");
    if (value == NULL || value->kind == CONFIG_NULL ||
            !schema_expect_string(&builder->schema, value, what, &name)) {
        return weir_str_make("", 0);
    }
    if (name.len == 0 || name.len > 128) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_NAME_FORM, value,
                name.len == 0 ? "an empty name" : "a name has at most 128 bytes");
    }
    return name;
}

static struct site_plan *
plan_server(struct site_builder *builder, const struct config_value *where)
{
    struct site_plan *plan = site_array(builder, 1, sizeof(*plan));
    if (plan == NULL) {
        return NULL;
    }
    schema_check_keys(&builder->schema, &site_server_options, where);
    plan->where = where;
    plan->name = read_name(builder, where, "a server's name");
    const struct config_value *tls = config_find_name(where, "tls");
    plan->has_tls = tls != NULL && tls->kind != CONFIG_FALSE && tls->kind != CONFIG_NULL;
    read_hosts(builder, config_find_name(where, "host"), plan);
    if (plan->name.len == 0 && plan->hosts_count > 0) {
        plan->name = plan->hosts[0].name;
    }
    const struct config_value *routes = config_find_name(where, "routes");
    plan->routes = site_array(builder, count_routes(routes, 0), sizeof(*plan->routes));
    if (plan->routes == NULL) {
        return NULL;
    }
    size_t count;
    const struct route_rule *rules = plan_routes(builder, plan, routes, UINT32_MAX, 0, &count);
    if (!builder->schema.no_memory) {
        plan->table = route_table_new(&builder->schema, rules, count);
    }
    return plan;
}

/* Servers put together */

static struct weir_str
route_name(struct site_builder *builder, const struct config_value *where)
{
    struct weir_str name = read_name(builder, where, "a route's name");
    if (name.len > 0) {
        return name;
    }
    const struct config_value *match = config_find_name(where, "match");
    while (match != NULL && match->kind != CONFIG_STRING) {
        if (match->kind == CONFIG_LIST && match->count > 0) {
            match = match->items[0];
        } else {
            const struct config_value *path = config_find_name(match, "path");
            match = path != NULL ? path : config_find_name(match, "path_regex");
        }
    }
    return match == NULL || match->string.len == 0 ? WEIR_STR("*") : match->string;
}

static void
build_route(struct site_builder *builder, const struct site_plan_route *plan,
        struct site_route *routes, uint32_t id, const struct site_server *server)
{
    struct site_route *route = &routes[id];
    const struct config_value *where = plan->where;
    const struct site_route *parent = plan->parent == UINT32_MAX ? NULL : &routes[plan->parent];
    const struct config_value *internal = config_find_name(where, "internal");
    *route = (struct site_route){ .id = id,
        .name = route_name(builder, where),
        .parent = parent,
        .is_internal = (parent != NULL && parent->is_internal) ||
                (internal != NULL && internal->kind == CONFIG_TRUE),
        .where = where,
        .settings = parent != NULL ? parent->settings : server->settings,
        .uses = parent != NULL ? parent->uses : server->uses };
    site_merge_settings(builder, where, SITE_SCOPE_ROUTE, false, true, &route->settings);
    uses_apply(&builder->uses, config_find_name(where, "use"), USES_ROUTE, &route->uses);
    uses_finish(&builder->uses, &route->uses);
    const struct config_value *handle = config_find_name(where, "handle");
    if (handle != NULL && handle->kind != CONFIG_NULL) {
        uses_handle(&builder->uses, handle, &route->handle);
    } else if (parent != NULL) {
        route->handle = parent->handle;
    }
    template_check_route(&builder->templates, server, route);
    template_check_match(&builder->templates, server, config_find_name(where, "match"));
}

static struct site_server *
build_server(struct site_builder *builder, const struct site_plan *plan,
        const struct site_layer *layer)
{
    struct site_server *server = site_array(builder, 1, sizeof(*server));
    struct site_route *routes = site_array(builder, plan->routes_count, sizeof(*routes));
    if (server == NULL || routes == NULL) {
        return NULL;
    }
    *server = (struct site_server){ .name = plan->name,
        .where = plan->where,
        .hosts = plan->hosts,
        .hosts_count = plan->hosts_count,
        .settings = layer->settings,
        .uses = layer->uses,
        .table = plan->table,
        .routes = routes,
        .routes_count = plan->routes_count,
        .has_tls = plan->has_tls };
    site_merge_settings(builder, plan->where, SITE_SCOPE_SERVER, true, true, &server->settings);
    uses_apply(&builder->uses, config_find_name(plan->where, "use"), USES_SERVER,
            &server->uses);
    uses_finish(&builder->uses, &server->uses);
    for (uint32_t id = 0; id < plan->routes_count && !builder->schema.no_memory; id++) {
        build_route(builder, &plan->routes[id], routes, id, server);
    }
    if (plan->routes_count == 0) {
        template_check_route(&builder->templates, server, NULL);
    }
    return server;
}

static bool
add_member(struct site_builder *builder, struct site_gathering *gathering,
        const struct site_member *member)
{
    if (gathering->count == gathering->room) {
        size_t room = gathering->room * 2 + 4;
        struct site_member *members = realloc(gathering->members, room * sizeof(*members));
        if (members == NULL) {
            return site_no_memory(builder);
        }
        gathering->members = members;
        gathering->room = room;
    }
    gathering->members[gathering->count++] = *member;
    return true;
}

/* The server as `gathering` reaches it: one for each layer, made when first needed. */
struct instance {
    const struct site_layer *layer;
    const struct site_server *server;
};

static void
join_listener(struct site_builder *builder, const struct site_plan *plan,
        const struct config_value *listen, struct instance *instances, size_t *count)
{
    struct site_gathering *gathering = site_find_listener(builder, listen);
    if (gathering == NULL) {
        return;
    }
    if (gathering->count > 0 && gathering->members[gathering->count - 1].plan == plan) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_ADDRESS_TWICE, listen, "the server listens here already");
        diagnostic_other(d, &gathering->members[gathering->count - 1].listen->place,
                "given here");
        return;
    }
    const struct site_server *server = NULL;
    for (size_t i = 0; i < *count; i++) {
        server = instances[i].layer == gathering->layer ? instances[i].server : server;
    }
    if (server == NULL) {
        server = build_server(builder, plan, gathering->layer);
        instances[(*count)++] = (struct instance){ gathering->layer, server };
    }
    if (server != NULL) {
        add_member(builder, gathering, &(struct site_member){ plan, server, listen });
    }
}

/* How many instances of the server there are in the end. */
static size_t
join_listeners(struct site_builder *builder, const struct site_plan *plan,
        const struct config_value *listen)
{
    const struct config_value *list = schema_as_list(&builder->schema, listen);
    struct instance *instances = list == NULL
            ? NULL
            : site_array(builder, list->count, sizeof(*instances));
    size_t count = 0;
    if (instances == NULL) {
        return 0;
    }
    if (list->count == 0) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_EMPTY, listen,
                "an empty list of addresses");
    }
    for (uint32_t i = 0; i < list->count && !builder->schema.no_memory; i++) {
        join_listener(builder, plan, list->items[i], instances, &count);
    }
    return count;
}

static void
build_one_server(struct site_builder *builder, const struct config_value *where)
{
    if (!schema_expect_object(&builder->schema, where, "a server")) {
        return;
    }
    const struct site_plan *plan = plan_server(builder, where);
    if (plan == NULL) {
        return;
    }
    size_t count = 0;
    const struct config_value *listen = config_find_name(where, "listen");
    if (listen != NULL && listen->kind != CONFIG_NULL) {
        count = join_listeners(builder, plan, listen);
    } else {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_REQUIRED,
                where, "\"listen\" is missing");
        diagnostic_note(d, "a server listens somewhere");
        diagnostic_hint(d, "add \"listen\": \":8080\"");
    }
    if (count == 0 && !builder->schema.no_memory) {
        /* Nobody reaches it; its mistakes are mistakes all the same. */
        (void)!build_server(builder, plan, &builder->defaults);
    }
}
void
site_build_servers(struct site_builder *builder)
{
    const struct config_value *document = builder->site->document;
    const struct config_value *servers = config_find_name(document, "servers");
    if (servers == NULL || servers->kind == CONFIG_NULL) {
        struct config_value front = *document;
        front.place.length = 1;
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_REQUIRED,
                &front, "\"servers\" is missing");
        diagnostic_hint(d, "add \"servers\": [{ \"listen\": \":8080\", \"routes\": [...] }]");
        return;
    }
    if (!schema_expect_list(&builder->schema, servers, "\"servers\"")) {
        return;
    }
    if (servers->count == 0) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_EMPTY, servers,
                "there is no server");
    }
    for (uint32_t i = 0; i < servers->count && !builder->schema.no_memory; i++) {
        build_one_server(builder, servers->items[i]);
    }
}
