/* SPDX-License-Identifier: MIT */
/* Walks the values of options that are templates, and the conditions of `match`. */
#include "module/template_check.h"

#include <errno.h>
#include <stdio.h>

#include "config/template.h"

/* A variable that only some routes have, in a template. */
struct template_use_variable {
    struct template_piece piece;
    size_t has, lacks; /* routes; lacks: not those within which the template was written */
    const struct site_route *lacking; /* the first that lacks it; NULL: the server alone does */
};

/* The templates of one use of a handler. */
struct search {
    struct template_check *check;
    struct schema *schema;
    const struct route_table *table;
    const struct site_route *route; /* NULL: the server has none */
    const struct site_uses *uses,
            *handle; /* who may say something; handle NULL: nobody there */
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
report(struct schema *schema, const struct config_value *value, struct weir_str prefix,
        struct weir_str name, const char *what)
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
    return config_mistake(schema->diagnostics, DIAGNOSTIC_VARIABLE_UNKNOWN, &part, "%s \"%s\"",
            what, spelled);
}

static void
report_capture(const struct search *search, const struct config_value *value,
        struct weir_str name)
{
    struct diagnostic *d = report(search->schema, value, WEIR_STR("path."), name,
            "unknown variable");
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

static bool
is_of_some_routes(const struct template_piece *piece)
{
    return piece->variable == TEMPLATE_CAPTURE || piece->variable == TEMPLATE_EXTRA;
}

/* Whether the variable has a meaning here. */
static bool
is_said(const struct search *search, const struct template_piece *piece)
{
    if (piece->variable == TEMPLATE_CAPTURE) {
        return search->route != NULL &&
                route_has_capture(search->table, search->route->id, piece->text);
    }
    return has_handler(search->uses, piece->extra->handler) ||
            (search->handle != NULL && has_handler(search->handle, piece->extra->handler));
}

static void
report_missing(const struct search *search, const struct template_piece *piece,
        const struct config_value *value)
{
    if (piece->variable == TEMPLATE_CAPTURE) {
        report_capture(search, value, piece->text);
        return;
    }
    const char *handler = piece->extra->handler->name;
    struct diagnostic *d = report(search->schema, value, piece->extra->spelling, piece->text,
            "unknown variable");
    diagnostic_note(d, "the handler \"%s\", which says it, is not in use here", handler);
    diagnostic_hint(d, "add \"%s\" to the route's \"use\"", handler);
}

static struct template_use *
use_new(struct template_check *check, const struct weir_option *option,
        const struct config_value *value)
{
    struct schema *schema = check->schema;
    const struct weir_template *parsed;
    struct template_mistake mistake;
    struct template_use *use = schema_array(schema, 1, sizeof(*use));
    int r = use == NULL ? -ENOMEM
                        : template_parse(schema->arena, value->string, option->context,
                                  &schema->extras, &parsed, &mistake);
    schema->no_memory |= r == -ENOMEM;
    if (use == NULL) {
        return NULL;
    }
    use->value = value;
    size_t pieces = r == 0 ? parsed->count : 0; /* a malformed one was reported */
    use->variables = schema_array(schema, pieces, sizeof(*use->variables));
    for (size_t i = 0; use->variables != NULL && i < pieces; i++) {
        if (is_of_some_routes(&parsed->pieces[i])) {
            use->variables[use->count++].piece = parsed->pieces[i];
        }
    }
    return use;
}

static struct template_use *
find_use(struct template_check *check, const struct weir_option *option,
        const struct config_value *value)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%p", (const void *)value);
    struct weir_str key = weir_str_make(text, (size_t)len);
    struct template_use *use = map_find(&check->by_value, key);
    if (use != NULL) {
        return use;
    }
    use = use_new(check, option, value);
    key = arena_copy(check->schema->arena, key);
    if (use == NULL || key.ptr == NULL || map_set(&check->by_value, key, use) < 0) {
        check->schema->no_memory = true;
        return NULL;
    }
    *check->last = use;
    check->last = &use->next;
    return use;
}

