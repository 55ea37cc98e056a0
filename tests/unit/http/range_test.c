/* SPDX-License-Identifier: MIT */
#include "http/range.h"

#include <errno.h>
#include <stdio.h>

#include "support/unit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SIXTEEN \
    "0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30"

/* RFC 9110 section 14. */
static const struct {
    const char *why, *value;
    uint64_t size;
    int want;
    const char *ranges; /* first-last of each */
} cases[] = {
    { "the first 500 bytes", "bytes=0-499", 10000, 0, "0-499" },
    { "the second 500", "bytes=500-999", 10000, 0, "500-999" },
    { "the last 500", "bytes=-500", 10000, 0, "9500-9999" },
    { "from 9500 on", "bytes=9500-", 10000, 0, "9500-9999" },
    { "one byte", "bytes=0-0", 10000, 0, "0-0" },
    { "the first and the last byte", "bytes=0-0,-1", 10000, 0, "0-0 9999-9999" },
    { "everything", "bytes=0-", 10000, 0, "0-9999" },
    { "a suffix longer than the file is the whole file", "bytes=-500", 100, 0, "0-99" },
    { "a suffix as long as the file", "bytes=-100", 100, 0, "0-99" },
    { "a last byte past the end is the end", "bytes=50-1000", 100, 0, "50-99" },
    { "units have no case (14.1)", "Bytes=0-1", 100, 0, "0-1" },
    { "spaces and empty elements in the list (5.6.1)", "bytes=, 0-1 ,,\t5-6,", 100, 0,
            "0-1 5-6" },
    { "zeros in front", "bytes=0000-0001", 100, 0, "0-1" },

    { "numbers past 64 bits are large", "bytes=5-99999999999999999999999", 100, 0, "5-99" },
    { "a suffix past 64 bits is the whole", "bytes=-99999999999999999999999", 100, 0, "0-99" },
    { "a first byte past 64 bits", "bytes=99999999999999999999999-", 100, -ERANGE, "" },
    { "the largest representation", "bytes=18446744073709551614-18446744073709551615",
            UINT64_MAX, 0, "18446744073709551614-18446744073709551614" },
    { "joined at the end of the largest", "bytes=0-18446744073709551613,18446744073709551614-",
            UINT64_MAX, 0, "0-18446744073709551614" },

    { "a first byte at the end cannot be satisfied", "bytes=100-", 100, -ERANGE, "" },
    { "nor the last 0 bytes", "bytes=-0", 100, -ERANGE, "" },
    { "nor a range of nothing", "bytes=0-0", 0, -ERANGE, "" },
    { "nor the last 0 bytes of nothing", "bytes=-0", 0, -ERANGE, "" },
    { "a suffix of nothing is nothing: the whole of it", "bytes=-5", 0, -EINVAL, "" },
    { "one that can be satisfied is enough", "bytes=200-300,-0,5-6", 100, 0, "5-6" },
    { "none of several", "bytes=200-300,100-", 100, -ERANGE, "" },

    { "overlapping ranges are one", "bytes=0-10,5-20", 100, 0, "0-20" },
    { "touching ranges are one", "bytes=0-10,11-20", 100, 0, "0-20" },
    { "a gap of one byte stays", "bytes=0-10,12-20", 100, 0, "0-10 12-20" },
    { "the same again is one", "bytes=0-10,0-10,0-10", 100, 0, "0-10" },
    { "a range within another is that one", "bytes=0-50,10-20", 100, 0, "0-50" },
    { "a range around others takes their place", "bytes=10-20,90-99,30-40,0-50", 100, 0,
            "0-50 90-99" },
    { "a range that bridges two takes the first's place", "bytes=60-70,0-1,40-50,45-65", 100, 0,
            "40-70 0-1" },
    { "the order of the request stays (15.3.7.2)", "bytes=90-95,0-5", 100, 0, "90-95 0-5" },
    { "many times everything is once everything",
            "bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 100, 0, "0-99" },
    { "sixteen", "bytes=" SIXTEEN, 100, 0,
            "0-0 2-2 4-4 6-6 8-8 10-10 12-12 14-14 16-16 18-18 20-20 22-22 24-24 26-26 28-28 "
            "30-30" },
    { "seventeen are too many (14.2)", "bytes=" SIXTEEN ",32-32", 100, -E2BIG, "" },
    { "also when they would be one", "bytes=" SIXTEEN ",0-99", 100, -E2BIG, "" },

    { "last before first", "bytes=5-4", 100, -EINVAL, "" },
    { "one bad range among good ones", "bytes=0-1,5-4", 100, -EINVAL, "" },
    { "one bad range among those that cannot be satisfied", "bytes=200-,x", 100, -EINVAL, "" },
    { "another unit", "items=0-1", 100, -EINVAL, "" },
    { "no unit", "0-1", 100, -EINVAL, "" },
    { "no equals sign", "bytes 0-1", 100, -EINVAL, "" },
    { "a space before the equals sign", "bytes =0-1", 100, -EINVAL, "" },
    { "nothing", "", 100, -EINVAL, "" },
    { "no range", "bytes=", 100, -EINVAL, "" },
    { "no range but commas", "bytes=,,", 100, -EINVAL, "" },
    { "a hyphen alone", "bytes=-", 100, -EINVAL, "" },
    { "a number alone", "bytes=5", 100, -EINVAL, "" },
    { "two hyphens", "bytes=--5", 100, -EINVAL, "" },
    { "three numbers", "bytes=1-2-3", 100, -EINVAL, "" },
    { "a sign", "bytes=+1-2", 100, -EINVAL, "" },
    { "spaces within a range", "bytes=1 - 2", 100, -EINVAL, "" },
    { "hexadecimal", "bytes=0x1-0x2", 100, -EINVAL, "" },
    { "a letter", "bytes=a-b", 100, -EINVAL, "" },
};

START_TEST(answers_byte_ranges)
{
    struct range_set set = { .count = 77 };
    int r = range_parse(weir_str_from(cases[_i].value), cases[_i].size, &set);
    unit_check(r == cases[_i].want, cases[_i].why);
    if (r != 0) {
        unit_check(set.count == 77, cases[_i].why);
        return;
    }
    char got[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < set.count; i++) {
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%llu-%llu", i == 0 ? "" : " ",
                (unsigned long long)set.ranges[i].first,
                (unsigned long long)set.ranges[i].last);
    }
    ck_assert_msg(strcmp(got, cases[_i].ranges) == 0, "%s: %s", cases[_i].why, got);
}
END_TEST

