/* SPDX-License-Identifier: MIT */
#include "testkit/manual_clock.h"

/* Through const: atomics are read, and nothing is written. */
static const struct manual_clock *
manual_from(const struct clock *clock)
{
    return (const struct manual_clock *)(const void *)clock;
}

static uint64_t
manual_monotonic_ns(const struct clock *clock)
{
    /* Pairs with the release in manual_clock_advance_ns(). */
    return atomic_load_explicit(&manual_from(clock)->now_ns, memory_order_acquire);
}

static int64_t
manual_real_ns(const struct clock *clock)
{
    const struct manual_clock *manual = manual_from(clock);
    return atomic_load_explicit(&manual->real_base_ns, memory_order_relaxed) +
            (int64_t)manual_monotonic_ns(clock);
}

void
manual_clock_init(struct manual_clock *manual, uint64_t monotonic_ns, int64_t real_ns)
{
    manual->clock = (struct clock){ manual_monotonic_ns, manual_real_ns };
    atomic_init(&manual->now_ns, monotonic_ns);
    atomic_init(&manual->real_base_ns, real_ns - (int64_t)monotonic_ns);
}

void
manual_clock_advance_ns(struct manual_clock *manual, uint64_t ns)
{
    atomic_fetch_add_explicit(&manual->now_ns, ns, memory_order_release);
}

void
manual_clock_step_real(struct manual_clock *manual, int64_t by_ns)
{
    atomic_fetch_add_explicit(&manual->real_base_ns, by_ns, memory_order_relaxed);
}
