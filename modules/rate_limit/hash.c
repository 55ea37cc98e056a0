/* SPDX-License-Identifier: MIT */
/* As Aumasson and Bernstein describe it, with one round for each word and three at the end. */
#include "hash.h"

#include <endian.h>
#include <string.h>

struct state {
    uint64_t v[4];
};

static uint64_t
rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void
turn(struct state *s)
{
    s->v[0] += s->v[1];
    s->v[1] = rotate(s->v[1], 13) ^ s->v[0];
    s->v[0] = rotate(s->v[0], 32);
    s->v[2] += s->v[3];
    s->v[3] = rotate(s->v[3], 16) ^ s->v[2];
    s->v[0] += s->v[3];
    s->v[3] = rotate(s->v[3], 21) ^ s->v[0];
    s->v[2] += s->v[1];
    s->v[1] = rotate(s->v[1], 17) ^ s->v[2];
    s->v[2] = rotate(s->v[2], 32);
}

static void
take(struct state *s, uint64_t word)
{
    s->v[3] ^= word;
    turn(s);
    s->v[0] ^= word;
}

uint64_t
hash_bytes(const uint64_t secret[2], const void *bytes, size_t len)
{
    struct state s = { { secret[0] ^ UINT64_C(0x736f6d6570736575),
            secret[1] ^ UINT64_C(0x646f72616e646f6d), secret[0] ^ UINT64_C(0x6c7967656e657261),
            secret[1] ^ UINT64_C(0x7465646279746573) } };
    const unsigned char *at = bytes;
    uint64_t word;
    size_t left = len;
    for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        take(&s, le64toh(word));
    }
    word = 0;
    if (left > 0) {
        memcpy(&word, at, left);
    }
    take(&s, le64toh(word) | (uint64_t)len << 56);
    s.v[2] ^= 0xff;
    turn(&s);
    turn(&s);
    turn(&s);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}
