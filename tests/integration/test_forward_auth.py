# SPDX-License-Identifier: MIT
"""The handler `forward_auth`: an upstream decides who may pass."""

import re
import socket
import threading

import pytest
from weir_site import get, server
from weir_upstream import Upstream, always, answer

SHORT = {"connect": "400ms", "read": "400ms", "send": "400ms", "queue": "400ms"}


def site(auth, app, options=None, auth_upstream=None, **rest):
    use = [{"forward_auth": {"to": "auth", **(options or {})}}]
    return {"modules": ["forward_auth", "proxy"],
            "upstreams": {"auth": {"targets": auth, "timeouts": SHORT, **(auth_upstream or {})}, "app": {"targets": app}},
            "servers": [server({"handle": {"proxy": "app"}}, use=use, **rest)]}


def dead_address():
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))  # and does not listen
    return probe, "127.0.0.1:%d" % probe.getsockname()[1]


# ---- who passes --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 299])
def test_who_may_pass_passes(weir, raw, status):
    head = f"HTTP/1.1 {status} X\r\n" + ("" if status == 204 else "Content-Length: 0\r\n") + "\r\n"
    with Upstream(always(head.encode())) as auth, Upstream(always(answer(b"app"))) as app:
        client = raw(weir(site(auth.address, app.address, {"path": "/verify?full=1"})))
        for _ in range(3):
            assert client.send(get("/a%20b/../c?d=e", fields="Cookie: k=v\r\nAuthorization: Basic eDp5\r\n")).read().body == b"app"
    assert auth.connections == app.connections == 1  # both are kept, and so is the client's
    asked = auth.requests[0]
    assert (asked.method, asked.target, asked.field("cookie"), asked.field("authorization")) == (
        "GET", "/verify?full=1", "k=v", "Basic eDp5")
    assert (asked.field("x-forwarded-method"), asked.field("x-forwarded-uri"), asked.field("x-forwarded-host")) == (
        "GET", "/c?d=e", "a")
    assert (asked.field("x-forwarded-proto"), asked.field("x-forwarded-for"), asked.field("x-real-ip")) == (
        "http", "127.0.0.1", "127.0.0.1")
    assert asked.field("x-request-id") == app.requests[0].field("x-request-id")


DENIALS = [
    ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "www-authenticate", "Basic realm=\"x\""),
    ("403 Forbidden", "X-Why: you\r\n", "x-why", "you"),
    ("302 Found", "Location: /login?to=x\r\nSet-Cookie: a=b\r\n", "location", "/login?to=x"),
    ("429 Slow", "Retry-After: 9\r\n", "retry-after", "9"),
    ("500 Broken", "", "x-none", None),
]


@pytest.mark.parametrize("status, fields, name, value", DENIALS, ids=[row[0] for row in DENIALS])
def test_whoever_may_not_is_told_so_by_the_upstream(weir, raw, status, fields, name, value):
    with Upstream(always(answer(b"go away", status, fields))) as auth, Upstream(always(answer())) as app:
        client = raw(weir(site(auth.address, app.address)))
        for method in ("GET", "POST", "HEAD", "GET"):
            got = client.send(get(method=method)).read(method)
            assert (got.status, got.field(name)) == (int(status[:3]), value)
            assert got.body == (b"" if method == "HEAD" else b"go away")
    assert app.requests == [] and auth.connections == 1


def test_a_denial_without_a_body(weir, raw):
    """HEAD: its length is that of what is not there."""
    head = b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 1000\r\nX-Why: you\r\n\r\n"
    with Upstream(always(head)) as auth, Upstream(always(answer())) as app:
        client = raw(weir(site(auth.address, app.address, {"method": "HEAD"})))
        for _ in range(2):
            got = client.send(get()).read()
            assert (got.status, got.body, got.field("x-why"), got.field("content-type")) == (403, b"", "you", None)
    assert {request.method for request in auth.requests} == {"HEAD"} and app.requests == []


def test_conditions_and_ranges_are_not_for_who_decides(weir, raw):
    fields = ("If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nRange: bytes=0-1\r\n"
              "If-Range: \"x\"\r\nContent-Type: text/x\r\n")
    with Upstream(always(answer())) as auth, Upstream(always(answer(b"app"))) as app:
        assert raw(weir(site(auth.address, app.address))).send(get(fields=fields)).read().body == b"app"
    names = {name.lower() for name, _ in auth.requests[0].fields}
    assert not names & {"if-none-match", "if-modified-since", "range", "if-range", "content-type"}
    assert app.requests[0].field("if-none-match") == '"x"'


