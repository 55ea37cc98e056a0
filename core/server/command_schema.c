/* SPDX-License-Identifier: MIT */
/* The tables give the schemas of options; what has structure of its own (hooks, matches, lists
 * of servers) is written here, next to the names it refers to. */
#include "server/command_schema.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "config/json_schema.h"
#include "config/schema.h"
#include "module/loader.h"
#include "module/route.h"
#include "module/site.h"
#include "server/command_check.h"
#include "server/exit.h"
#include "server/main.h"

#define SCHEMA_MAX_BYTES ((size_t)16 << 20)
#define MODULES_MAX      500

/* The schema of a key with structure. */
// clang-format off
static const struct {
    const char *level, *key, *schema;
} structures[] = {
    { "top", "$schema", "{\"type\":\"string\"}" },
    { "top", "include", "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":\"string\"}}]}" },
    { "top", "workers", "{\"$ref\":\"#/$defs/workers\"}" },
    { "top", "pools", "{\"type\":\"object\",\"patternProperties\":{\"^x-\":true,\"^[A-Za-z0-9_][A-Za-z0-9_-]*$\":{\"$ref\":\"#/$defs/pool\"}},\"additionalProperties\":false}" },
    { "top", "log", "{\"$ref\":\"#/$defs/log\"}" },
    { "top", "control", "{\"$ref\":\"#/$defs/control\"}" },
    { "top", "modules", "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#/$defs/module_name\"},{\"$ref\":\"#/$defs/module\"}]}}" },
    { "top", "listeners", "{\"type\":\"object\",\"patternProperties\":{\"^x-\":true,\"^[A-Za-z0-9_][A-Za-z0-9_-]*$\":{\"$ref\":\"#/$defs/listener\"}},\"additionalProperties\":false}" },
    { "top", "defaults", "{\"$ref\":\"#/$defs/defaults\"}" },
    { "top", "servers", "{\"type\":\"array\",\"minItems\":1,\"items\":{\"$ref\":\"#/$defs/server\"}}" },
    { "module", "name", "{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9_][A-Za-z0-9_-]*$\"}" },
    { "module", "path", "{\"type\":\"string\"}" },
    { "module", "options", "{\"type\":\"object\"}" },
    { "module", "defaults", "{\"type\":\"object\"}" },
    { "listener", "address", "{\"$ref\":\"#/$defs/address\"}" },
    { "server", "listen", "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}}]}" },
    { "server", "host", "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}},{\"type\":\"null\"}]}" },
    { "server", "routes", "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/route\"}},{\"type\":\"null\"}]}" },
    { "route", "routes", "{\"anyOf\":[{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/route\"}},{\"type\":\"null\"}]}" },
    { "route", "match", "{\"anyOf\":[{\"$ref\":\"#/$defs/match\"},{\"type\":\"null\"}]}" },
    { "route", "internal", "{\"anyOf\":[{\"type\":\"boolean\"},{\"$ref\":\"#/$defs/expanded\"},{\"type\":\"null\"}]}" },
    { "route", "handle", "{\"anyOf\":[{\"$ref\":\"#/$defs/handle\"},{\"type\":\"array\",\"minItems\":1,\"items\":{\"$ref\":\"#/$defs/handle\"}},{\"type\":\"null\"}]}" },
    { "match", "header", "{\"$ref\":\"#/$defs/wanted\"}" },
    { "match", "query", "{\"$ref\":\"#/$defs/wanted\"}" },
    { "match", "variable", "{\"$ref\":\"#/$defs/wanted\"}" },
    { "match", "not", "{\"$ref\":\"#/$defs/match\"}" },
    { NULL, "use", "{\"anyOf\":[{\"$ref\":\"#/$defs/use\"},{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/use\"}},{\"type\":\"null\"}]}" },
    { NULL, "trust", "{\"anyOf\":[{\"$ref\":\"#/$defs/trust\"},{\"type\":\"null\"}]}" },
    { NULL, "limits", "{\"anyOf\":[{\"$ref\":\"#/$defs/limits\"},{\"type\":\"null\"}]}" },
    { NULL, "timeouts", "{\"anyOf\":[{\"$ref\":\"#/$defs/timeouts\"},{\"type\":\"null\"}]}" },
    { NULL, "log", "{\"anyOf\":[{\"$ref\":\"#/$defs/log_level\"},{\"type\":\"null\"}]}" },
    { NULL, "name", "{\"anyOf\":[{\"type\":\"string\",\"minLength\":1,\"maxLength\":128},{\"type\":\"null\"}]}" },
};

