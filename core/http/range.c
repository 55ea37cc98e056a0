/* SPDX-License-Identifier: MIT */
/* Reading Range, and writing Content-Range. */
#include "http/range.h"

#include <errno.h>

/* A number that is too large for 64 bits is larger than every representation, so it may as well
 * be the largest. */
static int
parse_position(struct weir_str text, uint64_t *out)
{
    int r = num_parse_u64(text, UINT64_MAX, out);
    if (r == -ERANGE) {
        *out = UINT64_MAX;
        r = 0;
    }
    return r;
}

/* One range-spec (14.1.2): `first-`, `first-last` or `-suffix`. Returns 0; -ERANGE when it lies
 * outside the representation; -EINVAL. */
static int
parse_spec(struct weir_str spec, uint64_t size, struct byte_range *out)
{
    const char *hyphen = memchr(spec.ptr, '-', spec.len);
    if (hyphen == NULL) {
        return -EINVAL;
    }
    struct weir_str before = weir_str_make(spec.ptr, (size_t)(hyphen - spec.ptr));
    struct weir_str behind = weir_str_make(hyphen + 1, spec.len - before.len - 1);
    uint64_t first, last = UINT64_MAX;

    if (before.len == 0) {
        uint64_t suffix;
        int r = parse_position(behind, &suffix);
        if (r != 0 || size == 0) {
            return r != 0 || suffix != 0 ? -EINVAL : -ERANGE;
        }
        if (suffix == 0) {
            return -ERANGE;
        }
        *out = (struct byte_range){ suffix < size ? size - suffix : 0, size - 1 };
        return 0;
    }
    if (parse_position(before, &first) != 0 ||
            (behind.len > 0 && parse_position(behind, &last) != 0) || last < first) {
        return -EINVAL;
    }
    if (first >= size) {
        return -ERANGE;
    }
    *out = (struct byte_range){ first, last < size ? last : size - 1 };
    return 0;
}

/* True when the two overlap or touch; both lie within a representation, so no sum wraps. */
static bool
can_join(const struct byte_range *a, const struct byte_range *b)
{
    return a->first <= b->last + 1 && b->first <= a->last + 1;
}

/* Adds `range`, joined with all that it meets; the result stands where the first of them stood
 * (15.3.7.2 wants the order of the request). */
static void
add_range(struct range_set *set, struct byte_range range)
{
    size_t at = set->count, kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct byte_range *other = &set->ranges[i];
        if (!can_join(other, &range)) {
            set->ranges[kept++] = *other;
            continue;
        }
        range.first = other->first < range.first ? other->first : range.first;
        range.last = other->last > range.last ? other->last : range.last;
        if (at == set->count) {
            at = kept++; /* its place, filled below */
        }
    }
    if (at == set->count) {
        at = kept++;
    }
    set->ranges[at] = range;
    set->count = kept;
}

int
range_parse(struct weir_str value, uint64_t size, struct range_set *out)
{
    const struct weir_str unit = WEIR_STR("bytes=");
    /* Units have no case (14.1). */
    if (value.len < unit.len || !weir_str_eq_icase(weir_str_make(value.ptr, unit.len), unit)) {
        return -EINVAL;
    }
    struct weir_str rest = weir_str_make(value.ptr + unit.len, value.len - unit.len), spec;
    struct range_set set = { .count = 0 };
    size_t specs = 0;

    while (weir_str_split(&rest, ',', &spec)) {
        if (spec.len == 0) {
            continue; /* empty elements of a list are passed over (5.6.1.2) */
        }
        if (++specs > RANGE_MAX) {
            return -E2BIG;
        }
        struct byte_range range;
        int r = parse_spec(spec, size, &range);
        if (r == -EINVAL) {
            return r;
        }
        if (r == 0) {
            add_range(&set, range);
        }
    }
    if (specs == 0) {
        return -EINVAL;
    }
    if (set.count == 0) {
        return -ERANGE;
    }
    *out = set;
    return 0;
}

static size_t
put(char *dst, struct weir_str text)
{
    memcpy(dst, text.ptr, text.len);
    return text.len;
}

size_t
content_range_format(char *dst, const struct byte_range *range, uint64_t size)
{
    size_t len = put(dst, WEIR_STR("bytes "));
    if (range == NULL) {
        dst[len++] = '*';
    } else {
        len += num_format_u64(dst + len, range->first);
        dst[len++] = '-';
        len += num_format_u64(dst + len, range->last);
    }
    dst[len++] = '/';
    return len + num_format_u64(dst + len, size);
}
