/* SPDX-License-Identifier: MIT */
/* Listeners are gathered by address, those with settings of their own and those that a server
 * only names; when all servers have joined, each gets its hosts. */
#include <stdlib.h>

#include "config/resolve.h"
#include "module/loader.h"
#include "module/site_parts.h"

/* Addresses */

bool
site_read_address(struct site_builder *builder, const struct config_value *value,
        struct addr *out)
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
            return site_no_memory(builder);
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

/* Listeners */

static struct site_gathering *
gathering_new(struct site_builder *builder)
{
    if (builder->count == builder->room) {
        size_t room = builder->room * 2 + 8;
        struct site_gathering **gatherings = realloc(builder->gatherings,
                room * sizeof(*gatherings));
        if (gatherings == NULL) {
            site_no_memory(builder);
            return NULL;
        }
        builder->gatherings = gatherings;
        builder->room = room;
    }
    struct site_gathering *gathering = site_array(builder, 1, sizeof(*gathering));
    struct site_listener *listener = site_array(builder, 1, sizeof(*listener));
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
address_key(struct site_builder *builder, const struct addr *addr)
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
enter_address(struct site_builder *builder, struct site_gathering *gathering,
        const struct config_value *address)
{
    if (is_any_port(&gathering->listener->addr)) {
        return true;
    }
    struct weir_str key = address_key(builder, &gathering->listener->addr);
    if (key.ptr == NULL) {
        return false;
    }
    const struct site_gathering *taken = map_find(&builder->by_address, key);
    if (taken != NULL) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_ADDRESS_TWICE, address, "two listeners have the address \"%.*s\"",
                WEIR_STR_ARG(address->string));
        diagnostic_other(d, config_key_place(taken->listener->where), "the other listener");
        return false;
    }
    return map_set(&builder->by_address, key, gathering) == 0 || site_no_memory(builder);
}

static void
read_mode(struct site_builder *builder, const struct config_value *where, struct weir_str text,
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

/* Everybody would be turned away. */
static void
check_proxy(struct site_builder *builder, const struct config_value *where,
        const struct site_listener *listener, const struct site_settings *settings)
{
    bool is_reached = listener->addr.len == 0 || listener->addr.sa.sa_family == AF_UNIX;
    if (!listener->takes_proxy || is_reached || settings->trust.peers.count > 0) {
        return;
    }
    struct diagnostic *d = config_key_mistake(builder->schema.diagnostics, DIAGNOSTIC_REQUIRED,
            config_find_name(where, "proxy_protocol"),
            "\"proxy_protocol\" needs \"trust\": { \"peers\": [...] }");
    diagnostic_note(d, "only peers that are named there may say for whom they speak");
    diagnostic_hint(d,
            "name the networks of the proxies in front: \"trust\": { \"peers\": "
            "[\"10.0.0.0/8\"] }");
}

static void
build_listener(struct site_builder *builder, const struct config_member *member)
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
    struct site_gathering *gathering = gathering_new(builder);
    struct site_layer *layer = site_array(builder, 1, sizeof(*layer));
    if (gathering == NULL || layer == NULL) {
        return;
    }
    struct site_listener *listener = gathering->listener;
    listener->name = member->key;
    listener->where = value;
    schema_fill(&builder->schema, &site_listener_options, value, value, &conf);
    listener->backlog = (int)conf.backlog;
    listener->takes_proxy = conf.proxy_protocol;
    read_mode(builder, value, conf.mode, listener);
    *layer = builder->defaults;
    site_merge_settings(builder, value, SITE_SCOPE_LISTENER, true, false, &layer->settings);
    uses_apply(&builder->uses, config_find_name(value, "use"), USES_LISTENER, &layer->uses);
    if (config_find_name(value, "limits") != NULL || config_find_name(value, "use") != NULL ||
            config_find_name(value, "timeouts") != NULL ||
            config_find_name(value, "trust") != NULL) {
        gathering->layer = layer;
    }
    if (map_set(&builder->by_name, member->key, gathering) < 0) {
        site_no_memory(builder);
        return;
    }
    const struct config_value *address = config_find_name(value, "address");
    if (address == NULL || address->kind == CONFIG_NULL) {
        struct diagnostic *d = config_key_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_REQUIRED, value, "\"address\" is missing");
        diagnostic_note(d, "a listener has an address");
    } else if (schema_expect_string(&builder->schema, address, "\"address\"",
                       &listener->address) &&
            site_read_address(builder, address, &listener->addr)) {
        (void)!enter_address(builder, gathering, address);
    }
    check_proxy(builder, value, listener, &layer->settings);
}

