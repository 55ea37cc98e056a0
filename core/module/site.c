/* SPDX-License-Identifier: MIT */
/* From a document to a site, in this order: the process's own keys, modules, what all inherit,
 * listeners, servers with their routes; then each server is put together once for each set of
 * outer layers through which it is reached, and entered with its hosts at its listeners.
 *
 * Reports never stop the work: all mistakes of a run are found. Memory running out does. */
#include "module/site.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/document.h"
#include "config/resolve.h"
#include "config/schema.h"
#include "http/field.h"
#include "module/loader.h"
#include "module/site_logs.h"
#include "module/site_tables.h"
#include "module/site_uses.h"
#include "module/template_check.h"

#define ARENA_MAX_BYTES ((size_t)512 << 20)

/* A route of a server as written, before it is put together with its outer layers. */
struct plan_route {
    const struct config_value *where;
    uint32_t parent; /* index; UINT32_MAX: the server */
};

/* A server as written. */
struct plan {
    const struct config_value *where;
    struct weir_str name;
    const struct host_pattern *hosts;
    const struct config_value **host_values; /* of each, for reports */
    size_t hosts_count;
    const struct route_table *table;
    struct plan_route *routes; /* parents before their children */
    size_t routes_count;
    bool has_tls;
};

/* What a listener's connections inherit: the document's defaults and the listener's own. */
struct layer {
    struct site_settings settings;
    struct site_uses uses;
};

struct member {
    const struct plan *plan;
    const struct site_server *server;
    const struct config_value *listen; /* the entry of its `listen` */
};

/* A listener while its servers are gathered. */
struct gathering {
    struct site_listener *listener;
    const struct layer *layer;
    struct member *members; /* owned */
    size_t count, room;
};

struct builder {
    struct site *site;
    struct schema schema;
    struct uses_builder uses;
    struct template_check templates;
    struct layer defaults;
    struct gathering **gatherings; /* owned */
    size_t count, room;
    struct map by_address, by_name; /* to struct gathering */
};

static bool
out_of_memory(struct builder *builder)
{
    builder->schema.no_memory = true;
    return false;
}

static void *
allocate(struct builder *builder, size_t count, size_t bytes)
{
    void *memory = arena_array(builder->schema.arena, count, bytes);
    builder->schema.no_memory |= memory == NULL;
    return memory;
}

/* Sections of the process */

static void
fill_section(struct builder *builder, const char *key, const struct weir_options *options,
        void *conf)
{
    char what[64];
    const struct config_value *value = config_find_name(builder->site->document, key);
    snprintf(what, sizeof(what), "\"%s\"", key);
    if (value != NULL && value->kind != CONFIG_NULL &&
            !schema_expect_object(&builder->schema, value, what)) {
        value = NULL;
    }
    schema_fill(&builder->schema, options, value, value, conf);
}

static void
check_pool(struct builder *builder, const struct config_value *where,
        const struct site_pool *pool)
{
    const struct config_value *max = config_find_name(where, "max");
    bool is_zero = max != NULL && /* anything else that became zero was refused */
            (max->kind == CONFIG_INTEGER ? max->integer == 0
                                         : max->kind == CONFIG_STRING && max->is_expanded &&
                                    weir_str_eq(max->string, WEIR_STR("0")));
    if (is_zero) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_ZERO, max,
                "\"max\" cannot be zero");
        diagnostic_hint(d, "\"no limit\" is written false");
    } else if (pool->max > 0 && pool->max < pool->min) {
        const struct config_value *min = config_find_name(where, "min");
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_RANGE,
                max != NULL           ? max
                        : min != NULL ? min
                                      : where,
                "\"max\" (%lld) is less than \"min\" (%lld)", (long long)pool->max,
                (long long)pool->min);
        diagnostic_hint(d, "make \"max\" at least \"min\"");
    }
}

