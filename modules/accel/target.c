/* SPDX-License-Identifier: MIT */
/* Where a field's value leads. A value is written by an application, out of what its clients
 * sent: it is held to the configuration's prefixes after it has been decoded, and what climbs
 * (`..`) is refused, not followed. */
#include "accel.h"

static int
hex_value(char c)
{
    return c >= '0' && c <= '9'    ? c - '0'
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                   : -1;
}

/* Whether an escape begins at `i`. */
static bool
is_escape(struct weir_str text, size_t i)
{
    return text.ptr[i] == '%' && text.len - i >= 3 && hex_value(text.ptr[i + 1]) >= 0 &&
            hex_value(text.ptr[i + 2]) >= 0;
}

size_t
accel_decode(char *dst, struct weir_str text)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (is_escape(text, i)) {
            dst[len++] = (char)(hex_value(text.ptr[i + 1]) << 4 | hex_value(text.ptr[i + 2]));
            i += 2;
        } else {
            dst[len++] = text.ptr[i];
        }
    }
    return len;
}

size_t
accel_encode(char *dst, struct weir_str target)
{
    size_t len = 0;
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.ptr[i];
        bool is_fine = c > 0x20 && c < 0x7f && c != '#' && (c != '%' || is_escape(target, i));
        if (is_fine) {
            dst[len++] = (char)c;
        } else {
            dst[len++] = '%';
            dst[len++] = "0123456789ABCDEF"[c >> 4];
            dst[len++] = "0123456789ABCDEF"[c & 0xf];
        }
    }
    return len;
}

bool
accel_climbs(struct weir_str path)
{
    if (path.len == 0 || path.ptr[0] != '/' || memchr(path.ptr, '\0', path.len) != NULL) {
        return true;
    }
    for (size_t i = 0; i < path.len;) {
        size_t start = i + 1, end = start;
        while (end < path.len && path.ptr[end] != '/') {
            end++;
        }
        struct weir_str segment = weir_str_make(path.ptr + start, end - start);
        if (weir_str_eq(segment, WEIR_STR(".")) || weir_str_eq(segment, WEIR_STR(".."))) {
            return true;
        }
        i = end;
    }
    return false;
}

bool
accel_is_pattern(struct weir_str text)
{
    const char *star = text.len == 0 ? NULL : memchr(text.ptr, '*', text.len);
    return !accel_climbs(text) &&
            (star == NULL || (star == text.ptr + text.len - 1 && star[-1] == '/'));
}

/* What is at `prefix` or beneath it, at the border of a segment; the rest to *rest. */
static bool
is_beneath(struct weir_str path, struct weir_str prefix, struct weir_str *rest)
{
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/') {
        prefix.len--;
    }
    if (!weir_str_starts_with(path, prefix) ||
            (path.len > prefix.len && path.ptr[prefix.len] != '/')) {
        return false;
    }
    *rest = weir_str_make(path.ptr + prefix.len, path.len - prefix.len);
    return true;
}

bool
accel_may_lead_to(const struct weir_list *patterns, struct weir_str path)
{
    for (size_t i = 0; i < patterns->count; i++) {
        struct weir_str pattern = WEIR_LIST_AT(struct weir_str, patterns, i), rest;
        bool is_prefix = pattern.ptr[pattern.len - 1] == '*';
        pattern.len -= is_prefix;
        if (is_prefix ? is_beneath(path, pattern, &rest) : weir_str_eq(path, pattern)) {
            return true;
        }
    }
    return false;
}

size_t
accel_root_of(const struct weir_list *roots, struct weir_str path, struct weir_str *rest)
{
    size_t found = roots->count;
    for (size_t i = 0; i < roots->count; i++) {
        struct weir_str beneath;
        if (is_beneath(path, WEIR_LIST_AT(struct weir_str, roots, i), &beneath) &&
                (found == roots->count || beneath.len < rest->len)) {
            found = i;
            *rest = beneath;
        }
    }
    return found;
}
