/* SPDX-License-Identifier: MIT */
#include "key.h"

#include <errno.h>
#include <string.h>

#include <weir/request.h>
#include <weir/template.h>

#include "hash.h"

#define CLIENT WEIR_STR("{client.ip}")

const struct weir_template *
key_part(const struct weir_list *parts, size_t i)
{
    const struct weir_template *const *items = parts->items;
    return items[i];
}

void
key_init(struct key *key, const struct weir_list *parts, unsigned ipv6_bits)
{
    *key = (struct key){ .parts = parts, .ipv6_bits = ipv6_bits };
    for (size_t i = 0; i < parts->count && i < KEY_PARTS_MAX; i++) {
        bool is_address = weir_str_eq(weir_template_source(key_part(parts, i)), CLIENT);
        key->addresses |= (uint32_t)is_address << i;
    }
}

bool
key_hides_address(const struct weir_template *part)
{
    struct weir_str source = weir_template_source(part);
    return !weir_str_eq(source, CLIENT) && strstr(source.ptr, CLIENT.ptr) != NULL;
}

void
key_mask(uint8_t address[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = bits > 8 * i ? bits - 8 * i : 0;
        if (kept < 8) {
            address[i] &= (uint8_t)(0xff00u >> kept);
        }
    }
}

/* The client's network, with the family before it; returns its length. */
static size_t
take_address(const struct key *key, const struct weir_request *request, uint8_t network[17])
{
    int family = weir_request_client_address(request, network + 1);
    network[0] = (uint8_t)family;
    if (family == 6) {
        key_mask(network + 1, key->ipv6_bits);
    }
    return family == 0 ? 0 : family == 4 ? 5 : 17;
}

int
key_hash(const struct key *key, struct weir_request *request, const uint64_t secret[2],
        uint64_t *hash)
{
    uint64_t chained[2] = { secret[0], secret[1] };
    bool is_known = false;
    for (size_t i = 0; i < key->parts->count; i++) {
        uint8_t network[17];
        struct weir_str part = weir_str_make((const char *)network, 0);
        if ((key->addresses >> i & 1) != 0) {
            part.len = take_address(key, request, network);
        } else {
            part = weir_template_text(request, key_part(key->parts, i));
        }
        if (part.ptr == NULL) {
            return -ENOMEM;
        }
        /* Each under another secret, so that "a", "bc" is not "ab", "c". */
        is_known |= part.len > 0;
        chained[1] = secret[1] ^ hash_bytes(chained, part.ptr, part.len);
    }
    *hash = chained[1] ^ secret[1];
    return is_known;
}
