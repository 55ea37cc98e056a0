/* SPDX-License-Identifier: MIT */
/* `weir explain METHOD URL`: which server and route a request takes and why, which hooks it
 * meets, with what options, and where in the file each of them was written (F112). */
#ifndef WEIR_SERVER_COMMAND_EXPLAIN_H
#define WEIR_SERVER_COMMAND_EXPLAIN_H

#include "config/emit.h"
#include "server/explain_answer.h"

enum explain_form {
    EXPLAIN_TEXT,
    EXPLAIN_JSON
};

/* Appends the answer. Returns 0; -EINVAL when the question is malformed, with the reason
 * appended instead; -ENOMEM, -ENOBUFS. */
WEIR_MUST_USE int explain_write(const struct site *site,
        const struct explain_question *question, enum explain_form form, struct buf *out);

/* The answer as JSON, whose members are only ever added to. */
void explain_write_json(const struct explain_answer *answer, struct emit *emit);

#endif
