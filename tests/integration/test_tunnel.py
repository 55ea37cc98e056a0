# SPDX-License-Identifier: MIT
"""Upgrades through the handler `proxy` (RFC 9110 sections 7.8 and 15.2.2): what becomes a tunnel, what never does,
and how a tunnel ends."""

import json
import os
import signal
import socket
import subprocess
import threading

import pytest
from weir_figures import Scrape
from weir_process import eventually, slow
from weir_raw import CLOSED, RESET
from weir_site import get, route, server
from weir_upstream import Upstream, always, answer

SWITCH = "Connection: Upgrade\r\nUpgrade: %s\r\n"
LINE = b"HTTP/1.1 101 Switching Protocols\r\n"


def to(protocol="websocket", fields="Sec-WebSocket-Accept: x\r\n"):
    return LINE + (SWITCH % protocol + fields + "\r\n").encode()


def upgrade(protocol="websocket", target="/ws", **rest):
    fields = rest.pop("fields", SWITCH % protocol)
    return get(target, fields=fields, **rest)


def site(app, protocols=("websocket",), timeouts=None, upstream=None, **rest):
    handle = {"proxy": {"to": "app", "proxy_status": True, "upgrade": list(protocols)}}
    return {"modules": ["proxy", "respond", "access_log", "metrics"], "upstreams": {"app": {"targets": app.address, **(upstream or {})}},
            "servers": [server({"match": "/ws", "name": "ws", "handle": handle, "timeouts": timeouts or {}},
                               {"match": "/metrics", "handle": "metrics"}, route("/hello", "hello"))], **rest}


def echo(peer, _):
    """Switches to what is asked, sends back what comes, and ends when the client does."""
    peer.send(to())
    data = peer.buffer
    while data or (data := peer.socket.recv(65536)):
        peer.send(data)
        data = b""
    return False


def take(client, count):
    return client._exactly(count, "tunnel")


def switched(client, **how):
    got = client.send(upgrade(**how)).read_head()
    assert got.status == 101, got
    return got


# ---- what becomes one --------------------------------------------------------------------------


def test_bytes_go_both_ways(weir, raw):
    with Upstream(echo) as app:
        client = raw(weir(site(app)))
        got = switched(client)
        assert (got.field("connection"), got.field("upgrade")) == ("Upgrade", "websocket")
        assert got.field("sec-websocket-accept") == "x"
        assert got.all("content-length") == got.all("transfer-encoding") == []
        for part in (b"GET / HTTP/1.1\r\n\r\n", b"\0\xff" * 4000, b"x"):
            client.send(part)
            assert take(client, len(part)) == part
        client.finish_sending()
        client.expect_closed()
    request = app.requests[0]
    assert [v.lower() for v in request.all("connection") + request.all("upgrade")] == ["upgrade", "websocket"]
    assert request.all("content-length") == request.all("transfer-encoding") == []


def test_only_the_tokens_asked_for_go_up(weir, raw):
    fields = ("Connection: keep-alive, Upgrade, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
              "Upgrade: h2c, foo\r\nUpgrade: WebSocket, bar\r\nHTTP2-Settings: AAMAAABk\r\nSec-WebSocket-Key: k\r\n")
    with Upstream(lambda peer, _: peer.send(to("WEBSOCKET"))) as app:
        assert raw(weir(site(app))).send(upgrade(fields=fields)).read_head().status == 101
    request = app.requests[0]
    assert (request.all("connection"), request.all("upgrade")) == (["upgrade"], ["WebSocket"])
    names = {name.lower() for name, _ in request.fields}
    assert not names & {"x-mine", "keep-alive", "http2-settings"} and "sec-websocket-key" in names


