/* SPDX-License-Identifier: MIT */
/* Telling the four forms apart and cutting them up. */
#include "http/target.h"

#include <errno.h>

/* What may stand in a path or query as sent: visible ASCII without `#`. Wider than RFC 3986 by
 * the bytes that browsers send bare (`|`, `{`, `"` and such); a path has rules of its own on
 * top (http/path.h). */
static bool
bytes_are_valid(struct weir_str s)
{
    bool valid = true;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        valid &= c > 0x20 && c < 0x7f && c != '#';
    }
    return valid;
}

/* `text` is the path and the query. */
static int
parse_path_and_query(struct weir_str text, struct target *target)
{
    const char *mark = text.len == 0 ? NULL : memchr(text.ptr, '?', text.len);
    target->raw_path = text;
    if (mark != NULL) {
        target->raw_path.len = (size_t)(mark - text.ptr);
        target->has_query = true;
        target->query = weir_str_make(mark + 1, text.len - target->raw_path.len - 1);
        if (!bytes_are_valid(target->query)) {
            return -EINVAL;
        }
    }
    if (path_is_plain(target->raw_path)) {
        target->path = target->raw_path;
        return 0;
    }
    return bytes_are_valid(target->raw_path) ? 0 : -EINVAL;
}

/* `text` begins after the scheme's `://`. */
static int
parse_absolute(struct weir_str text, enum method method, struct target *target)
{
    size_t len = 0;
    while (len < text.len && text.ptr[len] != '/' && text.ptr[len] != '?') {
        len++;
    }
    target->form = TARGET_ABSOLUTE;
    target->authority = weir_str_make(text.ptr, len);
    int r = host_parse(target->authority, &target->host);
    if (r == 0) {
        r = parse_path_and_query(weir_str_make(text.ptr + len, text.len - len), target);
    }
    if (r == 0 && target->raw_path.len == 0) {
        bool is_whole_server = method == METHOD_OPTIONS && !target->has_query;
        target->path = is_whole_server ? WEIR_STR("*") : WEIR_STR("/");
    }
    return r;
}

static int
parse_authority(struct weir_str text, struct target *target)
{
    target->form = TARGET_AUTHORITY;
    target->authority = text;
    target->raw_path = weir_str_make(text.ptr, 0);
    target->path = target->raw_path;
    int r = host_parse(text, &target->host);
    if (r == 0 && !target->host.has_port) {
        r = -EINVAL; /* there is no default (RFC 9110 section 9.3.6) */
    }
    return r;
}

/* Takes `scheme`, in any case, off the front of *text. */
static bool
take_scheme(struct weir_str *text, struct weir_str scheme)
{
    if (text->len < scheme.len ||
            !weir_str_eq_icase(weir_str_make(text->ptr, scheme.len), scheme)) {
        return false;
    }
    text->ptr += scheme.len;
    text->len -= scheme.len;
    return true;
}

int
target_parse(struct weir_str raw, enum method method, struct target *out)
{
    struct target target = { .form = TARGET_ORIGIN };
    int r = -EINVAL;

    if (raw.len == 0) {
        return -EINVAL;
    }
    if (method == METHOD_CONNECT) {
        r = parse_authority(raw, &target);
    } else if (raw.ptr[0] == '/') {
        r = parse_path_and_query(raw, &target);
    } else if (weir_str_eq(raw, WEIR_STR("*")) && method == METHOD_OPTIONS) {
        target.form = TARGET_ASTERISK;
        target.raw_path = raw;
        target.path = raw;
        r = 0;
    } else if (take_scheme(&raw, WEIR_STR("http://"))) {
        target.scheme = TARGET_HTTP;
        r = parse_absolute(raw, method, &target);
    } else if (take_scheme(&raw, WEIR_STR("https://"))) {
        target.scheme = TARGET_HTTPS;
        r = parse_absolute(raw, method, &target);
    }
    if (r == 0) {
        *out = target;
    }
    return r;
}

int
target_normalise(struct target *target, char *dst)
{
    if (target->path.ptr != NULL) {
        return 0;
    }
    return path_normalise(target->raw_path, dst, &target->path, &target->path_flags);
}
