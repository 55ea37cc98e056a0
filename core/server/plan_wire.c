/* SPDX-License-Identifier: MIT */
/*     count, and for each listener: address as written, the same absolute, mode, backlog
 *     count, and for each log file: its absolute path
 *     count, and for each zone: module, name, bytes, layout
 *
 * as base/wire.h writes them. */
#include "server/plan_wire.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/map.h"
#include "base/wire.h"
#include "config/resolve.h"
#include "module/site_tables.h"

#define TEXT_MAX_BYTES ((size_t)PATH_MAX)
#define UNIX_PREFIX    WEIR_STR("unix:")

/* Writing: the checker */

/* "unix:" with an absolute path, or the address as written. */
static int
put_address(struct buf *out, const struct site_listener *listener)
{
    char text[ADDR_TEXT_BYTES + sizeof(struct sockaddr_un)];
    struct weir_str address = listener->address;
    if (weir_str_starts_with(address, UNIX_PREFIX)) {
        memcpy(text, UNIX_PREFIX.ptr, UNIX_PREFIX.len);
        size_t len = strnlen(listener->addr.un.sun_path, sizeof(listener->addr.un.sun_path));
        memcpy(text + UNIX_PREFIX.len, listener->addr.un.sun_path, len);
        address = weir_str_make(text, UNIX_PREFIX.len + len);
    }
    return wire_put_str(out, address);
}

static int
put_listener(struct buf *out, const struct site_listener *listener)
{
    int r = wire_put_str(out, listener->address);
    r = r < 0 ? r : put_address(out, listener);
    r = r < 0 ? r : wire_put_u64(out, listener->mode);
    return r < 0 ? r : wire_put_u64(out, (uint64_t)listener->backlog);
}

static int
put_zone(struct buf *out, const struct zone_spec *zone)
{
    int r = wire_put_str(out, zone->module);
    r = r < 0 ? r : wire_put_str(out, zone->name);
    r = r < 0 ? r : wire_put_u64(out, zone->bytes);
    return r < 0 ? r : wire_put_u64(out, zone->layout);
}

int
plan_wire_write(const struct site *site, struct buf *out)
{
    int r = wire_put_u64(out, site->listeners_count);
    for (size_t i = 0; r == 0 && i < site->listeners_count; i++) {
        r = put_listener(out, site->listeners[i]);
    }
    r = r < 0 ? r : wire_put_u64(out, site->log_files_count);
    for (size_t i = 0; r == 0 && i < site->log_files_count; i++) {
        r = wire_put_str(out, site->log_files[i]);
    }
    r = r < 0 ? r : wire_put_u64(out, site->zones.count);
    for (size_t i = 0; r == 0 && i < site->zones.count; i++) {
        r = put_zone(out, &site->zones.items[i]);
    }
    return r;
}

/* Reading: the master */

/* What strings of the document may mean: absolute paths, and addresses with absolute paths. */
struct spoken {
    struct arena *arena;
    struct map texts;
    bool no_memory;
};

static void
speak(struct spoken *spoken, struct weir_str text)
{
    spoken->no_memory |= text.ptr == NULL || map_set(&spoken->texts, text, spoken) < 0;
}

static void
speak_string(struct spoken *spoken, const struct config_value *value)
{
    struct weir_str text = value->string;
    speak(spoken, text);
    speak(spoken, resolve_path(spoken->arena, value->place.source, text));
    if (!weir_str_starts_with(text, UNIX_PREFIX)) {
        return;
    }
    struct weir_str path = resolve_path(spoken->arena, value->place.source,
            weir_str_make(text.ptr + UNIX_PREFIX.len, text.len - UNIX_PREFIX.len));
    char *whole = path.ptr == NULL ? NULL
                                   : arena_alloc(spoken->arena, UNIX_PREFIX.len + path.len);
    if (whole == NULL) {
        spoken->no_memory = true;
        return;
    }
    memcpy(whole, UNIX_PREFIX.ptr, UNIX_PREFIX.len);
    memcpy(whole + UNIX_PREFIX.len, path.ptr, path.len);
    speak(spoken, weir_str_make(whole, UNIX_PREFIX.len + path.len));
}

static void
speak_all(struct spoken *spoken, const struct config_value *value)
{
    if (value->kind == CONFIG_STRING) {
        speak_string(spoken, value);
    }
    for (uint32_t i = 0; value->kind == CONFIG_LIST && i < value->count; i++) {
        speak_all(spoken, value->items[i]);
    }
    for (uint32_t i = 0; value->kind == CONFIG_OBJECT && i < value->count; i++) {
        speak_all(spoken, value->members[i].value);
    }
}

