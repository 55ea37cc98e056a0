/* SPDX-License-Identifier: MIT */
/* A configuration made ready to serve: every server's and route's hooks compiled to chains, the
 * modules' options opened, and the map by which requests find their way (course.h). Made once
 * in a worker, read by its loops, freed when the last of them has stopped. */
#ifndef WEIR_MODULE_GENERATION_H
#define WEIR_MODULE_GENERATION_H

#include "http/h1.h"
#include "module/connection.h"
#include "module/course.h"
#include "module/site.h"

struct generation;
struct life;

/* One listener as the server opens it. */
struct generation_listener {
    const struct site_listener *site;
    struct connection_hooks hooks; /* settings.watch_context, where there are any */
    struct h1_settings settings;   /* .origin is this; the server fills in on_closed */
};

/* Compiles the site's chains and runs conf_open() of all its confs. Mistakes of modules go to
 * `diagnostics`. The site is borrowed and outlives the generation. Returns 0 or a negative
 * errno, when everything that was opened is closed again. */
WEIR_MUST_USE int generation_new(const struct site *site, struct diagnostics *diagnostics,
        struct generation **out);

/* Compiles the site's chains and drops them again: what generation_new() would say before it
 * opens anything. */
WEIR_MUST_USE int generation_check(const struct site *site, struct diagnostics *diagnostics);

/* Runs conf_close() of what was opened, once, but not for modules that `life` (NULL: none) says
 * are held. */
void generation_close(struct generation *generation, const struct life *life);

/* After it, or in its place, when nothing is held. NULL: nothing. */
void generation_free(struct generation *generation);

/* What the engines of its worker are given; borrowed. */
const struct request_handler *generation_handler(const struct generation *generation);
/* Fills in the generation's part of a loop's map. */
void generation_map_init(const struct generation *generation, struct course_map *map);

struct generation_listener *generation_listeners(struct generation *generation, size_t *count);

/* The route that a request took and what its pattern captured; NULL before routing. */
const struct site_route *generation_route(const struct weir_request *request);
/* Whom its server believes; NULL before the server is known. */
const struct site_trust *generation_trust(const struct weir_request *request);
struct weir_str generation_capture(const struct weir_request *request, struct weir_str name);

/* What a variable of CONFIG.md stands for in this request (module/template.c); `name` as
 * between the braces. False when it is empty or there is none. */
bool template_variable_value(struct weir_request *request, const struct template_extras *extras,
        struct weir_str name, struct weir_str *value);

#endif
