/* SPDX-License-Identifier: MIT */
/* From the bytes of a file to a tree of values: comments and trailing commas blanked in place
 * so that positions stay true, syntax mistakes with a hint of ours, repeated keys with both
 * places. The only user of jansson. */
#ifndef WEIR_CONFIG_TEXT_H
#define WEIR_CONFIG_TEXT_H

#include "config/value.h"

/* Parses `source` into `arena`; the root is an object. Mistakes go to `diagnostics`. Returns 0
 * and sets *out, also when there were mistakes that leave a tree to look at; -EINVAL when there
 * is none; -ENOMEM. The source must outlive the arena's values. */
WEIR_MUST_USE int text_parse(struct source *source, struct arena *arena,
        struct diagnostics *diagnostics, struct config_value **out);

#endif
