# SPDX-License-Identifier: MIT
"""Clients that fail in every way there is, and one site for all of them; each tells a tally
(weir_figures.Tally) what it was answered, and how its request and its connection ended."""

import fcntl
import os
import select
import socket
from concurrent.futures import ThreadPoolExecutor

import weir_raw
from weir_process import slow
from weir_site import get, route, server

SUPPORT = f"{os.environ['WEIR_BUILDDIR']}/tests/support/.libs"
PATIENT = f"{os.environ['WEIR_BUILDDIR']}/contrib/examples/patient/.libs/patient.so"
LARGE = 16 << 20    # more than any socket's buffers
SPILLED = 500_000   # more than stays in memory
TEMPORARY_BYTES = 4 << 20
FAILING = ("fail", "short", "torn", "park", "crash", "hold")  # routes of tests/support/failing_module.c
CROWD = 6           # at once, where each worker has a thread and a place in the queue


def after(seconds):
    """A timeout of the configuration, as long as a slow machine needs."""
    return f"{int(1000 * slow(seconds))}ms"


class Site:
    """The configuration, and where its three listeners are once it runs. While the gate is shut,
    what is held stays held."""

    def __init__(self, folder):
        (folder / "www").mkdir()
        with open(folder / "www" / "large", "wb") as file:
            file.truncate(LARGE)
        (folder / "temp").mkdir()
        self.gate = open(folder / "gate", "w", encoding="ascii")
        self.folder = folder

    def shut(self):
        fcntl.flock(self.gate, fcntl.LOCK_EX)

    def open(self):
        fcntl.flock(self.gate, fcntl.LOCK_UN)

    def named(self, name, handle, **rest):
        return {"match": f"/{name}", "name": name, "handle": handle, **rest}

    def document(self):
        failing = {"failing": {"gate": self.gate.name}}
        summed = {"body": "1m", "body_memory": "64k"}
        return {
            "modules": ["respond", "static", "metrics", {"name": "body", "path": f"{SUPPORT}/libbody.so"},
                        {"name": "failing", "path": f"{SUPPORT}/libfailing.so"},
                        {"name": "patient", "path": PATIENT}],
            "workers": {"processes": 2, "temp_dir": str(self.folder / "temp"), "temp_size": f"{TEMPORARY_BYTES}b"},
            "pools": {"held": {"min": 1, "max": 1, "queue_size": 1, "queue_timeout": after(0.2)}},
            "listeners": {
                "hasty": {"address": "127.0.0.1:0", "timeouts": {"head": after(0.3), "keepalive": after(0.3)}},
                "walled": {"address": "127.0.0.1:0", "use": ["patient_wall"]}},
            "servers": [
                server(route("/hello", "hello", name="hello"),
                       self.named("metrics", "metrics"),
                       self.named("large", {"static": str(self.folder / "www")}, timeouts={"send": after(60)}),
                       self.named("sum", "sum", limits=summed),
                       self.named("slow", "sum", limits=summed, timeouts={"body": after(0.3)}),
                       self.named("huge", "sum", limits={"body": "64m", "body_memory": "64k", "body_buffer": "64m"}),
                       *(self.named(name, failing) for name in FAILING),
                       self.named("impatient/*", failing, timeouts={"wait": after(0.3)}),
                       self.named("crowded/*", failing, timeouts={"wait": after(0.8)}),
                       self.named("late/*", failing, timeouts={"request": after(0.3)}),
                       name="patient"),
                server(route("/hello", "hello", name="hello"),
                       self.named("large", {"static": str(self.folder / "www")}),
                       listen="hasty", timeouts={"send": after(0.3)}, name="hasty"),
                server(route("/hello", "hello"), listen="walled", name="walled")]}

    def started(self, running):
        self.hasty, self.walled, self.address = running.addresses[:3]  # by name, then the one without
        return self


# ---- clients --------------------------------------------------------------------------------------------
# Each is over when the server has heard of its end, or its end is certain to be heard.

EXPECTING = "Content-Length: 1000\r\nExpect: 100-continue\r\n"


def posted(target, fields="", body=b""):
    return get(target, method="POST", fields=fields, body=body)


