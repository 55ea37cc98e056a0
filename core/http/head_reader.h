/* SPDX-License-Identifier: MIT */
/* Reading the head of a request: finding its lines and its end, holding it against the limits,
 * having the grammar checked (parser.h), and judging what its fields mean for framing.
 *
 * The bytes are copied once, into the request's arena, so that every slice of the head lives as
 * long as the request. The outcome depends on the bytes and never on how they were cut: limits
 * are judged line by line, before the grammar of the same line. Pure; any thread.
 *
 * Sources: RFC 9112 sections 2 to 6 and the table in HTTP.md. */
#ifndef WEIR_HTTP_HEAD_READER_H
#define WEIR_HTTP_HEAD_READER_H

#include "base/arena.h"
#include "http/head.h"
#include "http/parser.h"
#include "http/settings.h"

/* What one head, or the trailers of one message, may take at the most: the limits, or less
 * where memory would not be bounded otherwise. */
uint32_t head_max_bytes(const struct http_limits *limits);
uint32_t head_max_fields(const struct http_limits *limits);

/* Reads one head. Embedded in its owner; used once, then initialised again. */
struct head_reader {
    const struct http_limits *limits; /* borrowed */
    struct arena *arena;              /* borrowed; the head's bytes and fields are its own */
    struct head *head;                /* borrowed; filled as lines come */
    char *bytes;
    uint32_t len, capacity; /* of bytes */
    uint32_t scanned;       /* no line ends before it that was not seen */
    uint32_t line_at;       /* where the line in progress begins */
    uint32_t token_len;     /* of the request line in progress: bytes that a method may have */
    uint32_t fed;           /* what the parser has seen */
    uint32_t field_capacity;
    bool has_request_line;
    bool is_out_of_memory;
    struct parser parser;
};

enum head_progress {
    HEAD_MORE,
    HEAD_DONE,
    HEAD_REFUSED
};

void head_reader_init(struct head_reader *reader, const struct http_limits *limits,
        struct arena *arena, struct head *head);

/* Takes bytes from the front of `input`. *taken is how many: all of them with HEAD_MORE, up to
 * the end of the head with HEAD_DONE, anything with HEAD_REFUSED, which sets *refusal.
 *
 * With HEAD_DONE the head is grammatical and its framing is settled, but the target has not
 * been parsed and the Host only counted. */
WEIR_MUST_USE enum head_progress head_reader_feed(struct head_reader *reader,
        struct weir_str input, size_t *taken, enum head_refusal *refusal);

/* The same for a protocol of `version` that brings the parts of a head one by one: the request,
 * then its fields (the authority as Host), then the end, which says whether a body follows.
 * What they bring is checked and held against the limits as above, and copied. Fields about an
 * HTTP/1 connection make the head malformed (RFC 9113 section 8.2.2). Each returns
 * HEAD_ACCEPTED, or why the head is refused; after that, none may be called. */
WEIR_MUST_USE enum head_refusal head_reader_begin(struct head_reader *reader, uint8_t version,
        struct weir_str method, struct weir_str target);
WEIR_MUST_USE enum head_refusal head_reader_add(struct head_reader *reader,
        struct weir_str name, struct weir_str value);
WEIR_MUST_USE enum head_refusal head_reader_end(struct head_reader *reader, bool has_body);

#endif
