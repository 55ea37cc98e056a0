/* SPDX-License-Identifier: MIT */
/* `use` and `handle` lists (CONFIG.md, "Shape" and "Inheritance"): entries are resolved to the
 * handlers of declared modules, layers of lists are summed, options merged, and equal ones made
 * one. A part of site.c's work. */
#ifndef WEIR_MODULE_SITE_USES_H
#define WEIR_MODULE_SITE_USES_H

#include "base/map.h"
#include "config/schema.h"
#include "module/site.h"

/* A handler of a declared module. */
struct uses_declared {
    const struct weir_module *module;
    const struct weir_handler *handler;
    const struct config_value *defaults; /* the module entry's, for this handler; NULL: none */
    const struct config_value *where;    /* the module's entry */
};

/* Where a `use` list stands; later ones see fewer phases. */
enum uses_level {
    USES_LISTENER, /* defaults and listeners: all phases */
    USES_SERVER,   /* not those of connections */
    USES_ROUTE,    /* not those before a route is known */
};

struct uses_builder {
    struct schema *schema;              /* borrowed */
    const struct config_value *modules; /* the `modules` list; NULL: none */
    struct map handlers;                /* name to struct declared */
    struct map missing;                 /* names of modules that were reported when declared */
    struct template_extra *extras;      /* schema->extras, while it grows */
    size_t extras_room;
    struct zone_list *zones; /* borrowed: the site's */
    struct map confs;        /* canonical text to struct site_conf */
    struct site_conf **made; /* owned; all of them in order */
    size_t made_count, made_room;
};

void uses_init(struct uses_builder *uses, struct schema *schema, struct zone_list *zones);
void uses_fini(struct uses_builder *uses);

/* One entry as written. */
struct uses_entry {
    const struct uses_declared *declared;
    struct weir_str name;
    const struct config_value *options; /* an object; NULL: none given */
    const struct config_value *where;   /* the handler's key, or the name */
    const struct config_value *final_at;
    bool is_removal;
};

/* Reads one entry of a list; false after a report. */
bool uses_read_entry(struct uses_builder *uses, const struct config_value *value,
        struct uses_entry *out);

/* For site_uses.c, site_entry.c and site_modules.c: zeroed memory of the configuration's, an
 * entry of one of the maps, and how much of a text a message shows. Without memory the schema
 * says so in the end. */
void *uses_allocate(struct uses_builder *uses, size_t count, size_t bytes);
void uses_set(struct uses_builder *uses, struct map *map, struct weir_str key,
        const void *value);
int uses_cut(struct weir_str text);

/* Loads what `modules` declares, fills the modules' own options into site->modules. */
void uses_declare(struct uses_builder *uses, struct site *site);

/* Replaces *list by itself and the layer `use` (NULL: none). Entries have no conf yet where
 * something changed. */
void uses_apply(struct uses_builder *uses, const struct config_value *use,
        enum uses_level level, struct site_uses *list);

/* Drops entries that have no hook for connections. */
void uses_keep_connection(struct uses_builder *uses, struct site_uses *list);

/* Gives every entry its conf. */
void uses_finish(struct uses_builder *uses, struct site_uses *list);

/* Reads a `handle`, finished. */
void uses_handle(struct uses_builder *uses, const struct config_value *handle,
        struct site_uses *out);

/* Moves what was made into site->confs. */
void uses_collect(struct uses_builder *uses, struct site *site);

#endif
