# SPDX-License-Identifier: MIT
"""Requests that wait for a connection: each that becomes free serves the oldest that can use it, and nobody is
forgotten."""

import queue
import threading

from weir_figures import Scrape
from weir_process import eventually, slow
from weir_site import get, server
from weir_upstream import Upstream, answer

NEVER = {"queue": "1h", "read": "1h", "keepalive": "1h"}


def site(targets, **upstream):
    return {"modules": ["proxy", "metrics"],
            "upstreams": {"app": {"targets": targets, "connections": 1, "timeouts": NEVER, "eject": False, **upstream}},
            "servers": [server({"match": "/metrics", "handle": "metrics"}, {"handle": {"proxy": "app"}})]}


class Gates:
    """Upstreams whose answers wait until they are let through; "/503" is answered at once."""

    def __init__(self, close=False):
        self.close, self.gates, self.arrived = close, {}, queue.SimpleQueue()

    def script(self, name):
        def serve(peer, request):
            path = request.target
            gate = self.gates.setdefault(path, threading.Event())
            self.arrived.put((name, path))
            if path == "/503":
                peer.send(answer(status="503 No"))
                return True
            gate.wait(slow(120))
            peer.send(answer(name.encode(), fields="Connection: close\r\n" if self.close else ""))
            return not self.close
        return serve

    def next(self):
        return self.arrived.get(timeout=slow(10))

    def let(self, path):
        self.gates.setdefault(path, threading.Event()).set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for gate in list(self.gates.values()):
            gate.set()


def waiting(client):
    scrape = Scrape(client.send(get("/metrics")).read().body.decode())
    return scrape.value("weir_upstream_queued", upstream="app") or 0


def test_they_are_served_in_order(weir, raw):
    with Gates() as gates, Upstream(gates.script("a")) as app:
        running = weir(site(app.address))
        watch, clients = raw(running), [raw(running) for _ in range(4)]
        for number, client in enumerate(clients):
            client.send(get(f"/{number}"))
            assert eventually(lambda: waiting(watch) == number)
        for number, client in enumerate(clients):
            assert gates.next() == ("a", f"/{number}")
            gates.let(f"/{number}")
            assert client.read().status == 200


def test_when_the_target_is_gone_none_is_forgotten(weir, raw, tmp_path):
    """To a Unix socket that is not there any more, a connection fails as it is begun."""
    path = str(tmp_path / "socket")
    with Gates(close=True) as gates, Upstream(gates.script("a"), address=path) as app:
        running = weir(site(app.address))
        watch, clients = raw(running), [raw(running) for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(get("/0"))
            assert eventually(lambda: waiting(watch) == number)
        assert gates.next() == ("a", "/0")
        (tmp_path / "socket").unlink()
        gates.let("/0")
        assert [client.read().status for client in clients] == [200, 502, 502, 502, 502]
        assert waiting(watch) == 0


def test_one_that_cannot_use_a_connection_lets_the_next_have_it(weir, raw):
    """It was asked there already, and waits for another target."""
    with Gates() as gates, Upstream(gates.script("a")) as first, Upstream(gates.script("b")) as second:
        running = weir(site([first.address, second.address], retry={"times": 2, "on": ["503"]}))
        watch, held, picky, other, last = [raw(running) for _ in range(5)]
        held.send(get("/held"))
        busy, path = gates.next()
        assert path == "/held"
        picky.send(get("/503"))
        assert gates.next() == ("b" if busy == "a" else "a", "/503")
        assert eventually(lambda: waiting(watch) == 1)
        other.send(get("/other"))
        free, path = gates.next()
        assert (path, free != busy) == ("/other", True)
        last.send(get("/last"))
        assert eventually(lambda: waiting(watch) == 2)
        gates.let("/other")
        assert other.read().body == free.encode()
        assert gates.next() == (free, "/last")
        gates.let("/last")
        assert last.read().body == free.encode()
        assert waiting(watch) == 1
        gates.let("/held")
        assert held.read().body == busy.encode()
        assert gates.next() == (busy, "/503")
        assert picky.read().status == 503
