/* SPDX-License-Identifier: MIT */
/* SipHash-1-3: a hash under a secret, so that no client can choose keys that fall together.
 * Pure; any thread. */
#ifndef WEIR_RATE_LIMIT_HASH_H
#define WEIR_RATE_LIMIT_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const uint64_t secret[2], const void *bytes, size_t len);

#endif
