/* SPDX-License-Identifier: MIT */
/* Says as much as a schema can: types, words, bounds, units, closed keys. What only the merged
 * whole shows (required keys, names that must exist) is left to `weir check`. */
#include "config/json_schema.h"

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
emit_whole_number(struct emit *emit, const struct weir_option *option)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", "integer");
    if (option->min != option->max) {
        emit_key(emit, "minimum");
        emit_integer(emit, option->min);
        emit_key(emit, "maximum");
        emit_integer(emit, option->max);
    } else if (option->type == WEIR_TYPE_COUNT) {
        emit_key(emit, "minimum");
        emit_integer(emit, option->zero ? 0 : 1);
    }
    emit_object_end(emit);
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
    bool has_bounds = option->min != option->max;
    int64_t low = has_bounds ? option->min : 100, high = has_bounds ? option->max : 599;
    emit_object_begin(emit);
    emit_member_string(emit, "type", "integer");
    emit_key(emit, "minimum");
    emit_integer(emit, low);
    emit_key(emit, "maximum");
    emit_integer(emit, high);
    emit_object_end(emit);
    char single[] = "^[1-5][0-9][0-9]$";
    single[2] = (char)('0' + low / 100);
    single[4] = (char)('0' + high / 100);
    emit_pattern(emit,
            option->single ? single : "^[1-5]([0-9][0-9]|xx|[0-9][0-9]-[1-5][0-9][0-9])$");
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
        emit_pattern(emit,
                option->zero ? "^[0-9]+[bkmgtBKMGT]$" : "^0*[1-9][0-9]*[bkmgtBKMGT]$");
        emit_const_false(emit);
        break;
    case WEIR_TYPE_DURATION:
        emit_pattern(emit,
                option->zero ? "^[0-9]+(ns|us|ms|s|m|h|d|w)$"
                             : "^0*[1-9][0-9]*(ns|us|ms|s|m|h|d|w)$");
        emit_const_false(emit);
        break;
    case WEIR_TYPE_RATE:
        emit_pattern(emit, "^0*[1-9][0-9]*[bkmgtBKMGT]?/[smhd]$");
        emit_const_false(emit);
        break;
    case WEIR_TYPE_STRING:
    case WEIR_TYPE_SECRET:
    case WEIR_TYPE_TEMPLATE:
    case WEIR_TYPE_REGEX:
    case WEIR_TYPE_UPSTREAM:
    case WEIR_TYPE_POOL:
        emit_type(emit, "string");
        break;
    case WEIR_TYPE_PATH:
    case WEIR_TYPE_LOG:
        emit_pattern(emit, "^.");
        break;
    case WEIR_TYPE_ENUM:
        emit_words(emit, &option->choices);
        break;
    case WEIR_TYPE_STATUS:
        emit_status(emit, option);
        break;
    case WEIR_TYPE_NETWORK:
        emit_pattern(emit, "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$");
        break;
    case WEIR_TYPE_LIST:
    case WEIR_TYPE_MAP:
    case WEIR_TYPE_OBJECT:
    case WEIR_TYPE_OBJECTS:
        break;
    }
}

static void
emit_expanded(struct emit *emit)
{
    emit_object_begin(emit);
    emit_member_string(emit, "$ref", "#/$defs/expanded");
    emit_object_end(emit);
}

/* { "anyOf": [...] } of an element of a list or a value of a map. */
static void
emit_element(struct emit *emit, const struct weir_option *option)
{
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    emit_alternatives(emit, option, option->element == 0 ? WEIR_TYPE_STRING : option->element);
    emit_expanded(emit);
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

static const char *
key_pattern(enum weir_keys keys)
{
    switch (keys) {
    case WEIR_KEYS_FIELD:
        return "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
    case WEIR_KEYS_STATUS:
        return "^[1-5]([0-9][0-9]|xx|[0-9][0-9]-[1-5][0-9][0-9])$";
    case WEIR_KEYS_ANY:
        break;
    }
    return "";
}

static void
emit_map(struct emit *emit, const struct weir_option *option)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", "object");
    emit_key(emit, "patternProperties");
    emit_object_begin(emit);
    emit_key(emit, key_pattern(option->keys));
    emit_map_values(emit, option);
    emit_object_end(emit);
    emit_member_bool(emit, "additionalProperties", false);
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
        emit_expanded(emit);
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
        json_schema_any_fn *any, bool may_be_null)
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
        emit_key(emit, schema_key(option));
        if (option->type != SCHEMA_ANY) {
            json_schema_option(emit, option, may_be_null);
        } else if (any == NULL || !any(emit, level, schema_key(option))) {
            emit_bool(emit, true);
        }
    }
    emit_object_end(emit);
    if (level != NULL) {
        /* In layers of a handler's options nothing is: another layer may give it. */
        emit_required(emit, options);
    }
    emit_key(emit, "patternProperties");
    emit_object_begin(emit);
    emit_member_bool(emit, "^x-", true);
    if (rest != NULL) {
        emit_key(emit, key_pattern(rest->keys));
        emit_map_values(emit, rest);
    }
    emit_object_end(emit);
    emit_member_bool(emit, "additionalProperties", false);
    emit_object_end(emit);
}

void
json_schema_defs(struct emit *emit)
{
    emit_key(emit, "expanded");
    emit_object_begin(emit);
    emit_member_string(emit, "description",
            "Text from the environment or a file, read as the option's type");
    emit_member_string(emit, "type", "string");
    emit_member_string(emit, "pattern", "\\$\\{env:|^\\$file:");
    emit_object_end(emit);
}
