/* SPDX-License-Identifier: MIT */
/* JSON Schema (draft 2020-12) from option tables. */
#ifndef WEIR_CONFIG_JSON_SCHEMA_H
#define WEIR_CONFIG_JSON_SCHEMA_H

#include <weir/option.h>

#include "config/emit.h"

/* The schema of an object of these options. `level` names the table for `any`, which writes the
 * schema of a SCHEMA_ANY key (NULL: anything goes there); a key it does not write is `true`.
 * With `may_be_null` every key also takes null, as layers do. */
typedef bool json_schema_any_fn(struct emit *emit, const char *level, const char *key);

void json_schema_object(struct emit *emit, const struct weir_options *options,
        const char *level, json_schema_any_fn *any, bool may_be_null);

/* The schema of one option's value. */
void json_schema_option(struct emit *emit, const struct weir_option *option, bool may_be_null);

/* A member "expanded" of "$defs", which the others refer to: strings with `${env:...}`. */
void json_schema_defs(struct emit *emit);

#endif