static void
build_pools(struct builder *builder)
{
    const struct config_value *value = config_find_name(builder->site->document, "pools");
    if (value != NULL && !schema_expect_object(&builder->schema, value, "\"pools\"")) {
        value = NULL;
    }
    builder->schema.pools = value;
    size_t count = value == NULL ? 0 : value->count;
    struct site_pool *pools = allocate(builder, count + 1, sizeof(*pools));
    if (pools == NULL) {
        return;
    }
    size_t made = 0;
    bool has_default = false;
    for (size_t i = 0; i < count; i++) {
        const struct config_member *member = &value->members[i];
        if (config_is_note(member->key)) {
            continue;
        }
        if (!loader_is_name(member->key)) {
            struct diagnostic *d = config_key_mistake(builder->schema.diagnostics,
                    DIAGNOSTIC_NAME_FORM, member->value, "\"%.*s\" is no name for a pool",
                    (int)(member->key.len < 100 ? member->key.len : 100), member->key.ptr);
            diagnostic_note(d, "letters, digits, _ and -; at most 64");
            continue;
        }
        if (!schema_expect_object(&builder->schema, member->value, "a pool")) {
            continue;
        }
        pools[made].name = member->key;
        has_default |= weir_str_eq(member->key, WEIR_STR("default"));
        schema_fill(&builder->schema, &site_pool_options, member->value, member->value,
                &pools[made]);
        check_pool(builder, member->value, &pools[made]);
        made++;
    }
    if (!has_default) {
        pools[made].name = WEIR_STR("default");
        schema_fill(&builder->schema, &site_pool_options, NULL, NULL, &pools[made++]);
    }
    builder->site->pools = pools;
    builder->site->pools_count = made;
}

/* Reads an address; a relative Unix path is seen from the file. False after a report. */
static bool
read_address(struct builder *builder, const struct config_value *value, struct addr *out)
{
    struct weir_str text = value->string;
    const struct weir_str prefix = WEIR_STR("unix:");
    const char *why = "";
    if (weir_str_starts_with(text, prefix) && text.len > prefix.len &&
            text.ptr[prefix.len] != '/' && value->place.source != NULL) {
        struct weir_str path = resolve_path(builder->schema.arena, value->place.source,
                weir_str_make(text.ptr + prefix.len, text.len - prefix.len));
        char *whole = path.ptr == NULL
                ? NULL
                : arena_alloc(builder->schema.arena, prefix.len + path.len + 1);
        if (whole == NULL) {
            return out_of_memory(builder);
        }
        memcpy(whole, prefix.ptr, prefix.len);
        memcpy(whole + prefix.len, path.ptr, path.len);
        text = weir_str_make(whole, prefix.len + path.len);
    }
    if (addr_parse(text, out, &why) == 0) {
        return true;
    }
    struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_ADDRESS,
            value, "\"%.*s\" is no address",
            (int)(value->string.len < 200 ? value->string.len : 200), value->string.ptr);
    diagnostic_note(d, "%s", why);
    diagnostic_hint(d,
            "\":8080\", \"127.0.0.1:8080\", \"[::1]:8080\", \"unix:/path\" or \"@name\"");
    return false;
}

static void
build_control(struct builder *builder)
{
    fill_section(builder, "control", &site_control_options, &builder->site->control);
    const struct config_value *listen =
            config_find_name(config_find_name(builder->site->document, "control"), "listen");
    if (listen != NULL && listen->kind == CONFIG_STRING) {
        (void)!read_address(builder, listen, &builder->site->control.addr);
    }
}

/* What is inherited key by key */

static void
check_scope(struct builder *builder, const char *group, const struct config_value *object,
        enum site_scope level)
{
    for (uint32_t i = 0; object->kind == CONFIG_OBJECT && i < object->count; i++) {
        const struct config_member *member = &object->members[i];
        enum site_scope scope = site_scope_of(group, member->key);
        if (scope >= level) {
            continue;
        }
        struct diagnostic *d = config_key_mistake(builder->schema.diagnostics, DIAGNOSTIC_SCOPE,
                member->value, "\"%.*s\" cannot be set on a %s", WEIR_STR_ARG(member->key),
                level == SITE_SCOPE_SERVER ? "server" : "route");
        if (scope == SITE_SCOPE_LISTENER) {
            diagnostic_note(d, "it counts before a server is known");
            diagnostic_hint(d, "put it in \"defaults\" or a listener");
        } else {
            diagnostic_note(d, "it counts before a route is known");
            diagnostic_hint(d, "put it in \"defaults\", a listener or a server");
        }
    }
}

/* Overlays *from with the member `group` of `layer`. True when that changed it. */
static bool
merge_group(struct builder *builder, const struct config_value *layer, const char *group,
        const struct weir_options *options, enum site_scope level,
        const struct config_value **from)
{
    char what[32];
    const struct config_value *value = config_find_name(layer, group);
    snprintf(what, sizeof(what), "\"%s\"", group);
    if (value == NULL || value->kind == CONFIG_NULL ||
            !schema_expect_object(&builder->schema, value, what)) {
        return false;
    }
    schema_check(&builder->schema, options, value);
    check_scope(builder, group, value, level);
    *from = schema_merge(&builder->schema, options, *from, value);
    return true;
}

