/* SPDX-License-Identifier: MIT */
/* What the parts of the schema share. Private to schema*.c:
 *
 *     schema_table.c   finding options
 *     schema_read.c    one value of one type, lists and maps of them
 *     schema_number.c  types that are numbers
 *     schema_text.c    types that are text
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

/* Reports that what `value` says does not do: "is out of range". A secret is not shown. */
struct diagnostic *schema_bad_value(struct schema *schema, enum diagnostic_code code,
        const struct weir_option *option, const struct config_value *value, const char *why);

/* A copy of what the file says, for the filled struct. False without memory, which is noted. */
bool schema_keep_text(struct schema *schema, struct weir_str text, struct weir_str *field);

/* One value of one type each, to *field; false after a report. */

bool schema_read_int(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, int64_t *field);
bool schema_read_count(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, uint64_t *field);
bool schema_read_rate(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_rate *field);
bool schema_read_status(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_status *field);
bool schema_read_network(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, struct weir_network *field);
bool schema_read_enum(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, int *field);
bool schema_read_template(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct weir_template **field);
bool schema_read_regex(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct weir_regex **field);

/* SIZE and DURATION differ in their units only. */
bool schema_read_quantity(struct schema *schema, const struct weir_option *option,
        enum weir_option_type type, const struct config_value *value, uint64_t *field);

/* STRING, SECRET, PATH and LOG. */
bool schema_read_text(struct schema *schema, const struct weir_option *option,
        enum weir_option_type type, const struct config_value *value, struct weir_str *field);

/* UPSTREAM and POOL: one of the names that the file gives, or `preset` (NULL: none). */
bool schema_read_reference(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, const struct config_value *names, const char *preset,
        struct weir_str *field);

/* The members of `object`; those of a `rest` option only when `options` is given. */
bool schema_read_map(struct schema *schema, const struct weir_option *option,
        const struct weir_options *options, const struct config_value *object,
        struct weir_map *field);

#endif
