/* SPDX-License-Identifier: MIT */
/* Preconditions in their order of precedence (RFC 9110 section 13.2.2). */
#include "http/conditional.h"

#include "http/date.h"
#include "http/etag.h"

static bool
is_present(struct weir_str field)
{
    return field.ptr != NULL;
}

/* Whether an If-Match or If-None-Match value names the representation. */
static bool
names_representation(struct weir_str list, const struct representation *representation,
        bool (*eq)(const struct etag *, const struct etag *))
{
    if (!representation->exists) {
        return false;
    }
    if (weir_str_eq(weir_str_trim(list), WEIR_STR("*"))) {
        return true;
    }
    struct etag ours, theirs;
    if (weir_str_eq(list, representation->etag)) { /* as nearly always: read once, not twice */
        return etag_parse(list, &theirs) == 0 && eq(&theirs, &theirs);
    }
    if (etag_parse(representation->etag, &ours) != 0) {
        return false;
    }
    while (etag_list_next(&list, &theirs) == 1) {
        if (eq(&theirs, &ours)) {
            return true;
        }
    }
    return false;
}

enum comparison {
    UNKNOWN,
    CHANGED_SINCE,
    UNCHANGED_SINCE
};

/* A date that cannot be read, and a representation without a date, say nothing (13.1.3). */
static enum comparison
compare_date(struct weir_str text, const struct representation *representation, int64_t now_s)
{
    int64_t since;
    if (!representation->exists || !representation->has_last_modified ||
            date_parse(text, now_s, &since) != 0) {
        return UNKNOWN;
    }
    return representation->last_modified_s <= since ? UNCHANGED_SINCE : CHANGED_SINCE;
}

/* If-Range holds one tag or one date, and either must match exactly (13.1.5). */
static bool
if_range_holds(struct weir_str value, const struct representation *representation,
        int64_t now_s)
{
    struct etag ours, theirs;
    if (etag_parse(value, &theirs) == 0) {
        return etag_parse(representation->etag, &ours) == 0 && etag_eq_strong(&theirs, &ours);
    }
    int64_t since;
    return representation->has_last_modified && date_parse(value, now_s, &since) == 0 &&
            since == representation->last_modified_s && since < now_s;
}

static bool
range_applies(enum method method, const struct conditional_fields *fields,
        const struct representation *representation, int64_t now_s)
{
    if (method != METHOD_GET || !is_present(fields->range) || !representation->exists) {
        return false;
    }
    return !is_present(fields->if_range) ||
            if_range_holds(fields->if_range, representation, now_s);
}

static enum conditional_verdict
verdict(enum method method, const struct conditional_fields *fields,
        const struct representation *representation, int64_t now_s)
{
    bool is_read = method == METHOD_GET || method == METHOD_HEAD;

    /* These neither select nor modify a representation (13.2.1). */
    if (method == METHOD_CONNECT || method == METHOD_OPTIONS || method == METHOD_TRACE) {
        return CONDITIONAL_PROCEED;
    }
    if (is_present(fields->if_match)) {
        if (!names_representation(fields->if_match, representation, etag_eq_strong)) {
            return CONDITIONAL_PRECONDITION_FAILED;
        }
    } else if (is_present(fields->if_unmodified_since)) {
        if (compare_date(fields->if_unmodified_since, representation, now_s) == CHANGED_SINCE) {
            return CONDITIONAL_PRECONDITION_FAILED;
        }
    }
    if (is_present(fields->if_none_match)) {
        if (names_representation(fields->if_none_match, representation, etag_eq_weak)) {
            return is_read ? CONDITIONAL_NOT_MODIFIED : CONDITIONAL_PRECONDITION_FAILED;
        }
    } else if (is_read && is_present(fields->if_modified_since)) {
        if (compare_date(fields->if_modified_since, representation, now_s) == UNCHANGED_SINCE) {
            return CONDITIONAL_NOT_MODIFIED;
        }
    }
    return CONDITIONAL_PROCEED;
}

struct conditional_result
conditional_evaluate(enum method method, const struct conditional_fields *fields,
        const struct representation *representation, int64_t now_s)
{
    struct conditional_result result = {
        .verdict = verdict(method, fields, representation, now_s),
    };
    result.range_applies = result.verdict == CONDITIONAL_PROCEED &&
            range_applies(method, fields, representation, now_s);
    return result;
}
