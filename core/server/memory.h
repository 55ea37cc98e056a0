/* SPDX-License-Identifier: MIT */
/* How much memory a worker may give its clients (workers.memory). */
#ifndef WEIR_SERVER_MEMORY_H
#define WEIR_SERVER_MEMORY_H

#include "module/site.h"

/* What is configured, or a quarter of the memory that this machine, or its control group, has,
 * divided by `processes` (at least 1); never less than 16 MiB. UINT64_MAX: no limit. */
uint64_t memory_of_worker(const struct site_workers *workers, unsigned processes);

#endif
