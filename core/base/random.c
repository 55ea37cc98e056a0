/* SPDX-License-Identifier: MIT */
/* xorshift64*. */
#include "base/random.h"

#include <sys/random.h>

#include "base/clock.h"

uint64_t
random_next(void)
{
    static _Thread_local uint64_t state;
    while (state == 0) {
        if (getrandom(&state, sizeof(state), GRND_NONBLOCK) != sizeof(state)) {
            state = clock_monotonic_ns(clock_system()) ^ (uint64_t)(uintptr_t)&state;
        }
    }
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(0x2545F4914F6CDD1D);
}

uint64_t
random_below(uint64_t limit)
{
    return limit == 0 ? 0 : random_next() % limit;
}
