/* SPDX-License-Identifier: MIT */
/* The chunked transfer coding (RFC 9112 section 7.1), decoded strictly: hexadecimal sizes of at
 * most 16 digits, CRLF and nothing else at line ends, extensions checked, bounded and ignored,
 * without the blanks that the grammar calls bad (BWS), the
 * data's own CRLF required. Trailers are collected, bounded, checked and kept apart from the
 * head.
 *
 * Ours rather than llhttp's, which bounds neither extensions nor trailers and delivers trailers
 * as header fields; the fuzz target holds the two against each other. Pure; any thread. */
#ifndef WEIR_HTTP_CHUNKED_H
#define WEIR_HTTP_CHUNKED_H

#include <stdint.h>

#include <weir/str.h>

#include "base/buf.h"

/* Extension bytes of one body; no honest client sends any. */
#define CHUNKED_EXTENSIONS_MAX 4096u

enum chunked_result {
    CHUNKED_MORE, /* all input taken */
    CHUNKED_DATA, /* *data is the next run of the body, part of the input */
    CHUNKED_DONE, /* the body and its trailers are complete; the rest of the input is not its */
    CHUNKED_BAD,
    CHUNKED_TOO_LONG, /* a size goes beyond the limit; none of its chunk has been taken */
    CHUNKED_EXTENSIONS_TOO_LONG,
    CHUNKED_TRAILERS_TOO_LONG,
    CHUNKED_OUT_OF_MEMORY,
};

enum chunked_state {
    CHUNKED_SIZE,      /* digits; none seen yet when `digits` is 0 */
    CHUNKED_EXTENSION, /* to the CR */
    CHUNKED_SIZE_LF,
    CHUNKED_BYTES, /* `left_bytes` to come */
    CHUNKED_BYTES_CR,
    CHUNKED_BYTES_LF,
    CHUNKED_TRAILER, /* lines, to the empty one */
    CHUNKED_ENDED,
};

/* Where in an extension (RFC 9112 section 7.1.1): ;name, ;name=token, ;name="quoted". */
enum chunked_extension {
    EXTENSION_BEGIN, /* behind the semicolon */
    EXTENSION_NAME,
    EXTENSION_EQUALS, /* behind it */
    EXTENSION_TOKEN,
    EXTENSION_QUOTED,
    EXTENSION_ESCAPED, /* behind a backslash */
    EXTENSION_END,     /* behind the closing quote */
};

/* Beyond these a message is refused: its body with 413, its trailers with 431. */
struct chunked_limits {
    uint64_t body_bytes, trailer_line_bytes; /* a line without its CRLF */
    size_t trailer_bytes;                    /* all lines, as they came, the empty one too */
    uint32_t trailer_fields;
};

struct chunked {
    struct chunked_limits limits; /* of the body: what is left of it */
    enum chunked_state state;
    enum chunked_extension extension; /* in CHUNKED_EXTENSION */
    uint8_t digits;
    uint32_t extension_bytes;
    uint32_t trailer_fields;
    uint64_t left_bytes;
    struct buf trailers; /* lines with their CRLF, as far as they have come; owned */
    size_t line_at;      /* of it: where the line in progress begins */
};

void chunked_init(struct chunked *chunked, const struct chunked_limits *limits);
void chunked_fini(struct chunked *chunked);

/* Takes bytes from the front of *input. After anything but CHUNKED_MORE and CHUNKED_DATA it
 * must not be called again. */
WEIR_MUST_USE enum chunked_result chunked_step(struct chunked *chunked, struct weir_str *input,
        struct weir_str *data);

/* After CHUNKED_DONE: takes the next trailer field off *rest, which starts as
 * buf_str(&chunked->trailers). Fields that a trailer must not hold (RFC 9110 section 6.5.1) are
 * left out. False at the end. */
bool chunked_next_trailer(struct weir_str *rest, struct weir_str *name, struct weir_str *value);

#endif
