/* SPDX-License-Identifier: MIT */
/* Reading values by type. A value that came out of the environment or a file is text, and is
 * read as the option's type; one that was written has to be of the right kind, so that the file
 * says what it means. */
#include <stdio.h>

#include "base/num.h"
#include "config/schema_parts.h"
#include "config/template.h"
#include "config/units.h"

static bool read_value(struct schema *schema, const struct weir_option *option,
        enum weir_option_type type, const struct config_value *value, void *field);

/* What the variables in a text made of it, unless it may be a secret. */
static void
note_origin(const struct weir_option *option, const struct config_value *value,
        struct diagnostic *d)
{
    if (!value->is_expanded || value->kind != CONFIG_STRING || value->place.source == NULL ||
            option->type == WEIR_TYPE_SECRET) {
        return;
    }
    struct weir_str token = weir_str_make(value->place.source->text.ptr + value->place.offset,
            value->place.length);
    if (!weir_str_starts_with(token, WEIR_STR("\"$file:"))) {
        diagnostic_note(d, "it is \"%.*s\"",
                (int)(value->string.len < 100 ? value->string.len : 100), value->string.ptr);
    }
}

bool
schema_wrong_type(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const char *takes)
{
    struct diagnostic *d = config_mistake(schema->diagnostics, DIAGNOSTIC_TYPE, value,
            "\"%s\" takes %s, this is %s", schema_key(option), takes,
            config_kind_text(value->kind));
    if (value->kind == CONFIG_STRING &&
            (weir_str_eq(value->string, WEIR_STR("true")) ||
                    weir_str_eq(value->string, WEIR_STR("false")))) {
        diagnostic_hint(d, "write %s without quotes", value->string.ptr);
    } else if (value->kind == CONFIG_STRING && strstr(takes, "number") != NULL) {
        uint64_t ignored;
        if (num_parse_u64(value->string, UINT64_MAX, &ignored) == 0) {
            diagnostic_hint(d, "write %s without quotes", value->string.ptr);
        }
    }
    note_origin(option, value, d);
    return false;
}

struct diagnostic *
schema_bad_value(struct schema *schema, enum diagnostic_code code,
        const struct weir_option *option, const struct config_value *value, const char *why)
{
    if (option->type == WEIR_TYPE_SECRET || value->kind != CONFIG_STRING) {
        return config_mistake(schema->diagnostics, code, value, "\"%s\" %s", schema_key(option),
                why);
    }
    return config_mistake(schema->diagnostics, code, value, "\"%s\": \"%.*s\" %s",
            schema_key(option), (int)(value->string.len < 200 ? value->string.len : 200),
            value->string.ptr, why);
}

/* Kinds */

/* `false`, also as text from outside. */
bool
schema_is_false(const struct config_value *value)
{
    return value->kind == CONFIG_FALSE ||
            (value->kind == CONFIG_STRING && value->is_expanded &&
                    weir_str_eq(value->string, WEIR_STR("false")));
}

bool
schema_is_true(const struct config_value *value)
{
    return value->kind == CONFIG_TRUE ||
            (value->kind == CONFIG_STRING && value->is_expanded &&
                    weir_str_eq(value->string, WEIR_STR("true")));
}

static bool
read_bool(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, bool *field)
{
    if (!schema_is_true(value) && !schema_is_false(value)) {
        return schema_wrong_type(schema, option, value, "true or false");
    }
    *field = schema_is_true(value);
    return true;
}

const struct config_value *
schema_as_list(struct schema *schema, const struct config_value *value)
{
    if (value->kind == CONFIG_LIST) {
        return value;
    }
    struct config_value *list = config_list_new(schema->arena, value, 1);
    if (list == NULL) {
        schema->no_memory = true;
        return NULL;
    }
    config_list_add(list, value);
    return list;
}

static bool
read_list(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_list *field)
{
    if (option->optional && schema_is_false(value)) {
        *field = (struct weir_list){ NULL, 0 };
        return true;
    }
    if (value->kind == CONFIG_OBJECT) {
        return schema_wrong_type(schema, option, value, "a list");
    }
    enum weir_option_type element = option->element == 0 ? WEIR_TYPE_STRING : option->element;
    size_t element_bytes = schema_field_bytes(option, element);
    const struct config_value *list = schema_as_list(schema, value);
    char *items = list == NULL ? NULL : arena_array(schema->arena, list->count, element_bytes);
    if (items == NULL) {
        schema->no_memory = true;
        return false;
    }
    bool ok = true;
    for (uint32_t i = 0; i < list->count; i++) {
        ok = read_value(schema, option, element, list->items[i], items + i * element_bytes) &&
                ok;
    }
    *field = (struct weir_list){ items, list->count };
    return ok;
}

