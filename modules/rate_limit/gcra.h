/* SPDX-License-Identifier: MIT */
/* The generic cell rate algorithm: how long a client has to wait, from one number.
 *
 * That number is the client's theoretical arrival time (TAT): when it will have used up no more
 * than the rate allows. A request moves it on by the interval between two requests; one that
 * would move it further ahead of now than a burst takes is over the limit, and moves nothing.
 *
 *             now            TAT        now + burst
 *     ---------|--------------|--------------|-------> time
 *              |<-- ahead --->|<-interval->|
 *
 * Times are counted in units of a fraction of the interval, modulo 2^40, so that a TAT is a
 * part of a word that can be exchanged at once (table.h). One wraps after 19 hours at a million
 * requests a second, and after months or more at ten thousand. A number further ahead than any
 * client can be is one of the past: who was idle for a whole wrap is met by an old number that
 * looks like one of today for the small part of the wrap that a burst (and GCRA_SLACK_NS) is,
 * and is held for that long at most. Pure functions; any thread. */
#ifndef WEIR_RATE_LIMIT_GCRA_H
#define WEIR_RATE_LIMIT_GCRA_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/api.h>
#include <weir/option.h>

#define GCRA_TIME_BITS 40u
#define GCRA_TIME_MASK ((UINT64_C(1) << GCRA_TIME_BITS) - 1)

#define GCRA_PER_SECOND_MAX UINT64_C(1000000)
#define GCRA_BURST_MAX      UINT64_C(1000000)
#define GCRA_INTERVAL_MAX_S UINT64_C(2678400) /* 31 days */

/* How far clocks that were read at one moment by two workers may seem to lie apart: one of them
 * was held between reading it and using it. */
#define GCRA_SLACK_NS UINT64_C(60000000000)

/* A rate and a burst. */
struct gcra {
    uint64_t units_per_ns; /* as a fraction of 2^64 */
    uint64_t interval;     /* units between two requests */
    uint64_t burst;        /* units of a whole burst */
    uint64_t slack;        /* units of GCRA_SLACK_NS */
};

/* `burst` requests may come at once, from 1 up. Returns 0; -ERANGE for a rate or a burst beyond
 * the bounds above, or of zero. */
WEIR_MUST_USE int gcra_init(struct gcra *gcra, struct weir_rate rate, uint64_t burst);

/* A time of the monotonic clock. */
static inline uint64_t
gcra_time(const struct gcra *gcra, uint64_t now_ns)
{
    return (uint64_t)(((unsigned __int128)now_ns * gcra->units_per_ns) >> 64) & GCRA_TIME_MASK;
}

/* Units by which a client's TAT is ahead of now; 0: it has its whole burst. */
static inline uint64_t
gcra_ahead(const struct gcra *gcra, uint64_t tat, uint64_t now)
{
    uint64_t ahead = (tat - now) & GCRA_TIME_MASK;
    return ahead <= gcra->burst + gcra->slack ? ahead : 0;
}

/* Whether one request more is within the limit. */
static inline bool
gcra_allows(const struct gcra *gcra, uint64_t ahead)
{
    return ahead + gcra->interval <= gcra->burst;
}

/* The TAT after a request that was allowed. */
static inline uint64_t
gcra_next(const struct gcra *gcra, uint64_t ahead, uint64_t now)
{
    return (now + ahead + gcra->interval) & GCRA_TIME_MASK;
}

/* Of a client that is so far ahead: how many requests it may still send at once; nanoseconds
 * until it may send one (0: now); and until it has its whole burst again. */
uint64_t gcra_remaining(const struct gcra *gcra, uint64_t ahead);
uint64_t gcra_wait_ns(const struct gcra *gcra, uint64_t ahead);
uint64_t gcra_reset_ns(const struct gcra *gcra, uint64_t ahead);

#endif
