# SPDX-License-Identifier: MIT
"""Clients of every kind that ask a server without end, and count what they lose: for tests of reloads and
of workers that are replaced. A request is lost unless our FIN was sent before its first byte arrived.

The site answers /hello with "hello" and /large with a million bytes."""

import threading

import weir_raw
from weir_site import GET, HELLO, get


class Load:
    """Clients that ask without end and count what they lose."""

    def __init__(self, server):
        self.address, self.lost, self.answers = server.address, [], 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(kind,))
                        for kind in (self.kept, self.kept, self.pipelined, self.upload, self.download, self.fresh)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *what):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _run(self, kind):
        while not self.over.is_set():
            try:
                kind()
            except Exception as error:  # any of them is a request that was lost
                self.lost.append(f"{kind.__name__}: {error!r}")

    def kept(self):
        with weir_raw.Connection(self.address) as connection:
            for _ in range(100):
                answer = connection.send(GET).read()
                assert answer.body == HELLO
                self.answers += 1
                if answer.field("connection") == "close" or self.over.is_set():
                    return

    def pipelined(self):
        with weir_raw.Connection(self.address) as connection:
            connection.send(GET * 10)
            for _ in range(10):
                assert connection.read().body == HELLO
                self.answers += 1

    def upload(self):
        with weir_raw.Connection(self.address) as connection:
            connection.send(get("/hello", method="POST", fields="Content-Length: 40\r\nConnection: close\r\n"))
            for _ in range(4):
                connection.send(b"x" * 10)
                self.over.wait(0.005)  # a slow sender is what this is
            assert connection.read().status == 200
            self.answers += 1

    def download(self):
        with weir_raw.Connection(self.address) as connection:
            assert len(connection.send(get("/large", fields="Connection: close\r\n")).read().body) == 1_000_000
            self.answers += 1

    def fresh(self):
        with weir_raw.Connection(self.address) as connection:
            assert connection.send(GET).read().body == HELLO
            self.answers += 1
