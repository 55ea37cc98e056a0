# SPDX-License-Identifier: MIT
"""`buffering` of the handler `proxy` (F65): a client that reads slowly does not hold the upstream, whose answer is
kept in memory and then in a file without a name (F14)."""

import hashlib
import os
import signal

import pytest
from weir_process import descriptors, eventually, is_instrumented, process_tree, resident_bytes
from weir_raw import BadAnswer
from weir_site import get, server
from weir_upstream import Upstream, answer

MEBIBYTE = 1 << 20
LARGE = 16 * MEBIBYTE  # more than the sockets on the way hold
HUGE = (16 if is_instrumented() else 64) * MEBIBYTE
PIECE = os.urandom(MEBIBYTE)


def site(folder, app, buffering=True, workers=None, upstream=None, **limits):
    """All requests go over one connection to the upstream: whoever holds it keeps the others waiting."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    folder.parent.chmod(0o755)
    return {"modules": ["proxy"],
            "workers": {"processes": 1, "temp_dir": str(folder), **(workers or {})},
            "pools": {"default": {"min": 2, "max": 2}},
            "upstreams": {"app": {"targets": app.address, "connections": 1, "timeouts": {"queue": "60s"},
                                  **(upstream or {})}},
            "servers": [server({"handle": {"proxy": {"to": "app", "buffering": buffering}}}, limits=limits)]}


def large(peer, size, fields=""):
    peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{fields}\r\n".encode())
    for _ in range(size // MEBIBYTE):
        peer.send(PIECE)


def script(peer, request):
    """/large is LARGE bytes, /huge HUGE, /chunks LARGE in chunks with a trailer, /short breaks off, anything else is small."""
    if request.target == "/large":
        large(peer, LARGE)
    elif request.target == "/huge":
        large(peer, HUGE)
    elif request.target == "/chunks":
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n")
        for _ in range(LARGE // MEBIBYTE):
            peer.send(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
        peer.send(b"0\r\nX-End: reached\r\n\r\n")
    elif request.target == "/short":
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for _ in range(4):
            peer.send(PIECE)
        return False
    else:
        peer.send(answer(b"small"))
    return True


def files(running):
    """Files without a name that any process of the server has open."""
    return [name for pid in process_tree(running.pid) for name in descriptors(pid).values()
            if name.startswith("/") and "(deleted)" in name and "memfd" not in name]


def digest_of(size):
    digest = hashlib.sha256()
    for _ in range(size // MEBIBYTE):
        digest.update(PIECE)
    return digest.digest()


def read_large(client):
    """(status, digest of the body) of an answer with a length, which is not held."""
    response = client.read_head()
    digest, left = hashlib.sha256(client.buffer), int(response.field("content-length")) - len(client.buffer)
    client.buffer = b""
    while left > 0:
        data = client.socket.recv(min(left, 1 << 18))
        assert data, f"{left} bytes are missing"
        digest.update(data)
        left -= len(data)
    return response.status, digest.digest()


def other(raw, running, seconds=60):
    """Another client's request, answered once the connection to the upstream is free."""
    with raw(running, seconds) as client:
        return client.send(get("/small")).read()


def test_a_slow_reader_does_not_hold_the_upstream(weir, raw, tmp_path):
    with Upstream(script) as app:
        running = weir(site(tmp_path / "temp", app))
        assert other(raw, running).body == b"small"
        before = resident_bytes(running.pid)
        slow_one = raw(running, 60).send(get("/huge"))
        assert app.wait(lambda: len(app.requests) == 2)
        assert other(raw, running).body == b"small"  # none of the large answer has been read
        assert app.connections == 1
        after = resident_bytes(running.pid)
        assert is_instrumented() or after - before < 16 * MEBIBYTE
        assert os.listdir(tmp_path / "temp") == []
        assert len(files(running)) == 1
        assert read_large(slow_one) == (200, digest_of(HUGE))
        assert slow_one.send(get("/small")).read().body == b"small"
        assert eventually(lambda: files(running) == [])


def test_without_it_the_others_wait(weir, raw, tmp_path):
    """So that the test above shows something."""
    with Upstream(script) as app:
        running = weir(site(tmp_path / "temp", app, buffering=False, upstream={"timeouts": {"queue": "300ms"}}))
        raw(running, 60).send(get("/large"))
        assert app.wait(lambda: len(app.requests) == 1)
        assert other(raw, running).status == 503
        assert files(running) == []


