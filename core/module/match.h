/* SPDX-License-Identifier: MIT */
/* What one `match` says: patterns of the path, and conditions on everything else (CONFIG.md,
 * "Choosing a server and a route", 3 and 4). Compiled once, read by any thread. */
#ifndef WEIR_MODULE_MATCH_H
#define WEIR_MODULE_MATCH_H

#include "config/schema.h"
#include "module/host_pattern.h"
#include "module/pattern.h"
#include "module/route.h"

/* Pairs that are compared at the most to find out that one thing covers another. */
#define MATCH_COVER_LOOKS_MAX 512

enum wanted_how {
    WANTED_EXACT,
    WANTED_PREFIX,
    WANTED_SUFFIX,
    WANTED_WITHIN
};

/* A text that a value may be: "x", "x*", "*x", "*x*". */
struct wanted {
    struct weir_str text;
    enum wanted_how how;
};

enum condition_kind {
    CONDITION_HOST,
    CONDITION_METHOD,
    CONDITION_PROTOCOL,
    CONDITION_CLIENT,
    CONDITION_PEER,
    CONDITION_REGEX,
    CONDITION_HEADER,
    CONDITION_QUERY,
    CONDITION_VARIABLE,
    CONDITION_NOT,
};

struct matcher;

struct condition {
    enum condition_kind kind;
    const struct config_value *value; /* as written */
    size_t count;
    union {
        const struct host_pattern *hosts;
        const struct wanted *texts; /* METHOD, PROTOCOL, HEADER, QUERY, VARIABLE */
        const struct weir_network *networks;
        const struct weir_regex *const *regexes;
        const struct matcher *inner; /* NOT */
    };
    struct weir_str name;   /* HEADER, QUERY, VARIABLE */
    bool is_absent, is_any; /* the value is false, or true: nothing but presence counts */
};

/* Patterns of which one holds, and conditions that all hold. */
struct alternative {
    const struct pattern *patterns;
    size_t patterns_count; /* 0: every path */
    struct condition *conditions;
    size_t conditions_count;
};

/* Alternatives of which one holds. */
struct matcher {
    struct alternative *alternatives;
    size_t count;
};

/* Compiles a `match` as written; NULL after a report, or without memory. */
const struct matcher *match_compile(struct schema *schema, const struct config_value *value);

/* All conditions of the alternative hold; its patterns are the caller's to look at. */
bool match_conditions_hold(const struct alternative *alternative,
        const struct route_request *request);

/* Whatever the conditions of `narrow` let through, those of `wide` do. May say no where it is
 * not provable. */
bool match_conditions_cover(const struct alternative *wide, const struct alternative *narrow);

#endif