# ---- fields ------------------------------------------------------------------------------------

SPOOFED = ("X-User: root\r\nx-USER: admin\r\nX_User: root\r\nX-Groups: wheel\r\nX-Forwarded-Method: OPTIONS\r\n"
           "X-Forwarded-Uri: /public\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\n"
           "X-Real-IP: 9.9.9.9\r\nX-Stays: 1\r\n")


@pytest.mark.parametrize("fields, user, groups", [
    ("X-User: alice\r\nX-Groups: a\r\nX-Groups: b\r\nX-Other: c\r\n", ["alice"], ["a", "b"]), ("", [], []),
    ("x-user: bob\r\n", ["bob"], [])])
def test_only_the_upstream_says_who_it_is(weir, raw, fields, user, groups):
    with Upstream(always(answer(b"", fields=fields))) as auth, Upstream(always(answer(b"app"))) as app:
        client = raw(weir(site(auth.address, app.address, {"copy": ["X-User", "X-Groups"]})))
        assert client.send(get("/secret", fields=SPOOFED)).read().body == b"app"
    asked, given = auth.requests[0], app.requests[0]
    assert asked.all("x-user") == asked.all("x-groups") == []
    assert asked.all("x-forwarded-method") == ["GET"] and asked.all("x-forwarded-uri") == ["/secret"]
    assert asked.all("x-forwarded-for") == asked.all("x-real-ip") == ["127.0.0.1"]
    assert asked.all("x-forwarded-host") == ["a"] and asked.all("x-forwarded-proto") == ["http"]
    assert (given.all("x-user"), given.all("x-groups"), given.all("x-stays")) == (user, groups, ["1"])
    assert given.field("x-other") is None
    assert not [name for name, _ in given.fields if "_" in name]


def test_a_client_cannot_take_the_upstream_s_word_away(weir, raw):
    """By naming the field in Connection."""
    with Upstream(always(answer(b"", fields="X-User: alice\r\n"))) as auth, Upstream(always(answer())) as app:
        raw(weir(site(auth.address, app.address, {"copy": "X-User"}))).send(
            get(fields="Connection: X-User\r\nX-User: root\r\n")).read()
    assert app.requests[0].all("x-user") == ["alice"]


# ---- bodies ------------------------------------------------------------------------------------


def test_the_body_is_the_handler_s(weir, raw):
    body = b"x" * 200000
    with Upstream(always(answer())) as auth, Upstream(always(answer(b"app"))) as app:
        client = raw(weir(site(auth.address, app.address)))
        for _ in range(2):
            assert client.send(get(method="POST", fields=f"Content-Length: {len(body)}\r\n", body=body)).read().body == b"app"
        assert client.send(get(method="PUT", fields="Transfer-Encoding: chunked\r\n",
                               body=b"5\r\n12345\r\n0\r\n\r\n")).read().body == b"app"
    assert [r.body for r in app.requests] == [body, body, b"12345"]
    assert {(r.method, r.body, r.field("content-length"), r.field("transfer-encoding")) for r in auth.requests} == {
        ("GET", b"", None, None)}
    assert [r.field("x-forwarded-method") for r in auth.requests] == ["POST", "POST", "PUT"]


def test_no_body_is_asked_for_before_the_decision(weir, raw):
    decide = threading.Event()

    def script(peer, request):
        assert decide.wait(20)
        peer.send(answer(b"", "403 No") if request.field("x-forwarded-uri") == "/no" else answer())
        return True

    with Upstream(script) as auth, Upstream(always(answer(b"app"))) as app:
        client = raw(weir(site(auth.address, app.address, auth_upstream={"timeouts": {}})))
        client.send(get(method="POST", fields="Expect: 100-continue\r\nContent-Length: 3\r\n"))
        assert auth.wait(lambda: len(auth.requests) == 1)
        assert app.connections == 0
        decide.set()
        assert client.read_head().status == 100
        client.send(b"abc")
        assert client.read().body == b"app"
        client.send(get("/no", method="POST", fields="Expect: 100-continue\r\nContent-Length: 3\r\n"))
        assert client.read_head().status == 403  # and no 100
    assert [request.body for request in app.requests] == [b"abc"]


