/* SPDX-License-Identifier: MIT */
/* Each layer is checked, overlays what is inherited, and the merged whole fills the settings of
 * its level. */
#include <stdio.h>

#include "http/field.h"
#include "module/site_parts.h"

static void
check_scope(struct site_builder *builder, const char *group, const struct config_value *object,
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
merge_group(struct site_builder *builder, const struct config_value *layer, const char *group,
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
fill_limits(struct site_builder *builder, struct site_settings *settings)
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
fill_trust(struct site_builder *builder, struct site_settings *settings)
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
fill_log_level(struct site_builder *builder, struct site_settings *settings)
{
    struct site_log log = { .level = SITE_LOG_INFO };
    schema_fill(&builder->schema, &site_log_level_options, settings->log_from,
            settings->log_from, &log);
    settings->log_level = log.level;
}

void
site_merge_settings(struct site_builder *builder, const struct config_value *layer,
        enum site_scope level, bool has_trust, bool has_log, struct site_settings *settings)
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

void
site_build_defaults(struct site_builder *builder)
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
            site_no_memory(builder);
            return;
        }
        config_object_add(log, WEIR_STR("level"), level);
        settings->log_from = log;
    }
    if (value == NULL || !schema_expect_object(&builder->schema, value, "\"defaults\"")) {
        return;
    }
    schema_check_keys(&builder->schema, &site_defaults_options, value);
    site_merge_settings(builder, value, SITE_SCOPE_LISTENER, true, true, settings);
    uses_apply(&builder->uses, config_find_name(value, "use"), USES_LISTENER,
            &builder->defaults.uses);
}
