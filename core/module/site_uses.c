/* SPDX-License-Identifier: MIT */
/* An entry of a list is known by its `as`, or its handler's name. What an inner list says about
 * a known entry reconfigures or removes it in its place; anything else goes to the end. */
#include "module/site_uses.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/resolve.h"
#include "module/loader.h"
#include "module/site_tables.h"

/* Hooks of one summed list. */
#define USES_MAX 1000

/* Handlers that CONFIG.md settles ("Keys that are settled", "Samples"). */
static const char *const settled[] = { "static", "proxy", "asgi", "wsgi", "respond", "redirect",
    "headers", "access_log", "error_pages", "metrics", "access", "rate_limit", "accel",
    "compress" };

/* A handler of a declared module. */
struct declared {
    const struct weir_module *module;
    const struct weir_handler *handler;
    const struct config_value *defaults; /* the module entry's, for this handler; NULL: none */
    const struct config_value *where;    /* the module's entry */
};

/* One entry as written. */
struct entry {
    const struct declared *declared;
    struct weir_str name;
    const struct config_value *options; /* an object; NULL: none given */
    const struct config_value *where;   /* the handler's key, or the name */
    const struct config_value *final_at;
    bool is_removal;
};

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

void
uses_init(struct uses_builder *uses, struct schema *schema)
{
    *uses = (struct uses_builder){ .schema = schema };
    map_init(&uses->handlers);
    map_init(&uses->missing);
    map_init(&uses->confs);
}

void
uses_fini(struct uses_builder *uses)
{
    map_fini(&uses->handlers);
    map_fini(&uses->missing);
    map_fini(&uses->confs);
    free(uses->made);
}

static void *
allocate(struct uses_builder *uses, size_t count, size_t bytes)
{
    void *memory = arena_array(uses->schema->arena, count, bytes);
    uses->schema->no_memory |= memory == NULL;
    return memory;
}

static void
set(struct uses_builder *uses, struct map *map, struct weir_str key, const void *value)
{
    if (map_set(map, key, (void *)(uintptr_t)value) < 0) {
        uses->schema->no_memory = true;
    }
}

static int
cut(struct weir_str text)
{
    return (int)(text.len < 100 ? text.len : 100);
}

/* Modules */

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
                cut(name), name.ptr);
        diagnostic_note(d, "there is no %.*s.so in %s", cut(name), name.ptr,
                loader_directory());
        return;
    }
    struct nearest nearest = { .best = "" };
    suggestion_init(&nearest.suggestion, name);
    if (loader_names(offer_name, &nearest) < 0) {
        uses->schema->no_memory = true;
    }
    struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_MODULE_UNKNOWN,
            at, "module \"%.*s\" is not installed", cut(name), name.ptr);
    diagnostic_note(d, "there is no %.*s.so in %s", cut(name), name.ptr, loader_directory());
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
                    "module \"%s\" has no handler \"%.*s\"", module->name, cut(key), key.ptr);
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
        const struct declared *other = map_find(&uses->handlers, name);
        if (other != NULL) {
            struct diagnostic *d = config_mistake(uses->schema->diagnostics,
                    DIAGNOSTIC_HANDLER_TWICE, where,
                    "modules \"%s\" and \"%s\" both provide the handler \"%s\"",
                    other->module->name, module->name, handler->name);
            diagnostic_other(d, &other->where->place, "declared here");
            continue;
        }
        struct declared *declared = allocate(uses, 1, sizeof(*declared));
        if (declared == NULL) {
            return;
        }
        *declared = (struct declared){ module, handler,
            handler_defaults(uses, module, handler, defaults), where };
        set(uses, &uses->handlers, name, declared);
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
    void *conf = allocate(uses, 1, module->options.conf_bytes + 1);
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
        .who = module->name };
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
    while (digits < sum->len && sum->ptr[digits] != '\0' &&
            strchr("0123456789abcdefABCDEF", sum->ptr[digits]) != NULL) {
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
                name_at, "\"%.*s\" is no name of a module", cut(name), name.ptr);
        diagnostic_note(d, "letters, digits, _ and -; files go under \"path\"");
        return false;
    }
    if (first != NULL) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_NAME_TWICE,
                name_at, "module \"%.*s\" is declared twice", cut(name), name.ptr);
        diagnostic_other(d, &first->place, "first declared here");
        return false;
    }
    set(uses, seen, name, name_at);
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
    set(uses, &uses->missing, name, name_at);
    if (r == -ENOMEM) {
        uses->schema->no_memory = true;
    } else if (r == -ENOENT && file != NULL) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics,
                DIAGNOSTIC_MODULE_UNKNOWN, path_at, "there is no file \"%s\"", path);
        diagnostic_note(d, "module \"%.*s\"", cut(name), name.ptr);
    } else if (r == -ENOENT) {
        report_missing(uses, name_at, name);
    } else {
        report_refused(uses, wrong_at, &mistake);
    }
    return false;
}

