/* SPDX-License-Identifier: MIT */
/* Numbers with units, by tables. */
#include "config/units.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"

static const struct units_unit durations[] = {
    { "w", 604800 * NS_PER_S },
    { "d", 86400 * NS_PER_S },
    { "h", 3600 * NS_PER_S },
    { "m", 60 * NS_PER_S },
    { "s", NS_PER_S },
    { "ms", NS_PER_MS },
    { "us", NS_PER_US },
    { "ns", 1 },
};

static const struct units_unit sizes[] = {
    { "t", UINT64_C(1) << 40 },
    { "g", UINT64_C(1) << 30 },
    { "m", UINT64_C(1) << 20 },
    { "k", UINT64_C(1) << 10 },
    { "b", 1 },
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const struct units_table units_durations = { durations, COUNT_OF(durations) };
const struct units_table units_sizes = { sizes, COUNT_OF(sizes) };

static size_t
digits_at_front(struct weir_str text)
{
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
        digits++;
    }
    return digits;
}

static int
parse_with_unit(struct weir_str text, const struct units_unit *units, size_t units_count,
        uint64_t *out)
{
    size_t digits = digits_at_front(text);
    struct weir_str unit = weir_str_make(text.ptr + digits, text.len - digits);
    if (digits == 0) {
        return -EINVAL;
    }
    if (unit.len == 0) {
        return -EDOM;
    }
    for (size_t i = 0; i < units_count; i++) {
        uint64_t number, value;
        if (!weir_str_eq(unit, weir_str_from(units[i].name))) {
            continue;
        }
        int r = num_parse_u64(weir_str_make(text.ptr, digits), UINT64_MAX, &number);
        if (r < 0) {
            return r;
        }
        /* The largest value means "no limit" and cannot be spelled. */
        if (__builtin_mul_overflow(number, units[i].factor, &value) || value == UINT64_MAX) {
            return -ERANGE;
        }
        *out = value;
        return 0;
    }
    return -EINVAL;
}

int
units_parse_duration(struct weir_str text, uint64_t *out_ns)
{
    return parse_with_unit(text, durations, COUNT_OF(durations), out_ns);
}

int
units_parse_size(struct weir_str text, uint64_t *out_bytes)
{
    char lower[32];
    if (text.len == 0 || text.len > sizeof(lower)) {
        return -EINVAL;
    }
    memcpy(lower, text.ptr, text.len);
    char *last = &lower[text.len - 1];
    *last = *last >= 'A' && *last <= 'Z' ? (char)(*last | 0x20) : *last;
    return parse_with_unit(weir_str_make(lower, text.len), sizes, COUNT_OF(sizes), out_bytes);
}

int
units_parse_rate(struct weir_str text, struct weir_rate *out)
{
    const char *slash = text.len == 0 ? NULL : memchr(text.ptr, '/', text.len);
    if (slash == NULL) {
        return digits_at_front(text) == text.len && text.len > 0 ? -EDOM : -EINVAL;
    }
    struct weir_str number = weir_str_make(text.ptr, (size_t)(slash - text.ptr));
    struct weir_str unit = weir_str_make(slash + 1, text.len - number.len - 1);
    struct weir_rate rate = { .count = 0 };
    int r = digits_at_front(number) == number.len
            ? num_parse_u64(number, UINT64_MAX - 1, &rate.count)
            : units_parse_size(number, &rate.count);
    if (r < 0) {
        return r;
    }
    for (size_t i = 1; i < COUNT_OF(durations); i++) {
        /* d, h, m and s; a rate per week or per millisecond is a slip. */
        if (durations[i].factor >= NS_PER_S &&
                weir_str_eq(unit, weir_str_from(durations[i].name))) {
            rate.per_ns = durations[i].factor;
            *out = rate;
            return 0;
        }
    }
    return -EINVAL;
}

int
units_parse_status(struct weir_str text, struct weir_status *out)
{
    uint64_t first, last;
    if (text.len == 3 && text.ptr[0] >= '1' && text.ptr[0] <= '5' && text.ptr[1] == 'x' &&
            text.ptr[2] == 'x') {
        first = (uint64_t)(text.ptr[0] - '0') * 100;
        last = first + 99;
    } else if (text.len == 7 && text.ptr[3] == '-') {
        if (num_parse_u64(weir_str_make(text.ptr, 3), 599, &first) < 0 ||
                num_parse_u64(weir_str_make(text.ptr + 4, 3), 599, &last) < 0) {
            return -EINVAL;
        }
    } else {
        int r = num_parse_u64(text, 599, &first);
        if (r < 0) {
            return r;
        }
        if (text.ptr[0] == '0' && text.len > 1) {
            return -EINVAL; /* three digits: 0404 is a slip */
        }
        last = first;
    }
    if (first < 100 || last < first) {
        return -ERANGE;
    }
    *out = (struct weir_status){ (uint16_t)first, (uint16_t)last };
    return 0;
}

