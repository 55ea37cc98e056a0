/* SPDX-License-Identifier: MIT */
/* A path is a list of segments; the one after a slash at the end is empty. */
#include "module/pattern.h"

#include <errno.h>

bool
pattern_next_segment(struct weir_str *rest, struct weir_str *segment)
{
    if (rest->len == 0) {
        return false;
    }
    const char *start = rest->ptr + 1; /* past the slash */
    size_t left = rest->len - 1;
    const char *slash = left == 0 ? NULL : memchr(start, '/', left);
    size_t len = slash == NULL ? left : (size_t)(slash - start);
    *segment = weir_str_make(start, len);
    *rest = weir_str_make(start + len, left - len);
    return true;
}

static int
refuse(const char **message, size_t *offset, size_t at, const char *text)
{
    *message = text;
    *offset = at;
    return -EINVAL;
}

static bool
is_name(struct weir_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-')) {
            return false;
        }
    }
    return text.len > 0;
}

static bool
is_taken(const struct pattern_segment *segments, size_t count, struct weir_str name)
{
    for (size_t i = 0; i < count; i++) {
        if (segments[i].is_capture && weir_str_eq(segments[i].text, name)) {
            return true;
        }
    }
    return false;
}

static int
parse_suffix(struct pattern *out, const char **message, size_t *offset)
{
    out->kind = PATTERN_SUFFIX;
    out->suffix = weir_str_make(out->text.ptr + 1, out->text.len - 1);
    if (out->suffix.len == 0) {
        return refuse(message, offset, 0, "everything is written \"/*\", or without match");
    }
    for (size_t i = 0; i < out->suffix.len; i++) {
        if (strchr("*{}/", out->suffix.ptr[i]) != NULL) {
            return refuse(message, offset, i + 1,
                    "after a star at the front stands plain text without a slash");
        }
    }
    return 0;
}

/* One segment; *done when it was the tail. */
static int
parse_segment(struct pattern *out, struct pattern_segment *segments, struct weir_str text,
        bool is_last, const char **message, size_t *offset)
{
    size_t at = (size_t)(text.ptr - out->text.ptr);
    if (is_last && weir_str_eq(text, WEIR_STR("*"))) {
        out->kind = PATTERN_PREFIX;
        return 0;
    }
    if (weir_str_eq(text, WEIR_STR(".")) || weir_str_eq(text, WEIR_STR(".."))) {
        return refuse(message, offset, at, "no path has such a segment: they are normalised");
    }
    if (text.len == 0 && !is_last) {
        return refuse(message, offset, at, "no path has an empty segment: they are normalised");
    }
    bool is_capture = text.len >= 2 && text.ptr[0] == '{' && text.ptr[text.len - 1] == '}';
    bool is_tail = is_capture && text.len >= 3 && text.ptr[text.len - 2] == '*';
    struct weir_str name = is_capture
            ? weir_str_make(text.ptr + 1, text.len - 2 - (size_t)is_tail)
            : weir_str_make("", 0);
    for (size_t i = 0; !is_capture && i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '*') {
            return refuse(message, offset, at + i,
                    "a star stands alone as the last segment, or in front of a suffix");
        }
        if (c == '{' || c == '}') {
            return refuse(message, offset, at + i, "braces enclose a whole segment");
        }
        if (c == '?' || c == '#' || c == '\0') {
            return refuse(message, offset, at + i,
                    "this is no part of a path; the query has a key of its own");
        }
    }
    if (is_capture && !is_name(name)) {
        return refuse(message, offset, at,
                "a name of letters, digits, _ and - stands in braces");
    }
    if (is_capture && is_taken(segments, out->count, name)) {
        return refuse(message, offset, at, "this name is taken");
    }
    if (is_tail) {
        if (!is_last) {
            return refuse(message, offset, at, "the tail stands at the end");
        }
        out->kind = PATTERN_PREFIX;
        out->tail_name = name;
        return 0;
    }
    segments[out->count++] = (struct pattern_segment){ is_capture ? name : text, is_capture };
    return 0;
}

