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

/* Sends `bytes` in pieces: whole (split 0), in two at `split`, or one by one (SIZE_MAX). */
static void
send_split(struct rig *rig, struct weir_str bytes, size_t split)
{
    if (split == SIZE_MAX) {
        for (size_t i = 0; i < bytes.len; i++) {
            rig_send(rig, weir_str_make(bytes.ptr + i, 1));
        }
        return;
    }
    if (split > 0) {
        rig_send(rig, weir_str_make(bytes.ptr, split));
    }
    rig_send(rig, weir_str_make(bytes.ptr + split, bytes.len - split));
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

    /* Heads */
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
    { "a NUL in a value", "GET / HTTP/1.1" CRLF "Host: a" CRLF "X: a\001b" CRLF CRLF, "400",
            true },
    { "an Expect nobody knows", "GET / HTTP/1.1" CRLF "Host: a" CRLF "Expect: tea" CRLF CRLF,
            "417", true },

    /* Framing */
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
    { "a huge chunk is above the limit",
            "POST /sink HTTP/1.1" CRLF "Host: a" CRLF "Transfer-Encoding: chunked" CRLF CRLF
            "1" CRLF "a" CRLF "0" CRLF CRLF GET,
            "200 200", false },
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

static void
check_case(struct rig *rig, int row, size_t split)
{
    rig_connect(rig);
    send_split(rig, weir_str_from(cases[row].bytes), split);
    struct outcome out;
    read_outcome(rig, &out);
    char statuses[160] = "";
    size_t at = 0;
    for (unsigned i = 0; i < out.count; i++) {
        at += (size_t)snprintf(statuses + at, sizeof(statuses) - at, i == 0 ? "%u" : " %u",
                out.statuses[i]);
    }
    ck_assert_msg(!out.is_malformed, "%s (split %zu): malformed: %.*s", cases[row].why, split,
            WEIR_STR_ARG(rig_received(rig)));
    ck_assert_msg(strcmp(statuses, cases[row].statuses) == 0, "%s (split %zu): %s",
            cases[row].why, split, statuses);
    ck_assert_msg(out.has_closed == cases[row].closes, "%s (split %zu): closed %d",
            cases[row].why, split, (int)out.has_closed);
    ck_assert_msg(!out.was_reset, "%s (split %zu): reset", cases[row].why, split);
}

START_TEST(answers_the_same_however_the_bytes_are_cut)
{
    struct rig rig;
    rig_init(&rig, NULL, 0);
    size_t len = strlen(cases[_i].bytes);
    for (size_t split = 0; split < len; split++) {
        check_case(&rig, _i, split);
    }
    check_case(&rig, _i, SIZE_MAX);
    rig_fini(&rig);
}
END_TEST

static void
add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, answers_the_same_however_the_bytes_are_cut, 0,
            sizeof(cases) / sizeof(cases[0]));
}

UNIT_MAIN("http/h1", add_tests)
