/* SPDX-License-Identifier: MIT */
/* Conditional requests (RFC 9110 section 13): whether the method is carried out, given what the
 * client says it has. Pure functions; any thread.
 *
 * To be asked only when the answer without conditions would be 2xx (section 13.2.1). A date or
 * an entity tag that cannot be read matches nothing: If-Modified-Since and If-Unmodified-Since
 * are then ignored, If-Match fails, If-None-Match and If-Range send the whole. */
#ifndef WEIR_HTTP_CONDITIONAL_H
#define WEIR_HTTP_CONDITIONAL_H

#include <stdint.h>

#include <weir/str.h>

#include "http/method.h"

/* The request's fields; .ptr is NULL when one is absent. Of a list that came in several lines
 * the lines joined with commas. */
struct conditional_fields {
    struct weir_str if_match, if_none_match;
    struct weir_str if_modified_since, if_unmodified_since;
    struct weir_str if_range, range;
};

/* What would be sent, or replaced. All zero: there is none (a PUT that creates). */
struct representation {
    bool exists;
    bool has_last_modified;
    int64_t last_modified_s; /* seconds since 1970 */
    struct weir_str etag;    /* as in the ETag field; empty when it has none */
};

enum conditional_verdict {
    CONDITIONAL_PROCEED,            /* carry out the method */
    CONDITIONAL_NOT_MODIFIED,       /* 304 */
    CONDITIONAL_PRECONDITION_FAILED /* 412 */
};

struct conditional_result {
    enum conditional_verdict verdict;
    bool range_applies; /* PROCEED, and the Range field is to be honoured (range_parse) */
};

/* Evaluates in the order of section 13.2.2. `now_s` is the date of the answer: it settles the
 * century of two-digit years, and a Last-Modified of this very second is no strong validator
 * (8.8.2.2), so that If-Range does not match it. */
struct conditional_result conditional_evaluate(enum method method,
        const struct conditional_fields *fields, const struct representation *representation,
        int64_t now_s);

#endif