int
pattern_parse(struct arena *arena, struct weir_str text, struct pattern *out,
        const char **message, size_t *offset)
{
    *out = (struct pattern){ .text = arena_copy(arena, text), .kind = PATTERN_EXACT };
    if (out->text.ptr == NULL) {
        return -ENOMEM;
    }
    if (weir_str_starts_with(out->text, WEIR_STR("*"))) {
        return parse_suffix(out, message, offset);
    }
    if (!weir_str_starts_with(out->text, WEIR_STR("/"))) {
        return refuse(message, offset, 0, "a path begins with a slash");
    }
    size_t count = 0, captures = 0;
    struct weir_str rest = out->text, segment;
    while (pattern_next_segment(&rest, &segment)) {
        count++;
        captures += segment.len > 0 && segment.ptr[0] == '{';
    }
    if (count > PATTERN_SEGMENTS_MAX || captures > PATTERN_CAPTURES_MAX) {
        return refuse(message, offset, 0, "too long: at most 64 segments, 8 of them in braces");
    }
    struct pattern_segment *segments = arena_array(arena, count, sizeof(*segments));
    if (segments == NULL) {
        return -ENOMEM;
    }
    out->segments = segments;
    rest = out->text;
    while (pattern_next_segment(&rest, &segment)) {
        int r = parse_segment(out, segments, segment, rest.len == 0, message, offset);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static bool
ends_with(struct weir_str text, struct weir_str suffix)
{
    return text.len >= suffix.len &&
            memcmp(text.ptr + text.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

bool
pattern_matches(const struct pattern *pattern, struct weir_str path)
{
    struct weir_str segment;
    if (pattern->kind == PATTERN_SUFFIX) {
        return ends_with(path, pattern->suffix);
    }
    if (path.len == 0 || path.ptr[0] != '/') {
        return pattern->kind == PATTERN_PREFIX && pattern->count == 0;
    }
    for (size_t i = 0; i < pattern->count; i++) {
        const struct pattern_segment *wanted = &pattern->segments[i];
        if (!pattern_next_segment(&path, &segment) ||
                (wanted->is_capture ? segment.len == 0 : !weir_str_eq(wanted->text, segment))) {
            return false;
        }
    }
    return pattern->kind == PATTERN_PREFIX || path.len == 0;
}

/* What of a pattern is certain to stand at the end of each of its paths. */
static struct weir_str
certain_end(const struct pattern *pattern)
{
    if (pattern->kind == PATTERN_SUFFIX) {
        return pattern->suffix;
    }
    if (pattern->kind == PATTERN_EXACT && pattern->count > 0 &&
            !pattern->segments[pattern->count - 1].is_capture) {
        return pattern->segments[pattern->count - 1].text;
    }
    return weir_str_make("", 0);
}

bool
pattern_covers(const struct pattern *wide, const struct pattern *narrow)
{
    if (wide->kind == PATTERN_SUFFIX) {
        return ends_with(certain_end(narrow), wide->suffix);
    }
    if (narrow->kind == PATTERN_SUFFIX) {
        return wide->kind == PATTERN_PREFIX && wide->count == 0;
    }
    if (narrow->count < wide->count ||
            (wide->kind == PATTERN_EXACT &&
                    (narrow->kind != PATTERN_EXACT || narrow->count != wide->count))) {
        return false;
    }
    for (size_t i = 0; i < wide->count; i++) {
        const struct pattern_segment *w = &wide->segments[i], *n = &narrow->segments[i];
        if (w->is_capture ? !n->is_capture && n->text.len == 0
                          : n->is_capture || !weir_str_eq(w->text, n->text)) {
            return false;
        }
    }
    return true;
}

/* `a` never reaches as many segments as `b` needs. */
static bool
is_shorter(const struct pattern *a, const struct pattern *b)
{
    return a->kind == PATTERN_EXACT && a->count < b->count;
}

bool
pattern_is_disjoint(const struct pattern *a, const struct pattern *b)
{
    if (a->kind == PATTERN_SUFFIX || b->kind == PATTERN_SUFFIX) {
        struct weir_str x = certain_end(a), y = certain_end(b);
        return x.len > 0 && y.len > 0 && !ends_with(x, y) && !ends_with(y, x);
    }
    if (is_shorter(a, b) || is_shorter(b, a)) {
        return true;
    }
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        const struct pattern_segment *x = &a->segments[i], *y = &b->segments[i];
        if (!x->is_capture && !y->is_capture && !weir_str_eq(x->text, y->text)) {
            return true;
        }
    }
    return false;
}
