/* SPDX-License-Identifier: MIT */
/* Entity tags (RFC 9110 section 8.8.3): reading and comparing. Pure functions; any thread. */
#ifndef WEIR_HTTP_ETAG_H
#define WEIR_HTTP_ETAG_H

#include <weir/str.h>

struct etag {
    struct weir_str opaque; /* with its quotes; borrowed from the text */
    bool is_weak;
};

/* Reads one tag and nothing else, `"x"` or `W/"x"`. Returns 0; -EINVAL. */
WEIR_MUST_USE int etag_parse(struct weir_str text, struct etag *out);

/* Takes the next tag of a list off the front of *rest. Returns 1 and sets *out; 0 at the end;
 * -EINVAL at something that is no tag. Commas may stand within a tag and backslashes escape
 * nothing. */
WEIR_MUST_USE int etag_list_next(struct weir_str *rest, struct etag *out);

/* Neither is weak and they are the same (8.8.3.2): for If-Match and If-Range. */
bool etag_eq_strong(const struct etag *a, const struct etag *b);

/* The same, weak or not: for If-None-Match. */
bool etag_eq_weak(const struct etag *a, const struct etag *b);

#endif