void
site_build_listeners(struct site_builder *builder)
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

/* By address or name */

static bool
is_address(struct weir_str text)
{
    return text.len > 0 && (text.ptr[0] == '@' || memchr(text.ptr, ':', text.len) != NULL);
}

static struct site_gathering *
report_no_listener(struct site_builder *builder, const struct config_value *value)
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

struct site_gathering *
site_find_listener(struct site_builder *builder, const struct config_value *value)
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
        struct site_gathering *named = map_find(&builder->by_name, text);
        return named != NULL ? named : report_no_listener(builder, value);
    }
    if (!site_read_address(builder, value, &addr)) {
        return NULL;
    }
    bool is_own = is_any_port(&addr);
    struct weir_str key = is_own ? WEIR_STR("") : address_key(builder, &addr);
    struct site_gathering *found = key.ptr == NULL || is_own
            ? NULL
            : map_find(&builder->by_address, key);
    if (key.ptr == NULL || found != NULL) {
        return found;
    }
    struct site_gathering *gathering = gathering_new(builder);
    if (gathering == NULL || (!is_own && map_set(&builder->by_address, key, gathering) < 0)) {
        site_no_memory(builder);
        return NULL;
    }
    gathering->listener->addr = addr;
    gathering->listener->address = text;
    gathering->listener->where = value;
    return gathering;
}

/* Hosts of a listener */

static const struct config_place *
host_place(const struct site_plan *plan, size_t i)
{
    return &plan->host_values[i]->place;
}

static void
report_same_host(struct site_builder *builder, const struct site_gathering *gathering,
        const struct site_member *member, size_t i)
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
        const struct site_plan *other = gathering->members[m].plan;
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
enter_hosts(struct site_builder *builder, const struct site_gathering *gathering,
        const struct site_member *member)
{
    struct site_listener *listener = gathering->listener;
    void *server = (void *)(uintptr_t)member->server;
    for (size_t i = 0; i < member->plan->hosts_count; i++) {
        const struct host_pattern *host = &member->plan->hosts[i];
        struct map *map = host->is_suffix ? &listener->suffixes : &listener->exact;
        if (map_find(map, host->name) != NULL) {
            report_same_host(builder, gathering, member, i);
        } else if (map_set(map, host->name, server) < 0) {
            site_no_memory(builder);
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
check_tls(struct site_builder *builder, const struct site_gathering *gathering)
{
    for (size_t i = 1; i < gathering->count; i++) {
        const struct site_member *first = &gathering->members[0],
                                 *member = &gathering->members[i];
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
finish_listener(struct site_builder *builder, const struct site_gathering *gathering)
{
    struct site_listener *listener = gathering->listener;
    map_init(&listener->exact);
    map_init(&listener->suffixes);
    if (arena_defer(builder->schema.arena, drop_map, &listener->exact) < 0 ||
            arena_defer(builder->schema.arena, drop_map, &listener->suffixes) < 0) {
        site_no_memory(builder);
        return;
    }
    const struct site_server **servers = site_array(builder, gathering->count,
            sizeof(*servers));
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

void
site_finish_listeners(struct site_builder *builder)
{
    struct site *site = builder->site;
    for (size_t i = 0; i < builder->count && !builder->schema.no_memory; i++) {
        finish_listener(builder, builder->gatherings[i]);
    }
    /* Maps are registered where they are; the array holds pointers to what stays in place. */
    struct site_listener **listeners = site_array(builder, builder->count, sizeof(*listeners));
    for (size_t i = 0; listeners != NULL && i < builder->count; i++) {
        listeners[i] = builder->gatherings[i]->listener;
    }
    site->listeners = listeners;
    site->listeners_count = builder->count;
}
