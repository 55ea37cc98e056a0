# SPDX-License-Identifier: MIT
"""A client that sends exactly the bytes it is given and reads answers as RFC 9112 has them, strictly:
what a lenient client would forgive raises BadAnswer. It also tells a clean end of a connection
from a reset."""

import re
import socket

from weir_process import slow

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([\t \x21-\x7e\x80-\xff]*)\Z")
FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*\Z")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\Z")

CLOSED, RESET, OPEN = "closed", "reset", "open"


class BadAnswer(AssertionError):
    """The server sent something that RFC 9110 or 9112 does not allow."""


class Response:
    """One answer. `fields` keeps order and spelling; field() joins by name; `interim` are the 1xx
    answers that came before; `framing` is how the end of the body was found."""

    def __init__(self, version, status, reason, fields):
        self.version, self.status, self.reason, self.fields = version, status, reason, fields
        self.body = b""
        self.trailers = []
        self.interim = []
        self.framing = "none"

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def field(self, name):
        """The value, several joined as RFC 9110 section 5.3 says; None without any."""
        values = self.all(name)
        return ", ".join(values) if values else None

    def __repr__(self):
        return f"<{self.status} {self.fields} {self.body[:80]!r}>"


def ways(data):
    """How a test sends `data`: whole, byte by byte, and in two parts split at every point."""
    return ["whole", "bytes", *range(1, len(data))]


class Connection:
    """One connection. `address` is "host:port", "unix:PATH", or anything with such an .address."""

    def __init__(self, address, seconds=10):
        address = getattr(address, "address", address)
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(slow(seconds))
            self.socket.connect(address[5:])
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host.strip("[]"), int(port)), slow(seconds))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.ended = None  # CLOSED or RESET once seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # --- sending

    def send(self, data, how="whole"):
        """`how`: "whole", "bytes" (one a segment), or the length of the first of two parts."""
        if how == "whole":
            parts = [data]
        elif how == "bytes":
            parts = [data[i : i + 1] for i in range(len(data))]
        else:
            parts = [data[:how], data[how:]]
        for part in parts:
            self.socket.sendall(part)
        return self

    def finish_sending(self):
        """Our FIN: the client has said all it will say."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Our RST: the client is gone."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    # --- reading

    def _more(self):
        """Reads once; False at the end, whose kind is in `ended`."""
        if self.ended is None:
            try:
                data = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                self.ended = RESET
                return False
            if data:
                self.buffer += data
                return True
            self.ended = CLOSED
        return False

    def _line(self, what):
        while b"\n" not in self.buffer:
            if len(self.buffer) > 1 << 20:
                raise BadAnswer(f"{what}: a line of more than a megabyte")
            if not self._more():
                raise BadAnswer(f"{what}: connection {self.ended} after {self.buffer!r}")
        line, _, self.buffer = self.buffer.partition(b"\n")
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise BadAnswer(f"{what}: the line does not end in CRLF: {line!r}")
        return line[:-1]

    def _exactly(self, count, what):
        while len(self.buffer) < count:
            if not self._more():
                raise BadAnswer(f"{what}: connection {self.ended} with {len(self.buffer)} of {count} bytes")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _fields(self, what):
        fields = []
        while True:
            line = self._line(what)
            if not line:
                return fields
            match = FIELD_LINE.match(line)
            if not match:
                raise BadAnswer(f"{what}: not a field line: {line!r}")
            fields.append((match.group(1).decode(), match.group(2).decode("latin-1")))

    def read_head(self):
        """One head, 1xx or final."""
        line = self._line("status line")
        match = STATUS_LINE.match(line)
        if not match:
            raise BadAnswer(f"not a status line: {line!r}")
        version, status, reason = match.groups()
        return Response(f"HTTP/1.{version.decode()}", int(status), reason.decode("latin-1"), self._fields("head"))

    def read(self, method="GET"):
        """One whole answer to a request of that method (RFC 9112 section 6.3)."""
        interim = []
        response = self.read_head()
        while 100 <= response.status < 200 and response.status != 101:
            self._bodyless(response)
            interim.append(response)
            response = self.read_head()
        response.interim = interim
        return self.finish(response, method)

    def finish(self, response, method="GET"):
        """The rest of an answer whose final head was read: its body, its trailers."""
        lengths = response.all("content-length")
        codings = response.all("transfer-encoding")
        if lengths and codings:
            raise BadAnswer("both Content-Length and Transfer-Encoding")
        if len(lengths) > 1 or (lengths and not re.fullmatch(r"[0-9]+", lengths[0])):
            raise BadAnswer(f"Content-Length: {lengths}")
        if codings and [c.lower() for c in codings] != ["chunked"]:
            raise BadAnswer(f"Transfer-Encoding: {codings}")

        if response.status in (101, 204):
            self._bodyless(response)
        elif method == "HEAD" or response.status == 304 or (method == "CONNECT" and 200 <= response.status < 300):
            pass
        elif codings:
            response.framing = "chunked"
            response.body, response.trailers = self._chunks()
        elif lengths:
            response.framing = "length"
            response.body = self._exactly(int(lengths[0]), "body")
        else:
            response.framing = "close"
            while self._more():
                pass
            if self.ended != CLOSED:
                raise BadAnswer("a body that ends with the connection ended in a reset")
            response.body, self.buffer = self.buffer, b""
        return response

    def _bodyless(self, response):
        for name in ("content-length", "transfer-encoding"):
            if response.all(name):
                raise BadAnswer(f"{response.status} with {name} (RFC 9110 section 8.6, RFC 9112 section 6.1)")

    def _chunks(self):
        body = []
        while True:
            line = self._line("chunk size")
            match = CHUNK_SIZE.match(line)
            if not match:
                raise BadAnswer(f"not a chunk size: {line!r}")
            size = int(match.group(1), 16)
            if size == 0:
                return b"".join(body), self._fields("trailers")
            body.append(self._exactly(size, "chunk"))
            if self._exactly(2, "chunk") != b"\r\n":
                raise BadAnswer("a chunk is longer than it said")

    # --- the end

    def wait_end(self, seconds=10):
        """CLOSED or RESET, or OPEN when neither came within the bound. Bytes that nobody asked for
        raise: an answer too many is a fault like one too few."""
        self.socket.settimeout(slow(seconds))
        try:
            while self._more():
                pass
        except socket.timeout:
            pass
        if self.buffer:
            raise BadAnswer(f"bytes after the last answer: {self.buffer[:200]!r}")
        return self.ended or OPEN

    def expect_closed(self, seconds=10):
        """The server closes cleanly and says nothing more."""
        end = self.wait_end(seconds)
        if end != CLOSED:
            raise BadAnswer(f"the connection was {end}, not closed")

    def expect_open(self):
        """The connection can still be used: nothing is waiting to be read, neither bytes nor an
        end. What is still on its way cannot be seen; send a request to be sure."""
        self.socket.setblocking(False)
        try:
            self._more()
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(slow(10))
        if self.buffer or self.ended:
            raise BadAnswer(f"connection {self.ended or 'open'}, unread: {self.buffer[:200]!r}")


def request(address, data, method="GET", how="whole"):
    """One connection, one request, one answer."""
    with Connection(address) as connection:
        return connection.send(data, how).read(method)
