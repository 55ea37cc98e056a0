/* SPDX-License-Identifier: MIT */
/* `weir schema`: the JSON Schema of this installation (F113). */
#ifndef WEIR_SERVER_COMMAND_SCHEMA_H
#define WEIR_SERVER_COMMAND_SCHEMA_H

#include "base/buf.h"

/* Appends the schema of the core and of every module that is installed or registered. A module
 * that does not load is left out, and *skipped (may be NULL) counts it. Returns 0, -ENOMEM,
 * -ENOBUFS. */
WEIR_MUST_USE int schema_write(struct buf *out, size_t *skipped);

#endif
