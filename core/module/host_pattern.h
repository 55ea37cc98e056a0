/* SPDX-License-Identifier: MIT */
/* Names of hosts in the configuration: "example.com", "*.example.com". */
#ifndef WEIR_MODULE_HOST_PATTERN_H
#define WEIR_MODULE_HOST_PATTERN_H

#include "config/schema.h"

struct host_pattern {
    struct weir_str name; /* as host_name() writes it; of "*.x" what follows the star: ".x" */
    bool is_suffix;
};

/* Reads one; false after a report. */
bool host_pattern_read(struct schema *schema, const struct config_value *value,
        struct host_pattern *out);

/* `host` as host_name() writes it. A suffix needs at least one label more. */
bool host_pattern_matches(const struct host_pattern *pattern, struct weir_str host);

#endif
