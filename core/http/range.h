/* SPDX-License-Identifier: MIT */
/* Byte ranges (RFC 9110 section 14): the parts of a representation that a request asks for.
 * Pure functions; any thread. */
#ifndef WEIR_HTTP_RANGE_H
#define WEIR_HTTP_RANGE_H

#include <stdint.h>

#include <weir/str.h>

#include "base/num.h"

/* More ranges than this in one field are not served: the field is ignored (section 14.2). */
#define RANGE_MAX 16

/* From `first` up to and including `last`, as the field spells them; first <= last < size. */
struct byte_range {
    uint64_t first, last;
};

/* Ranges that neither overlap nor touch, so that they never add up to more than the
 * representation; in the order in which the request first named each. */
struct range_set {
    size_t count; /* 1 to RANGE_MAX */
    struct byte_range ranges[RANGE_MAX];
};

static inline uint64_t
range_bytes(const struct byte_range *range)
{
    return range->last - range->first + 1;
}

/* Reads a Range value against a representation of `size` bytes; a range that cannot be
 * satisfied is left out. Returns 0 and sets *out; -ERANGE when none can be satisfied (answer
 * 416); -EINVAL when the field is malformed or in another unit, -E2BIG when it asks for more
 * than RANGE_MAX ranges (either: ignore the field, answer 200). A suffix of an empty
 * representation is -EINVAL too: it can be satisfied, but no Content-Range can say so. */
WEIR_MUST_USE int range_parse(struct weir_str value, uint64_t size, struct range_set *out);

/* Longest Content-Range value. */
#define CONTENT_RANGE_BYTES (sizeof("bytes -/") - 1 + 3 * NUM_U64_DIGITS)

/* Writes a Content-Range value into `dst`, which holds CONTENT_RANGE_BYTES bytes: `bytes
 * 0-99/1234`, or, when `range` is NULL, the one of a 416 answer, with an asterisk instead of
 * the range. Returns the bytes written. */
size_t content_range_format(char *dst, const struct byte_range *range, uint64_t size);

#endif
