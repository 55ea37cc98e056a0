/* SPDX-License-Identifier: MIT */
/* `{path.x}` in the options of a route: x must be something that the route's patterns or
 * expressions name. */
#ifndef WEIR_MODULE_CAPTURES_H
#define WEIR_MODULE_CAPTURES_H

#include "config/schema.h"
#include "module/route.h"

/* Reports captures in the templates of `merged` that the rule `id` of `table` does not have.
 * Only what was written within the route `where` counts: an outer layer serves many routes. */
void captures_check(struct schema *schema, const struct route_table *table, uint32_t id,
        const struct config_value *where, const struct weir_options *options,
        const struct config_value *merged);

#endif
