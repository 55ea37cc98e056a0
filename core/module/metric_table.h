/* SPDX-License-Identifier: MIT */
/* What a module's table says of its own figures (weir/metric.h): whether it may be believed.
 * Pure functions; any thread. */
#ifndef WEIR_MODULE_METRIC_TABLE_H
#define WEIR_MODULE_METRIC_TABLE_H

#include <stdbool.h>

#include <weir/module.h>

/* Room for what is wrong, and what was expected. */
struct metric_table_mistake {
    char message[256], note[160];
};

/* Returns 0, or -EINVAL and *mistake. The module's name is sound. */
WEIR_MUST_USE int metric_table_check(const struct weir_module *module,
        struct metric_table_mistake *mistake);

/* The name of a figure of b's that a has as well; NULL: there is none. */
const char *metric_table_common(const struct weir_module *a, const struct weir_module *b);

/* Whether the server has, or might have, a figure of that name itself. */
bool metric_table_is_reserved(struct weir_str name);

#endif
