/* SPDX-License-Identifier: MIT */
/* Text to pointer: an open-addressed table, seeded at random so that strangers who choose the
 * keys cannot choose the collisions. Keys are borrowed and must stay as they are while they are
 * in the map. Thread: its owner. */
#ifndef WEIR_BASE_MAP_H
#define WEIR_BASE_MAP_H

#include <stdint.h>

#include <weir/str.h>

struct map_entry {
    struct weir_str key; /* borrowed */
    void *value;         /* borrowed; NULL marks a free entry */
    uint64_t hash;
};

struct map {
    struct map_entry *entries; /* owned */
    size_t count, capacity;    /* capacity is 0 or a power of two */
    uint64_t seed[2];
};

void map_init(struct map *map);
void map_fini(struct map *map);

/* NULL when absent. */
void *map_find(const struct map *map, struct weir_str key);

/* Adds or replaces; `value` is not NULL. Returns 0 or -ENOMEM. */
WEIR_MUST_USE int map_set(struct map *map, struct weir_str key, void *value);

/* Removes and returns the value, NULL when absent. */
void *map_take(struct map *map, struct weir_str key);

/* All entries in no order: for (e = NULL; (e = map_next(map, e)) != NULL;). The map must not
 * change meanwhile. */
const struct map_entry *map_next(const struct map *map, const struct map_entry *entry);

/* SipHash-1-3 of `s`. */
uint64_t map_hash(const uint64_t seed[2], struct weir_str s);

#endif
