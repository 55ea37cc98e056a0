/* SPDX-License-Identifier: MIT */
/* The levels of the document in the JSON Schema (CONFIG.md, "Shape"). */
#ifndef WEIR_SERVER_SCHEMA_LEVELS_H
#define WEIR_SERVER_SCHEMA_LEVELS_H

#include "config/emit.h"
#include "config/template.h"

/* Members of "$defs": each level, what they refer to, and the forms of values; `extras` are the
 * variables of modules. */
void schema_levels_write(struct emit *emit, const struct template_extras *extras);

#endif
