/* SPDX-License-Identifier: MIT */
/* Giving up root for good (workers.user, workers.group). Before any thread is made. */
#ifndef WEIR_SERVER_PRIVILEGES_H
#define WEIR_SERVER_PRIVILEGES_H

#include <weir/str.h>

/* Becomes `user` (a name or a number) with `group` (empty: the user's own) and that group
 * alone, for good, and forbids programs started from here to gain privileges. When not root,
 * nothing is done, and a user other than the present one is only warned of. Started as root,
 * `user` must be given, be it "root". Returns an exit code; what is wrong was logged. */
int privileges_drop(struct weir_str user, struct weir_str group);

#endif