static void
fill_limits(struct builder *builder, struct site_settings *settings)
{
    struct limits_conf conf = { .body_rate = { 0, 0 } };
    schema_fill(&builder->schema, &site_limits_options, settings->limits_from,
            settings->limits_from, &conf);
    settings->limits = conf.http;
    builder->site->keeps_bodies |= conf.http.body_buffer_bytes > 0;
    if (conf.body_rate.count == UINT64_MAX || conf.body_rate.per_ns == 0) {
        settings->limits.body_rate_bytes_per_s = 0;
    } else {
        uint64_t seconds = conf.body_rate.per_ns / NS_PER_S;
        uint64_t rate = conf.body_rate.count / (seconds == 0 ? 1 : seconds);
        settings->limits.body_rate_bytes_per_s = rate == 0 ? 1 : rate;
    }
}

static void
fill_trust(struct builder *builder, struct site_settings *settings)
{
    schema_fill(&builder->schema, &site_trust_options, settings->trust_from,
            settings->trust_from, &settings->trust);
    struct weir_str header = settings->trust.header;
    const struct config_value *value = config_find_name(settings->trust_from, "header");
    if (value != NULL && header.ptr != NULL && !field_name_is_valid(header)) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_NAME_FORM, value,
                "\"%.*s\" is no name of a header field",
                (int)(header.len < 200 ? header.len : 200), header.ptr);
    }
    for (size_t i = 0; value != NULL && header.ptr != NULL && i < header.len; i++) {
        char *c = (char *)(uintptr_t)&header.ptr[i]; /* our own copy */
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
}

static void
fill_log_level(struct builder *builder, struct site_settings *settings)
{
    struct site_log log = { .level = SITE_LOG_INFO };
    schema_fill(&builder->schema, &site_log_level_options, settings->log_from,
            settings->log_from, &log);
    settings->log_level = log.level;
}

/* Overlays the settings with those of one layer (an object; NULL: none). */
static void
merge_settings(struct builder *builder, const struct config_value *layer, enum site_scope level,
        bool has_trust, bool has_log, struct site_settings *settings)
{
    if (merge_group(builder, layer, "limits", &site_limits_options, level,
                &settings->limits_from)) {
        fill_limits(builder, settings);
    }
    if (merge_group(builder, layer, "timeouts", &site_timeouts_options, level,
                &settings->timeouts_from)) {
        schema_fill(&builder->schema, &site_timeouts_options, settings->timeouts_from,
                settings->timeouts_from, &settings->timeouts);
    }
    if (has_trust &&
            merge_group(builder, layer, "trust", &site_trust_options, SITE_SCOPE_ROUTE,
                    &settings->trust_from)) {
        fill_trust(builder, settings);
    }
    if (has_log &&
            merge_group(builder, layer, "log", &site_log_level_options, SITE_SCOPE_ROUTE,
                    &settings->log_from)) {
        fill_log_level(builder, settings);
    }
}

static void
build_defaults(struct builder *builder)
{
    struct site_settings *settings = &builder->defaults.settings;
    const struct config_value *value = config_find_name(builder->site->document, "defaults");
    fill_limits(builder, settings);
    schema_fill(&builder->schema, &site_timeouts_options, NULL, NULL, &settings->timeouts);
    fill_trust(builder, settings);
    settings->log_level = builder->site->log.level;

    /* The level of `log` itself is the outermost layer. */
    const struct config_value *level =
            config_find_name(config_find_name(builder->site->document, "log"), "level");
    if (level != NULL && level->kind == CONFIG_STRING) {
        struct config_value *log = config_object_new(builder->schema.arena, NULL, 1);
        if (log == NULL) {
            out_of_memory(builder);
            return;
        }
        config_object_add(log, WEIR_STR("level"), level);
        settings->log_from = log;
    }
    if (value == NULL || !schema_expect_object(&builder->schema, value, "\"defaults\"")) {
        return;
    }
    schema_check_keys(&builder->schema, &site_defaults_options, value);
    merge_settings(builder, value, SITE_SCOPE_LISTENER, true, true, settings);
    uses_apply(&builder->uses, config_find_name(value, "use"), USES_LISTENER,
            &builder->defaults.uses);
}

/* Listeners */

