/* SPDX-License-Identifier: MIT */
/* Says as much as a schema can: types, words, bounds, units, closed keys. What only the merged
 * whole shows (required keys of layers, names that must exist) is left to `weir check`. */
#include "config/json_schema.h"

#include <stdio.h>

#include "config/json_pattern.h"
#include "config/schema.h"

static void
emit_type(struct emit *emit, const char *type)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", type);
    emit_object_end(emit);
}

static void
emit_pattern(struct emit *emit, const char *pattern)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", "string");
    emit_member_string(emit, "pattern", pattern);
    emit_object_end(emit);
}

static void
emit_const_false(struct emit *emit)
{
    emit_object_begin(emit);
    emit_member_bool(emit, "const", false);
    emit_object_end(emit);
}

static void
emit_bounds(struct emit *emit, int64_t low, int64_t high)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", "integer");
    emit_key(emit, "minimum");
    emit_integer(emit, low);
    emit_key(emit, "maximum");
    emit_integer(emit, high);
    emit_object_end(emit);
}

static void
emit_const(struct emit *emit, int64_t value)
{
    emit_object_begin(emit);
    emit_key(emit, "const");
    emit_integer(emit, value);
    emit_object_end(emit);
}

static void
emit_ref(struct emit *emit, const char *definition)
{
    emit_object_begin(emit);
    emit_key(emit, "$ref");
    char ref[64];
    int len = snprintf(ref, sizeof(ref), "#/$defs/%s", definition);
    emit_string(emit, weir_str_make(ref, (size_t)len));
    emit_object_end(emit);
}

static bool
has_bounds(const struct weir_option *option)
{
    return option->min != option->max;
}

static void
emit_whole_number(struct emit *emit, const struct weir_option *option)
{
    bool is_count = option->type == WEIR_TYPE_COUNT;
    int64_t low = has_bounds(option) ? option->min : is_count ? 1 : INT64_MIN;
    int64_t high = has_bounds(option) ? option->max : INT64_MAX;
    emit_bounds(emit, is_count && low < 1 ? 1 : low, high);
    if (is_count && option->zero) {
        emit_const(emit, 0);
    }
}

/* SIZE and DURATION: without bounds of their own they share one definition. */
static void
emit_quantity(struct emit *emit, const struct weir_option *option, enum weir_option_type type)
{
    bool is_size = type == WEIR_TYPE_SIZE;
    if (!has_bounds(option)) {
        emit_ref(emit, is_size ? "size" : "duration");
    } else {
        uint64_t low = option->min < 1 ? 1 : (uint64_t)option->min;
        emit_object_begin(emit);
        emit_member_string(emit, "type", "string");
        emit_key(emit, "pattern");
        (is_size ? json_pattern_size : json_pattern_duration)(emit, low, (uint64_t)option->max);
        emit_object_end(emit);
    }
    if (option->zero) {
        emit_const(emit, 0);
        emit_pattern(emit,
                is_size ? "^0{1,20}[bkmgtBKMGT]?$" : "^0{1,20}(ns|us|ms|s|m|h|d|w)?$");
    }
    emit_const_false(emit);
}

static void
emit_words(struct emit *emit, const struct weir_choices *choices)
{
    emit_object_begin(emit);
    emit_key(emit, "enum");
    emit_list_begin(emit);
    for (size_t i = 0; i < choices->count; i++) {
        emit_string(emit, weir_str_from(choices->items[i].name));
    }
    emit_list_end(emit);
    emit_object_end(emit);
}

static void
emit_status(struct emit *emit, const struct weir_option *option)
{
    int64_t low = has_bounds(option) ? option->min : 100;
    int64_t high = has_bounds(option) ? option->max : 599;
    emit_bounds(emit, low, high);
    emit_object_begin(emit);
    emit_member_string(emit, "type", "string");
    emit_key(emit, "pattern");
    json_pattern_status(emit, (unsigned)low, (unsigned)high, option->single);
    emit_object_end(emit);
}

static const struct {
    enum weir_context context;
    const char *definition;
} templates[] = {
    { WEIR_CONTEXT_TEXT, "template_text" },
    { WEIR_CONTEXT_HEADER, "template_header" },
    { WEIR_CONTEXT_TARGET, "template_target" },
    { WEIR_CONTEXT_PATH, "template_path" },
    { WEIR_CONTEXT_HTML, "template_html" },
    { WEIR_CONTEXT_LOG, "template_log" },
};
#define TEMPLATES (sizeof(templates) / sizeof(templates[0]))

static void
emit_template(struct emit *emit, enum weir_context context)
{
    for (size_t i = 0; i < TEMPLATES; i++) {
        if (templates[i].context == context) {
            emit_ref(emit, templates[i].definition);
            return;
        }
    }
    emit_type(emit, "string"); /* a context of a newer module */
}