/* Definitions that no table has. */
static const struct {
    const char *name, *schema;
} definitions[] = {
    { "address", "{\"type\":\"string\",\"pattern\":\"^(@.|unix:.|.*:[0-9]+$)|\\\\$\\\\{env:|^\\\\$file:\"}" },
    { "match", "{\"anyOf\":[{\"$ref\":\"#/$defs/pattern\"},{\"$ref\":\"#/$defs/conditions\"},"
               "{\"type\":\"array\",\"minItems\":1,\"items\":{\"anyOf\":[{\"$ref\":\"#/$defs/pattern\"},{\"$ref\":\"#/$defs/conditions\"}]}}]}" },
    { "pattern", "{\"type\":\"string\",\"pattern\":\"^(/|\\\\*[^*{}/]+$)|\\\\$\\\\{env:|^\\\\$file:\"}" },
    { "wanted", "{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"boolean\"},"
                "{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}}]}}" },
};
// clang-format on

struct modules {
    const struct weir_module *items[MODULES_MAX];
    size_t count, skipped;
};

static bool
emit_structure(struct emit *emit, const char *level, const char *key)
{
    for (size_t i = 0; i < sizeof(structures) / sizeof(structures[0]); i++) {
        if ((structures[i].level == NULL || strcmp(structures[i].level, level) == 0) &&
                strcmp(structures[i].key, key) == 0) {
            emit_json(emit, structures[i].schema);
            return true;
        }
    }
    return false;
}

static void
collect(void *context, const char *name)
{
    struct modules *modules = context;
    struct loader_mistake mistake;
    if (modules->count == MODULES_MAX ||
            loader_open(name, NULL, &modules->items[modules->count], &mistake) < 0) {
        modules->skipped++;
        return;
    }
    modules->count++;
}

static bool
is_in_list(const struct weir_handler *handler, bool handle)
{
    bool makes_content = false, has_other = false;
    for (size_t i = 0; i < handler->hooks.count; i++) {
        makes_content |= handler->hooks.items[i].on == WEIR_ON_CONTENT;
        has_other |= handler->hooks.items[i].on != WEIR_ON_CONTENT;
    }
    return handle ? makes_content : has_other || !makes_content;
}

/* { "NAME": options, "as": ..., "final": ... } */
static void
emit_entry(struct emit *emit, const struct weir_module *module,
        const struct weir_handler *handler, bool handle)
{
    char ref[192];
    const struct weir_option *shorthand = schema_shorthand(&handler->options);
    snprintf(ref, sizeof(ref), "#/$defs/handler-%s-%s", module->name, handler->name);
    emit_object_begin(emit);
    emit_member_string(emit, "type", "object");
    emit_key(emit, "properties");
    emit_object_begin(emit);
    emit_key(emit, handler->name);
    emit_object_begin(emit);
    emit_key(emit, "anyOf");
    emit_list_begin(emit);
    emit_object_begin(emit);
    emit_member_string(emit, "$ref", ref);
    emit_object_end(emit);
    emit_json(emit, handle ? "{\"const\":true}" : "{\"type\":\"boolean\"}");
    if (shorthand != NULL) {
        json_schema_option(emit, shorthand, false);
    }
    emit_list_end(emit);
    emit_object_end(emit);
    emit_key(emit, "as");
    emit_json(emit, "{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9_][A-Za-z0-9_-]*$\"}");
    emit_key(emit, "final");
    emit_json(emit, "{\"type\":\"boolean\"}");
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
emit_entries(struct emit *emit, const struct modules *modules, const char *name, bool handle)
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
            if (is_in_list(handler, handle)) {
                emit_string(emit, weir_str_from(handler->name));
            }
        }
    }
    emit_list_end(emit);
    emit_object_end(emit);
    for (size_t i = 0; i < modules->count; i++) {
        for (size_t j = 0; j < modules->items[i]->handlers.count; j++) {
            const struct weir_handler *handler = &modules->items[i]->handlers.items[j];
            if (is_in_list(handler, handle)) {
                emit_entry(emit, modules->items[i], handler, handle);
            }
        }
    }
    emit_list_end(emit);
    emit_object_end(emit);
}

