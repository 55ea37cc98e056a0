# SPDX-License-Identifier: MIT
"""HTTP.md, Answers, against the real binary: 100 Continue, early hints, trailers, lengths that are unknown,
wrong or of no body, and what a module says that is not its to say (F38, F39, F47 to F51, F59, F60).
Each row is sent whole, byte by byte and split in two at every point, with the same outcome each time.

tests/unit/http/h1_answer_test.c has such rows without sockets. The handler is tests/support/rig_module.c's."""

import os
import select
import time
from unittest import mock

import pytest
import weir_raw
from weir_site import get, server

MODULE = f"{os.environ['WEIR_BUILDDIR']}/tests/support/.libs/librig_module.so"
GET = get("/hello")
KEPT, CLOSED = "kept", "closed"

EXPECT = "Expect: 100-continue\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
DIGITS = b">01234567890123456789"
ANY = mock.ANY


def post(target, fields="Content-Length: 5\r\n", **rest):
    return get(target, method="POST", fields=fields, **rest)


def row(why, head, want, body=b"", after=None, end=KEPT, says=None):
    """The client sends `head`, waits for the head of a status `after` (None: for nothing), and sends `body`;
    `want` is what it sees of the answer. `says`: the line in the log."""
    return pytest.param(head, want, body, after, end, says, id=why)


def seen(status, body=b"", framing="length", interim=(), trailers=(), **fields):
    return {"status": status, "body": body, "framing": framing, "interim": list(interim), "trailers": list(trailers),
            "fields": fields}


