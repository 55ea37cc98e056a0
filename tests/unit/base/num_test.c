/* SPDX-License-Identifier: MIT */
#include "base/num.h"

#include <errno.h>

#include "support/unit.h"

static const struct {
    const char *why, *text;
    uint64_t max;
    int want;
    uint64_t value;
} cases[] = {
    { "zero", "0", 10, 0, 0 },
    { "leading zeros are digits", "0007", 10, 0, 7 },
    { "the ceiling itself", "10", 10, 0, 10 },
    { "one past the ceiling", "11", 10, -ERANGE, 0 },
    { "the largest", "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
    { "one past 64 bits", "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
    { "far past 64 bits", "99999999999999999999999", UINT64_MAX, -ERANGE, 0 },
    { "a stray byte far past 64 bits", "99999999999999999999999x", UINT64_MAX, -EINVAL, 0 },
    { "nothing", "", 10, -EINVAL, 0 },
    { "a plus sign (RFC 9110 8.6 has none)", "+1", 10, -EINVAL, 0 },
    { "a minus sign", "-1", 10, -EINVAL, 0 },
    { "a space", " 1", 10, -EINVAL, 0 },
    { "hexadecimal", "0x1", 10, -EINVAL, 0 },
    { "an underscore", "1_0", 100, -EINVAL, 0 },
};

START_TEST(parses_decimal_numbers)
{
    uint64_t value = 77;
    int r = num_parse_u64(weir_str_from(cases[_i].text), cases[_i].max, &value);
    unit_check(r == cases[_i].want, cases[_i].why);
    unit_check(value == (r == 0 ? cases[_i].value : 77), cases[_i].why);
}
END_TEST

START_TEST(formats_what_it_parses)
{
    static const uint64_t values[] = { 0, 9, 10, 4096, UINT64_MAX };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[NUM_U64_DIGITS];
        size_t len = num_format_u64(text, values[i]);
        uint64_t back;
        ck_assert_int_eq(num_parse_u64(weir_str_make(text, len), UINT64_MAX, &back), 0);
        ck_assert(back == values[i]);
        len = num_format_hex(text, values[i]);
        back = 0;
        for (size_t j = 0; j < len; j++) {
            back = back << 4 | (uint64_t)num_hex_digit(text[j]);
        }
        ck_assert(back == values[i]);
    }
    ck_assert_int_eq(num_hex_digit('g'), -1);
    ck_assert_int_eq(num_hex_digit('A'), 10);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, parses_decimal_numbers, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, formats_what_it_parses);
}

UNIT_MAIN("base/num", add_tests)
