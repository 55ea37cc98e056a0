# SPDX-License-Identifier: MIT
"""Slow clients cost no thread (F11 to F13, DESIGN.md section 1): whatever fifty of them are doing, an
ordinary request is answered as on an idle server, and when they leave nothing is left. So it is
where a loop answers alone, and where every request, theirs included, needs a thread of a pool of
two (the thread-hold matrix)."""

import contextlib
import os
import resource
import socket
import statistics
import threading
import time
from pathlib import Path

import pytest
import weir_raw
from weir_process import descriptors, eventually, slow
from weir_site import GET, HELLO, get, route, site

MANY = 50
LARGE = 1 << 20


LOOKUP = f"{os.environ['WEIR_BUILDDIR']}/contrib/examples/lookup/.libs/lookup.so"


@pytest.fixture(scope="module", params=["no thread", "a thread of two"])
def server(weir_for_all, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("files")
    banned = folder / "banned"
    banned.write_text("192.0.2.1\n")
    lookup = {"name": "lookup", "path": LOOKUP, "options": {"file": str(banned)}}
    (folder / "file").write_bytes(b"x" * LARGE)
    needs_thread = request.param != "no thread"
    server = weir_for_all(site(
        route("/hello", "hello"), route("/large", "x" * LARGE), route("/medium", "x" * 60_000),
        {"match": "/file", "handle": {"static": str(folder)}}, top={
            "modules": ["respond", "static", *([lookup] if needs_thread else [])],
            "pools": {"default": {"min": 2, "max": 2}},
            "defaults": {"limits": {"body": "10m"},
                         "use": ["lookup"] if needs_thread else []}}))
    with weir_raw.Connection(server) as connection:
        connection.send(get("/file")).read()  # from now on the file is held open
    if needs_thread:
        assert eventually(lambda: all_threads_know(server, str(banned)))
    server.unused = server.descriptor_count()
    return server


def all_threads_know(server, file):
    """Whether both threads have opened it; where not, gives them something to do."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(weir_raw.Connection(server)) for _ in range(10)]
        for connection in connections:
            connection.send(get("/hello"))
        for connection in connections:
            connection.read()
    return [path for pid in server.processes() for path in descriptors(pid).values()].count(file) == 2


def deaf(raw, server):
    """A connection that will read nothing; its own buffer is small, so that the server's side fills."""
    connection = raw(server)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connection


def in_the_head(raw, server):
    return raw(server).send(b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Slow: ")


def in_the_request_line(raw, server):
    return raw(server).send(b"GE")


def silent(raw, server):
    return raw(server)


def idle(raw, server):
    connection = raw(server).send(GET)
    assert connection.read().body == HELLO
    return connection


def half_open(raw, server):
    """Their FIN in the middle of a head, or behind a request whose answer they do not read."""
    connection = deaf(raw, server).send(get("/large") * 8)
    connection.finish_sending()
    return connection


def in_the_body(raw, server):
    connection = raw(server).send(get(method="POST", fields="Content-Length: 100000\r\n") + b"x")
    assert connection.read().status == 200
    return connection


def in_the_chunks(raw, server):
    """Nobody reads them, and yet the answer waits for their end."""
    return raw(server).send(get(method="POST", fields="Transfer-Encoding: chunked\r\n") + b"10000\r\nx")


def not_reading(raw, server):
    return deaf(raw, server).send(get("/large") * 8)


def not_reading_a_file(raw, server):
    return deaf(raw, server).send(get("/file") * 8)


def pipelining_without_reading(raw, server):
    return deaf(raw, server).send(get("/medium") * 100)


def lingering(raw, server):
    """They were refused and neither read the answer nor close."""
    return raw(server).send(get(host=None))


ATTACKS = [in_the_head, in_the_request_line, silent, idle, half_open, in_the_body, in_the_chunks, not_reading,
           not_reading_a_file, pipelining_without_reading, lingering]


def typical_time(raw, server):
    """Of one request on a connection of its own, from connect to answer."""
    times = []
    for _ in range(31):
        began = time.perf_counter()
        with raw(server) as connection:
            assert connection.send(GET).read().body == HELLO
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@pytest.fixture(autouse=True)
def nothing_is_left(server, raw):
    yield
    for connection in raw.connections:
        connection.close()
    server.descriptors_return_to(server.unused)


def trickle(attackers, attack):
    """What a slow sender does: one more byte each."""
    if attack in (in_the_head, in_the_body, in_the_chunks):
        for attacker in attackers:
            attacker.send(b"x")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_ordinary_request_is_answered_meanwhile(server, raw, attack):
    idle_time = typical_time(raw, server)
    attackers = [attack(raw, server) for _ in range(MANY)]
    meanwhile = []
    for _ in range(3):
        trickle(attackers, attack)
        meanwhile.append(typical_time(raw, server))
    # F12's bound, and what noise makes of a fast one.
    assert min(meanwhile) < max(slow(0.1), 10 * idle_time), (idle_time, meanwhile)


def test_all_of_them_together(server, raw):
    idle_time = typical_time(raw, server)
    for attack in ATTACKS:
        for _ in range(MANY // 2):
            attack(raw, server)
    meanwhile = [typical_time(raw, server) for _ in range(3)]
    assert min(meanwhile) < max(slow(0.1), 10 * idle_time), (idle_time, meanwhile)


def test_a_kept_connection_is_answered_meanwhile(server, raw):
    connection = raw(server)
    for attack in ATTACKS:
        for _ in range(10):
            attack(raw, server)
    for _ in range(200):
        assert connection.send(GET).read().body == HELLO


def test_a_thousand_idle_connections_are_nothing(server, raw):
    """F11; fewer where the machine allows fewer descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, soft - 200)
    if count < 100:
        pytest.skip(f"only {soft} descriptors")
    idle_time = typical_time(raw, server)
    crowd = [idle(raw, server) for _ in range(count)]
    assert min(typical_time(raw, server) for _ in range(3)) < max(slow(0.1), 10 * idle_time)
    for connection in crowd:
        assert connection.send(GET).read().body == HELLO


def test_a_fast_pipeliner_does_not_hold_the_loop(server, raw):
    """Requests a turn are bounded (limits.pipeline): others get their turn among twenty thousand."""
    greedy = raw(server)
    other = raw(server)
    assert other.send(GET).read().body == HELLO
    count = 20_000
    sender = threading.Thread(target=greedy.send, args=(GET * count,), daemon=True)
    sender.start()
    done = threading.Event()

    def read_all():
        for _ in range(count):
            greedy.read()
        done.set()

    reader = threading.Thread(target=read_all, daemon=True)
    reader.start()
    asked = 0
    while not done.wait(0):
        assert other.send(GET).read().body == HELLO
        asked += 1
    sender.join(slow(10))
    reader.join(slow(10))
    assert asked >= 3


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def is_sanitized(pid):
    """A sanitizer reserves terabytes of addresses for its shadow, and keeps what was freed."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize() > 1 << 40


@pytest.mark.parametrize("count", [
    1,
    100,
])
def test_a_reader_that_does_not_read_costs_little_memory(weir, raw, count):
    """F13, DESIGN.md section 1, 4: what waits for a slow client is bounded, however much it asked."""
    server = weir(site(route("/hello", "hello"), route("/large", "x" * LARGE)))
    assert raw(server).send(get("/large")).read().status == 200
    if is_sanitized(server.pid):
        pytest.skip("under a sanitizer freed memory is kept")
    before = resident_bytes(server.pid)
    for _ in range(4):
        deaf(raw, server).send(get("/large") * count)
    for _ in range(3):
        assert raw(server).send(GET).read().body == HELLO
    growth = resident_bytes(server.pid) - before
    for connection in raw.connections:
        connection.close()
    assert growth < 4 * 3 * LARGE, f"{growth >> 20} MiB"


def test_a_slow_reader_gets_every_byte(server, raw):
    """F52: in small pieces, through a full socket buffer."""
    connection = raw(server).send(get("/large") * 4)
    for _ in range(4):
        length = int(connection.read_head().field("content-length"))
        while length > 0:
            piece = min(length, 5000)
            assert connection._exactly(piece, "body") == b"x" * piece
            length -= piece
    connection.expect_open()
