/* SPDX-License-Identifier: MIT */
/* The checker as the master sees it: started, listened to, outlived. Whatever the modules in it
 * do (crash, hang, write without end), this ends in bounded time and memory, and never holds up
 * the loop. */
#ifndef WEIR_SERVER_CHECKER_H
#define WEIR_SERVER_CHECKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

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
    CHECKER_GARBLED, /* its answer makes no sense */
    CHECKER_BROKEN,  /* the system failed while it was listened to: `error` */
};

struct checker_result {
    enum checker_end end;
    int code;                   /* of CHECKER_REFUSED */
    int status;                 /* as waitpid() says */
    int error;                  /* of CHECKER_BROKEN: a negative errno */
    struct checker_answer said; /* of CHECKER_ANSWERED; borrowed from `answer` */
    struct checker_page page;   /* at the end; texts are terminated */
    struct buf answer, output;  /* `output`: what was printed, the first part */
};

struct checker;
struct loop;

/* It has ended, and nothing of it is left. `result` is the checker's. May free it. */
typedef void checker_done_fn(void *context, const struct checker_result *result);

/* Starts one; `done` follows, from the loop. Logs why rights could not be given up. Returns 0,
 * or a negative errno when none could be started. Thread: the loop's. */
WEIR_MUST_USE int checker_start(struct loop *loop, const struct checker_job *job,
        checker_done_fn *done, void *context, struct checker **out);

/* Its process is among those that have ended, and was not waited for: `done` follows within the
 * call. False when `pid` is another's. */
bool checker_reap(struct checker *checker, pid_t pid);

/* Ends it where it has not, without a call of `done`. NULL: nothing. */
void checker_free(struct checker *checker);

#endif
