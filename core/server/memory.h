/* SPDX-License-Identifier: MIT */
/* How much memory a worker may give its clients (workers.memory). */
#ifndef WEIR_SERVER_MEMORY_H
#define WEIR_SERVER_MEMORY_H

#include "module/site.h"

/* What is configured, or a quarter of the memory that this machine, or its control group, has,
 * divided by `processes` (at least 1); never less than 16 MiB. UINT64_MAX: no limit. */
uint64_t memory_of_worker(const struct site_workers *workers, unsigned processes);

/* Lets the C library keep up to 16 MiB of a process that are free at the heap's end. Blocks of
 * bodies come and go there, and to give each back to the system and ask for it again costs more
 * than all else about a large body: an answer of 1 MiB through a proxy 1,070 us instead of 390.
 * Once, while starting. */
void memory_keep_spare(void);

#endif
