/* SPDX-License-Identifier: MIT */
/* Variables that modules add to templates (struct weir_variable). */
#ifndef WEIR_MODULE_VARIABLE_H
#define WEIR_MODULE_VARIABLE_H

#include <weir/module.h>

#include "config/template.h"

/* What it is in this request, of all uses of its handler that the request has come to: empty
 * when there is none, and within another variable. Lives as long as the request. Thread: the
 * request's loop. */
struct weir_str variable_value(struct weir_request *request, const struct template_extra *extra,
        struct weir_str argument);

#endif
