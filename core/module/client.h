/* SPDX-License-Identifier: MIT */
/* Who asks: the client behind trusted neighbours (F68), and the request's id (F92).
 * Thread: the request's loop. */
#ifndef WEIR_MODULE_CLIENT_H
#define WEIR_MODULE_CLIENT_H

#include "http/request.h"
#include "module/site.h"

/* The client of a request: the peer, unless that is one of trust->peers; then the
 * address that stands trust->hops from the right in the trusted field (the leftmost, when there
 * are fewer), or the peer when the field is absent. The field is X-Forwarded-For or any other
 * list or single address, or Forwarded (RFC 7239), whose for= parameters count. Returns 0 and
 * sets *out; -EINVAL when what stands there is no address (answer 400). */
WEIR_MUST_USE int client_find(const struct site_trust *trust,
        const struct weir_request *request, struct addr_ip *out);

/* Whether whoever sent the request may speak for https resources over a connection without TLS:
 * a trusted gateway alone (RFC 9110 section 7.4). True for any other target. */
bool client_may_ask(const struct site_trust *trust, const struct weir_request *request);

/* Whether it is one of trust->peers. */
bool client_is_trusted(const struct site_trust *trust, const struct addr_ip *peer);

/* Whether the peer's word is taken about whom it speaks for. */
bool client_peer_is_trusted(const struct site_trust *trust, const struct weir_request *request);

/* The request's id: what a trusted peer sent as X-Request-ID (1 to 128 token bytes), else 26
 * letters and digits of its own that sort by time (a ULID). The same at each call; borrowed
 * from the request; empty without memory. */
struct weir_str client_request_id(const struct site_trust *trust, struct weir_request *request);

#endif
