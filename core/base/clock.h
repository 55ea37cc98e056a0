/* SPDX-License-Identifier: MIT */
/* Time. Deadlines run on the monotonic clock, dates on the real one; both are read through a
 * struct clock, so that a test can wind its own (testkit/manual_clock.h). Any thread. */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* "No deadline": later than every time. */
#define CLOCK_NEVER UINT64_MAX

struct clock {
    /* Nanoseconds since some fixed point; never goes back. */
    uint64_t (*monotonic_ns)(const struct clock *clock);
    /* Nanoseconds since 1970-01-01 UTC; may step. */
    int64_t (*real_ns)(const struct clock *clock);
};

/* The kernel's clocks. Borrowed; lives for ever. */
const struct clock *clock_system(void);

static inline uint64_t
clock_monotonic_ns(const struct clock *clock)
{
    return clock->monotonic_ns(clock);
}

static inline int64_t
clock_real_ns(const struct clock *clock)
{
    return clock->real_ns(clock);
}

/* a + b, CLOCK_NEVER when it would wrap or either is CLOCK_NEVER. */
static inline uint64_t
clock_add_ns(uint64_t a, uint64_t b)
{
    return a > CLOCK_NEVER - b ? CLOCK_NEVER : a + b;
}

#endif
