/* SPDX-License-Identifier: MIT */
/* Objects by their tables: known keys, what is given, what is missing, what presets add. */
#include <stdio.h>

#include "config/schema_parts.h"

/* More than the largest file makes of one object's values. */
#define SCRATCH_MAX_BYTES ((size_t)512 << 20)

static void fill(struct schema *schema, const struct weir_options *options,
        const struct config_value *object, const struct config_value *where, void *conf,
        bool is_whole);

/* Objects */

static void
report_unknown(struct schema *schema, const struct weir_options *options, struct weir_str key,
        const struct config_value *value)
{
    char all[400] = "";
    size_t len = 0;
    struct suggestion suggestion;
    suggestion_init(&suggestion, key);
    for (size_t i = 0; i < options->count; i++) {
        const char *known = schema_key(schema_option(options, i));
        suggestion_offer(&suggestion, weir_str_from(known));
        if (len < sizeof(all)) {
            len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", len == 0 ? "" : ", ",
                    known);
        }
    }
    struct diagnostic *d = config_key_mistake(schema->diagnostics, DIAGNOSTIC_KEY_UNKNOWN,
            value, "unknown key \"%.*s\"", (int)(key.len < 200 ? key.len : 200), key.ptr);
    suggestion_hint(&suggestion, d);
    if (options->count > 0) {
        diagnostic_more(d, "known here: %s", all);
    }
}

void
schema_check_keys(struct schema *schema, const struct weir_options *options,
        const struct config_value *object)
{
    bool has_rest = schema_find_rest(options) != NULL;
    for (uint32_t i = 0; i < object->count; i++) {
        struct weir_str key = object->members[i].key;
        const struct config_value *value = object->members[i].value;
        const struct weir_option *option = schema_find(options, key);
        if (option == NULL && !has_rest && !config_is_note(key)) {
            report_unknown(schema, options, key, value);
        } else if (option != NULL && option->type == SCHEMA_NOT_IN_BUILD &&
                value->kind != CONFIG_FALSE && value->kind != CONFIG_NULL) {
            struct diagnostic *d = config_key_mistake(schema->diagnostics,
                    DIAGNOSTIC_NOT_IN_BUILD, value, "\"%s\" is not in this build",
                    schema_key(option));
            diagnostic_note(d, "%s",
                    option->help == NULL ? "a later version brings it" : option->help);
        }
    }
}

/* The value a preset's text stands for. */
static const struct config_value *
preset_value(struct schema *schema, const struct weir_option *option)
{
    struct config_value *value = arena_zalloc(schema->arena, sizeof(*value));
    if (value == NULL) {
        schema->no_memory = true;
        return NULL;
    }
    *value = (struct config_value){ .kind = CONFIG_STRING,
        .is_expanded = true,
        .string = weir_str_from(option->preset) };
    if (option->type != WEIR_TYPE_LIST) {
        return value;
    }
    size_t parts = 1;
    for (const char *p = option->preset; *p != '\0'; p++) {
        parts += *p == ',';
    }
    struct config_value *list = config_list_new(schema->arena, NULL, parts);
    struct weir_str rest = value->string, part;
    bool ok = list != NULL;
    while (ok && rest.len > 0 && weir_str_split(&rest, ',', &part)) {
        struct config_value *item = arena_zalloc(schema->arena, sizeof(*item));
        ok = item != NULL;
        if (ok) {
            *item = *value;
            item->string = arena_copy(schema->arena, part);
            ok = item->string.ptr != NULL;
            config_list_add(list, item);
        }
    }
    schema->no_memory |= !ok;
    return ok ? list : NULL;
}

