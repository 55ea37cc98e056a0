/* SPDX-License-Identifier: MIT */
/* Headers of the PROXY protocol: each case whole, byte by byte, and split at every point. */
#include "net/proxy_protocol.h"

#include <stdio.h>

#include "support/unit.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define ENDS4     "\300\0\2\7\306\63\144\1\22\147\1\273" /* 192.0.2.7:4711, 198.51.100.1:443 */
#define TOLD4     "192.0.2.7:4711 198.51.100.1:443"
#define NET6      "\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0"
#define ENDS6     NET6 "\7" NET6 "\10\22\147\1\273"
#define TOLD6     "2001:db8::7:4711 2001:db8::8:443"
#define MAPPED    "\0\0\0\0\0\0\0\0\0\0\377\377"
#define ZERO27    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define UNIX      ZERO27 ZERO27 ZERO27 ZERO27 ZERO27 ZERO27 ZERO27 ZERO27

#define BYTES(literal)               \
    {                                \
        literal, sizeof(literal) - 1 \
    }

struct proxy_case {
    const char *why;
    struct weir_str bytes;
    enum proxy_progress progress;
    enum proxy_fault fault;
    const char *ends; /* "": the socket's own */
};

#define DONE(ends)    PROXY_DONE, PROXY_GOOD, ends
#define MORE          PROXY_MORE, PROXY_GOOD, ""
#define REFUSED(name) PROXY_REFUSED, PROXY_##name, ""