def test_chunks_and_trailers_are_kept(weir, raw, tmp_path):
    with Upstream(script) as app:
        running = weir(site(tmp_path / "temp", app))
        slow_one = raw(running, 60).send(get("/chunks", fields="TE: trailers\r\nConnection: TE\r\n"))
        assert app.wait(lambda: len(app.requests) == 1)
        assert other(raw, running).body == b"small"
        got = slow_one.read()
        assert (got.framing, hashlib.sha256(got.body).digest()) == ("chunked", digest_of(LARGE))
        assert got.trailers == [("X-End", "reached")]


@pytest.mark.parametrize("target, method", [("/small", "GET"), ("/large", "HEAD")])
def test_what_is_small_or_has_no_body_stays_as_it_is(weir, raw, tmp_path, target, method):
    def head(peer, request):
        if request.method == "HEAD":
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            return True
        return script(peer, request)
    with Upstream(head) as app:
        running = weir(site(tmp_path / "temp", app))
        with raw(running) as client:
            for _ in range(3):
                got = client.send(get(target, method=method)).read(method)
                assert (got.status, got.body) == (200, b"small" if method == "GET" else b"")
                assert got.field("content-length") == ("5" if method == "GET" else "1000000")
        assert app.connections == 1
        assert files(running) == []


def test_clients_that_leave_take_their_files_along(weir, raw, tmp_path):
    with Upstream(script) as app:
        running = weir(site(tmp_path / "temp", app, upstream={"connections": False}))
        clients = [raw(running).send(get("/large")) for _ in range(4)]
        assert eventually(lambda: len(files(running)) == 4, 60)
        for client in clients[:2]:
            client.reset()
        for client in clients[2:]:
            client.close()
        assert eventually(lambda: files(running) == [])
        assert other(raw, running).body == b"small"


def test_a_full_disk_loses_nothing(weir, raw, tmp_path):
    """Who is slow holds the upstream after all, and gets the whole answer."""
    with Upstream(script) as app:
        running = weir(site(tmp_path / "temp", app, workers={"temp_size": "4m"}))
        running.expect_error("answers cannot be kept in .*temp: workers.temp_size, or a quota, is used up")
        client = raw(running, 60).send(get("/large"))
        running.wait_for_line("answers cannot be kept", 60)
        assert read_large(client) == (200, digest_of(LARGE))
        assert other(raw, running).body == b"small"
        assert eventually(lambda: files(running) == [])


def test_there_is_a_bound(weir, raw, tmp_path):
    """limits.reply_buffer: above it the upstream waits."""
    with Upstream(script) as app:
        document = site(tmp_path / "temp", app, upstream={"timeouts": {"queue": "300ms"}}, reply_buffer="2m")
        running = weir(document)
        client = raw(running, 60).send(get("/large"))
        assert app.wait(lambda: len(app.requests) == 1)
        assert other(raw, running).status == 503
        assert len(files(running)) == 1
        assert read_large(client) == (200, digest_of(LARGE))


def test_an_answer_that_breaks_off_does_not_look_whole(weir, raw, tmp_path):
    with Upstream(script) as app:
        running = weir(site(tmp_path / "temp", app))
        running.expect_error("GET /short: the answer could not be finished")
        with raw(running) as client:
            client.send(get("/short"))
            with pytest.raises(BadAnswer):
                client.read()
        running.wait_for_line("the answer is broken off")
        assert eventually(lambda: files(running) == [])
        assert other(raw, running).body == b"small"


def test_a_worker_that_is_killed_leaves_no_file(weir, raw, tmp_path):
    with Upstream(script) as app:
        running = weir(site(tmp_path / "temp", app))
        running.expect_error("worker .*SIGKILL|killed")
        raw(running).send(get("/large"))
        assert eventually(lambda: len(files(running)) == 1, 60)
        assert os.listdir(tmp_path / "temp") == []
        held = [pid for pid in process_tree(running.pid)
                if any(name.startswith("/") and "(deleted)" in name and "memfd" not in name
                       for name in descriptors(pid).values())]
        for pid in held:
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: files(running) == [])
        assert os.listdir(tmp_path / "temp") == []


def test_a_slow_upload_holds_no_upstream_either(weir, raw, tmp_path):
    """limits.body_buffer, which is for any handler."""
    with Upstream(script) as app:
        running = weir(site(tmp_path / "temp", app, body_buffer=False, body="8m", body_memory="64k"))
        body = PIECE * 2
        upload = raw(running).send(get("/up", method="POST", fields=f"Content-Length: {len(body)}\r\n") + body[:-1])
        assert eventually(lambda: len(files(running)) == 1)
        assert other(raw, running).body == b"small"
        assert len(app.requests) == 1
        assert upload.send(body[-1:]).read().body == b"small"
        assert app.requests[1].body == body
