/* SPDX-License-Identifier: MIT */
/* What to do about an error of the system, for the end of a line that names it. Any thread. */
#ifndef WEIR_SERVER_HINT_H
#define WEIR_SERVER_HINT_H

#include <errno.h>

/* For an errno; "" where there is nothing to say. */
static inline const char *
hint_of(int error)
{
    return error == EMFILE || error == ENFILE
            ? "; raise the limit of open descriptors (LimitNOFILE or ulimit -n)"
            : "";
}

#endif
