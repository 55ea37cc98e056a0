/* SPDX-License-Identifier: MIT */
/* Sticky cookies: who came back to a target once keeps coming to it. The cookie names the
 * target by a number of its address, which does not give the address away: it is made with a
 * key, from the configuration's secret. All servers with the same configuration agree about it,
 * and nothing is remembered.
 *
 * Pure functions; any thread. */
#ifndef WEIR_UPSTREAM_STICKY_H
#define WEIR_UPSTREAM_STICKY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/api.h>
#include <weir/str.h>

struct sticky_settings {
    struct weir_str cookie;     /* its name; .len 0: nothing is sticky */
    struct weir_str attributes; /* of Set-Cookie, "; Path=/" */
    uint64_t key[2];            /* sticky_key() */
};

#define STICKY_VALUE_BYTES 16u

/* Without a secret (.len 0) whoever guesses an address can tell that it is right. */
void sticky_key(struct weir_str secret, struct weir_str group, uint64_t key[2]);

uint64_t sticky_id(const struct sticky_settings *settings, struct weir_str address);

/* The cookie's value. Parsing takes what formatting makes, and answers whether it is that. */
void sticky_format(uint64_t id, char value[STICKY_VALUE_BYTES]);
WEIR_MUST_USE bool sticky_parse(struct weir_str value, uint64_t *out);

#endif