int
units_parse_network(struct weir_str text, struct weir_network *out)
{
    char address[INET6_ADDRSTRLEN];
    struct weir_network network = { .family = 4, .bits = 32 };
    const char *slash = text.len == 0 ? NULL : memchr(text.ptr, '/', text.len);
    struct weir_str host = weir_str_make(text.ptr,
            slash == NULL ? text.len : (size_t)(slash - text.ptr));
    if (weir_str_to_path(host, address, sizeof(address)) < 0) {
        return -EINVAL;
    }
    if (inet_pton(AF_INET, address, network.address) != 1) {
        if (inet_pton(AF_INET6, address, network.address) != 1) {
            return -EINVAL;
        }
        network.family = 6;
        network.bits = 128;
    }
    if (slash != NULL) {
        uint64_t bits;
        struct weir_str prefix = weir_str_make(slash + 1, text.len - host.len - 1);
        if (prefix.len > 3 || num_parse_u64(prefix, network.bits, &bits) < 0) {
            return -EINVAL;
        }
        network.bits = (uint8_t)bits;
    }
    bool had_more = false;
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = network.bits >= 8 * (i + 1) ? 8
                : network.bits <= 8 * i             ? 0
                                                    : network.bits - 8 * i;
        uint8_t masked = (uint8_t)(network.address[i] & (0xff00u >> kept));
        had_more |= masked != network.address[i];
        network.address[i] = masked;
    }
    /* One name for each address: clients are compared as IPv4 (weir_network_has()). */
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (network.family == 6 && network.bits >= 96 && memcmp(network.address, mapped, 12) == 0) {
        memmove(network.address, network.address + 12, 4);
        memset(network.address + 4, 0, 12);
        network.family = 4;
        network.bits = (uint8_t)(network.bits - 96);
    }
    *out = network;
    return had_more ? -EDOM : 0;
}

void
units_format_network(const struct weir_network *network, char dst[UNITS_NETWORK_BYTES])
{
    char address[INET6_ADDRSTRLEN] = "";
    inet_ntop(network->family == 4 ? AF_INET : AF_INET6, network->address, address,
            sizeof(address));
    if (network->bits == (network->family == 4 ? 32 : 128)) {
        snprintf(dst, UNITS_NETWORK_BYTES, "%s", address);
    } else {
        snprintf(dst, UNITS_NETWORK_BYTES, "%s/%u", address, network->bits);
    }
}

static void
format_with_unit(uint64_t value, const struct units_unit *units, size_t units_count,
        char dst[UNITS_TEXT_BYTES])
{
    size_t i = 0;
    while (i + 1 < units_count && (value == 0 || value % units[i].factor != 0)) {
        i++;
    }
    snprintf(dst, UNITS_TEXT_BYTES, "%llu%s", (unsigned long long)(value / units[i].factor),
            units[i].name);
}

void
units_format_duration(uint64_t ns, char dst[UNITS_TEXT_BYTES])
{
    format_with_unit(ns, durations, COUNT_OF(durations), dst);
}

void
units_format_size(uint64_t bytes, char dst[UNITS_TEXT_BYTES])
{
    format_with_unit(bytes, sizes, COUNT_OF(sizes), dst);
}

/* How people write units. */
static const struct {
    const struct units_table *units;
    const char *word, *unit;
} habits[] = {
    { &units_sizes, "byte", "b" },
    { &units_sizes, "bytes", "b" },
    { &units_sizes, "kb", "k" },
    { &units_sizes, "kib", "k" },
    { &units_sizes, "ki", "k" },
    { &units_sizes, "mb", "m" },
    { &units_sizes, "mib", "m" },
    { &units_sizes, "mi", "m" },
    { &units_sizes, "gb", "g" },
    { &units_sizes, "gib", "g" },
    { &units_sizes, "gi", "g" },
    { &units_sizes, "tb", "t" },
    { &units_sizes, "tib", "t" },
    { &units_durations, "msec", "ms" },
    { &units_durations, "milliseconds", "ms" },
    { &units_durations, "sec", "s" },
    { &units_durations, "secs", "s" },
    { &units_durations, "second", "s" },
    { &units_durations, "seconds", "s" },
    { &units_durations, "min", "m" },
    { &units_durations, "mins", "m" },
    { &units_durations, "minute", "m" },
    { &units_durations, "minutes", "m" },
    { &units_durations, "hr", "h" },
    { &units_durations, "hour", "h" },
    { &units_durations, "hours", "h" },
    { &units_durations, "day", "d" },
    { &units_durations, "days", "d" },
    { &units_durations, "week", "w" },
    { &units_durations, "weeks", "w" },
};

bool
units_guess(const struct units_table *units, struct weir_str text, char dst[UNITS_TEXT_BYTES])
{
    char word[16];
    size_t digits = digits_at_front(text), at = digits, len = 0;
    while (at < text.len && text.ptr[at] == ' ') {
        at++;
    }
    if (digits == 0 || digits > 19 || text.len - at >= sizeof(word)) {
        return false;
    }
    for (; at < text.len; at++) {
        char c = text.ptr[at];
        word[len++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    const char *unit = NULL;
    for (size_t i = 0; i < COUNT_OF(habits); i++) {
        if (habits[i].units == units &&
                weir_str_eq(weir_str_make(word, len), weir_str_from(habits[i].word))) {
            unit = habits[i].unit;
        }
    }
    for (size_t i = 0; i < units->count; i++) {
        if (weir_str_eq(weir_str_make(word, len), weir_str_from(units->items[i].name))) {
            unit = units->items[i].name;
        }
    }
    if (unit != NULL) {
        snprintf(dst, UNITS_TEXT_BYTES, "%.*s%s", (int)digits, text.ptr, unit);
    }
    return unit != NULL;
}

bool
weir_network_has(const struct weir_network *network, int family, const uint8_t *address)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (family == 6 && network->family == 4 && memcmp(address, mapped, 12) == 0) {
        family = 4;
        address += 12;
    }
    if (family != network->family) {
        return false;
    }
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(address, network->address, whole) != 0) {
        return false;
    }
    return rest == 0 ||
            ((address[whole] ^ network->address[whole]) & (0xff00u >> rest) & 0xff) == 0;
}
