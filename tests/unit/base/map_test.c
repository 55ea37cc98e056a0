/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <errno.h>
#include <stdio.h>

#include "support/unit.h"

#define KEYS 2000

static char keys[KEYS][16];
static int present[KEYS];

START_TEST(finds_exactly_what_it_holds)
{
    struct map map;
    map_init(&map);
    unsigned state = 1;
    size_t count = 0;
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof(keys[i]), "key%d", i);
    }
    for (int step = 0; step < 60000; step++) {
        state = state * 1103515245u + 12345u;
        int i = (int)(state >> 8) % KEYS;
        i = i < 0 ? -i : i;
        struct weir_str key = weir_str_from(keys[i]);
        if (state & 0x40000000u) {
            ck_assert_int_eq(map_set(&map, key, &present[i]), 0);
            count += !present[i];
            present[i] = 1;
        } else {
            ck_assert_ptr_eq(map_take(&map, key), present[i] ? &present[i] : NULL);
            count -= (size_t)present[i];
            present[i] = 0;
        }
    }
    ck_assert_uint_eq(map.count, count);
    size_t seen = 0;
    for (const struct map_entry *e = NULL; (e = map_next(&map, e)) != NULL;) {
        ck_assert_int_eq(*(int *)e->value, 1);
        seen++;
    }
    ck_assert_uint_eq(seen, count);
    for (int i = 0; i < KEYS; i++) {
        void *found = map_find(&map, weir_str_from(keys[i]));
        ck_assert_ptr_eq(found, present[i] ? &present[i] : NULL);
    }
    map_fini(&map);
}
END_TEST

START_TEST(hashes_as_siphash_with_its_seed)
{
    /* Two seeds give two orders; one seed always the same. */
    uint64_t a[2] = { 1, 2 }, b[2] = { 1, 3 };
    ck_assert(map_hash(a, WEIR_STR("hello")) == map_hash(a, WEIR_STR("hello")));
    ck_assert(map_hash(a, WEIR_STR("hello")) != map_hash(b, WEIR_STR("hello")));
    ck_assert(map_hash(a, WEIR_STR("")) != map_hash(a, WEIR_STR("\0")));
}
END_TEST

START_TEST(survives_each_allocation_failing)
{
    int value;
    UNIT_EACH_ALLOCATION_FAILS({
        struct map map;
        map_init(&map);
        size_t kept = 0;
        for (int i = 0; i < 100; i++) {
            snprintf(keys[i], sizeof(keys[i]), "key%d", i);
            int r = map_set(&map, weir_str_from(keys[i]), &value);
            ck_assert(r == 0 || r == -ENOMEM);
            kept += r == 0;
        }
        ck_assert_uint_eq(map.count, kept);
        map_fini(&map);
    })
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, finds_exactly_what_it_holds);
    tcase_add_test(tests, hashes_as_siphash_with_its_seed);
    tcase_add_test(tests, survives_each_allocation_failing);
}

UNIT_MAIN("base/map", add_tests)
