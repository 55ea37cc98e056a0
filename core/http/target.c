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

/* The path and the query of a target. */
struct path_and_query {
    struct weir_str raw_path, path, query;
    bool has_query;
};

static int
parse_path_and_query(struct weir_str text, struct path_and_query *out)
{
    const char *mark = text.len == 0 ? NULL : memchr(text.ptr, '?', text.len);
    out->raw_path = text;
    out->query = weir_str_make(NULL, 0);
    out->has_query = mark != NULL;
    if (mark != NULL) {
        out->raw_path.len = (size_t)(mark - text.ptr);
        out->query = weir_str_make(mark + 1, text.len - out->raw_path.len - 1);
        if (!bytes_are_valid(out->query)) {
            return -EINVAL;
        }
    }
    if (path_is_plain(out->raw_path)) {
        out->path = out->raw_path;
        return 0;
    }
    out->path = weir_str_make(NULL, 0);
    return bytes_are_valid(out->raw_path) ? 0 : -EINVAL;
}

/* Field by field, since this is on every request's way and clearing the unused rest is not
 * free. */
static void
set_path_and_query(struct target *target, const struct path_and_query *from)
{
    target->raw_path = from->raw_path;
    target->path = from->path;
    target->path_flags = 0;
    target->query = from->query;
    target->has_query = from->has_query;
}

static int
parse_origin(struct weir_str raw, struct target *out)
{
    struct path_and_query parts;
    int r = parse_path_and_query(raw, &parts);
    if (r != 0) {
        return r;
    }
    out->form = TARGET_ORIGIN;
    out->scheme = TARGET_NO_SCHEME;
    out->authority = weir_str_make(NULL, 0);
    set_path_and_query(out, &parts);
    return 0;
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
    if (r != 0) {
        return r;
    }
    struct path_and_query parts;
    r = parse_path_and_query(weir_str_make(text.ptr + len, text.len - len), &parts);
    if (r != 0) {
        return r;
    }
    if (parts.raw_path.len == 0) {
        bool is_whole_server = method == METHOD_OPTIONS && !parts.has_query;
        parts.path = is_whole_server ? WEIR_STR("*") : WEIR_STR("/");
    }
    set_path_and_query(target, &parts);
    return 0;
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
    if (raw.len == 0) {
        return -EINVAL;
    }
    if (raw.ptr[0] == '/' && method != METHOD_CONNECT) {
        return parse_origin(raw, out);
    }
    struct target target = { .form = TARGET_ORIGIN };
    int r = -EINVAL;
    if (method == METHOD_CONNECT) {
        r = parse_authority(raw, &target);
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
