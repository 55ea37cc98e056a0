/* SPDX-License-Identifier: MIT */
/* Walks the values of options that are templates. */
#include "module/captures.h"

#include <errno.h>
#include <stdio.h>

#include "config/template.h"

/* More than the largest file makes of one template. */
#define SCRATCH_MAX_BYTES ((size_t)512 << 20)

struct search {
    struct schema *schema;
    const struct route_table *table;
    uint32_t id;
    const struct config_value *where;
};

static bool
is_within(const struct config_value *value, const struct config_value *where)
{
    while (value != NULL && value != where) {
        value = value->parent;
    }
    return value != NULL;
}

static void
report(const struct search *search, const struct config_value *value, struct weir_str name)
{
    struct config_value part = *value;
    char spelled[128];
    struct weir_str token = weir_str_make("", 0);
    if (value->place.source != NULL) {
        token = weir_str_make(value->place.source->text.ptr + value->place.offset,
                value->place.length);
    }
    int len = name.len < 100
            ? snprintf(spelled, sizeof(spelled), "path.%.*s", WEIR_STR_ARG(name))
            : 0;
    const char *found = len == 0 || token.len == 0
            ? NULL
            : memmem(token.ptr, token.len, spelled, (size_t)len);
    if (found != NULL) {
        part.place.offset += (uint32_t)(found - token.ptr);
        part.place.length = (uint32_t)len;
    }
    struct diagnostic *d = config_mistake(search->schema->diagnostics,
            DIAGNOSTIC_VARIABLE_UNKNOWN, &part, "unknown variable \"path.%.*s\"",
            (int)(name.len < 100 ? name.len : 100), name.ptr);
    diagnostic_note(d, "no pattern of this route names it");
    struct suggestion suggestion;
    suggestion_init(&suggestion, name);
    route_offer_captures(search->table, search->id, &suggestion);
    if (suggestion.best.ptr != NULL) {
        diagnostic_hint(d, "did you mean \"path.%.*s\"?", WEIR_STR_ARG(suggestion.best));
    }
}

static void
check_template(const struct search *search, const struct weir_option *option,
        const struct config_value *value)
{
    struct arena scratch;
    const struct weir_template *parsed;
    struct template_mistake mistake;
    if (value->kind != CONFIG_STRING || !is_within(value, search->where)) {
        return;
    }
    arena_init(&scratch, NULL, 0, SCRATCH_MAX_BYTES);
    int r = template_parse(&scratch, value->string, option->context, &parsed, &mistake);
    for (size_t i = 0; r == 0 && i < parsed->count; i++) {
        if (parsed->pieces[i].variable == TEMPLATE_CAPTURE &&
                !route_has_capture(search->table, search->id, parsed->pieces[i].text)) {
            report(search, value, parsed->pieces[i].text);
        }
    }
    /* A malformed one was reported when its layer was read. */
    search->schema->no_memory |= r == -ENOMEM;
    arena_reset(&scratch);
}

/* A value, or the values of a list or map of templates. */
static void
check_value(const struct search *search, const struct weir_option *option,
        const struct config_value *value)
{
    if (value->kind == CONFIG_LIST) {
        for (uint32_t i = 0; i < value->count; i++) {
            check_value(search, option, value->items[i]);
        }
    } else if (value->kind == CONFIG_OBJECT) {
        for (uint32_t i = 0; i < value->count; i++) {
            check_value(search, option, value->members[i].value);
        }
    } else {
        check_template(search, option, value);
    }
}

static void
check_object(const struct search *search, const struct weir_options *options,
        const struct config_value *object)
{
    for (uint32_t i = 0; object->kind == CONFIG_OBJECT && i < object->count; i++) {
        const struct config_value *value = object->members[i].value;
        const struct weir_option *option = schema_find(options, object->members[i].key);
        option = option == NULL ? schema_find_rest(options) : option;
        if (option == NULL) {
            continue;
        }
        if (option->type == WEIR_TYPE_TEMPLATE || option->element == WEIR_TYPE_TEMPLATE) {
            check_value(search, option, value);
        } else if (option->type == WEIR_TYPE_OBJECT) {
            check_object(search, &option->members, value);
        } else if (option->type == WEIR_TYPE_OBJECTS && value->kind == CONFIG_LIST) {
            for (uint32_t j = 0; j < value->count; j++) {
                check_object(search, &option->members, value->items[j]);
            }
        } else if (option->type == WEIR_TYPE_OBJECTS) {
            check_object(search, &option->members, value);
        }
    }
}

void
captures_check(struct schema *schema, const struct route_table *table, uint32_t id,
        const struct config_value *where, const struct weir_options *options,
        const struct config_value *merged)
{
    struct search search = { schema, table, id, where };
    if (merged != NULL && table != NULL) {
        check_object(&search, options, merged);
    }
}
