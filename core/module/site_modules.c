/* SPDX-License-Identifier: MIT */
/* The list `modules` (CONFIG.md, "Shape"): each entry's file is found and loaded, its handlers
 * become known, and its own options are filled. A part of site_uses.c's work. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "config/resolve.h"
#include "module/loader.h"
#include "module/site_tables.h"
#include "module/site_uses.h"

/* The nearest installed name; the names offered live only while they are offered. */
struct nearest {
    struct suggestion suggestion;
    char best[65];
};

static void
offer_name(void *context, const char *name)
{
    struct nearest *nearest = context;
    size_t before = nearest->suggestion.distance;
    suggestion_offer(&nearest->suggestion, weir_str_from(name));
    if (nearest->suggestion.distance < before) {
        snprintf(nearest->best, sizeof(nearest->best), "%s", name);
        nearest->suggestion.best = weir_str_from(nearest->best);
    }
}

static void
report_missing(struct uses_builder *uses, const struct config_value *at, struct weir_str name)
{
    if (site_is_settled_handler(name)) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics,
                DIAGNOSTIC_MODULE_NOT_IN_BUILD, at, "module \"%.*s\" is not in this build",
                uses_cut(name), name.ptr);
        diagnostic_note(d, "there is no %.*s.so in %s", uses_cut(name), name.ptr,
                loader_directory());
        return;
    }
    struct nearest nearest = { .best = "" };
    suggestion_init(&nearest.suggestion, name);
    if (loader_names(offer_name, &nearest) < 0) {
        uses->schema->no_memory = true;
    }
    struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_MODULE_UNKNOWN,
            at, "module \"%.*s\" is not installed", uses_cut(name), name.ptr);
    diagnostic_note(d, "there is no %.*s.so in %s", uses_cut(name), name.ptr,
            loader_directory());
    suggestion_hint(&nearest.suggestion, d);
}

static const struct config_value *
handler_defaults(struct uses_builder *uses, const struct weir_module *module,
        const struct weir_handler *handler, const struct config_value *defaults)
{
    if (defaults == NULL || defaults->kind != CONFIG_OBJECT) {
        return NULL;
    }
    /* Of a module with one handler they are that handler's; of several, each by its name. */
    if (module->handlers.count != 1) {
        defaults = config_find_name(defaults, handler->name);
        if (defaults == NULL || defaults->kind == CONFIG_NULL ||
                !schema_expect_object(uses->schema, defaults, "defaults of a handler")) {
            return NULL;
        }
    }
    schema_check(uses->schema, &handler->options, defaults);
    return defaults;
}

static void
check_defaults(struct uses_builder *uses, const struct weir_module *module,
        const struct config_value *defaults)
{
    if (defaults == NULL || defaults->kind == CONFIG_NULL ||
            !schema_expect_object(uses->schema, defaults, "\"defaults\" of a module") ||
            module->handlers.count == 1) {
        return;
    }
    for (uint32_t i = 0; i < defaults->count; i++) {
        struct weir_str key = defaults->members[i].key;
        bool is_known = config_is_note(key);
        for (size_t j = 0; j < module->handlers.count; j++) {
            is_known = is_known ||
                    weir_str_eq(key, weir_str_from(module->handlers.items[j].name));
        }
        if (!is_known) {
            struct diagnostic *d = config_key_mistake(uses->schema->diagnostics,
                    DIAGNOSTIC_KEY_UNKNOWN, defaults->members[i].value,
                    "module \"%s\" has no handler \"%.*s\"", module->name, uses_cut(key),
                    key.ptr);
            diagnostic_note(d, "the defaults of several handlers stand under their names");
        }
    }
}

static void
declare_handlers(struct uses_builder *uses, const struct weir_module *module,
        const struct config_value *where, const struct config_value *defaults)
{
    check_defaults(uses, module, defaults);
    for (size_t i = 0; i < module->handlers.count; i++) {
        const struct weir_handler *handler = &module->handlers.items[i];
        struct weir_str name = weir_str_from(handler->name);
        const struct uses_declared *other = map_find(&uses->handlers, name);
        if (other != NULL) {
            struct diagnostic *d = config_mistake(uses->schema->diagnostics,
                    DIAGNOSTIC_HANDLER_TWICE, where,
                    "modules \"%s\" and \"%s\" both provide the handler \"%s\"",
                    other->module->name, module->name, handler->name);
            diagnostic_other(d, &other->where->place, "declared here");
            continue;
        }
        struct uses_declared *declared = uses_allocate(uses, 1, sizeof(*declared));
        if (declared == NULL) {
            return;
        }
        *declared = (struct uses_declared){ module, handler,
            handler_defaults(uses, module, handler, defaults), where };
        uses_set(uses, &uses->handlers, name, declared);
    }
}

