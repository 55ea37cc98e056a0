/* SPDX-License-Identifier: MIT */
/* HTTP/1 on memory streams: every row of HTTP.md about requests, framing and connections, sent
 * whole, byte by byte, and split in two at every point, with the same outcome each time. */
#include "http/h1.h"

#include <stdio.h>

#include "support/rig.h"
#include "support/unit.h"

/* What a connection that was sent `bytes` (and then the client's FIN, if `ends`) answered. */
struct outcome {
    unsigned statuses[40];
    unsigned count;
    bool has_closed, was_reset, is_malformed;
    size_t body_bytes;
};

#define CRLF "\r\n"
#define GET  "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"

/* A request with a body in chunks, which follow. */
#define CHUNKS(target) \
    "POST " target " HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF

#define POST(fields) "POST /sink HTTP/1.1" CRLF "Host: a" CRLF fields CRLF

static void
read_outcome(struct rig *rig, struct outcome *out)
{
    memset(out, 0, sizeof(*out));
    struct weir_str rest = rig_received(rig);
    struct rig_answer answer;
    while (rest.len > 0) {
        if (!rig_next_answer(&rest, false, &answer) || !answer.is_complete) {
            out->is_malformed = true;
            break;
        }
        ck_assert_uint_lt(out->count, 40);
        out->statuses[out->count++] = answer.status;
        out->body_bytes += answer.body.len;
    }
    out->has_closed = rig->stream.is_closed || rig->stream.is_shut_down;
    out->was_reset = rig->stream.was_reset;
}