static struct gathering *
gathering_new(struct builder *builder)
{
    if (builder->count == builder->room) {
        size_t room = builder->room * 2 + 8;
        struct gathering **gatherings = realloc(builder->gatherings,
                room * sizeof(*gatherings));
        if (gatherings == NULL) {
            out_of_memory(builder);
            return NULL;
        }
        builder->gatherings = gatherings;
        builder->room = room;
    }
    struct gathering *gathering = allocate(builder, 1, sizeof(*gathering));
    struct site_listener *listener = allocate(builder, 1, sizeof(*listener));
    if (gathering == NULL || listener == NULL) {
        return NULL;
    }
    gathering->listener = listener;
    gathering->layer = &builder->defaults;
    listener->mode = 0660;
    listener->backlog = 1024;
    builder->gatherings[builder->count++] = gathering;
    return gathering;
}

/* The text under which an address is found again. */
static struct weir_str
address_key(struct builder *builder, const struct addr *addr)
{
    char text[ADDR_TEXT_BYTES];
    size_t len = addr_format(addr, text);
    struct weir_str key = arena_copy(builder->schema.arena, weir_str_make(text, len));
    builder->schema.no_memory |= key.ptr == NULL;
    return key;
}

/* The system chooses the port: each such address is another. */
static bool
is_any_port(const struct addr *addr)
{
    return addr->sa.sa_family != AF_UNIX && addr_port(addr) == 0;
}

/* Enters a new listener; false and a report when its address is taken. */
static bool
enter_address(struct builder *builder, struct gathering *gathering,
        const struct config_value *address)
{
    if (is_any_port(&gathering->listener->addr)) {
        return true;
    }
    struct weir_str key = address_key(builder, &gathering->listener->addr);
    if (key.ptr == NULL) {
        return false;
    }
    const struct gathering *taken = map_find(&builder->by_address, key);
    if (taken != NULL) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_ADDRESS_TWICE, address, "two listeners have the address \"%.*s\"",
                WEIR_STR_ARG(address->string));
        diagnostic_other(d, config_key_place(taken->listener->where), "the other listener");
        return false;
    }
    return map_set(&builder->by_address, key, gathering) == 0 || out_of_memory(builder);
}

static void
read_mode(struct builder *builder, const struct config_value *where, struct weir_str text,
        struct site_listener *listener)
{
    unsigned mode = 0;
    bool ok = text.len >= 3 && text.len <= 4;
    for (size_t i = 0; ok && i < text.len; i++) {
        ok = text.ptr[i] >= '0' && text.ptr[i] <= '7';
        mode = mode << 3 | ((unsigned)text.ptr[i] & 7u);
    }
    if (ok && mode <= 0777) {
        listener->mode = (mode_t)mode;
        return;
    }
    const struct config_value *value = config_find_name(where, "mode");
    if (value != NULL && value->kind == CONFIG_STRING) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_VALUE_FORM, value, "\"mode\": \"%.*s\" is no octal mode",
                (int)(text.len < 100 ? text.len : 100), text.ptr);
        diagnostic_hint(d, "write it as in chmod: \"0660\"");
    }
}

static void
build_listener(struct builder *builder, const struct config_member *member)
{
    const struct config_value *value = member->value;
    struct listener_conf conf = { .backlog = 0 };
    if (!loader_is_name(member->key)) {
        struct diagnostic *d = config_key_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_NAME_FORM, value, "\"%.*s\" is no name for a listener",
                (int)(member->key.len < 100 ? member->key.len : 100), member->key.ptr);
        diagnostic_note(d, "letters, digits, _ and -; at most 64");
        return;
    }
    if (!schema_expect_object(&builder->schema, value, "a listener")) {
        return;
    }
    struct gathering *gathering = gathering_new(builder);
    struct layer *layer = allocate(builder, 1, sizeof(*layer));
    if (gathering == NULL || layer == NULL) {
        return;
    }
    struct site_listener *listener = gathering->listener;
    listener->name = member->key;
    listener->where = value;
    schema_fill(&builder->schema, &site_listener_options, value, value, &conf);
    listener->backlog = (int)conf.backlog;
    read_mode(builder, value, conf.mode, listener);
    *layer = builder->defaults;
    merge_settings(builder, value, SITE_SCOPE_LISTENER, true, false, &layer->settings);
    uses_apply(&builder->uses, config_find_name(value, "use"), USES_LISTENER, &layer->uses);
    if (config_find_name(value, "limits") != NULL || config_find_name(value, "use") != NULL ||
            config_find_name(value, "timeouts") != NULL ||
            config_find_name(value, "trust") != NULL) {
        gathering->layer = layer;
    }
    if (map_set(&builder->by_name, member->key, gathering) < 0) {
        out_of_memory(builder);
        return;
    }
    const struct config_value *address = config_find_name(value, "address");
    if (address == NULL || address->kind == CONFIG_NULL) {
        struct diagnostic *d = config_key_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_REQUIRED, value, "\"address\" is missing");
        diagnostic_note(d, "a listener has an address");
    } else if (schema_expect_string(&builder->schema, address, "\"address\"",
                       &listener->address) &&
            read_address(builder, address, &listener->addr)) {
        (void)!enter_address(builder, gathering, address);
    }
}