/* Fills the module's own options and lets it see them. */
static void
declare_options(struct uses_builder *uses, const struct config_value *where,
        const struct config_value *options, struct site_module *out)
{
    const struct weir_module *module = out->module;
    size_t before = diagnostics_reports(uses->schema->diagnostics);
    if (options != NULL && options->kind == CONFIG_NULL) {
        options = NULL;
    }
    if (options != NULL &&
            !schema_expect_object(uses->schema, options, "\"options\" of a module")) {
        return;
    }
    void *conf = uses_allocate(uses, 1, module->options.conf_bytes + 1);
    if (conf == NULL) {
        return;
    }
    schema_fill(uses->schema, &module->options, options, where, conf);
    out->options = module->options.count == 0 ? NULL : conf;
    out->given = options;
    if (diagnostics_reports(uses->schema->diagnostics) > before || uses->schema->no_memory) {
        return;
    }
    struct weir_conf_report report = { .diagnostics = uses->schema->diagnostics,
        .options = &module->options,
        .object = options,
        .where = where,
        .who = module->name,
        .zones = uses->zones,
        .declares = uses->zones };
    int r = loader_init(module, out->options, &report);
    if (r < 0 && !report.has_failed) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_MODULE_SAYS,
                where, "module \"%s\" cannot start", module->name);
        diagnostic_note(d, "%s", strerrordesc_np(-r) == NULL ? "" : strerrordesc_np(-r));
    }
}

static void
report_refused(struct uses_builder *uses, const struct config_value *at,
        const struct loader_mistake *mistake)
{
    struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_MODULE_REFUSED,
            at, "%s", mistake->message);
    diagnostic_note(d, "%s", mistake->note);
    if (mistake->hint[0] != '\0') {
        diagnostic_hint(d, "%s", mistake->hint);
    }
}

/* The key `path` of a declaration, resolved, into `path`; *value NULL: the entry has none. */
static bool
read_path(struct uses_builder *uses, const struct config_value *entry,
        const struct config_value **value, char *path, size_t bytes)
{
    *value = config_find_name(entry, "path");
    if (*value == NULL || (*value)->kind == CONFIG_NULL) {
        *value = NULL;
        return true;
    }
    struct weir_str text;
    if (!schema_expect_string(uses->schema, *value, "\"path\"", &text)) {
        return false;
    }
    struct weir_str resolved = resolve_path(uses->schema->arena, (*value)->place.source, text);
    if (resolved.ptr == NULL) {
        uses->schema->no_memory = true;
        return false;
    }
    if (weir_str_to_path(resolved, path, bytes) < 0) {
        config_mistake(uses->schema->diagnostics, DIAGNOSTIC_VALUE_FORM, *value,
                "this path is too long");
        return false;
    }
    return true;
}

/* The key `sha256` likewise. */
static bool
read_sum(struct uses_builder *uses, const struct config_value *entry,
        const struct config_value **value, struct weir_str *sum)
{
    *value = config_find_name(entry, "sha256");
    if (*value == NULL || (*value)->kind == CONFIG_NULL) {
        *value = NULL;
        return true;
    }
    if (!schema_expect_string(uses->schema, *value, "\"sha256\"", sum)) {
        return false;
    }
    size_t digits = 0;
    while (digits < sum->len && num_hex_digit(sum->ptr[digits]) >= 0) {
        digits++;
    }
    if (digits != sum->len || digits != 64) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_VALUE_FORM,
                *value, "this is no SHA-256: 64 hexadecimal digits");
        diagnostic_hint(d, "sha256sum FILE prints it");
        return false;
    }
    return true;
}