ROWS = [
    # --- 100 Continue (F39)
    row("100 Continue when the body is wanted", post("/sink", "Content-Length: 5\r\n" + EXPECT), seen(200, b"5", interim=[100]),
        b"hello", after=100),
    row("in chunks", post("/sink", CHUNKED + EXPECT), seen(200, b"5", interim=[100]), b"5\r\nhello\r\n0\r\n\r\n", after=100),
    row("where the answer waits for it", post("/echo", "Content-Length: 5\r\n" + EXPECT), seen(200, b"hello", ANY, [100]),
        b"hello", after=100),
    row("where one byte is enough", post("/slow-start", "Content-Length: 1\r\n" + EXPECT), seen(200, b"late", interim=[100]),
        b"x", after=100),
    row("not unless asked for", post("/sink"), seen(200, b"5"), b"hello"),
    row("not to HTTP/1.0", post("/sink", "Content-Length: 5\r\n" + EXPECT, version="1.0"), seen(200, b"5"), b"hello", end=CLOSED),
    row("not when nobody wants it, who then may send it or not", post("/ignore", "Content-Length: 5\r\n" + EXPECT),
        seen(200, b"hello", Connection="close"), end=CLOSED),
    row("not before a refusal", post("/sink", "Content-Length: 5000000\r\n" + EXPECT),
        seen(413, b"413 Content Too Large\n", Connection="close"), end=CLOSED),
    row("not before an error", post("/status/403", "Content-Length: 5\r\n" + EXPECT),
        seen(403, b"403 Forbidden\n", Connection="close"), end=CLOSED),
    row("not before a head that is refused", post("/sink", "Content-Length: +5\r\n" + EXPECT),
        seen(400, b"400 Bad Request\n", Connection="close"), end=CLOSED),
    row("not when there is no body", post("/sink", EXPECT), seen(200, b"0")),
    row("not for a body of nothing", post("/sink", "Content-Length: 0\r\n" + EXPECT), seen(200, b"0")),
    row("not after the final head", post("/chunks/2", "Content-Length: 5\r\n" + EXPECT), seen(200, DIGITS, "chunked"),
        b"hello", after=200),

    # --- early hints (F60)
    row("103 before the final head", get("/hint"), seen(200, b"hinted", interim=[103])),
    row("to HEAD too", get("/hint", method="HEAD"), seen(200, framing="none", interim=[103], Content_Length="6")),
    row("never to HTTP/1.0", get("/hint", version="1.0", fields="Connection: keep-alive\r\n"), seen(200, b"hinted")),

    # --- lengths
    row("unknown: chunks", post("/chunks/2", "Content-Length: 1\r\n"), seen(200, DIGITS, "chunked", Content_Length=None),
        b"x", after=200),
    row("to HTTP/1.0 until the end (F48)",
        post("/chunks/2", "Content-Length: 1\r\nConnection: keep-alive\r\n", version="1.0"),
        seen(200, DIGITS, "close", Connection="close", Transfer_Encoding=None), b"x", after=200, end=CLOSED),
    row("also to one without a Host", post("/chunks/2", "Content-Length: 1\r\n", version="1.0", host=None),
        seen(200, DIGITS, "close"), b"x", after=200, end=CLOSED),
    row("HEAD of an unknown length", get("/chunks/1", method="HEAD", fields="Content-Length: 1\r\n"),
        seen(200, framing="none", Content_Length=None), b"x"),
    row("known by the time that the head leaves", post("/echo", "Content-Length: 1\r\n"), seen(200, b"x", Content_Length="1"), b"x"),
    row("or not, as the body comes", post("/echo"), seen(200, b"hello", ANY), b"hello"),
    row("HTTP/1.0 that is kept is told so (F48)", get("/hello", version="1.0", fields="Connection: keep-alive\r\n"),
        seen(200, b"hello", Connection="keep-alive")),
    row("HEAD has the length of GET and no body (F47)", get("/hello", method="HEAD"), seen(200, framing="none", Content_Length="5")),
    row("204 has neither (RFC 9110 8.6)", get("/nothing"), seen(204, framing="none", Content_Length=None)),
    row("205 has none, and says so (RFC 9110 15.3.6)", get("/status/205"), seen(205, Content_Length="0")),
    row("304 has no body", get("/status/304"), seen(304, framing="none")),
    row("more than declared is cut (F49)", get("/over"), seen(200, b"12345", Connection="close"), end=CLOSED,
        says="the answer was longer than its Content-Length: cut"),
    row("a body that nobody reads and that is too long to skip", post("/ignore", "Content-Length: 262145\r\n"),
        seen(200, b"hello", Connection="close"), end=CLOSED),

    # --- trailers (F38, F59)
    row("trailers to those that asked", post("/trailer", "Content-Length: 1\r\nTE: trailers\r\n"),
        seen(200, DIGITS, "chunked", trailers=[("X-Sum", "42")]), b"x", after=200),
    row("also among others", post("/trailer", "Content-Length: 1\r\nTE: gzip;q=0.5\r\nTE: trailers\r\n"),
        seen(200, DIGITS, "chunked", trailers=[("X-Sum", "42")]), b"x", after=200),
    row("not unasked", post("/trailer", "Content-Length: 1\r\nTE: gzip\r\n"), seen(200, DIGITS, "chunked"), b"x", after=200),
    row("not to HTTP/1.0", post("/trailer", "Content-Length: 1\r\nTE: trailers\r\n", version="1.0"), seen(200, DIGITS, "close"),
        b"x", after=200, end=CLOSED),
    row("a request's trailers are none of its fields", post("/fields", CHUNKED), seen(200, b"2"), b"0\r\nX: y\r\nZ:\r\n\r\n"),
    row("nor do they frame, name or authorise anything", post("/fields", CHUNKED), seen(200, b"2"),
        b"1\r\nx\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: gzip\r\nHost: b\r\nAuthorization: x\r\nConnection: close\r\n\r\n"),

    # --- what is not a module's to say (F50, F51)
    row("a line break in a field", get("/inject"), seen(500, b"500 Internal Server Error\n", X_B=None), says="an answer with an invalid field: 500"),
    row("hop-by-hop fields", get("/hop"), seen(200, Upgrade=None, Transfer_Encoding=None, Connection=None),
        says="a field that is the server's was dropped"),
    row("but it may close", get("/close"), seen(200, Connection="close"), end=CLOSED),
    row("a hook that fails", get("/fail"), seen(500, b"500 Internal Server Error\n"), says="failed: 500"),
    row("one that says it answered, but did not", get("/lie"), seen(500, b"500 Internal Server Error\n"), says="but did not: 500"),
    row("one that waits for nothing", get("/stuck"), seen(500, b"500 Internal Server Error\n"), says="waits for nothing: 500"),
]


@pytest.fixture(scope="module")
def running(weir_for_all):
    running = weir_for_all({"modules": [{"name": "rig", "path": MODULE}], "servers": [server({"handle": "rig"})]})
    running.unused = running.descriptor_count()
    return running


def ask(connection, head, body, after, how):
    """What the client sees of the answer, sending in the way `how` (weir_raw.ways of all of it)."""
    method = head.split(b" ", 1)[0].decode()
    split = isinstance(how, int)
    connection.send(head, "whole" if split and how >= len(head) else how)
    interim, answer = [], None
    if after is not None:
        answer = connection.read_head()
        assert answer.status == after
        if after < 200:
            interim, answer = [answer], None
    connection.send(body, how if not split else how - len(head) if how > len(head) else "whole")
    if answer is not None:
        return connection.finish(answer, method)
    answer = connection.read(method)
    answer.interim = interim + answer.interim
    return answer


@pytest.mark.parametrize("head, want, body, after, end, says", ROWS)
def test_the_answer_is_the_same_however_the_bytes_are_cut(running, head, want, body, after, end, says):
    if says:
        running.expect_error(says)
    for how in weir_raw.ways(head + body):
        with weir_raw.Connection(running) as connection:
            answer = ask(connection, head, body, after, how)
            assert {"status": answer.status, "body": answer.body, "framing": answer.framing,
                    "interim": [one.status for one in answer.interim], "trailers": answer.trailers,
                    "fields": {name: answer.field(name.replace("_", "-")) for name in want["fields"]}} == want, how
            if end == CLOSED:
                connection.expect_closed()
            else:
                assert connection.send(GET).read().body == b"hello", how
                connection.expect_open()
    running.descriptors_return_to(running.unused)


