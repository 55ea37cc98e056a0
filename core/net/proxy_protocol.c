/* SPDX-License-Identifier: MIT */
/* Byte by byte: a header is short, and comes once a connection. */
#include "net/proxy_protocol.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"

/* Of version 2: the signature, version and command, family and protocol, length. */
#define FIXED_BYTES 16u

/* Section 2.2. */
enum {
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    FAMILY_UNSPEC = 0,
    FAMILY_IPV4 = 1,
    FAMILY_IPV6 = 2,
    FAMILY_UNIX = 3,
    PROTOCOL_UNSPEC = 0,
    PROTOCOL_STREAM = 1,
    PROTOCOL_DATAGRAM = 2,
    VECTOR_CRC32C = 3,
};

static const uint8_t signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55,
    0x49, 0x54, 0x0a };
static const char word[] = "PROXY ";

const char *
proxy_fault_text(enum proxy_fault fault)
{
    static const char *const texts[] = { "",
#define X(name, text) text,
        PROXY_FAULTS(X)
#undef X
    };
    return texts[fault];
}

static enum proxy_progress
refuse(enum proxy_fault *fault, enum proxy_fault what)
{
    *fault = what;
    return PROXY_REFUSED;
}

/* ---- version 1 --------------------------------------------------------------------------- */

/* One address and port; sets only what goes into an addr_ip. */
static bool
read_end(int family, struct weir_str ip, struct weir_str port, struct addr_ip *out)
{
    char copy[INET6_ADDRSTRLEN];
    struct addr addr = { .len = 0 };
    uint64_t number;
    if (weir_str_to_path(ip, copy, sizeof(copy)) < 0 ||
            num_parse_u64(port, UINT16_MAX, &number) < 0 ||
            (port.len > 1 && port.ptr[0] == '0')) {
        return false;
    }
    void *to = family == AF_INET ? (void *)&addr.in.sin_addr : (void *)&addr.in6.sin6_addr;
    if (inet_pton(family, copy, to) != 1) {
        return false;
    }
    if (family == AF_INET) {
        addr.in.sin_family = AF_INET;
        addr.in.sin_port = htons((uint16_t)number);
        addr.len = sizeof(addr.in);
    } else {
        addr.in6.sin6_family = AF_INET6;
        addr.in6.sin6_port = htons((uint16_t)number);
        addr.len = sizeof(addr.in6);
    }
    *out = addr_to_ip(&addr);
    return true;
}

/* Up to the next blank, which goes, too. */
static struct weir_str
take_part(struct weir_str *rest)
{
    const char *blank = rest->len == 0 ? NULL : memchr(rest->ptr, ' ', rest->len);
    struct weir_str part = *rest;
    if (blank == NULL) {
        rest->ptr += rest->len;
        rest->len = 0;
        return part;
    }
    part.len = (size_t)(blank - rest->ptr);
    rest->ptr += part.len + 1;
    rest->len -= part.len + 1;
    return part;
}

/* What stands between "PROXY " and CRLF. */
static bool
read_line(struct weir_str line, struct proxy_ends *out)
{
    bool ends_blank = line.len > 0 && line.ptr[line.len - 1] == ' ';
    struct weir_str kind = take_part(&line);
    if (weir_str_eq(kind, WEIR_STR("UNKNOWN"))) {
        return true; /* whatever follows is to be ignored */
    }
    bool is_v4 = weir_str_eq(kind, WEIR_STR("TCP4"));
    if (ends_blank || (!is_v4 && !weir_str_eq(kind, WEIR_STR("TCP6")))) {
        return false;
    }
    struct weir_str source = take_part(&line), destination = take_part(&line);
    struct weir_str source_port = take_part(&line), destination_port = take_part(&line);
    int family = is_v4 ? AF_INET : AF_INET6;
    out->is_told = true;
    return line.len == 0 && read_end(family, source, source_port, &out->source) &&
            read_end(family, destination, destination_port, &out->destination);
}

