/* SPDX-License-Identifier: MIT */
/* Passive ejection: a target that keeps failing those who ask it is passed over for a while.
 *
 *           so many failures in a row, within so much time
 *      IN -------------------------------------------------> OUT
 *       ^                                                    | ^
 *       |                                      time is up    | | fails
 *       +------------ works ------------ ON TRIAL <----------+ |
 *                                           +------------------+
 *
 * One that is out and works all the same, since it was asked for want of others, is in again.
 * Each time out that follows soon upon the last is twice as long, up to a bound, and a random
 * part longer, so that not all loops come back at once. On trial it is given to one exchange;
 * the others pass it over until that has shown something, or for as long as a first time out.
 *
 * Pure but for random numbers. Thread: its owner's. */
#ifndef WEIR_UPSTREAM_EJECT_H
#define WEIR_UPSTREAM_EJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/option.h>

/* Of a time out, so much at most is added at random: a tenth. */
#define EJECT_JITTER_PARTS 10u

/* As the configuration has it; borrowed. */
struct eject_settings {
    uint64_t failures;         /* in a row; 0: nothing is ejected */
    uint64_t within_ns;        /* from the first of them to the last */
    uint64_t for_ns;           /* the first time out */
    uint64_t for_max_ns;       /* the longest; jitter comes on top */
    int64_t max_percent;       /* so many of a group's targets may be out at once */
    struct weir_list statuses; /* of struct weir_status: answers that are failures, too */
};

/* All zero: in. */
struct eject {
    uint64_t failures;     /* in a row */
    uint64_t first_ns;     /* when the first of them was */
    uint64_t times;        /* out, each soon after the other */
    uint64_t out_ns;       /* the last time out, without jitter */
    uint64_t out_until_ns; /* 0: in; in the past: on trial */
    uint64_t in_since_ns;  /* when it first worked after that */
    bool is_tried;         /* on trial, and asked; `out_until_ns` is then for the others */
};

static inline bool
eject_is_out(const struct eject *eject, uint64_t now_ns)
{
    return eject->out_until_ns > now_ns;
}

/* It failed. True when it goes out by that, which it does only if it `may`. */
WEIR_MUST_USE bool eject_failed(struct eject *eject, const struct eject_settings *settings,
        uint64_t now_ns, bool may);

/* It answered. True when it is in by that and was not before. */
bool eject_worked(struct eject *eject, uint64_t now_ns);

/* It will be asked: if it is on trial, by nobody else for now. */
void eject_asked(struct eject *eject, const struct eject_settings *settings, uint64_t now_ns);

/* Whether one more of `count` targets may go out when `out` are already. */
bool eject_has_room(const struct eject_settings *settings, size_t out, size_t count);

/* Whether an answer of this status is a failure. */
bool eject_counts_status(const struct eject_settings *settings, unsigned status);

#endif
