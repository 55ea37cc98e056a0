/* SPDX-License-Identifier: MIT */
/* The one budget of memory a process has for its clients (workers.memory): connections, heads,
 * arenas and bodies take from it what they allocate and give it back. Taking never fails: who
 * may begin, read or keep something asks for the level first, and what one request may hold
 * beyond that is bounded by limits of its own. Any thread. */
#ifndef WEIR_BASE_BUDGET_H
#define WEIR_BASE_BUDGET_H

#include <stdint.h>

#include <weir/api.h>

enum budget_level {
    BUDGET_AMPLE,
    BUDGET_TIGHT, /* from 80%: bodies are read and written in small portions */
    BUDGET_FULL,  /* from 100%: no new request; stalled readers are closed */
};

/* Before anything is taken; UINT64_MAX, as at the start: no limit. */
void budget_init(uint64_t limit_bytes);

void budget_take(uint64_t bytes);
void budget_give(uint64_t bytes); /* no more than was taken */

enum budget_level budget_level(void);

/* Taken now. */
uint64_t budget_used_bytes(void);
uint64_t budget_limit_bytes(void);

#endif