/* The alternatives of one type, into an open "anyOf". */
static void
emit_alternatives(struct emit *emit, const struct weir_option *option,
        enum weir_option_type type)
{
    switch (type) {
    case WEIR_TYPE_BOOL:
        emit_type(emit, "boolean");
        break;
    case WEIR_TYPE_INT:
        emit_whole_number(emit, option);
        if (option->choices.count > 0) {
            emit_words(emit, &option->choices);
        }
        break;
    case WEIR_TYPE_COUNT:
        emit_whole_number(emit, option);
        emit_const_false(emit);
        break;
    case WEIR_TYPE_SIZE:
    case WEIR_TYPE_DURATION:
        emit_quantity(emit, option, type);
        break;
    case WEIR_TYPE_RATE:
        emit_ref(emit, "rate");
        emit_const_false(emit);
        break;
    case WEIR_TYPE_STRING:
    case WEIR_TYPE_SECRET:
    case WEIR_TYPE_REGEX:
    case WEIR_TYPE_UPSTREAM:
    case WEIR_TYPE_POOL:
        emit_type(emit, "string");
        break;
    case WEIR_TYPE_TEMPLATE:
        emit_template(emit, option->context);
        break;
    case WEIR_TYPE_PATH:
    case WEIR_TYPE_LOG:
        emit_json(emit, "{\"type\":\"string\",\"minLength\":1}");
        break;
    case WEIR_TYPE_ENUM:
        emit_words(emit, &option->choices);
        break;
    case WEIR_TYPE_STATUS:
        emit_status(emit, option);
        break;
    case WEIR_TYPE_NETWORK:
        emit_ref(emit, "network");
        break;
    case WEIR_TYPE_LIST:
    case WEIR_TYPE_MAP:
    case WEIR_TYPE_OBJECT:
    case WEIR_TYPE_OBJECTS:
        break;
    }
}

/* { "anyOf": [...] } of an element of a list or a value of a map. */
static void
emit_element(struct emit *emit, const struct weir_option *option)
{
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    emit_alternatives(emit, option, option->element == 0 ? WEIR_TYPE_STRING : option->element);
    emit_ref(emit, "expanded");
    emit_list_end(emit);
    emit_object_end(emit);
}

static void
emit_list_of(struct emit *emit, const struct weir_option *option)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", "array");
    emit_key(emit, "items");
    emit_element(emit, option);
    emit_object_end(emit);
}

/* One value or a list of them under each key. */
static void
emit_map_values(struct emit *emit, const struct weir_option *option)
{
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    emit_element(emit, option);
    emit_list_of(emit, option);
    emit_type(emit, "null");
    emit_list_end(emit);
    emit_object_end(emit);
}

/* What members an object may have beside its "properties": those of a map, and notes unless it
 * is nothing but a map. `option` NULL: only notes. */
static void
emit_map_members(struct emit *emit, const struct weir_option *option)
{
    emit_key(emit, "patternProperties");
    emit_object_begin(emit);
    if (option == NULL || option->rest) {
        emit_member_bool(emit, "^x-", true);
    }
    if (option != NULL && option->keys == WEIR_KEYS_FIELD) {
        emit_key(emit, "^" JSON_PATTERN_TOKEN "$");
        emit_map_values(emit, option);
    } else if (option != NULL && option->keys == WEIR_KEYS_STATUS) {
        emit_key(emit, "^[1-5]([0-9][0-9]|xx|[0-9][0-9]-[1-5][0-9][0-9])$");
        emit_map_values(emit, option);
    }
    emit_object_end(emit);
    emit_key(emit, "additionalProperties");
    if (option != NULL && option->keys == WEIR_KEYS_ANY) {
        emit_map_values(emit, option);
    } else {
        emit_bool(emit, false);
    }
}

static void
emit_map(struct emit *emit, const struct weir_option *option)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", "object");
    emit_map_members(emit, option);
    emit_object_end(emit);
}

static void
emit_objects(struct emit *emit, const struct weir_option *option)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", "array");
    emit_key(emit, "items");
    json_schema_object(emit, &option->members, NULL, NULL, true);
    emit_object_end(emit);
    json_schema_object(emit, &option->members, NULL, NULL, true);
}

