/* SPDX-License-Identifier: MIT */
/* An exchange that an upstream has answered 101 as asked (http/upgrade.h): from then on its
 * connection carries two flows of bytes, each until its own end.
 *
 *     request->in    --> the upstream       the client's end --> our FIN
 *     exchange->body <-- the upstream       its FIN          --> is_complete
 *
 * The exchange is over when both have ended. What fails in between is the end of both.
 * Thread: the loop's. */
#ifndef WEIR_UPSTREAM_TUNNEL_H
#define WEIR_UPSTREAM_TUNNEL_H

#include "http/output.h"
#include "upstream/exchange.h"

/* Judges a head of 101, and begins if it is as asked. */
WEIR_MUST_USE enum answer_fault tunnel_take_switch(struct exchange *exchange);

/* In exchange_turn(): as much of the client's flow as the socket takes. */
void tunnel_send(struct exchange *exchange, struct output *output);

/* Whether nothing more can come, or go, of what is not over. */
bool tunnel_is_over(const struct exchange *exchange);

#endif
