/* SPDX-License-Identifier: MIT */
/* When targets are well: `eject` of an upstream (CONFIG.md). */
#include "module/site_parts.h"

void
site_check_eject(struct site_builder *builder, const struct config_value *upstream,
        const struct eject_settings *eject)
{
    if (eject->for_ns > eject->for_max_ns) {
        const struct config_value *value = config_find_name(upstream, "eject");
        struct diagnostic *d = config_mistake(builder->schema.diagnostics, DIAGNOSTIC_RANGE,
                value == NULL ? upstream : value, "\"for\" is longer than \"for_max\"");
        diagnostic_note(d, "a target is out for longer each time, up to \"for_max\"");
    }
}
