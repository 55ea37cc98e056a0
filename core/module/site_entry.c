/* SPDX-License-Identifier: MIT */
/* One entry of a `use` or `handle` list: whose handler it names, and the options it gives. */
#include <stdio.h>

#include "module/loader.h"
#include "module/site_uses.h"

/* Handlers that CONFIG.md settles ("Keys that are settled", "Samples"). */
static const char *const settled[] = { "static", "proxy", "asgi", "wsgi", "respond", "redirect",
    "headers", "access_log", "error_pages", "metrics", "access", "rate_limit", "accel",
    "compress", "forward_auth" };

bool
site_is_settled_handler(struct weir_str name)
{
    for (size_t i = 0; i < sizeof(settled) / sizeof(settled[0]); i++) {
        if (weir_str_eq(name, weir_str_from(settled[i]))) {
            return true;
        }
    }
    return false;
}

static void
report_unknown(struct uses_builder *uses, const struct config_value *at, struct weir_str name)
{
    char all[300] = "";
    size_t len = 0;
    struct suggestion suggestion;
    suggestion_init(&suggestion, name);
    struct diagnostic *d = config_key_mistake(uses->schema->diagnostics,
            DIAGNOSTIC_HANDLER_UNKNOWN, at, "unknown handler \"%.*s\"", uses_cut(name),
            name.ptr);
    diagnostic_note(d, "no declared module provides this");
    for (uint32_t i = 0; uses->modules != NULL && i < uses->modules->count; i++) {
        const struct config_value *entry = uses->modules->items[i];
        const struct config_value *name_at = entry->kind == CONFIG_OBJECT
                ? config_find_name(entry, "name")
                : entry;
        if (name_at != NULL && name_at->kind == CONFIG_STRING && len < sizeof(all)) {
            suggestion_offer(&suggestion, name_at->string);
            len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%.*s",
                    len == 0 ? "" : ", ", uses_cut(name_at->string), name_at->string.ptr);
        }
    }
    for (const struct map_entry *e = NULL; (e = map_next(&uses->handlers, e)) != NULL;) {
        suggestion_offer(&suggestion, e->key);
    }
    suggestion_hint(&suggestion, d);
    diagnostic_more(d, "declared: %s", len == 0 ? "none" : all);
}

/* The declared handler of that name; NULL after a report, now or when it was declared. */
static const struct uses_declared *
find_handler(struct uses_builder *uses, const struct config_value *at, struct weir_str name)
{
    const struct uses_declared *found = map_find(&uses->handlers, name);
    if (found != NULL || map_find(&uses->missing, name) != NULL) {
        return found;
    }
    char text[65];
    bool is_installed = loader_is_name(name) &&
            weir_str_to_path(name, text, sizeof(text)) == 0 && loader_is_installed(text);
    if (!is_installed && !site_is_settled_handler(name)) {
        report_unknown(uses, at, name);
        return NULL;
    }
    struct diagnostic *d = config_key_mistake(uses->schema->diagnostics,
            is_installed ? DIAGNOSTIC_MODULE_UNDECLARED : DIAGNOSTIC_MODULE_NOT_IN_BUILD, at,
            "%s \"%.*s\" is not %s", is_installed ? "module" : "handler", uses_cut(name),
            name.ptr, is_installed ? "declared" : "in this build");
    if (!is_installed) {
        diagnostic_note(d, "a later version brings it");
    } else if (uses->modules != NULL) {
        diagnostic_hint(d, "add \"%.*s\" to \"modules\"", uses_cut(name), name.ptr);
        struct config_place place = uses->modules->place;
        place.length = place.length == 0 ? 0 : 1;
        diagnostic_other(d, &place, "the modules declared");
    } else {
        diagnostic_hint(d, "add \"modules\": [\"%.*s\"]", uses_cut(name), name.ptr);
    }
    return NULL;
}

