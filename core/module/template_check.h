/* SPDX-License-Identifier: MIT */
/* Variables that only some routes have: `{path.x}`, which must be something that the route's
 * patterns or expressions name, and those of handlers, which must be in use there. */
#ifndef WEIR_MODULE_TEMPLATE_CHECK_H
#define WEIR_MODULE_TEMPLATE_CHECK_H

#include "base/map.h"
#include "config/schema.h"
#include "module/site.h"

/* One template as written: what each of its variables meets on the routes that it serves. */
struct template_use {
    const struct config_value *value; /* the template as written */
    struct template_use_variable *variables;
    size_t count; /* 0: none that only some routes have */
    struct template_use *next;
};

/* Held by who builds the site. */
struct template_check {
    struct schema *schema;      /* borrowed */
    struct map by_value;        /* address of the template to struct template_use */
    struct template_use *first; /* in the order they were met */
    struct template_use **last;
};

void template_check_init(struct template_check *check, struct schema *schema);
void template_check_fini(struct template_check *check);

/* Checks the templates of all that runs on the route. A variable that the route does not have
 * is reported at once in what was written within it; for outer layers it is counted. `route`
 * NULL: the server has no routes. */
void template_check_route(struct template_check *check, const struct site_server *server,
        const struct site_route *route);

/* Reports variables of handlers in the `match` of a route of the server where the server itself
 * does not use them: it is asked before the route is known. */
void template_check_match(struct template_check *check, const struct site_server *server,
        const struct config_value *match);

/* When all routes were checked: reports what no route has as an error, and what is empty on
 * some as a warning. */
void template_check_finish(struct template_check *check);

#endif