static void
build_listeners(struct builder *builder)
{
    const struct config_value *value = config_find_name(builder->site->document, "listeners");
    if (value == NULL || !schema_expect_object(&builder->schema, value, "\"listeners\"")) {
        return;
    }
    for (uint32_t i = 0; i < value->count && !builder->schema.no_memory; i++) {
        if (!config_is_note(value->members[i].key)) {
            build_listener(builder, &value->members[i]);
        }
    }
}

/* Servers as written */

static bool
is_address(struct weir_str text)
{
    return text.len > 0 && (text.ptr[0] == '@' || memchr(text.ptr, ':', text.len) != NULL);
}

static struct gathering *
report_no_listener(struct builder *builder, const struct config_value *value)
{
    struct suggestion suggestion;
    struct weir_str text = value->string;
    suggestion_init(&suggestion, text);
    for (size_t i = 0; i < builder->count; i++) {
        suggestion_offer(&suggestion, builder->gatherings[i]->listener->name);
    }
    struct diagnostic *d = config_mistake(builder->schema.diagnostics,
            DIAGNOSTIC_REFERENCE_UNKNOWN, value, "no listener is named \"%.*s\"",
            (int)(text.len < 100 ? text.len : 100), text.ptr);
    bool is_port = text.len > 0 && text.len <= 5;
    for (size_t i = 0; i < text.len; i++) {
        is_port = is_port && text.ptr[i] >= '0' && text.ptr[i] <= '9';
    }
    if (is_port) {
        diagnostic_hint(d, "write \":%.*s\" for the port", WEIR_STR_ARG(text));
    } else {
        suggestion_hint(&suggestion, d);
    }
    return NULL;
}

/* The listener that an entry of `listen` means; NULL after a report. */
static struct gathering *
find_listener(struct builder *builder, const struct config_value *value)
{
    struct addr addr;
    if (value->kind == CONFIG_INTEGER) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_TYPE,
                value, "\"listen\" takes addresses, this is %s", config_kind_text(value->kind));
        diagnostic_hint(d, "write \":%lld\" for the port", (long long)value->integer);
        return NULL;
    }
    struct weir_str text;
    if (!schema_expect_string(&builder->schema, value, "an address", &text)) {
        return NULL;
    }
    if (!is_address(text)) {
        struct gathering *named = map_find(&builder->by_name, text);
        return named != NULL ? named : report_no_listener(builder, value);
    }
    if (!read_address(builder, value, &addr)) {
        return NULL;
    }
    bool is_own = is_any_port(&addr);
    struct weir_str key = is_own ? WEIR_STR("") : address_key(builder, &addr);
    struct gathering *found = key.ptr == NULL || is_own ? NULL
                                                        : map_find(&builder->by_address, key);
    if (key.ptr == NULL || found != NULL) {
        return found;
    }
    struct gathering *gathering = gathering_new(builder);
    if (gathering == NULL || (!is_own && map_set(&builder->by_address, key, gathering) < 0)) {
        out_of_memory(builder);
        return NULL;
    }
    gathering->listener->addr = addr;
    gathering->listener->address = text;
    gathering->listener->where = value;
    return gathering;
}