static bool
declare_module(struct uses_builder *uses, const struct config_value *entry,
        const struct config_value *name_at, struct map *seen, struct site_module *out)
{
    struct weir_str name = name_at->string;
    struct loader_mistake mistake;
    char path[4096];
    const struct config_value *first = map_find(seen, name);
    if (!loader_is_name(name)) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_NAME_FORM,
                name_at, "\"%.*s\" is no name of a module", uses_cut(name), name.ptr);
        diagnostic_note(d, "letters, digits, _ and -; files go under \"path\"");
        return false;
    }
    if (first != NULL) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_NAME_TWICE,
                name_at, "module \"%.*s\" is declared twice", uses_cut(name), name.ptr);
        diagnostic_other(d, &first->place, "first declared here");
        return false;
    }
    uses_set(uses, seen, name, name_at);
    const struct config_value *path_at, *sum_at;
    struct weir_str sum;
    if (!read_path(uses, entry, &path_at, path, sizeof(path)) ||
            !read_sum(uses, entry, &sum_at, &sum)) {
        return false;
    }
    const char *file = path_at == NULL ? NULL : path;
    int r = sum_at == NULL ? 0 : loader_verify(name.ptr, file, sum, &mistake);
    const struct config_value *wrong_at = sum_at;
    if (r == 0) {
        r = loader_open(name.ptr, file, &out->module, &mistake);
        wrong_at = file == NULL ? name_at : path_at;
    }
    if (r == 0) {
        out->where = name_at;
        return true;
    }
    uses_set(uses, &uses->missing, name, name_at);
    if (r == -ENOMEM) {
        uses->schema->no_memory = true;
    } else if (r == -ENOENT && file != NULL) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics,
                DIAGNOSTIC_MODULE_UNKNOWN, path_at, "there is no file \"%s\"", path);
        diagnostic_note(d, "module \"%.*s\"", uses_cut(name), name.ptr);
    } else if (r == -ENOENT) {
        report_missing(uses, name_at, name);
    } else {
        report_refused(uses, wrong_at, &mistake);
    }
    return false;
}

/* What templates may say from now on. */
static void
declare_variables(struct uses_builder *uses, const struct weir_handler *handler)
{
    struct template_extras *extras = &uses->schema->extras;
    for (uint32_t i = 0; i < handler->variables.count; i++) {
        const struct weir_variable *variable = &handler->variables.items[i];
        char *spelling = uses_allocate(uses, 2 * LOADER_NAME_MAX + 3, 1);
        if (extras->count == uses->extras_room) {
            size_t room = uses->extras_room * 2 + 8;
            struct template_extra *items = uses_allocate(uses, room, sizeof(*items));
            if (items == NULL) {
                return;
            }
            if (extras->count > 0) {
                memcpy(items, extras->items, extras->count * sizeof(*items));
            }
            extras->items = uses->extras = items;
            uses->extras_room = room;
        }
        if (spelling == NULL) {
            return;
        }
        int len = snprintf(spelling, 2 * LOADER_NAME_MAX + 3, "%s.%s", handler->name,
                variable->name);
        uses->extras[extras->count++] = (struct template_extra){
            weir_str_make(spelling, (size_t)len), handler, variable
        };
    }
}

/* True when the module is there, and what it adds to templates is known. */
static bool
declare_entry(struct uses_builder *uses, const struct config_value *entry, struct map *seen,
        struct site_module *out)
{
    const struct config_value *name_at = entry;
    struct weir_str name;
    if (entry->kind == CONFIG_OBJECT) {
        struct module_conf
                conf; /* what it says of crashes is the master's: site_crash_policy() */
        schema_fill(uses->schema, &site_module_options, entry, entry, &conf);
        name_at = config_find_name(entry, "name");
        if (name_at == NULL) {
            struct diagnostic *d = config_mistake(uses->schema->diagnostics,
                    DIAGNOSTIC_REQUIRED, entry, "\"name\" is missing");
            diagnostic_note(d, "a module has a name");
            return false;
        }
    }
    if (!schema_expect_string(uses->schema, name_at, "the name of a module", &name) ||
            !declare_module(uses, entry, name_at, seen, out)) {
        return false;
    }
    const struct weir_handlers *handlers = &out->module->handlers;
    for (uint32_t i = 0; i < handlers->count; i++) {
        declare_variables(uses, &handlers->items[i]);
    }
    return true;
}

void
uses_declare(struct uses_builder *uses, struct site *site)
{
    const struct config_value *modules = config_find_name(site->document, "modules");
    if (modules == NULL || modules->kind == CONFIG_NULL) {
        return;
    }
    if (!schema_expect_list(uses->schema, modules, "\"modules\"")) {
        return;
    }
    uses->modules = modules;
    struct site_module *made = uses_allocate(uses, modules->count, sizeof(*made));
    struct map seen;
    map_init(&seen);
    for (uint32_t i = 0; made != NULL && i < modules->count && !uses->schema->no_memory; i++) {
        site->modules_count += declare_entry(uses, modules->items[i], &seen,
                &made[site->modules_count]);
    }
    map_fini(&seen);
    site->modules = made;
    /* The templates of each may say what any of them adds. */
    for (size_t i = 0; i < site->modules_count && !uses->schema->no_memory; i++) {
        const struct config_value *name_at = made[i].where;
        const struct config_value *entry = name_at->parent != NULL &&
                        name_at->parent->kind == CONFIG_OBJECT
                ? name_at->parent
                : NULL;
        declare_options(uses, name_at, config_find_name(entry, "options"), &made[i]);
        declare_handlers(uses, made[i].module, name_at, config_find_name(entry, "defaults"));
    }
}
