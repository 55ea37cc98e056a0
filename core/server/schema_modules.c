/* SPDX-License-Identifier: MIT */
/* A handler is a definition of its own, "handler-MODULE-HANDLER", to which the entries of "use"
 * and "handle" and the defaults of its module refer. */
#include "server/schema_modules.h"

#include <errno.h>
#include <stdio.h>

#include "config/json_schema.h"
#include "config/schema.h"
#include "module/loader.h"

/* Where an entry stands. */
enum list {
    LIST_USE,        /* of "defaults" and listeners */
    LIST_SERVER_USE, /* of servers */
    LIST_ROUTE_USE,
    LIST_HANDLE,
};

static bool
is_in_list(const struct weir_handler *handler, enum list list)
{
    static const unsigned connection = 1u << WEIR_ON_ACCEPT | 1u << WEIR_ON_OPEN |
            1u << WEIR_ON_CLOSE;
    static const unsigned early = 1u << WEIR_ON_HEAD | 1u << WEIR_ON_REWRITE;
    unsigned phases = 0;
    for (size_t i = 0; i < handler->hooks.count; i++) {
        phases |= 1u << handler->hooks.items[i].on;
    }
    unsigned content = phases & 1u << WEIR_ON_CONTENT, others = phases & ~content;
    if (list == LIST_HANDLE) {
        return content != 0;
    }
    if (others == 0 || list == LIST_USE) {
        return others != 0 || content == 0;
    }
    return (others & ~(list == LIST_ROUTE_USE ? connection | early : connection)) != 0;
}

/* What may stand as value of the handler's key. */
static void
emit_handler_value(struct emit *emit, const struct weir_module *module,
        const struct weir_handler *handler, enum list list)
{
    char ref[192];
    const struct weir_option *shorthand = schema_shorthand(&handler->options);
    snprintf(ref, sizeof(ref), "#/$defs/handler-%s-%s", module->name, handler->name);
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    emit_object_begin(emit);
    emit_member_string(emit, "$ref", ref);
    emit_object_end(emit);
    emit_json(emit, list == LIST_HANDLE ? "{\"const\":true}" : "{\"type\":\"boolean\"}");
    if (shorthand != NULL) {
        json_schema_option(emit, shorthand, false);
    }
    emit_list_end(emit);
    if (list == LIST_HANDLE) {
        emit_key(emit, "not"); /* false removes hooks */
        emit_json(emit, "{\"const\":false}");
    }
    emit_object_end(emit);
}

/* { "NAME": options, "as": ..., "final": ... } */
static void
emit_entry(struct emit *emit, const struct weir_module *module,
        const struct weir_handler *handler, enum list list)
{
    emit_object_begin(emit);
    emit_member_string(emit, "type", "object");
    emit_key(emit, "properties");
    emit_object_begin(emit);
    emit_key(emit, handler->name);
    if (is_in_list(handler, list)) {
        emit_handler_value(emit, module, handler, list);
    } else {
        emit_json(emit, "{\"const\":false}");
    }
    emit_key(emit, "as");
    emit_json(emit, "{\"$ref\":\"#/$defs/name\"}");
    emit_key(emit, "final");
    emit_json(emit, "{\"anyOf\":[{\"type\":\"boolean\"},{\"$ref\":\"#/$defs/expanded\"}]}");
    emit_object_end(emit);
    emit_key(emit, "required");
    emit_list_begin(emit);
    emit_string(emit, weir_str_from(handler->name));
    emit_list_end(emit);
    emit_key(emit, "patternProperties");
    emit_json(emit, "{\"^x-\":true}");
    emit_member_bool(emit, "additionalProperties", false);
    emit_object_end(emit);
}

static void
emit_entries(struct emit *emit, const struct schema_modules *modules, const char *name,
        enum list list)
{
    emit_key(emit, name);
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    emit_object_begin(emit);
    emit_key(emit, "enum");
    emit_list_begin(emit);
    for (size_t i = 0; i < modules->count; i++) {
        for (size_t j = 0; j < modules->items[i]->handlers.count; j++) {
            const struct weir_handler *handler = &modules->items[i]->handlers.items[j];
            if (is_in_list(handler, list)) {
                emit_string(emit, weir_str_from(handler->name));
            }
        }
    }
    emit_list_end(emit);
    emit_object_end(emit);
    emit_json(emit, "{\"$ref\":\"#/$defs/expanded\"}");
    for (size_t i = 0; i < modules->count; i++) {
        for (size_t j = 0; j < modules->items[i]->handlers.count; j++) {
            const struct weir_handler *handler = &modules->items[i]->handlers.items[j];
            if (is_in_list(handler, list) || list != LIST_HANDLE) {
                emit_entry(emit, modules->items[i], handler, list);
            }
        }
    }
    emit_list_end(emit);
    emit_object_end(emit);
}

