/* SPDX-License-Identifier: MIT */
/* What a string takes from outside the file: `${env:NAME}`, `${env:NAME:-preset}` anywhere in
 * it, `$file:PATH` as the whole of it, PATH relative to the file it stands in. */
#ifndef WEIR_CONFIG_RESOLVE_H
#define WEIR_CONFIG_RESOLVE_H

#include "config/intake.h"
#include "config/value.h"

/* The largest text that a `$file:` or the variables of one string may bring. */
#define RESOLVE_MAX_BYTES 65536

/* Asks `intake`, and replaces all of them below `root` (keys and notes are left alone);
 * mistakes go to `diagnostics`, and the string stays as it was. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int resolve_all(struct intake *intake, struct config_value *root,
        struct arena *arena, struct diagnostics *diagnostics);

/* `path` seen from the directory of `source`, terminated; absolute ones stay. .ptr is NULL
 * without memory. */
struct weir_str resolve_path(struct arena *arena, const struct source *source,
        struct weir_str path);

#endif
