# SPDX-License-Identifier: MIT
"""An upstream that does what a test says, to the byte. It reads requests strictly: whatever the
server sends must be one well-formed request after the other.

    def script(peer, request):
        peer.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
        return True                       # keep the connection; else it is closed

    with Upstream(script) as upstream:
        ...  upstream.address, upstream.requests, upstream.connections

The script runs on a thread of each connection, once a request; `eager=True` calls it when the
head is there, and peer.read_body() reads the rest. `greet(peer)` is called once a connection, before
anything is read."""

import re
import socket
import struct
import threading

from weir_process import slow

REQUEST_LINE = re.compile(rb"([A-Z-]+) ([\x21-\x7e]+) HTTP/1\.1\Z")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\x00-\x08\x0a-\x1f\x7f]*)\Z")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\Z")


class BadRequest(AssertionError):
    """The server sent something that is not one well-formed request."""


class Gone(Exception):
    """The server closed the connection."""


class Request:
    def __init__(self, method, target, fields, connection):
        self.method, self.target, self.fields, self.connection = method, target, fields, connection
        self.body, self.trailers = b"", []

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def field(self, name):
        values = self.all(name)
        return ", ".join(values) if values else None

    def __repr__(self):
        return f"<{self.method} {self.target} {self.fields} {self.body[:80]!r}>"


class Peer:
    """The upstream's end of one connection."""

    def __init__(self, sock, number):
        self.socket, self.number, self.buffer = sock, number, b""
        self.socket.settimeout(slow(20))

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_closed(self):
        """Until the server has closed the connection, or reset it."""
        try:
            while self.socket.recv(65536):
                pass
        except (ConnectionError, socket.timeout):
            pass

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Gone
        self.buffer += data

    def _line(self):
        while b"\n" not in self.buffer:
            self._more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        if not line.endswith(b"\r"):
            raise BadRequest(f"a line without CR: {line!r}")
        return line[:-1]

    def _exactly(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _fields(self):
        fields = []
        while line := self._line():
            match = FIELD_LINE.match(line)
            if not match:
                raise BadRequest(f"no field: {line!r}")
            fields.append(tuple(part.decode("latin-1") for part in match.groups()))
        return fields

    def read_head(self):
        """None when the connection ends before the next request begins."""
        try:
            if not self.buffer:
                self._more()
        except (Gone, ConnectionError, socket.timeout):
            return None
        match = REQUEST_LINE.match(self._line())
        if not match:
            raise BadRequest("no request line")
        request = Request(match.group(1).decode(), match.group(2).decode(), self._fields(), self.number)
        if len(request.all("host")) != 1:
            raise BadRequest(f"Host: {request.all('host')}")
        return request

    def read_body(self, request):
        lengths, codings = request.all("content-length"), request.all("transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise BadRequest(f"framing: {lengths} {codings}")
        if codings:
            if codings != ["chunked"]:
                raise BadRequest(f"Transfer-Encoding: {codings}")
            parts = []
            while True:
                size = CHUNK_SIZE.match(self._line())
                if not size:
                    raise BadRequest("no chunk size")
                if int(size.group(1), 16) == 0:
                    request.trailers = self._fields()
                    break
                parts.append(self._exactly(int(size.group(1), 16)))
                if self._exactly(2) != b"\r\n":
                    raise BadRequest("a chunk is longer than it said")
            request.body = b"".join(parts)
        elif lengths:
            request.body = self._exactly(int(lengths[0]))
        return request.body


class Place:
    """A port of the test's own, which refuses connections but while an Upstream(..., place=) is there."""

    def __init__(self):
        first, self.socket = socket.socket(), socket.socket()
        for sock in (first, self.socket):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        self.socket.bind(first.getsockname())  # by its number, so that it stays when nobody listens any more
        first.close()
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Upstream:
    def __init__(self, script, eager=False, address=("127.0.0.1", 0), backlog=64, place=None, greet=None):
        self.script, self.eager, self.greet = script, eager, greet
        self.requests, self.faults, self.connections = [], [], 0
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM) if place is None else place.socket.dup()
        if place is None:
            self.listener.bind(address)
        self.listener.listen(backlog)
        self.address = (f"unix:{address}" if family == socket.AF_UNIX
                        else "127.0.0.1:%d" % self.listener.getsockname()[1])
        self._news = threading.Condition()
        self._peers, self._threads = [], []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind is None and self.faults:
            raise self.faults[0]

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self._accepting.join(slow(10))
        for peer in self._peers:
            try:
                peer.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(slow(10))

    def wait(self, condition, seconds=10):
        with self._news:
            return self._news.wait_for(condition, slow(seconds))

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self._news:
                self.connections += 1
                peer = Peer(sock, self.connections)
                self._news.notify_all()
            self._peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer):
        try:
            if self.greet is not None:
                self.greet(peer)
            while (request := peer.read_head()) is not None:
                if not self.eager:
                    peer.read_body(request)
                with self._news:
                    self.requests.append(request)
                    self._news.notify_all()
                if not self.script(peer, request):
                    break
        except AssertionError as fault:
            self.faults.append(fault)
        except (Gone, OSError):
            pass  # the server left, as it may; the test says whether it should have
        finally:
            peer.close()


def answer(body=b"hello", status="200 OK", fields=""):
    """A whole answer with a length."""
    return (f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n").encode("latin-1") + body


def always(data, keep=True):
    """A script that answers each request with these bytes."""
    def script(peer, _):
        peer.send(data)
        return keep
    return script
