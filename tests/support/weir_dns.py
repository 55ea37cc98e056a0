# SPDX-License-Identifier: MIT
"""A name server that says what a test tells it to, over UDP and TCP on a port of its own.

    with NameServer() as names:
        names.say("app.test", "127.0.0.1", "127.0.0.2", ttl=1)
        names.serve("_http._tcp.test", (priority, weight, port, "host.test"), ttl=1)
        names.fail("bad.test", SERVFAIL)
        ...  names.address, names.asked("app.test"), names.wait(...)

What it was not told of is NXDOMAIN; a name of which it knows another kind has no data."""

import ipaddress
import socket
import struct
import threading

from weir_process import slow

FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5
A, CNAME, AAAA, SRV = 1, 5, 28, 33
RESPONSE, RECURSION, TRUNCATED = 0x8000, 0x0180, 0x0200


def name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def record(name, kind, data, ttl):
    return name_bytes(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


class Question:
    def __init__(self, message):
        self.message, labels, at = message, [], 12
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode())
            at += 1 + message[at]
        self.name = ".".join(labels).lower()
        self.kind, = struct.unpack("!H", message[at + 1:at + 3])
        self.section = message[12:at + 5]

    def answer(self, records=(), code=0, flags=0):
        return (self.message[:2] + struct.pack("!HHHHH", RESPONSE | RECURSION | flags | code, 1, len(records), 0, 0)
                + self.section + b"".join(records))


class NameServer:
    def __init__(self):
        while True:
            self._udp, self._tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            self._udp.bind(("127.0.0.1", 0))
            try:
                self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._tcp.bind(self._udp.getsockname())
                break
            except OSError:  # another has the number, for TCP
                self._udp.close()
                self._tcp.close()
        self._tcp.listen(16)
        self.address = "127.0.0.1:%d" % self._udp.getsockname()[1]
        self._says = {}  # (name, kind) to a function of the question that returns bytes or None
        self.questions = []
        self.news = threading.Condition()
        self._is_over = False
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._is_over = True
        waker = socket.socket(type=socket.SOCK_DGRAM)
        waker.sendto(b"", self._udp.getsockname())
        waker.close()
        try:
            self._tcp.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        for thread in self._threads:
            thread.join(slow(10))
        self._udp.close()
        self._tcp.close()

    # ---- what it says -----------------------------------------------------------------------

    def set(self, name, kind, function):
        """function(question) returns the bytes of an answer; None: silence."""
        with self.news:
            self._says[name.lower(), kind] = function

    def say(self, name, *addresses, ttl=3600, alias=None):
        """All its addresses; with `alias` they are of that name, which is what this one stands for."""
        with self.news:
            for kind, version in ((A, 4), (AAAA, 6)):
                packed = [ipaddress.ip_address(address).packed for address in addresses
                          if ipaddress.ip_address(address).version == version]
                records = [record(alias or name, kind, data, ttl) for data in packed]
                if alias and records:
                    records.insert(0, record(name, CNAME, name_bytes(alias), ttl))
                self._says[name.lower(), kind] = lambda question, records=records: question.answer(records)

    def serve(self, name, *services, ttl=3600):
        """Services are (priority, weight, port, host)."""
        records = [record(name, SRV, struct.pack("!HHH", *service[:3]) + name_bytes(service[3]), ttl)
                   for service in services]
        self.set(name, SRV, lambda question: question.answer(records))

    def fail(self, name, code):
        for kind in (A, AAAA, SRV):
            self.set(name, kind, lambda question: question.answer(code=code))

    def be_silent(self, name):
        for kind in (A, AAAA, SRV):
            self.set(name, kind, lambda _: None)

    # ---- what it was asked ------------------------------------------------------------------

    def asked(self, name, kind=A):
        with self.news:
            return sum(1 for question in self.questions if (question.name, question.kind) == (name.lower(), kind))

    def wait_asked(self, name, more=1, kind=A, seconds=20):
        """Until it has been asked so often again, and has answered before the last time. False: too late."""
        with self.news:
            until = self.asked_now(name, kind) + more
            return self.news.wait_for(lambda: self.asked_now(name, kind) >= until, slow(seconds))

    def asked_now(self, name, kind):
        return sum(1 for question in self.questions if (question.name, question.kind) == (name.lower(), kind))

    # ---- serving ----------------------------------------------------------------------------

    def _answer(self, message):
        question = Question(message)
        with self.news:
            function = self._says.get((question.name, question.kind))
            is_known = any(name == question.name for name, _ in self._says)
            self.questions.append(question)
            self.news.notify_all()
        if function is None:
            return question.answer(code=0 if is_known else NXDOMAIN)
        return function(question)

    def _serve_udp(self):
        while True:
            message, peer = self._udp.recvfrom(4096)
            if self._is_over:
                return
            said = self._answer(message) if len(message) > 12 else None
            if said is not None:
                self._udp.sendto(said, peer)

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(slow(5))
                try:
                    head = connection.recv(2, socket.MSG_WAITALL)
                    if len(head) == 2:
                        message = connection.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
                        said = self._answer(message)
                        if said is not None:
                            connection.sendall(struct.pack("!H", len(said)) + said)
                except OSError:
                    pass