void
json_schema_option(struct emit *emit, const struct weir_option *option, bool may_be_null)
{
    emit_object_begin(emit);
    if (option->help != NULL) {
        emit_member_string(emit, "description", option->help);
    }
    if (option->type == SCHEMA_NOT_IN_BUILD) {
        /* Refused, but false and null stand for "not". */
        emit_key(emit, "enum");
        emit_list_begin(emit);
        emit_bool(emit, false);
        emit_null(emit);
        emit_list_end(emit);
        emit_object_end(emit);
        return;
    }
    if (option->preset != NULL) {
        emit_member_string(emit, "x-preset", option->preset);
    }
    if (option->since != NULL) {
        emit_member_string(emit, "x-since", option->since);
    }
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    if (option->type == WEIR_TYPE_OBJECT) {
        json_schema_object(emit, &option->members, NULL, NULL, may_be_null);
    } else if (option->type == WEIR_TYPE_OBJECTS) {
        emit_objects(emit, option);
    } else if (option->type == WEIR_TYPE_MAP) {
        emit_map(emit, option);
    } else if (option->type == WEIR_TYPE_LIST) {
        emit_list_of(emit, option);
        emit_element(emit, option);
    } else {
        emit_alternatives(emit, option, option->type);
        emit_ref(emit, "expanded");
    }
    if (option->optional) {
        emit_const_false(emit);
    }
    if (may_be_null) {
        emit_type(emit, "null");
    }
    emit_list_end(emit);
    emit_object_end(emit);
}

static void
emit_required(struct emit *emit, const struct weir_options *options)
{
    emit_key(emit, "required");
    emit_list_begin(emit);
    for (size_t i = 0; i < options->count; i++) {
        const struct weir_option *option = schema_option(options, i);
        if (option->required) {
            emit_string(emit, weir_str_from(schema_key(option)));
        }
    }
    emit_list_end(emit);
}

void
json_schema_object(struct emit *emit, const struct weir_options *options, const char *level,
        json_schema_key_fn *own, bool may_be_null)
{
    const struct weir_option *rest = schema_find_rest(options);
    emit_object_begin(emit);
    emit_member_string(emit, "type", "object");
    emit_key(emit, "properties");
    emit_object_begin(emit);
    for (size_t i = 0; i < options->count; i++) {
        const struct weir_option *option = schema_option(options, i);
        if (option->rest) {
            continue;
        }
        if (own != NULL && own(emit, level, schema_key(option))) {
            continue;
        }
        emit_key(emit, schema_key(option));
        if (option->type != SCHEMA_ANY) {
            json_schema_option(emit, option, may_be_null);
        } else {
            emit_bool(emit, true);
        }
    }
    emit_object_end(emit);
    if (level != NULL) {
        /* In layers of a handler's options nothing is: another layer may give it. */
        emit_required(emit, options);
    }
    emit_map_members(emit, rest);
    emit_object_end(emit);
}

static void
emit_number_definition(struct emit *emit, const char *name, const char *message,
        void (*pattern)(struct emit *, uint64_t, uint64_t))
{
    emit_key(emit, name);
    emit_object_begin(emit);
    emit_member_string(emit, "type", "string");
    emit_key(emit, "pattern");
    pattern(emit, 1, UINT64_MAX - 1);
    emit_member_string(emit, "patternErrorMessage", message);
    emit_object_end(emit);
}

static void
emit_text_definition(struct emit *emit, const char *name, const char *message,
        void (*pattern)(struct emit *))
{
    emit_key(emit, name);
    emit_object_begin(emit);
    emit_member_string(emit, "type", "string");
    emit_key(emit, "pattern");
    pattern(emit);
    emit_member_string(emit, "patternErrorMessage", message);
    emit_object_end(emit);
}

void
json_schema_defs(struct emit *emit, const struct template_extras *extras)
{
    emit_key(emit, "expanded");
    emit_object_begin(emit);
    emit_member_string(emit, "description",
            "Text from the environment or a file, read as the option's type");
    emit_member_string(emit, "type", "string");
    emit_member_string(emit, "pattern", JSON_PATTERN_EXPANDED);
    emit_object_end(emit);
    emit_number_definition(emit, "size", "a size such as \"64k\": b, k, m, g or t",
            json_pattern_size);
    emit_number_definition(emit, "duration",
            "a duration such as \"30s\": ns, us, ms, s, m, h, d or w", json_pattern_duration);
    emit_text_definition(emit, "rate", "a rate such as \"10/s\": per s, m, h or d",
            json_pattern_rate);
    emit_text_definition(emit, "network", "an address, with /bits for a block",
            json_pattern_network);
    for (size_t i = 0; i < TEMPLATES; i++) {
        emit_key(emit, templates[i].definition);
        emit_object_begin(emit);
        emit_member_string(emit, "type", "string");
        emit_key(emit, "pattern");
        json_pattern_template(emit, templates[i].context, extras);
        emit_member_string(emit, "patternErrorMessage",
                "an unknown {variable}, or a character that cannot stand here");
        emit_object_end(emit);
    }
    emit_key(emit, "variable");
    emit_object_begin(emit);
    emit_key(emit, "pattern");
    json_pattern_variable(emit, extras);
    emit_object_end(emit);
}
