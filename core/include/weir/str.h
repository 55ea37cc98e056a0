/* SPDX-License-Identifier: MIT */
/* Text as a slice: a pointer and a length, passed by value, not terminated.
 *
 * Nobody owns a weir_str: what it points at belongs to whoever the function's contract names.
 * Any thread. Stable since 1.0. */
#ifndef WEIR_STR_H
#define WEIR_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <weir/api.h>

WEIR_BEGIN_DECLS

struct weir_str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;      /* bytes */
};

/* A string literal as a slice; not for a variable. */
#ifdef __cplusplus
#define WEIR_STR(literal) (weir_str{ "" literal, sizeof(literal) - 1 })
#else
#define WEIR_STR(literal) ((struct weir_str){ "" literal, sizeof(literal) - 1 })
#endif

/* For initialisers of static tables. */
#define WEIR_STR_INIT(literal)          \
    {                                   \
        "" literal, sizeof(literal) - 1 \
    }

/* printf("%.*s", WEIR_STR_ARG(s)) */
#define WEIR_STR_ARG(s) (int)(s).len, (s).ptr

static inline struct weir_str
weir_str_make(const char *ptr, size_t len)
{
    struct weir_str s;
    s.ptr = ptr;
    s.len = len;
    return s;
}

/* The slice of a terminated string; NULL is the empty slice. */
static inline struct weir_str
weir_str_from(const char *text)
{
    return weir_str_make(text, text == NULL ? 0 : strlen(text));
}

static inline bool
weir_str_eq(struct weir_str a, struct weir_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool
weir_str_starts_with(struct weir_str s, struct weir_str prefix)
{
    return s.len >= prefix.len &&
            (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* Equal when ASCII letters are folded; for field names, hosts and tokens. Not a locale's idea
 * of case. */
WEIR_API bool weir_str_eq_icase(struct weir_str a, struct weir_str b);

/* <0, 0, >0 by bytes, a prefix first: an order for sorted tables. */
WEIR_API int weir_str_compare(struct weir_str a, struct weir_str b);

/* `s` without spaces and tabs (RFC 9110 OWS) at both ends. */
WEIR_API struct weir_str weir_str_trim(struct weir_str s);

/* Takes the text before the first `separator` off the front of *rest into *part, trimmed; the
 * last part is what remains. False when the last part was taken (rest->ptr is NULL then). An
 * empty text has one empty part, "a," has two. */
WEIR_API bool weir_str_split(struct weir_str *rest, char separator, struct weir_str *part);

/* True when one of the comma-separated parts of `list` is `token` (RFC 9110 section 5.6.1),
 * ASCII case ignored. */
WEIR_API bool weir_str_list_has(struct weir_str list, struct weir_str token);

/* True for what may be a field's name, a method or a parameter's name (RFC 9110 section 5.6.2):
 * not empty, and neither space, control, separator nor anything but ASCII in it. */
WEIR_API bool weir_str_is_token(struct weir_str s);

/* Copies `s` with a terminator into `dst` for a system call. Returns 0; -EINVAL when `s` holds
 * a NUL byte; -ENAMETOOLONG when it does not fit. */
WEIR_MUST_USE WEIR_API int weir_str_to_path(struct weir_str s, char *dst, size_t dst_bytes);

WEIR_END_DECLS

#endif
