/* SPDX-License-Identifier: MIT */
/* When targets are well: `health` and `eject` of an upstream (CONFIG.md). */
#include "http/host.h"
#include "module/site_parts.h"

void
site_check_eject(struct site_builder *builder, const struct config_value *upstream,
        const struct eject_settings *eject)
{
    if (eject->for_ns > eject->for_max_ns) {
        const struct config_value *value = config_find_name(upstream, "eject");
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_RANGE,
                value == NULL ? upstream : value, "\"for\" is longer than \"for_max\"");
        diagnostic_note(d, "a target is out for longer each time, up to \"for_max\"");
    }
}

/* What may stand in a request line. */
static void
check_path(struct site_builder *builder, const struct config_value *value, struct weir_str path)
{
    bool is_good = weir_str_starts_with(path, WEIR_STR("/"));
    for (size_t i = 0; i < path.len; i++) {
        is_good &= path.ptr[i] > ' ' && path.ptr[i] < 0x7f && path.ptr[i] != '#';
    }
    if (!is_good) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_VALUE_FORM, value, "\"%.*s\" cannot be asked for",
                (int)(path.len < 100 ? path.len : 100), path.ptr);
        diagnostic_note(d, "a path begins with a slash; blanks and what is not ASCII as %%XX");
    }
}

static void
check_host(struct site_builder *builder, const struct config_value *health,
        struct weir_str text)
{
    struct host host;
    if (host_parse(text, &host) < 0) {
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_HOST,
                config_find_name(health, "host"), "\"%.*s\" is no host to ask for",
                (int)(text.len < 100 ? text.len : 100), text.ptr);
        diagnostic_hint(d, "\"shop.example\", \"shop.example:8080\", \"[::1]\"");
    }
}

/* Presets apply also where there is no such key. */
static void
read_expect(struct site_builder *builder, const struct config_value *health,
        struct health_settings *out)
{
    const struct config_value *value = config_find_name(health, "expect");
    if (value == NULL || value->kind == CONFIG_NULL || value->kind == CONFIG_OBJECT) {
        const struct config_value *object = value != NULL && value->kind == CONFIG_OBJECT
                ? value
                : NULL;
        schema_fill(&builder->schema, &site_upstream_expect_options, object, health, out);
    } else if (!schema_read(&builder->schema,
                       schema_find(&site_upstream_expect_options, WEIR_STR("status")), value,
                       &out->statuses)) {
        return;
    }
    if (out->statuses.count == 0) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_EMPTY,
                value == NULL ? health : value, "no status would be good");
    }
}

/* A check without an end would be the last one. */
static void
check_time(struct site_builder *builder, const struct config_value *health, const char *key,
        uint64_t ns)
{
    if (ns == UINT64_MAX) {
        config_mistake(builder->schema.diagnostics, DIAGNOSTIC_RANGE,
                config_find_name(health, key), "\"%s\" of a check cannot be without end", key);
    }
}

static void
need_path(struct site_builder *builder, const struct config_value *health, const char *key)
{
    const struct config_value *value = config_find_name(health, key);
    if (value != NULL && value->kind != CONFIG_NULL) {
        struct diagnostic *d = config_key_mistake(builder->schema.diagnostics,
                DIAGNOSTIC_REQUIRED, value, "\"%s\" needs a \"path\"", key);
        diagnostic_note(d, "without one nothing is asked: a connection is enough");
    }
}

void
site_read_health(struct site_builder *builder, const struct config_value *upstream,
        struct health_settings *out)
{
    const struct config_value *value = config_find_name(upstream, "health");
    bool is_none = value == NULL || value->kind == CONFIG_NULL || value->kind == CONFIG_FALSE;
    if (is_none || !schema_expect_object(&builder->schema, value, "\"health\"")) {
        return;
    }
    out->is_on = true;
    schema_fill(&builder->schema, &site_upstream_health_options, value, value, out);
    read_expect(builder, value, out);
    check_time(builder, value, "every", out->every_ns);
    check_time(builder, value, "timeout", out->timeout_ns);
    if (out->host.len > 0) {
        check_host(builder, value, out->host);
    }
    const struct config_value *path = config_find_name(value, "path");
    if (path == NULL || path->kind == CONFIG_NULL) {
        need_path(builder, value, "expect");
        need_path(builder, value, "host");
    } else if (path->kind == CONFIG_STRING) { /* else it was refused */
        check_path(builder, path, out->path);
    }
}
