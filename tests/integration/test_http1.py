# SPDX-License-Identifier: MIT
"""HTTP.md against the real binary: what a request may be, and what it may not. Each row is sent whole,
byte by byte and split in two at every point, with the same outcome each time: these answers,
readable to their end, then a connection that is kept, or one that ends cleanly, never in a reset.

tests/unit/http/h1_test.c has the same rows without sockets, and those that need other handlers."""

import pytest
import weir_raw
from weir_site import GET, get, route, site

KEPT, CLOSED = "kept", "closed"


def chunked(body, target="/hello", fields=""):
    return get(target, method="POST", fields=f"Transfer-Encoding: chunked\r\n{fields}", body=body.encode("latin-1"))


ROWS = [
    # --- connections
    ("an ordinary request is answered and kept (RFC 9112 9.3)", GET, [200], KEPT),
    ("HTTP/1.0 closes (F48)", get(version="1.0", host=None), [200], CLOSED),
    ("HTTP/1.0 may ask to be kept (F48)",
     get(version="1.0", host=None, fields="Connection: keep-alive\r\n"), [200], KEPT),
    ("HTTP/1.0 with a Host is as good", get(version="1.0"), [200], CLOSED),
    ("Connection: close closes", get(fields="Connection: foo, Close\r\n"), [200], CLOSED),
    ("a token that only contains close does not", get(fields="Connection: x-close-foo\r\n"), [200], KEPT),
    ("close on the second of two lines closes",
     get(fields="Connection: keep-alive\r\nConnection: close\r\n"), [200], CLOSED),
    ("three pipelined requests, three answers (F40)", GET * 3, [200] * 3, KEPT),
    ("an empty line before the request is ignored (RFC 9112 2.2)", b"\r\n" + GET, [200], KEPT),
    ("an absolute target, whose authority wins", get("http://b.example/hello"), [200], KEPT),
    ("OPTIONS * (RFC 9110 9.3.7)", get("*", method="OPTIONS") + GET, [204, 200], KEPT),
    ("in absolute form (RFC 9112 3.2.4)", get("http://a", method="OPTIONS") + GET, [204, 200], KEPT),
    ("an https target without TLS (RFC 9110 7.4)", get("https://a/hello") + GET, [421, 200], KEPT),
    ("another scheme", get("ftp://a/hello"), [400], CLOSED),
    ("CONNECT is no tunnel", get("a:80", host="a:80", method="CONNECT") + GET, [404, 200], KEPT),
    ("an Upgrade is not followed", get(fields="Upgrade: h2c\r\nConnection: upgrade\r\n") + GET, [200, 200], KEPT),
    ("nobody answers: 404", get("/elsewhere") + GET, [404, 200], KEPT),
    ("204 has no body (F47)", get("/204") + GET, [204, 200], KEPT),
    ("304 has no body (F47)", get("/304") + GET, [304, 200], KEPT),
    ("nothing after an error is interpreted", get(host=None) + GET, [400], CLOSED),

    # --- heads (F37)
    ("no Host", get(host=None), [400], CLOSED),
    ("two Hosts", get(fields="Host: a\r\n"), [400], CLOSED),
    ("an invalid Host", get(host="a/b"), [400], CLOSED),
    ("a Host with userinfo", get(host="u@a"), [400], CLOSED),
    ("a Host whose port is none", get(host="a:b"), [400], CLOSED),
    ("an empty Host", get(host=""), [400], CLOSED),
    ("two Hosts also beside an absolute target", get("http://a/hello", fields="Host: b\r\n"), [400], CLOSED),
    ("no Host also beside an absolute target", get("http://a/hello", host=None), [400], CLOSED),
    ("HTTP/0.9", b"GET /\r\n", [400], CLOSED),
    ("a version nobody speaks", get(version="2.0"), [505], CLOSED),
    ("HTTP/1.2", get(version="1.2"), [505], CLOSED),
    ("HTTP/1.10", get(version="1.10"), [400], CLOSED),
    ("a lower-case version", b"GET / http/1.1\r\nHost: a\r\n\r\n", [400], CLOSED),
    ("an ICE start line", b"SOURCE / ICE/1.0\r\n\r\n", [400], CLOSED),
    ("an RTSP start line", b"OPTIONS / RTSP/1.0\r\n\r\n", [400], CLOSED),
    ("an unknown method", get(method="BREW"), [501], CLOSED),
    ("a method in lower case", get(method="get"), [501], CLOSED),
    ("a byte that no method has", get(method="GE{T"), [400], CLOSED),
    ("a TLS handshake (F27 is the other way round)", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400], CLOSED),
    ("two spaces in the start line", b"GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n", [400], CLOSED),
    ("a space behind the version", b"GET /hello HTTP/1.1 \r\nHost: a\r\n\r\n", [400], CLOSED),
    ("a tab in the start line", b"GET\t/hello HTTP/1.1\r\nHost: a\r\n\r\n", [400], CLOSED),
    ("a space before the method", b" GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", [400], CLOSED),
    ("a fragment", get("/hello#b"), [400], CLOSED),
    ("a malformed escape", get("/%zz"), [400], CLOSED),
    ("%00", get("/%00"), [400], CLOSED),
    ("above the root (F58)", get("/../etc"), [400], CLOSED),
    ("above the root, encoded (F58)", get("/%2e%2e/etc"), [400], CLOSED),
    ("raw UTF-8", get("/\xc3\xa4"), [400], CLOSED),
    ("* with GET", get("*"), [400], CLOSED),
    ("a target without its slash", get("hello"), [400], CLOSED),
    ("userinfo", get("http://u@a/"), [400], CLOSED),
    ("an empty host in the target", get("http:///x"), [400], CLOSED),
    ("a space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", [400], CLOSED),
    ("an empty field name", get(fields=": y\r\n"), [400], CLOSED),
    ("a line without a colon", get(fields="oops\r\n"), [400], CLOSED),
    ("a folded line (RFC 9112 5.2)", get(fields="X: a\r\n b\r\n"), [400], CLOSED),
    ("a folded line with a tab", get(fields="X: a\r\n\tb\r\n"), [400], CLOSED),
    ("folding that hides a coding", get(method="POST", fields="Transfer-Encoding:\r\n chunked\r\n") + b"0\r\n\r\n",
     [400], CLOSED),
    ("a space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", [400], CLOSED),
    ("bare LF", b"GET / HTTP/1.1\nHost: a\n\n", [400], CLOSED),
    ("bare LF at one line", b"GET / HTTP/1.1\r\nHost: a\n\r\n", [400], CLOSED),
    ("CVE-2023-30589", get(fields="X: \rTransfer-Encoding: chunked\r\n"), [400], CLOSED),
    ("CVE-2025-23167", b"GET / HTTP/1.1\r\nHost: a\r\n\rXGET / HTTP/1.1\r\n\r\n", [400], CLOSED),
    ("a NUL in a value", get(fields="X: a\0b\r\n"), [400], CLOSED),
    ("a control byte in a value", get(fields="X: a\1b\r\n"), [400], CLOSED),
    ("a NUL in a name", get(fields="X\0: a\r\n"), [400], CLOSED),
    ("a tab in a value is a space (RFC 9110 5.5)", get(fields="X: a\tb\r\n"), [200], KEPT),
    ("a byte above 127 in a value is opaque (RFC 9110 5.5)", get(fields="X: \xe4\r\n"), [200], KEPT),
    ("an Expect nobody knows", get(fields="Expect: tea\r\n"), [417], CLOSED),

    # --- framing (F37, F38)
    ("both lengths (RFC 9112 6.1)",
     get(method="POST", fields="Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n", [400], CLOSED),
    ("both lengths, the other way round",
     get(method="POST", fields="Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + b"0\r\n\r\n", [400], CLOSED),
    ("two lengths", get(method="POST", fields="Content-Length: 5\r\nContent-Length: 6\r\n") + b"hello", [400], CLOSED),
    ("two lengths that agree", get(method="POST", fields="Content-Length: 5\r\nContent-Length: 5\r\n") + b"hello",
     [400], CLOSED),
    ("a list of lengths", get(method="POST", fields="Content-Length: 5, 5\r\n") + b"hello", [400], CLOSED),
    *((f"Content-Length: {value!r}", get(method="POST", fields=f"Content-Length: {value}\r\n") + b"x", [400], CLOSED)
      for value in ("+1", "-1", "0x1", "1 2", "", "1.0", "1_0", "\xb2", "18446744073709551616")),
    ("the longest length is above the limit", get(method="POST", fields="Content-Length: 18446744073709551615\r\n"),
     [413], CLOSED),
    ("Transfer-Encoding in HTTP/1.0",
     get(method="POST", version="1.0", fields="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", [400], CLOSED),
    *((f"Transfer-Encoding: {value}",
       get(method="POST", fields=f"Transfer-Encoding: {value}\r\n") + b"0\r\n\r\n", [status], CLOSED)
      for value, status in (("gzip, chunked", 501), ("chunked, chunked", 400), ("chunked, gzip", 400),
                            ("xchunked", 501), ("identity", 501))),
    ("codings over two lines",
     get(method="POST", fields="Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
     [501], CLOSED),
    ("a body that the handler does not read", get(method="POST", fields="Content-Length: 5\r\n") + b"hello" + GET,
     [200, 200], KEPT),
    ("a body that looks like a request", get(method="POST", fields=f"Content-Length: {len(GET)}\r\n") + GET,
     [200], KEPT),
    ("a chunked body that the handler does not read (F43)", chunked("5\r\nhello\r\n0\r\n\r\n") + GET,
     [200, 200], KEPT),
    ("trailers that nobody reads", chunked("0\r\nX: y\r\nContent-Length: 50\r\nHost: b\r\n\r\n") + GET, [200, 200], KEPT),
    ("an extension that nobody reads", chunked("5;a=b;c=\"d;\\\"e\"\r\nhello\r\n0;f\r\n\r\n") + GET, [200, 200], KEPT),
    ("sizes in either case, and with zeros before them",
     chunked("0a\r\n0123456789\r\n000000000000000A\r\n0123456789\r\n000\r\n\r\n") + GET, [200, 200], KEPT),
    *((f"in chunks: {body[:40]!r}", chunked(body) + GET, [400], CLOSED) for body in (
        "5\r\nhello0\r\n\r\n", "5\r\nhell\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n", "x\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n", " 5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n", "10000000000000000\r\nhello", "5;\r\nhello\r\n0\r\n\r\n",
        "5;a=\r\nhello\r\n0\r\n\r\n", "5;a=\"\r\nhello\r\n0\r\n\r\n", "5;\1\r\nhello\r\n0\r\n\r\n", "5;a\0\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n", "5;\ra\r\nhello\r\n0\r\n\r\n", "0\n\n", "0\r\n\n", "0\r\nX: y\n\r\n", "0\r\nX: y\r\n z\r\n\r\n",
        "0\r\n X: y\r\n\r\n", "0\r\nX : y\r\n\r\n", "0\r\n: y\r\n\r\n", "0\r\noops\r\n\r\n", "0\r\nX: \0\r\n\r\n", "0\r\nX: \ry\r\n\r\n")),
    *((f"chunks above the limit: {body[:20]!r}", chunked(body) + GET, [413], CLOSED) for body in (
        "FFFFFFFFFFFFFFFF\r\nhello", "7fffffffffffffff\r\nhello", "100001\r\nhello")),
    ("a refusal does not wait for a body in chunks", chunked("5\r\nhello\r\n0\r\n\r\n", "/elsewhere") + GET, [404], CLOSED),
    ("an empty body of known length", get(method="POST", fields="Content-Length: 0\r\n") + GET, [200, 200], KEPT),
    ("extensions longer than anybody needs", chunked("5;" + "x" * 5000 + "\r\nhello\r\n0\r\n\r\n") + GET, [400], CLOSED),
    ("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505], CLOSED),
    ("a body of a GET is no request", get(fields=f"Content-Length: {len(GET)}\r\n") + GET + GET, [200, 200], KEPT),
]


NARROW = {"request_line": "64b", "field": "64b", "fields": 5, "head": "256b", "body": "16b"}


def line_of(length):
    return get("/hello?" + "x" * (length - len("GET /hello? HTTP/1.1")))


def head_of(length):
    """Of so many bytes, the empty line counted, in four fields."""
    fields = length - len("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    return get(fields="".join(f"X: {'y' * (fields // 4 - 5 + (fields % 4 if i == 0 else 0))}\r\n" for i in range(4)))


LIMIT_ROWS = [
    *((f"a request line of {length}", line_of(length), statuses, end)
      for length, statuses, end in ((63, [200], KEPT), (64, [200], KEPT), (65, [414], CLOSED))),
    ("a request line without end", b"GET /" + b"x" * 80, [414], CLOSED),
    ("a method without end", b"G" * 80, [414], CLOSED),
    ("empty lines without end", b"\r\n" * 200, [414], CLOSED),
    *((f"a field of {length}", get(fields="X: " + "y" * (length - 3) + "\r\n"), statuses, end)
      for length, statuses, end in ((63, [200], KEPT), (64, [200], KEPT), (65, [431], CLOSED))),
    ("a field without end", get(fields="X: " + "y" * 80)[:-2], [431], CLOSED),
    ("a name without end", get(fields="y" * 80)[:-2], [431], CLOSED),
    *((f"{count} fields", get(fields="X: y\r\n" * (count - 1)), statuses, end)
      for count, statuses, end in ((4, [200], KEPT), (5, [200], KEPT), (6, [431], CLOSED))),
    *((f"a head of {length}", head_of(length), statuses, end)
      for length, statuses, end in ((255, [200], KEPT), (256, [200], KEPT), (257, [431], CLOSED))),
    *((f"a body of {length}", get(method="POST", fields=f"Content-Length: {length}\r\n", body=b"x" * length), statuses, end)
      for length, statuses, end in ((15, [200], KEPT), (16, [200], KEPT), (17, [413], CLOSED))),
    *((f"a body in a chunk of {length}", chunked(f"{length:x}\r\n{'x' * length}\r\n0\r\n\r\n"), statuses, end)
      for length, statuses, end in ((15, [200], KEPT), (16, [200], KEPT), (17, [413], CLOSED))),
    *((f"a body in {count} chunks of one", chunked("1\r\nx\r\n" * count + "0\r\n\r\n"), statuses, end)
      for count, statuses, end in ((16, [200], KEPT), (17, [413], CLOSED))),
    ("a size alone above the limit, with nothing of its chunk", chunked("11\r\n"), [413], CLOSED),
    *((f"{count} trailers", chunked("0\r\n" + "X: y\r\n" * count + "\r\n"), statuses, end)
      for count, statuses, end in ((5, [200], KEPT), (6, [431], CLOSED))),
    *((f"a trailer of {length}", chunked("0\r\nX: " + "y" * (length - 3) + "\r\n\r\n"), statuses, end)
      for length, statuses, end in ((64, [200], KEPT), (65, [431], CLOSED))),
    ("a trailer without end", chunked("0\r\nX: " + "y" * 80), [431], CLOSED),
    ("a limit is of each request", head_of(256) + line_of(64) + head_of(256), [200] * 3, KEPT),
]


@pytest.fixture(scope="module")
def server(weir_for_all):
    server = weir_for_all(site(
        route("/hello", "hello"), route("/204", status=204), route("/304", status=304)))
    server.unused = server.descriptor_count()
    return server


@pytest.fixture(scope="module")
def narrow_server(weir_for_all):
    server = weir_for_all(site(top={"defaults": {"limits": NARROW}}))
    server.unused = server.descriptor_count()
    return server


@pytest.mark.parametrize("data, statuses, end", [pytest.param(*row[1:], id=row[0]) for row in LIMIT_ROWS])
def test_a_limit_is_the_same_however_the_bytes_are_cut(narrow_server, data, statuses, end):
    """F34, F35, F38: 414 for the line, 413 for the body, 431 for the rest, at one byte more than allowed."""
    test_the_outcome_is_the_same_however_the_bytes_are_cut(narrow_server, data, statuses, end)


@pytest.mark.parametrize("data, statuses, end", [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_the_outcome_is_the_same_however_the_bytes_are_cut(server, data, statuses, end):
    for how in weir_raw.ways(data):
        with weir_raw.Connection(server) as connection:
            connection.send(data, how)
            seen = [connection.read().status for _ in statuses]
            assert seen == statuses, how
            if end == CLOSED:
                connection.expect_closed()
            else:
                assert connection.send(GET).read().body == b"hello", how
                connection.expect_open()
    server.descriptors_return_to(server.unused)


@pytest.mark.parametrize("data", [pytest.param(row[1], id=row[0]) for row in ROWS if row[2][-1] >= 400 and row[3] == CLOSED])
def test_an_error_answer_says_close_and_is_complete(server, raw, data):
    answer = raw(server).send(data).read()
    assert answer.field("connection") == "close"
    assert answer.field("date") and answer.field("content-length")


def test_a_client_that_is_still_sending_can_read_the_error(server, raw):
    """HTTP.md, framing: a 413 must not be lost to a reset (F44)."""
    size = 1_500_000
    for _ in range(5):
        connection = raw(server)
        connection.send(get(method="POST", fields=f"Content-Length: {size}\r\n"))
        connection.send(b"x" * size)
        assert connection.read().status == 413
        connection.expect_closed()


def test_a_client_that_never_stops_sending_is_left_after_a_while(server, raw):
    """The lingering after an error answer is bounded (F44): 2 s."""
    connection = raw(server)
    connection.send(get(host=None))
    assert connection.read().status == 400
    connection.expect_closed()  # their FIN; ours never comes
    server.descriptors_return_to(server.unused)


CLOSING = get(fields="Connection: close\r\n")


@pytest.mark.parametrize("rest", [GET, GET * 1000, b"\0" * 100_000])
def test_what_is_sent_with_a_last_request_costs_it_nothing(server, raw, rest):
    """RFC 9112 section 9.6: whatever it is and however much, no reset takes the answer away."""
    connection = raw(server)
    connection.send(CLOSING + rest)
    assert connection.read().status == 200
    connection.expect_closed()


def test_what_comes_with_a_last_request_is_discarded(server, raw):
    """RFC 9112 section 9.6: it costs the client neither its answer nor a clean end. What a client
    sends after it said close and read its answer finds nobody, as with other servers."""
    connection = raw(server)
    connection.send(CLOSING + GET + b"GE")
    assert connection.read().status == 200
    connection.expect_closed()


def test_100_continue_is_not_sent_when_nobody_reads_the_body(server, raw):
    """F39: never before a final answer that does not need the body."""
    connection = raw(server)
    connection.send(get(method="POST", fields="Content-Length: 5\r\nExpect: 100-continue\r\n"))
    answer = connection.read()
    assert (answer.status, answer.interim) == (200, [])
    assert answer.field("connection") == "close"  # whether the body follows is unknown
    connection.expect_closed()


def test_an_expectation_of_http_1_0_is_ignored(server, raw):
    """RFC 9110 section 10.1.1."""
    connection = raw(server)
    connection.send(get(method="POST", version="1.0", fields="Content-Length: 5\r\nExpect: 100-continue\r\n") + b"hello")
    answer = connection.read()
    assert (answer.status, answer.interim) == (200, [])
    connection.expect_closed()


def test_the_http_2_preface_is_refused_where_http_2_is_not_spoken(server, raw):
    connection = raw(server)
    connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert connection.read().status in (400, 501, 505)
    connection.expect_closed()