static void
declare_entry(struct uses_builder *uses, const struct config_value *entry, struct map *seen,
        struct site_module *modules, size_t *count)
{
    const struct config_value *name_at = entry;
    const struct config_value *options = NULL, *defaults = NULL;
    struct weir_str name;
    if (entry->kind == CONFIG_OBJECT) {
        schema_check_keys(uses->schema, &site_module_options, entry);
        name_at = config_find_name(entry, "name");
        options = config_find_name(entry, "options");
        defaults = config_find_name(entry, "defaults");
        if (name_at == NULL) {
            struct diagnostic *d = config_mistake(uses->schema->diagnostics,
                    DIAGNOSTIC_REQUIRED, entry, "\"name\" is missing");
            diagnostic_note(d, "a module has a name");
            return;
        }
    }
    if (!schema_expect_string(uses->schema, name_at, "the name of a module", &name)) {
        return;
    }
    struct site_module *module = &modules[*count];
    if (declare_module(uses, entry, name_at, seen, module)) {
        (*count)++;
        declare_options(uses, name_at, options, module);
        declare_handlers(uses, module->module, name_at, defaults);
    }
}

void
uses_declare(struct uses_builder *uses, struct site *site)
{
    const struct config_value *modules = config_find_name(site->document, "modules");
    if (modules == NULL || modules->kind == CONFIG_NULL) {
        return;
    }
    if (modules->kind != CONFIG_LIST) {
        config_mistake(uses->schema->diagnostics, DIAGNOSTIC_TYPE, modules,
                "\"modules\" is a list, this is %s", config_kind_text(modules->kind));
        return;
    }
    uses->modules = modules;
    struct site_module *made = allocate(uses, modules->count, sizeof(*made));
    struct map seen;
    map_init(&seen);
    for (uint32_t i = 0; made != NULL && i < modules->count && !uses->schema->no_memory; i++) {
        declare_entry(uses, modules->items[i], &seen, made, &site->modules_count);
    }
    map_fini(&seen);
    site->modules = made;
}

/* Entries */

static void
report_unknown(struct uses_builder *uses, const struct config_value *at, struct weir_str name)
{
    char all[300] = "";
    size_t len = 0;
    struct suggestion suggestion;
    suggestion_init(&suggestion, name);
    struct diagnostic *d = config_key_mistake(uses->schema->diagnostics,
            DIAGNOSTIC_HANDLER_UNKNOWN, at, "unknown handler \"%.*s\"", cut(name), name.ptr);
    diagnostic_note(d, "no declared module provides this");
    for (uint32_t i = 0; uses->modules != NULL && i < uses->modules->count; i++) {
        const struct config_value *entry = uses->modules->items[i];
        const struct config_value *name_at = entry->kind == CONFIG_OBJECT
                ? config_find_name(entry, "name")
                : entry;
        if (name_at != NULL && name_at->kind == CONFIG_STRING && len < sizeof(all)) {
            suggestion_offer(&suggestion, name_at->string);
            len += (size_t)snprintf(all + len, sizeof(all) - len, "%s%.*s",
                    len == 0 ? "" : ", ", cut(name_at->string), name_at->string.ptr);
        }
    }
    for (const struct map_entry *e = NULL; (e = map_next(&uses->handlers, e)) != NULL;) {
        suggestion_offer(&suggestion, e->key);
    }
    suggestion_hint(&suggestion, d);
    diagnostic_more(d, "declared: %s", len == 0 ? "none" : all);
}