static bool
read_objects(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_list *field, bool is_whole)
{
    const struct config_value *list = schema_as_list(schema, value);
    size_t element_bytes = option->members.conf_bytes;
    char *items = list == NULL ? NULL : arena_array(schema->arena, list->count, element_bytes);
    if (items == NULL) {
        schema->no_memory = true;
        return false;
    }
    bool ok = true;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct config_value *item = list->items[i];
        if (item->kind != CONFIG_OBJECT) {
            ok = schema_wrong_type(schema, option, item, "a list of objects");
            continue;
        }
        fill(schema, &option->members, item, item, items + i * element_bytes, is_whole);
    }
    *field = (struct weir_list){ items, list->count };
    return ok;
}

static void
read_member(struct schema *schema, const struct weir_option *option,
        const struct weir_options *options, const struct config_value *value, void *field,
        bool is_whole)
{
    if (option->type == WEIR_TYPE_OBJECT) {
        if (value->kind == CONFIG_FALSE && option->optional) {
            return;
        }
        if (value->kind != CONFIG_OBJECT) {
            schema_wrong_type(schema, option, value, "an object");
            return;
        }
        fill(schema, &option->members, value, value, field, is_whole);
    } else if (option->type == WEIR_TYPE_OBJECTS) {
        read_objects(schema, option, value, field, is_whole);
    } else if (option->rest) {
        schema_read_map(schema, option, options, value, field);
    } else {
        schema_read(schema, option, value, field);
    }
}

static void
fill_absent(struct schema *schema, const struct weir_options *options,
        const struct weir_option *option, const struct config_value *where, void *field)
{
    if (option->required) {
        struct config_value nowhere = { .kind = CONFIG_NULL };
        struct diagnostic *d = config_key_mistake(schema->diagnostics, DIAGNOSTIC_REQUIRED,
                where != NULL ? where : &nowhere, "\"%s\" is missing", schema_key(option));
        diagnostic_note(d, "%s", option->help == NULL ? "it must be given" : option->help);
    } else if (option->type == WEIR_TYPE_OBJECT) {
        fill(schema, &option->members, NULL, where, field, true);
    } else if (option->preset != NULL) {
        const struct config_value *preset = preset_value(schema, option);
        if (preset != NULL) {
            read_member(schema, option, options, preset, field, true);
        }
    }
}

static void
fill(struct schema *schema, const struct weir_options *options,
        const struct config_value *object, const struct config_value *where, void *conf,
        bool is_whole)
{
    if (object != NULL) {
        schema_check_keys(schema, options, object);
    }
    for (size_t i = 0; i < options->count; i++) {
        const struct weir_option *option = schema_option(options, i);
        if (option->type == SCHEMA_ANY || option->type == SCHEMA_NOT_IN_BUILD) {
            continue;
        }
        void *field = (char *)conf + option->offset;
        const struct config_value *value = option->rest
                ? object
                : config_find_name(object, schema_key(option));
        if (value != NULL && value->kind != CONFIG_NULL) {
            read_member(schema, option, options, value, field, is_whole);
        } else if (is_whole) {
            fill_absent(schema, options, option, where, field);
        }
    }
}

void
schema_fill(struct schema *schema, const struct weir_options *options,
        const struct config_value *object, const struct config_value *where, void *conf)
{
    fill(schema, options, object, where, conf, true);
}

void
schema_check(struct schema *schema, const struct weir_options *options,
        const struct config_value *object)
{
    /* Filled for the sake of what is reported on the way, and thrown away. */
    struct arena scratch, *kept = schema->arena;
    arena_init(&scratch, NULL, 0, SCRATCH_MAX_BYTES);
    schema->arena = &scratch;
    void *conf = arena_zalloc(&scratch, options->conf_bytes);
    if (conf == NULL) {
        schema->no_memory = true;
    } else {
        fill(schema, options, object, object, conf, false);
    }
    schema->arena = kept;
    arena_reset(&scratch);
}

/* Single values outside of tables */

bool
schema_expect_object(struct schema *schema, const struct config_value *value, const char *what)
{
    if (value->kind == CONFIG_OBJECT) {
        return true;
    }
    config_mistake(schema->diagnostics, DIAGNOSTIC_TYPE, value, "%s is an object, this is %s",
            what, config_kind_text(value->kind));
    return false;
}

