/* SPDX-License-Identifier: MIT */
/* Upgrades (RFC 9110 section 7.8): a request that is answered 101 goes on as two flows of bytes
 * of another protocol, a tunnel.
 *
 *     client --> request->in ---> whoever reads the body
 *     client <-- request->reply <-- whoever fills the answer
 *
 * They are the body of the request and of its answer, without framing and without an end but
 * that of each flow, so that whatever holds for bodies holds for them: marks, the budget of
 * memory, readers and writers that wait. Nothing of the client's flow is read before the 101 is
 * on its way. HTTP/1 makes its connection the tunnel (h1_tunnel.c); HTTP/2 would make it a
 * stream (RFC 8441). Thread: the engine's loop. */
#ifndef WEIR_HTTP_UPGRADE_H
#define WEIR_HTTP_UPGRADE_H

#include "http/request.h"

/* Whether it is spelled as a protocol, and is one of which a tunnel may be made. Not HTTP in
 * any form, nor TLS: what they carry are requests, which nobody here would see. */
bool upgrade_is_for_tunnels(struct weir_str protocol);

/* Whether the client offers it for this request: weir_request_upgrade_at(). */
bool upgrade_is_offered(const struct weir_request *request, struct weir_str protocol);

/* Begins an answer of 101, to a protocol that the client offers. Body bytes are the tunnel's
 * first. Returns 0; -EALREADY when another is committed; -ENOTSUP when it is not offered;
 * -ENOMEM. */
WEIR_MUST_USE int reply_begin_switch(struct weir_request *request, struct weir_str protocol);

/* The transport has put the head of that answer on its way: the client's flow begins. */
void request_switch(struct weir_request *request);

static inline bool
reply_is_switch(const struct reply *reply)
{
    return reply->switched_to.len > 0;
}

#endif