/* The declared handler of that name; NULL after a report, now or when it was declared. */
static const struct declared *
find_handler(struct uses_builder *uses, const struct config_value *at, struct weir_str name)
{
    const struct declared *found = map_find(&uses->handlers, name);
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
            "%s \"%.*s\" is not %s", is_installed ? "module" : "handler", cut(name), name.ptr,
            is_installed ? "declared" : "in this build");
    if (!is_installed) {
        diagnostic_note(d, "a later version brings it");
    } else if (uses->modules != NULL) {
        diagnostic_hint(d, "add \"%.*s\" to \"modules\"", cut(name), name.ptr);
        struct config_place place = uses->modules->place;
        place.length = place.length == 0 ? 0 : 1;
        diagnostic_other(d, &place, "the modules declared");
    } else {
        diagnostic_hint(d, "add \"modules\": [\"%.*s\"]", cut(name), name.ptr);
    }
    return NULL;
}

/* The options that the value of a handler's key stands for. False after a report. */
static bool
read_options(struct uses_builder *uses, const struct weir_handler *handler,
        const struct config_value *value, struct entry *out)
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
read_as(struct uses_builder *uses, const struct config_value *value, struct entry *out)
{
    struct weir_str name;
    if (!schema_expect_string(uses->schema, value, "\"as\"", &name)) {
        return false;
    }
    if (!loader_is_name(name)) {
        struct diagnostic *d = config_mistake(uses->schema->diagnostics, DIAGNOSTIC_NAME_FORM,
                value, "\"%.*s\" is no name", cut(name), name.ptr);
        diagnostic_note(d, "letters, digits, _ and -; at most 64");
        return false;
    }
    out->name = name;
    return true;
}

/* { "handler": ..., "as": ..., "final": ... } */
static bool
read_object_entry(struct uses_builder *uses, const struct config_value *value,
        struct entry *out)
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
            struct diagnostic *d = config_key_mistake(uses->schema->diagnostics,
                    DIAGNOSTIC_HANDLER_FORM, member, "an entry has exactly one handler");
            diagnostic_note(d, "beside it only \"as\" and \"final\"");
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

static bool
read_entry(struct uses_builder *uses, const struct config_value *value, struct entry *out)
{
    *out = (struct entry){ .where = value };
    if (value->kind == CONFIG_STRING) {
        /* Its place is its own, not that of the key "use" or "handle" before it. */
        struct config_value *where = allocate(uses, 1, sizeof(*where));
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

/* Where a handler may stand */

#define CONNECTION_PHASES (1u << WEIR_ON_ACCEPT | 1u << WEIR_ON_OPEN | 1u << WEIR_ON_CLOSE)
#define SERVER_PHASES     (1u << WEIR_ON_HEAD | 1u << WEIR_ON_REWRITE)

static unsigned
phases_of(const struct weir_handler *handler)
{
    unsigned phases = 0;
    for (size_t i = 0; i < handler->hooks.count; i++) {
        phases |= 1u << handler->hooks.items[i].on;
    }
    return phases;
}

static struct diagnostic *
misplaced(struct uses_builder *uses, enum diagnostic_code code, const struct entry *entry,
        const char *why)
{
    return config_key_mistake(uses->schema->diagnostics, code, entry->where, "\"%s\" %s",
            entry->declared->handler->name, why);
}

static bool
may_be_used(struct uses_builder *uses, const struct entry *entry, enum uses_level level)
{
    unsigned phases = phases_of(entry->declared->handler);
    if (phases == 1u << WEIR_ON_CONTENT) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_HANDLER_PLACE, entry,
                "makes answers; it is no hook");
        diagnostic_hint(d, "put it under \"handle\" of a route");
        return false;
    }
    phases &= ~(1u << WEIR_ON_CONTENT);
    if (phases == 0 || level == USES_LISTENER) {
        return true;
    }
    if ((phases & ~CONNECTION_PHASES) == 0) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_SCOPE, entry,
                "runs before a server is known");
        diagnostic_hint(d, "put it in \"use\" of \"defaults\" or a listener");
        return false;
    }
    if (level == USES_ROUTE && (phases & ~(CONNECTION_PHASES | SERVER_PHASES)) == 0) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_SCOPE, entry,
                "runs before a route is known");
        diagnostic_hint(d, "put it in \"use\" of \"defaults\", a listener or a server");
        return false;
    }
    return true;
}

