/* SPDX-License-Identifier: MIT */
/* Request methods (RFC 9110 section 9): those that the engine can name and what is known about
 * each. Case matters in a method. Pure functions; any thread. */
#ifndef WEIR_HTTP_METHOD_H
#define WEIR_HTTP_METHOD_H

#include <weir/str.h>

#define METHOD_SAFE       1u /* changes nothing on the server (9.2.1) */
#define METHOD_IDEMPOTENT 2u /* twice is as good as once (9.2.2); may be retried */
#define METHOD_CACHEABLE  4u /* an answer may be stored (9.2.3) */

/* The IANA registry as far as llhttp 8.1 reads it, and llhttp's unregistered ones. */
// clang-format off
#define METHODS(X)                                                                            \
    X(GET,         "GET",         METHOD_SAFE | METHOD_IDEMPOTENT | METHOD_CACHEABLE)         \
    X(HEAD,        "HEAD",        METHOD_SAFE | METHOD_IDEMPOTENT | METHOD_CACHEABLE)         \
    X(POST,        "POST",        METHOD_CACHEABLE)                                           \
    X(PUT,         "PUT",         METHOD_IDEMPOTENT)                                          \
    X(DELETE,      "DELETE",      METHOD_IDEMPOTENT)                                          \
    X(CONNECT,     "CONNECT",     0)                                                          \
    X(OPTIONS,     "OPTIONS",     METHOD_SAFE | METHOD_IDEMPOTENT)                            \
    X(TRACE,       "TRACE",       METHOD_SAFE | METHOD_IDEMPOTENT)                            \
    X(PATCH,       "PATCH",       0)                                                          \
    X(COPY,        "COPY",        METHOD_IDEMPOTENT)                                          \
    X(LOCK,        "LOCK",        0)                                                          \
    X(MKCOL,       "MKCOL",       METHOD_IDEMPOTENT)                                          \
    X(MOVE,        "MOVE",        METHOD_IDEMPOTENT)                                          \
    X(PROPFIND,    "PROPFIND",    METHOD_SAFE | METHOD_IDEMPOTENT)                            \
    X(PROPPATCH,   "PROPPATCH",   METHOD_IDEMPOTENT)                                          \
    X(SEARCH,      "SEARCH",      METHOD_SAFE | METHOD_IDEMPOTENT)                            \
    X(UNLOCK,      "UNLOCK",      METHOD_IDEMPOTENT)                                          \
    X(BIND,        "BIND",        METHOD_IDEMPOTENT)                                          \
    X(REBIND,      "REBIND",      METHOD_IDEMPOTENT)                                          \
    X(UNBIND,      "UNBIND",      METHOD_IDEMPOTENT)                                          \
    X(ACL,         "ACL",         METHOD_IDEMPOTENT)                                          \
    X(REPORT,      "REPORT",      METHOD_SAFE | METHOD_IDEMPOTENT)                            \
    X(MKACTIVITY,  "MKACTIVITY",  METHOD_IDEMPOTENT)                                          \
    X(CHECKOUT,    "CHECKOUT",    METHOD_IDEMPOTENT)                                          \
    X(MERGE,       "MERGE",       METHOD_IDEMPOTENT)                                          \
    X(MSEARCH,     "M-SEARCH",    0)                                                          \
    X(NOTIFY,      "NOTIFY",      0)                                                          \
    X(SUBSCRIBE,   "SUBSCRIBE",   0)                                                          \
    X(UNSUBSCRIBE, "UNSUBSCRIBE", 0)                                                          \
    X(PURGE,       "PURGE",       0)                                                          \
    X(MKCALENDAR,  "MKCALENDAR",  METHOD_IDEMPOTENT)                                          \
    X(LINK,        "LINK",        METHOD_IDEMPOTENT)                                          \
    X(UNLINK,      "UNLINK",      METHOD_IDEMPOTENT)                                          \
    X(SOURCE,      "SOURCE",      0)
// clang-format on

enum method {
    METHOD_OTHER, /* none of these: 501 unless a module says that it knows better */
#define METHOD_ENUM(id, name, flags) METHOD_##id,
    METHODS(METHOD_ENUM)
#undef METHOD_ENUM
    METHOD_COUNT
};

/* METHOD_OTHER when unknown, also in another case than the registered one. */
enum method method_parse(struct weir_str name);

/* Borrowed for ever; empty for METHOD_OTHER. */
struct weir_str method_name(enum method method);

/* METHOD_SAFE and the like; 0 for METHOD_OTHER. */
unsigned method_flags(enum method method);

static inline bool
method_is_safe(enum method method)
{
    return (method_flags(method) & METHOD_SAFE) != 0;
}

static inline bool
method_is_idempotent(enum method method)
{
    return (method_flags(method) & METHOD_IDEMPOTENT) != 0;
}

#endif
