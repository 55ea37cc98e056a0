/* SPDX-License-Identifier: MIT */
/* The sections about the process itself, which no module has a part in. */
#include <errno.h>
#include <stdio.h>

#include "module/loader.h"
#include "module/site_parts.h"

static void
fill_section(struct site_builder *builder, const char *key, const struct weir_options *options,
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
check_pool(struct site_builder *builder, const struct config_value *where,
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

void
site_build_pools(struct site_builder *builder)
{
    const struct config_value *value = config_find_name(builder->site->document, "pools");
    if (value != NULL && !schema_expect_object(&builder->schema, value, "\"pools\"")) {
        value = NULL;
    }
    builder->schema.pools = value;
    size_t count = value == NULL ? 0 : value->count;
    struct site_pool *pools = site_array(builder, count + 1, sizeof(*pools));
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

static void
build_control(struct site_builder *builder)
{
    fill_section(builder, "control", &site_control_options, &builder->site->control);
    const struct config_value *listen =
            config_find_name(config_find_name(builder->site->document, "control"), "listen");
    if (listen != NULL && listen->kind == CONFIG_STRING) {
        (void)!site_read_address(builder, listen, &builder->site->control.addr);
    }
}

void
site_build_process(struct site_builder *builder)
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
    struct site_builder builder = { .site = &site,
        .schema = { .arena = arena, .diagnostics = diagnostics } };
    size_t before = diagnostics_errors(diagnostics);
    site_build_process(&builder);
    if (builder.schema.no_memory || diagnostics_is_incomplete(diagnostics)) {
        return -ENOMEM;
    }
    if (diagnostics_errors(diagnostics) > before) {
        return -EINVAL;
    }
    *out = (struct site_process){ site.workers, site.log, site.control };
    return 0;
}

const struct config_value *
site_find_module(const struct config_value *document, struct weir_str name)
{
    const struct config_value *modules = config_find_name(document, "modules");
    for (uint32_t i = 0; modules != NULL && modules->kind == CONFIG_LIST && i < modules->count;
            i++) {
        const struct config_value *entry = modules->items[i];
        if (entry->kind == CONFIG_OBJECT) {
            entry = config_find_name(entry, "name");
        }
        if (entry != NULL && entry->kind == CONFIG_STRING && weir_str_eq(entry->string, name)) {
            return entry;
        }
    }
    return NULL;
}

enum site_crash_policy
site_crash_policy(const struct config_value *document, struct weir_str module)
{
    const struct config_value *name = site_find_module(document, module);
    const struct config_value *policy = name == NULL
            ? NULL
            : config_find_name(name->parent, "on_crash");
    bool is_stop = policy != NULL && policy->kind == CONFIG_STRING &&
            weir_str_eq(policy->string, WEIR_STR("stop"));
    return is_stop ? SITE_CRASH_STOP : SITE_CRASH_RESTART;
}
