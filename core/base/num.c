/* SPDX-License-Identifier: MIT */
/* Parsing and formatting of numbers. */
#include "base/num.h"

#include <errno.h>
#include <string.h>

int
num_parse_u64(struct weir_str text, uint64_t max, uint64_t *out)
{
    if (text.len == 0) {
        return -EINVAL;
    }
    uint64_t value = 0;
    bool over = false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return -EINVAL;
        }
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        if (over || value > (UINT64_MAX - digit) / 10) {
            over = true; /* goes on, since a stray byte further on is -EINVAL */
            continue;
        }
        value = value * 10 + digit;
    }
    if (over || value > max) {
        return -ERANGE;
    }
    *out = value;
    return 0;
}

size_t
num_format_u64(char *dst, uint64_t value)
{
    /* Two digits for each division. */
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char digits[NUM_U64_DIGITS];
    size_t at = sizeof(digits);
    while (value >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value > 0 || at == sizeof(digits)) {
        digits[--at] = (char)('0' + value);
    }
    memcpy(dst, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

size_t
num_format_hex(char *dst, uint64_t value)
{
    size_t len = 1;
    while (len < 16 && value >> (4 * len) != 0) {
        len++;
    }
    for (size_t i = 0; i < len; i++) {
        dst[i] = "0123456789abcdef"[value >> (4 * (len - 1 - i)) & 0xf];
    }
    return len;
}

int
num_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}
