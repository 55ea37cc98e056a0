/* SPDX-License-Identifier: MIT */
/* A clock that stands still until a test winds it: manual_clock_advance_ns() moves the
 * monotonic and the real time together. Give `&manual.clock` to loop_new(). Any thread may read
 * it and wind it; a loop that sleeps does not notice. */
#ifndef WEIR_TESTKIT_MANUAL_CLOCK_H
#define WEIR_TESTKIT_MANUAL_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/clock.h"

struct manual_clock {
    struct clock clock; /* first: a struct clock is turned back into its manual_clock */
    _Atomic(uint64_t) now_ns;
    _Atomic(int64_t) real_base_ns; /* real time minus monotonic time */
};

/* `monotonic_ns` and `real_ns` are what it shows at first. */
void manual_clock_init(struct manual_clock *manual, uint64_t monotonic_ns, int64_t real_ns);

void manual_clock_advance_ns(struct manual_clock *manual, uint64_t ns);

/* Steps the real time alone, as an administrator would. */
void manual_clock_step_real(struct manual_clock *manual, int64_t by_ns);

#endif
