/* SPDX-License-Identifier: MIT */
/* The short texts of the server's own answers: the status, as a page for browsers and as a line
 * for everybody else (F61). Thread: the request's loop. */
#ifndef WEIR_HTTP_ERROR_BODY_H
#define WEIR_HTTP_ERROR_BODY_H

#include "base/slice.h"
#include "http/request.h"

/* Makes the text for `status` that the request accepts; *type is its media type, for ever.
 * Returns 0 and sets both, *out being the caller's; or -ENOMEM. */
WEIR_MUST_USE int error_body_make(const struct weir_request *request, unsigned status,
        struct weir_str *type, struct slice *out);

#endif
