/* SPDX-License-Identifier: MIT */
/* Decoding and normalising. One pass; `dst` holds what has been accepted so far, always
 * beginning with a slash, and the segment that is being read at its end. */
#include "http/path.h"

#include <errno.h>

#include "base/num.h"

/* What path_is_plain() asks of a byte. A slash and a dot are in question after a slash only. */
enum {
    SPECIAL = 1,
    SPECIAL_AFTER_SLASH = 2,
    SLASH = 4
};

static const unsigned char plain_bytes[256] = {
    [0 ... 0x20] = SPECIAL,
    ['#'] = SPECIAL,
    ['%'] = SPECIAL,
    ['.'] = SPECIAL_AFTER_SLASH,
    ['/'] = SPECIAL_AFTER_SLASH | SLASH,
    ['?'] = SPECIAL,
    ['\\'] = SPECIAL,
    [0x7f ... 0xff] = SPECIAL,
};

/* RFC 3986 section 3.3: pchar without `%`, and the slash. */
static const bool unescaped_bytes[256] = {
    ['!'] = true,
    ['$'] = true,
    ['&'] = true,
    ['\''] = true,
    ['(' ... ';'] = true, /* ()*+,-./ digits :; */
    ['='] = true,
    ['@' ... 'Z'] = true,
    ['_'] = true,
    ['a' ... 'z'] = true,
    ['~'] = true,
};

bool
path_is_plain(struct weir_str raw)
{
    if (raw.len == 0 || raw.ptr[0] != '/') {
        return false;
    }
    unsigned special = 0, before = 0;
    for (size_t i = 0; i < raw.len; i++) {
        unsigned class = plain_bytes[(unsigned char)raw.ptr[i]];
        special |= class & (SPECIAL | (before >> 1 & SPECIAL_AFTER_SLASH));
        before = class;
    }
    return special == 0;
}

/* The byte that the escape at raw.ptr[at] stands for; -EINVAL when it is none, or NUL. */
static int
escaped_byte(struct weir_str raw, size_t at)
{
    if (raw.len - at < 3) {
        return -EINVAL;
    }
    int high = num_hex_digit(raw.ptr[at + 1]), low = num_hex_digit(raw.ptr[at + 2]);
    if (high < 0 || low < 0 || (high | low) == 0) {
        return -EINVAL;
    }
    return high << 4 | low;
}

struct normaliser {
    char *dst;
    size_t len;     /* bytes in dst */
    size_t segment; /* where the segment being read begins; dst[segment - 1] is a slash */
    /* Where a segment begins that has an encoded slash on its left, or had an empty segment
     * there; 0: none. Always the rightmost. */
    size_t encoded_at, merged_at;
    unsigned flags;
};

static bool
is_dot(struct weir_str s)
{
    return s.len == 1 && s.ptr[0] == '.';
}

static bool
is_dot_dot(struct weir_str s)
{
    return s.len == 2 && s.ptr[0] == '.' && s.ptr[1] == '.';
}

/* True when a reader for whom backslashes separate would see dots here. */
static bool
has_dots_beside_backslash(struct weir_str segment)
{
    if (memchr(segment.ptr, '\\', segment.len) == NULL) {
        return false;
    }
    size_t from = 0;
    for (size_t i = 0; i <= segment.len; i++) {
        if (i == segment.len || segment.ptr[i] == '\\') {
            struct weir_str part = weir_str_make(segment.ptr + from, i - from);
            if (is_dot(part) || is_dot_dot(part)) {
                return true;
            }
            from = i + 1;
        }
    }
    return false;
}

/* Takes the last whole segment back, for a `..` that has been dropped. Refuses at the root, and
 * where readers that see fewer slashes, or more empty segments, would take back another. */
static int
pop_segment(struct normaliser *n)
{
    if (n->segment == 1) {
        return -EINVAL;
    }
    size_t begin = n->segment - 1;
    while (n->dst[begin - 1] != '/') {
        begin--;
    }
    if (n->encoded_at >= begin || n->merged_at >= n->segment ||
            memchr(n->dst + begin, '\\', n->segment - begin) != NULL) {
        return -EINVAL;
    }
    n->segment = begin;
    n->len = begin;
    return 0;
}

/* The segment in dst is complete: `separator` follows it, `/` or `%`, or 0 at the end. */
static int
end_segment(struct normaliser *n, char separator)
{
    struct weir_str segment = weir_str_make(n->dst + n->segment, n->len - n->segment);

    if (is_dot(segment) || is_dot_dot(segment)) {
        bool is_up = segment.len == 2;
        if (separator == '%' || n->encoded_at >= n->segment) {
            return -EINVAL;
        }
        n->flags |= PATH_DOT_SEGMENT;
        n->len = n->segment;
        return is_up ? pop_segment(n) : 0;
    }
    if (has_dots_beside_backslash(segment)) {
        return -EINVAL;
    }
    if (separator == 0) {
        return 0;
    }
    if (segment.len == 0) {
        n->flags |= PATH_EMPTY_SEGMENT;
        n->merged_at = n->segment;
    } else {
        n->dst[n->len++] = '/';
        n->segment = n->len;
    }
    if (separator == '%') {
        n->flags |= PATH_ENCODED_SLASH;
        n->encoded_at = n->segment;
    }
    return 0;
}

int
path_normalise(struct weir_str raw, char *dst, struct weir_str *out, unsigned *flags)
{
    if (raw.len == 0 || raw.ptr[0] != '/') {
        return -EINVAL;
    }
    struct normaliser n = { .dst = dst, .len = 1, .segment = 1 };
    dst[0] = '/';

    for (size_t i = 1; i < raw.len; i++) {
        char c = raw.ptr[i];
        char separator = c == '/' ? '/' : 0;
        if (c == '%') {
            int byte = escaped_byte(raw, i);
            if (byte < 0) {
                return byte;
            }
            i += 2;
            c = (char)byte;
            separator = c == '/' ? '%' : 0;
            if (byte < 0x20 || byte == 0x7f) {
                n.flags |= PATH_CONTROL;
            } else if (c == '\\') {
                n.flags |= PATH_BACKSLASH;
            }
        } else if ((plain_bytes[(unsigned char)c] & SPECIAL) != 0) {
            return -EINVAL;
        }
        if (separator == 0) {
            dst[n.len++] = c;
            continue;
        }
        int r = end_segment(&n, separator);
        if (r != 0) {
            return r;
        }
    }
    int r = end_segment(&n, 0);
    if (r != 0) {
        return r;
    }
    *out = weir_str_make(dst, n.len);
    *flags = n.flags;
    return 0;
}

int
path_decode(struct weir_str raw, char *dst, struct weir_str *out)
{
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%') {
            int byte = escaped_byte(raw, i);
            if (byte < 0) {
                return byte;
            }
            i += 2;
            c = (char)byte;
        }
        dst[len++] = c;
    }
    *out = weir_str_make(dst, len);
    return 0;
}

size_t
path_encode(char *dst, struct weir_str path)
{
    size_t len = 0;
    for (size_t i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.ptr[i];
        if (unescaped_bytes[c]) {
            dst[len++] = (char)c;
            continue;
        }
        dst[len++] = '%';
        dst[len++] = "0123456789ABCDEF"[c >> 4];
        dst[len++] = "0123456789ABCDEF"[c & 0xf];
    }
    return len;
}