/* Summing lists */

struct summing {
    struct site_use *items;
    size_t count;
    const struct config_value **mentions; /* in this layer, by index; NULL: only outer ones */
};

static size_t
find_use(const struct summing *sum, struct weir_str name)
{
    size_t i = 0;
    while (i < sum->count && !weir_str_eq(sum->items[i].name, name)) {
        i++;
    }
    return i;
}

static bool
is_final(struct uses_builder *uses, const struct site_use *use, const struct entry *entry)
{
    if (use->final_at == NULL) {
        return false;
    }
    struct diagnostic *d = misplaced(uses, DIAGNOSTIC_FINAL, entry,
            entry->is_removal ? "is final and cannot be removed"
                              : "is final and cannot be changed");
    diagnostic_other(d, config_key_place(use->where), "made final here");
    return true;
}

static void
remove_use(struct uses_builder *uses, struct summing *sum, size_t i, const struct entry *entry)
{
    if (i == sum->count) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_REMOVES_NOTHING, entry,
                "is not in use here: nothing to remove");
        diagnostic_warn(d);
        return;
    }
    if (is_final(uses, &sum->items[i], entry)) {
        return;
    }
    sum->count--;
    memmove(&sum->items[i], &sum->items[i + 1], (sum->count - i) * sizeof(*sum->items));
    memmove(&sum->mentions[i], &sum->mentions[i + 1],
            (sum->count - i) * sizeof(*sum->mentions));
}

static void
add_use(struct uses_builder *uses, struct summing *sum, const struct entry *entry)
{
    size_t i = find_use(sum, entry->name);
    const struct weir_options *options = &entry->declared->handler->options;
    struct site_use *use = &sum->items[i];
    if (i < sum->count && sum->mentions[i] != NULL) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_USE_TWICE, entry,
                "is given twice in one list");
        diagnostic_hint(d, "give one of them a name of its own: \"as\"");
        diagnostic_other(d, config_key_place(sum->mentions[i]), "first given here");
        return;
    }
    if (entry->is_removal) {
        remove_use(uses, sum, i, entry);
        return;
    }
    if (i == sum->count) {
        sum->count++;
        *use = (struct site_use){ .name = entry->name,
            .where = entry->where,
            .final_at = entry->final_at,
            .merged = schema_merge(uses->schema, options, entry->declared->defaults,
                    entry->options) };
        /* Its handler is in `conf`, for which a placeholder stands until uses_finish(). */
        struct site_conf *pending = allocate(uses, 1, sizeof(*pending));
        if (pending == NULL) {
            sum->count--;
            return;
        }
        *pending = (struct site_conf){ .module = entry->declared->module,
            .handler = entry->declared->handler };
        use->conf = pending;
        sum->mentions[i] = entry->where;
        return;
    }
    if (use->conf->handler != entry->declared->handler) {
        struct diagnostic *d = misplaced(uses, DIAGNOSTIC_NAME_TWICE, entry,
                "has the name of another handler's use");
        diagnostic_other(d, config_key_place(use->where), "the other use");
        return;
    }
    if (is_final(uses, use, entry)) {
        return;
    }
    sum->mentions[i] = entry->where;
    use->final_at = entry->final_at;
    if (entry->options != NULL) {
        struct site_conf *pending = allocate(uses, 1, sizeof(*pending));
        if (pending == NULL) {
            return;
        }
        *pending = (struct site_conf){ .module = use->conf->module,
            .handler = use->conf->handler };
        use->conf = pending;
        use->merged = schema_merge(uses->schema, options, use->merged, entry->options);
    }
}

