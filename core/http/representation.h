/* SPDX-License-Identifier: MIT */
/* What the core makes of an answer that is its resource's representation, after the reply-head
 * hooks have seen it as 200: 304, 412, 206 or 416 (RFC 9110 sections 13 and 14). Thread: the
 * request's loop. */
#ifndef WEIR_HTTP_REPRESENTATION_H
#define WEIR_HTTP_REPRESENTATION_H

#include "http/request.h"

/* Evaluates the request's conditions, and its ranges unless the body `is_filtered`. Called
 * once, before the reply is committed. True when the answer is the core's own from now on, with
 * nothing of the representation in it, so that filters meant for that must not run. */
bool representation_settle(struct weir_request *request, bool is_filtered);

#endif
