/* SPDX-License-Identifier: MIT */
/* Changing a head after it was read, as hooks do before a request is routed (weir/request.h):
 * every later reader of the head sees the edited one. What was settled while reading stays: the
 * target as sent, the body's framing, whether the connection is kept. Slices of the head that
 * were given out stay valid, since nothing that was written is written over.
 *
 * A head that is not edited costs nothing. Thread: the request's loop. */
#ifndef WEIR_HTTP_HEAD_EDIT_H
#define WEIR_HTTP_HEAD_EDIT_H

#include "base/arena.h"
#include "http/head.h"

/* What edits may bring a head to, all of it and in fields. */
#define HEAD_EDITED_BYTES_MAX  (256u << 10)
#define HEAD_EDITED_FIELDS_MAX 1000u

/* Where edits are written; in the arena, NULL before the first one. */
struct head_edits {
    char *bytes; /* head->bytes from then on */
    uint32_t len, capacity;
    uint32_t sent_bytes;     /* of head->bytes, what stands before is the client's */
    uint32_t field_capacity; /* of head->fields, which are ours too */
    enum method sent_method; /* which decides whether the answer has a body */
};

/* All return 0 or a negative errno, when the head is as it was: -EINVAL for what no client may
 * send, for fields that are about framing or between two neighbours only (Content-Length, Host,
 * Expect, and what RFC 9110 section 7.6.1 lists) and as said; -ENOBUFS above the bounds;
 * -ENOMEM. `method` is a known one, not CONNECT, and not HEAD unless that was sent. */
WEIR_MUST_USE int head_edit_method(struct head *head, struct head_edits **edits,
        struct arena *arena, struct weir_str method);
WEIR_MUST_USE int head_edit_add(struct head *head, struct head_edits **edits,
        struct arena *arena, struct weir_str name, struct weir_str value);

/* All fields of that name become one, where the first one stood. */
WEIR_MUST_USE int head_edit_set(struct head *head, struct head_edits **edits,
        struct arena *arena, struct weir_str name, struct weir_str value);

/* Returns how many there were. */
WEIR_MUST_USE int head_edit_remove(struct head *head, struct head_edits **edits,
        struct arena *arena, struct weir_str name);

#endif