/* A member "properties" for one key: `begin_property` ... emit_object_end(). */
static void
begin_property(struct emit *emit, const char *key)
{
    emit_key(emit, "properties");
    emit_object_begin(emit);
    emit_key(emit, key);
}

/* Options that must be there in the end */

static size_t
count_required(const struct weir_options *options)
{
    size_t count = 0;
    for (size_t i = 0; i < options->count; i++) {
        count += schema_option(options, i)->required;
    }
    return count;
}

/* Keys of an open schema of an object that has them all. */
static void
emit_given(struct emit *emit, const struct weir_options *options)
{
    emit_key(emit, "required");
    emit_list_begin(emit);
    for (size_t i = 0; i < options->count; i++) {
        if (schema_option(options, i)->required) {
            emit_string(emit, weir_str_from(schema_key(schema_option(options, i))));
        }
    }
    emit_list_end(emit);
    emit_key(emit, "properties");
    emit_object_begin(emit);
    for (size_t i = 0; i < options->count; i++) {
        if (schema_option(options, i)->required) {
            emit_key(emit, schema_key(schema_option(options, i)));
            emit_json(emit, "{\"not\":{\"type\":\"null\"}}");
        }
    }
    emit_object_end(emit);
}

/* An entry of `handle` that is of another handler, or has the options it needs. */
static void
emit_complete_entry(struct emit *emit, const struct weir_handler *handler)
{
    const struct weir_option *shorthand = schema_shorthand(&handler->options);
    bool is_short = shorthand != NULL && shorthand->required &&
            count_required(&handler->options) == 1;
    emit_object_begin(emit);
    emit_key(emit, "not");
    emit_object_begin(emit);
    emit_member_string(emit, "const", handler->name);
    emit_object_end(emit);
    begin_property(emit, handler->name);
    emit_object_begin(emit);
    if (is_short) {
        emit_key(emit, "not");
        emit_json(emit, "{\"const\":true}");
    } else {
        emit_member_string(emit, "type", "object");
    }
    emit_given(emit, &handler->options);
    emit_object_end(emit);
    emit_object_end(emit);
    emit_object_end(emit);
}

static void
reference(char *dst, size_t bytes, const char *what, const struct weir_module *module,
        const struct weir_handler *handler)
{
    snprintf(dst, bytes, "{\"$ref\":\"#/$defs/%s-%s-%s\"}", what, module->name, handler->name);
}

/* "complete-M-H" of an entry, "routes-M-H" of a server or route all of whose entries are. */
static void
emit_complete(struct emit *emit, const struct weir_module *module,
        const struct weir_handler *handler)
{
    char entry[256], routes[256], name[192];
    reference(entry, sizeof(entry), "complete", module, handler);
    reference(routes, sizeof(routes), "routes", module, handler);
    snprintf(name, sizeof(name), "complete-%s-%s", module->name, handler->name);
    emit_key(emit, name);
    emit_complete_entry(emit, handler);
    snprintf(name, sizeof(name), "routes-%s-%s", module->name, handler->name);
    emit_key(emit, name);
    emit_object_begin(emit);
    begin_property(emit, "handle");
    emit_object_begin(emit);
    emit_key(emit, "allOf");
    emit_list_begin(emit);
    emit_json(emit, entry);
    emit_list_end(emit);
    emit_key(emit, "items");
    emit_json(emit, entry);
    emit_object_end(emit);
    emit_key(emit, "routes");
    emit_object_begin(emit);
    emit_key(emit, "items");
    emit_json(emit, routes);
    emit_object_end(emit);
    emit_object_end(emit);
    emit_object_end(emit);
}

/* Unless the module's defaults give them (an included file may have those), every use in
 * `handle` has its required options. */
