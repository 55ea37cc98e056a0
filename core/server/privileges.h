/* SPDX-License-Identifier: MIT */
/* Giving up root for good (workers.user, workers.group). Before any thread is made. */
#ifndef WEIR_SERVER_PRIVILEGES_H
#define WEIR_SERVER_PRIVILEGES_H

#include <sys/types.h>

#include <weir/str.h>

/* Becomes `user` (a name or a number) with `group` (empty: the user's own) and that group
 * alone, for good, and forbids programs started from here to gain privileges. When not root,
 * nothing is done, and a user other than the present one is only warned of. Started as root,
 * `user` must be given, be it "root". Returns an exit code; what is wrong was logged. */
int privileges_drop(struct weir_str user, struct weir_str group);

/* Who `user` and `group` (empty: the user's own) are. Returns 0; -ENOENT: one of them is
 * nobody; another negative errno: it cannot be known. */
WEIR_MUST_USE int privileges_find(struct weir_str user, struct weir_str group, uid_t *uid,
        gid_t *gid);

#endif
