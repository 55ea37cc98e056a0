/* SPDX-License-Identifier: MIT */
/* Entity tags. */
#include "http/etag.h"

#include <errno.h>

/* etagc: visible ASCII without the quote, and obs-text. */
static bool
is_etag_byte(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x21 && u != '"' && u != 0x7f;
}

/* Takes a tag off the front of *rest. */
static int
take_etag(struct weir_str *rest, struct etag *out)
{
    struct weir_str s = *rest;
    bool is_weak = weir_str_starts_with(s, WEIR_STR("W/")); /* case matters */
    if (is_weak) {
        s.ptr += 2;
        s.len -= 2;
    }
    if (s.len == 0 || s.ptr[0] != '"') {
        return -EINVAL;
    }
    size_t len = 1;
    while (len < s.len && is_etag_byte(s.ptr[len])) {
        len++;
    }
    if (len == s.len || s.ptr[len] != '"') {
        return -EINVAL;
    }
    len++;
    *out = (struct etag){ .opaque = weir_str_make(s.ptr, len), .is_weak = is_weak };
    *rest = weir_str_make(s.ptr + len, s.len - len);
    return 0;
}

int
etag_parse(struct weir_str text, struct etag *out)
{
    struct etag etag;
    int r = take_etag(&text, &etag);
    if (r != 0 || text.len != 0) {
        return -EINVAL;
    }
    *out = etag;
    return 0;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t';
}

int
etag_list_next(struct weir_str *rest, struct etag *out)
{
    /* Empty elements of a list are passed over (section 5.6.1.2). */
    while (rest->len > 0 && (is_space(rest->ptr[0]) || rest->ptr[0] == ',')) {
        rest->ptr++;
        rest->len--;
    }
    if (rest->len == 0) {
        return 0;
    }
    struct weir_str s = *rest;
    struct etag etag;
    int r = take_etag(&s, &etag);
    if (r != 0) {
        return r;
    }
    while (s.len > 0 && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    if (s.len > 0 && s.ptr[0] != ',') {
        return -EINVAL;
    }
    *rest = s;
    *out = etag;
    return 1;
}

bool
etag_eq_strong(const struct etag *a, const struct etag *b)
{
    return !a->is_weak && !b->is_weak && weir_str_eq(a->opaque, b->opaque);
}

bool
etag_eq_weak(const struct etag *a, const struct etag *b)
{
    return weir_str_eq(a->opaque, b->opaque);
}