static void
emit_completeness(struct emit *emit, const struct weir_module *module,
        const struct weir_handler *handler)
{
    char routes[256];
    reference(routes, sizeof(routes), "routes", module, handler);
    emit_object_begin(emit);
    emit_key(emit, "if");
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    emit_json(emit, "{\"required\":[\"include\"]}");
    emit_object_begin(emit);
    emit_key(emit, "required");
    emit_json(emit, "[\"modules\"]");
    begin_property(emit, "modules");
    emit_object_begin(emit);
    emit_key(emit, "contains");
    emit_object_begin(emit);
    emit_member_string(emit, "type", "object");
    emit_key(emit, "required");
    emit_json(emit, "[\"name\",\"defaults\"]");
    begin_property(emit, "name");
    emit_object_begin(emit);
    emit_member_string(emit, "const", module->name);
    emit_object_end(emit);
    emit_key(emit, "defaults");
    emit_object_begin(emit);
    emit_member_string(emit, "type", "object");
    if (module->handlers.count == 1) {
        emit_given(emit, &handler->options);
    } else {
        emit_key(emit, "required");
        emit_list_begin(emit);
        emit_string(emit, weir_str_from(handler->name));
        emit_list_end(emit);
        begin_property(emit, handler->name);
        emit_object_begin(emit);
        emit_member_string(emit, "type", "object");
        emit_given(emit, &handler->options);
        emit_object_end(emit);
        emit_object_end(emit);
    }
    emit_object_end(emit); /* defaults */
    emit_object_end(emit); /* properties of the entry */
    emit_object_end(emit); /* contains */
    emit_object_end(emit); /* modules */
    emit_object_end(emit); /* properties */
    emit_object_end(emit);
    emit_list_end(emit);
    emit_object_end(emit);
    emit_key(emit, "else");
    emit_object_begin(emit);
    begin_property(emit, "servers");
    emit_object_begin(emit);
    emit_key(emit, "items");
    emit_json(emit, routes);
    emit_object_end(emit);
    emit_object_end(emit);
    emit_object_end(emit);
    emit_object_end(emit);
}

typedef void each_fn(struct emit *emit, const struct weir_module *module,
        const struct weir_handler *handler);

static void
for_each_that_needs(struct emit *emit, const struct schema_modules *modules, each_fn *each)
{
    for (size_t i = 0; i < modules->count; i++) {
        for (size_t j = 0; j < modules->items[i]->handlers.count; j++) {
            const struct weir_handler *handler = &modules->items[i]->handlers.items[j];
            if (is_in_list(handler, LIST_HANDLE) && count_required(&handler->options) > 0) {
                each(emit, modules->items[i], handler);
            }
        }
    }
}

/* Entries of `modules` */

/* "options" and "defaults" of one module, known by its name alone. */
static void
emit_module_members(struct emit *emit, const struct weir_module *module)
{
    char ref[256];
    begin_property(emit, "options");
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    json_schema_object(emit, &module->options, module->name, NULL, true);
    emit_json(emit, "{\"type\":\"null\"}");
    emit_list_end(emit);
    emit_object_end(emit);
    emit_key(emit, "defaults");
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    if (module->handlers.count == 1) {
        reference(ref, sizeof(ref), "handler", module, &module->handlers.items[0]);
        emit_json(emit, ref);
    } else {
        emit_object_begin(emit);
        emit_member_string(emit, "type", "object");
        emit_key(emit, "properties");
        emit_object_begin(emit);
        for (size_t i = 0; i < module->handlers.count; i++) {
            const struct weir_handler *handler = &module->handlers.items[i];
            reference(ref, sizeof(ref), "handler", module, handler);
            emit_key(emit, handler->name);
            emit_object_begin(emit);
            emit_key(emit, "anyOf");
            emit_list_begin(emit);
            emit_json(emit, ref);
            emit_json(emit, "{\"type\":\"null\"}");
            emit_list_end(emit);
            emit_object_end(emit);
        }
        emit_object_end(emit);
        emit_key(emit, "patternProperties");
        emit_json(emit, "{\"^x-\":true}");
        emit_member_bool(emit, "additionalProperties", false);
        emit_object_end(emit);
    }
    emit_json(emit, "{\"type\":\"null\"}");
    emit_list_end(emit);
    emit_object_end(emit);
    emit_object_end(emit);
}

