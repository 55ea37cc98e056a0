/* SPDX-License-Identifier: MIT */
/* Numbers and texts in a row, as processes of one server hand them to one another. Numbers have
 * the machine's order; a text is its length and its bytes. Any thread. */
#ifndef WEIR_BASE_WIRE_H
#define WEIR_BASE_WIRE_H

#include <stdint.h>

#include "base/buf.h"

/* Appending; each returns what buf_append() does. */
WEIR_MUST_USE int wire_put_u64(struct buf *out, uint64_t value);
WEIR_MUST_USE int wire_put_str(struct buf *out, struct weir_str text);

/* Reading from bytes that nobody vouches for: what does not fit is refused, once and for all.
 */
struct wire {
    struct weir_str rest; /* borrowed */
    bool is_damaged;      /* something did not fit: everything after it reads as nothing */
};

void wire_init(struct wire *wire, struct weir_str bytes);

/* 0 when damaged, or above `max`, which damages. */
uint64_t wire_get_u64(struct wire *wire, uint64_t max);

/* Borrowed from the bytes; empty when damaged, or longer than `max_bytes`, which damages. */
struct weir_str wire_get_str(struct wire *wire, size_t max_bytes);

/* Nothing was damaged and nothing is left. */
bool wire_is_complete(const struct wire *wire);

#endif
