/* SPDX-License-Identifier: MIT */
/* What installed modules add to the JSON Schema: their names and options under "modules", their
 * handlers in "use" and "handle", their variables in templates. */
#ifndef WEIR_SERVER_SCHEMA_MODULES_H
#define WEIR_SERVER_SCHEMA_MODULES_H

#include <weir/module.h>

#include "base/arena.h"
#include "config/emit.h"
#include "config/template.h"

#define SCHEMA_MODULES_MAX 500

struct schema_modules {
    const struct weir_module *items[SCHEMA_MODULES_MAX]; /* borrowed for ever */
    size_t count, skipped;
};

/* Members of "$defs". */
void schema_modules_write(struct emit *emit, const struct schema_modules *modules);

/* Elements of the document's "allOf": entries of "handle" have the options they need. */
void schema_modules_write_completeness(struct emit *emit, const struct schema_modules *modules);

/* The variables of all of them, in `arena`. Returns 0; -ENOMEM. */
WEIR_MUST_USE int schema_modules_variables(const struct schema_modules *modules,
        struct arena *arena, struct template_extras *out);

#endif