static bool
read_map_key(struct schema *schema, const struct weir_option *option, struct weir_str key,
        const struct config_value *value, struct weir_map_entry *entry)
{
    if (option->keys == WEIR_KEYS_STATUS && (units_parse_status(key, &entry->status) < 0)) {
        struct diagnostic *d = config_key_mistake(schema->diagnostics, DIAGNOSTIC_NAME_FORM,
                value, "\"%.*s\" is neither a status nor a key of this object",
                WEIR_STR_ARG(key));
        diagnostic_note(d, "100 to 599, a class \"4xx\", or a range");
        return false;
    }
    if (option->keys == WEIR_KEYS_FIELD) {
        struct template_piece piece;
        const char *message;
        char name[300];
        int len = snprintf(name, sizeof(name), "header.%.*s",
                (int)(key.len < 256 ? key.len : 256), key.ptr);
        if (key.len > 256 ||
                template_variable_parse(weir_str_make(name, (size_t)len), NULL, &piece,
                        &message) < 0) {
            config_key_mistake(schema->diagnostics, DIAGNOSTIC_NAME_FORM, value,
                    "\"%.*s\" is no name of a header field",
                    (int)(key.len < 256 ? key.len : 256), key.ptr);
            return false;
        }
    }
    if (!schema_keep_text(schema, key, &entry->key)) {
        return false;
    }
    for (size_t i = 0; option->keys == WEIR_KEYS_FIELD && i < entry->key.len; i++) {
        char *c = (char *)(uintptr_t)&entry->key.ptr[i];
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
    return true;
}

/* A mistake in it names its key. */
static bool
read_map_value(struct schema *schema, const struct weir_option *map,
        const struct config_value *value, struct weir_map_entry *entry)
{
    struct weir_option own = *map;
    own.key = entry->key.ptr;
    const struct weir_option *option = &own;
    enum weir_option_type element = option->element == 0 ? WEIR_TYPE_STRING : option->element;
    if (element == WEIR_TYPE_TEMPLATE) {
        if (!schema_read_template(schema, option, value, &entry->template_)) {
            return false;
        }
        if (entry->template_ != NULL) {
            entry->value = entry->template_->raw;
        }
        return true;
    }
    return schema_read_text(schema, option, element, value, &entry->value);
}

/* True for a member that belongs to a `rest` map: no option and no note has its key. */
static bool
is_rest(const struct weir_options *options, struct weir_str key)
{
    return schema_find(options, key) == NULL && !config_is_note(key);
}

/* The members of `object`; those of a `rest` option only when `options` is given. */
bool
schema_read_map(struct schema *schema, const struct weir_option *option,
        const struct weir_options *options, const struct config_value *object,
        struct weir_map *field)
{
    if (object->kind != CONFIG_OBJECT) {
        return schema_wrong_type(schema, option, object, "an object");
    }
    size_t count = 0;
    for (uint32_t i = 0; i < object->count; i++) {
        const struct config_value *value = object->members[i].value;
        count += value->kind == CONFIG_LIST ? value->count : 1;
    }
    struct weir_map_entry *items = arena_array(schema->arena, count, sizeof(*items));
    if (items == NULL) {
        schema->no_memory = true;
        return false;
    }
    bool ok = true;
    count = 0;
    for (uint32_t i = 0; i < object->count; i++) {
        struct weir_str key = object->members[i].key;
        const struct config_value *value = object->members[i].value;
        if (options != NULL && !is_rest(options, key)) {
            continue;
        }
        bool is_list = value->kind == CONFIG_LIST;
        if (value->kind == CONFIG_NULL || (is_list && value->count == 0)) {
            struct weir_map_entry unused; /* its key says what is taken out */
            ok = read_map_key(schema, option, key, value, &unused) && ok;
            continue;
        }
        for (uint32_t j = 0; j < (is_list ? value->count : 1); j++) {
            struct weir_map_entry *entry = &items[count];
            bool entry_ok = read_map_key(schema, option, key, value, entry) &&
                    read_map_value(schema, option, is_list ? value->items[j] : value, entry);
            count += entry_ok;
            ok = ok && entry_ok;
        }
    }
    *field = (struct weir_map){ items, count };
    return ok;
}

static bool
read_value(struct schema *schema, const struct weir_option *option, enum weir_option_type type,
        const struct config_value *value, void *field)
{
    switch (type) {
    case WEIR_TYPE_BOOL:
        return read_bool(schema, option, value, field);
    case WEIR_TYPE_INT:
        return schema_read_int(schema, option, value, field);
    case WEIR_TYPE_COUNT:
        return schema_read_count(schema, option, value, field);
    case WEIR_TYPE_SIZE:
    case WEIR_TYPE_DURATION:
        return schema_read_quantity(schema, option, type, value, field);
    case WEIR_TYPE_RATE:
        return schema_read_rate(schema, option, value, field);
    case WEIR_TYPE_STRING:
    case WEIR_TYPE_PATH:
    case WEIR_TYPE_LOG:
    case WEIR_TYPE_SECRET:
        return schema_read_text(schema, option, type, value, field);
    case WEIR_TYPE_ENUM:
        return schema_read_enum(schema, option, value, field);
    case WEIR_TYPE_STATUS:
        return schema_read_status(schema, option, value, field);
    case WEIR_TYPE_NETWORK:
        return schema_read_network(schema, option, value, field);
    case WEIR_TYPE_LIST:
        return read_list(schema, option, value, field);
    case WEIR_TYPE_MAP:
        return schema_read_map(schema, option, NULL, value, field);
    case WEIR_TYPE_TEMPLATE:
        return schema_read_template(schema, option, value, field);
    case WEIR_TYPE_REGEX:
        return schema_read_regex(schema, option, value, field);
    case WEIR_TYPE_UPSTREAM:
        return schema_read_reference(schema, option, value, schema->upstreams, NULL, field);
    case WEIR_TYPE_POOL:
        return schema_read_reference(schema, option, value, schema->pools, "default", field);
    case WEIR_TYPE_OBJECT:
    case WEIR_TYPE_OBJECTS:
        break; /* know more than a value: read_member() */
    }
    return false;
}

bool
schema_read(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, void *field)
{
    return read_value(schema, option, option->type, value, field);
}
