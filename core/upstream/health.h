/* SPDX-License-Identifier: MIT */
/* Active checks: what is asked of a target, and what the answers make of it.
 *
 *                 `fall` failures in a row
 *        UP ---------------------------------> DOWN
 *         ^                                     |
 *         +---------- `rise` successes ---------+
 *
 * A target begins as up, so that no request fails for want of an answer that nobody has waited
 * for; until its first success it is asked more often, so that one that was dead all along is
 * found out soon. Pure; the owner's thread. */
#ifndef WEIR_UPSTREAM_HEALTH_H
#define WEIR_UPSTREAM_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/option.h>

#include "base/clock.h"

/* Of an answer's body, so much is looked at; and of all that is sent, so much is read. */
#define HEALTH_BODY_BYTES_MAX  65536u
#define HEALTH_TOTAL_BYTES_MAX 262144u

/* Until the first success, and for the first check of all, pauses are no longer than this. */
#define HEALTH_SOON_NS NS_PER_S

/* As the configuration has it; borrowed. */
struct health_settings {
    bool is_on;
    struct weir_str path;                /* .len 0: a connection is enough */
    struct weir_str host;                /* .len 0: the target's address */
    struct weir_list statuses;           /* of struct weir_status: good ones */
    struct weir_str body;                /* must stand in the answer's; .len 0: nothing must */
    const struct weir_regex *body_regex; /* must match it; NULL: nothing must */
    uint64_t every_ns, timeout_ns;
    int64_t rise, fall; /* from 1 */
};

/* All zero: up, and nothing is known. */
struct health {
    bool is_down;
    bool is_proven;    /* a check succeeded, or the target was found down */
    uint64_t in_a_row; /* checks that speak against the state */
};

/* A check has ended. True when the state changes by that. */
WEIR_MUST_USE bool health_note(struct health *health, const struct health_settings *settings,
        bool is_good);

/* From the beginning of one check to that of the next, or to the first: a tenth more or less
 * than it should be, so that those who check do not do it all at once. `random` is any number.
 */
uint64_t health_pause_ns(const struct health *health, const struct health_settings *settings,
        uint64_t random);
uint64_t health_first_ns(const struct health_settings *settings, uint64_t random);

/* Whether the status of an answer, or its body, is what it should be; and whether the body
 * matters. */
bool health_expects_status(const struct health_settings *settings, unsigned status);
bool health_expects_body(const struct health_settings *settings);
bool health_body_is_good(const struct health_settings *settings, struct weir_str body);

/* The statuses that are expected: "2xx, 301". Returns the length; cut where there is no room.
 */
size_t health_format_statuses(const struct health_settings *settings, char *dst, size_t bytes);

#endif
