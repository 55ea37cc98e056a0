/* SPDX-License-Identifier: MIT */
/* The request target (RFC 9112 section 3.2): its form, and its parts as they were sent. Pure
 * functions; any thread.
 *
 *     struct target target;
 *     r = target_parse(raw, method, &target);
 *     if (r == 0 && target.path.ptr == NULL) {   // the uncommon case: it needs a buffer
 *         r = target_normalise(&target, arena_alloc(arena, target.raw_path.len));
 *     }
 *
 * Everything refused is 400. All slices point into `raw` (or the buffer given to
 * target_normalise): whoever moves those bytes moves the slices. */
#ifndef WEIR_HTTP_TARGET_H
#define WEIR_HTTP_TARGET_H

#include "http/host.h"
#include "http/method.h"
#include "http/path.h"

enum target_form {
    TARGET_ORIGIN,    /* /path?query */
    TARGET_ABSOLUTE,  /* http://authority/path?query; the authority wins over Host */
    TARGET_AUTHORITY, /* host:port, for CONNECT alone */
    TARGET_ASTERISK   /* *, for OPTIONS alone */
};

enum target_scheme {
    TARGET_NO_SCHEME,
    TARGET_HTTP,
    TARGET_HTTPS
};

struct target {
    enum target_form form;
    enum target_scheme scheme; /* given in the absolute form only */
    struct weir_str authority; /* as sent; empty but in the absolute and authority forms */
    struct host host;          /* the authority, parsed; unset when that is empty */
    struct weir_str raw_path;  /* as sent; empty when there is none, `*` in the asterisk form */
    struct weir_str query;     /* as sent, without `?` */
    bool has_query;            /* there was a `?`, if with nothing behind it */
    unsigned path_flags;       /* PATH_..., once path is set */
    /* Decoded and normalised (http/path.h); NULL until target_normalise() when that takes a
     * buffer. `/` for an absolute target without a path (`*` for OPTIONS without a query,
     * RFC 9112 section 3.2.4), `*` in the asterisk form, empty in the authority form. */
    struct weir_str path;
};

/* Reads `raw` for a request of `method`. Returns 0; -EINVAL when it is malformed, when it holds
 * a fragment, userinfo, an empty or invalid host, a control byte, a space or a byte above 0x7E,
 * when its scheme is not http or https, and when its form is not for this method (CONNECT takes
 * the authority form with a port and no other; `*` is for OPTIONS). */
WEIR_MUST_USE int target_parse(struct weir_str raw, enum method method, struct target *out);

/* Sets path and path_flags of a parsed target through path_normalise(); `dst` holds
 * target->raw_path.len bytes and lives as long as the target. Nothing is done, and `dst` is not
 * used, when path is set already. Returns 0; -EINVAL. */
WEIR_MUST_USE int target_normalise(struct target *target, char *dst);

#endif