def small(connection):
    """A buffer that makes the server's side fill while nothing is read."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connection


def wait_reset(connection):
    """Until the server has given the connection up, without reading from it."""
    poll = select.poll()
    poll.register(connection.socket, 0)  # errors and ends are told all the same
    assert poll.poll(1000 * slow(20)), "the connection stays"


def served(site, tally):
    with tally.connection(site.address) as connection:
        for _ in range(10):
            answer = connection.send(get("/hello")).read()
            tally.counted("hello", answer.status)
            assert answer.status == 200
            if answer.field("connection") == "close":
                break


def asked(site, tally, target, name, status, **how):
    with tally.connection(site.address) as connection:
        answer = connection.send(get(target)).read()
        assert answer.status == status, answer
        tally.counted(name, status, **how)


def read_on(connection):
    """The body of /large, which is not kept."""
    left = LARGE - len(connection.buffer)
    while left > 0:
        part = connection.socket.recv(min(left, 1 << 20))
        if not part:
            raise weir_raw.BadAnswer(f"{left} bytes are missing")
        left -= len(part)


def downloads(site, tally):
    with tally.connection(site.address) as connection:
        assert connection.send(get("/large", fields="Connection: close\r\n")).read_head().status == 200
        read_on(connection)
        tally.counted("large", 200)


def keeps_quiet(site, tally):
    """A kept connection whose time passes."""
    with tally.connection(site.hasty) as connection:
        assert connection.send(get("/hello")).read().status == 200
        tally.counted("hello", 200)
        connection.expect_closed()


def leaves_in_the_head(site, tally):
    for leave in (weir_raw.Connection.close, weir_raw.Connection.reset):
        with tally.connection(site.address) as connection:
            leave(connection.send(b"GET /hel"))


def leaves_in_the_body(site, tally):
    with tally.connection(site.address) as connection:  # it hears what becomes of its half
        connection.send(posted("/sum", "Content-Length: 1000\r\n", b"x" * 10)).finish_sending()
        tally.counted("sum", connection.read().status, method="POST")
    with tally.connection(site.address) as connection:
        assert connection.send(posted("/sum", EXPECTING)).read_head().status == 100
        connection.send(b"x" * 10).reset()
        tally.counted("sum", "none", "client_left", "POST")


def leaves_a_large_body(site, tally):
    """Much of it is in a file by then."""
    with tally.connection(site.address) as connection:
        fields = f"Content-Length: {2 * SPILLED}\r\nExpect: 100-continue\r\n"
        assert connection.send(posted("/huge", fields)).read_head().status == 100
        connection.send(b"x" * SPILLED).reset()
        tally.counted("huge", "none", "client_left", "POST")


def leaves_in_the_answer(site, tally):
    with tally.connection(site.address) as connection:
        assert small(connection).send(get("/large")).read_head().status == 200
        connection.reset()
        tally.counted("large", 200, "client_left")


def sends_no_request(site, tally):
    heads = [(b"GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", 400), (get("/hello", host=None), 400),
             (get("/" + "x" * 20_000), 414), (get("/hello", fields=f"X: {'x' * 20_000}\r\n"), 431),
             (get("/hello", version="2.5"), 505)]
    for head, status in heads:
        with tally.connection(site.address, ends="refused") as connection:
            answer = connection.send(head).read()
            assert answer.status == status, (head[:80], answer)
            tally.counted("", status, method="_OTHER")
            connection.expect_closed()


def sends_too_much(site, tally):
    with tally.connection(site.address, ends="body_limit") as connection:
        answer = connection.send(posted("/sum", "Content-Length: 2000000\r\n")).read()
        assert answer.status == 413
        tally.counted("sum", 413, method="POST")
        connection.expect_closed()


def is_slow_with_its_head(site, tally):
    with tally.connection(site.hasty, ends="slow_head") as connection:
        answer = connection.send(b"GET /hello HTTP/1.1\r\n").read()
        assert answer.status == 408
        tally.counted("", 408, method="_OTHER")
        connection.expect_closed()


def is_slow_with_its_body(site, tally):
    with tally.connection(site.address, ends="slow_body") as connection:
        answer = connection.send(posted("/slow", "Content-Length: 10\r\n", b"x")).read()
        assert answer.status == 408
        tally.counted("slow", 408, method="POST")
        connection.expect_closed()


def does_not_read(site, tally):
    with tally.connection(site.hasty, ends="slow_reader") as connection:
        small(connection).send(get("/large"))
        wait_reset(connection)
        tally.counted("large", 200, "client_slow")


def uploads(site, tally):
    """More than stays in memory, and more than there is room for."""
    with tally.connection(site.address) as connection:
        body = b"x" * SPILLED
        assert connection.send(posted("/sum", f"Content-Length: {len(body)}\r\n", body)).read().status == 200
        tally.counted("sum", 200, method="POST")


def is_cheated(site, tally):
    for name, end in (("short", "answer_short"), ("torn", "answer_failed")):
        with tally.connection(site.address, ends="broken_answer") as connection:
            try:
                connection.send(get(f"/{name}")).read()
                raise AssertionError("the answer is whole")
            except weir_raw.BadAnswer:
                tally.counted(name, 200, end)


def waits_too_long(site, tally):
    asked(site, tally, "/impatient/park", "impatient/*", 504)
    with tally.connection(site.address, ends="slow_request") as connection:
        answer = connection.send(get("/late/park")).read()
        assert answer.status == 504, answer
        tally.counted("late/*", 504)
        connection.expect_closed()


def finds_no_thread(site, tally):
    """Each is held, waits behind it until it is too late for that, or finds no room."""
    def ask(_):
        with tally.connection(site.address) as connection:
            answer = connection.send(get("/crowded/hold")).read()
            assert answer.status in (503, 504)
            tally.counted("crowded/*", answer.status)

    with ThreadPoolExecutor(CROWD) as pool:
        list(pool.map(ask, range(CROWD)))


def finds_no_room(site, tally):
    """Its body is more than all files may hold."""
    with tally.connection(site.address, ends="body_limit") as connection:
        connection.send(posted("/huge", f"Content-Length: {2 * TEMPORARY_BYTES}\r\n"))
        try:
            connection.send(b"x" * 2 * TEMPORARY_BYTES)
        except OSError:
            pass  # it was answered before all was sent
        assert connection.read().status == 507
        tally.counted("huge", 507, method="POST")


def is_dropped(site, tally):
    with tally.connection(site.walled, ends="dropped") as connection:
        assert connection.wait_end() in (weir_raw.CLOSED, weir_raw.RESET)


def everybody():
    return [served, served, downloads, keeps_quiet, leaves_in_the_head, leaves_in_the_body, leaves_a_large_body,
            leaves_in_the_answer, sends_no_request, sends_too_much, is_slow_with_its_head,
            is_slow_with_its_body, does_not_read, uploads, is_cheated, waits_too_long, finds_no_thread, is_dropped,
            lambda site, tally: asked(site, tally, "/missing", "", 404),
            lambda site, tally: asked(site, tally, "/fail", "fail", 500)]


def load(site, tally, meanwhile=None):
    """All of them at once; `meanwhile` is called when they are under way."""
    site.shut()
    clients = everybody()
    with ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(client, site, tally) for client in clients]
        if meanwhile is not None:
            meanwhile()
        for each in running:
            each.result()
    site.open()
    asked(site, tally, "/hold", "hold", 200)
    finds_no_room(site, tally)


# ---- what is under way when a worker ends -----------------------------------------------------------------


def is_over(connection):
    """Whether the server's side has ended; it is asked when that has been heard of."""
    poll = select.poll()
    poll.register(connection.socket, select.POLLRDHUP)
    return bool(poll.poll(0))