def test_an_early_hint_is_a_link_and_nothing_else(running, raw):
    answer = raw(running).send(get("/hint")).read()
    assert answer.interim[0].fields == [("Link", "</a.css>; rel=preload")]


def test_bytes_that_arrive_unasked_make_100_continue_superfluous(running, raw):
    connection = raw(running).send(post("/sink", "Content-Length: 5\r\n" + EXPECT) + b"hello")
    answer = connection.read()
    assert (answer.status, answer.body, answer.interim) == (200, b"5", [])
    connection.expect_open()


@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_fewer_bytes_than_declared_end_the_connection(running, raw, how):
    """F49: the client sees that the answer is not whole."""
    running.expect_error("the answer could not be finished")
    connection = raw(running).send(get("/short") + GET, how)
    head = connection.read_head()
    assert (head.status, head.field("Content-Length")) == (200, "10")
    with pytest.raises(weir_raw.BadAnswer, match="with 5 of 10 bytes"):
        connection.finish(head)


@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_a_client_that_has_finished_sending_is_answered(running, raw, how):
    """HTTP.md, Framing: half-close after a complete request, whatever the answer waits for."""
    for head, body, end in ((GET * 3, [b"hello"] * 3, None), (post("/echo") + b"hello", [b"hello"], None),
                            (post("/chunks/2", CHUNKED) + b"1\r\nx\r\n0\r\n\r\n", [DIGITS], None)):
        connection = raw(running).send(head, how)
        connection.finish_sending()
        assert [connection.read().body for _ in body] == body
        connection.expect_closed()


@pytest.mark.parametrize("how", ["whole", "bytes"])
@pytest.mark.parametrize("data", [
    GET[:-1], post("/sink") + b"hell", post("/sink", CHUNKED) + b"5\r\nhello\r\n", post("/sink", CHUNKED) + b"0\r\n\r",
    post("/ignore") + b"hell"])
def test_half_a_request_is_none(running, raw, data, how):
    """Never a success, but for what needs no more of it."""
    connection = raw(running).send(data, how)
    connection.finish_sending()
    while connection._more():
        pass
    assert connection.ended == weir_raw.CLOSED
    assert not connection.buffer.startswith(b"HTTP/1.1 200") or b"/ignore" in data
    running.descriptors_return_to(running.unused)


# --- slow clients (F28, F29)


@pytest.fixture(scope="module")
def impatient(weir_for_all):
    limits = {"limits": {"body_rate": "20b/s"}, "timeouts": {"body": "1s", "head": "1s", "keepalive": "1h"}}
    return weir_for_all({"modules": [{"name": "rig", "path": MODULE}], "servers": [server({"handle": "rig"})],
                         "defaults": limits})


SLOW_ROWS = [
    ("a head that stops", b"GET /hello HT", b""),
    ("a head that drips (F28)", GET[:-2] + b"X: ", b"y"),
    ("empty lines that drip", b"\r\n", b"\r\n"),
    ("a body that stops", post("/sink") + b"hel", b""),
    ("one that never begins", post("/sink"), b""),
    ("one that drips (F29)", post("/sink", "Content-Length: 100000\r\n"), b"y"),
    ("a chunk that stops", post("/sink", CHUNKED) + b"5\r\nhel", b""),
    ("chunks that drip", post("/sink", CHUNKED), b"1\r\ny\r\n"),
    ("a chunk that nobody reads", post("/ignore", CHUNKED) + b"5\r\nhel", b""),
    ("trailers that stop", post("/sink", CHUNKED) + b"0\r\nX: ", b""),
]


@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_who_is_too_slow_is_told_so(impatient, raw, how):
    """408 where an answer is still possible, and not before its time. All rows at once, since each takes some."""
    began = time.monotonic()
    slow = {raw(impatient).send(data, how): (why, more) for why, data, more in SLOW_ROWS}
    while slow:
        told = select.select([connection.socket for connection in slow], [], [], 0.2)[0]
        for connection, (why, more) in list(slow.items()):
            if connection.socket not in told:
                connection.send(more)
                continue
            del slow[connection]
            answer = connection.read()
            assert (answer.status, answer.field("Connection")) == (408, "close"), why
            assert time.monotonic() - began >= 1, why
    for connection in raw.connections:
        connection.expect_closed()


def test_who_keeps_the_pace_is_not(impatient, raw):
    connection = raw(impatient).send(post("/sink", "Content-Length: 300\r\n"))
    began = time.monotonic()
    for _ in range(30):
        assert not select.select([connection.socket], [], [], 0.1)[0]
        connection.send(b"0123456789")
    assert time.monotonic() - began > 2
    assert connection.read().body == b"300"
    connection.expect_open()
