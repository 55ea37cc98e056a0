/* SPDX-License-Identifier: MIT */
/* What is right as a text and still cannot be served: said by `weir check`, and by the checker
 * before anything starts. */
#ifndef WEIR_MODULE_SITE_CHECK_H
#define WEIR_MODULE_SITE_CHECK_H

#include "module/site.h"

/* Compiles the site as workers do, without opening anything, and looks for what it asks of this
 * build or of its modules that they cannot do. Mistakes go to `diagnostics`. Returns 0; -EINVAL
 * when there was one; -ENOMEM. */
WEIR_MUST_USE int site_check(const struct site *site, struct diagnostics *diagnostics);

#endif
