/* SPDX-License-Identifier: MIT */
#include "upstream/sticky.h"

#include "support/unit.h"

static struct sticky_settings
make(const char *secret, const char *group)
{
    struct sticky_settings settings = { .cookie = WEIR_STR("c") };
    sticky_key(weir_str_from(secret), weir_str_from(group), settings.key);
    return settings;
}

START_TEST(names_a_target_by_its_address_and_a_key)
{
    const struct sticky_settings one = make("secret", "app"), same = make("secret", "app");
    const struct sticky_settings others[] = { make("Secret", "app"), make("secret", "apq"),
        make("", "app"), make("secre", "tapp") };
    struct weir_str address = WEIR_STR("10.0.0.1:80");
    uint64_t id = sticky_id(&one, address);
    ck_assert_uint_eq(id, sticky_id(&same, address));
    ck_assert_uint_ne(id, sticky_id(&one, WEIR_STR("10.0.0.1:81")));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_uint_ne(id, sticky_id(&others[i], address));
    }
}
END_TEST

START_TEST(reads_what_it_writes)
{
    static const uint64_t ids[] = { 0, 1, UINT64_MAX, UINT64_C(0x0123456789abcdef) };
    char value[STICKY_VALUE_BYTES];
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        uint64_t id = ~ids[i];
        sticky_format(ids[i], value);
        ck_assert(sticky_parse(weir_str_make(value, sizeof(value)), &id));
        ck_assert_uint_eq(id, ids[i]);
    }
    ck_assert_int_eq(memcmp(value, "0123456789abcdef", sizeof(value)), 0);
}
END_TEST

START_TEST(reads_nothing_else)
{
    static const char *const values[] = { "", "0", "0123456789abcde", "0123456789abcdef0",
        "0123456789abcdeg", "0123456789ABCDEF", " 123456789abcdef", "0123456789abcde\"",
        "-123456789abcdef", "0x23456789abcdef" };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint64_t id = 7;
        unit_check(!sticky_parse(weir_str_from(values[i]), &id), values[i]);
        ck_assert_uint_eq(id, 7);
    }
    uint64_t id;
    ck_assert(!sticky_parse(weir_str_make(NULL, 0), &id));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_test(tests, names_a_target_by_its_address_and_a_key);
    tcase_add_test(tests, reads_what_it_writes);
    tcase_add_test(tests, reads_nothing_else);
}

UNIT_MAIN("upstream/sticky", add_tests)
