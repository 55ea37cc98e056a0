/* SPDX-License-Identifier: MIT */
/* One atomic sum, changed when blocks of memory come and go, which an ordinary request does
 * without: its block, and that of its connection, are used again and stay taken. */
#include "base/budget.h"

#include <stdatomic.h>

#include "base/assert.h"

static _Atomic uint64_t used_bytes;
static _Atomic uint64_t limit_bytes = UINT64_MAX;
static _Atomic uint64_t tight_bytes = UINT64_MAX; /* 80% of the limit */

void
budget_init(uint64_t limit)
{
    atomic_store_explicit(&limit_bytes, limit, memory_order_relaxed);
    atomic_store_explicit(&tight_bytes, limit == UINT64_MAX ? limit : limit / 5 * 4,
            memory_order_relaxed);
}

void
budget_take(uint64_t bytes)
{
    atomic_fetch_add_explicit(&used_bytes, bytes, memory_order_relaxed);
}

void
budget_give(uint64_t bytes)
{
    uint64_t before = atomic_fetch_sub_explicit(&used_bytes, bytes, memory_order_relaxed);
    WEIR_ASSERT(before >= bytes);
}

enum budget_level
budget_level(void)
{
    uint64_t used = budget_used_bytes();
    if (used < atomic_load_explicit(&tight_bytes, memory_order_relaxed)) {
        return BUDGET_AMPLE;
    }
    return used < budget_limit_bytes() ? BUDGET_TIGHT : BUDGET_FULL;
}

uint64_t
budget_used_bytes(void)
{
    return atomic_load_explicit(&used_bytes, memory_order_relaxed);
}

uint64_t
budget_limit_bytes(void)
{
    return atomic_load_explicit(&limit_bytes, memory_order_relaxed);
}