void
uses_apply(struct uses_builder *uses, const struct config_value *use, enum uses_level level,
        struct site_uses *list)
{
    if (use == NULL || use->kind == CONFIG_NULL) {
        return;
    }
    const struct config_value *entries = schema_as_list(uses->schema, use);
    if (entries != NULL && entries->count > USES_MAX - list->count) {
        config_mistake(uses->schema->diagnostics, DIAGNOSTIC_RANGE, use,
                "more than %d hooks in one list", USES_MAX);
        return;
    }
    size_t room = list->count + (entries == NULL ? 0 : entries->count) + 1;
    struct summing sum = { .items = allocate(uses, room, sizeof(*sum.items)),
        .count = list->count,
        .mentions = calloc(room, sizeof(*sum.mentions)) };
    if (entries == NULL || sum.items == NULL || sum.mentions == NULL) {
        uses->schema->no_memory = true;
        free(sum.mentions);
        return;
    }
    if (list->count > 0) {
        memcpy(sum.items, list->items, list->count * sizeof(*sum.items));
    }
    for (uint32_t i = 0; i < entries->count && !uses->schema->no_memory; i++) {
        struct entry entry;
        if (read_entry(uses, entries->items[i], &entry) &&
                (entry.is_removal || may_be_used(uses, &entry, level))) {
            add_use(uses, &sum, &entry);
        }
    }
    free(sum.mentions);
    *list = (struct site_uses){ sum.items, sum.count };
}

void
uses_keep_connection(struct uses_builder *uses, struct site_uses *list)
{
    struct site_use *kept = allocate(uses, list->count, sizeof(*kept));
    size_t count = 0;
    for (size_t i = 0; kept != NULL && i < list->count; i++) {
        if ((phases_of(list->items[i].conf->handler) & CONNECTION_PHASES) != 0) {
            kept[count++] = list->items[i];
        }
    }
    *list = (struct site_uses){ kept, count };
}

/* Equal options are one struct */

static bool
remember(struct uses_builder *uses, struct site_conf *conf)
{
    if (uses->made_count == uses->made_room) {
        size_t room = uses->made_room * 2 + 16;
        struct site_conf **made = realloc(uses->made, room * sizeof(*made));
        if (made == NULL) {
            uses->schema->no_memory = true;
            return false;
        }
        uses->made = made;
        uses->made_room = room;
    }
    uses->made[uses->made_count++] = conf;
    return true;
}

static struct site_conf *
fill_conf(struct uses_builder *uses, const struct weir_module *module,
        const struct weir_handler *handler, const struct config_value *merged,
        const struct config_value *where)
{
    struct site_conf *conf = allocate(uses, 1, sizeof(*conf));
    void *filled = allocate(uses, 1, handler->options.conf_bytes + 1);
    if (conf == NULL || filled == NULL) {
        return NULL;
    }
    *conf = (struct site_conf){ module, handler, filled, merged, where };
    size_t before = diagnostics_reports(uses->schema->diagnostics);
    schema_fill(uses->schema, &handler->options, merged, where, filled);
    if (handler->conf_check == NULL || uses->schema->no_memory ||
            diagnostics_reports(uses->schema->diagnostics) > before) {
        return conf;
    }
    struct weir_conf_report report = { .diagnostics = uses->schema->diagnostics,
        .options = &handler->options,
        .object = merged,
        .where = where,
        .who = module->name };
    loader_step(module->name, "conf_check");
    int r = handler->conf_check(filled, &report);
    loader_step(NULL, NULL);
    if (r < 0 && !report.has_failed) {
        weir_conf_error(&report, NULL, "refused without a reason");
    }
    return conf;
}

