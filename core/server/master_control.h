/* SPDX-License-Identifier: MIT */
/* The master's side of its control socket: where it is, what is asked, what runs. Thread: the
 * master's. */
#ifndef WEIR_SERVER_MASTER_CONTROL_H
#define WEIR_SERVER_MASTER_CONTROL_H

#include "server/master_state.h"

/* Opens it where the plan says, or moves it there. A socket that cannot be had is logged, and
 * no reason not to serve. */
void master_open_control(struct master *master, const struct plan *plan);

#endif
