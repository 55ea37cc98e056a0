/* SPDX-License-Identifier: MIT */
/* The head of a request: its parts, and what its fields mean for framing (RFC 9112 section 6
 * and the table in HTTP.md). Read by head_reader.h. Pure; any thread. */
#ifndef WEIR_HTTP_HEAD_H
#define WEIR_HTTP_HEAD_H

#include <stdint.h>

#include <weir/str.h>

#include "http/field.h"
#include "http/method.h"

/* Why a head was refused: the status that answers it, a counter's label and the log's text. */
// clang-format off
#define HEAD_REFUSALS(X)                                                                          \
    X(REQUEST_LINE_TOO_LONG,  414, "request line longer than limits.request_line")                \
    X(FIELD_TOO_LONG,         431, "field line longer than limits.field")                         \
    X(TOO_MANY_FIELDS,        431, "more fields than limits.fields")                              \
    X(HEAD_TOO_LONG,          431, "head longer than limits.head")                                \
    X(BAD_REQUEST_LINE,       400, "malformed request line")                                      \
    X(BAD_METHOD,             400, "a byte in the method that no method has")                     \
    X(UNKNOWN_METHOD,         501, "unknown method")                                              \
    X(BAD_VERSION,            505, "a version that is not HTTP/1.0 or HTTP/1.1")                  \
    X(BARE_LF,                400, "a line that ends without CR")                                 \
    X(FOLDED_LINE,            400, "a folded field line (RFC 9112 5.2)")                          \
    X(EMPTY_NAME,             400, "a field without a name")                                      \
    X(BAD_FIELD,              400, "malformed field line")                                        \
    X(NO_HOST,                400, "no Host in HTTP/1.1 (RFC 9112 3.2)")                          \
    X(SEVERAL_HOSTS,          400, "more than one Host (RFC 9112 3.2)")                           \
    X(BAD_HOST,               400, "invalid Host (RFC 9112 3.2)")                                 \
    X(BAD_TARGET,             400, "invalid request target (RFC 9112 3.2)")                       \
    X(BAD_LENGTH,             400, "invalid Content-Length (RFC 9112 6.3)")                       \
    X(SEVERAL_LENGTHS,        400, "more than one Content-Length (RFC 9112 6.3)")                 \
    X(LENGTH_AND_ENCODING,    400, "Content-Length with Transfer-Encoding (RFC 9112 6.1)")        \
    X(ENCODING_IN_1_0,        400, "Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)")                \
    X(BAD_ENCODING,           400, "malformed Transfer-Encoding (RFC 9112 6.1)")                  \
    X(UNKNOWN_ENCODING,       501, "a Transfer-Encoding other than chunked (RFC 9112 6.1)")       \
    X(BAD_EXPECT,             417, "an Expect other than 100-continue (RFC 9110 10.1.1)")         \
    X(BAD_CLIENT,             400, "no address where a trusted peer gives the client's")          \
    X(WRONG_SCHEME,           421, "an https target where there is no TLS (RFC 9110 7.4)")        \
    X(TOO_SLOW,               408, "no head within timeouts.head")                                \
    X(OUT_OF_MEMORY,          503, "no memory for the head")
// clang-format on

enum head_refusal {
    HEAD_ACCEPTED,
#define X(name, status, text) HEAD_##name,
    HEAD_REFUSALS(X)
#undef X
};

unsigned head_refusal_status(enum head_refusal refusal);
const char *head_refusal_text(enum head_refusal refusal);
const char *head_refusal_name(enum head_refusal refusal); /* "NO_HOST" */

/* One field line; offsets into head.bytes. */
struct head_field {
    uint32_t name_at, name_len, value_at, value_len;
    enum field_id id;
};

enum head_body {
    HEAD_BODY_NONE,
    HEAD_BODY_LENGTH,  /* body_bytes of them */
    HEAD_BODY_CHUNKED, /* of unknown length: it ends where its transport says */
};

/* A head that was read. Everything it points at lives in the arena it was read into. */
struct head {
    const char *bytes;
    struct head_field *fields; /* in order */
    uint32_t field_count;
    uint32_t target_at, target_len;
    uint32_t method_len; /* the method stands at method_at */
    uint32_t method_at;
    enum method method;
    uint8_t version; /* 10, 11; 20 and up: not HTTP/1 */
    uint8_t minor;   /* HTTP/1.minor: 0 or 1; 1 in later versions */
    enum head_body body;
    bool keep_alive;       /* what the client wants: RFC 9112 9.3 */
    bool expects_continue; /* Expect: 100-continue, HTTP/1.1 only */
    bool wants_trailers;   /* TE: trailers */
    uint64_t body_bytes;
    uint8_t first[FIELD_COUNT]; /* 1 + index of the first field of an id, 255 for a later one
                                   than that can say, 0 when absent */
};

struct weir_str head_method(const struct head *head);
struct weir_str head_target(const struct head *head);
struct weir_str head_field_name(const struct head *head, uint32_t i);
struct weir_str head_field_value(const struct head *head, uint32_t i);

/* The value of the first field of that id; .ptr is NULL when there is none. */
struct weir_str head_find(const struct head *head, enum field_id id);

/* The first field of that name at or after index `from`, ASCII case ignored; field_count when
 * there is none. */
uint32_t head_find_named(const struct head *head, struct weir_str name, uint32_t from);

/* The value of the first cookie of that name, as it was sent (RFC 6265 section 5.4); empty when
 * there is none. */
struct weir_str head_find_cookie(const struct head *head, struct weir_str name);

/* Settles what the fields of a whole head mean for its message's framing and for its
 * connection: body, body_bytes, keep_alive, expects_continue, wants_trailers. Returns
 * HEAD_ACCEPTED, or why the head is refused; the Host is counted, and not looked at. */
WEIR_MUST_USE enum head_refusal head_judge(struct head *head);

#endif
