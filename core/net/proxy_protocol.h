/* SPDX-License-Identifier: MIT */
/* The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): what a proxy that knows
 * nothing of HTTP says first on a connection, so that whoever it connects to learns for whom.
 *
 * As the text demands, nothing is guessed or repaired: what is not exactly a header is refused.
 * The outcome depends on the bytes and never on how they were cut. Pure; any thread. */
#ifndef WEIR_NET_PROXY_PROTOCOL_H
#define WEIR_NET_PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/str.h>

#include "net/addr.h"

/* A line of version 1, its CRLF included (section 2.1). */
#define PROXY_LINE_BYTES_MAX 107u

/* What is wrong with a header. */
// clang-format off
#define PROXY_FAULTS(X)                                                         \
    X(NO_HEADER,     "it begins with something else")                           \
    X(BAD_LINE,      "a malformed line of version 1")                           \
    X(LONG_LINE,     "a line of more than 107 bytes")                           \
    X(BAD_VERSION,   "a version that is neither 1 nor 2")                       \
    X(BAD_COMMAND,   "a command that is neither LOCAL nor PROXY")               \
    X(BAD_FAMILY,    "an address family or a protocol that is not assigned")    \
    X(SHORT_ADDRESS, "less room than its addresses need")                       \
    X(BAD_VECTOR,    "a vector (TLV) that does not fit")                        \
    X(BAD_CHECKSUM,  "a checksum that is not its own")
// clang-format on

enum proxy_fault {
    PROXY_GOOD,
#define X(name, text) PROXY_##name,
    PROXY_FAULTS(X)
#undef X
};

const char *proxy_fault_text(enum proxy_fault fault);

/* The two ends of the connection that is spoken for. */
struct proxy_ends {
    bool is_told; /* false (LOCAL, UNKNOWN, UNSPEC): the socket's own ends are meant */
    struct addr_ip source, destination; /* AF_UNIX: somebody on another machine's Unix socket */
};

/* Reads one header. Embedded in its owner; begins as all zero. Of a version 2 header, which may
 * have 64 KiB, no more than the addresses is kept. */
struct proxy_reader {
    struct proxy_ends ends; /* when it is done */
    uint32_t taken;         /* bytes */
    uint32_t whole;         /* bytes that a header of version 2 has; 0: not known yet */
    uint32_t checksum;      /* CRC32c so far */
    uint32_t said_checksum;
    uint32_t vector_at;   /* bytes of the vector at hand; 0: one may begin */
    uint32_t vector_left; /* of its value */
    uint8_t vector_type;
    bool has_checksum;
    uint8_t bytes[16 + 2 * 108]; /* the line; or the fixed part, and the addresses */
};

enum proxy_progress {
    PROXY_MORE,
    PROXY_DONE,
    PROXY_REFUSED,
};

/* Takes bytes from the front of *input: all of them with PROXY_MORE, up to the end of the
 * header with PROXY_DONE; PROXY_REFUSED sets *fault. After the last two the reader is used up.
 */
WEIR_MUST_USE enum proxy_progress proxy_reader_feed(struct proxy_reader *reader,
        struct weir_str *input, enum proxy_fault *fault);

/* Which version is written. */
enum proxy_version {
    PROXY_NONE, /* nothing is */
    PROXY_V1,
    PROXY_V2,
};

#define PROXY_HEADER_BYTES_MAX 108u

/* Writes the header that speaks for `source`, whose connection went to `destination`, into
 * PROXY_HEADER_BYTES_MAX bytes. `source` NULL: nobody is spoken for (a health check). Where the
 * two are of different families, IPv4 is written as IPv6; where the source is on a Unix socket,
 * that nothing is known of it (UNKNOWN, UNSPEC). Returns how many bytes. */
size_t proxy_header_format(enum proxy_version version, const struct addr_ip *source,
        const struct addr_ip *destination, char *dst);

#endif
