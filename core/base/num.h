/* SPDX-License-Identifier: MIT */
/* Numbers in text that strangers wrote: digits only, no sign, no space, no locale, and a
 * ceiling that the caller names. Pure; any thread. */
#ifndef WEIR_BASE_NUM_H
#define WEIR_BASE_NUM_H

#include <stdint.h>

#include <weir/str.h>

/* Digits that a uint64_t may need. */
#define NUM_U64_DIGITS 20

/* Decimal. Returns 0 and sets *out; -EINVAL when `text` is empty or holds anything but digits;
 * -ERANGE above `max` (also when it does not fit 64 bits). */
WEIR_MUST_USE int num_parse_u64(struct weir_str text, uint64_t max, uint64_t *out);

/* Writes `value` in decimal without a terminator into `dst`, which holds NUM_U64_DIGITS bytes
 * or more. Returns the digits written. */
size_t num_format_u64(char *dst, uint64_t value);

/* Writes `value` in lower-case hexadecimal into `dst` (16 bytes or more). Returns the digits
 * written. */
size_t num_format_hex(char *dst, uint64_t value);

/* 0 to 15 for a hexadecimal digit of either case, else -1. */
int num_hex_digit(char c);

#endif