static int
read_listener(struct wire *wire, const struct spoken *spoken, struct arena *arena,
        struct plan_listener *listener)
{
    struct weir_str written = wire_get_str(wire, TEXT_MAX_BYTES);
    struct weir_str absolute = wire_get_str(wire, TEXT_MAX_BYTES);
    listener->mode = (mode_t)wire_get_u64(wire, 0777);
    listener->backlog = (int)wire_get_u64(wire, 65535);
    if (wire->is_damaged || map_find(&spoken->texts, written) == NULL ||
            map_find(&spoken->texts, absolute) == NULL ||
            addr_parse(absolute, &listener->addr, NULL) < 0) {
        return -EPROTO;
    }
    listener->address = arena_copy(arena, written);
    return listener->address.ptr == NULL ? -ENOMEM : 0;
}

static int
read_listeners(struct wire *wire, const struct spoken *spoken, struct plan *plan)
{
    size_t count = (size_t)wire_get_u64(wire, PLAN_MAX_LISTENERS);
    struct plan_listener *listeners = arena_array(&plan->arena, count, sizeof(*listeners));
    int r = listeners == NULL ? -ENOMEM : 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        r = read_listener(wire, spoken, &plan->arena, &listeners[i]);
    }
    plan->listeners = listeners;
    plan->listeners_count = count;
    return r;
}

/* A file that the document does not name (a preset of a module) is not the master's to open:
 * the worker does, with its own rights. */
static int
read_log_files(struct wire *wire, const struct spoken *spoken, struct plan *plan)
{
    size_t count = (size_t)wire_get_u64(wire, PLAN_MAX_LOG_FILES), taken = 0;
    struct weir_str *files = arena_array(&plan->arena, count, sizeof(*files));
    if (files == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_str path = wire_get_str(wire, TEXT_MAX_BYTES);
        if (wire->is_damaged || path.len == 0 || path.ptr[0] != '/' ||
                memchr(path.ptr, '\0', path.len) != NULL) {
            return -EPROTO;
        }
        if (map_find(&spoken->texts, path) != NULL) {
            files[taken] = arena_copy(&plan->arena, path);
            if (files[taken++].ptr == NULL) {
                return -ENOMEM;
            }
        }
    }
    plan->log_files = files;
    plan->log_files_count = taken;
    return 0;
}

static bool
is_new(const struct zone_spec *zones, size_t count, const struct zone_spec *zone)
{
    bool is = true;
    for (size_t i = 0; is && i < count; i++) {
        is = !weir_str_eq(zones[i].module, zone->module) ||
                !weir_str_eq(zones[i].name, zone->name);
    }
    return is;
}

/* Their names stand in no document: they are bounded, in number and in bytes, and that is all
 * that a checker could ask for. */
static int
read_zones(struct wire *wire, struct plan *plan)
{
    size_t count = (size_t)wire_get_u64(wire, WEIR_ZONES_MAX);
    uint64_t left_bytes = WEIR_ZONES_MAX_BYTES;
    struct zone_spec *zones = arena_array(&plan->arena, count, sizeof(*zones));
    if (zones == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct zone_spec zone = { .module = wire_get_str(wire, WEIR_ZONE_NAME_BYTES),
            .name = wire_get_str(wire, WEIR_ZONE_NAME_BYTES) };
        zone.bytes = wire_get_u64(wire, WEIR_ZONE_MAX_BYTES);
        zone.layout = wire_get_u64(wire, UINT64_MAX);
        if (wire->is_damaged || !zone_is_sound(&zone) || zone.bytes > left_bytes ||
                !is_new(zones, i, &zone)) {
            return -EPROTO;
        }
        left_bytes -= zone.bytes;
        zone.module = arena_copy(&plan->arena, zone.module);
        zone.name = arena_copy(&plan->arena, zone.name);
        if (zone.module.ptr == NULL || zone.name.ptr == NULL) {
            return -ENOMEM;
        }
        zones[i] = zone;
    }
    plan->zones = zones;
    plan->zones_count = count;
    return 0;
}

int
plan_wire_read(struct weir_str bytes, const struct config_value *document, struct plan *plan)
{
    struct spoken spoken = { .arena = &plan->arena };
    struct wire wire;
    map_init(&spoken.texts);
    speak_all(&spoken, document);
    wire_init(&wire, bytes);
    int r = spoken.no_memory ? -ENOMEM : read_listeners(&wire, &spoken, plan);
    r = r < 0 ? r : read_log_files(&wire, &spoken, plan);
    r = r < 0 ? r : read_zones(&wire, plan);
    if (r == 0 && !wire_is_complete(&wire)) {
        r = -EPROTO;
    }
    map_fini(&spoken.texts);
    return r;
}
