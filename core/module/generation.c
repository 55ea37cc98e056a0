/* SPDX-License-Identifier: MIT */
/*
 * A request's slab:   [course][place][state of handler 1][state of handler 2]...
 *
 * Each handler under each name has one place in the slab, the same on all routes, so that a
 * hook that ran for the server finds its state again in the route's log hook.
 */
#include "module/generation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "http/query.h"
#include "http/request.h"
#include "module/client.h"
#include "module/life.h"
#include "observe/flight.h"

/* Where a request has got to; in its slab. */
struct place {
    const struct compiled_server *server;
    const struct site_route *route;
    const struct route_match *match; /* in the request's arena; NULL: no captures */
};

struct compiled_server {
    const struct site_server *site;
    const struct chain *chain;         /* of its own uses */
    const struct chain *const *routes; /* by route id */
};

/* A handler under one name, and where its state stands. */
struct state_slot {
    const struct weir_handler *handler;
    struct weir_str name;
    uint32_t at;
};

struct generation {
    const struct site *site; /* borrowed */
    struct arena arena;
    struct request_handler handler;
    struct generation_listener *listeners;
    struct compiled_server *servers; /* sorted by .site */
    size_t server_count;
    struct state_slot *slots;
    size_t slot_count, slot_capacity;
    size_t slab_bytes;
    bool *is_open; /* by conf: its conf_open() has succeeded */
};

#define ARENA_CEILING_BYTES (256u << 20)

static size_t
round_up(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

static struct place *
place_of(const struct weir_request *request)
{
    return (struct place *)((char *)request->slab + course_slab_bytes());
}

/* ---- compiling --------------------------------------------------------------------------- */

static int
find_slot(struct generation *generation, const struct weir_handler *handler,
        struct weir_str name, uint32_t *at)
{
    for (size_t i = 0; i < generation->slot_count; i++) {
        const struct state_slot *slot = &generation->slots[i];
        if (slot->handler == handler && weir_str_eq(slot->name, name)) {
            *at = slot->at;
            return 0;
        }
    }
    if (generation->slot_count == generation->slot_capacity) {
        size_t capacity = generation->slot_capacity == 0 ? 16 : generation->slot_capacity * 2;
        struct state_slot *slots = arena_array(&generation->arena, capacity, sizeof(*slots));
        if (slots == NULL) {
            return -ENOMEM;
        }
        if (generation->slot_count > 0) {
            memcpy(slots, generation->slots, generation->slot_count * sizeof(*slots));
        }
        generation->slots = slots;
        generation->slot_capacity = capacity;
    }
    *at = (uint32_t)generation->slab_bytes;
    generation->slots[generation->slot_count++] = (struct state_slot){ handler, name, *at };
    generation->slab_bytes += round_up(handler->state_bytes);
    return 0;
}

static int
add_uses(struct generation *generation, const struct site_uses *from, struct chain_use *to,
        size_t *count)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct site_use *use = &from->items[i];
        struct chain_use *compiled = &to[(*count)++];
        compiled->module = use->conf->module;
        compiled->handler = use->conf->handler;
        compiled->conf = use->conf->conf;
        int r = find_slot(generation, compiled->handler, use->name, &compiled->state_at);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int
compile_chain(struct generation *generation, const struct site_uses *uses,
        const struct site_uses *handle, struct diagnostics *diagnostics,
        const struct chain **out)
{
    static const struct site_uses none;
    handle = handle == NULL ? &none : handle;
    size_t total = uses->count + handle->count, count = 0;
    if (total > UINT16_MAX) {
        return -E2BIG;
    }
    struct chain_use *all = arena_array(&generation->arena, total, sizeof(*all));
    if (all == NULL) {
        return -ENOMEM;
    }
    int r = add_uses(generation, uses, all, &count);
    if (r == 0) {
        r = add_uses(generation, handle, all, &count);
    }
    const struct chain_use *bad = NULL;
    if (r == 0) {
        r = chain_compile(&generation->arena, all, (uint16_t)total, out, &bad);
    }
    if (r == -EINVAL && bad != NULL) {
        size_t i = (size_t)(bad - all);
        config_mistake(diagnostics, DIAGNOSTIC_MODULE_REFUSED,
                i < uses->count ? uses->items[i].where : handle->items[i - uses->count].where,
                "module \"%s\": a hook of its handler \"%s\" has no function for its phase",
                bad->module->name, bad->handler->name);
    }
    return r;
}

static int
compile_server(struct generation *generation, const struct site_server *site,
        struct diagnostics *diagnostics, struct compiled_server *out)
{
    const struct chain **routes = arena_array(&generation->arena, site->routes_count,
            sizeof(*routes));
    if (routes == NULL) {
        return -ENOMEM;
    }
    int r = compile_chain(generation, &site->uses, NULL, diagnostics, &out->chain);
    for (size_t i = 0; r == 0 && i < site->routes_count; i++) {
        const struct site_route *route = &site->routes[i];
        r = compile_chain(generation, &route->uses, &route->handle, diagnostics,
                &routes[route->id]);
    }
    out->site = site;
    out->routes = routes;
    return r;
}

/* Whether a peer may say for whom it speaks (the PROXY protocol). A Unix socket's file says
 * itself who may connect. */
static bool
trusts_proxy(const void *origin, const struct addr_ip *peer)
{
    const struct site_listener *site = ((const struct generation_listener *)origin)->site;
    return peer->family == AF_UNIX || client_is_trusted(&site->settings.trust, peer);
}

/* A listener's hooks for connections, if it has any. */
static int
compile_listener(struct generation *generation, struct generation_listener *listener,
        struct diagnostics *diagnostics)
{
    const struct chain *chain;
    int r = compile_chain(generation, &listener->site->uses, NULL, diagnostics, &chain);
    if (r == 0 && connection_has_hooks(chain)) {
        listener->hooks = (struct connection_hooks){ chain, listener->site->address };
        listener->settings.watch = &connection_watch;
        listener->settings.watch_context = &listener->hooks;
    }
    return r;
}

static int
order_servers(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct compiled_server *)a)->site;
    uintptr_t y = (uintptr_t)((const struct compiled_server *)b)->site;
    return (x > y) - (x < y);
}

