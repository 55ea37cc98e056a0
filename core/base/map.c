/* SPDX-License-Identifier: MIT */
/* Linear probing, at most three quarters full, deletion by shifting back. */
#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define MAP_MIN_CAPACITY 16u

static inline uint64_t
rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", with one compression and three
 * finalisation rounds. */
uint64_t
map_hash(const uint64_t seed[2], struct weir_str s)
{
    uint64_t v[4] = { seed[0] ^ UINT64_C(0x736f6d6570736575),
        seed[1] ^ UINT64_C(0x646f72616e646f6d), seed[0] ^ UINT64_C(0x6c7967656e657261),
        seed[1] ^ UINT64_C(0x7465646279746573) };
    size_t i = 0;
    uint64_t word;
    for (; s.len - i >= 8; i += 8) {
        memcpy(&word, s.ptr + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = (uint64_t)s.len << 56;
    for (unsigned shift = 0; i < s.len; i++, shift += 8) {
        word |= (uint64_t)(unsigned char)s.ptr[i] << shift;
    }
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void
map_init(struct map *map)
{
    *map = (struct map){ 0 };
    /* Without entropy (early boot) the table still works, only guessable. */
    if (getrandom(map->seed, sizeof(map->seed), GRND_NONBLOCK) != sizeof(map->seed)) {
        map->seed[0] = (uint64_t)(uintptr_t)map;
    }
}

void
map_fini(struct map *map)
{
    free(map->entries);
    map->entries = NULL;
    map->count = map->capacity = 0;
}

/* The entry of `key`, or the free one where it would go. The table is never full. */
static struct map_entry *
locate(const struct map *map, struct weir_str key, uint64_t hash)
{
    size_t mask = map->capacity - 1;
    size_t i = (size_t)hash & mask;
    while (map->entries[i].value != NULL &&
            !(map->entries[i].hash == hash && weir_str_eq(map->entries[i].key, key))) {
        i = (i + 1) & mask;
    }
    return &map->entries[i];
}

void *
map_find(const struct map *map, struct weir_str key)
{
    if (map->count == 0) {
        return NULL;
    }
    return locate(map, key, map_hash(map->seed, key))->value;
}

static int
grow(struct map *map)
{
    struct map larger = *map;
    larger.capacity = map->capacity == 0 ? MAP_MIN_CAPACITY : map->capacity * 2;
    larger.entries = calloc(larger.capacity, sizeof(*larger.entries));
    if (larger.entries == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        const struct map_entry *entry = &map->entries[i];
        if (entry->value != NULL) {
            *locate(&larger, entry->key, entry->hash) = *entry;
        }
    }
    free(map->entries);
    *map = larger;
    return 0;
}

int
map_set(struct map *map, struct weir_str key, void *value)
{
    if (map->count >= map->capacity - map->capacity / 4) {
        int r = grow(map);
        if (r < 0) {
            return r;
        }
    }
    uint64_t hash = map_hash(map->seed, key);
    struct map_entry *entry = locate(map, key, hash);
    if (entry->value == NULL) {
        map->count++;
    }
    *entry = (struct map_entry){ key, value, hash };
    return 0;
}

void *
map_take(struct map *map, struct weir_str key)
{
    if (map->count == 0) {
        return NULL;
    }
    struct map_entry *entry = locate(map, key, map_hash(map->seed, key));
    void *value = entry->value;
    if (value == NULL) {
        return NULL;
    }
    map->count--;

    /* Close the gap: move back every follower that the gap would hide from its home. */
    size_t mask = map->capacity - 1;
    size_t gap = (size_t)(entry - map->entries);
    for (size_t i = (gap + 1) & mask; map->entries[i].value != NULL; i = (i + 1) & mask) {
        size_t home = (size_t)map->entries[i].hash & mask;
        if (((i - home) & mask) >= ((i - gap) & mask)) {
            map->entries[gap] = map->entries[i];
            gap = i;
        }
    }
    map->entries[gap] = (struct map_entry){ .value = NULL };
    return value;
}

const struct map_entry *
map_next(const struct map *map, const struct map_entry *entry)
{
    size_t i = entry == NULL ? 0 : (size_t)(entry - map->entries) + 1;
    while (i < map->capacity && map->entries[i].value == NULL) {
        i++;
    }
    return i < map->capacity ? &map->entries[i] : NULL;
}
