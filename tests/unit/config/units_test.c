/* SPDX-License-Identifier: MIT */
#include "config/units.h"

#include <errno.h>

#include "support/unit.h"

static const struct {
    const char *why, *text;
    int want;
    uint64_t ns;
} durations[] = {
    { "milliseconds", "250ms", 0, 250000000 },
    { "seconds", "30s", 0, UINT64_C(30000000000) },
    { "a week", "1w", 0, UINT64_C(604800000000000) },
    { "zero is a duration; who reads it may refuse it", "0s", 0, 0 },
    { "a bare number lacks its unit", "30", -EDOM, 0 },
    { "no fractions", "1.5s", -EINVAL, 0 },
    { "no sign", "-1s", -EINVAL, 0 },
    { "no space", "1 s", -EINVAL, 0 },
    { "no unknown unit", "1y", -EINVAL, 0 },
    { "no capitals", "1S", -EINVAL, 0 },
    { "nothing is no duration", "", -EINVAL, 0 },
    { "584 years fit", "18446744073s", 0, UINT64_C(18446744073000000000) },
    { "585 do not", "18446744074s", -ERANGE, 0 },
    { "the largest number is \"no limit\"", "18446744073709551615ns", -ERANGE, 0 },
    { "more digits than fit", "99999999999999999999999s", -ERANGE, 0 },
};

START_TEST(reads_durations)
{
    uint64_t ns = 77;
    int r = units_parse_duration(weir_str_from(durations[_i].text), &ns);
    unit_check(r == durations[_i].want, durations[_i].why);
    unit_check(ns == (r == 0 ? durations[_i].ns : 77), durations[_i].why);
}
END_TEST

static const struct {
    const char *why, *text;
    int want;
    uint64_t bytes;
} sizes[] = {
    { "kilobytes are 1024", "64k", 0, 65536 },
    { "a capital is as good", "64K", 0, 65536 },
    { "gigabytes", "2g", 0, UINT64_C(2147483648) },
    { "bytes", "17b", 0, 17 },
    { "a bare number lacks its unit", "64", -EDOM, 0 },
    { "kb is no unit", "64kb", -EINVAL, 0 },
    { "too many terabytes", "16777216t", -ERANGE, 0 },
    { "nothing is no size", "", -EINVAL, 0 },
};

START_TEST(reads_sizes)
{
    uint64_t bytes = 77;
    int r = units_parse_size(weir_str_from(sizes[_i].text), &bytes);
    unit_check(r == sizes[_i].want, sizes[_i].why);
    unit_check(bytes == (r == 0 ? sizes[_i].bytes : 77), sizes[_i].why);
}
END_TEST

static const struct {
    const char *why, *text;
    int want;
    struct weir_rate rate;
} rates[] = {
    { "a second", "10/s", 0, { 10, UINT64_C(1000000000) } },
    { "a minute", "5/m", 0, { 5, UINT64_C(60000000000) } },
    { "bytes", "2k/h", 0, { 2048, UINT64_C(3600000000000) } },
    { "a bare number lacks its unit", "10", -EDOM, { 0, 0 } },
    { "no count", "/s", -EINVAL, { 0, 0 } },
    { "no time", "10/", -EINVAL, { 0, 0 } },
    { "no other unit", "10/ms", -EINVAL, { 0, 0 } },
};

START_TEST(reads_rates)
{
    struct weir_rate rate = { 7, 7 };
    int r = units_parse_rate(weir_str_from(rates[_i].text), &rate);
    unit_check(r == rates[_i].want || (r < 0 && rates[_i].want == -EINVAL), rates[_i].why);
    if (r == 0) {
        unit_check(rate.count == rates[_i].rate.count && rate.per_ns == rates[_i].rate.per_ns,
                rates[_i].why);
    }
}
END_TEST

static const struct {
    const char *why, *text;
    int want;
    unsigned first, last;
} statuses[] = {
    { "one", "404", 0, 404, 404 },
    { "a class", "5xx", 0, 500, 599 },
    { "a range", "400-403", 0, 400, 403 },
    { "below 100", "99", -ERANGE, 0, 0 },
    { "above 599", "600", -ERANGE, 0, 0 },
    { "no such class", "6xx", -EINVAL, 0, 0 },
    { "a range backwards", "403-400", -ERANGE, 0, 0 },
    { "letters", "4x4", -EINVAL, 0, 0 },
    { "nothing", "", -EINVAL, 0, 0 },
};

