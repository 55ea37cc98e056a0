# SPDX-License-Identifier: MIT
"""The handler `proxy` against upstreams of the test's own, well-behaved and not (HTTP.md, "Towards an upstream")."""

import hashlib
import os
import re
import socket
import threading

import pytest
from weir_figures import Scrape
from weir_process import resident_bytes, is_instrumented
from weir_raw import BadAnswer, CLOSED, OPEN, RESET
from weir_site import get, server
from weir_upstream import Upstream, always, answer

SHORT = {"connect": "400ms", "read": "400ms", "send": "400ms", "queue": "400ms"}
LONG = {}


def site(targets, routes=None, timeouts=None, proxy=None, upstream=None, **rest):
    handle = {"proxy": {"to": "app", "proxy_status": True, **(proxy or {})}}
    return {"modules": ["proxy"],
            "upstreams": {"app": {"targets": targets, "timeouts": timeouts or LONG, **(upstream or {})}},
            "servers": [server(*(routes or [{"handle": handle}]), **rest)]}


# ---- what goes up ------------------------------------------------------------------------------


def test_a_request_goes_on_and_its_answer_comes_back(weir, raw):
    with Upstream(always(answer(b"hi", fields="X-A: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"))) as app:
        with raw(weir(site(app.address))) as client:
            got = client.send(get("/a%20b/c?x=%2F&y", fields="X-B: 2\r\nCookie: k=v\r\n")).read()
            assert (got.status, got.body, got.field("x-a")) == (200, b"hi", "1")
            assert got.all("set-cookie") == ["a=1", "b=2"]
            again = client.send(get("/again")).read()
            assert again.body == b"hi"
    first, second = app.requests
    assert (first.method, first.target, first.field("host")) == ("GET", "/a%20b/c?x=%2F&y", "a")
    assert (first.field("x-b"), first.field("cookie")) == ("2", "k=v")
    assert first.all("content-length") == first.all("transfer-encoding") == []
    assert second.target == "/again"
    assert app.connections == 1  # kept


def test_fields_of_one_connection_stay_there(weir, raw):
    fields = ("Connection: close, X-Named, X-Forwarded-For\r\nX-Named: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
              "Proxy-Connection: a\r\nProxy-Authorization: b\r\nUpgrade: websocket\r\nProxy: c\r\n"
              "Under_score: d\r\nX-Stays: e\r\n")
    upstream_fields = "Connection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 2\r\n"
    with Upstream(always(answer(fields=upstream_fields))) as app:
        got = raw(weir(site(app.address))).send(get(fields=fields)).read()
        assert (got.field("x-mine"), got.field("keep-alive"), got.field("x-kept")) == (None, None, "2")
    names = {name.lower() for name, _ in app.requests[0].fields}
    assert names == {"host", "x-stays", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
                     "x-real-ip", "x-request-id"}


CLAIMS = ("X-Forwarded-For: 9.9.9.9, 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
          "Forwarded: for=9.9.9.9\r\nX-Real-IP: 9.9.9.9\r\nVia: 1.1 other\r\n")


def test_a_stranger_does_not_say_who_it_is(weir, raw):
    with Upstream(always(answer())) as app:
        raw(weir(site(app.address, proxy={"forwarded": "both"}))).send(get(fields=CLAIMS)).read()
    request = app.requests[0]
    assert request.all("x-forwarded-for") == request.all("x-real-ip") == ["127.0.0.1"]
    assert request.all("x-forwarded-proto") == ["http"]
    assert request.all("x-forwarded-host") == ["a"]
    assert request.all("forwarded") == ['for=127.0.0.1;host="a";proto=http']
    assert request.field("via") == "1.1 other, 1.1 weir"


def test_a_trusted_peer_says_who_asks(weir, raw):
    with Upstream(always(answer())) as app:
        raw(weir(site(app.address, proxy={"forwarded": "both"}, trust={"peers": ["127.0.0.0/8"]}))).send(
            get(fields=CLAIMS)).read()
    request = app.requests[0]
    assert request.all("x-forwarded-for") == ["8.8.8.8, 127.0.0.1"]  # the trusted tail
    assert request.all("x-forwarded-proto") == ["https"]
    assert request.all("x-forwarded-host") == ["evil"]
    assert request.all("forwarded") == ['for=8.8.8.8;host="a";proto=https, for=127.0.0.1']


