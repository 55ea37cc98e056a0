/* SPDX-License-Identifier: MIT */
/* Templates: text with variables in braces, as options of type template give it (CONFIG.md,
 * "Variables"). Grows until 1.0. */
#ifndef WEIR_TEMPLATE_H
#define WEIR_TEMPLATE_H

#include <weir/api.h>
#include <weir/module.h>
#include <weir/option.h>
#include <weir/str.h>

WEIR_BEGIN_DECLS

/*
 * The text with its variables filled in, each escaped for the context that the option declared:
 * in a header value or a target CR, LF and NUL never pass. In a target {target} is the path and
 * query as sent, also of a request whose target was absolute.
 * A variable that is known when the request has ended (WEIR_CONTEXT_LOG) is empty before the
 * log phase, and the server's log says so.
 *
 * Thread:  the request's loop, from within a hook.
 * Memory:  the request's, or the configuration's when there are no variables.
 * Returns: .ptr is NULL when there is no memory.
 */
WEIR_API WEIR_LOOP struct weir_str weir_template_text(struct weir_request *request,
        const struct weir_template *text);

/* The text as the configuration gives it, for checks of it; terminated. Any thread. */
WEIR_API WEIR_ANY struct weir_str weir_template_source(const struct weir_template *text);

WEIR_END_DECLS

#endif