ORDINARY = [
    ("not listed", upgrade("chat")), ("HTTP/1.0", upgrade(version="1.0")), ("with content", upgrade(
        method="POST", fields=SWITCH % "websocket" + "Content-Length: 2\r\n", body=b"hi")),
    ("in chunks", upgrade(method="POST", fields=SWITCH % "websocket" + "Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n")),
    ("not to GET", upgrade(method="POST")), ("to HEAD", upgrade(method="HEAD")),
    ("not named in Connection", get("/ws", fields="Upgrade: websocket\r\n")),
    ("only named", get("/ws", fields="Connection: upgrade\r\n")), ("empty", upgrade("")), ("no protocol", upgrade("web socket")),
    ("a version more", upgrade("websocket/13")), ("h2c", upgrade("h2c"))]


def test_anything_else_is_an_ordinary_request(weir, raw):
    with Upstream(always(answer(b"plain"))) as app:
        running = weir(site(app))
        for why, data in ORDINARY:
            method = data.split()[0].decode()
            with raw(running) as client:
                got = client.send(data).read(method)
            assert (got.status, got.body) == (200, b"" if method == "HEAD" else b"plain"), why
    assert len(app.requests) == len(ORDINARY)
    for request in app.requests:
        assert request.all("upgrade") == request.all("connection") == []


def test_not_even_any_protocol_is_http(weir, raw):
    """What is offered beside it may be taken; none of these."""
    with Upstream(lambda peer, request: peer.send(answer(str(request.field("upgrade")).encode()))) as app:
        running = weir(site(app, ["*"]))
        for protocol, want in (("h2c", b"None"), ("H2C", b"None"), ("h2", b"None"), ("HTTP/2.0", b"None"),
                               ("TLS/1.2", b"None"), ("h2c, chat", b"chat"), ("tls, h2c, ,chat/1, x", b"chat/1")):
            with raw(running) as client:
                assert client.send(upgrade(protocol)).read().body == want, protocol


def test_any_other_protocol_may_be_a_tunnel(weir, raw):
    def script(peer, request):
        peer.send(to(request.field("upgrade")))
        peer.send(peer._exactly(4))

    with Upstream(script) as app:
        client = raw(weir(site(app, ["*"])))
        switched(client, protocol="Chat/2", method="OPTIONS")
        assert take(client.send(b"ping"), 4) == b"ping"


def test_a_connect_is_no_tunnel(weir, raw):
    with Upstream(always(to())) as app:
        data = b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        assert raw(weir(site(app, ["*"]))).send(data).read("CONNECT").status >= 400
    assert app.requests == []


def test_the_configuration_says_what_it_cannot_allow(tmp_path):
    with Upstream(always(answer())) as app:
        for entry, words in (("h2c", "HTTP and TLS are not tunnelled"), ("TLS/1.0", "HTTP and TLS are not tunnelled"),
                             ("a b", "a protocol is a name"), ("/1", "a protocol is a name"), ("", "a protocol is a name")):
            file = tmp_path / "weir.json"
            file.write_text(json.dumps(site(app, ["websocket", entry])))
            done = subprocess.run([f"{os.environ['WEIR_BUILDDIR']}/weir", "check", "-c", file], capture_output=True, text=True,
                                  env=dict(os.environ, WEIR_MODULE_DIR=f"{os.environ['WEIR_BUILDDIR']}/modules/.libs"))
            assert done.returncode == 78 and words in done.stdout + done.stderr, (entry, done)


# ---- bytes on both sides of the switch -----------------------------------------------------------


def test_nothing_behind_the_head_is_lost_or_early(weir, raw):
    """The client's first bytes come with its head, the upstream's with its own. None of the client's has left before
    the upstream has switched, however long that takes: here, until a whole other request was answered."""
    early, go = [], threading.Event()

    def script(peer, _):
        go.wait(slow(20))
        peer.socket.setblocking(False)
        try:
            early.append(peer.socket.recv(1))
        except BlockingIOError:
            pass
        peer.socket.settimeout(slow(20))
        go.clear()
        peer.send(to() + b"first")
        peer.send(peer._exactly(26))
        return False

    with Upstream(script) as app:
        running = weir(site(app))
        with raw(running) as other:
            for n, how in enumerate(("whole", "bytes", 50, len(upgrade()), len(upgrade()) + 1)):
                with raw(running) as client:
                    client.send(upgrade() + b"GET /hello HTTP/1.1\r\n\r\n123", how)
                    assert app.wait(lambda n=n: len(app.requests) > n)
                    assert other.send(get("/hello")).read().status == 200
                    go.set()
                    assert client.read_head().status == 101
                    assert take(client, 31) == b"firstGET /hello HTTP/1.1\r\n\r\n123"
    assert early == [] and app.connections == 5


