/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <stdatomic.h>

#define SLOT_SHIFT 37u
#define LOW_MASK   ((UINT64_C(1) << SLOT_SHIFT) - 1)

/* Each failed attempt is another worker's success, so this many are never seen in practice. */
#define ATTEMPTS_MAX 256u

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "processes share words, and no lock");

/* The order of the loads and exchanges is that of one thread after the other (seq_cst). */
struct table_set {
    _Atomic(uint64_t) pending;
    _Atomic(uint64_t) slots[TABLE_SET_SLOTS];
};

/* At the front of the memory; as large as a set, so that sets keep to lines of the cache. */
struct table_head {
    _Atomic(uint64_t) secret[2]; /* 0: not chosen yet */
    uint64_t unused[6];
};

_Static_assert(sizeof(struct table_head) == 64 && sizeof(struct table_set) == 64,
        "one line of the cache each");

static uint32_t
count_sets(uint64_t max_keys)
{
    return (uint32_t)((max_keys + TABLE_SET_KEYS - 1) / TABLE_SET_KEYS);
}

uint64_t
table_bytes(uint64_t max_keys)
{
    return sizeof(struct table_head) +
            (uint64_t)count_sets(max_keys) * sizeof(struct table_set);
}

void
table_open(struct table *table, void *memory, uint64_t max_keys, const uint64_t random[2])
{
    struct table_head *head = memory;
    table->sets = (struct table_set *)(head + 1);
    table->set_count = count_sets(max_keys);
    for (unsigned i = 0; i < 2; i++) {
        /* Of several workers that begin the first one's is taken. */
        uint64_t none = 0;
        atomic_compare_exchange_strong(&head->secret[i], &none, random[i] | 1);
        table->secret[i] = atomic_load(&head->secret[i]);
    }
}

/* ---- words ------------------------------------------------------------------------------- */

static uint64_t
time_of(uint64_t word)
{
    return word & GCRA_TIME_MASK;
}

static uint64_t
fingerprint_of(uint64_t word)
{
    return word >> GCRA_TIME_BITS;
}

/* The slot of a client, and what stands in it; TABLE_SET_SLOTS: it has none. */
static unsigned
find(struct table_set *set, uint64_t fingerprint, uint64_t *word)
{
    unsigned i = 0;
    for (; i < TABLE_SET_SLOTS; i++) {
        *word = atomic_load(&set->slots[i]);
        if (fingerprint_of(*word) == fingerprint) {
            break;
        }
    }
    return i;
}

/* ---- who is in a set --------------------------------------------------------------------- */

/* Carries a proposal out, where it can be, and removes it. True when this call has put the
 * client into the place of one that is live. */
static bool
carry_out(struct table_set *set, const struct gcra *gcra, uint64_t proposal, uint64_t now)
{
    unsigned slot = (unsigned)(proposal >> SLOT_SHIFT & 7);
    uint64_t fingerprint = fingerprint_of(proposal), word;
    bool was_full = false;
    if (slot < TABLE_SET_SLOTS) { /* always, but memory that others write to is not believed */
        uint64_t old = atomic_load(&set->slots[slot]);
        bool is_there = find(set, fingerprint, &word) < TABLE_SET_SLOTS;
        /* What was seen is of the time of this proposal if it is still there: while it is
         * nobody comes or goes but by it. Who comes too late finds another word in the slot. */
        if (atomic_load(&set->pending) != proposal) {
            return false;
        }
        if (!is_there && (old & LOW_MASK) == (proposal & LOW_MASK)) {
            uint64_t begun = fingerprint << GCRA_TIME_BITS | now;
            was_full = atomic_compare_exchange_strong(&set->slots[slot], &old, begun) &&
                    old != 0 && gcra_ahead(gcra, time_of(old), now) > 0;
        }
    }
    atomic_compare_exchange_strong(&set->pending, &proposal, 0);
    return was_full;
}

/* Puts a client into a set, or does what somebody else has proposed. */
static bool
let_in(struct table_set *set, const struct gcra *gcra, uint64_t fingerprint, uint64_t now)
{
    uint64_t none = 0, pending = atomic_load(&set->pending);
    if (pending != 0) {
        return carry_out(set, gcra, pending, now);
    }
    unsigned best = 0;
    uint64_t least = UINT64_MAX, seen = 0;
    for (unsigned n = 0; n < TABLE_SET_SLOTS && least > 0; n++) {
        /* Each begins elsewhere, so that not all choose one slot. */
        unsigned i = (unsigned)((fingerprint + n) % TABLE_SET_SLOTS);
        uint64_t word = atomic_load(&set->slots[i]);
        uint64_t ahead = word == 0 ? 0 : gcra_ahead(gcra, time_of(word), now);
        if (ahead < least) {
            least = ahead;
            best = i;
            seen = word;
        }
    }
    uint64_t proposal = fingerprint << GCRA_TIME_BITS | (uint64_t)best << SLOT_SHIFT |
            (seen & LOW_MASK);
    return atomic_compare_exchange_strong(&set->pending, &none, proposal) &&
            carry_out(set, gcra, proposal, now);
}

/* ---- counting ---------------------------------------------------------------------------- */

struct table_answer
table_take(const struct table *table, const struct gcra *gcra, uint64_t hash, uint64_t now)
{
    struct table_set *set = &table->sets[(hash & UINT32_MAX) * table->set_count >> 32];
    uint64_t fingerprint = hash >> GCRA_TIME_BITS;
    struct table_answer answer = { .is_allowed = true };
    fingerprint += fingerprint == 0; /* 0 is no client */
    for (unsigned attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        uint64_t word;
        unsigned slot = find(set, fingerprint, &word);
        if (slot == TABLE_SET_SLOTS) {
            answer.was_full |= let_in(set, gcra, fingerprint, now);
            continue;
        }
        uint64_t ahead = gcra_ahead(gcra, time_of(word), now);
        answer.is_allowed = gcra_allows(gcra, ahead);
        answer.ahead = ahead + (answer.is_allowed ? gcra->interval : 0);
        uint64_t counted = fingerprint << GCRA_TIME_BITS | gcra_next(gcra, ahead, now);
        if (!answer.is_allowed ||
                atomic_compare_exchange_strong(&set->slots[slot], &word, counted)) {
            answer.is_counted = true;
            return answer;
        }
    }
    answer.is_allowed = true;
    answer.ahead = 0;
    return answer;
}
