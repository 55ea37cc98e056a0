/* SPDX-License-Identifier: MIT */
/* A client's view of HTTP/1.1 answers, strict: where each ends, and what it says apart from how
 * it was framed. Pure; any thread. */
#ifndef WEIR_TESTKIT_ANSWERS_H
#define WEIR_TESTKIT_ANSWERS_H

#include "base/buf.h"

enum answers_are {
    ANSWERS_WHOLE,     /* every answer is there to its end */
    ANSWERS_CUT,       /* the last one is not, and can be told from a whole one */
    ANSWERS_MALFORMED, /* not HTTP */
};

/* Reads the answers in `received` (none of them to HEAD or CONNECT), and appends to *joined
 * what does not depend on how they came: heads with Date's value blanked, bodies without
 * chunks. `has_ended`: the connection is closed, which ends an answer without a length. */
enum answers_are answers_read(struct weir_str received, bool has_ended, struct buf *joined);

#endif
