/* SPDX-License-Identifier: MIT */
/* From a document to a site, in this order: the process's own keys, modules, what all inherit,
 * listeners, servers with their routes; then each server is put together once for each set of
 * outer layers through which it is reached, and entered with its hosts at its listeners. */
#include "module/site.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "config/document.h"
#include "module/site_logs.h"
#include "module/site_parts.h"

#define ARENA_MAX_BYTES ((size_t)512 << 20)

bool
site_no_memory(struct site_builder *builder)
{
    builder->schema.no_memory = true;
    return false;
}

void *
site_array(struct site_builder *builder, size_t count, size_t bytes)
{
    void *memory = arena_array(builder->schema.arena, count, bytes);
    builder->schema.no_memory |= memory == NULL;
    return memory;
}

static void
build(struct site_builder *builder)
{
    struct site *site = builder->site;
    schema_check_keys(&builder->schema, &site_top_options, site->document);
    const struct config_value *editors = config_find_name(site->document, "$schema");
    struct weir_str unused;
    if (editors != NULL) {
        schema_expect_string(&builder->schema, editors, "\"$schema\"", &unused);
    }
    site_build_process(builder);
    site_build_pools(builder);
    site_name_upstreams(builder);
    if (!builder->schema.no_memory) {
        uses_declare(&builder->uses, site);
    }
    if (!builder->schema.no_memory) {
        site_build_upstreams(builder);
    }
    if (!builder->schema.no_memory) {
        site_build_defaults(builder);
    }
    if (!builder->schema.no_memory) {
        site_build_listeners(builder);
    }
    if (!builder->schema.no_memory) {
        site_build_servers(builder);
    }
    if (!builder->schema.no_memory) {
        template_check_finish(&builder->templates);
    }
    if (!builder->schema.no_memory) {
        site_finish_listeners(builder);
    }
    if (!builder->schema.no_memory) {
        uses_collect(&builder->uses, site);
    }
    site->extras = builder->schema.extras;
    if (!builder->schema.no_memory && site_find_logs(site) < 0) {
        builder->schema.no_memory = true;
    }
}

/* Takes over `site`, whose document is loaded. */
static int
site_build(struct site *site, struct diagnostics *diagnostics, struct site **out)
{
    struct site_builder builder = { .site = site,
        .schema = { .arena = &site->arena, .diagnostics = diagnostics } };
    map_init(&builder.by_address);
    map_init(&builder.by_name);
    uses_init(&builder.uses, &builder.schema, &site->zones);
    template_check_init(&builder.templates, &builder.schema);
    build(&builder);
    for (size_t i = 0; i < builder.count; i++) {
        free(builder.gatherings[i]->members);
    }
    free(builder.gatherings);
    map_fini(&builder.by_address);
    map_fini(&builder.by_name);
    uses_fini(&builder.uses);
    template_check_fini(&builder.templates);
    if (builder.schema.no_memory || diagnostics_is_incomplete(diagnostics)) {
        site_free(site);
        return -ENOMEM;
    }
    if (diagnostics_errors(diagnostics) > 0) {
        site_free(site);
        return -EINVAL;
    }
    *out = site;
    return 0;
}

static struct site *
site_new(void)
{
    struct site *site = calloc(1, sizeof(*site));
    if (site != NULL) {
        arena_init(&site->arena, NULL, 0, ARENA_MAX_BYTES);
        site->zones.arena = &site->arena;
    }
    return site;
}

static int
load_through(struct intake *intake, const char *file, struct diagnostics *diagnostics,
        struct site **out)
{
    struct site *site = site_new();
    if (site == NULL) {
        return -ENOMEM;
    }
    int r = document_load(intake, file, &site->arena, diagnostics, &site->document);
    if (r < 0) {
        site_free(site);
        return r;
    }
    return site_build(site, diagnostics, out);
}

int
site_load(const char *file, struct diagnostics *diagnostics, struct site **out)
{
    struct intake intake;
    intake_init(&intake, false);
    int r = load_through(&intake, file, diagnostics, out);
    intake_fini(&intake);
    return r;
}

int
site_load_bundle(int fd, struct diagnostics *diagnostics, struct site **out)
{
    struct intake intake;
    int r = intake_replay(&intake, fd);
    if (r < 0) {
        return r;
    }
    char file[PATH_MAX];
    struct weir_str name = intake_main_file(&intake);
    r = name.len == 0 || weir_str_to_path(name, file, sizeof(file)) < 0
            ? -EPROTO
            : load_through(&intake, file, diagnostics, out);
    intake_fini(&intake);
    return r;
}

int
site_load_text(const char *name, struct weir_str text, struct diagnostics *diagnostics,
        struct site **out)
{
    struct site *site = site_new();
    if (site == NULL) {
        return -ENOMEM;
    }
    int r = document_load_text(name, text, &site->arena, diagnostics, &site->document);
    if (r < 0) {
        site_free(site);
        return r;
    }
    return site_build(site, diagnostics, out);
}

void
site_free(struct site *site)
{
    if (site != NULL) {
        arena_reset(&site->arena);
        free(site);
    }
}

const struct site_server *
site_server_find(const struct site_listener *listener, struct weir_str host)
{
    const struct site_server *server = map_find(&listener->exact, host);
    for (size_t i = 0; server == NULL && listener->suffixes.count > 0 && i < host.len; i++) {
        if (host.ptr[i] == '.' && i > 0) {
            server = map_find(&listener->suffixes, weir_str_make(host.ptr + i, host.len - i));
        }
    }
    return server != NULL ? server : listener->any;
}

const struct site_route *
site_route_find(const struct site_server *server, const struct route_request *request,
        struct route_match *match)
{
    return route_find(server->table, request, match) ? &server->routes[match->id] : NULL;
}
