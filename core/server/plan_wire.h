/* SPDX-License-Identifier: MIT */
/* The part of a plan that only a process with the modules can know, on its way from the checker
 * to the master. */
#ifndef WEIR_SERVER_PLAN_WIRE_H
#define WEIR_SERVER_PLAN_WIRE_H

#include "server/plan.h"

/* The longest form of a plan. */
#define PLAN_WIRE_MAX_BYTES ((size_t)8 << 20)

/* Returns what buf_append() does. */
WEIR_MUST_USE int plan_wire_write(const struct site *site, struct buf *out);

/* Reads listeners, log files and zones into `plan`. Nobody vouches for `bytes`: of what they
 * say about the first two only that is taken which stands in `document`, the text that the
 * master itself has read. Returns 0; -EPROTO when they are damaged, name an address that the
 * document does not, or more zones than may be; -ENOMEM. */
WEIR_MUST_USE int plan_wire_read(struct weir_str bytes, const struct config_value *document,
        struct plan *plan);

#endif
