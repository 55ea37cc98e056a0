/* SPDX-License-Identifier: MIT */
#include "module/zone_list.h"

#include <errno.h>
#include <string.h>

#include "config/schema.h"

static const struct zone_spec *
find(const struct zone_list *zones, struct weir_str module, struct weir_str name)
{
    for (size_t i = 0; i < zones->count; i++) {
        if (weir_str_eq(zones->items[i].module, module) &&
                weir_str_eq(zones->items[i].name, name)) {
            return &zones->items[i];
        }
    }
    return NULL;
}

/* What is wrong with one that nobody has declared yet. Returns 0 or -EINVAL, reported. */
static int
check(struct weir_conf_report *report, const char *option, const struct zone_spec *spec)
{
    const struct zone_list *zones = report->declares;
    if (spec->bytes > WEIR_ZONE_MAX_BYTES) {
        weir_conf_error(report, option,
                "this takes %llu MiB of memory that workers share; %llu MiB at most",
                (unsigned long long)(spec->bytes >> 20),
                (unsigned long long)(WEIR_ZONE_MAX_BYTES >> 20));
        return -EINVAL;
    }
    if (!zone_is_sound(spec)) {
        weir_conf_error(report, option,
                "memory that workers share wants a name of 1 to %u letters, digits and signs, "
                "without spaces and quotes",
                WEIR_ZONE_NAME_BYTES);
        return -EINVAL;
    }
    if (zones->count == WEIR_ZONES_MAX) {
        weir_conf_error(report, option,
                "workers share %u pieces of memory already, and cannot share more",
                WEIR_ZONES_MAX);
        return -EINVAL;
    }
    if (spec->bytes > WEIR_ZONES_MAX_BYTES - zones->bytes) {
        weir_conf_error(report, option,
                "with this, all memory that workers share is more than %llu MiB",
                (unsigned long long)(WEIR_ZONES_MAX_BYTES >> 20));
        return -EINVAL;
    }
    return 0;
}

int
weir_zone_declare(struct weir_conf_report *report, const char *option, struct weir_str name,
        uint64_t bytes, uint64_t layout)
{
    struct zone_list *zones = report->declares;
    struct zone_spec spec = { weir_str_from(report->who), name, bytes, layout };
    if (zones == NULL) {
        weir_conf_error(report, option,
                "memory that workers share is declared when the configuration is checked, and not "
                "here");
        return -EINVAL;
    }
    const struct zone_spec *there = find(zones, spec.module, spec.name);
    if (there != NULL && zone_eq(there, &spec)) {
        return 0;
    }
    if (there != NULL) {
        weir_conf_error(report, option,
                "\"%.*s\" is shared with a configuration whose other options differ from "
                "these: make them equal, or name it otherwise",
                WEIR_STR_ARG(name));
        return -EINVAL;
    }
    int r = check(report, option, &spec);
    if (r < 0) {
        return r;
    }
    spec.module = arena_copy(zones->arena, spec.module);
    spec.name = arena_copy(zones->arena, spec.name);
    if (spec.module.ptr == NULL || spec.name.ptr == NULL) {
        weir_conf_error(report, option, "out of memory");
        return -ENOMEM;
    }
    zones->items[zones->count++] = spec;
    zones->bytes += bytes;
    return 0;
}

void *
weir_zone_open(struct weir_conf_report *report, struct weir_str name)
{
    void *memory = NULL;
    const struct zone_spec *spec = report->zones == NULL
            ? NULL
            : find(report->zones, weir_str_from(report->who), name);
    int r = spec == NULL ? -EINVAL : zone_find(spec, &memory);
    if (r < 0) {
        weir_conf_error(report, NULL, "the memory \"%.*s\" that workers share is not here: %s",
                WEIR_STR_ARG(name),
                spec == NULL ? "it was not declared when the configuration was checked"
                        : r == -ENOENT ? "the server has not sent it"
                                       : strerrordesc_np(-r));
    }
    return memory;
}
