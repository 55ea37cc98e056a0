/* SPDX-License-Identifier: MIT */
/* The clients and their theoretical arrival times (gcra.h), in memory that all workers share
 * and write to at the same time. Nobody waits for anybody, and whoever is killed leaves nothing
 * undone that another does not do.
 *
 * The table is an array of sets, each a line of the cache: seven slots, and a word for what is
 * under way. A slot is one word, the client's fingerprint (24 bits of its key's hash) and its
 * time (40 bits): to count a request is to exchange that word. Which set a client belongs to
 * the rest of the hash says.
 *
 *     set    pending | slot 0 | slot 1 | ... | slot 6
 *     slot   fingerprint:24 time:40                       0: free
 *     pending  fingerprint:24 slot:3 time:37              0: nothing is under way
 *
 * That a client has never two slots, which would give it two bursts, is what `pending` is for:
 * all changes of who is in a set go through it, one after the other. Whoever misses its client
 * proposes there to put it into a slot, the free one, one whose time is past, or else the one
 * whose time is past first, by the low bits of the time that it has seen in it. Whoever finds a
 * proposal, be it of a dead worker, carries it out: the slot's word is exchanged if the
 * client is in no other slot and the time is still that one; whoever was counted meanwhile
 * stays. Then the proposal is removed, and everybody looks again.
 *
 * With 24 bits, two clients of a full set are taken for one once in two million. Who has no
 * slot is as good as who has not come for long, so nothing that is dropped while it is not live
 * changes an answer; who is dropped while it is (`was_full`) begins anew. */
#ifndef WEIR_RATE_LIMIT_TABLE_H
#define WEIR_RATE_LIMIT_TABLE_H

#include "gcra.h"

#define TABLE_SET_SLOTS 7u

/* Sets are made for so many clients each, on average. */
#define TABLE_SET_KEYS 4u
#define TABLE_KEYS_MAX UINT64_C(16000000)

/* What the bits of the memory mean; changes whenever that does. */
#define TABLE_LAYOUT 1u

/* A process's view of it. Constant once it was opened; the memory is anything but. */
struct table {
    struct table_set *sets; /* borrowed: the zone's */
    uint32_t set_count;
    uint64_t secret[2]; /* of the hash, the same in all processes */
};

/* How many bytes it takes for so many clients, from 1 to TABLE_KEYS_MAX. */
uint64_t table_bytes(uint64_t max_keys);

/* `memory` is table_bytes(max_keys), all zero or a table of before, and is borrowed. `random`
 * are numbers that become the secret, unless there is one. */
void table_open(struct table *table, void *memory, uint64_t max_keys, const uint64_t random[2]);

struct table_answer {
    bool is_allowed;
    bool is_counted; /* false: too many came at once to find a place; allowed all the same */
    bool was_full;   /* a client that is live was dropped for this one */
    uint64_t ahead;  /* units, after this request where it is allowed */
};

/* Counts a request of the client whose key hashes to `hash`, at the time `now` (gcra_time()).
 * A bounded number of steps. Any thread of any process. */
struct table_answer table_take(const struct table *table, const struct gcra *gcra,
        uint64_t hash, uint64_t now);

#endif
