/* SPDX-License-Identifier: MIT */
/* Text: as it is, a path, one of some words, a template, an expression, the name of something
 * that the file gives. */
#include <errno.h>
#include <stdio.h>

#include "config/regex.h"
#include "config/resolve.h"
#include "config/schema_parts.h"
#include "config/template.h"

bool
schema_keep_text(struct schema *schema, struct weir_str text, struct weir_str *field)
{
    *field = text.ptr == NULL ? text : arena_copy(schema->arena, text);
    schema->no_memory |= field->ptr == NULL;
    return field->ptr != NULL;
}

bool
schema_read_text(struct schema *schema, const struct weir_option *option,
        enum weir_option_type type, const struct config_value *value, struct weir_str *field)
{
    if (option->optional && schema_is_false(value)) {
        *field = weir_str_make(NULL, 0);
        return true;
    }
    bool is_path = type == WEIR_TYPE_PATH || type == WEIR_TYPE_LOG;
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value,
                is_path ? (option->optional ? "a path or false" : "a path")
                        : (option->optional ? "a string or false" : "a string"));
    }
    bool is_stream = type == WEIR_TYPE_LOG &&
            (weir_str_eq(value->string, WEIR_STR("stdout")) ||
                    weir_str_eq(value->string, WEIR_STR("stderr")));
    if (!is_path || is_stream) {
        return schema_keep_text(schema, value->string, field);
    }
    if (value->string.len == 0) {
        schema_bad_value(schema, DIAGNOSTIC_EMPTY, option, value, "is no path");
        return false;
    }
    *field = resolve_path(schema->arena, value->place.source, value->string);
    schema->no_memory |= field->ptr == NULL;
    return field->ptr != NULL;
}

static const struct weir_choice *
choice_at(const struct weir_choices *choices, size_t i)
{
    const char *items = (const char *)choices->items;
    return (const struct weir_choice *)(const void *)(items + i * choices->item_bytes);
}

bool
schema_read_enum(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, int *field)
{
    char all[256] = "";
    size_t len = 0;
    struct suggestion suggestion;
    if (value->kind != CONFIG_STRING && value->kind != CONFIG_TRUE &&
            value->kind != CONFIG_FALSE) {
        return schema_wrong_type(schema, option, value, "a string");
    }
    struct weir_str word = value->kind == CONFIG_STRING
            ? value->string
            : weir_str_from(config_kind_text(value->kind));
    suggestion_init(&suggestion, word);
    for (size_t i = 0; i < option->choices.count; i++) {
        const struct weir_choice *choice = choice_at(&option->choices, i);
        if (weir_str_eq(word, weir_str_from(choice->name))) {
            *field = choice->value;
            return true;
        }
        suggestion_offer(&suggestion, weir_str_from(choice->name));
        if (len < sizeof(all)) {
            len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%s", i == 0 ? "" : ", ",
                    choice->name);
        }
    }
    struct diagnostic *d = schema_bad_value(schema, DIAGNOSTIC_CHOICE, option, value,
            "is not one of the choices");
    suggestion_hint(&suggestion, d);
    diagnostic_more(d, "one of: %s", all);
    return false;
}

/* Points into the string when its token spells it as it is, else at the whole token. */
static struct config_value
narrowed(const struct config_value *value, size_t offset, size_t length)
{
    struct config_value part = *value;
    if (!value->is_expanded && value->place.source != NULL &&
            value->place.length == value->string.len + 2) {
        part.place.offset += (uint32_t)(1 + offset);
        part.place.length = (uint32_t)(length == 0 ? 1 : length);
    }
    return part;
}

bool
schema_read_template(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct weir_template **field)
{
    struct template_mistake mistake;
    if (option->optional && schema_is_false(value)) {
        *field = NULL;
        return true;
    }
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a string");
    }
    int r = template_parse(schema->arena, value->string, option->context, &schema->extras,
            field, &mistake);
    if (r == -EINVAL) {
        struct config_value part = narrowed(value, mistake.offset, mistake.length);
        struct weir_str found = weir_str_make(value->string.ptr + mistake.offset,
                mistake.length);
        struct diagnostic *d;
        if (mistake.is_unknown_name) {
            struct suggestion suggestion;
            suggestion_init(&suggestion, found);
            d = config_mistake(schema->diagnostics, DIAGNOSTIC_VARIABLE_UNKNOWN, &part,
                    "unknown variable \"%.*s\"", WEIR_STR_ARG(found));
            template_suggest(&suggestion, &schema->extras);
            suggestion_hint(&suggestion, d);
            diagnostic_more(d, "a brace itself is written {{");
        } else if (mistake.is_later) {
            config_mistake(schema->diagnostics, DIAGNOSTIC_NOT_IN_BUILD, &part,
                    "variable \"%.*s\" is not in this build", WEIR_STR_ARG(found));
        } else {
            config_mistake(schema->diagnostics, DIAGNOSTIC_TEMPLATE, &part, "\"%s\": %s",
                    schema_key(option), mistake.message);
        }
    } else if (r < 0) {
        schema->no_memory = true;
    }
    return r == 0;
}

bool
schema_read_regex(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct weir_regex **field)
{
    struct regex_mistake mistake;
    if (option->optional && schema_is_false(value)) {
        *field = NULL;
        return true;
    }
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a string");
    }
    int r = regex_compile(schema->arena, value->string, field, &mistake);
    if (r == -EINVAL) {
        struct config_value part = narrowed(value,
                mistake.offset < value->string.len ? mistake.offset : value->string.len, 1);
        config_mistake(schema->diagnostics, DIAGNOSTIC_REGEX, &part, "\"%s\": %s",
                schema_key(option), mistake.message);
    } else if (r < 0) {
        schema->no_memory = true;
    }
    return r == 0;
}

/* UPSTREAM and POOL: one of the names that the file gives. */
bool
schema_read_reference(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct config_value *names, const char *preset,
        struct weir_str *field)
{
    if (value->kind != CONFIG_STRING) {
        return schema_wrong_type(schema, option, value, "a name");
    }
    if (config_find(names, value->string) == NULL &&
            (preset == NULL || !weir_str_eq(value->string, weir_str_from(preset)))) {
        struct suggestion suggestion;
        suggestion_init(&suggestion, value->string);
        for (uint32_t i = 0; names != NULL && i < names->count; i++) {
            suggestion_offer(&suggestion, names->members[i].key);
        }
        struct diagnostic *d = schema_bad_value(schema, DIAGNOSTIC_REFERENCE_UNKNOWN, option,
                value,
                preset != NULL ? "is not one of \"pools\"" : "is not one of \"upstreams\"");
        suggestion_hint(&suggestion, d);
        return false;
    }
    return schema_keep_text(schema, value->string, field);
}
