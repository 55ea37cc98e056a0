/* SPDX-License-Identifier: MIT */
#include "net/dns_answer.h"

#include <stdbool.h>

#define HEADER_BYTES 12u
#define LABEL_MAX    63u
#define POINTER_BITS 0xC0u

struct reading {
    const unsigned char *at;
    size_t left;
};

static bool
skip(struct reading *reading, size_t bytes)
{
    if (reading->left < bytes) {
        return false;
    }
    reading->at += bytes;
    reading->left -= bytes;
    return true;
}

/* Labels up to the root, or up to a pointer, which is not followed. */
static bool
skip_name(struct reading *reading)
{
    for (;;) {
        if (reading->left == 0) {
            return false;
        }
        unsigned len = reading->at[0];
        if (len == 0) {
            return skip(reading, 1);
        }
        if ((len & POINTER_BITS) == POINTER_BITS) {
            return skip(reading, 2);
        }
        if (len > LABEL_MAX || !skip(reading, 1 + len)) {
            return false;
        }
    }
}

static unsigned
u16(const unsigned char *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static uint32_t
u32(const unsigned char *at)
{
    return (uint32_t)u16(at) << 16 | u16(at + 2);
}

uint32_t
dns_answer_ttl(const unsigned char *message, size_t len)
{
    struct reading reading = { message, len };
    if (!skip(&reading, HEADER_BYTES)) {
        return 0;
    }
    for (unsigned left = u16(message + 4); left > 0; left--) {
        if (!skip_name(&reading) || !skip(&reading, 4)) {
            return 0;
        }
    }
    uint32_t least = UINT32_MAX;
    for (unsigned left = u16(message + 6); left > 0; left--) {
        /* Type, class, time, length of what follows. */
        if (!skip_name(&reading) || reading.left < 10) {
            return 0;
        }
        uint32_t ttl = u32(reading.at + 4);
        ttl = (ttl & UINT32_C(1) << 31) != 0 ? 0 : ttl;
        least = ttl < least ? ttl : least;
        if (!skip(&reading, 10 + u16(reading.at + 8))) {
            return 0;
        }
    }
    return least == UINT32_MAX ? 0 : least;
}