/* The options that the value of a handler's key stands for. False after a report. */
static bool
read_options(struct uses_builder *uses, const struct weir_handler *handler,
        const struct config_value *value, struct uses_entry *out)
{
    const struct weir_option *shorthand = schema_shorthand(&handler->options);
    out->options = NULL;
    if (value->kind == CONFIG_OBJECT) {
        out->options = value;
    } else if (value->kind == CONFIG_FALSE) {
        out->is_removal = true;
        return true;
    } else if (value->kind == CONFIG_TRUE &&
            (shorthand == NULL || shorthand->type != WEIR_TYPE_BOOL)) {
        return true;
    } else if (value->kind == CONFIG_NULL || shorthand == NULL) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_TYPE, value,
                "\"%s\" takes an object, this is %s", handler->name,
                config_kind_text(value->kind));
        if (value->kind == CONFIG_NULL) {
            diagnostic_hint(d, "false removes a hook, {} leaves its options as they are");
        }
        return false;
    } else {
        struct config_value *object = config_object_new(uses->schema->arena, value, 1);
        if (object == NULL) {
            uses->schema->no_memory = true;
            return false;
        }
        config_object_add(object, weir_str_from(schema_key(shorthand)), value);
        out->options = object;
    }
    schema_check(uses->schema, &handler->options, out->options);
    return true;
}

static bool
read_as(struct uses_builder *uses, const struct config_value *value, struct uses_entry *out)
{
    struct weir_str name;
    if (!schema_expect_string(uses->schema, value, "\"as\"", &name)) {
        return false;
    }
    if (!loader_is_name(name)) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_NAME_FORM,
                value, "\"%.*s\" is no name", uses_cut(name), name.ptr);
        diagnostic_note(d, "letters, digits, _ and -; at most 64");
        return false;
    }
    out->name = name;
    return true;
}

/* { "handler": ..., "as": ..., "final": ... } */
static bool
read_object_entry(struct uses_builder *uses, const struct config_value *value,
        struct uses_entry *out)
{
    const struct config_value *at = NULL, *as = NULL, *final_at = NULL;
    bool ok = true;
    for (uint32_t i = 0; i < value->count; i++) {
        struct weir_str key = value->members[i].key;
        const struct config_value *member = value->members[i].value;
        if (weir_str_eq(key, WEIR_STR("as"))) {
            as = member;
        } else if (weir_str_eq(key, WEIR_STR("final"))) {
            final_at = member;
        } else if (at == NULL && !config_is_note(key)) {
            at = member;
        } else if (!config_is_note(key)) {
            struct suggestion suggestion;
            struct diagnostic *d = config_key_mistake(uses->schema->diagnostics,
                    DIAGNOSTIC_HANDLER_FORM, member, "an entry has exactly one handler");
            diagnostic_note(d, "beside it only \"as\" and \"final\"");
            suggestion_init(&suggestion, key);
            suggestion_offer(&suggestion, WEIR_STR("as"));
            suggestion_offer(&suggestion, WEIR_STR("final"));
            suggestion_hint(&suggestion, d);
            diagnostic_other(d, &at->key_place, "the handler");
            ok = false;
        }
    }
    if (at == NULL) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics,
                DIAGNOSTIC_HANDLER_FORM, value, "an entry has exactly one handler");
        diagnostic_note(d, "this one has none");
        return false;
    }
    out->where = at;
    out->declared = find_handler(uses, at, at->key);
    if (out->declared == NULL || !ok) {
        return false;
    }
    out->name = weir_str_from(out->declared->handler->name);
    bool is_final = false;
    ok = (as == NULL || read_as(uses, as, out)) && ok;
    ok = (final_at == NULL ||
                 schema_expect_bool(uses->schema, final_at, "\"final\"", &is_final)) &&
            ok;
    out->final_at = is_final ? final_at : NULL;
    return read_options(uses, out->declared->handler, at, out) && ok;
}

bool
uses_read_entry(struct uses_builder *uses, const struct config_value *value,
        struct uses_entry *out)
{
    *out = (struct uses_entry){ .where = value };
    if (value->kind == CONFIG_STRING) {
        /* Its place is its own, not that of the key "use" or "handle" before it. */
        struct config_value *where = uses_allocate(uses, 1, sizeof(*where));
        if (where == NULL) {
            return false;
        }
        *where = *value;
        where->key_place.source = NULL;
        out->where = where;
        out->declared = find_handler(uses, where, value->string);
        if (out->declared == NULL) {
            return false;
        }
        out->name = weir_str_from(out->declared->handler->name);
        return true;
    }
    if (value->kind == CONFIG_OBJECT) {
        return read_object_entry(uses, value, out);
    }
    config_mistake(uses->schema->diagnostics, DIAGNOSTIC_TYPE, value,
            "a handler is a name or an object, this is %s", config_kind_text(value->kind));
    return false;
}
