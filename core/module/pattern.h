/* SPDX-License-Identifier: MIT */
/* Path patterns (CONFIG.md, "Choosing a server and a route" 3): what one says, and what of two
 * is wider. Pure; any thread. */
#ifndef WEIR_MODULE_PATTERN_H
#define WEIR_MODULE_PATTERN_H

#include <weir/str.h>

#include "base/arena.h"

#define PATTERN_SEGMENTS_MAX 64
#define PATTERN_CAPTURES_MAX 8

enum pattern_kind {
    PATTERN_EXACT,  /* all segments, no more */
    PATTERN_PREFIX, /* all segments, then anything */
    PATTERN_SUFFIX, /* ends in `suffix` */
};

struct pattern_segment {
    struct weir_str text; /* the literal, or the capture's name */
    bool is_capture;
};

struct pattern {
    struct weir_str text; /* as written */
    enum pattern_kind kind;
    struct weir_str suffix;    /* PATTERN_SUFFIX */
    struct weir_str tail_name; /* of `{rest*}`; .len 0: none */
    const struct pattern_segment *segments;
    size_t count;
};

/* "/a/{id}/b", "/a/" followed by a star, "*.php". Returns 0; -EINVAL and a constant *message
 * and the offset it is about; -ENOMEM. */
WEIR_MUST_USE int pattern_parse(struct arena *arena, struct weir_str text, struct pattern *out,
        const char **message, size_t *offset);

/* True when `path` (decoded and normalised) matches. */
bool pattern_matches(const struct pattern *pattern, struct weir_str path);

/* Every path that `narrow` matches is matched by `wide`. May say false when it cannot tell. */
bool pattern_covers(const struct pattern *wide, const struct pattern *narrow);

/* No path matches both. May say false when it cannot tell. */
bool pattern_is_disjoint(const struct pattern *a, const struct pattern *b);

/* The segments of a path, one by one: *rest begins as the path; false at the end. "/a/" has the
 * segments "a" and "". */
bool pattern_next_segment(struct weir_str *rest, struct weir_str *segment);

#endif