static void
read_hosts(struct builder *builder, const struct config_value *value, struct plan *plan)
{
    if (value == NULL || value->kind == CONFIG_NULL) {
        return;
    }
    const struct config_value *list = schema_as_list(&builder->schema, value);
    struct host_pattern *hosts = list == NULL ? NULL
                                              : allocate(builder, list->count, sizeof(*hosts));
    plan->host_values = list == NULL
            ? NULL
            : allocate(builder, list->count, sizeof(*plan->host_values));
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
plan_routes(struct builder *builder, struct plan *plan, const struct config_value *list,
        uint32_t parent, unsigned depth, size_t *count)
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
    struct route_rule *rules = allocate(builder, list->count, sizeof(*rules));
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
        plan->routes[plan->routes_count++] = (struct plan_route){ where, parent };
        rule->children = plan_routes(builder, plan, config_find_name(where, "routes"), rule->id,
                depth + 1, &rule->children_count);
    }
    return rules;
}

static struct weir_str
read_name(struct builder *builder, const struct config_value *where, const char *what)
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

static struct plan *
plan_server(struct builder *builder, const struct config_value *where)
{
    struct plan *plan = allocate(builder, 1, sizeof(*plan));
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
    plan->routes = allocate(builder, count_routes(routes, 0), sizeof(*plan->routes));
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
route_name(struct builder *builder, const struct config_value *where)
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
build_route(struct builder *builder, const struct plan_route *plan, struct site_route *routes,
        uint32_t id, const struct site_server *server)
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
    merge_settings(builder, where, SITE_SCOPE_ROUTE, false, true, &route->settings);
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
build_server(struct builder *builder, const struct plan *plan, const struct layer *layer)
{
    struct site_server *server = allocate(builder, 1, sizeof(*server));
    struct site_route *routes = allocate(builder, plan->routes_count, sizeof(*routes));
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
    merge_settings(builder, plan->where, SITE_SCOPE_SERVER, true, true, &server->settings);
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
add_member(struct builder *builder, struct gathering *gathering, const struct member *member)
{
    if (gathering->count == gathering->room) {
        size_t room = gathering->room * 2 + 4;
        struct member *members = realloc(gathering->members, room * sizeof(*members));
        if (members == NULL) {
            return out_of_memory(builder);
        }
        gathering->members = members;
        gathering->room = room;
    }
    gathering->members[gathering->count++] = *member;
    return true;
}

/* The server as `gathering` reaches it: one for each layer, made when first needed. */
struct instance {
    const struct layer *layer;
    const struct site_server *server;
};

static void
join_listener(struct builder *builder, const struct plan *plan,
        const struct config_value *listen, struct instance *instances, size_t *count)
{
    struct gathering *gathering = find_listener(builder, listen);
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
        add_member(builder, gathering, &(struct member){ plan, server, listen });
    }
}

/* How many instances of the server there are in the end. */
static size_t
join_listeners(struct builder *builder, const struct plan *plan,
        const struct config_value *listen)
{
    const struct config_value *list = schema_as_list(&builder->schema, listen);
    struct instance *instances = list == NULL
            ? NULL
            : allocate(builder, list->count, sizeof(*instances));
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
build_one_server(struct builder *builder, const struct config_value *where)
{
    if (!schema_expect_object(&builder->schema, where, "a server")) {
        return;
    }
    const struct plan *plan = plan_server(builder, where);
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
static void
build_servers(struct builder *builder)
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

/* Hosts of a listener */

static const struct config_place *
host_place(const struct plan *plan, size_t i)
{
    return &plan->host_values[i]->place;
}

static void
report_same_host(struct builder *builder, const struct gathering *gathering,
        const struct member *member, size_t i)
{
    const struct host_pattern *host = &member->plan->hosts[i];
    struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_HOST_TWICE,
            member->plan->host_values[i],
            "another server has the host \"%s%.*s\" on this address",
            host->is_suffix ? "*" : "", WEIR_STR_ARG(host->name));
    if (d->owner == NULL) {
        return; /* one of so many that it is not shown: no search for its twin */
    }
    for (size_t m = 0; m < gathering->count; m++) {
        const struct plan *other = gathering->members[m].plan;
        for (size_t j = 0; j < other->hosts_count; j++) {
            if (&other->hosts[j] != host && other->hosts[j].is_suffix == host->is_suffix &&
                    weir_str_eq(other->hosts[j].name, host->name)) {
                diagnostic_other(d, host_place(other, j), "given here");
                return;
            }
        }
    }
}

static void
enter_hosts(struct builder *builder, const struct gathering *gathering,
        const struct member *member)
{
    struct site_listener *listener = gathering->listener;
    void *server = (void *)(uintptr_t)member->server;
    for (size_t i = 0; i < member->plan->hosts_count; i++) {
        const struct host_pattern *host = &member->plan->hosts[i];
        struct map *map = host->is_suffix ? &listener->suffixes : &listener->exact;
        if (map_find(map, host->name) != NULL) {
            report_same_host(builder, gathering, member, i);
        } else if (map_set(map, host->name, server) < 0) {
            out_of_memory(builder);
        }
    }
    if (config_find_name(member->plan->where, "host") != NULL) {
        return;
    }
    if (listener->any == NULL) {
        listener->any = member->server;
        return;
    }
    struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_HOST_TWICE,
            member->listen, "two servers without \"host\" on one address");
    for (size_t m = 0; m < gathering->count; m++) {
        if (gathering->members[m].server == listener->any) {
            diagnostic_other(d, &gathering->members[m].listen->place, "the other server");
        }
    }
    diagnostic_hint(d, "give one of them a host");
}

static void
check_tls(struct builder *builder, const struct gathering *gathering)
{
    for (size_t i = 1; i < gathering->count; i++) {
        const struct member *first = &gathering->members[0], *member = &gathering->members[i];
        if (member->plan->has_tls != first->plan->has_tls) {
            struct diagnostic *d = config_mistake(builder->schema.diagnostics,
                    DIAGNOSTIC_TLS_MIXED, member->listen,
                    "on one address all servers speak TLS or none");
            diagnostic_note(d, member->plan->has_tls ? "this one does" : "this one does not");
            diagnostic_other(d, &first->listen->place,
                    first->plan->has_tls ? "this one does" : "this one does not");
            return;
        }
    }
}

static void
drop_map(void *map)
{
    map_fini(map);
}

static void
finish_listener(struct builder *builder, const struct gathering *gathering)
{
    struct site_listener *listener = gathering->listener;
    map_init(&listener->exact);
    map_init(&listener->suffixes);
    if (arena_defer(builder->schema.arena, drop_map, &listener->exact) < 0 ||
            arena_defer(builder->schema.arena, drop_map, &listener->suffixes) < 0) {
        out_of_memory(builder);
        return;
    }
    const struct site_server **servers = allocate(builder, gathering->count, sizeof(*servers));
    if (servers == NULL) {
        return;
    }
    listener->settings = gathering->layer->settings;
    listener->uses = gathering->layer->uses;
    uses_keep_connection(&builder->uses, &listener->uses);
    uses_finish(&builder->uses, &listener->uses);
    for (size_t i = 0; i < gathering->count; i++) {
        servers[i] = gathering->members[i].server;
        enter_hosts(builder, gathering, &gathering->members[i]);
    }
    listener->servers = servers;
    listener->servers_count = gathering->count;
    check_tls(builder, gathering);
}

static void
finish_listeners(struct builder *builder)
{
    struct site *site = builder->site;
    for (size_t i = 0; i < builder->count && !builder->schema.no_memory; i++) {
        finish_listener(builder, builder->gatherings[i]);
    }
    /* Maps are registered where they are; the array holds pointers to what stays in place. */
    struct site_listener **listeners = allocate(builder, builder->count, sizeof(*listeners));
    for (size_t i = 0; listeners != NULL && i < builder->count; i++) {
        listeners[i] = builder->gatherings[i]->listener;
    }
    site->listeners = listeners;
    site->listeners_count = builder->count;
}

/* The whole */

static void
build_process(struct builder *builder)
{
    struct site *site = builder->site;
    fill_section(builder, "workers", &site_workers_options, &site->workers);
    fill_section(builder, "log", &site_log_options, &site->log);
    build_control(builder);
}

int
site_read_process(const struct config_value *document, struct arena *arena,
        struct diagnostics *diagnostics, struct site_process *out)
{
    struct site site = { .document = document };
    struct builder builder = { .site = &site,
        .schema = { .arena = arena, .diagnostics = diagnostics } };
    size_t before = diagnostics_errors(diagnostics);
    build_process(&builder);
    if (builder.schema.no_memory || diagnostics_is_incomplete(diagnostics)) {
        return -ENOMEM;
    }
    if (diagnostics_errors(diagnostics) > before) {
        return -EINVAL;
    }
    *out = (struct site_process){ site.workers, site.log, site.control };
    return 0;
}

static void
build(struct builder *builder)
{
    struct site *site = builder->site;
    schema_check_keys(&builder->schema, &site_top_options, site->document);
    const struct config_value *editors = config_find_name(site->document, "$schema");
    struct weir_str unused;
    if (editors != NULL) {
        schema_expect_string(&builder->schema, editors, "\"$schema\"", &unused);
    }
    build_process(builder);
    build_pools(builder);
    if (!builder->schema.no_memory) {
        uses_declare(&builder->uses, site);
    }
    if (!builder->schema.no_memory) {
        build_defaults(builder);
    }
    if (!builder->schema.no_memory) {
        build_listeners(builder);
    }
    if (!builder->schema.no_memory) {
        build_servers(builder);
    }
    if (!builder->schema.no_memory) {
        template_check_finish(&builder->templates);
    }
    if (!builder->schema.no_memory) {
        finish_listeners(builder);
    }
    if (!builder->schema.no_memory) {
        uses_collect(&builder->uses, site);
    }
    site->extras = builder->schema.extras;
    if (!builder->schema.no_memory && site_find_logs(site) < 0) {
        builder->schema.no_memory = true;
    }
}

/* Takes over `site`, whose document is loaded. */
static int
site_build(struct site *site, struct diagnostics *diagnostics, struct site **out)
{
    struct builder builder = { .site = site,
        .schema = { .arena = &site->arena, .diagnostics = diagnostics } };
    map_init(&builder.by_address);
    map_init(&builder.by_name);
    uses_init(&builder.uses, &builder.schema);
    template_check_init(&builder.templates, &builder.schema);
    build(&builder);
    for (size_t i = 0; i < builder.count; i++) {
        free(builder.gatherings[i]->members);
    }
    free(builder.gatherings);
    map_fini(&builder.by_address);
    map_fini(&builder.by_name);
    uses_fini(&builder.uses);
    template_check_fini(&builder.templates);
    if (builder.schema.no_memory || diagnostics_is_incomplete(diagnostics)) {
        site_free(site);
        return -ENOMEM;
    }
    if (diagnostics_errors(diagnostics) > 0) {
        site_free(site);
        return -EINVAL;
    }
    *out = site;
    return 0;
}

static struct site *
site_new(void)
{
    struct site *site = calloc(1, sizeof(*site));
    if (site != NULL) {
        arena_init(&site->arena, NULL, 0, ARENA_MAX_BYTES);
    }
    return site;
}

static int
load_through(struct intake *intake, const char *file, struct diagnostics *diagnostics,
        struct site **out)
{
    struct site *site = site_new();
    if (site == NULL) {
        return -ENOMEM;
    }
    int r = document_load(intake, file, &site->arena, diagnostics, &site->document);
    if (r < 0) {
        site_free(site);
        return r;
    }
    return site_build(site, diagnostics, out);
}

int
site_load(const char *file, struct diagnostics *diagnostics, struct site **out)
{
    struct intake intake;
    intake_init(&intake, false);
    int r = load_through(&intake, file, diagnostics, out);
    intake_fini(&intake);
    return r;
}

int
site_load_bundle(int fd, struct diagnostics *diagnostics, struct site **out)
{
    struct intake intake;
    int r = intake_replay(&intake, fd);
    if (r < 0) {
        return r;
    }
    char file[PATH_MAX];
    struct weir_str name = intake_main_file(&intake);
    r = name.len == 0 || weir_str_to_path(name, file, sizeof(file)) < 0
            ? -EPROTO
            : load_through(&intake, file, diagnostics, out);
    intake_fini(&intake);
    return r;
}

int
site_load_text(const char *name, struct weir_str text, struct diagnostics *diagnostics,
        struct site **out)
{
    struct site *site = site_new();
    if (site == NULL) {
        return -ENOMEM;
    }
    int r = document_load_text(name, text, &site->arena, diagnostics, &site->document);
    if (r < 0) {
        site_free(site);
        return r;
    }
    return site_build(site, diagnostics, out);
}

void
site_free(struct site *site)
{
    if (site != NULL) {
        arena_reset(&site->arena);
        free(site);
    }
}

const struct site_server *
site_server_find(const struct site_listener *listener, struct weir_str host)
{
    const struct site_server *server = map_find(&listener->exact, host);
    for (size_t i = 0; server == NULL && listener->suffixes.count > 0 && i < host.len; i++) {
        if (host.ptr[i] == '.' && i > 0) {
            server = map_find(&listener->suffixes, weir_str_make(host.ptr + i, host.len - i));
        }
    }
    return server != NULL ? server : listener->any;
}

const struct site_route *
site_route_find(const struct site_server *server, const struct route_request *request,
        struct route_match *match)
{
    return route_find(server->table, request, match) ? &server->routes[match->id] : NULL;
}
