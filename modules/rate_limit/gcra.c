/* SPDX-License-Identifier: MIT */
#include "gcra.h"

#include <errno.h>

#define NS_PER_S UINT64_C(1000000000)

/* Finer for slow rates, where a wrap is far away all the same. */
static uint64_t
choose_interval(struct weir_rate rate)
{
    uint64_t ns = rate.per_ns / rate.count;
    return ns >= NS_PER_S ? 1024 : ns >= NS_PER_S / 1000 ? 64 : 16;
}

int
gcra_init(struct gcra *gcra, struct weir_rate rate, uint64_t burst)
{
    if (rate.count == 0 || rate.per_ns == 0 || burst == 0 || burst > GCRA_BURST_MAX ||
            rate.count > rate.per_ns / (NS_PER_S / GCRA_PER_SECOND_MAX) ||
            rate.per_ns / rate.count > GCRA_INTERVAL_MAX_S * NS_PER_S) {
        return -ERANGE;
    }
    /* The count is at most a thousandth of the nanoseconds, and less where the interval is
     * finer: the quotient fits. It is rounded up, so that what takes a whole second is not said
     * to take a nanosecond more. */
    gcra->interval = choose_interval(rate);
    gcra->units_per_ns = (uint64_t)((((unsigned __int128)gcra->interval * rate.count << 64) +
                                            rate.per_ns - 1) /
            rate.per_ns);
    gcra->burst = burst * gcra->interval;
    gcra->slack = (uint64_t)(((unsigned __int128)GCRA_SLACK_NS * gcra->units_per_ns) >> 64) + 1;
    return 0;
}

/* Rounded up, so that gcra_time() has moved on by as much when they have passed; a large burst
 * of a slow rate may take longer than can be said. */
static uint64_t
to_ns(const struct gcra *gcra, uint64_t units)
{
    unsigned __int128 scaled = (unsigned __int128)units << 64;
    unsigned __int128 ns = (scaled + gcra->units_per_ns - 1) / gcra->units_per_ns;
    return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

uint64_t
gcra_remaining(const struct gcra *gcra, uint64_t ahead)
{
    return ahead >= gcra->burst ? 0 : (gcra->burst - ahead) / gcra->interval;
}

uint64_t
gcra_wait_ns(const struct gcra *gcra, uint64_t ahead)
{
    return gcra_allows(gcra, ahead) ? 0 : to_ns(gcra, ahead + gcra->interval - gcra->burst);
}

uint64_t
gcra_reset_ns(const struct gcra *gcra, uint64_t ahead)
{
    return to_ns(gcra, ahead);
}
