/* SPDX-License-Identifier: MIT */
#include "server/zones.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "observe/log.h"
#include "server/exit.h"
#include "server/hint.h"

struct zone_kept {
    struct zone_spec spec; /* texts are its own, behind it */
    int fd;                /* owned */
    struct zone_kept *next;
};

struct zones {
    struct zone_kept *first; /* owned */
};

struct zones *
zones_new(void)
{
    return calloc(1, sizeof(struct zones));
}

static void
free_kept(struct zone_kept *kept)
{
    close(kept->fd);
    free(kept);
}

void
zones_free(struct zones *zones)
{
    while (zones != NULL && zones->first != NULL) {
        struct zone_kept *kept = zones->first;
        zones->first = kept->next;
        free_kept(kept);
    }
    free(zones);
}

static int
refuse(const struct zone_spec *spec, int error)
{
    log_error(
            "module %.*s: \"%.*s\", %llu bytes that workers are to share, cannot be reserved: "
            "%s%s",
            WEIR_STR_ARG(spec->module), WEIR_STR_ARG(spec->name),
            (unsigned long long)spec->bytes, strerror(error), hint_of(error));
    return EXIT_SYSTEM;
}

static int
make_one(struct zones *zones, const struct zone_spec *spec)
{
    if (zones_find(zones, spec) >= 0) {
        return EXIT_OK;
    }
    int fd = zone_make(spec);
    if (fd < 0) {
        return refuse(spec, -fd);
    }
    struct zone_kept *kept = malloc(sizeof(*kept) + spec->module.len + spec->name.len);
    if (kept == NULL) {
        close(fd);
        return refuse(spec, ENOMEM);
    }
    char *text = (char *)(kept + 1);
    memcpy(text, spec->module.ptr, spec->module.len);
    memcpy(text + spec->module.len, spec->name.ptr, spec->name.len);
    *kept = (struct zone_kept){
        .spec = { weir_str_make(text, spec->module.len),
                weir_str_make(text + spec->module.len, spec->name.len), spec->bytes,
                spec->layout },
        .fd = fd,
        .next = zones->first,
    };
    zones->first = kept;
    return EXIT_OK;
}

int
zones_make(struct zones *zones, const struct plan *plan)
{
    int result = EXIT_OK;
    for (size_t i = 0; i < plan->zones_count; i++) {
        int code = make_one(zones, &plan->zones[i]);
        result = code == EXIT_OK ? result : code;
    }
    return result;
}

int
zones_find(const struct zones *zones, const struct zone_spec *spec)
{
    for (const struct zone_kept *kept = zones->first; kept != NULL; kept = kept->next) {
        if (zone_eq(&kept->spec, spec)) {
            return kept->fd;
        }
    }
    return -1;
}

static bool
is_declared(const struct zone_spec *spec, const struct plan *plan)
{
    bool is = false;
    for (size_t i = 0; !is && i < plan->zones_count; i++) {
        is = zone_eq(&plan->zones[i], spec);
    }
    return is;
}

void
zones_keep(struct zones *zones, const struct plan *const *plans, size_t count)
{
    struct zone_kept **link = &zones->first;
    while (*link != NULL) {
        struct zone_kept *kept = *link;
        bool is_kept = false;
        for (size_t i = 0; i < count; i++) {
            is_kept |= is_declared(&kept->spec, plans[i]);
        }
        if (is_kept) {
            link = &kept->next;
        } else {
            *link = kept->next;
            free_kept(kept);
        }
    }
}

struct zones_figures
zones_figures(const struct zones *zones)
{
    struct zones_figures figures = { 0, 0 };
    for (const struct zone_kept *kept = zones->first; kept != NULL; kept = kept->next) {
        figures.count++;
        figures.bytes += kept->spec.bytes;
    }
    return figures;
}