START_TEST(reads_statuses)
{
    struct weir_status status = { 0, 0 };
    int r = units_parse_status(weir_str_from(statuses[_i].text), &status);
    unit_check(r == statuses[_i].want, statuses[_i].why);
    unit_check(status.first == statuses[_i].first && status.last == statuses[_i].last,
            statuses[_i].why);
}
END_TEST

static const struct {
    const char *why, *text;
    int want;
    const char *again;    /* as it is written back */
    const char *in, *out; /* an address in it, and one that is not */
} networks[] = {
    { "a block", "10.0.0.0/8", 0, "10.0.0.0/8", "10.255.1.2", "11.0.0.0" },
    { "one address", "127.0.0.1", 0, "127.0.0.1", "127.0.0.1", "127.0.0.2" },
    { "every IPv4 address", "0.0.0.0/0", 0, "0.0.0.0/0", "255.1.1.1", "::1" },
    { "odd bits", "192.0.2.128/25", 0, "192.0.2.128/25", "192.0.2.200", "192.0.2.127" },
    { "IPv6", "2001:db8::/33", 0, "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1" },
    { "IPv4 in IPv6 clothes is IPv4", "10.0.0.0/8", 0, "10.0.0.0/8", "::ffff:10.1.2.3",
            "::ffff:11.1.2.3" },
    { "a network so written is IPv4 too", "::ffff:10.0.0.0/104", 0, "10.0.0.0/8", "10.1.2.3",
            "11.1.2.3" },
    { "bits beyond the prefix", "10.0.0.1/8", -EDOM, "10.0.0.0/8", NULL, NULL },
    { "too many bits", "10.0.0.0/33", -EINVAL, NULL, NULL, NULL },
    { "no bits", "10.0.0.0/", -EINVAL, NULL, NULL, NULL },
    { "no address", "localhost", -EINVAL, NULL, NULL, NULL },
    { "half an address", "10.0", -EINVAL, NULL, NULL, NULL },
};

static bool
has(const struct weir_network *network, const char *text)
{
    struct weir_network address;
    ck_assert_int_eq(units_parse_network(weir_str_from(text), &address), 0);
    return weir_network_has(network, address.family, address.address);
}

START_TEST(reads_networks)
{
    struct weir_network network;
    char text[UNITS_NETWORK_BYTES];
    int r = units_parse_network(weir_str_from(networks[_i].text), &network);
    unit_check(r == networks[_i].want, networks[_i].why);
    if (networks[_i].again != NULL) {
        units_format_network(&network, text);
        ck_assert_str_eq(text, networks[_i].again);
    }
    if (networks[_i].in != NULL) {
        unit_check(has(&network, networks[_i].in), networks[_i].why);
        unit_check(!has(&network, networks[_i].out), networks[_i].why);
    }
}
END_TEST

START_TEST(writes_the_shortest_spelling)
{
    char text[UNITS_TEXT_BYTES];
    units_format_duration(UINT64_C(90000000000), text);
    ck_assert_str_eq(text, "90s");
    units_format_duration(UINT64_C(3600000000000), text);
    ck_assert_str_eq(text, "1h");
    units_format_duration(1, text);
    ck_assert_str_eq(text, "1ns");
    units_format_size(65536, text);
    ck_assert_str_eq(text, "64k");
    units_format_size(1000, text);
    ck_assert_str_eq(text, "1000b");
    units_format_size(0, text);
    ck_assert_str_eq(text, "0b");
}
END_TEST

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reads_durations, 0, COUNT_OF(durations));
    tcase_add_loop_test(tests, reads_sizes, 0, COUNT_OF(sizes));
    tcase_add_loop_test(tests, reads_rates, 0, COUNT_OF(rates));
    tcase_add_loop_test(tests, reads_statuses, 0, COUNT_OF(statuses));
    tcase_add_loop_test(tests, reads_networks, 0, COUNT_OF(networks));
    tcase_add_test(tests, writes_the_shortest_spelling);
}

UNIT_MAIN("config/units", add_tests)
