/* SPDX-License-Identifier: MIT */
/* The response side of HTTP/1 (RFC 9112 sections 4 and 6): the head of an answer, what frames
 * its body, and the body itself. As strict as the request side (http/head.h): an answer that
 * two readers could understand differently is refused, since whoever reads on in the same
 * connection might take the rest of it for another answer.
 *
 * The outcome depends on the bytes and never on how they were cut. Pure; any thread. */
#ifndef WEIR_UPSTREAM_ANSWER_H
#define WEIR_UPSTREAM_ANSWER_H

#include <stdint.h>

#include <weir/str.h>

#include "base/arena.h"
#include "http/chunked.h"
#include "http/head.h"
#include "http/parser.h"

/* What a head may take, its lines and their number. */
#define ANSWER_HEAD_BYTES_MAX 65536u
#define ANSWER_FIELDS_MAX     128u

/* What is wrong with an answer. */
// clang-format off
#define ANSWER_FAULTS(X)                                                                     \
    X(BAD_STATUS_LINE,     "a malformed status line")                                        \
    X(BAD_VERSION,         "a version that is not HTTP/1.0 or HTTP/1.1")                     \
    X(BARE_LF,             "a line that ends without CR")                                    \
    X(FOLDED_LINE,         "a folded field line (RFC 9112 5.2)")                             \
    X(BAD_FIELD,           "a malformed field line")                                         \
    X(HEAD_TOO_LARGE,      "a head of more than 64 KiB or 128 fields")                       \
    X(SEVERAL_LENGTHS,     "more than one Content-Length (RFC 9112 6.3)")                    \
    X(BAD_LENGTH,          "an invalid Content-Length (RFC 9112 6.3)")                       \
    X(LENGTH_AND_ENCODING, "Content-Length with Transfer-Encoding (RFC 9112 6.1)")           \
    X(BAD_ENCODING,        "a Transfer-Encoding other than chunked (RFC 9112 6.1)")          \
    X(ENCODING_IN_1_0,     "Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)")                   \
    X(UNWANTED_BODY,       "a body where the status allows none (RFC 9110 6.4.1)")           \
    X(UNASKED_SWITCH,      "101 that nobody asked for (RFC 9110 15.2.2)")                    \
    X(WRONG_SWITCH,        "101, but not to the protocol asked for (RFC 9110 15.2.2)")       \
    X(TOO_MANY_INTERIM,    "more 1xx answers than anybody needs")                            \
    X(BAD_CHUNK,           "a malformed chunk (RFC 9112 7.1)")                               \
    X(TRAILERS_TOO_LARGE,  "trailers of more than 64 KiB or 128 fields")                     \
    X(OUT_OF_MEMORY,       "no memory for it")
// clang-format on

enum answer_fault {
    ANSWER_GOOD,
#define X(name, text) ANSWER_##name,
    ANSWER_FAULTS(X)
#undef X
};

const char *answer_fault_text(enum answer_fault fault);

enum answer_framing {
    ANSWER_NO_BODY, /* to HEAD, 1xx, 204 and 304 */
    ANSWER_LENGTH,
    ANSWER_CHUNKED,
    ANSWER_UNTIL_CLOSE,
};

/* Everything it points at lives in the arena that it was read into. */
struct answer_head {
    const char *bytes;
    struct head_field *fields; /* in order; offsets into `bytes` */
    uint32_t field_count;
    uint16_t status;
    uint8_t minor; /* HTTP/1.minor */
    enum answer_framing framing;
    bool keep_alive;         /* RFC 9112 9.3; never with ANSWER_UNTIL_CLOSE */
    uint32_t keep_alive_s;   /* Keep-Alive: timeout=N; 0: not said */
    uint64_t declared_bytes; /* Content-Length; UINT64_MAX: none. Also of an answer to HEAD */
};

struct weir_str answer_field_name(const struct answer_head *head, uint32_t i);
struct weir_str answer_field_value(const struct answer_head *head, uint32_t i);

/* True for a field between two neighbours (RFC 9110 7.6.1), by its kind or since Connection
 * names it, and for those about framing: not to be passed on. */
bool answer_field_is_hop(const struct answer_head *head, uint32_t i);

/* Reads one head, interim or final. Embedded in its owner. */
struct answer_reader {
    struct arena *arena;      /* borrowed */
    struct answer_head *head; /* borrowed */
    char *bytes;
    uint32_t len, capacity;
    uint32_t scanned, line_at, lines;
    uint32_t field_capacity;
    bool is_to_head; /* it answers HEAD */
    bool is_out_of_memory;
    struct parser parser;
};

void answer_reader_init(struct answer_reader *reader, struct arena *arena, bool is_to_head,
        struct answer_head *head);

enum answer_progress {
    ANSWER_MORE,
    ANSWER_DONE,
    ANSWER_REFUSED
};

/* Takes bytes from the front of *input: all of them with ANSWER_MORE, up to the end of the head
 * with ANSWER_DONE; ANSWER_REFUSED sets *fault. After the last two the reader is used up. */
WEIR_MUST_USE enum answer_progress answer_reader_feed(struct answer_reader *reader,
        struct weir_str *input, enum answer_fault *fault);

/* The body behind a head. Owned by whoever holds it; answer_body_fini(). */
struct answer_body {
    enum answer_framing framing;
    bool is_ended;
    uint64_t left_bytes;
    struct chunked chunked;
};

void answer_body_init(struct answer_body *body, const struct answer_head *head);
void answer_body_fini(struct answer_body *body);

enum answer_body_result {
    ANSWER_BODY_MORE, /* all input taken */
    ANSWER_BODY_DATA, /* *data is the next run of the body, part of the input */
    ANSWER_BODY_DONE, /* it is complete; the rest of the input is not its */
    ANSWER_BODY_REFUSED,
};

/* Takes bytes from the front of *input. */
WEIR_MUST_USE enum answer_body_result answer_body_step(struct answer_body *body,
        struct weir_str *input, struct weir_str *data, enum answer_fault *fault);

/* The connection ended: whether that is the body's end too. */
bool answer_body_ends_so(struct answer_body *body);

#endif
