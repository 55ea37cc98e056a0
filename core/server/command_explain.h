/* SPDX-License-Identifier: MIT */
/* `weir explain METHOD URL`: which server and route a request takes and why, which hooks it
 * meets, with what options, and where in the file each of them was written (F112). */
#ifndef WEIR_SERVER_COMMAND_EXPLAIN_H
#define WEIR_SERVER_COMMAND_EXPLAIN_H

#include "base/buf.h"
#include "module/site.h"

/* What is asked about. */
struct explain_question {
    struct weir_str method, url;
    const struct weir_str *headers; /* "Name: value" */
    size_t headers_count;
    struct weir_str client; /* address; .len 0: 127.0.0.1 */
    bool is_internal;
};

/* Appends the answer. Returns 0; -EINVAL when the question is malformed, with the reason
 * appended instead; -ENOMEM, -ENOBUFS. */
WEIR_MUST_USE int explain_write(const struct site *site,
        const struct explain_question *question, struct buf *out);

#endif