bool
schema_expect_list(struct schema *schema, const struct config_value *value, const char *what)
{
    if (value->kind == CONFIG_LIST) {
        return true;
    }
    struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_TYPE, value,
            "%s is a list, this is %s", what, config_kind_text(value->kind));
    if (value->kind == CONFIG_OBJECT || value->kind == CONFIG_STRING) {
        diagnostic_hint(d, "write [...] around it");
    }
    return false;
}

bool
schema_expect_string(struct schema *schema, const struct config_value *value, const char *what,
        struct weir_str *out)
{
    if (value->kind == CONFIG_STRING) {
        *out = value->string;
        return true;
    }
    config_mistake(schema->diagnostics, DIAGNOSTIC_TYPE, value, "%s is a string, this is %s",
            what, config_kind_text(value->kind));
    return false;
}

bool
schema_expect_bool(struct schema *schema, const struct config_value *value, const char *what,
        bool *out)
{
    if (schema_is_true(value) || schema_is_false(value)) {
        *out = schema_is_true(value);
        return true;
    }
    config_mistake(schema->diagnostics, DIAGNOSTIC_TYPE, value,
            "%s is true or false, this is %s", what, config_kind_text(value->kind));
    return false;
}

/* Soundness of a table */

static bool
is_sound_option(const struct weir_options *options, const struct weir_option *option,
        struct schema *schema, char *why, size_t why_bytes)
{
    const char *name = option->field == NULL ? "?" : schema_key(option);
    size_t bytes = schema_field_bytes(option, option->type);
    if (option->field == NULL || bytes == 0) {
        snprintf(why, why_bytes, "option \"%s\" has no name or an unknown type", name);
        return false;
    }
    if (option->bytes != bytes || option->offset > options->conf_bytes ||
            bytes > options->conf_bytes - option->offset) {
        snprintf(why, why_bytes, "option \"%s\" does not fit its struct", name);
        return false;
    }
    if ((option->type == WEIR_TYPE_OBJECT || option->type == WEIR_TYPE_OBJECTS) &&
            option->members.count > 0 && !schema_is_sound(&option->members, why, why_bytes)) {
        return false;
    }
    if (option->preset != NULL) {
        size_t before = diagnostics_count(schema->diagnostics);
        void *field = arena_zalloc(schema->arena, bytes + 16);
        const struct config_value *preset = preset_value(schema, option);
        if (field != NULL && preset != NULL) {
            read_member(schema, option, options, preset, field, false);
        }
        if (diagnostics_count(schema->diagnostics) > before) {
            const struct diagnostic *d = diagnostics_get(schema->diagnostics, before);
            snprintf(why, why_bytes, "the preset of option \"%s\" does not read: %.*s", name,
                    WEIR_STR_ARG(d->message));
            return false;
        }
    }
    return true;
}

bool
schema_is_sound(const struct weir_options *options, char *why, size_t why_bytes)
{
    if (options->count == 0) {
        return true;
    }
    if (options->items == NULL || options->count > 1000 ||
            options->item_bytes < offsetof(struct weir_option, key) ||
            options->conf_bytes > (1u << 20)) {
        snprintf(why, why_bytes, "its table of options is damaged");
        return false;
    }
    struct arena scratch;
    arena_init(&scratch, NULL, 0, 1 << 20);
    struct schema schema = { .arena = &scratch, .diagnostics = diagnostics_new() };
    bool ok = schema.diagnostics != NULL;
    if (!ok) {
        snprintf(why, why_bytes, "out of memory");
    }
    for (size_t i = 0; i < options->count && ok; i++) {
        ok = is_sound_option(options, schema_option(options, i), &schema, why, why_bytes);
    }
    diagnostics_free(schema.diagnostics);
    arena_reset(&scratch);
    return ok;
}
