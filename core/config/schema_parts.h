/* SPDX-License-Identifier: MIT */
/* What the parts of the schema share. Private to schema*.c:
 *
 *     schema_table.c   finding options
 *     schema_read.c    one value of one type
 *     schema.c         objects by their tables
 */
#ifndef WEIR_CONFIG_SCHEMA_PARTS_H
#define WEIR_CONFIG_SCHEMA_PARTS_H

#include "config/schema.h"

/* Bytes of the field that an option of `type` fills; 0 for an unknown type. */
size_t schema_field_bytes(const struct weir_option *option, enum weir_option_type type);

/* Written, or spelled by text from outside. */
bool schema_is_true(const struct config_value *value);
bool schema_is_false(const struct config_value *value);

/* Reports that `value` is not `expected`, which is "an object". Returns false. */
bool schema_wrong_type(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const char *expected);

/* The members of `object`; those of a `rest` option only when `options` is given. */
bool schema_read_map(struct schema *schema, const struct weir_option *option,
        const struct weir_options *options, const struct config_value *object,
        struct weir_map *field);

#endif
