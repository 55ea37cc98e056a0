/* SPDX-License-Identifier: MIT */
/* Asking a running server over its control socket: weir status, reload, reopen, stop. */
#ifndef WEIR_SERVER_CONTROL_CLIENT_H
#define WEIR_SERVER_CONTROL_CLIENT_H

#include "base/buf.h"

/* How the commands find the socket: --control PATH, or what the configuration FILE says, or the
 * preset place. */
struct control_target {
    const char *file;    /* NULL: not given */
    const char *control; /* NULL: not given */
};

/* One request; blocks until it is answered. Returns the status of the answer and its body in
 * *body; or 0, when what is wrong was printed and *exit_code says it. */
unsigned control_ask(const struct control_target *target, const char *method, const char *path,
        struct buf *body, int *exit_code);

#endif