/* Every set of three ranges over nine bytes, against a bitmap. */
START_TEST(asks_for_each_byte_once)
{
    struct byte_range all[45];
    size_t count = 0;
    for (uint64_t first = 0; first < 9; first++) {
        for (uint64_t last = first; last < 9; last++) {
            all[count++] = (struct byte_range){ first, last };
        }
    }
    for (size_t n = 0; n < count * count * count; n++) {
        const struct byte_range *three[3] = { &all[n % count], &all[n / count % count],
            &all[n / count / count] };
        char text[64];
        unsigned want = 0, got = 0;
        int len = snprintf(text, sizeof(text), "bytes=%u-%u,%u-%u,%u-%u",
                (unsigned)three[0]->first, (unsigned)three[0]->last, (unsigned)three[1]->first,
                (unsigned)three[1]->last, (unsigned)three[2]->first, (unsigned)three[2]->last);
        for (size_t i = 0; i < 3; i++) {
            want |= (2u << three[i]->last) - (1u << three[i]->first);
        }
        struct range_set set;
        ck_assert_int_eq(range_parse(weir_str_make(text, (size_t)len), 9, &set), 0);
        for (size_t i = 0; i < set.count; i++) {
            unsigned bits = (2u << set.ranges[i].last) - (1u << set.ranges[i].first);
            ck_assert_msg((got & (bits | bits << 1 | bits >> 1)) == 0, "%s", text);
            got |= bits;
        }
        ck_assert_msg(got == want, "%s", text);
    }
}
END_TEST

START_TEST(writes_content_range)
{
    char dst[CONTENT_RANGE_BYTES];
    struct byte_range range = { 0, 99 };
    size_t len = content_range_format(dst, &range, 1234);
    ck_assert(weir_str_eq(weir_str_make(dst, len), WEIR_STR("bytes 0-99/1234")));
    ck_assert_uint_eq(range_bytes(&range), 100);
    len = content_range_format(dst, NULL, 0);
    ck_assert(weir_str_eq(weir_str_make(dst, len), WEIR_STR("bytes */0")));
    range = (struct byte_range){ UINT64_MAX - 1, UINT64_MAX - 1 };
    len = content_range_format(dst, &range, UINT64_MAX);
    ck_assert_uint_eq(len, CONTENT_RANGE_BYTES);
    ck_assert(weir_str_eq(weir_str_make(dst, len),
            WEIR_STR("bytes 18446744073709551614-18446744073709551614/18446744073709551615")));
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers_byte_ranges, 0, COUNT(cases));
    tcase_add_test(tests, asks_for_each_byte_once);
    tcase_add_test(tests, writes_content_range);
}

UNIT_MAIN("http/range", add_tests)
