/* SPDX-License-Identifier: MIT */
/* The checker as the master sees it: started, listened to, outlived. Whatever the modules in it
 * do (crash, hang, write without end), this ends in bounded time and memory. */
#ifndef WEIR_SERVER_CHECKER_H
#define WEIR_SERVER_CHECKER_H

#include <stdint.h>

#include "server/checker_wire.h"

/* The time that a checker has. */
#define CHECKER_DEADLINE_NS (UINT64_C(30) * 1000000000)

/* What its modules may print, and how much of that is kept. */
#define CHECKER_OUTPUT_MAX_BYTES  ((size_t)1 << 20)
#define CHECKER_OUTPUT_KEPT_BYTES ((size_t)16 << 10)

struct checker_job {
    const char *program;         /* the binary to execute */
    int sources_fd;              /* the bundle; borrowed */
    struct weir_str user, group; /* of root; no user: somebody without any rights */
    bool color;
    uint64_t deadline_ns; /* from now */
};

enum checker_end {
    CHECKER_ANSWERED,
    CHECKER_REFUSED, /* rights could not be given up, or the exec failed: logged; `code` */
    CHECKER_DIED,    /* `status` */
    CHECKER_HUNG,
    CHECKER_FLOODED,
    CHECKER_GARBLED,     /* its answer makes no sense */
    CHECKER_INTERRUPTED, /* we are to stop ourselves: a signal waits to be taken */
};

struct checker_result {
    enum checker_end end;
    int code;                   /* of CHECKER_REFUSED */
    int status;                 /* as waitpid() says */
    struct checker_answer said; /* of CHECKER_ANSWERED; borrowed from `answer` */
    struct checker_page page;   /* at the end; texts are terminated */
    struct buf answer, output;  /* owned; `output`: what was printed, the first part */
};

/* Runs one. Blocks until it has ended, or one of TERM, QUIT and INT is pending here (blocked,
 * and left to whoever takes it). Returns 0, or a negative errno when none could be started;
 * checker_result_fini() in any case. Logs why rights could not be given up. */
WEIR_MUST_USE int checker_run(const struct checker_job *job, struct checker_result *out);

void checker_result_fini(struct checker_result *result);

#endif
