/* SPDX-License-Identifier: MIT */
/* Regular expressions, with bounds on what a match may cost. The only user of pcre2. A compiled
 * one is constant: any thread may match with it. */
#ifndef WEIR_CONFIG_REGEX_H
#define WEIR_CONFIG_REGEX_H

#include <weir/option.h>

#include "base/arena.h"

struct regex_mistake {
    size_t offset; /* in the expression */
    char message[128];
};

/* A named group and what it matched; both borrowed. */
struct regex_capture {
    struct weir_str name, value;
};

/* Compiles into `arena`, which frees it at its end. Returns 0; -EINVAL and *mistake; -ENOMEM.
 */
WEIR_MUST_USE int regex_compile(struct arena *arena, struct weir_str expression,
        const struct weir_regex **out, struct regex_mistake *mistake);

/* As it was written. */
struct weir_str regex_text(const struct weir_regex *regex);

/* The nth (from 0) name of a group; false past the last. */
bool regex_group_name(const struct weir_regex *regex, size_t nth, struct weir_str *out);

/* Matches and writes at most *count of the named groups that took part; *count becomes how
 * many. False also when the match took too many steps or there is no memory. */
bool regex_match(const struct weir_regex *regex, struct weir_str text,
        struct regex_capture *captures, size_t *count);

#endif
