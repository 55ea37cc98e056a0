/* SPDX-License-Identifier: MIT */
/* A worker: one process that serves a site with one event loop, from opening its listeners to
 * the last answer. */
#ifndef WEIR_SERVER_WORKER_H
#define WEIR_SERVER_WORKER_H

#include "module/site.h"

/* Opens every listener or none, says `listening on ADDRESS` for each, and serves until TERM or
 * QUIT (answers what was accepted, within workers.drain_timeout; a second TERM: now) or INT
 * (now). Returns an exit code (server/exit.h); mistakes have been printed or logged. */
int worker_run(struct site *site, struct diagnostics *diagnostics);

#endif
