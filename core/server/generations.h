/* SPDX-License-Identifier: MIT */
/* How generations of workers come and go. Thread: the master's. */
#ifndef WEIR_SERVER_GENERATIONS_H
#define WEIR_SERVER_GENERATIONS_H

#include "server/master_state.h"

/* Sets what crews tell, and the rest of it. Once. */
void generations_init(struct master *master);

/* Frees what is left of them, after the loop. */
void generations_fini(struct master *master);

/* Reads the configuration and has it checked, while all else goes on; then a generation starts,
 * or the master ends where it is the first. Returns an exit code, with the report printed. */
int generations_begin(struct master *master);

/* The same for the next one, as soon as there is a place for it. */
void generations_reload(struct master *master);

/* The server stops: what is being checked is not wanted any more. */
void generations_cancel(struct master *master);

/* Nor will any reload take place that somebody waits for. */
void generations_tell_stop(struct master *master);

#endif
