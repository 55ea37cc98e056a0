/* SPDX-License-Identifier: MIT */
/* The tables say where in a filled struct such values stand. */
#include "module/site_logs.h"

#include <errno.h>
#include <limits.h>

#include "config/schema.h"

struct finding {
    struct map seen; /* path to anything */
    bool no_memory;
};

static void
find_path(struct finding *finding, struct weir_str path)
{
    /* "stdout" is no file to open, and no path is longer. */
    if (path.len == 0 || path.len >= PATH_MAX || path.ptr[0] != '/' ||
            map_find(&finding->seen, path) != NULL) {
        return;
    }
    finding->no_memory |= map_set(&finding->seen, path, finding) < 0;
}

static void
find_in(struct finding *finding, const struct weir_options *options, const char *conf)
{
    for (size_t i = 0; i < options->count && !finding->no_memory; i++) {
        const struct weir_option *option = schema_option(options, i);
        const char *field = conf + option->offset;
        const struct weir_list *list = (const struct weir_list *)(const void *)field;
        if (option->type == WEIR_TYPE_LOG) {
            find_path(finding, *(const struct weir_str *)(const void *)field);
        } else if (option->type == WEIR_TYPE_LIST && option->element == WEIR_TYPE_LOG) {
            for (size_t j = 0; j < list->count; j++) {
                find_path(finding, WEIR_LIST_AT(struct weir_str, list, j));
            }
        } else if (option->type == WEIR_TYPE_OBJECT) {
            find_in(finding, &option->members, field);
        } else if (option->type == WEIR_TYPE_OBJECTS) {
            for (size_t j = 0; j < list->count; j++) {
                find_in(finding, &option->members,
                        (const char *)list->items + j * option->members.conf_bytes);
            }
        }
    }
}

static int
keep(struct finding *finding, struct site *site)
{
    struct weir_str *files = arena_array(&site->arena, finding->seen.count, sizeof(*files));
    if (files == NULL) {
        return -ENOMEM;
    }
    size_t count = 0;
    for (const struct map_entry *entry = NULL;
            (entry = map_next(&finding->seen, entry)) != NULL;) {
        files[count++] = entry->key;
    }
    site->log_files = files;
    site->log_files_count = count;
    return 0;
}

int
site_find_logs(struct site *site)
{
    struct finding finding = { .no_memory = false };
    map_init(&finding.seen);
    for (size_t i = 0; i < site->confs_count; i++) {
        const struct site_conf *conf = site->confs[i];
        find_in(&finding, &conf->handler->options, conf->conf);
    }
    for (size_t i = 0; i < site->modules_count; i++) {
        if (site->modules[i].options != NULL) {
            find_in(&finding, &site->modules[i].module->options, site->modules[i].options);
        }
    }
    int r = finding.no_memory ? -ENOMEM : keep(&finding, site);
    map_fini(&finding.seen);
    return r;
}
