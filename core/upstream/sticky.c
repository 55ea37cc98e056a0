/* SPDX-License-Identifier: MIT */
#include "upstream/sticky.h"

#include "base/map.h"

void
sticky_key(struct weir_str secret, struct weir_str group, uint64_t key[2])
{
    /* Two numbers of the secret, the second of which also tells upstreams apart. */
    static const uint64_t seed[2] = { UINT64_C(0x7765697220737469),
        UINT64_C(0x636b79206b657973) };
    const uint64_t swapped[2] = { seed[1], seed[0] };
    const uint64_t whole[2] = { map_hash(seed, secret), map_hash(swapped, secret) };
    key[0] = whole[0];
    key[1] = map_hash(whole, group);
}

uint64_t
sticky_id(const struct sticky_settings *settings, struct weir_str address)
{
    return map_hash(settings->key, address);
}

void
sticky_format(uint64_t id, char value[STICKY_VALUE_BYTES])
{
    for (size_t i = 0; i < STICKY_VALUE_BYTES; i++) {
        value[i] = "0123456789abcdef"[(id >> (60 - 4 * i)) & 15];
    }
}

bool
sticky_parse(struct weir_str value, uint64_t *out)
{
    uint64_t id = 0;
    if (value.len != STICKY_VALUE_BYTES) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && !(c >= 'a' && c <= 'f')) {
            return false;
        }
        id = id << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
    }
    *out = id;
    return true;
}