// clang-format off
static const struct proxy_case cases[] = {
    { "IPv4", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"), DONE(TOLD4) },
    { "IPv6", BYTES("PROXY TCP6 2001:db8::7 2001:DB8:0:0::8 4711 443\r\n"), DONE(TOLD6) },
    { "IPv4 in IPv6 is IPv4", BYTES("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c633:6401 4711 443\r\n"),
            DONE(TOLD4) },
    { "no ports", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 0 0\r\n"),
            DONE("192.0.2.7:0 198.51.100.1:0") },
    { "the last port", BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
            DONE("255.255.255.255:65535 255.255.255.255:65535") },
    { "unknown", BYTES("PROXY UNKNOWN\r\n"), DONE("") },
    { "unknown, with what is to be ignored",
            BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
                  " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"), DONE("") },
    { "unknown, with nothing behind the blank", BYTES("PROXY UNKNOWN \r\n"), DONE("") },
    { "one byte too long",
            BYTES("PROXY UNKNOWN fffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
                  " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r"), REFUSED(LONG_LINE) },
    { "no line's end yet", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r"), MORE },
    { "only LF", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n"), REFUSED(BAD_LINE) },
    { "only CR", BYTES("PROXY UNKNOWN\rx"), REFUSED(BAD_LINE) },
    { "two CR", BYTES("PROXY UNKNOWN\r\r"), REFUSED(BAD_LINE) },
    { "nothing", BYTES("PROXY \r\n"), REFUSED(BAD_LINE) },
    { "no protocol of ours", BYTES("PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n"),
            REFUSED(BAD_LINE) },
    { "lower case", BYTES("PROXY tcp4 192.0.2.7 198.51.100.1 4711 443\r\n"), REFUSED(BAD_LINE) },
    { "unknown and more", BYTES("PROXY UNKNOWNS\r\n"), REFUSED(BAD_LINE) },
    { "a port too few", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n"), REFUSED(BAD_LINE) },
    { "a word too many", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 x\r\n"),
            REFUSED(BAD_LINE) },
    { "a blank at the end", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 \r\n"),
            REFUSED(BAD_LINE) },
    { "two blanks", BYTES("PROXY TCP4  192.0.2.7 198.51.100.1 4711 443\r\n"), REFUSED(BAD_LINE) },
    { "a tab", BYTES("PROXY TCP4\t192.0.2.7 198.51.100.1 4711 443\r\n"), REFUSED(BAD_LINE) },
    { "a zero in front", BYTES("PROXY TCP4 192.0.2.07 198.51.100.1 4711 443\r\n"),
            REFUSED(BAD_LINE) },
    { "a zero in front of a port", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 04711 443\r\n"),
            REFUSED(BAD_LINE) },
    { "a port that is none", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n"),
            REFUSED(BAD_LINE) },
    { "a sign", BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 +471 443\r\n"), REFUSED(BAD_LINE) },
    { "IPv6 as IPv4", BYTES("PROXY TCP4 2001:db8::7 2001:db8::8 4711 443\r\n"),
            REFUSED(BAD_LINE) },
    { "IPv4 as IPv6", BYTES("PROXY TCP6 192.0.2.7 198.51.100.1 4711 443\r\n"),
            REFUSED(BAD_LINE) },
    { "one of each", BYTES("PROXY TCP4 192.0.2.7 2001:db8::8 4711 443\r\n"), REFUSED(BAD_LINE) },
    { "a zone", BYTES("PROXY TCP6 fe80::1%lo ::1 4711 443\r\n"), REFUSED(BAD_LINE) },
    { "three parts", BYTES("PROXY TCP4 192.0.7 198.51.100.1 4711 443\r\n"), REFUSED(BAD_LINE) },
    { "a NUL", BYTES("PROXY TCP4 192.0.2.7\0 198.51.100.1 4711 443\r\n"), REFUSED(BAD_LINE) },
    { "HTTP", BYTES("GET / HTTP/1.1\r\n"), REFUSED(NO_HEADER) },
    { "a method that begins like it", BYTES("PROPFIND / HTTP/1.1\r\n"), REFUSED(NO_HEADER) },
    { "no blank", BYTES("PROXYTCP4"), REFUSED(NO_HEADER) },
    { "TLS", BYTES("\26\3\1"), REFUSED(NO_HEADER) },
    { "an empty line", BYTES("\r\nGET"), REFUSED(NO_HEADER) },

    { "local", BYTES(SIGNATURE "\40\0\0\0"), DONE("") },
    { "local, with addresses to be skipped", BYTES(SIGNATURE "\40\21\0\14" ENDS4), DONE("") },
    { "local, of a family that is none", BYTES(SIGNATURE "\40\377\0\1x"), DONE("") },
    { "binary IPv4", BYTES(SIGNATURE "\41\21\0\14" ENDS4), DONE(TOLD4) },
    { "a datagram's ends", BYTES(SIGNATURE "\41\22\0\14" ENDS4), DONE(TOLD4) },
    { "binary IPv6", BYTES(SIGNATURE "\41\41\0\44" ENDS6), DONE(TOLD6) },
    { "binary IPv4 in IPv6", BYTES(SIGNATURE "\41\41\0\44" MAPPED "\300\0\2\7" MAPPED
            "\306\63\144\1\22\147\1\273"), DONE(TOLD4) },
    { "a Unix socket's", BYTES(SIGNATURE "\41\61\0\330" UNIX), DONE(":0 :0") },
    { "unspecified", BYTES(SIGNATURE "\41\0\0\3abc"), DONE("") },
    { "a family without a protocol", BYTES(SIGNATURE "\41\20\0\1x"), DONE("") },
    { "vectors", BYTES(SIGNATURE "\41\21\0\32" ENDS4 "\2\0\5a.com" "\4\0\0" "\5\0\0"),
            DONE(TOLD4) },
    { "a checksum", BYTES(SIGNATURE "\41\21\0\33" ENDS4 "\3\0\4\317\260\276\52" "\2\0\5a.com"),
            DONE(TOLD4) },
    { "another's checksum",
            BYTES(SIGNATURE "\41\21\0\33" ENDS4 "\3\0\4\317\260\276\53" "\2\0\5a.com"),
            REFUSED(BAD_CHECKSUM) },
    { "a checksum of other bytes",
            BYTES(SIGNATURE "\41\21\0\33" ENDS4 "\3\0\4\317\260\276\52" "\2\0\5b.com"),
            REFUSED(BAD_CHECKSUM) },
    { "a checksum of three bytes", BYTES(SIGNATURE "\41\21\0\22" ENDS4 "\3\0\3abc"),
            REFUSED(BAD_VECTOR) },
    { "two checksums", BYTES(SIGNATURE "\41\21\0\32" ENDS4 "\3\0\4abcd\3\0\4abcd"),
            REFUSED(BAD_VECTOR) },
    { "a vector that is longer than all", BYTES(SIGNATURE "\41\21\0\20" ENDS4 "\2\0\2a"),
            REFUSED(BAD_VECTOR) },
    { "the beginning of a vector", BYTES(SIGNATURE "\41\21\0\16" ENDS4 "\2\0"),
            REFUSED(BAD_VECTOR) },
    { "not all of it", BYTES(SIGNATURE "\41\21\0\15" ENDS4), MORE },
    { "the signature alone", BYTES(SIGNATURE), MORE },
    { "another signature", BYTES("\r\n\r\n\0\r\nQUIT\r"), REFUSED(NO_HEADER) },
    { "version 1 in binary", BYTES(SIGNATURE "\21"), REFUSED(BAD_VERSION) },
    { "version 3", BYTES(SIGNATURE "\61"), REFUSED(BAD_VERSION) },
    { "a command that is none", BYTES(SIGNATURE "\42"), REFUSED(BAD_COMMAND) },
    { "a family that is none", BYTES(SIGNATURE "\41\101"), REFUSED(BAD_FAMILY) },
    { "a protocol that is none", BYTES(SIGNATURE "\41\23"), REFUSED(BAD_FAMILY) },
    { "no room for IPv4", BYTES(SIGNATURE "\41\21\0\13"), REFUSED(SHORT_ADDRESS) },
    { "no room for IPv6", BYTES(SIGNATURE "\41\41\0\14"), REFUSED(SHORT_ADDRESS) },
    { "no room for a path", BYTES(SIGNATURE "\41\61\0\44"), REFUSED(SHORT_ADDRESS) },
};
// clang-format on

#define CASES (sizeof(cases) / sizeof(cases[0]))

static void
ends_text(const struct proxy_ends *ends, char *dst, size_t bytes)
{
    char source[ADDR_TEXT_BYTES] = "", destination[ADDR_TEXT_BYTES] = "";
    dst[0] = '\0';
    if (ends->is_told) {
        addr_ip_format(&ends->source, source);
        addr_ip_format(&ends->destination, destination);
        snprintf(dst, bytes, "%.64s:%u %.64s:%u", source, ends->source.port, destination,
                ends->destination.port);
    }
}

/* `surplus` bytes behind it are none of its. */
static void
check_outcome(const struct proxy_case *c, struct weir_str first, struct weir_str second,
        size_t surplus)
{
    struct proxy_reader reader = { .taken = 0 };
    enum proxy_fault fault = PROXY_GOOD;
    enum proxy_progress progress = proxy_reader_feed(&reader, &first, &fault);
    struct weir_str *left = &first;
    if (progress == PROXY_MORE) {
        progress = proxy_reader_feed(&reader, &second, &fault);
        left = &second;
    }
    char text[2 * ADDR_TEXT_BYTES] = "";
    ends_text(&reader.ends, text, sizeof(text));
    ck_assert_msg(progress == c->progress && fault == c->fault, "%s: %d, \"%s\"", c->why,
            progress, proxy_fault_text(fault));
    if (progress == PROXY_DONE) {
        ck_assert_msg(strcmp(text, c->ends) == 0, "%s: %s", c->why, text);
        ck_assert_msg(left->len == surplus, "%s: %zu bytes are left", c->why, left->len);
    }
}

START_TEST(reads_exactly_what_is_a_header_however_it_is_cut)
{
    const struct proxy_case *c = &cases[_i];
    for (size_t at = 0; at <= c->bytes.len; at++) {
        check_outcome(c, weir_str_make(c->bytes.ptr, at),
                weir_str_make(c->bytes.ptr + at, c->bytes.len - at), 0);
    }
    struct proxy_reader reader = { .taken = 0 };
    enum proxy_fault fault = PROXY_GOOD;
    enum proxy_progress progress = PROXY_MORE;
    for (size_t at = 0; at < c->bytes.len && progress == PROXY_MORE; at++) {
        struct weir_str byte = weir_str_make(c->bytes.ptr + at, 1);
        progress = proxy_reader_feed(&reader, &byte, &fault);
    }
    ck_assert_msg(progress == c->progress && fault == c->fault, "%s, byte by byte", c->why);
}
END_TEST

START_TEST(leaves_what_follows_the_header)
{
    const struct proxy_case *c = &cases[_i];
    char bytes[512];
    ck_assert_uint_le(c->bytes.len + 3, sizeof(bytes));
    memcpy(bytes, c->bytes.ptr, c->bytes.len);
    memcpy(bytes + c->bytes.len, "GET", 3);
    if (c->progress == PROXY_DONE) {
        check_outcome(c, weir_str_make(bytes, c->bytes.len + 3), weir_str_make("", 0), 3);
    }
}
END_TEST

START_TEST(skips_the_longest_header_and_keeps_little_of_it)
{
    static const char head[] = SIGNATURE "\40\0\377\377";
    struct proxy_reader reader = { .taken = 0 };
    enum proxy_fault fault = PROXY_GOOD;
    struct weir_str input = weir_str_make(head, sizeof(head) - 1);
    ck_assert_int_eq(proxy_reader_feed(&reader, &input, &fault), PROXY_MORE);
    for (unsigned i = 1; i <= 65535; i++) {
        input = weir_str_make("x", 1);
        ck_assert_int_eq(proxy_reader_feed(&reader, &input, &fault),
                i < 65535 ? PROXY_MORE : PROXY_DONE);
    }
    ck_assert_uint_le(sizeof(reader), 384);
}
END_TEST

static const struct {
    const char *why;
    enum proxy_version version;
    const char *source, *destination; /* NULL: none; "": a Unix socket's */
    struct weir_str bytes;
} written[] = {
    { "a line", PROXY_V1, "192.0.2.7:4711", "198.51.100.1:443",
            BYTES("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n") },
    { "a line of IPv6", PROXY_V1, "[2001:db8::7]:4711", "[2001:db8::8]:443",
            BYTES("PROXY TCP6 2001:db8::7 2001:db8::8 4711 443\r\n") },
    { "a line of both", PROXY_V1, "192.0.2.7:4711", "[2001:db8::8]:443",
            BYTES("PROXY TCP6 ::ffff:192.0.2.7 2001:db8::8 4711 443\r\n") },
    { "a line of nobody", PROXY_V1, NULL, NULL, BYTES("PROXY UNKNOWN\r\n") },
    { "a line of who came over a Unix socket", PROXY_V1, "", "", BYTES("PROXY UNKNOWN\r\n") },
    { "a line to nowhere", PROXY_V1, "192.0.2.7:4711", "",
            BYTES("PROXY TCP4 192.0.2.7 0.0.0.0 4711 0\r\n") },
    { "binary", PROXY_V2, "192.0.2.7:4711", "198.51.100.1:443",
            BYTES(SIGNATURE "\41\21\0\14" ENDS4) },
    { "binary IPv6", PROXY_V2, "[2001:db8::7]:4711", "[2001:db8::8]:443",
            BYTES(SIGNATURE "\41\41\0\44" ENDS6) },
    { "binary of both", PROXY_V2, "[2001:db8::7]:4711", "198.51.100.1:443",
            BYTES(SIGNATURE "\41\41\0\44" NET6 "\7" MAPPED "\306\63\144\1\22\147\1\273") },
    { "binary of nobody", PROXY_V2, NULL, NULL, BYTES(SIGNATURE "\40\0\0\0") },
    { "binary of who came over a Unix socket", PROXY_V2, "", "", BYTES(SIGNATURE "\41\0\0\0") },
    { "none", PROXY_NONE, "192.0.2.7:4711", "198.51.100.1:443", BYTES("") },
};

static const struct addr_ip *
end_of(const char *text, struct addr_ip *memory)
{
    *memory = (struct addr_ip){ .family = AF_UNIX };
    if (text != NULL && text[0] != '\0') {
        ck_assert_int_eq(addr_ip_parse(weir_str_from(text), memory), 0);
    }
    return text == NULL ? NULL : memory;
}

START_TEST(writes_headers)
{
    struct addr_ip source, destination;
    char bytes[PROXY_HEADER_BYTES_MAX];
    size_t len = proxy_header_format(written[_i].version, end_of(written[_i].source, &source),
            end_of(written[_i].destination, &destination), bytes);
    ck_assert_msg(weir_str_eq(weir_str_make(bytes, len), written[_i].bytes), "%s: \"%.*s\"",
            written[_i].why, (int)len, bytes);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, reads_exactly_what_is_a_header_however_it_is_cut, 0, CASES);
    tcase_add_loop_test(tests, leaves_what_follows_the_header, 0, CASES);
    tcase_add_test(tests, skips_the_longest_header_and_keeps_little_of_it);
    tcase_add_loop_test(tests, writes_headers, 0, sizeof(written) / sizeof(written[0]));
}

UNIT_MAIN("net/proxy_protocol", add_tests)
