/* SPDX-License-Identifier: MIT */
/* An answer in HTTP/1 bytes: its head, and its body in the framing that fits (RFC 9112
 * sections 4 to 7). Thread: the engine's loop. */
#ifndef WEIR_HTTP_H1_REPLY_H
#define WEIR_HTTP_H1_REPLY_H

#include "http/output.h"
#include "http/request.h"

enum h1_framing {
    H1_NO_BODY,
    H1_LENGTH,
    H1_CHUNKED,
    H1_UNTIL_CLOSE,
};

/* Where the answer in hand stands. All zero before its head. */
struct h1_reply {
    bool has_head; /* the head is in the output */
    enum h1_framing framing;
    uint64_t left_bytes; /* H1_LENGTH: of the declared length */
};

enum h1_reply_result {
    H1_REPLY_DONE,    /* all of it is in the output */
    H1_REPLY_WAITING, /* for more of the body */
    H1_REPLY_FULL,    /* the socket must take something first */
    H1_REPLY_SHORT,   /* ended before its declared length: nothing may follow */
};

/* Whether the connection must end after this answer, because of its framing or of a length that
 * does not hold; asked before the head is written. */
bool h1_reply_needs_close(const struct weir_request *request);

/* Moves what there is of a committed reply to the output. `keep_alive` is settled by the first
 * call. *moved when anything was. */
enum h1_reply_result h1_reply_step(struct h1_reply *state, struct weir_request *request,
        struct output *output, bool keep_alive, bool *moved);

#endif
