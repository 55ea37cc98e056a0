/* SPDX-License-Identifier: MIT */
/* Parameters of a query (the application/x-www-form-urlencoded form: `a=1&b=two+words`). Pure
 * functions; any thread. */
#ifndef WEIR_HTTP_QUERY_H
#define WEIR_HTTP_QUERY_H

#include <weir/str.h>

struct query_param {
    struct weir_str raw_name, raw_value; /* still encoded; borrowed from the query */
    bool has_value;                      /* there was a `=` */
};

/* Takes the next parameter off the front of *rest, which begins as the query without its `?`.
 * Empty ones (`&&`) are passed over. False at the end. */
bool query_next(struct weir_str *rest, struct query_param *out);

/* Decodes `raw` (%XX and `+` for a space) into `dst`, which holds raw.len bytes. A `%` without
 * two digits stands for itself, as in every browser. Returns the bytes written. */
size_t query_decode(struct weir_str raw, char *dst);

/* Looks for the first parameter whose decoded name is `name`. True when there is one; sets
 * *raw_value, to be decoded by query_decode(). */
bool query_find(struct weir_str query, struct weir_str name, struct weir_str *raw_value);

#endif