def test_the_head_of_a_switch_may_come_in_pieces(weir, raw):
    data = to() + b"hello"

    def script(peer, _):
        cut = peer.number
        peer.send(data[:cut])
        peer.send(data[cut:])
        peer._exactly(2)

    with Upstream(script) as app:
        running = weir(site(app))
        for _ in range(len(data) - 1):
            with raw(running) as client:
                switched(client)
                assert take(client, 5) == b"hello"
                client.send(b"ok").expect_closed()


def test_refused_it_is_one_request_of_many(weir, raw):
    """And what the client sent behind it are requests, which are routed as all are."""
    with Upstream(always(answer(b"no", "403 Forbidden"))) as app:
        client = raw(weir(site(app)))
        client.send(upgrade() + get("/hello") + upgrade())
        assert [client.read().status for _ in range(3)] == [403, 200, 403]
        assert client.send(get("/hello")).read().body == b"hello"
    assert [request.target for request in app.requests] == ["/ws", "/ws"]
    assert app.connections == 1


WRONG = [
    ("another protocol", LINE + b"Connection: upgrade\r\nUpgrade: chat\r\n\r\n"),
    ("several", LINE + b"Connection: upgrade\r\nUpgrade: websocket, chat\r\n\r\n"),
    ("twice", LINE + b"Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n"),
    ("none", LINE + b"Connection: upgrade\r\n\r\n"), ("no Connection", LINE + b"Upgrade: websocket\r\n\r\n"),
    ("HTTP/1.0", b"HTTP/1.0 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("with a length", LINE + b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello"),
    ("in chunks", LINE + b"Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")]


