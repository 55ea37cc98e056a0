/* SPDX-License-Identifier: MIT */
/* Files and folders that a configuration names: whether a server that runs it would find them,
 * and may use them. Looks, and neither opens nor makes anything. */
#ifndef WEIR_SERVER_PATH_CHECK_H
#define WEIR_SERVER_PATH_CHECK_H

#include "config/diagnostic.h"
#include "module/site.h"

/* What is missing, or of another kind, is an error for whoever serves. What is forbidden is one
 * when the rights are known with which it will be used: root checks, and workers.user says who
 * serves. Otherwise, since another user may start the server, it is a warning that names the
 * user who was asked about. Thread: the only one; for a moment root is somebody else. Returns
 * 0; -EINVAL after an error; -ENOMEM. */
WEIR_MUST_USE int path_check(const struct site *site, struct diagnostics *diagnostics);

#endif
