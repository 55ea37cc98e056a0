/* SPDX-License-Identifier: MIT */
/* Targets that are names, and how they are looked up: `resolve` of an upstream (CONFIG.md).
 * Nothing is looked up here. */
#include "base/num.h"
#include "module/site_parts.h"

#define LABEL_BYTES_MAX 63u

#define SERVICE_PREFIX "srv:"

/* ---- names ------------------------------------------------------------------------------- */

static bool
is_label(struct weir_str label)
{
    for (size_t i = 0; i < label.len; i++) {
        char c = label.ptr[i];
        bool is_sign = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                (c >= '0' && c <= '9') || c == '_' || (c == '-' && i > 0);
        if (!is_sign) {
            return false;
        }
    }
    return label.len > 0 && label.len <= LABEL_BYTES_MAX;
}

/* Labels between dots, the last of which may have one behind it, and a letter somewhere: or it
 * would be half an address. */
static bool
is_host(struct weir_str text)
{
    bool has_letter = false;
    struct weir_str left = text;
    if (text.len == 0 || text.len > RESOLVER_NAME_BYTES - 3) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        has_letter |= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }
    while (left.len > 0) {
        const char *dot = memchr(left.ptr, '.', left.len);
        size_t len = dot == NULL ? left.len : (size_t)(dot - left.ptr);
        if (!is_label(weir_str_make(left.ptr, len))) {
            return false;
        }
        len += dot != NULL;
        left = weir_str_make(left.ptr + len, left.len - len);
    }
    return has_letter;
}

bool
site_is_name(struct weir_str text, struct weir_str *host, uint16_t *port)
{
    const struct weir_str prefix = WEIR_STR(SERVICE_PREFIX);
    if (weir_str_starts_with(text, prefix)) {
        *host = weir_str_make(text.ptr + prefix.len, text.len - prefix.len);
        *port = 0;
        return is_host(*host);
    }
    const char *colon = text.len == 0 ? NULL : memrchr(text.ptr, ':', text.len);
    uint64_t number;
    /* "unix:80" is a socket, of whatever name. */
    if (colon == NULL || weir_str_starts_with(text, WEIR_STR("unix:"))) {
        return false;
    }
    *host = weir_str_make(text.ptr, (size_t)(colon - text.ptr));
    struct weir_str digits = weir_str_make(colon + 1, text.len - host->len - 1);
    if (!is_host(*host) || num_parse_u64(digits, UINT16_MAX, &number) < 0 || number == 0) {
        return false;
    }
    *port = (uint16_t)number;
    return true;
}

bool
site_read_name(struct site_builder *builder, struct weir_str host, uint16_t port,
        struct upstream_target_settings *out)
{
    char *name = arena_alloc(builder->schema.arena, host.len + 1);
    if (name == NULL) {
        return site_no_memory(builder);
    }
    memcpy(name, host.ptr, host.len);
    name[host.len] = '\0';
    out->host = name;
    out->port = port;
    out->is_service = port == 0;
    return true;
}

/* ---- how they are looked up -------------------------------------------------------------- */

static bool
read_server(struct site_builder *builder, const struct config_value *value, struct addr *out)
{
    const char *why = "";
    if (addr_parse(value->string, out, &why) == 0 && value->string.ptr[0] != ':' &&
            out->sa.sa_family != AF_UNIX && addr_port(out) != 0) {
        return true;
    }
    struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_ADDRESS,
            value, "\"%.*s\" is no address of a name server",
            (int)(value->string.len < 200 ? value->string.len : 200), value->string.ptr);
    diagnostic_hint(d, "\"127.0.0.1:53\" or \"[::1]:53\"");
    return false;
}

void
site_read_resolve(struct site_builder *builder, const struct config_value *upstream,
        const struct resolve_conf *conf, struct name_settings *out)
{
    const struct config_value *value = config_find_name(upstream, "resolve");
    *out = (struct name_settings){
        .resolver = { .timeout_ns = conf->timeout_ns },
        .ttl_min_ns = conf->ttl_min_ns,
        .ttl_max_ns = conf->ttl_max_ns,
        .family = conf->family,
    };
    if (conf->ttl_min_ns > conf->ttl_max_ns) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_RANGE,
                value == NULL ? upstream : value, "\"ttl_min\" is longer than \"ttl_max\"");
    }
    size_t count = conf->servers.count;
    struct addr *servers = count == 0 ? NULL : site_array(builder, count, sizeof(*servers));
    const struct config_value *list = value == NULL || value->kind != CONFIG_OBJECT
            ? NULL
            : config_find_name(value, "servers");
    if (list != NULL && list->kind == CONFIG_LIST && list->count == 0) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_RANGE,
                list, "an empty list: nobody could be asked");
        diagnostic_hint(d, "leave \"servers\" out to ask those of the system");
    }
    list = list == NULL || servers == NULL ? NULL : schema_as_list(&builder->schema, list);
    for (uint32_t i = 0; list != NULL && i < list->count && i < count; i++) {
        if (list->items[i]->kind == CONFIG_STRING &&
                read_server(builder, list->items[i], &servers[out->resolver.server_count])) {
            out->resolver.server_count++;
        }
    }
    out->resolver.servers = servers;
}
