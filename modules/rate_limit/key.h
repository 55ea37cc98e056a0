/* SPDX-License-Identifier: MIT */
/* Whom requests are counted for: the values of some templates, hashed. */
#ifndef WEIR_RATE_LIMIT_KEY_H
#define WEIR_RATE_LIMIT_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/module.h>

#define KEY_PARTS_MAX 8u

struct key {
    const struct weir_list *parts; /* borrowed: the option's, of templates */
    uint32_t addresses;            /* by part: it is `{client.ip}` and nothing else */
    unsigned ipv6_bits;            /* how much of an IPv6 address tells clients apart */
};

void key_init(struct key *key, const struct weir_list *parts, unsigned ipv6_bits);

/* The i-th part. */
const struct weir_template *key_part(const struct weir_list *parts, size_t i);

/* True for a part that has `{client.ip}` among other text: no prefix is taken of that. */
bool key_hides_address(const struct weir_template *part);

/* Clears what is behind the first `bits` of an IPv6 address. */
void key_mask(uint8_t address[16], unsigned bits);

/* The hash of the request's key under a secret. Returns 1; 0 when nothing is known of it, all
 * parts being empty; -ENOMEM. Thread: the request's loop. */
WEIR_MUST_USE int key_hash(const struct key *key, struct weir_request *request,
        const uint64_t secret[2], uint64_t *hash);

#endif