static void
check_template(const struct search *search, const struct weir_option *option,
        const struct config_value *value)
{
    if (value->kind != CONFIG_STRING) {
        return;
    }
    struct template_use *use = find_use(search->check, option, value);
    for (size_t i = 0; use != NULL && i < use->count; i++) {
        struct template_use_variable *variable = &use->variables[i];
        if (is_said(search, &variable->piece)) {
            variable->has++;
        } else if (search->route != NULL && is_within(value, search->route->where)) {
            report_missing(search, &variable->piece, value);
        } else {
            variable->lacking = variable->lacks == 0 ? search->route : variable->lacking;
            variable->lacks++;
        }
    }
}

static void
report_lacking(struct schema *schema, const struct config_value *value,
        const struct template_use_variable *variable)
{
    const struct template_piece *piece = &variable->piece;
    bool is_capture = piece->variable == TEMPLATE_CAPTURE;
    bool is_nowhere = variable->has == 0;
    struct diagnostic *d = report(schema, value,
            is_capture ? WEIR_STR("path.") : piece->extra->spelling, piece->text,
            is_nowhere ? "unknown variable" : "not everywhere known:");
    if (!is_nowhere) {
        diagnostic_warn(d);
    }
    if (is_capture && is_nowhere) {
        diagnostic_note(d, "no pattern of a route that this serves names it");
    } else if (is_capture) {
        diagnostic_note(d, "not every route that this serves has a pattern that names it");
    } else {
        const char *handler = piece->extra->handler->name;
        diagnostic_note(d, "%s route that this serves uses \"%s\", which says it",
                is_nowhere ? "no" : "not every", handler);
        diagnostic_hint(d, "add \"%s\" to the \"use\" of the same layer", handler);
    }
    if (!is_nowhere && variable->lacking != NULL) {
        diagnostic_other(d, &variable->lacking->where->place, "a route without it");
    }
}

void
template_check_finish(struct template_check *check)
{
    for (const struct template_use *use = check->first; use != NULL; use = use->next) {
        for (size_t i = 0; i < use->count; i++) {
            if (use->variables[i].lacks > 0) {
                report_lacking(check->schema, use->value, &use->variables[i]);
            }
        }
    }
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

/* Hooks of these phases alone run before a route is known: only the server's uses count. */
static bool
is_before_routes(const struct weir_handler *handler)
{
    bool all = handler->hooks.count > 0;
    for (uint32_t i = 0; i < handler->hooks.count; i++) {
        all = all &&
                (handler->hooks.items[i].on == WEIR_ON_HEAD ||
                        handler->hooks.items[i].on == WEIR_ON_REWRITE);
    }
    return all;
}

static void
check_uses(struct template_check *check, const struct site_server *server,
        const struct site_route *route, const struct site_uses *uses)
{
    for (size_t i = 0; i < uses->count && !check->schema->no_memory; i++) {
        const struct site_use *use = &uses->items[i];
        bool is_early = route == NULL || is_before_routes(use->conf->handler);
        const struct search search = { check, check->schema, server->table, route,
            is_early ? &server->uses : &route->uses, is_early ? NULL : &route->handle };
        if (use->merged != NULL) {
            check_object(&search, &use->conf->handler->options, use->merged);
        }
    }
}

void
template_check_route(struct template_check *check, const struct site_server *server,
        const struct site_route *route)
{
    if (server->table == NULL) {
        return; /* its routes are wrong, which was reported */
    }
    check_uses(check, server, route, route == NULL ? &server->uses : &route->uses);
    if (route != NULL) {
        check_uses(check, server, route, &route->handle);
    }
}

void
template_check_init(struct template_check *check, struct schema *schema)
{
    *check = (struct template_check){ .schema = schema, .last = &check->first };
    map_init(&check->by_value);
}

void
template_check_fini(struct template_check *check)
{
    map_fini(&check->by_value);
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
template_check_match(struct template_check *check, const struct site_server *server,
        const struct config_value *match)
{
    const struct config_value *conditions = config_find_name(match, "variable");
    const struct config_value *inverted = config_find_name(match, "not");
    if (conditions != NULL) {
        check_conditions(check->schema, server, conditions);
    }
    if (inverted != NULL) {
        template_check_match(check, server, inverted);
    }
    for (uint32_t i = 0; match != NULL && match->kind == CONFIG_LIST && i < match->count; i++) {
        template_check_match(check, server, match->items[i]);
    }
}