static const struct compiled_server *
find_server(const struct generation *generation, const struct site_server *site)
{
    size_t low = 0, high = generation->server_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct compiled_server *server = &generation->servers[middle];
        if (server->site == site) {
            return server;
        }
        if ((uintptr_t)server->site < (uintptr_t)site) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static int
compile_servers(struct generation *generation, struct diagnostics *diagnostics)
{
    const struct site *site = generation->site;
    size_t capacity = 0;
    for (size_t i = 0; i < site->listeners_count; i++) {
        capacity += site->listeners[i]->servers_count;
    }
    generation->servers = arena_array(&generation->arena, capacity,
            sizeof(struct compiled_server));
    if (generation->servers == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < site->listeners_count; i++) {
        const struct site_listener *listener = site->listeners[i];
        for (size_t j = 0; j < listener->servers_count; j++) {
            bool is_known = false;
            for (size_t k = 0; k < generation->server_count; k++) {
                is_known |= generation->servers[k].site == listener->servers[j];
            }
            if (is_known) {
                continue;
            }
            int r = compile_server(generation, listener->servers[j], diagnostics,
                    &generation->servers[generation->server_count]);
            if (r < 0) {
                return r;
            }
            generation->server_count++;
        }
    }
    qsort(generation->servers, generation->server_count, sizeof(struct compiled_server),
            order_servers);
    return 0;
}

/* ---- finding the way --------------------------------------------------------------------- */

static uint8_t
level_of(const struct site_settings *settings)
{
    return (uint8_t)(SITE_LOG_ERROR - settings->log_level); /* of enum log_level */
}

/* Whom the server takes for the client, and whether it may ask this. */
static void
settle_client(struct weir_request *request, const struct site_trust *trust)
{
    bool is_found = client_find(trust, request, &request->client) == 0;
    if (request->refusal != HEAD_ACCEPTED) {
        return; /* for the log alone */
    }
    if (!is_found) {
        request->refusal = HEAD_BAD_CLIENT;
    } else if (!client_may_ask(trust, request)) {
        request->refusal = HEAD_WRONG_SCHEME;
    }
}

static const struct chain *
map_server(const struct course_map *map, struct weir_request *request)
{
    const struct generation_listener *listener = request->origin;
    const struct site_server *site = site_server_find(listener->site, request->host);
    if (site == NULL) {
        return NULL;
    }
    const struct compiled_server *server = find_server(map->generation, site);
    place_of(request)->server = server;
    request->server_name = site->name;
    request->limits = &site->settings.limits;
    request->timeouts = &site->settings.timeouts;
    request->log_level = level_of(&site->settings);
    if (request->depth == 0) {
        settle_client(request, &site->settings.trust);
    }
    return server->chain;
}

static bool
ask_header(void *context, struct weir_str name, size_t nth, struct weir_str *value)
{
    const struct weir_request *request = context;
    const struct head *head = &request->head;
    uint32_t i = head_find_named(head, name, 0);
    while (i < head->field_count && nth > 0) {
        i = head_find_named(head, name, i + 1);
        nth--;
    }
    if (i == head->field_count) {
        return false;
    }
    *value = head_field_value(head, i);
    return true;
}

static bool
ask_query(void *context, struct weir_str name, size_t nth, struct weir_str *value)
{
    struct weir_request *request = context;
    struct weir_str rest = request->target.query;
    struct query_param param;
    while (query_next(&rest, &param)) {
        char *memory = arena_alloc(&request->arena, param.raw_name.len + param.raw_value.len);
        if (memory == NULL) {
            return false;
        }
        size_t len = query_decode(param.raw_name, memory);
        if (!weir_str_eq(weir_str_make(memory, len), name) || nth-- > 0) {
            continue;
        }
        char *decoded = memory + param.raw_name.len;
        *value = weir_str_make(decoded, query_decode(param.raw_value, decoded));
        return true;
    }
    return false;
}

static bool
ask_variable(void *context, struct weir_str name, struct weir_str *value)
{
    struct weir_request *request = context;
    const struct generation *generation = course_map_of(request)->generation;
    return template_variable_value(request, &generation->site->extras, name, value);
}

static const struct chain *
map_route(const struct course_map *map, struct weir_request *request)
{
    (void)map;
    struct place *place = place_of(request);
    struct route_request asked = {
        .context = request,
        .method = head_method(&request->head),
        .host = request->host,
        .path = request->target.path,
        .protocol = request->head.version == 10 ? WEIR_STR("http/1.0")
                : request->head.version == 11   ? WEIR_STR("http/1.1")
                                                : WEIR_STR("http/2"),
        .client = request->client,
        .peer = request->peer,
        .is_internal = request->depth > 0,
        .header = ask_header,
        .query = ask_query,
        .variable = ask_variable,
    };
    struct route_match match;
    const struct site_route *route = site_route_find(place->server->site, &asked, &match);
    if (route == NULL || (request->is_marked_only && !route->is_internal)) {
        return NULL;
    }
    place->route = route;
    if (match.captures_count > 0) {
        struct route_match *kept = arena_alloc(&request->arena, sizeof(*kept));
        if (kept != NULL) {
            *kept = match;
        }
        place->match = kept;
    }
    request->route_name = route->name;
    request->limits = &route->settings.limits;
    request->timeouts = &route->settings.timeouts;
    request->log_level = level_of(&route->settings);
    return place->server->routes[route->id];
}

const struct site_route *
generation_route(const struct weir_request *request)
{
    return place_of(request)->route;
}

const struct site_trust *
generation_trust(const struct weir_request *request)
{
    const struct compiled_server *server = place_of(request)->server;
    return server == NULL ? NULL : &server->site->settings.trust;
}

struct weir_str
generation_capture(const struct weir_request *request, struct weir_str name)
{
    const struct route_match *match = place_of(request)->match;
    for (uint32_t i = 0; match != NULL && i < match->captures_count; i++) {
        if (weir_str_eq(match->captures[i].name, name)) {
            return match->captures[i].value;
        }
    }
    return weir_str_make("", 0);
}

/* ---- life -------------------------------------------------------------------------------- */

/* Runs conf_open() for one conf; a refusal is reported at its place in the file. */
static int
open_conf(const struct site_conf *conf, const struct zone_list *zones,
        struct diagnostics *diagnostics)
{
    const struct weir_handler *handler = conf->handler;
    if (handler->conf_open == NULL) {
        return 0;
    }
    struct weir_conf_report report = {
        .diagnostics = diagnostics,
        .options = &handler->options,
        .object = conf->merged,
        .where = conf->where,
        .who = conf->module->name,
        .zones = zones,
    };
    flight_enter(flight_entry(conf->module->name, LIFE_CONF_OPEN), NULL);
    int r = handler->conf_open(conf->conf, &report);
    flight_leave();
    if (r < 0 && !report.has_failed) {
        weir_conf_error(&report, NULL, "cannot be opened: %s", strerror(-r));
    }
    return r < 0 || !report.has_failed ? r : -EINVAL;
}

static void
close_conf(const struct site_conf *conf)
{
    if (conf->handler->conf_close != NULL) {
        flight_enter(flight_entry(conf->module->name, LIFE_CONF_CLOSE), NULL);
        conf->handler->conf_close(conf->conf);
        flight_leave();
    }
}

/* All are tried, so that all mistakes are named; on failure what was opened is closed. */
static int
open_confs(struct generation *generation, struct diagnostics *diagnostics)
{
    const struct site *site = generation->site;
    int result = 0;
    for (size_t i = 0; i < site->confs_count; i++) {
        int r = open_conf(site->confs[i], &site->zones, diagnostics);
        if (r < 0) {
            result = r;
        } else {
            generation->is_open[i] = true;
        }
    }
    return result;
}

/* Everything but what modules open. */
static int
compile(const struct site *site, struct diagnostics *diagnostics, struct generation **out)
{
    struct generation *generation = calloc(1, sizeof(*generation));
    if (generation == NULL) {
        return -ENOMEM;
    }
    generation->site = site;
    arena_init(&generation->arena, NULL, 0, ARENA_CEILING_BYTES);
    generation->slab_bytes = course_slab_bytes() + round_up(sizeof(struct place));
    int r = -ENOMEM;
    generation->listeners = arena_array(&generation->arena, site->listeners_count,
            sizeof(*generation->listeners));
    generation->is_open = arena_array(&generation->arena, site->confs_count, sizeof(bool));
    if (generation->listeners == NULL || generation->is_open == NULL) {
        goto fail;
    }
    for (size_t i = 0; i < site->listeners_count; i++) {
        struct generation_listener *listener = &generation->listeners[i];
        listener->site = site->listeners[i];
        listener->settings.limits = site->listeners[i]->settings.limits;
        listener->settings.timeouts = site->listeners[i]->settings.timeouts;
        listener->settings.origin = listener;
        listener->settings.trusts_proxy = site->listeners[i]->takes_proxy ? trusts_proxy : NULL;
    }
    r = compile_servers(generation, diagnostics);
    for (size_t i = 0; r == 0 && i < site->listeners_count; i++) {
        r = compile_listener(generation, &generation->listeners[i], diagnostics);
    }
    if (r < 0) {
        goto fail;
    }
    *out = generation;
    return 0;

fail:
    generation_free(generation);
    return r;
}

int
generation_check(const struct site *site, struct diagnostics *diagnostics)
{
    struct generation *generation = NULL;
    int r = compile(site, diagnostics, &generation);
    generation_free(generation);
    return r;
}

int
generation_new(const struct site *site, struct diagnostics *diagnostics,
        struct generation **out)
{
    struct generation *generation = NULL;
    int r = compile(site, diagnostics, &generation);
    r = r < 0 ? r : open_confs(generation, diagnostics);
    if (r < 0) {
        generation_free(generation);
        return r;
    }
    generation->handler = (struct request_handler){
        .slab_bytes = generation->slab_bytes,
        .run = course_run,
        .end = course_end,
    };
    *out = generation;
    return 0;
}

void
generation_close(struct generation *generation, const struct life *life)
{
    for (size_t i = generation->site->confs_count; generation->is_open != NULL && i > 0; i--) {
        const struct site_conf *conf = generation->site->confs[i - 1];
        if (generation->is_open[i - 1] && (life == NULL || !life_is_held(life, conf->module))) {
            generation->is_open[i - 1] = false;
            close_conf(conf);
        }
    }
}

void
generation_free(struct generation *generation)
{
    if (generation == NULL) {
        return;
    }
    generation_close(generation, NULL);
    arena_reset(&generation->arena);
    free(generation);
}

const struct request_handler *
generation_handler(const struct generation *generation)
{
    return &generation->handler;
}

void
generation_map_init(const struct generation *generation, struct course_map *map)
{
    *map = (struct course_map){
        .server = map_server,
        .route = map_route,
        .generation = generation,
    };
}

struct generation_listener *
generation_listeners(struct generation *generation, size_t *count)
{
    *count = generation->site->listeners_count;
    return generation->listeners;
}
