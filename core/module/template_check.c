/* SPDX-License-Identifier: MIT */
/* Walks the values of options that are templates, and the conditions of `match`. */
#include "module/template_check.h"

#include <errno.h>
#include <stdio.h>

#include "config/template.h"

/* More than the largest file makes of one template. */
#define SCRATCH_MAX_BYTES ((size_t)512 << 20)

struct search {
    struct schema *schema;
    const struct route_table *table;
    const struct site_route *route;
};

static bool
is_within(const struct config_value *value, const struct config_value *where)
{
    while (value != NULL && value != where) {
        value = value->parent;
    }
    return value != NULL;
}

/* At the place in the template where the variable is spelled, if it is found there. */
static struct diagnostic *
report(const struct search *search, const struct config_value *value, struct weir_str prefix,
        struct weir_str name)
{
    struct config_value part = *value;
    char spelled[300];
    struct weir_str token = weir_str_make("", 0);
    if (value->place.source != NULL) {
        token = weir_str_make(value->place.source->text.ptr + value->place.offset,
                value->place.length);
    }
    int len = snprintf(spelled, sizeof(spelled), "%.*s%.*s", WEIR_STR_ARG(prefix),
            (int)(name.len < 100 ? name.len : 100), name.ptr);
    const char *found = name.len >= 100 || token.len == 0
            ? NULL
            : memmem(token.ptr, token.len, spelled, (size_t)len);
    if (found != NULL) {
        part.place.offset += (uint32_t)(found - token.ptr);
        part.place.length = (uint32_t)len;
    }
    return config_mistake(search->schema->diagnostics, DIAGNOSTIC_VARIABLE_UNKNOWN, &part,
            "unknown variable \"%s\"", spelled);
}

static void
report_capture(const struct search *search, const struct config_value *value,
        struct weir_str name)
{
    struct diagnostic *d = report(search, value, WEIR_STR("path."), name);
    diagnostic_note(d, "no pattern of this route names it");
    struct suggestion suggestion;
    suggestion_init(&suggestion, name);
    route_offer_captures(search->table, search->route->id, &suggestion);
    if (suggestion.best.ptr != NULL) {
        diagnostic_hint(d, "did you mean \"path.%.*s\"?", WEIR_STR_ARG(suggestion.best));
    }
}

static bool
has_handler(const struct site_uses *uses, const struct weir_handler *handler)
{
    for (size_t i = 0; i < uses->count; i++) {
        if (uses->items[i].conf->handler == handler) {
            return true;
        }
    }
    return false;
}

static void
check_piece(const struct search *search, const struct template_piece *piece,
        const struct config_value *value)
{
    const struct site_route *route = search->route;
    if (piece->variable == TEMPLATE_CAPTURE &&
            !route_has_capture(search->table, route->id, piece->text)) {
        report_capture(search, value, piece->text);
    }
    if (piece->variable == TEMPLATE_EXTRA &&
            !has_handler(&route->uses, piece->extra->handler) &&
            !has_handler(&route->handle, piece->extra->handler)) {
        struct diagnostic *d = report(search, value, piece->extra->spelling, piece->text);
        diagnostic_note(d, "the handler \"%s\", which says it, is not in use here",
                piece->extra->handler->name);
        diagnostic_hint(d, "add \"%s\" to the route's \"use\"", piece->extra->handler->name);
    }
}

static void
check_template(const struct search *search, const struct weir_option *option,
        const struct config_value *value)
{
    struct arena scratch;
    const struct weir_template *parsed;
    struct template_mistake mistake;
    if (value->kind != CONFIG_STRING || !is_within(value, search->route->where)) {
        return;
    }
    arena_init(&scratch, NULL, 0, SCRATCH_MAX_BYTES);
    int r = template_parse(&scratch, value->string, option->context, &search->schema->extras,
            &parsed, &mistake);
    for (size_t i = 0; r == 0 && i < parsed->count; i++) {
        check_piece(search, &parsed->pieces[i], value);
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
template_check_route(struct schema *schema, const struct site_server *server,
        const struct site_route *route, const struct weir_options *options,
        const struct config_value *merged)
{
    struct search search = { schema, server->table, route };
    if (merged != NULL && server->table != NULL) {
        check_object(&search, options, merged);
    }
}

static void
check_conditions(struct schema *schema, const struct site_server *server,
        const struct config_value *conditions)
{
    for (uint32_t i = 0; conditions->kind == CONFIG_OBJECT && i < conditions->count; i++) {
        const struct config_member *member = &conditions->members[i];
        struct template_piece piece;
        const char *message;
        if (template_variable_parse(member->key, &schema->extras, &piece, &message) < 0 ||
                piece.variable != TEMPLATE_EXTRA ||
                has_handler(&server->uses, piece.extra->handler)) {
            continue; /* what is unknown was reported when the routes were read */
        }
        struct diagnostic *d = config_key_mistake(schema->diagnostics,
                DIAGNOSTIC_VARIABLE_UNKNOWN, member->value, "unknown variable \"%.*s\"",
                (int)(member->key.len < 200 ? member->key.len : 200), member->key.ptr);
        diagnostic_note(d, "the server does not use \"%s\", and no route is known yet",
                piece.extra->handler->name);
        diagnostic_hint(d, "add \"%s\" to the server's \"use\"", piece.extra->handler->name);
    }
}

void
template_check_match(struct schema *schema, const struct site_server *server,
        const struct config_value *match)
{
    const struct config_value *conditions = config_find_name(match, "variable");
    if (conditions != NULL) {
        check_conditions(schema, server, conditions);
    }
    for (uint32_t i = 0; match != NULL && match->kind == CONFIG_LIST && i < match->count; i++) {
        template_check_match(schema, server, match->items[i]);
    }
}
