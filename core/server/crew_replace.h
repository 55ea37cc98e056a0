/* SPDX-License-Identifier: MIT */
/* Workers that die, and others in their places. Thread: the master's. */
#ifndef WEIR_SERVER_CREW_REPLACE_H
#define WEIR_SERVER_CREW_REPLACE_H

#include "server/crew.h"

/* Starts what is missing, now, or after a delay that grows with every quick death. Not before
 * the crew serves: workers that die one after the other would put that off for ever. */
void crew_start_missing(struct crew *crew);
void crew_start_later(struct crew *crew);

/* Of crew->restart_timer. */
void crew_on_restart_timer(struct timer *timer);

void crew_kill_all(const struct crew *crew, int signo);

/* A crew that serves no more has no worker left. May free it. */
void crew_tell_empty(struct crew *crew);

#endif
