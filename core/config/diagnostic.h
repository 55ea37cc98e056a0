/* SPDX-License-Identifier: MIT */
/* Mistakes in the configuration: collected while it is read, all of them, sorted into file
 * order and shown in the forms of CONFIG.md ("Mistakes"). Says nothing by itself.
 * Thread: one at a time. */
#ifndef WEIR_CONFIG_DIAGNOSTIC_H
#define WEIR_CONFIG_DIAGNOSTIC_H

#include <stdarg.h>

#include <weir/str.h>

#include "base/arena.h"
#include "base/buf.h"
#include "config/source.h"

/* Codes are stable: a number once given keeps its meaning. 01: text and files; 02: names;
 * 03: values; 04: structure; 05: what this build cannot do;
 * 06: what this machine does not have. */
// clang-format off
#define DIAGNOSTIC_CODES(X)                                             \
    X(FILE_UNREADABLE,    101, "file that cannot be read")              \
    X(FILE_SIZE,          102, "file too large")                        \
    X(SYNTAX,             103, "syntax error")                          \
    X(KEY_REPEATED,       104, "repeated key")                          \
    X(DEPTH,              105, "nested too deep")                       \
    X(COMMENT,            106, "comment without end")                   \
    X(ENCODING,           107, "text that is not UTF-8")                \
    X(ENV_UNSET,          108, "environment variable not set")          \
    X(ENV_FORM,           109, "malformed ${env:...}")                  \
    X(SECRET_FILE,        110, "$file: that cannot be read")            \
    X(INCLUDE,            111, "include that cannot be followed")       \
    X(INCLUDE_KEY,        112, "key not allowed in an included file")   \
    X(MEMORY,             113, "configuration too large")               \
    X(KEY_UNKNOWN,        201, "unknown key")                           \
    X(MODULE_UNKNOWN,     202, "module not installed")                  \
    X(HANDLER_UNKNOWN,    203, "unknown handler")                       \
    X(MODULE_UNDECLARED,  204, "module not declared")                   \
    X(MODULE_REFUSED,     205, "module that does not fit")              \
    X(HANDLER_TWICE,      206, "handler of two modules")                \
    X(NAME_TWICE,         207, "name used twice")                       \
    X(VARIABLE_UNKNOWN,   208, "unknown variable")                      \
    X(REFERENCE_UNKNOWN,  209, "unknown name")                          \
    X(NAME_FORM,          210, "malformed name")                        \
    X(MODULE_FAILED,      211, "module that ends the check")            \
    X(TYPE,               301, "wrong type")                            \
    X(REQUIRED,           302, "missing key")                           \
    X(RANGE,              303, "value out of range")                    \
    X(UNIT_MISSING,       304, "number without unit")                   \
    X(VALUE_FORM,         305, "malformed value")                       \
    X(CHOICE,             306, "not one of the choices")                \
    X(ZERO,               307, "zero")                                  \
    X(NETWORK,            308, "malformed network")                     \
    X(ADDRESS,            309, "malformed address")                     \
    X(REGEX,              310, "malformed regular expression")          \
    X(TEMPLATE,           311, "malformed template")                    \
    X(PATTERN,            312, "malformed pattern")                     \
    X(HOST,               313, "malformed host")                        \
    X(MODULE_SAYS,        314, "refused by its module")                 \
    X(EMPTY,              315, "empty value")                           \
    X(HANDLER_FORM,       401, "not exactly one handler")               \
    X(USE_TWICE,          402, "handler used twice")                    \
    X(FINAL,              403, "change of a final hook")                \
    X(REMOVES_NOTHING,    404, "removal of nothing")                    \
    X(SCOPE,              405, "not on this level")                     \
    X(ROUTE_DEAD,         406, "route that never matches")              \
    X(HOST_TWICE,         407, "host given twice")                      \
    X(TLS_MIXED,          408, "TLS and none on one address")           \
    X(HANDLER_PLACE,      409, "handler in the wrong list")             \
    X(ADDRESS_TWICE,      410, "address given twice")                   \
    X(NOT_IN_BUILD,       501, "not in this build")                     \
    X(MODULE_NOT_IN_BUILD, 502, "module not in this build")             \
    X(PATH_MISSING,       601, "file or folder that is not there")      \
    X(PATH_KIND,          602, "file that is something else")           \
    X(PATH_FORBIDDEN,     603, "file or folder without permission")     \
    X(USER_UNKNOWN,       604, "unknown user or group")
// clang-format on