static const struct {
    const char *why, *bytes;
    const char *statuses; /* in order, spaces between; those of the answers */
    bool closes;
} cases[] = {
    { "an ordinary request is answered and kept (RFC 9112 9.3)", GET, "200", false },
    { "HTTP/1.0 closes", "GET /hello HTTP/1.0" CRLF CRLF, "200", true },
    { "HTTP/1.0 may ask to be kept",
            "GET /hello HTTP/1.0" CRLF "Connection: keep-alive" CRLF CRLF, "200", false },
    { "Connection: close closes",
            "GET /hello HTTP/1.1" CRLF "Host: a" CRLF "Connection: foo, Close" CRLF CRLF, "200",
            true },
    { "a token that only contains close does not (RIVALS 1.1)",
            "GET /hello HTTP/1.1" CRLF "Host: a" CRLF "Connection: x-close-foo" CRLF CRLF,
            "200", false },
    { "three pipelined requests, three answers (F40)", GET GET GET, "200 200 200", false },
    { "an empty line before the request is ignored (RFC 9112 2.2)", CRLF GET, "200", false },
    { "after Connection: close the rest is discarded (RFC 9112 9.6)",
            "GET /hello HTTP/1.1" CRLF "Host: a" CRLF "Connection: close" CRLF CRLF GET, "200",
            true },
    { "an absolute target, whose authority wins",
            "GET http://b.example/hello HTTP/1.1" CRLF "Host: a" CRLF CRLF, "200", false },
    { "OPTIONS * (RFC 9110 9.3.7)", "OPTIONS * HTTP/1.1" CRLF "Host: a" CRLF CRLF GET,
            "204 200", false },
    { "in absolute form (RFC 9112 3.2.4)",
            "OPTIONS http://a HTTP/1.1" CRLF "Host: a" CRLF CRLF GET, "204 200", false },
    { "and with a body that nobody reads",
            "OPTIONS * HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 5" CRLF CRLF "hello" GET,
            "204 200", false },

    { "HTTP/1.0 with a Host is as good", "GET /hello HTTP/1.0" CRLF "Host: a" CRLF CRLF, "200",
            true },
    { "close on the second of two lines closes",
            "GET /hello HTTP/1.1" CRLF "Host: a" CRLF "Connection: keep-alive" CRLF
            "Connection: close" CRLF CRLF,
            "200", true },
    { "an empty body of known length", POST("Content-Length: 0" CRLF) GET, "200 200", false },
    { "a body of a GET is no request",
            "GET /hello HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 32" CRLF CRLF GET GET,
            "200 200", false },

    /* Heads */
    { "a Host with userinfo", "GET / HTTP/1.1" CRLF "Host: u@a" CRLF CRLF, "400", true },
    { "a Host whose port is none", "GET / HTTP/1.1" CRLF "Host: a:b" CRLF CRLF, "400", true },
    { "no Host also beside an absolute target", "GET http://a/ HTTP/1.1" CRLF CRLF, "400",
            true },
    { "another scheme", "GET ftp://a/ HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "a target without its slash", "GET hello HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400",
            true },
    { "above the root, encoded", "GET /%2e%2E/etc HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400",
            true },
    { "HTTP/1.10", "GET / HTTP/1.10" CRLF "Host: a" CRLF CRLF, "400", true },
    { "a space before the method", " GET / HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "an HTTP/2 preface", "PRI * HTTP/2.0" CRLF CRLF "SM" CRLF CRLF, "505", true },
    { "no Host", "GET / HTTP/1.1" CRLF CRLF, "400", true },
    { "two Hosts", "GET / HTTP/1.1" CRLF "Host: a" CRLF "Host: a" CRLF CRLF, "400", true },
    { "an invalid Host", "GET / HTTP/1.1" CRLF "Host: a/b" CRLF CRLF, "400", true },
    { "an empty Host", "GET / HTTP/1.1" CRLF "Host:" CRLF CRLF, "400", true },
    { "two Hosts also beside an absolute target",
            "GET http://a/ HTTP/1.1" CRLF "Host: a" CRLF "Host: b" CRLF CRLF, "400", true },
    { "HTTP/0.9", "GET /" CRLF, "400", true },
    { "a version nobody speaks", "GET / HTTP/2.0" CRLF "Host: a" CRLF CRLF, "505", true },
    { "HTTP/1.2", "GET / HTTP/1.2" CRLF "Host: a" CRLF CRLF, "505", true },
    { "a lower-case version", "GET / http/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "an ICE start line", "SOURCE / ICE/1.0" CRLF CRLF, "400", true },
    { "an RTSP start line", "OPTIONS / RTSP/1.0" CRLF CRLF, "400", true },
    { "an unknown method", "BREW / HTTP/1.1" CRLF "Host: a" CRLF CRLF, "501", true },
    { "a method in lower case", "get / HTTP/1.1" CRLF "Host: a" CRLF CRLF, "501", true },
    { "a byte that no method has", "GE{T / HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "a TLS handshake", "\x16\x03\x01\x02", "400", true },
    { "two spaces in the start line", "GET  / HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "a space behind the version", "GET / HTTP/1.1 " CRLF "Host: a" CRLF CRLF, "400", true },
    { "a tab in the start line", "GET\t/ HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "a fragment", "GET /a#b HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "a malformed escape", "GET /%zz HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "%00", "GET /%00 HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "above the root", "GET /../etc HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "raw UTF-8", "GET /\xc3\xa4 HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "* with GET", "GET * HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "userinfo", "GET http://u@a/ HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400", true },
    { "an empty host in the target", "GET http:///x HTTP/1.1" CRLF "Host: a" CRLF CRLF, "400",
            true },
    { "a space before the colon", "GET / HTTP/1.1" CRLF "Host : a" CRLF CRLF, "400", true },
    { "an empty field name", "GET / HTTP/1.1" CRLF "Host: a" CRLF ": y" CRLF CRLF, "400",
            true },
    { "a line without a colon", "GET / HTTP/1.1" CRLF "Host: a" CRLF "oops" CRLF CRLF, "400",
            true },
    { "a folded line (RFC 9112 5.2)",
            "GET / HTTP/1.1" CRLF "Host: a" CRLF "X: a" CRLF " b" CRLF CRLF, "400", true },
    { "a folded line with a tab",
            "GET / HTTP/1.1" CRLF "Host: a" CRLF "X: a" CRLF "\tb" CRLF CRLF, "400", true },
    { "folding that hides a coding",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding:" CRLF
            " chunked" CRLF CRLF "0" CRLF CRLF,
            "400", true },
    { "a space before the first field", "GET / HTTP/1.1" CRLF " Host: a" CRLF CRLF, "400",
            true },
    { "bare LF", "GET / HTTP/1.1\nHost: a\n\n", "400", true },
    { "bare LF at one line", "GET / HTTP/1.1" CRLF "Host: a\n" CRLF, "400", true },
    { "CVE-2023-30589",
            "GET / HTTP/1.1" CRLF "Host: a" CRLF "X: \rTransfer-Encoding: chunked" CRLF CRLF,
            "400", true },
    { "CVE-2025-23167", "GET / HTTP/1.1" CRLF "Host: a" CRLF "\rXGET / HTTP/1.1" CRLF CRLF,
            "400", true },
    { "a control byte in a value", "GET / HTTP/1.1" CRLF "Host: a" CRLF "X: a\001b" CRLF CRLF,
            "400", true },
    { "a tab in a value is a space (RFC 9110 5.5)",
            "GET /hello HTTP/1.1" CRLF "Host: a" CRLF "X: a\tb" CRLF CRLF, "200", false },
    { "a byte above 127 in a value is opaque (RFC 9110 5.5)",
            "GET /hello HTTP/1.1" CRLF "Host: a" CRLF "X: \xe4" CRLF CRLF, "200", false },
    { "an Expect nobody knows", "GET / HTTP/1.1" CRLF "Host: a" CRLF "Expect: tea" CRLF CRLF,
            "417", true },

    /* Framing */
    { "both lengths, the other way round",
            POST("Transfer-Encoding: chunked" CRLF "Content-Length: 5" CRLF) "0" CRLF CRLF,
            "400", true },
    { "1.0", POST("Content-Length: 1.0" CRLF) "x", "400", true },
    { "1_0", POST("Content-Length: 1_0" CRLF) "x", "400", true },
    { "a digit of another alphabet", POST("Content-Length: \xb2" CRLF) "x", "400", true },
    { "identity", POST("Transfer-Encoding: identity" CRLF), "501", true },
    { "no coding", POST("Transfer-Encoding:" CRLF) "0" CRLF CRLF, "400", true },
    { "a coding with a parameter", POST("Transfer-Encoding: chunked;a=b" CRLF) "0" CRLF CRLF,
            "501", true },
    { "a coding behind a control byte",
            POST("Transfer-Encoding: \x0b"
                 "chunked" CRLF) "0" CRLF CRLF,
            "400", true },
    { "a name that only looks like it", POST("Transfer_Encoding: chunked" CRLF) GET, "200 200",
            false },
    { "sizes in either case, and with zeros before them",
            CHUNKS("/sink") "0a" CRLF "0123456789" CRLF "000000000000000A" CRLF
                            "0123456789" CRLF "000" CRLF CRLF GET,
            "200 200", false },
    { "an empty line before the first size", CHUNKS("/sink") CRLF "0" CRLF CRLF, "400", true },
    { "a sign", CHUNKS("/sink") "+1" CRLF "a" CRLF "0" CRLF CRLF, "400", true },
    { "a space before a size", CHUNKS("/sink") " 1" CRLF "a" CRLF "0" CRLF CRLF, "400", true },
    { "a chunk that ends with LF", CHUNKS("/sink") "1" CRLF "a\n0" CRLF CRLF, "400", true },
    { "the last chunk ends with LF", CHUNKS("/sink") "0\n\n", "400", true },
    { "and the end", CHUNKS("/sink") "0" CRLF "\n", "400", true },
    { "a folded trailer", CHUNKS("/sink") "0" CRLF "X: y" CRLF " z" CRLF CRLF, "400", true },
    { "a trailer with a space before its colon", CHUNKS("/sink") "0" CRLF "X : y" CRLF CRLF,
            "400", true },
    { "a trailer that ends with LF", CHUNKS("/sink") "0" CRLF "X: y\n" CRLF, "400", true },
    { "both lengths (RFC 9112 6.1)",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 5" CRLF
            "Transfer-Encoding: chunked" CRLF CRLF "0" CRLF CRLF,
            "400", true },
    { "two lengths",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 5" CRLF
            "Content-Length: 6" CRLF CRLF "hello",
            "400", true },
    { "two lengths that agree",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 5" CRLF
            "Content-Length: 5" CRLF CRLF "hello",
            "400", true },
    { "a list of lengths",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 5, 5" CRLF CRLF "hello",
            "400", true },
    { "+1", "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: +1" CRLF CRLF "x", "400",
            true },
    { "-1", "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: -1" CRLF CRLF, "400",
            true },
    { "0x1", "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 0x1" CRLF CRLF "x",
            "400", true },
    { "1 2", "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 1 2" CRLF CRLF "x",
            "400", true },
    { "an empty length", "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length:" CRLF CRLF,
            "400", true },
    { "a length past 64 bits",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF
            "Content-Length: 18446744073709551616" CRLF CRLF,
            "400", true },
    { "the longest length is above the limit",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF
            "Content-Length: 18446744073709551615" CRLF CRLF,
            "413", true },
    { "Transfer-Encoding in HTTP/1.0",
            "POST /sink HTTP/1.0" CRLF "Transfer-Encoding: chunked" CRLF CRLF "0" CRLF CRLF,
            "400", true },
    { "gzip, chunked",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF
            "Transfer-Encoding: gzip, chunked" CRLF CRLF "0" CRLF CRLF,
            "501", true },
    { "codings over two lines",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: gzip" CRLF
            "Transfer-Encoding: chunked" CRLF CRLF "0" CRLF CRLF,
            "501", true },
    { "chunked twice",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF
            "Transfer-Encoding: chunked, chunked" CRLF CRLF "0" CRLF CRLF,
            "400", true },
    { "chunked in the wrong place",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF
            "Transfer-Encoding: chunked, gzip" CRLF CRLF "0" CRLF CRLF,
            "400", true },
    { "a coding that only looks like it",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: xchunked" CRLF CRLF
            "0" CRLF CRLF,
            "501", true },
    { "a body of known length, and the next request",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 5" CRLF CRLF "hello" GET,
            "200 200", false },
    { "a chunked body, and the next request",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "3" CRLF "abc" CRLF "A;x=y" CRLF "0123456789" CRLF "0" CRLF "X-T: 1" CRLF CRLF GET,
            "200 200", false },
    { "a chunk without its CRLF",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "3" CRLF "abcde" CRLF "0" CRLF CRLF,
            "400", true },
    { "a chunk size of 17 digits",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "00000000000000001" CRLF "a" CRLF "0" CRLF CRLF,
            "400", true },
    { "a chunk size that is no number",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "0x1" CRLF "a" CRLF "0" CRLF CRLF,
            "400", true },
    { "a chunk size with a space",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "1 " CRLF "a" CRLF "0" CRLF CRLF,
            "400", true },
    { "a chunk line that ends with LF",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "1\na" CRLF "0" CRLF CRLF,
            "400", true },
    { "a chunk above the limit", CHUNKS("/sink") "100001" CRLF "a", "413", true },
    { "the hugest that there is", CHUNKS("/sink") "FFFFFFFFFFFFFFFF" CRLF "a" GET, "413",
            true },
    { "one above any signed number", CHUNKS("/ignore") "7fffffffffffffff" CRLF "a", "413",
            true },
    { "one past 64 bits", CHUNKS("/sink") "10000000000000000" CRLF "a", "400", true },
    { "chunks that nobody reads are held to the limit", CHUNKS("/ignore") "100001" CRLF "a",
            "413", true },
    { "a bare CR in an extension",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "1;\rx" CRLF "a" CRLF "0" CRLF CRLF,
            "400", true },
    { "a malformed trailer",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "0" CRLF "oops" CRLF CRLF,
            "400", true },
    { "framing fields in trailers change nothing",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "0" CRLF "Content-Length: 50" CRLF "Host: b" CRLF CRLF GET,
            "200 200", false },
    { "a body that the handler does not read",
            "POST /ignore HTTP/1.1" CRLF "Host: a" CRLF "Content-Length: 5" CRLF CRLF
            "hello" GET,
            "200 200", false },
    { "a chunked body that nobody reads is read to its end (F43)",
            "POST /ignore HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "5" CRLF "hello" CRLF "0" CRLF "X: y" CRLF CRLF GET,
            "200 200", false },
    { "one that is malformed is refused though nobody reads it (F37, F38)",
            "POST /ignore HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "5" CRLF "helloX" CRLF "0" CRLF CRLF GET,
            "400", true },
    { "so are malformed trailers",
            "POST /ignore HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "0" CRLF "oops" CRLF CRLF GET,
            "400", true },
    { "a refusal does not wait for the body",
            "POST /status/403 HTTP/1.1" CRLF "Host: a" CRLF
            "Transfer-Encoding: chunked" CRLF CRLF "5" CRLF "hello" CRLF "0" CRLF CRLF GET,
            "403", true },
    { "nor does an answer to a client that waits for 100 Continue (F39)",
            "POST /ignore HTTP/1.1" CRLF "Host: a" CRLF "Expect: 100-continue" CRLF
            "Transfer-Encoding: chunked" CRLF CRLF,
            "200", true },
    { "nothing after an error is interpreted", "GET / HTTP/1.1" CRLF CRLF GET, "400", true },
    { "CONNECT is no tunnel", "CONNECT a:80 HTTP/1.1" CRLF "Host: a:80" CRLF CRLF GET,
            "404 200", false },
    { "an Upgrade is not followed",
            "GET /hello HTTP/1.1" CRLF "Host: a" CRLF "Upgrade: h2c" CRLF
            "Connection: upgrade" CRLF CRLF GET,
            "200 200", false },

    /* Modules */
    { "a hook that fails is a 500 (F4)", "GET /fail HTTP/1.1" CRLF "Host: a" CRLF CRLF GET,
            "500 200", false },
    { "one that lies is a 500", "GET /lie HTTP/1.1" CRLF "Host: a" CRLF CRLF GET, "500 200",
            false },
    { "one that waits for nothing is a 500", "GET /stuck HTTP/1.1" CRLF "Host: a" CRLF CRLF GET,
            "500 200", false },
    { "an injected field is a 500 (F50)", "GET /inject HTTP/1.1" CRLF "Host: a" CRLF CRLF GET,
            "500 200", false },
    { "204 has no body (F47)", "GET /nothing HTTP/1.1" CRLF "Host: a" CRLF CRLF GET, "204 200",
            false },
    { "304 has no body (F47)", "GET /status/304 HTTP/1.1" CRLF "Host: a" CRLF CRLF GET,
            "304 200", false },
    { "more than declared is cut and closes (F49)",
            "GET /over HTTP/1.1" CRLF "Host: a" CRLF CRLF GET, "200", true },
    { "hop-by-hop fields of a module are dropped (F51)",
            "GET /hop HTTP/1.1" CRLF "Host: a" CRLF CRLF GET, "200 200", false },
    { "but its close closes (ASGI.md 44)", "GET /close HTTP/1.1" CRLF "Host: a" CRLF CRLF GET,
            "200", true },
    { "nobody answers: 404", "GET /elsewhere HTTP/1.1" CRLF "Host: a" CRLF CRLF GET, "404 200",
            false },
};

/* What a NUL stands in; each is 400 and closes. */
static const struct {
    const char *why;
    struct weir_str bytes;
} nul_cases[] = {
    { "a value", WEIR_STR_INIT("GET / HTTP/1.1" CRLF "Host: a" CRLF "X: a\0b" CRLF CRLF) },
    { "a name", WEIR_STR_INIT("GET / HTTP/1.1" CRLF "Host: a" CRLF "X\0: b" CRLF CRLF) },
    { "the method", WEIR_STR_INIT("G\0T / HTTP/1.1" CRLF "Host: a" CRLF CRLF) },
    { "the target", WEIR_STR_INIT("GET /\0 HTTP/1.1" CRLF "Host: a" CRLF CRLF) },
    { "the version", WEIR_STR_INIT("GET / HTTP/1.1\0" CRLF "Host: a" CRLF CRLF) },
    { "the Host", WEIR_STR_INIT("GET / HTTP/1.1" CRLF "Host: a\0" CRLF CRLF) },
    { "a length", WEIR_STR_INIT(POST("Content-Length: 1\0" CRLF) "x") },
    { "a coding", WEIR_STR_INIT(POST("Transfer-Encoding: chunked\0" CRLF) "0" CRLF CRLF) },
    { "a size", WEIR_STR_INIT(CHUNKS("/sink") "1\0" CRLF "x" CRLF "0" CRLF CRLF) },
    { "an extension", WEIR_STR_INIT(CHUNKS("/ignore") "1;a\0" CRLF "x" CRLF "0" CRLF CRLF) },
    { "a trailer", WEIR_STR_INIT(CHUNKS("/sink") "0" CRLF "X: \0" CRLF CRLF) },
};

struct want {
    const char *why, *statuses;
    bool closes;
};

static void
check_case(struct rig *rig, struct weir_str bytes, const struct want *want, size_t split)
{
    rig_connect(rig);
    rig_send_split(rig, bytes, split);
    struct outcome out;
    read_outcome(rig, &out);
    char statuses[160] = "";
    size_t at = 0;
    for (unsigned i = 0; i < out.count; i++) {
        at += (size_t)snprintf(statuses + at, sizeof(statuses) - at, i == 0 ? "%u" : " %u",
                out.statuses[i]);
    }
    ck_assert_msg(!out.is_malformed, "%s (split %zu): malformed: %.*s", want->why, split,
            WEIR_STR_ARG(rig_received(rig)));
    ck_assert_msg(strcmp(statuses, want->statuses) == 0, "%s (split %zu): %s", want->why, split,
            statuses);
    ck_assert_msg(out.has_closed == want->closes, "%s (split %zu): closed %d", want->why, split,
            (int)out.has_closed);
    ck_assert_msg(!out.was_reset, "%s (split %zu): reset", want->why, split);
}

static void
check_all_splits(struct weir_str bytes, const struct want *want)
{
    struct rig rig;
    rig_init(&rig, NULL, 0);
    for (size_t split = 0; split < bytes.len; split++) {
        check_case(&rig, bytes, want, split);
    }
    check_case(&rig, bytes, want, RIG_BYTEWISE);
    rig_fini(&rig);
}

START_TEST(answers_the_same_however_the_bytes_are_cut)
{
    const struct want want = { cases[_i].why, cases[_i].statuses, cases[_i].closes };
    check_all_splits(weir_str_from(cases[_i].bytes), &want);
}
END_TEST

START_TEST(refuses_a_nul_wherever_it_stands)
{
    const struct want want = { nul_cases[_i].why, "400", true };
    check_all_splits(nul_cases[_i].bytes, &want);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers_the_same_however_the_bytes_are_cut, 0,
            sizeof(cases) / sizeof(cases[0]));
    tcase_add_loop_test(tests, refuses_a_nul_wherever_it_stands, 0,
            sizeof(nul_cases) / sizeof(nul_cases[0]));
}

UNIT_MAIN("http/h1", add_tests)
