/* SPDX-License-Identifier: MIT */
/* Which of several targets is asked. Whoever calls has found out which of them may be asked at
 * all; here is only the choice among those.
 *
 *     round robin        each in its turn, by weight, and evenly (smooth weighted round robin)
 *     least connections  the one with the least load for its weight; of several in turn
 *     random             two are drawn by weight, and the one with less load is taken
 *     hash               the same target for the same key
 *
 * The hash is weighted rendezvous hashing (highest random weight): each target draws a number
 * from the key and its own id, and the best number wins. Nothing is built or kept for it, so
 * that targets may come, go, fall out and change their weight at any time, and with any of this
 * no key moves but to or from the target that changed. That costs a turn over all targets, as
 * everything here does, where a ring would cost a search and be built anew with each change.
 *
 * With a bound, a key's target that has its part of the load already, and so much more, is
 * passed over for the key's next one (consistent hashing with bounded loads).
 *
 * Slow start: the weight of a target that came back grows from nearly nothing to its own in
 * that time.
 *
 * Pure functions; the caller's thread. */
#ifndef WEIR_UPSTREAM_BALANCE_H
#define WEIR_UPSTREAM_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/api.h>
#include <weir/str.h>

/* Of a target, and parts of one while it starts slowly. */
#define BALANCE_WEIGHT_MAX 1000u
#define BALANCE_WEIGHT_ONE 256u

enum balance_kind {
    BALANCE_ROUND_ROBIN,
    BALANCE_LEAST_CONNECTIONS,
    BALANCE_RANDOM,
    BALANCE_HASH,
};

struct balance_settings {
    enum balance_kind kind;
    uint64_t slow_start_ns; /* 0: none */
    uint64_t bound_percent; /* of BALANCE_HASH, of the average load, from 100; 0: none */
};

/* What is kept with a target. All zero but for the id: new. */
struct balance_member {
    uint64_t id;  /* balance_id() */
    int64_t turn; /* of the round robin */
};

/* One that may be asked now. */
struct balance_candidate {
    struct balance_member *member; /* borrowed */
    uint64_t weight;               /* balance_weight_now() */
    uint64_t load;                 /* its connections in use */
};

/* The same for the same address always and everywhere. */
uint64_t balance_id(struct weir_str address);

/* Likewise for a key of requests. */
uint64_t balance_hash(struct weir_str key);

/* Times BALANCE_WEIGHT_ONE a weight from 1 to BALANCE_WEIGHT_MAX, or less while the target
 * starts slowly; never 0. It came, or came back, at `up_since_ns`, which may lie ahead; 0: it
 * was always there. */
uint64_t balance_weight_now(const struct balance_settings *settings, uint64_t weight,
        uint64_t up_since_ns, uint64_t now_ns);

/* The index of the one to ask among `count` candidates, which is not 0. `hash` is that of the
 * request's key; NULL: it has none, and BALANCE_HASH goes in turn. `random` is any number, and
 * another each time. */
WEIR_MUST_USE size_t balance_choose(const struct balance_settings *settings,
        const struct balance_candidate *candidates, size_t count, const uint64_t *hash,
        uint64_t random);

#endif
