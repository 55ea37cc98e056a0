/* SPDX-License-Identifier: MIT */
/* Variables that only some routes have: `{path.x}`, which must be something that the route's
 * patterns or expressions name, and those of handlers, which must be in use there. */
#ifndef WEIR_MODULE_TEMPLATE_CHECK_H
#define WEIR_MODULE_TEMPLATE_CHECK_H

#include "config/schema.h"
#include "module/site.h"

/* Reports variables in the templates of `merged` that the route does not have. Only what was
 * written within it counts: an outer layer serves many routes, some of which may have them. */
void template_check_route(struct schema *schema, const struct site_server *server,
        const struct site_route *route, const struct weir_options *options,
        const struct config_value *merged);

/* Reports variables of handlers in the `match` of a route of the server where the server itself
 * does not use them: it is asked before the route is known. */
void template_check_match(struct schema *schema, const struct site_server *server,
        const struct config_value *match);

#endif
