/* SPDX-License-Identifier: MIT */
/* Numbers that differ, cheap and not secret: for jitter, choices and ids. Each thread has a
 * sequence of its own, seeded by the system once. Any thread. */
#ifndef WEIR_BASE_RANDOM_H
#define WEIR_BASE_RANDOM_H

#include <stdint.h>

uint64_t random_next(void);

/* Below `limit`, all alike; 0 where that is 0. */
uint64_t random_below(uint64_t limit);

#endif