class UnderWay:
    """Requests of every kind that have begun, and end when they are told to, unless their worker has."""

    def __init__(self, site, tally):
        self.site, self.tally, self.clients = site, tally, []
        self.waiting = 0  # requests that are in flight
        site.shut()
        for begin in [self.head, self.body, self.parked, self.download] * 3 + [self.held, self.kept, self.kept]:
            connection = tally.connect(site.address)
            self.clients.append((begin.__name__, connection, begin(connection)))
            self.waiting += begin != self.kept

    def head(self, connection):
        connection.send(b"GET /hel")
        return lambda: self.answered(connection.send(b"lo HTTP/1.1\r\nHost: a\r\n\r\n").read(), "hello")

    def body(self, connection):
        assert connection.send(posted("/sum", EXPECTING)).read_head().status == 100
        return lambda: self.answered(connection.send(b"x" * 1000).read(), "sum", "POST")

    def parked(self, connection):
        connection.send(get("/park"))

        def leave():
            if is_over(connection):
                raise OSError("its worker is gone")
            connection.reset()
            self.tally.counted("park", "none", "client_left")

        return leave

    def download(self, connection):
        answer = connection.send(get("/large")).read_head()

        def end():
            read_on(connection)
            self.answered(answer, "large")

        return end

    def held(self, connection):
        """At work on a thread."""
        connection.send(get("/hold"))
        return lambda: self.answered(connection.read(), "hold")

    def kept(self, connection):
        self.answered(connection.send(get("/hello")).read(), "hello")
        return lambda: self.answered(connection.send(get("/hello")).read(), "hello")

    def answered(self, answer, name, method="GET"):
        assert answer.status == 200, (name, answer)
        self.tally.counted(name, 200, method=method)

    def finish(self):
        """Those whose worker lives end as they should; the others are lost, and in no count. Returns how
        many they were."""
        self.site.open()
        lost = []
        for name, connection, end in self.clients:
            try:
                end()
                self.tally.closed("ordinary")
            except (weir_raw.BadAnswer, OSError):
                lost.append(name)
            connection.close()
        return lost
