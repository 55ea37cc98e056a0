/* SPDX-License-Identifier: MIT */
/* Forms of text as regular expressions for a JSON Schema (ECMA-262, as far as Python's and
 * pcre2's are the same): what units.c, template.c and the parsers of names and addresses read,
 * said once more for editors. tests/integration/test_schema.py holds both together. */
#ifndef WEIR_CONFIG_JSON_PATTERN_H
#define WEIR_CONFIG_JSON_PATTERN_H

#include "config/emit.h"
#include "config/template.h"

/* Parts of expressions; each stands for itself in any of them. */
#define JSON_PATTERN_TOKEN    "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#define JSON_PATTERN_OCTET    "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define JSON_PATTERN_IPV4     "(?:" JSON_PATTERN_OCTET "\\.){3}" JSON_PATTERN_OCTET
#define JSON_PATTERN_EXPANDED "\\$\\{env:|^\\$file:"
extern const char json_pattern_ipv6[];

/* Whole expressions, as string values. Bounds are included; `low` 0 allows zero. */
void json_pattern_size(struct emit *emit, uint64_t low, uint64_t high);
void json_pattern_duration(struct emit *emit, uint64_t low_ns, uint64_t high_ns);
void json_pattern_rate(struct emit *emit);
void json_pattern_network(struct emit *emit);

/* Statuses from `low` to `high`; unless `single` also "4xx" and "400-499". */
void json_pattern_status(struct emit *emit, unsigned low, unsigned high, bool single);

/* Text with variables: the server's own and `extras`. */
void json_pattern_template(struct emit *emit, enum weir_context context,
        const struct template_extras *extras);

/* The name of a variable, as between the braces. */
void json_pattern_variable(struct emit *emit, const struct template_extras *extras);

#endif
