/* SPDX-License-Identifier: MIT */
#include "upstream/balance.h"

#include <math.h>

#include "base/assert.h"
#include "base/map.h"

/* Constant, so that all workers, and all servers that share targets, agree. */
static const uint64_t id_seed[2] = { UINT64_C(0x7765697220746172),
    UINT64_C(0x6765742069642031) };
static const uint64_t key_seed[2] = { UINT64_C(0x7765697220726571),
    UINT64_C(0x75657374206b6579) };

uint64_t
balance_id(struct weir_str address)
{
    return map_hash(id_seed, address);
}

uint64_t
balance_hash(struct weir_str key)
{
    return map_hash(key_seed, key);
}

uint64_t
balance_weight_now(const struct balance_settings *settings, uint64_t weight,
        uint64_t up_since_ns, uint64_t now_ns)
{
    uint64_t whole = weight * BALANCE_WEIGHT_ONE;
    if (settings->slow_start_ns == 0 || up_since_ns == 0) {
        return whole;
    }
    uint64_t up_ns = now_ns > up_since_ns ? now_ns - up_since_ns : 0;
    if (up_ns >= settings->slow_start_ns) {
        return whole;
    }
    double part = (double)up_ns / (double)settings->slow_start_ns;
    uint64_t now = (uint64_t)((double)whole * part);
    return now > weight ? now : weight;
}

/* Steele and others, "Fast splittable pseudorandom number generators": its finisher, by which
 * each bit of `x` changes each bit of the result. */
static uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* ---- in turn ----------------------------------------------------------------------------- */

/* Whether `a` has less to do for its weight than `b`. */
static bool
is_less_busy(const struct balance_candidate *a, const struct balance_candidate *b)
{
    return a->load * b->weight < b->load * a->weight;
}

/* Of those as little busy as `least`, or of all, the one that has waited longest for its
 * share. */
static size_t
take_turn(const struct balance_candidate *candidates, size_t count,
        const struct balance_candidate *least)
{
    size_t best = count;
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        struct balance_member *member = candidates[i].member;
        if (least != NULL && is_less_busy(least, &candidates[i])) {
            continue;
        }
        member->turn += (int64_t)candidates[i].weight;
        total += (int64_t)candidates[i].weight;
        if (best == count || member->turn > candidates[best].member->turn) {
            best = i;
        }
    }
    WEIR_ASSERT(best < count);
    candidates[best].member->turn -= total;
    return best;
}

static size_t
take_least(const struct balance_candidate *candidates, size_t count)
{
    const struct balance_candidate *least = &candidates[0];
    for (size_t i = 1; i < count; i++) {
        if (is_less_busy(&candidates[i], least)) {
            least = &candidates[i];
        }
    }
    return take_turn(candidates, count, least);
}

/* ---- by chance --------------------------------------------------------------------------- */

/* One by weight out of all but `without`, whose weights make `total`: so little that what a
 * number has beyond its multiples does not matter. */
static size_t
draw(const struct balance_candidate *candidates, size_t count, size_t without, uint64_t total,
        uint64_t random)
{
    uint64_t left = random % total;
    size_t i = without == 0 ? 1 : 0;
    while (left >= candidates[i].weight) {
        left -= candidates[i].weight;
        i += i + 1 == without ? 2 : 1;
        WEIR_ASSERT(i < count);
    }
    return i;
}

static size_t
take_random(const struct balance_candidate *candidates, size_t count, uint64_t random)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += candidates[i].weight;
    }
    size_t first = draw(candidates, count, count, total, mix(random));
    size_t second = draw(candidates, count, first, total - candidates[first].weight,
            mix(random + UINT64_C(0x9e3779b97f4a7c15)));
    return is_less_busy(&candidates[second], &candidates[first]) ? second : first;
}

/* ---- by key ------------------------------------------------------------------------------ */

/* What a candidate may have in use: its part of all there is, with this request, and the
 * bound's percentage of it. Since all parts make at least the whole, one is always below. */
struct bound {
    uint64_t percent, load, weight; /* 0; of all candidates, and this request's */
};

static struct bound
make_bound(uint64_t percent, const struct balance_candidate *candidates, size_t count)
{
    struct bound bound = { .percent = percent, .load = 1 };
    for (size_t i = 0; percent > 0 && i < count; i++) {
        bound.load += candidates[i].load;
        bound.weight += candidates[i].weight;
    }
    return bound;
}

static bool
is_full(const struct bound *bound, const struct balance_candidate *candidate)
{
    return bound->percent > 0 &&
            candidate->load * bound->weight * 100 >=
            bound->load * candidate->weight * bound->percent;
}

/* Exponentially distributed, with the weight as its rate: the least of several is that of a
 * candidate as often as its part of the weights says. */
static double
delay(uint64_t hash, uint64_t weight)
{
    double uniform = ((double)(hash >> 11) + 0.5) * 0x1p-53;
    return -log(uniform) / (double)weight;
}

static size_t
take_hash(const struct balance_settings *settings, const struct balance_candidate *candidates,
        size_t count, uint64_t key)
{
    const struct bound bound = make_bound(settings->bound_percent, candidates, count);
    size_t best = count;
    uint64_t best_hash = 0;
    double least = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = mix(key ^ candidates[i].member->id);
        /* Most need no logarithm: neither the weight nor the hash is better. */
        if (best < count && hash <= best_hash &&
                candidates[i].weight <= candidates[best].weight) {
            continue;
        }
        if (is_full(&bound, &candidates[i])) {
            continue;
        }
        double its = delay(hash, candidates[i].weight);
        if (best == count || its < least) {
            best = i;
            best_hash = hash;
            least = its;
        }
    }
    WEIR_ASSERT(best < count);
    return best;
}

size_t
balance_choose(const struct balance_settings *settings,
        const struct balance_candidate *candidates, size_t count, const uint64_t *hash,
        uint64_t random)
{
    WEIR_ASSERT(count > 0);
    if (count == 1) {
        return 0;
    }
    switch (settings->kind) {
    case BALANCE_ROUND_ROBIN:
        break;
    case BALANCE_LEAST_CONNECTIONS:
        return take_least(candidates, count);
    case BALANCE_RANDOM:
        return take_random(candidates, count, random);
    case BALANCE_HASH:
        if (hash != NULL) {
            return take_hash(settings, candidates, count, *hash);
        }
        break;
    }
    return take_turn(candidates, count, NULL);
}