def test_a_switch_to_something_else_is_502(weir, raw):
    with Upstream(lambda peer, _: peer.send(WRONG[(peer.number - 1) // 2][1] + answer(b"poison"))) as app:
        client = raw(weir(site(app)))
        for why, _ in WRONG:
            for _ in range(2):
                got = client.send(upgrade()).read()
                assert (got.status, got.field("proxy-status")) == (502, "weir; error=http_protocol_error"), why
        assert client.send(get("/hello")).read().body == b"hello"
    assert app.connections == 2 * len(WRONG)


def test_an_unasked_switch_is_502(weir, raw):
    with Upstream(always(to())) as app:
        running = weir(site(app))
        assert raw(running).send(get("/ws")).read().status == 502
        running.wait_for_line("101 that nobody asked for")


def test_interim_answers_come_first(weir, raw):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with Upstream(lambda peer, _: peer.send(hint + to() + b"hi")) as app:
        client = raw(weir(site(app)))
        assert client.send(upgrade()).read_head().status == 103
        assert client.read_head().status == 101
        assert take(client, 2) == b"hi"


def test_a_stale_connection_is_replaced(weir, raw):
    def script(peer, request):
        if request.target == "/ws?1":
            peer.send(answer())
            return True
        if peer.number == 1:
            return False
        peer.send(to())
        peer.send(peer._exactly(2))

    with Upstream(script) as app:
        client = raw(weir(site(app)))
        assert client.send(get("/ws?1")).read().status == 200
        switched(client)
        assert take(client.send(b"hi"), 2) == b"hi"
    assert app.connections == 2


# ---- ends ----------------------------------------------------------------------------------------


def test_the_client_ends_first(weir, raw):
    """Its end goes on, and the upstream's answer to that comes back."""
    def script(peer, _):
        peer.send(to())
        got = b""
        while data := peer.socket.recv(65536):
            got += data
        peer.send(b"<" + got + b">")

    with Upstream(script) as app:
        client = raw(weir(site(app)))
        switched(client)
        client.send(b"bye").finish_sending()
        assert take(client, 5) == b"<bye>"
        client.expect_closed()


def test_the_upstream_ends_first(weir, raw):
    got, over = [], threading.Event()

    def script(peer, _):
        peer.send(to() + b"bye")
        peer.socket.shutdown(socket.SHUT_WR)
        while data := peer.socket.recv(65536):
            got.append(data)
        over.set()

    with Upstream(script) as app:
        client = raw(weir(site(app)))
        switched(client)
        assert take(client, 3) == b"bye"
        assert client.wait_end() == CLOSED
        for _ in range(3):
            client.send(b"x" * 100000)
        client.finish_sending()
        assert over.wait(slow(20))
    assert len(b"".join(got)) == 300000


def test_an_upstream_that_resets_is_a_reset(weir, raw):
    def script(peer, _):
        peer.send(to() + b"hi")
        peer._exactly(1)
        peer.reset()

    with Upstream(script) as app:
        running = weir(site(app))
        client = raw(running)
        switched(client)
        assert take(client, 2) == b"hi"
        client.send(b"x")
        assert client.wait_end() == RESET
        running.wait_for_line("closed: the tunnel is broken off")


def test_a_client_that_vanishes_takes_its_upstream_along(weir, raw):
    seen = threading.Event()

    def script(peer, _):
        peer.send(to())
        peer.wait_closed()
        seen.set()

    with Upstream(script) as app:
        running = weir(site(app))
        for vanish in ("reset", "close"):
            client = raw(running)
            switched(client)
            getattr(client, vanish)()
            assert seen.wait(slow(10)), vanish
            seen.clear()


def test_a_tunnel_that_nothing_goes_through_ends(weir, raw):
    ends, over = [], threading.Event()

    def script(peer, _):
        peer.send(to())
        try:
            ends.append(peer.socket.recv(1))
        except ConnectionError as error:
            ends.append(error)
        over.set()

    with Upstream(script) as app:
        running = weir(site(app, timeouts={"idle": "300ms"}))
        client = raw(running)
        switched(client)
        client.expect_closed()
        assert over.wait(slow(10))
    assert ends == [b""]


def test_a_client_that_does_not_read_is_cut(weir, raw):
    over = threading.Event()

    def script(peer, _):
        peer.send(to())
        try:
            for _ in range(10000):
                peer.send(b"x" * 65536)
        except OSError:
            over.set()

    with Upstream(script) as app:
        running = weir(site(app, timeouts={"send": "1s", "idle": "1h"}))
        client = raw(running)
        switched(client)
        assert over.wait(slow(20))


def test_an_upstream_that_does_not_read_is_cut(weir, raw):
    stop = threading.Event()

    def script(peer, _):
        peer.send(to())
        stop.wait(slow(20))

    with Upstream(script) as app:
        running = weir(site(app, upstream={"timeouts": {"send": "500ms"}}))
        client = raw(running)
        switched(client)
        with pytest.raises(OSError):
            for _ in range(10000):
                client.send(b"x" * 65536)
        stop.set()
        running.wait_for_line("send_timeout: the tunnel is broken off")


def test_slow_ends_hold_each_other_back(weir, raw):
    """What is under way in either direction is bounded, and all of it arrives."""
    size, go, over = 30_000_000, threading.Event(), threading.Event()
    got = []

    def script(peer, _):
        peer.send(to())

        def read():
            assert go.wait(slow(30))
            count = 0
            while data := peer.socket.recv(1 << 20):
                count += len(data)
            got.append(count)
            over.set()

        reading = threading.Thread(target=read)
        reading.start()
        peer.send(b"d" * size)
        peer.socket.shutdown(socket.SHUT_WR)
        reading.join()

    with Upstream(script) as app:
        client = raw(weir(site(app)))
        switched(client)
        sending = threading.Thread(target=lambda: (client.send(b"u" * size), client.finish_sending()))
        sending.start()
        go.set()
        count = len(client.buffer)
        while data := client.socket.recv(1 << 20):
            count += len(data)
        sending.join()
        assert over.wait(slow(20))
    assert (count, got) == (size, [size])


# ---- what is seen of them ------------------------------------------------------------------------


def log_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_tunnel_is_one_request_that_ends_with_it(weir, raw, tmp_path):
    log = tmp_path / "access.log"
    with Upstream(echo) as app:
        document = site(app)
        document["servers"][0]["routes"][0]["use"] = [{"access_log": str(log)}]
        running = weir(document)
        client = raw(running)
        switched(client)
        assert take(client.send(b"x" * 1000), 1000)
        with raw(running) as other:
            def figures():
                return Scrape(other.send(get("/metrics")).read().body.decode())

            assert eventually(lambda: figures().value("weir_tunnels") == 1)
            assert log_lines(log) == []
            client.finish_sending()
            client.expect_closed()
            assert eventually(lambda: len(log_lines(log)) == 1)
            assert eventually(lambda: figures().value("weir_tunnels") == 0)
            assert figures().value("weir_upgrades_total") == 1
    line = log_lines(log)[0]
    assert (line["status"], line["end"]) == (101, "complete")


# ---- stopping and reloading ----------------------------------------------------------------------


def test_a_tunnel_outlives_a_reload(weir, raw):
    with Upstream(echo) as app:
        running = weir(site(app))
        client = raw(running)
        switched(client)
        running.signal(signal.SIGHUP)
        running.wait_for_line("draining: no new connections")
        for part in (b"still", b"there"):
            assert take(client.send(part), 5) == part
        with raw(running) as other:  # of the next generation
            switched(other)
            assert take(other.send(b"new"), 3) == b"new"
            other.finish_sending()
            other.expect_closed()
        client.finish_sending()
        client.expect_closed()
        running.wait_for_line("stopped: every answer was sent")


def test_a_tunnel_ends_in_order_before_the_drain_is_over(weir, raw, tmp_path):
    """The upstream is told by an end, says its last, and the client gets it."""
    def script(peer, _):
        peer.send(to())
        while peer.socket.recv(65536):
            pass
        peer.send(b"goodbye")

    log = tmp_path / "access.log"
    with Upstream(script) as app:
        document = site(app, workers={"processes": 1, "drain_timeout": "10s"})
        document["servers"][0]["routes"][0]["use"] = [{"access_log": str(log)}]
        running = weir(document)
        client = raw(running, slow(30))
        switched(client)
        running.signal(signal.SIGTERM)
        assert take(client, 7) == b"goodbye"
        client.expect_closed()
        client.close()
        running.wait_exit()
    assert "are cut" not in running.log
    assert [line["end"] for line in log_lines(log)] == ["stopped"]


def test_a_tunnel_that_goes_on_is_cut_at_the_end_of_the_drain(weir, raw):
    stop = threading.Event()

    def script(peer, _):
        peer.send(to())
        stop.wait(slow(30))

    with Upstream(script) as app:
        running = weir(site(app, workers={"processes": 1, "drain_timeout": "1s"}))
        client = raw(running)
        switched(client)
        running.signal(signal.SIGTERM)
        assert client.wait_end() in (CLOSED, RESET)
        running.wait_exit()
        stop.set()
    assert "workers.drain_timeout is over, open connections are cut" in running.log


def test_status_tells_tunnels(weir, raw):
    with Upstream(echo) as app:
        running = weir(site(app, workers={"processes": 1}))
        client = raw(running)
        switched(client)
        status = [f"{os.environ['WEIR_BUILDDIR']}/weir", "status", "-c", running.folder / "weir.json"]

        def said():
            return subprocess.run(status, capture_output=True, text=True, env=running.env).stdout

        assert eventually(lambda: "; 1 tunnels" in said()), said()
        client.finish_sending()
        client.expect_closed()
        assert eventually(lambda: "; 0 tunnels" in said()), said()
