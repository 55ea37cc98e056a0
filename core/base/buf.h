/* SPDX-License-Identifier: MIT */
/* Bytes that grow at the end and are consumed at the front, up to a ceiling. Thread: its owner.
 */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include <weir/str.h>

struct buf {
    char *memory; /* owned; NULL until the first byte */
    size_t start, end, capacity_bytes;
    size_t ceiling_bytes;
};

void buf_init(struct buf *buf, size_t ceiling_bytes);
void buf_fini(struct buf *buf); /* frees; the buffer is empty and usable afterwards */

/* What is in it; borrowed until the next call that changes it. */
struct weir_str buf_str(const struct buf *buf);

/* Appends. Returns 0; -ENOBUFS past the ceiling; -ENOMEM. On failure nothing was appended. */
WEIR_MUST_USE int buf_append(struct buf *buf, struct weir_str bytes);
WEIR_MUST_USE int buf_printf(struct buf *buf, const char *format, ...) WEIR_PRINTF(2, 3);

/* Room for `bytes` more at *dst, to be filled by the caller and confirmed by buf_commit().
 * Returns as buf_append(). */
WEIR_MUST_USE int buf_reserve(struct buf *buf, size_t bytes, char **dst);
void buf_commit(struct buf *buf, size_t bytes);

/* Drops `bytes` from the front; no more than there are. */
void buf_consume(struct buf *buf, size_t bytes);

#endif
