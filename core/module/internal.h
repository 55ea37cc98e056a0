/* SPDX-License-Identifier: MIT */
/* What makes an internal request, and what the course knows of them (weir/internal.h). Thread:
 * the request's loop. */
#ifndef WEIR_MODULE_INTERNAL_H
#define WEIR_MODULE_INTERNAL_H

#include <weir/internal.h>

/* What the asker's table says, as this build knows it: what it does not have is zero. Returns
 * 0; -EINVAL. */
WEIR_MUST_USE int internal_read_ask(const struct weir_ask *from, struct weir_ask *to);

/* Makes `inner`, just born, the request that `outer` asks for. Returns 0 or as
 * weir_internal_open(), when `inner` is to be freed. */
WEIR_MUST_USE int internal_fill(struct weir_request *inner, const struct weir_request *outer,
        const struct weir_ask *ask);

/* The request ends: nobody waits for what it asked for any more. */
void internal_drop_all(struct weir_request *request);

#endif