@pytest.mark.parametrize("target, want", [
    ("/a/../b", "/b"), ("//host/x", "/host/x"), ("/a//b", "/a//b"), ("/%41%2fb?c", "/%41%2fb?c"),
    ("/a/./b%20c?d=../e", "/a/b%20c?d=../e"), ("http://a/abs?q", "/abs?q"), ("http://a", "/"), ("/?", "/?")])
def test_the_target_leads_where_it_was_routed(weir, raw, target, want):
    with Upstream(always(answer())) as app:
        assert raw(weir(site(app.address))).send(get(target)).read().status == 200
    assert app.requests[0].target == want


def test_the_host_of_an_absolute_target_wins(weir, raw):
    with Upstream(always(answer())) as app:
        client = raw(weir(site(app.address)))
        assert client.send(get("http://b:81/abs")).read().status == 200
        assert client.send(get("http://c/", host=None, version="1.0")).read().status == 200
    assert [request.field("host") for request in app.requests] == ["b:81", "c"]


def test_path_and_host_are_the_configurations(weir, raw):
    routes = [{"match": "/api/{rest*}", "handle": {"proxy": {"to": "app", "path": "/v2/{path.rest}", "host": "inner"}}},
              {"handle": {"proxy": {"to": "app", "path": "/fixed?all=1", "forwarded": "none"}}}]
    with Upstream(always(answer())) as app:
        client = raw(weir(site(app.address, routes)))
        for target in ("/api/x%20y/z?q=1", "/other?q=1"):
            assert client.send(get(target)).read().status == 200
    first, second = app.requests
    assert (first.target, first.field("host"), first.field("x-forwarded-host")) == ("/v2/x%20y/z?q=1", "inner", "a")
    assert (second.target, second.field("x-forwarded-for")) == ("/fixed?all=1", None)


@pytest.mark.parametrize("fields, body, sent", [
    ("Content-Length: 5\r\n", b"12345", b"12345"),
    ("Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n", b"abcde"),
    ("Content-Length: 0\r\n", b"", b""), ("", b"", b"")])
def test_a_body_is_framed_anew(weir, raw, fields, body, sent):
    with Upstream(always(answer())) as app:
        client = raw(weir(site(app.address)))
        for how in ("whole", "bytes"):
            got = client.send(get(method="POST", fields=fields, body=body), how).read()
            assert got.status == 200
    for request in app.requests:
        assert request.body == sent
        assert len(request.all("content-length") + request.all("transfer-encoding")) == 1
    assert app.connections == 1