enum diagnostic_code {
#define CODE(name, number, title) DIAGNOSTIC_##name = number,
    DIAGNOSTIC_CODES(CODE)
#undef CODE
};

enum diagnostic_severity {
    DIAGNOSTIC_ERROR,
    DIAGNOSTIC_WARNING
};

enum diagnostic_format {
    DIAGNOSTIC_TEXT,
    DIAGNOSTIC_JSON,
    DIAGNOSTIC_GCC
};

struct diagnostics;

/* One mistake; texts are empty when there is nothing to say. Belongs to its diagnostics. */
struct diagnostic {
    struct diagnostics *owner;
    enum diagnostic_code code;
    enum diagnostic_severity severity;
    struct config_place place; /* source NULL: of no file */
    struct weir_str message;
    struct weir_str note;      /* beside the caret */
    struct weir_str pointer;   /* JSON pointer (RFC 6901) */
    struct weir_str hint;      /* what to do, `did you mean "proxy"?` */
    struct weir_str more;      /* an aside after the hint, in parentheses */
    struct config_place other; /* the second place of a conflict */
    struct weir_str other_note;
};

/* How many are kept; the rest is counted. */
#define DIAGNOSTICS_MAX 200

/* NULL: no memory. */
WEIR_MUST_USE struct diagnostics *diagnostics_new(void);
void diagnostics_free(struct diagnostics *diagnostics); /* NULL: nothing */

/* Adds an error at `place` (NULL: nowhere). Never NULL: one that repeats an earlier one, or
 * does not fit any more, goes to a scratch that nobody shows. */
struct diagnostic *diagnostics_add(struct diagnostics *diagnostics, enum diagnostic_code code,
        const struct config_place *place, const char *format, ...) WEIR_PRINTF(4, 5);
struct diagnostic *diagnostics_vadd(struct diagnostics *diagnostics, enum diagnostic_code code,
        const struct config_place *place, const char *format, va_list arguments)
        WEIR_PRINTF(4, 0);

/* For a mistake that follows from a reported one: counted by diagnostics_reports() only. */
struct diagnostic *diagnostics_ignore(struct diagnostics *diagnostics);

/* Fill in the rest; each replaces what was there. */
void diagnostic_note(struct diagnostic *diagnostic, const char *format, ...) WEIR_PRINTF(2, 3);
void diagnostic_hint(struct diagnostic *diagnostic, const char *format, ...) WEIR_PRINTF(2, 3);
void diagnostic_more(struct diagnostic *diagnostic, const char *format, ...) WEIR_PRINTF(2, 3);
void diagnostic_pointer(struct diagnostic *diagnostic, struct weir_str pointer);
void diagnostic_other(struct diagnostic *diagnostic, const struct config_place *place,
        const char *note);

/* Makes it a warning: it does not fail the check. */
void diagnostic_warn(struct diagnostic *diagnostic);

/* Errors (warnings not counted), also those that were not kept. */
size_t diagnostics_errors(const struct diagnostics *diagnostics);

/* Everything that was ever reported, repetitions and warnings too: did a step report anything?
 */
size_t diagnostics_reports(const struct diagnostics *diagnostics);

/* True when memory ran out while collecting: what was said may not be all. */
bool diagnostics_is_incomplete(const struct diagnostics *diagnostics);
void diagnostics_out_of_memory(struct diagnostics *diagnostics);

/* Kept ones, in file order after diagnostics_sort(). */
size_t diagnostics_count(const struct diagnostics *diagnostics);
const struct diagnostic *diagnostics_get(const struct diagnostics *diagnostics, size_t i);
void diagnostics_sort(struct diagnostics *diagnostics);

/* Sorts, and appends all of them to `out`; `color` only concerns DIAGNOSTIC_TEXT. Returns 0,
 * -ENOMEM, -ENOBUFS. */
WEIR_MUST_USE int diagnostics_print(struct diagnostics *diagnostics,
        enum diagnostic_format format, bool color, struct buf *out);

/* "E0203"; lives for ever. */
const char *diagnostic_code_text(enum diagnostic_code code);
const char *diagnostic_code_title(enum diagnostic_code code);

/* The nearest of the words offered to a mistyped one, if any is near. */
struct suggestion {
    struct weir_str word, best; /* best.ptr NULL: none */
    size_t distance;
};

void suggestion_init(struct suggestion *suggestion, struct weir_str word);
void suggestion_offer(struct suggestion *suggestion, struct weir_str candidate);

/* Sets the hint `did you mean "..."?` when there is a best one. */
void suggestion_hint(const struct suggestion *suggestion, struct diagnostic *diagnostic);

#endif