# ---- nobody decides ----------------------------------------------------------------------------


def nothing(peer, _):
    peer.wait_closed()
    return False


FAILURES = [
    ("closes", always(b"", keep=False), 502, "closed"),
    ("silent", nothing, 504, "read_timeout"),
    ("no HTTP", always(b"what?\r\n\r\n"), 502, "bad_answer"),
    ("304", always(b"HTTP/1.1 304 Not Modified\r\n\r\n"), 502, "304 is no decision"),
    ("101", always(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), 502, "bad_answer"),
]


@pytest.mark.parametrize("script, status, said", [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_nobody_passes_without_a_decision(weir, raw, script, status, said):
    with Upstream(script) as auth, Upstream(always(answer())) as app:
        running = weir(site(auth.address, app.address))
        client = raw(running)
        for _ in range(2):  # the connection goes on
            assert client.send(get()).read().status == status
        running.wait_for_line(re.escape(said) + f".*nobody decided: {status}")
    assert app.requests == []


def test_nobody_passes_while_nobody_is_there(weir, raw):
    probe, dead = dead_address()
    with Upstream(always(answer(b"app"))) as app:
        running = weir(site(dead, app.address))
        assert raw(running).send(get()).read().status == 502
        running.wait_for_line("refused: nobody decided: 502")
        assert app.requests == []
        # Unless that is what the configuration says; and then nobody says who it is.
        running = weir(site(dead, app.address, {"on_error": "allow", "copy": "X-User"}))
        assert raw(running).send(get(fields="X-User: root\r\n")).read().body == b"app"
        running.wait_for_line("nobody decided, and it passes")
    assert [request.all("x-user") for request in app.requests] == [[]]
    probe.close()


def test_a_path_that_nobody_can_ask_for_lets_nobody_pass(weir, raw):
    with Upstream(always(answer())) as auth, Upstream(always(answer())) as app:
        running = weir(site(auth.address, app.address, {"path": "{query.p}"}))
        assert raw(running).send(get("/")).read().status == 502
        running.wait_for_line("makes something that cannot be asked")
    assert auth.requests == app.requests == []


@pytest.mark.parametrize("options", [{"path": "{header.x-check}"}, {"host": "{header.x-tenant}"}])
def test_on_error_lets_nobody_pass_who_makes_the_question_impossible(weir, raw, options):
    """The upstream is well: whoever leaves a field out must not get around it."""
    with Upstream(always(answer(status="403 Forbidden"))) as auth, Upstream(always(answer())) as app:
        running = weir(site(auth.address, app.address, {"on_error": "allow", **options}))
        client = raw(running)
        assert client.send(get(fields="X-Check: /a\r\nX-Tenant: a\r\n")).read().status == 403
        assert client.send(get()).read().status == 502
        running.wait_for_line("makes something that cannot be asked: 502")
    assert len(auth.requests) == 1 and app.requests == []


def test_a_client_that_leaves_ends_the_question(weir, raw):
    left = threading.Event()

    def script(peer, _):
        peer.wait_closed()
        left.set()
        return False

    with Upstream(script) as auth, Upstream(always(answer())) as app:
        client = raw(weir(site(auth.address, app.address, auth_upstream={"timeouts": {}}))).send(get())
        assert auth.wait(lambda: len(auth.requests) == 1)
        client.reset()
        assert left.wait(20)
    assert app.requests == []


# ---- configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize("options, said", [
    ({"to": "nobody"}, "is not one of \"upstreams\""), ({"path": "verify"}, "begins with a slash"),
    ({"copy": ["X User"]}, "is no name of a field"), ({"copy": ["Content-Length"]}, "cannot be changed"),
    ({"copy": "Content_Length"}, "cannot be changed"), ({"method": "DELETE"}, "\"DELETE\""),
    ({"path": "/a#b"}, "nothing behind #"), ({"host": "a b"}, "is no host"), ({"host": "http://a"}, "is no host"),
    ({"on_error": "ignore"}, "\"ignore\""), ({"copies": []}, "unknown key \"copies\"")], ids=str)
def test_a_wrong_option_is_refused(weir, options, said):
    running = weir(site("127.0.0.1:1", "127.0.0.1:1", options), listeners=0, exit_status=78)
    running.expect_error(re.escape(said))
    running.wait_exit()