static const struct site_conf *
intern(struct uses_builder *uses, const struct weir_module *module,
        const struct weir_handler *handler, const struct config_value *merged,
        const struct config_value *where)
{
    struct buf text;
    buf_init(&text, (size_t)16 << 20);
    int r = buf_append(&text, weir_str_from(handler->name));
    r = r < 0 ? r : buf_append(&text, WEIR_STR("\n"));
    r = r < 0 ? r : schema_canonical(&handler->options, merged, &text);
    struct site_conf *conf = NULL;
    if (r == -ENOMEM) {
        uses->schema->no_memory = true;
    } else if (r == 0) {
        conf = map_find(&uses->confs, buf_str(&text));
    }
    if (conf == NULL && !uses->schema->no_memory) {
        conf = fill_conf(uses, module, handler, merged, where);
        struct weir_str key = arena_copy(uses->schema->arena, buf_str(&text));
        if (conf == NULL || key.ptr == NULL || !remember(uses, conf)) {
            uses->schema->no_memory = true;
            conf = NULL;
        } else if (r == 0) {
            set(uses, &uses->confs, key, conf);
        }
    }
    buf_fini(&text);
    return conf;
}

void
uses_finish(struct uses_builder *uses, struct site_uses *list)
{
    bool is_finished = true;
    for (size_t i = 0; i < list->count; i++) {
        is_finished = is_finished && list->items[i].conf->conf != NULL;
    }
    if (is_finished) {
        return;
    }
    struct site_use *items = allocate(uses, list->count, sizeof(*items));
    for (size_t i = 0; items != NULL && i < list->count && !uses->schema->no_memory; i++) {
        items[i] = list->items[i];
        if (items[i].conf->conf == NULL) {
            const struct site_conf *conf = intern(uses, items[i].conf->module,
                    items[i].conf->handler, items[i].merged, items[i].where);
            items[i].conf = conf == NULL ? items[i].conf : conf;
        }
    }
    if (items != NULL && !uses->schema->no_memory) {
        list->items = items;
    }
}

void
uses_handle(struct uses_builder *uses, const struct config_value *handle, struct site_uses *out)
{
    const struct config_value *entries = schema_as_list(uses->schema, handle);
    if (entries != NULL && entries->count > USES_MAX) {
        config_mistake(uses->schema->diagnostics, DIAGNOSTIC_RANGE, handle,
                "more than %d handlers in one list", USES_MAX);
        return;
    }
    size_t room = entries == NULL ? 0 : entries->count;
    struct summing sum = { .items = allocate(uses, room + 1, sizeof(*sum.items)),
        .mentions = calloc(room + 1, sizeof(*sum.mentions)) };
    if (entries == NULL || sum.items == NULL || sum.mentions == NULL) {
        uses->schema->no_memory = true;
        free(sum.mentions);
        return;
    }
    if (room == 0) {
        config_mistake(uses->schema->diagnostics, DIAGNOSTIC_EMPTY, handle,
                "an empty list of handlers answers nothing");
    }
    for (uint32_t i = 0; i < room && !uses->schema->no_memory; i++) {
        struct entry entry;
        if (!read_entry(uses, entries->items[i], &entry)) {
            continue;
        }
        if (entry.is_removal) {
            struct diagnostic *d = misplaced(uses, DIAGNOSTIC_HANDLER_PLACE, &entry,
                    "cannot be removed here");
            diagnostic_note(d, "false removes hooks from \"use\"");
        } else if ((phases_of(entry.declared->handler) & 1u << WEIR_ON_CONTENT) == 0) {
            struct diagnostic *d = misplaced(uses, DIAGNOSTIC_HANDLER_PLACE, &entry,
                    "makes no answers");
            diagnostic_hint(d, "put it under \"use\"");
        } else {
            add_use(uses, &sum, &entry);
        }
    }
    free(sum.mentions);
    *out = (struct site_uses){ sum.items, sum.count };
    uses_finish(uses, out);
}

void
uses_collect(struct uses_builder *uses, struct site *site)
{
    struct site_conf **confs = allocate(uses, uses->made_count, sizeof(*confs));
    if (confs != NULL && uses->made_count > 0) {
        memcpy(confs, uses->made, uses->made_count * sizeof(*confs));
    }
    site->confs = confs;
    site->confs_count = uses->made_count;
}
