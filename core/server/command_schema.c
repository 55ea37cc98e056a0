/* SPDX-License-Identifier: MIT */
/* The core's levels (schema_levels.c) and what each installed module adds to them
 * (schema_modules.c). */
#include "server/command_schema.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/arena.h"
#include "module/loader.h"
#include "server/command_check.h"
#include "server/exit.h"
#include "server/main.h"
#include "server/schema_levels.h"
#include "server/schema_modules.h"

#define SCHEMA_MAX_BYTES ((size_t)16 << 20)

static void
collect(void *context, const char *name)
{
    struct schema_modules *modules = context;
    struct loader_mistake mistake;
    if (modules->count == SCHEMA_MODULES_MAX ||
            loader_open(name, NULL, &modules->items[modules->count], &mistake) < 0) {
        modules->skipped++;
        return;
    }
    modules->count++;
}

int
schema_write(struct buf *out, size_t *skipped)
{
    struct emit emit;
    static struct schema_modules modules;
    struct arena arena;
    struct template_extras extras;
    modules.count = modules.skipped = 0;
    arena_init(&arena, NULL, 0, SCHEMA_MAX_BYTES);
    int r = loader_names(collect, &modules);
    r = r < 0 ? r : schema_modules_variables(&modules, &arena, &extras);
    if (r < 0) {
        arena_reset(&arena);
        return r;
    }
    emit_init(&emit, out);
    emit_object_begin(&emit);
    emit_member_string(&emit, "$schema", "https://json-schema.org/draft/2020-12/schema");
    emit_member_string(&emit, "title", "Configuration of weir " PACKAGE_VERSION);
    emit_key(&emit, "$ref");
    emit_string(&emit, WEIR_STR("#/$defs/top"));
    emit_key(&emit, "anyOf");
    emit_json(&emit, "[{\"required\":[\"servers\"]},{\"required\":[\"include\"]}]");
    emit_key(&emit, "allOf");
    emit_list_begin(&emit);
    emit_bool(&emit, true); /* the list is never empty */
    schema_modules_write_completeness(&emit, &modules);
    emit_list_end(&emit);
    emit_key(&emit, "$defs");
    emit_object_begin(&emit);
    schema_levels_write(&emit, &extras);
    schema_modules_write(&emit, &modules);
    emit_object_end(&emit);
    emit_object_end(&emit);
    emit_raw(&emit, WEIR_STR("\n"));
    if (skipped != NULL) {
        *skipped = modules.skipped;
    }
    arena_reset(&arena);
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