SMUGGLING = [
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
    ("Content-Length: 0x5\r\n", b"hello"), ("Content-Length: +5\r\n", b"hello"),
    ("Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), ("Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    ("Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"), ("Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    ("X: y\r\n Transfer-Encoding: chunked\r\n", b""), ("X: y\rTransfer-Encoding: chunked\r\n", b""),
    ("Transfer-Encoding: chunked\r\n", b"5\r\nhelloGET /evil HTTP/1.1\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\nx"), ("Transfer-Encoding: chunked\r\n", b"5\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", b"-1\r\nx"), ("Content-Length: 5\r\nConnection: Content-Length\r\n", b"hello"),
    ("Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ("Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello"),
]


@pytest.mark.parametrize("fields, body", SMUGGLING)
def test_one_request_in_is_at_most_one_request_out(weir, raw, fields, body):
    """The upstream reads strictly, and says so when what it reads is no request."""
    with Upstream(always(answer())) as app:
        running = weir(site(app.address))
        client = raw(running)
        client.send(get(method="POST", target="/first", fields=fields, body=body))
        first = client.read()
        assert first.status in (200, 400, 501)
        with raw(running) as other:
            assert other.send(get("/last")).read().status == 200
        targets = [request.target for request in app.requests]
    assert "/evil" not in targets and targets.count("/last") == 1
    assert targets.count("/first") <= 1
    if first.status == 200:
        assert app.requests[0].body == b"hello"


def test_the_client_is_told_to_go_on_when_the_upstream_takes_its_body(weir, raw):
    with Upstream(always(answer())) as app:
        client = raw(weir(site(app.address)))
        client.send(get(method="POST", fields="Expect: 100-continue\r\nContent-Length: 3\r\n"))
        assert client.read_head().status == 100
        client.send(b"abc")
        assert client.read().status == 200
    assert (app.requests[0].body, app.requests[0].field("expect")) == (b"abc", None)


def test_a_unix_socket_is_a_target(weir, raw, tmp_path):
    tmp_path.chmod(0o755)
    with Upstream(always(answer(b"unix")), address=str(tmp_path / "app.sock")) as app:
        assert raw(weir(site(app.address))).send(get()).read().body == b"unix"


def test_connect_is_no_tunnel(weir, raw):
    with Upstream(always(answer())) as app:
        got = raw(weir(site(app.address))).send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").read("CONNECT")
        assert got.status >= 400
    assert app.requests == []


# ---- what comes down ---------------------------------------------------------------------------

CHUNKED = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;ext\r\n world\r\n0\r\n"
           b"X-Trailer: t\r\nContent-Length: 3\r\n\r\n")


def byte_by_byte(data):
    def script(peer, _):
        for i in range(len(data)):
            peer.send(data[i:i + 1])
        return True
    return script


@pytest.mark.parametrize("script", [always(CHUNKED), byte_by_byte(CHUNKED)], ids=["whole", "bytes"])
def test_an_answer_is_framed_anew(weir, raw, script):
    with Upstream(script) as app:
        running = weir(site(app.address))
        client = raw(running)
        got = client.send(get(fields="TE: trailers\r\nConnection: TE\r\n")).read()
        assert (got.body, got.framing, got.trailers) == (b"hello world", "chunked", [("X-Trailer", "t")])
        assert client.send(get()).read().trailers == []  # nobody asked
        old = raw(running).send(get(version="1.0")).read()
        assert old.body == b"hello world" and old.framing in ("length", "close")  # as it came
    assert app.connections == 1


def test_an_answer_of_http_1_0_is_one_too(weir, raw):
    with Upstream(always(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", keep=False)) as app:
        client = raw(weir(site(app.address)))
        got = client.send(get()).read()
        assert got.body == b"until the end" and got.framing in ("length", "chunked")
        assert client.send(get()).read().body == b"until the end"
    assert app.connections == 2


@pytest.mark.parametrize("method, head, status", [
    ("HEAD", "200 OK\r\nContent-Length: 1000", 200), ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", 200),
    ("GET", "204 No Content", 204), ("GET", "204 No Content\r\nContent-Length: 0", 204),
    ("GET", "304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"", 304), ("GET", "200 OK\r\nContent-Length: 0", 200)])
def test_what_has_no_body_gets_none(weir, raw, method, head, status):
    with Upstream(always(f"HTTP/1.1 {head}\r\n\r\n".encode())) as app:
        client = raw(weir(site(app.address)))
        for _ in range(2):
            got = client.send(get(method=method)).read(method)
            assert (got.status, got.body) == (status, b"")
        if "1000" in head:
            assert got.field("content-length") == "1000"
        elif "chunked" in head:
            assert got.field("content-length") is None
    assert app.connections == 1


def test_interim_answers_are_relayed(weir, raw):
    hints = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: y\r\n\r\n"
             b"HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n")
    with Upstream(always(hints + answer())) as app:
        running = weir(site(app.address))
        got = raw(running).send(get()).read()
        assert [i.status for i in got.interim] == [103, 103]
        assert [i.fields for i in got.interim] == [[("Link", "</a>")], [("Link", "</b>")]]
        assert raw(running).send(get(version="1.0")).read().interim == []
    assert app.connections == 1


def test_an_answer_may_come_before_the_body_is_sent(weir, raw):
    done = threading.Event()

    def early(peer, request):
        peer.send(answer(b"no", "413 Content Too Large"))
        done.wait(20)
        return False

    with Upstream(early, eager=True) as app:
        client = raw(weir(site(app.address, limits={"body": "100m"})))
        client.send(get(method="POST", fields="Content-Length: 50000000\r\n", body=b"x" * 100000))
        got = client.read()
        done.set()
        assert (got.status, got.body) == (413, b"no")


def test_both_directions_flow_at_once(weir, raw):
    def echo(peer, request):
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            size = int(peer._line(), 16)
            data = peer._exactly(size)
            peer._exactly(2)
            peer.send(b"%x\r\n%s\r\n" % (len(data), data))
        peer.send(b"0\r\n\r\n")
        assert peer._line() == b"0" and peer._line() == b""
        return True

    with Upstream(echo, eager=True) as app:
        client = raw(weir(site(app.address)))
        client.send(get(method="POST", fields="Transfer-Encoding: chunked\r\n"))
        for i in range(5):
            client.send(b"4\r\nab%02d\r\n" % i)
            if i == 0:
                assert client.read_head().status == 200
            assert client._line("size") == b"4"
            assert client._exactly(6, "chunk") == b"ab%02d\r\n" % i
        client.send(b"0\r\n\r\n")
        assert client._line("size") == b"0"
    assert app.requests[0].all("transfer-encoding") == ["chunked"]


def test_a_stream_of_events_begins_with_its_head(weir, raw):
    seen = threading.Semaphore(0)

    def events(peer, _):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            assert seen.acquire(timeout=20)
            peer.send(event)
        return False

    with Upstream(events) as app:
        client = raw(weir(site(app.address))).send(get())
        assert client.read_head().field("content-type") == "text/event-stream"
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            seen.release()
            assert client._line("size") == b"9"
            assert client._exactly(11, "chunk") == event + b"\r\n"
        assert client._line("size") == b"0"


# ---- what goes wrong ---------------------------------------------------------------------------


def nothing(peer, request):
    peer.wait_closed()
    return False


def then_nothing(data):
    def script(peer, _):
        peer.send(data)
        peer.wait_closed()
        return False
    return script


def reset(peer, _):
    peer.reset()
    return False


LARGE_FIELD = b"X: " + b"y" * 70000 + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n"

# name, script, status of the answer, word in Proxy-Status, words in the log
BEFORE_THE_HEAD = [
    ("silent", nothing, 504, "connection_read_timeout", "read_timeout"),
    ("slow head", then_nothing(OK + b"X: y"), 504, "connection_read_timeout", "read_timeout"),
    ("closes", always(b"", keep=False), 502, "connection_terminated", "closed"),
    ("closes in the head", always(OK + b"X: y\r\n", keep=False), 502, "connection_terminated", "closed"),
    ("resets", reset, 502, "connection_terminated", "closed"),
    ("no HTTP", always(b"SSH-2.0-OpenSSH\r\n\r\n"), 502, "http_protocol_error", "bad_answer, a malformed status line"),
    ("HTTP/0.9", always(b"<html>\n\n"), 502, "http_protocol_error", "bad_answer, a line that ends without CR"),
    ("HTTP/2", always(b"HTTP/2.0 200 OK\r\n\r\n"), 502, "http_protocol_error", "a version that is not"),
    ("both lengths", always(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
     502, "http_protocol_error", "Content-Length with Transfer-Encoding"),
    ("two lengths", always(OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi"), 502, "http_protocol_error",
     "more than one Content-Length"),
    ("bad length", always(OK + b"Content-Length: -2\r\n\r\nhi"), 502, "http_protocol_error", "invalid Content-Length"),
    ("gzip", always(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 502, "http_protocol_error",
     "a Transfer-Encoding other than chunked"),
    ("folded", always(OK + b"X: y\r\n z\r\nContent-Length: 0\r\n\r\n"), 502, "http_protocol_error", "a folded field line"),
    ("blank in a name", always(OK + b"X : y\r\nContent-Length: 0\r\n\r\n"), 502, "http_protocol_error", "malformed field"),
    ("bare LF", always(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"), 502, "http_protocol_error", "ends without CR"),
    ("a CR in a value", always(OK + b"X: y\rSet-Cookie: z\r\nContent-Length: 0\r\n\r\n"), 502, "http_protocol_error",
     "malformed field"),
    ("unasked 101", always(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), 502, "http_protocol_error",
     "101 that nobody asked for"),
    ("too many 1xx", always(b"HTTP/1.1 102 Processing\r\n\r\n" * 17 + answer()), 502, "http_protocol_error", "more 1xx"),
    ("a body where none may be", always(b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi"), 502, "http_protocol_error",
     "where the status allows none"),
    ("oversized head", always(OK + LARGE_FIELD + b"\r\n"), 502, "http_response_header_section_size", "head_too_large"),
    ("too many fields", always(OK + b"X: y\r\n" * 200 + b"\r\n"), 502, "http_response_header_section_size",
     "head_too_large"),
]


@pytest.mark.parametrize("script, status, word, said", [row[1:] for row in BEFORE_THE_HEAD],
                         ids=[row[0] for row in BEFORE_THE_HEAD])
def test_a_bad_upstream_is_no_answer(weir, raw, script, status, word, said):
    with Upstream(script) as app:
        running = weir(site(app.address, timeouts=SHORT))
        client = raw(running)
        for _ in range(2):
            got = client.send(get()).read()
            assert (got.status, got.field("proxy-status")) == (status, f"weir; error={word}")
        line = running.wait_for_line(re.escape(said))
        assert "upstream app, 127.0.0.1:" in line and str(status) in line
    assert app.connections == len(app.requests) == 2  # never reused


def cut(head, body):
    return head + b"\r\n" + body


# name, script; the client sees an answer that is not whole
IN_THE_BODY = [
    ("closes in the body", always(cut(OK + b"Content-Length: 10\r\n", b"12345"), keep=False)),
    ("closes in a chunk", always(cut(OK + b"Transfer-Encoding: chunked\r\n", b"a\r\n12345"), keep=False)),
    ("closes before the last chunk", always(cut(OK + b"Transfer-Encoding: chunked\r\n", b"5\r\n12345\r\n"), keep=False)),
    ("a bad chunk", always(cut(OK + b"Transfer-Encoding: chunked\r\n", b"5\r\n12345\r\nzz\r\n"))),
    ("a long chunk", always(cut(OK + b"Transfer-Encoding: chunked\r\n", b"5\r\n123456\r\n0\r\n\r\n"))),
    ("slow body", then_nothing(cut(OK + b"Content-Length: 10\r\n", b"12345"))),
]


def reset_after(data):
    def script(peer, request):
        peer.send(data)
        if request.target == "/held":
            peer.socket.recv(1)
        peer.reset()
        return False
    return script


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("script", [row[1] for row in IN_THE_BODY], ids=[row[0] for row in IN_THE_BODY])
def test_a_cut_answer_never_looks_whole(weir, raw, script, version):
    """Either an error, or a body whose end is seen to be missing."""
    with Upstream(script) as app:
        running = weir(site(app.address, timeouts=SHORT))
        running.expect_error("the answer could not be finished|listening on")  # the former where its head had left
        client = raw(running)
        client.send(get(version=version))
        try:
            got = client.read()
            assert got.status in (502, 504), got
        except BadAnswer:
            pass
        with raw(running) as other:
            other.send(get())
            assert app.wait(lambda: app.connections == 2)  # the first was not reused
            try:
                other.read()
            except BadAnswer:
                pass


def test_surplus_bytes_are_no_second_answer(weir, raw):
    with Upstream(always(answer(b"first") + answer(b"poison"))) as app:
        client = raw(weir(site(app.address)))
        for _ in range(3):
            assert client.send(get()).read().body == b"first"
    assert app.connections == 3


def test_bytes_on_a_kept_connection_are_no_answer_either(weir, raw):
    poisoned = threading.Event()

    def script(peer, _):
        peer.send(answer(b"good"))
        peer.send(answer(b"poison"))
        poisoned.set()
        return True

    with Upstream(script) as app:
        running = weir(site(app.address))
        for _ in range(2):
            assert raw(running).send(get()).read().body == b"good"
            assert poisoned.wait(20)
            poisoned.clear()


def test_nobody_there_is_502(weir, raw):
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))  # and does not listen
    running = weir(site("127.0.0.1:%d" % probe.getsockname()[1]))
    client = raw(running)
    for _ in range(5):
        got = client.send(get()).read()
        assert (got.status, got.field("proxy-status")) == (502, "weir; error=connection_refused")
    running.wait_for_line("refused: 502")
    probe.close()


def test_no_socket_of_that_name_is_502(weir, raw, tmp_path):
    assert raw(weir(site(f"unix:{tmp_path}/none"))).send(get()).read().status == 502


def test_a_slow_connection_is_504(weir, raw):
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    filling = []
    for _ in range(4):  # as many as its queue takes, and some that wait
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(full.getsockname())
        filling.append(one)
    running = weir(site("127.0.0.1:%d" % full.getsockname()[1], timeouts=SHORT))
    got = raw(running).send(get()).read()
    assert (got.status, got.field("proxy-status")) == (504, "weir; error=connection_timeout")
    running.wait_for_line("connect_timeout: 504")
    for one in (*filling, full):
        one.close()


def test_an_upstream_that_does_not_read_is_504(weir, raw):
    stop = threading.Event()

    def deaf(peer, _):
        stop.wait(30)
        return False

    with Upstream(deaf, eager=True) as app:
        running = weir(site(app.address, timeouts=SHORT, limits={"body": "100m"}))
        client = raw(running)

        def send():
            try:
                client.send(get(method="POST", fields="Content-Length: 50000000\r\n", body=b"x" * 50000000))
            except OSError:
                pass  # it is not read to its end

        sending = threading.Thread(target=send)
        sending.start()
        got = client.read()
        stop.set()
        assert (got.status, got.field("proxy-status")) == (504, "weir; error=connection_write_timeout")
        client.socket.shutdown(socket.SHUT_RDWR)
        sending.join()


# ---- connections -------------------------------------------------------------------------------


class Once:
    """Closes a connection as the second request on it arrives, before a byte of an answer."""

    def __init__(self):
        self.seen = {}

    def __call__(self, peer, request):
        self.seen[peer.number] = self.seen.get(peer.number, 0) + 1
        if self.seen[peer.number] == 2:
            return False
        peer.send(answer(request.body or b"hello"))
        return True


@pytest.mark.parametrize("method, fields, body", [
    ("GET", "", b""), ("PUT", "Content-Length: 5\r\n", b"12345"),
    ("PUT", "Transfer-Encoding: chunked\r\n", b"5\r\n12345\r\n0\r\n\r\n"), ("DELETE", "", b"")])
def test_a_stale_connection_is_replaced_once(weir, raw, method, fields, body):
    with Upstream(Once()) as app:
        client = raw(weir(site(app.address)))
        for _ in range(2):
            got = client.send(get(method=method, fields=fields, body=body)).read()
            assert (got.status, got.body) == (200, b"12345" if body else b"hello")
    assert (app.connections, len(app.requests)) == (2, 3)
    assert [r.body for r in app.requests] == [b"12345" if body else b""] * 3


def test_a_post_is_never_sent_twice(weir, raw):
    with Upstream(Once()) as app:
        client = raw(weir(site(app.address)))
        assert client.send(get(method="POST")).read().status == 200
        assert client.send(get(method="POST")).read().status == 502
        assert len(app.requests) == 2


def test_a_closed_connection_is_not_used(weir, raw):
    """The upstream closes after its answer, without saying so: found out before the next request."""
    with Upstream(always(answer(), keep=False)) as app:
        running = weir(site(app.address))
        client = raw(running)
        for _ in range(5):
            assert client.send(get(method="POST")).read().status in (200, 502)
            assert client.send(get()).read().status == 200


def test_the_next_target_is_asked(weir, raw):
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    with Upstream(always(answer())) as app:
        running = weir(site(["127.0.0.1:%d" % probe.getsockname()[1], app.address]))
        for _ in range(10):
            assert raw(running).send(get(method="POST")).read().status == 200
    assert len(app.requests) == 10
    probe.close()


def test_targets_share_by_weight(weir, raw):
    with Upstream(always(answer(b"1"))) as one, Upstream(always(answer(b"2"))) as two:
        client = raw(weir(site([{"address": one.address, "weight": 3}, two.address])))
        bodies = [client.send(get()).read().body for _ in range(40)]
    assert (bodies.count(b"1"), bodies.count(b"2")) == (30, 10)
    assert (one.connections, two.connections) == (1, 1)


def test_requests_queue_for_a_connection(weir, raw):
    go = threading.Event()

    def script(peer, request):
        if request.target == "/hold":
            go.wait(20)
        peer.send(answer(request.target.encode()))
        return True

    with Upstream(script) as app:
        running = weir(site(app.address, upstream={"connections": 1, "queue_size": 1}))
        first, second, third = raw(running), raw(running), raw(running)
        first.send(get("/hold"))
        assert app.wait(lambda: len(app.requests) == 1)
        second.send(get("/second"))
        # Only one may wait; which of the two comes first is the network's choice.
        third.send(get("/third"))
        waiting = [second, third]
        ready = []
        import select
        while not ready:
            ready, _, _ = select.select([c.socket for c in waiting], [], [], 20)
            assert ready
        refused = next(c for c in waiting if c.socket is ready[0])
        got = refused.read()
        assert (got.status, got.field("retry-after"), got.field("proxy-status")) == (
            503, "1", "weir; error=connection_limit_reached")
        go.set()
        assert first.read().body == b"/hold"
        waiting.remove(refused)
        assert waiting[0].read().status == 200
    assert app.connections == 1


def test_nobody_queues_for_ever(weir, raw):
    with Upstream(nothing) as app:
        running = weir(site(app.address, timeouts={**SHORT, "read": "5s"}, upstream={"connections": 1}))
        first = raw(running).send(get())
        assert app.wait(lambda: len(app.requests) == 1)
        assert raw(running).send(get()).read().status == 503
        running.wait_for_line("queue_timeout: 503")
        first.close()


def test_a_client_that_leaves_ends_the_exchange(weir, raw):
    left = threading.Event()

    def script(peer, _):
        peer.wait_closed()
        left.set()
        return False

    with Upstream(script) as app:
        running = weir(site(app.address))
        client = raw(running).send(get())
        assert app.wait(lambda: len(app.requests) == 1)
        client.reset()
        assert left.wait(20)


def test_a_cut_upload_is_not_passed_on_as_whole(weir, raw):
    with Upstream(always(answer()), eager=False) as app:
        running = weir(site(app.address))
        client = raw(running)
        client.send(get(method="POST", fields="Content-Length: 100\r\n", body=b"x" * 50))
        client.send(b"")
        assert app.wait(lambda: app.connections == 1)
        client.reset()
    assert app.requests == []  # its end never came


def test_descriptors_come_back(weir, raw):
    with Upstream(always(answer(), keep=False)) as app:
        running = weir(site(app.address, upstream={"keepalive": 0}))
        raw(running).send(get()).read()
        before = running.descriptor_count()
        for _ in range(20):
            with raw(running) as client:
                client.send(get()).read()
        running.descriptors_return_to(before)


def test_what_becomes_of_exchanges_is_counted(weir, raw):
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    dead = "127.0.0.1:%d" % probe.getsockname()[1]
    routes = [{"match": "/metrics", "handle": "metrics"},
              {"match": "/dead", "handle": {"proxy": "dead"}}, {"handle": {"proxy": "app"}}]
    with Upstream(Once()) as app:
        document = site(app.address, routes)
        document["modules"].append("metrics")
        document["upstreams"]["dead"] = {"targets": dead}
        running = weir(document)
        client = raw(running)
        for target in ("/a", "/a", "/dead"):
            client.send(get(target)).read()
        scrape = Scrape(client.send(get("/metrics")).read().body.decode())
        asked = {"upstream": "app", "target": app.address}
        assert scrape.value("weir_upstream_exchanges_total", **asked, result="fine") == 2
        assert scrape.value("weir_upstream_exchanges_total", upstream="dead", target=dead, result="refused") == 1
        assert scrape.value("weir_upstream_replays_total", **asked) == 1
        assert scrape.value("weir_upstream_connections_opened_total", **asked) == 2
        assert scrape.value("weir_upstream_connections", **asked) == 1
        assert scrape.value("weir_upstream_connections_idle", **asked) == 1
        assert scrape.value("weir_upstream_head_duration_seconds_count", **asked) == 2
    probe.close()


# ---- large bodies ------------------------------------------------------------------------------

SIZE = (32 if is_instrumented() else 256) << 20
BLOCK = bytes(range(256)) * 256


def test_large_bodies_flow_in_bounded_memory(weir, raw):
    """256 MiB up and the same down; the client does not read until all is sent that can be."""
    def script(peer, request):
        if request.method == "HEAD":
            peer.send(OK + b"\r\n")
            return False
        left, digest = int(request.field("content-length")), hashlib.sha256()
        while left > 0:
            data = peer.buffer or peer.socket.recv(min(left, 1 << 20))
            peer.buffer = b""
            left -= len(data)
            digest.update(data)
        peer.send(b"HTTP/1.1 200 OK\r\nX-Digest: %s\r\nContent-Length: %d\r\n\r\n"
                  % (digest.hexdigest().encode(), SIZE))
        for _ in range(SIZE // len(BLOCK)):
            peer.send(BLOCK)
        return True

    with Upstream(script, eager=True) as app:
        running = weir(site(app.address, limits={"body": "1g"}))
        raw(running).send(get(method="HEAD")).read("HEAD")
        before = resident_bytes(running.pid)
        client = raw(running)
        client.send(get(method="POST", fields=f"Content-Length: {SIZE}\r\n"))
        want = hashlib.sha256()
        for _ in range(SIZE // len(BLOCK)):
            client.socket.sendall(BLOCK)
            want.update(BLOCK)
        head = client.read_head()
        assert head.field("x-digest") == want.hexdigest()
        most, left, got = resident_bytes(running.pid), SIZE - len(client.buffer), hashlib.sha256(client.buffer)
        while left > 0:
            data = client.socket.recv(1 << 20)
            assert data
            got.update(data)
            left -= len(data)
            if left % (16 << 20) < len(data):
                most = max(most, resident_bytes(running.pid))
        assert got.hexdigest() == want.hexdigest()
        if not is_instrumented():
            assert most - before < 4 << 20


# ---- configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize("upstream, said", [
    ({"targets": []}, "needs \"targets\""), ({}, "needs \"targets\""),
    ({"targets": "local host:80"}, "\"local host:80\" is no address"),
    ({"targets": [{"address": "srv:_http._tcp.a", "weight": 2}]}, "\"weight\" beside the name of a service"),
    ({"targets": "a:80", "resolve": {"servers": ":53"}}, "\":53\" is no address of a name server"),
    ({"targets": "a:80", "resolve": {"ttl_min": "1m", "ttl_max": "1s"}}, "\"ttl_min\" is longer than \"ttl_max\""),
    ({"targets": ":80"}, "can be listened at, but not connected to"),
    ({"targets": "127.0.0.1:80", "tls": {}}, "\"tls\" is not in this build"),
    ({"targets": "127.0.0.1:80", "target": 1}, "unknown key \"target\"")])
def test_what_is_not_there_is_refused(weir, upstream, said):
    document = site("127.0.0.1:1")
    document["upstreams"]["app"] = upstream
    running = weir(document, listeners=0, exit_status=78)
    running.expect_error(re.escape(said))
    running.wait_exit()


@pytest.mark.parametrize("target, why", [
    ("app.internal", "no port behind it"), ("127.0.0.1", "no port behind it"),
    ("http://app:80", "neither a scheme nor a path"), ("a:80000", "neither an IP address nor a name, with a port"),
    ("srv:_http._tcp.a:80", "whose SRV records say the ports"), ("", "\"host.example:9000\"")])
def test_what_is_no_target_is_told_what_one_is(weir, target, why):
    running = weir(site(target), listeners=0, exit_status=78)
    running.expect_error(re.escape(f"\"{target}\" is no address"))
    running.wait_for_line(re.escape(why))
    running.wait_exit()


def test_a_socket_with_a_number_for_a_name_is_no_host(weir, raw):
    running = weir(site("unix:80"))
    assert raw(running).send(get()).read().status == 502
    running.wait_for_line(r"upstream app, unix:80: (refused|unreachable): 502")


@pytest.mark.parametrize("proxy, said", [
    ({"to": "ap"}, "is not one of \"upstreams\""), ({"buffering": 1}, "true or false"),
    ({"upgrade": ["h2c"]}, "HTTP and TLS are not tunnelled"), ({"path": "v2"}, "begins with a slash"),
    ({"path": "/v2#a"}, "nothing behind #"), ({"host": "a b"}, "is no host"), ({"host": "http://a/"}, "is no host")])
def test_what_the_handler_cannot_do_is_refused(weir, proxy, said):
    running = weir(site("127.0.0.1:1", proxy=proxy), listeners=0, exit_status=78)
    running.expect_error(said)
    running.wait_exit()