static enum proxy_progress
take_text(struct proxy_reader *reader, uint8_t byte, enum proxy_fault *fault)
{
    const size_t word_len = sizeof(word) - 1;
    if (reader->taken <= word_len) {
        return byte == (uint8_t)word[reader->taken - 1] ? PROXY_MORE
                                                        : refuse(fault, PROXY_NO_HEADER);
    }
    bool is_behind_cr = reader->bytes[reader->taken - 2] == '\r';
    if (is_behind_cr != (byte == '\n')) {
        return refuse(fault, PROXY_BAD_LINE);
    }
    if (is_behind_cr) {
        struct weir_str line = weir_str_make((const char *)reader->bytes + word_len,
                reader->taken - 2 - word_len);
        return read_line(line, &reader->ends) ? PROXY_DONE : refuse(fault, PROXY_BAD_LINE);
    }
    return reader->taken < PROXY_LINE_BYTES_MAX ? PROXY_MORE : refuse(fault, PROXY_LONG_LINE);
}

/* ---- version 2 --------------------------------------------------------------------------- */

/* Castagnoli's polynomial, the lowest bit first (RFC 4960 appendix B); four bits at a time. */
static uint32_t
add_to_checksum(uint32_t checksum, uint8_t byte)
{
    static const uint32_t table[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
        0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6,
        0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
    checksum ^= byte;
    checksum = checksum >> 4 ^ table[checksum & 15];
    return checksum >> 4 ^ table[checksum & 15];
}

static uint32_t
get_u16(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 8 | bytes[1];
}

/* LOCAL speaks for nobody, whatever its family is; nor does UNSPEC. */
static bool
is_told(const struct proxy_reader *reader)
{
    return (reader->bytes[12] & 15) == COMMAND_PROXY &&
            reader->bytes[13] >> 4 != FAMILY_UNSPEC &&
            (reader->bytes[13] & 15) != PROTOCOL_UNSPEC;
}

static uint32_t
address_bytes(const struct proxy_reader *reader)
{
    static const uint32_t bytes[] = { 0, 2 * 4 + 2 * 2, 2 * 16 + 2 * 2, 2 * 108 };
    return is_told(reader) ? bytes[reader->bytes[13] >> 4] : 0;
}

static struct addr_ip
get_end(const struct proxy_reader *reader, unsigned which)
{
    const uint8_t *at = reader->bytes + FIXED_BYTES;
    struct addr addr = { .len = 0 };
    switch (reader->bytes[13] >> 4) {
    case FAMILY_IPV4:
        addr.in.sin_family = AF_INET;
        memcpy(&addr.in.sin_addr, at + 4 * which, 4);
        memcpy(&addr.in.sin_port, at + 8 + 2 * which, 2);
        addr.len = sizeof(addr.in);
        break;
    case FAMILY_IPV6:
        addr.in6.sin6_family = AF_INET6;
        memcpy(&addr.in6.sin6_addr, at + 16 * which, 16);
        memcpy(&addr.in6.sin6_port, at + 32 + 2 * which, 2);
        addr.len = sizeof(addr.in6);
        break;
    default: /* a Unix socket: of another machine, perhaps, and no name of ours */
        break;
    }
    return addr_to_ip(&addr);
}

static enum proxy_progress
finish(struct proxy_reader *reader, enum proxy_fault *fault)
{
    if (reader->vector_at != 0) {
        return refuse(fault, PROXY_BAD_VECTOR);
    }
    if (reader->has_checksum && reader->said_checksum != ~reader->checksum) {
        return refuse(fault, PROXY_BAD_CHECKSUM);
    }
    reader->ends.is_told = is_told(reader);
    if (reader->ends.is_told) {
        reader->ends.source = get_end(reader, 0);
        reader->ends.destination = get_end(reader, 1);
    }
    return PROXY_DONE;
}

/* Whether the byte may stand here in a vector. Of a checksum *counted is what it is counted as:
 * nothing. */
static bool
take_vector(struct proxy_reader *reader, uint8_t byte, uint8_t *counted)
{
    switch (reader->vector_at++) {
    case 0:
        reader->vector_type = byte;
        return true;
    case 1:
        reader->vector_left = (uint32_t)byte << 8;
        return true;
    case 2:
        reader->vector_left |= byte;
        if (reader->vector_left > reader->whole - reader->taken) {
            return false;
        }
        if (reader->vector_type == VECTOR_CRC32C) {
            /* Which of two would be left out of the sum? */
            if (reader->has_checksum || reader->vector_left != 4) {
                return false;
            }
            reader->has_checksum = true;
        }
        break;
    default:
        reader->vector_left--;
        if (reader->vector_type == VECTOR_CRC32C) {
            reader->said_checksum = reader->said_checksum << 8 | byte;
            *counted = 0;
        }
        break;
    }
    if (reader->vector_left == 0) {
        reader->vector_at = 0;
    }
    return true;
}

/* One of the first 16 bytes; PROXY_GOOD when it may stand there. */
static enum proxy_fault
check_fixed(struct proxy_reader *reader, uint8_t byte)
{
    uint32_t at = reader->taken - 1;
    switch (at) {
    case 12:
        return byte >> 4 != 2                 ? PROXY_BAD_VERSION
                : (byte & 15) > COMMAND_PROXY ? PROXY_BAD_COMMAND
                                              : PROXY_GOOD;
    case 13: {
        bool is_local = (reader->bytes[12] & 15) == COMMAND_LOCAL;
        bool is_assigned = byte >> 4 <= FAMILY_UNIX && (byte & 15) <= PROTOCOL_DATAGRAM;
        return is_local || is_assigned ? PROXY_GOOD : PROXY_BAD_FAMILY;
    }
    case 14:
        return PROXY_GOOD;
    case 15:
        reader->whole = FIXED_BYTES + get_u16(reader->bytes + 14);
        return reader->whole < FIXED_BYTES + address_bytes(reader) ? PROXY_SHORT_ADDRESS
                                                                   : PROXY_GOOD;
    default:
        return byte == signature[at] ? PROXY_GOOD : PROXY_NO_HEADER;
    }
}

static enum proxy_progress
take_binary(struct proxy_reader *reader, uint8_t byte, enum proxy_fault *fault)
{
    uint8_t counted = byte;
    if (reader->taken <= FIXED_BYTES) {
        enum proxy_fault what = check_fixed(reader, byte);
        if (what != PROXY_GOOD) {
            return refuse(fault, what);
        }
    } else if (reader->taken > FIXED_BYTES + address_bytes(reader) && is_told(reader) &&
            !take_vector(reader, byte, &counted)) {
        return refuse(fault, PROXY_BAD_VECTOR);
    }
    reader->checksum = add_to_checksum(reader->taken == 1 ? UINT32_MAX : reader->checksum,
            counted);
    return reader->taken >= FIXED_BYTES && reader->taken == reader->whole
            ? finish(reader, fault)
            : PROXY_MORE;
}

/* ---- both -------------------------------------------------------------------------------- */

enum proxy_progress
proxy_reader_feed(struct proxy_reader *reader, struct weir_str *input, enum proxy_fault *fault)
{
    enum proxy_progress progress = PROXY_MORE;
    while (progress == PROXY_MORE && input->len > 0) {
        uint8_t byte = (uint8_t)*input->ptr;
        if (reader->taken < sizeof(reader->bytes)) {
            reader->bytes[reader->taken] = byte;
        }
        reader->taken++;
        input->ptr++;
        input->len--;
        progress = reader->bytes[0] == signature[0] ? take_binary(reader, byte, fault)
                                                    : take_text(reader, byte, fault);
    }
    return progress;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* As IPv6, into 16 bytes. */
static void
widen(const struct addr_ip *ip, uint8_t *dst)
{
    if (ip->family == AF_INET6) {
        memcpy(dst, ip->bytes, 16);
        return;
    }
    memset(dst, 0, 10);
    memset(dst + 10, 0xff, 2);
    memcpy(dst + 12, ip->bytes, 4);
}

static size_t
format_v1(const struct addr_ip *source, const struct addr_ip *destination, bool is_v4,
        char *dst)
{
    char from[INET6_ADDRSTRLEN] = "", to[INET6_ADDRSTRLEN] = "";
    uint8_t wide[16];
    if (is_v4) {
        inet_ntop(AF_INET, source->bytes, from, sizeof(from));
        inet_ntop(AF_INET, destination->bytes, to, sizeof(to));
    } else {
        widen(source, wide);
        inet_ntop(AF_INET6, wide, from, sizeof(from));
        widen(destination, wide);
        inet_ntop(AF_INET6, wide, to, sizeof(to));
    }
    int len = snprintf(dst, PROXY_HEADER_BYTES_MAX, "PROXY %s %.39s %.39s %u %u\r\n",
            is_v4 ? "TCP4" : "TCP6", from, to, (unsigned)source->port,
            (unsigned)destination->port);
    return len < 0 ? 0 : (size_t)len;
}

static uint8_t *
put_port(uint8_t *at, uint16_t port)
{
    *at++ = (uint8_t)(port >> 8);
    *at++ = (uint8_t)port;
    return at;
}

static size_t
format_v2(const struct addr_ip *source, const struct addr_ip *destination, bool is_v4,
        uint8_t *dst)
{
    size_t width = is_v4 ? 4 : 16;
    memcpy(dst, signature, sizeof(signature));
    dst[12] = 2 << 4 | COMMAND_PROXY;
    dst[13] = (uint8_t)((is_v4 ? FAMILY_IPV4 : FAMILY_IPV6) << 4 | PROTOCOL_STREAM);
    dst[14] = 0;
    dst[15] = (uint8_t)(2 * width + 4);
    uint8_t *at = dst + FIXED_BYTES;
    if (is_v4) {
        memcpy(at, source->bytes, 4);
        memcpy(at + 4, destination->bytes, 4);
    } else {
        widen(source, at);
        widen(destination, at + 16);
    }
    at = put_port(at + 2 * width, source->port);
    at = put_port(at, destination->port);
    return (size_t)(at - dst);
}

/* That nothing is known of the source, or that there is none. */
static size_t
format_nobody(enum proxy_version version, bool is_local, char *dst)
{
    static const char line[] = "PROXY UNKNOWN\r\n";
    if (version == PROXY_V1) {
        memcpy(dst, line, sizeof(line) - 1);
        return sizeof(line) - 1;
    }
    memset(dst, 0, FIXED_BYTES);
    memcpy(dst, signature, sizeof(signature));
    dst[12] = 2 << 4 | (is_local ? COMMAND_LOCAL : COMMAND_PROXY);
    return FIXED_BYTES;
}

size_t
proxy_header_format(enum proxy_version version, const struct addr_ip *source,
        const struct addr_ip *destination, char *dst)
{
    if (version == PROXY_NONE) {
        return 0;
    }
    if (source == NULL || source->family == AF_UNIX) {
        return format_nobody(version, source == NULL, dst);
    }
    /* Where it went is not known: to no address of the same family. */
    struct addr_ip nowhere = { .family = source->family };
    if (destination == NULL || destination->family == AF_UNIX) {
        destination = &nowhere;
    }
    bool is_v4 = source->family == AF_INET && destination->family == AF_INET;
    return version == PROXY_V1 ? format_v1(source, destination, is_v4, dst)
                               : format_v2(source, destination, is_v4, (uint8_t *)dst);
}
