/* SPDX-License-Identifier: MIT */
/* Option tables at work: a layer of the file is checked against its table, layers are merged,
 * the merged whole fills a struct. */
#ifndef WEIR_CONFIG_SCHEMA_H
#define WEIR_CONFIG_SCHEMA_H

#include <weir/option.h>

#include "config/template.h"
#include "config/value.h"

/* Types that only the core's own tables use. */
/* A key whose value somebody else reads. */
#define SCHEMA_ANY ((enum weir_option_type)1000)
/* A settled key of a part that is not built yet: refused with a code of its own. */
#define SCHEMA_NOT_IN_BUILD ((enum weir_option_type)1001)

struct zone_list;

struct schema {
    struct arena *arena;                  /* borrowed: what is filled in lives here */
    struct diagnostics *diagnostics;      /* borrowed */
    const struct config_value *pools;     /* names that WEIR_TYPE_POOL may give; may be NULL */
    const struct config_value *upstreams; /* the same for WEIR_TYPE_UPSTREAM */
    struct template_extras extras;        /* variables of modules */
    bool no_memory;                       /* set once and for all */
};

/* `count` cleared elements of what is filled in; NULL without memory, which is remembered. */
void *schema_array(struct schema *schema, size_t count, size_t element_bytes);

/* The i-th option, whatever size the table's elements have. */
const struct weir_option *schema_option(const struct weir_options *options, size_t i);

/* The key of an option in the file. */
const char *schema_key(const struct weir_option *option);

/* A value of it, or something within, is never shown. */
bool schema_is_secret(const struct weir_option *option);

/* NULL when no option has that key; a `rest` option is not found by its key. */
const struct weir_option *schema_find(const struct weir_options *options, struct weir_str key);
const struct weir_option *schema_find_rest(const struct weir_options *options);

/* The option that takes a scalar or list in place of the object; NULL: there is none. */
const struct weir_option *schema_shorthand(const struct weir_options *options);

/* Reports what is wrong with one layer: unknown keys, wrong types, bad values. Nothing that
 * only the merged whole can show. */
void schema_check(struct schema *schema, const struct weir_options *options,
        const struct config_value *object);

/* Fills `conf` (zeroed, options->conf_bytes) from the merged `object` (NULL: nothing but
 * presets); reports bad values again (once a place) and missing ones, at `where`. */
void schema_fill(struct schema *schema, const struct weir_options *options,
        const struct config_value *object, const struct config_value *where, void *conf);

/* Reports members of `object` that the table does not know. */
void schema_check_keys(struct schema *schema, const struct weir_options *options,
        const struct config_value *object);

/* One value of one type, to *field; false after a report. For values outside of tables. */
bool schema_read(struct schema *schema, const struct weir_option *option,
        const struct config_value *value, void *field);

/* The list that `value` is, or a list of `value` alone; NULL without memory, which is noted. */
const struct config_value *schema_as_list(struct schema *schema,
        const struct config_value *value);

/* Expects an object; false after a report. `what` is "a server", "limits". */
bool schema_expect_object(struct schema *schema, const struct config_value *value,
        const char *what);

/* A list; false after a report. */
bool schema_expect_list(struct schema *schema, const struct config_value *value,
        const char *what);

/* A string (or what `${env:}` made of one); false after a report. */
bool schema_expect_string(struct schema *schema, const struct config_value *value,
        const char *what, struct weir_str *out);

/* true or false, also as text that was expanded; false is returned after a report. */
bool schema_expect_bool(struct schema *schema, const struct config_value *value,
        const char *what, bool *out);

/* `outer` overlaid with `inner`, by the merge rules of the table; either may be NULL. A null in
 * `inner` takes the key out: its preset returns. NULL without memory, which is noted. */
const struct config_value *schema_merge(struct schema *schema,
        const struct weir_options *options, const struct config_value *outer,
        const struct config_value *inner);

/* A text that is equal for equal merged options: in the order of the table, paths absolute.
 * Returns 0 or what buf_append() does. */
WEIR_MUST_USE int schema_canonical(const struct weir_options *options,
        const struct config_value *object, struct buf *out);

/* A sane table: types known, fields inside the struct, presets that read. False, and what is
 * wrong in `why`. */
bool schema_is_sound(const struct weir_options *options, char *why, size_t why_bytes);

/* Where a module's check reports to (weir_conf_error). */
struct weir_conf_report {
    struct diagnostics *diagnostics;
    const struct weir_options *options;
    const struct config_value *object; /* merged; may be NULL */
    const struct config_value *where;  /* the handler's entry; may be NULL */
    const char *who;                   /* the module's name */
    const struct zone_list *zones;     /* borrowed: module/zone_list.h; NULL: none */
    struct zone_list *declares;        /* the same while zones may be declared; else NULL */
    bool has_failed;                   /* weir_conf_error() was called */
};

#endif
