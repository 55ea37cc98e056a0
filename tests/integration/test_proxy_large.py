# SPDX-License-Identifier: MIT
"""Bodies of 256 MiB through the proxy, up and down, while either side is slow: whole, and within bounded memory (issue
"Reverse proxy", what it must show, 3); a quarter of that in chunks. WEIR_LARGE_MIB says how large otherwise;
contrib/soak takes 10 GiB."""

import hashlib
import os
import select
import threading

import pytest
from weir_process import eventually, is_instrumented, resident_bytes, slow
from weir_site import get, server
from weir_upstream import Upstream

MIB = 1 << 20
SIZE = int(os.environ.get("WEIR_LARGE_MIB") or (32 if is_instrumented() else 256)) * MIB
PART = bytes(range(251)) * 4178  # about a MiB, which no power of two divides

# What a body that nobody takes may cost: both marks, sockets' memory aside, and what the allocator keeps.
BOUND = 32 * MIB


def size_of(chunked):
    return SIZE // 4 if chunked else SIZE


def parts(chunked):
    left = size_of(chunked)
    while left > 0:
        yield PART[:left]
        left -= min(len(PART), left)


def digest(chunked):
    whole = hashlib.sha256()
    for part in parts(chunked):
        whole.update(part)
    return whole.hexdigest()


class Sender:
    """Sends the body, in chunks or as it is, on a thread of its own; `stuck` is set when the socket takes no more."""

    def __init__(self, sock, chunked):
        self.socket, self.chunked, self.stuck, self.error = sock, chunked, threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            for part in parts(self.chunked):
                self.send(b"%x\r\n%b\r\n" % (len(part), part) if self.chunked else part)
            if self.chunked:
                self.send(b"0\r\n\r\n")
        except OSError as error:
            self.error = error

    def send(self, data):
        view = memoryview(data)
        while view:
            if not select.select([], [self.socket], [], 0)[1]:
                self.stuck.set()
                assert select.select([], [self.socket], [], slow(60))[1]
            view = view[self.socket.send(view):]

    def join(self):
        self.thread.join(slow(120))
        assert not self.thread.is_alive() and self.error is None


def framing(chunked):
    return "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {SIZE}\r\n"


def site(address):
    return {"modules": ["proxy"], "upstreams": {"app": {"targets": address}}, "workers": {"processes": 1},
            "servers": [server({"handle": {"proxy": "app"}}, limits={"body": False})]}


class Memory:
    """The most that the processes have had above what they began with."""

    def __init__(self, running):
        self.pids = running.processes()
        self.first, self.most = self.now(), 0

    def now(self):
        return sum(resident_bytes(pid) for pid in self.pids)

    def look(self):
        self.most = max(self.most, self.now() - self.first)

    def check(self):
        assert is_instrumented() or self.most < BOUND, f"{self.most / MIB:.0f} MiB"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_large_answer_to_a_client_that_stops_reading(weir, raw, chunked):
    sender = []

    def script(peer, request):
        peer.send(f"HTTP/1.1 200 OK\r\n{framing(chunked)}\r\n".encode())
        sender.append(Sender(peer.socket, chunked))
        sender[0].join()
        return True

    with Upstream(script) as app:
        running = weir(site(app.address))
        memory = Memory(running)
        with raw(running.address) as client:
            client.send(get())
            assert eventually(lambda: sender, 20) and sender[0].stuck.wait(slow(30))
            memory.look()  # the upstream has no room, since the client takes nothing
            body, got, looked = hashlib.sha256(), 0, 0
            for part in answer_parts(client, chunked):
                body.update(part)
                got += len(part)
                if got - looked > SIZE // 16:
                    memory.look()
                    looked = got
            assert (got, body.hexdigest()) == (size_of(chunked), digest(chunked))
            memory.check()


def answer_parts(client, chunked):
    """The body of one answer as it comes."""
    client.socket.settimeout(slow(30))
    while b"\r\n\r\n" not in client.buffer:
        assert client._more()
    head, _, rest = bytes(client.buffer).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and (b"chunked" in head) == chunked, head
    client.buffer = rest
    while chunked:
        size = int(client._line("chunk size"), 16)
        if size == 0:
            assert client._line("end") == b""
            return
        yield client._exactly(size, "chunk")
        assert client._exactly(2, "chunk") == b"\r\n"
    left = SIZE
    while left > 0:
        yield client.buffer
        left -= len(client.buffer)
        client.buffer = b""
        assert left == 0 or client._more()
    assert left == 0


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_large_request_to_an_upstream_that_stops_reading(weir, raw, chunked):
    go_on = threading.Event()

    def script(peer, request):
        assert go_on.wait(slow(60))
        body = hashlib.sha256()
        if chunked:
            while size := int(peer._line(), 16):
                body.update(peer._exactly(size))
                assert peer._exactly(2) == b"\r\n"
            assert peer._line() == b""
        else:
            left = SIZE
            while left > 0:
                if not peer.buffer:
                    peer._more()
                body.update(peer.buffer)
                left -= len(peer.buffer)
                peer.buffer = b""
                if left % 16 == 0:
                    memory.look()
            assert left == 0
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + body.hexdigest().encode())
        return True

    with Upstream(script, eager=True) as app:
        running = weir(site(app.address))
        memory = Memory(running)
        with raw(running.address, slow(60)) as client:
            client.send(f"PUT / HTTP/1.1\r\nHost: a\r\n{framing(chunked)}\r\n".encode())
            sender = Sender(client.socket, chunked)
            assert sender.stuck.wait(slow(30))
            memory.look()  # the client has no room, since the upstream takes nothing
            go_on.set()
            sender.join()
            memory.look()
            got = client.read()
            assert (got.status, got.body.decode()) == (200, digest(chunked))
            memory.check()