static void
emit_modules(struct emit *emit, const struct modules *modules)
{
    char key[192];
    emit_key(emit, "module_name");
    emit_object_begin(emit);
    emit_key(emit, "enum");
    emit_list_begin(emit);
    for (size_t i = 0; i < modules->count; i++) {
        emit_string(emit, weir_str_from(modules->items[i]->name));
    }
    emit_list_end(emit);
    emit_object_end(emit);
    for (size_t i = 0; i < modules->count; i++) {
        for (size_t j = 0; j < modules->items[i]->handlers.count; j++) {
            const struct weir_handler *handler = &modules->items[i]->handlers.items[j];
            snprintf(key, sizeof(key), "handler-%s-%s", modules->items[i]->name, handler->name);
            emit_key(emit, key);
            json_schema_object(emit, &handler->options, NULL, NULL, true);
        }
    }
    emit_entries(emit, modules, "use", false);
    emit_entries(emit, modules, "handle", true);
}

int
schema_write(struct buf *out, size_t *skipped)
{
    struct emit emit;
    static struct modules modules;
    modules.count = modules.skipped = 0;
    int r = loader_names(collect, &modules);
    if (r < 0) {
        return r;
    }
    emit_init(&emit, out);
    emit_object_begin(&emit);
    emit_member_string(&emit, "$schema", "https://json-schema.org/draft/2020-12/schema");
    emit_member_string(&emit, "title", "Configuration of weir " PACKAGE_VERSION);
    emit_key(&emit, "$ref");
    emit_string(&emit, WEIR_STR("#/$defs/top"));
    emit_key(&emit, "required");
    emit_json(&emit, "[\"servers\"]");
    emit_key(&emit, "$defs");
    emit_object_begin(&emit);
    json_schema_defs(&emit);
    for (size_t i = 0; i < sizeof(definitions) / sizeof(definitions[0]); i++) {
        emit_key(&emit, definitions[i].name);
        emit_json(&emit, definitions[i].schema);
    }
    for (size_t i = 0; i < site_levels_count; i++) {
        const struct site_level *level = &site_levels[i];
        emit_key(&emit, level->name);
        json_schema_object(&emit, level->options, level->name, emit_structure, true);
    }
    emit_key(&emit, "conditions");
    json_schema_object(&emit, &route_match_options, "match", emit_structure, true);
    emit_modules(&emit, &modules);
    emit_object_end(&emit);
    emit_object_end(&emit);
    emit_raw(&emit, WEIR_STR("\n"));
    if (skipped != NULL) {
        *skipped = modules.skipped;
    }
    return emit.error;
}

static void
help(FILE *stream)
{
    fputs("usage: weir schema\n"
          "\n"
          "Writes a JSON Schema (draft 2020-12) of the configuration: the core's keys and those\n"
          "of every installed module. Name it under \"$schema\" for completion in editors.\n"
          "\n"
          "  -h, --help   this text\n",
            stream);
}

int
command_schema(int argc, char **argv)
{
    static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option;
    optind = 0; /* glibc: begin anew */
    opterr = 0; /* it would say "schema", not "weir schema" */
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option != 'h') {
            command_bad_option("schema", argv);
            return EXIT_USAGE_ERROR;
        }
        help(stdout);
        return EXIT_OK;
    }
    if (optind < argc) {
        fprintf(stderr, "weir schema: unexpected \"%s\"\n", argv[optind]);
        return EXIT_USAGE_ERROR;
    }
    struct buf text;
    size_t skipped = 0;
    buf_init(&text, SCHEMA_MAX_BYTES);
    int r = schema_write(&text, &skipped);
    struct weir_str schema = buf_str(&text);
    bool ok = r == 0 && fwrite(schema.ptr, 1, schema.len, stdout) == schema.len &&
            fflush(stdout) == 0;
    buf_fini(&text);
    if (skipped > 0) {
        fprintf(stderr, "weir schema: %zu modules in %s do not load; weir check says why\n",
                skipped, loader_directory());
    }
    if (!ok) {
        fprintf(stderr, "weir schema: %s\n", r == 0 ? strerrordesc_np(errno) : "out of memory");
        return r == 0 ? 1 : EXIT_SYSTEM;
    }
    return 0;
}
