/* SPDX-License-Identifier: MIT */
/* JSON Schema (draft 2020-12) from option tables. */
#ifndef WEIR_CONFIG_JSON_SCHEMA_H
#define WEIR_CONFIG_JSON_SCHEMA_H

#include <weir/option.h>

#include "config/emit.h"
#include "config/template.h"

/* Writes the member `key` of the properties of `level`, or leaves it out, and answers true;
 * false: the key is the table's to write. */
typedef bool json_schema_key_fn(struct emit *emit, const char *level, const char *key);

/* The schema of an object of these options. `level` names the table for `own` (may be NULL),
 * which is asked about each key first; a SCHEMA_ANY key that it leaves to the table is `true`.
 * With `may_be_null` every key also takes null, as layers do. */
void json_schema_object(struct emit *emit, const struct weir_options *options,
        const char *level, json_schema_key_fn *own, bool may_be_null);

/* The schema of one option's value. */
void json_schema_option(struct emit *emit, const struct weir_option *option, bool may_be_null);

/* Members of "$defs" that the others refer to: "expanded" (strings with `${env:...}`), sizes,
 * durations, rates, networks, templates and the names of variables, those of modules (`extras`)
 * among them. */
void json_schema_defs(struct emit *emit, const struct template_extras *extras);

#endif
