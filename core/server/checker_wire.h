/* SPDX-License-Identifier: MIT */
/* What the checker and the master share: descriptors by number, a page that says what the
 * checker is doing, and its answer. */
#ifndef WEIR_SERVER_CHECKER_WIRE_H
#define WEIR_SERVER_CHECKER_WIRE_H

#include "server/plan_wire.h"

/* What the checker inherits beside the standard streams. */
enum checker_fd {
    CHECKER_FD_SOURCES = 3, /* the bundle */
    CHECKER_FD_ANSWER = 4,  /* a pipe to the master */
    CHECKER_FD_PAGE = 5,    /* struct checker_page, shared */
    CHECKER_FD_END = 6
};

#define CHECKER_REPORT_MAX_BYTES ((size_t)4 << 20)
#define CHECKER_ANSWER_MAX_BYTES (CHECKER_REPORT_MAX_BYTES + PLAN_WIRE_MAX_BYTES + 256)

/* Written by the checker; the master believes nothing of it but that it is short. */
struct checker_page {
    int error;       /* an errno: why the exec has failed */
    char is_running; /* it has not */
    char module[80]; /* whose code runs; empty: none */
    char step[32];   /* "load", "init", "conf_check" */
};

/* All that a checker says, in one piece. */
struct checker_answer {
    int code;               /* an exit code (server/exit.h) */
    struct weir_str report; /* text for the user */
    struct weir_str plan;   /* plan_wire_write(), when the code is EXIT_OK */
};

/* Returns what buf_append() does. */
WEIR_MUST_USE int checker_answer_write(const struct checker_answer *answer, struct buf *out);

/* Reads what nobody vouches for; texts are borrowed from `bytes`. Returns 0 or -EPROTO. */
WEIR_MUST_USE int checker_answer_read(struct weir_str bytes, struct checker_answer *out);

#endif
