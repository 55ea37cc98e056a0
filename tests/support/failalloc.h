/* SPDX-License-Identifier: MIT */
/* An allocator that fails on request: malloc, calloc and realloc of a test program (linked with
 * --wrap) go through here. One thread. */
#ifndef WEIR_SUPPORT_FAILALLOC_H
#define WEIR_SUPPORT_FAILALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* The n-th allocation from now (1 is the next) answers NULL, and none after it; 0: none. */
void failalloc_fail_nth(uint64_t n);

/* True when the one asked for has been reached. */
bool failalloc_has_failed(void);

/* Allocations since the program started. */
uint64_t failalloc_count(void);

#endif
