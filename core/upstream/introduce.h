/* SPDX-License-Identifier: MIT */
/* What a new connection to a target says first where `proxy_protocol` is given: for whom it is
 * (net/proxy_protocol.h). Such a connection is one client's for its whole life, so it is never
 * kept for another (group.c). Thread: the loop's. */
#ifndef WEIR_UPSTREAM_INTRODUCE_H
#define WEIR_UPSTREAM_INTRODUCE_H

#include "net/proxy_protocol.h"

struct stream;
struct weir_request;

/* Speaks for the request's client, whom a trusted peer may have named, as one that has
 * connected where the request came in. `dst` holds PROXY_HEADER_BYTES_MAX. Returns the bytes.
 */
size_t upstream_introduce(enum proxy_version version, const struct weir_request *request,
        char *dst);

/* Speaks for nobody, as a health check does, on the connection that is there: LOCAL in version
 * 2; in version 1, which has no word for it, the connection's own two ends. */
size_t upstream_introduce_self(enum proxy_version version, struct stream *stream,
        const struct addr *target, char *dst);

#endif
