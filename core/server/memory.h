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
 * than all else about a large body: answers of 64 KiB and more cost a proxy half as much so.
 * What is larger than 128 KiB is still mapped, and given back, by itself. Once, while starting.
 */
void memory_keep_spare(void);

#endif