/* What another file (`path`) has under a name is not known here. */
static void
emit_module_entry(struct emit *emit, const struct schema_modules *modules)
{
    emit_key(emit, "module_entry");
    emit_object_begin(emit);
    emit_member_string(emit, "$ref", "#/$defs/module");
    emit_key(emit, "if");
    emit_json(emit,
            "{\"not\":{\"required\":[\"path\"],\"properties\":{\"path\":{\"type\":\"string\"}}}}");
    emit_key(emit, "then");
    emit_object_begin(emit);
    begin_property(emit, "name");
    emit_json(emit, "{\"$ref\":\"#/$defs/module_name\"}");
    emit_object_end(emit);
    emit_key(emit, "allOf");
    emit_list_begin(emit);
    for (size_t i = 0; i < modules->count; i++) {
        emit_object_begin(emit);
        emit_key(emit, "if");
        emit_object_begin(emit);
        begin_property(emit, "name");
        emit_object_begin(emit);
        emit_member_string(emit, "const", modules->items[i]->name);
        emit_object_end(emit);
        emit_object_end(emit);
        emit_object_end(emit);
        emit_key(emit, "then");
        emit_object_begin(emit);
        emit_module_members(emit, modules->items[i]);
        emit_object_end(emit);
        emit_object_end(emit);
    }
    emit_list_end(emit);
    emit_object_end(emit);
    emit_object_end(emit);
}

static void
emit_module_name(struct emit *emit, const struct schema_modules *modules)
{
    emit_key(emit, "module_name");
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    emit_object_begin(emit);
    emit_key(emit, "enum");
    emit_list_begin(emit);
    for (size_t i = 0; i < modules->count; i++) {
        emit_string(emit, weir_str_from(modules->items[i]->name));
    }
    emit_list_end(emit);
    emit_object_end(emit);
    emit_json(emit, "{\"$ref\":\"#/$defs/expanded\"}");
    emit_list_end(emit);
    emit_object_end(emit);
}

void
schema_modules_write(struct emit *emit, const struct schema_modules *modules)
{
    char key[192];
    emit_module_name(emit, modules);
    emit_module_entry(emit, modules);
    for (size_t i = 0; i < modules->count; i++) {
        for (size_t j = 0; j < modules->items[i]->handlers.count; j++) {
            const struct weir_handler *handler = &modules->items[i]->handlers.items[j];
            snprintf(key, sizeof(key), "handler-%s-%s", modules->items[i]->name, handler->name);
            emit_key(emit, key);
            json_schema_object(emit, &handler->options, NULL, NULL, true);
        }
    }
    emit_entries(emit, modules, "use", LIST_USE);
    emit_entries(emit, modules, "server_use", LIST_SERVER_USE);
    emit_entries(emit, modules, "route_use", LIST_ROUTE_USE);
    emit_entries(emit, modules, "handle", LIST_HANDLE);
    for_each_that_needs(emit, modules, emit_complete);
}

void
schema_modules_write_completeness(struct emit *emit, const struct schema_modules *modules)
{
    for_each_that_needs(emit, modules, emit_completeness);
}

int
schema_modules_variables(const struct schema_modules *modules, struct arena *arena,
        struct template_extras *out)
{
    size_t count = 0;
    for (size_t i = 0; i < modules->count; i++) {
        for (size_t j = 0; j < modules->items[i]->handlers.count; j++) {
            count += modules->items[i]->handlers.items[j].variables.count;
        }
    }
    struct template_extra *items = arena_array(arena, count, sizeof(*items));
    *out = (struct template_extras){ items, 0 };
    if (items == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < modules->count; i++) {
        for (size_t j = 0; j < modules->items[i]->handlers.count; j++) {
            const struct weir_handler *handler = &modules->items[i]->handlers.items[j];
            for (uint32_t k = 0; k < handler->variables.count; k++) {
                char text[2 * LOADER_NAME_MAX + 3];
                int len = snprintf(text, sizeof(text), "%s.%s", handler->name,
                        handler->variables.items[k].name);
                struct weir_str spelling = arena_copy(arena, weir_str_make(text, (size_t)len));
                if (spelling.ptr == NULL) {
                    return -ENOMEM;
                }
                items[out->count++] = (struct template_extra){ spelling, handler,
                    &handler->variables.items[k] };
            }
        }
    }
    return 0;
}
