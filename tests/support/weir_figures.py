# SPDX-License-Identifier: MIT
"""What a server counts, read as Prometheus reads it, and what clients count, to hold one against the other.

A request is in the server's count when it was there to its end: its worker lived until the answer
was sent, or the request had failed in whatever way. So a client counts what it was answered, or that
it left before; and a request whose connection ended because the worker was killed is in nobody's
count but `broken`: it had not ended, and is in no counter of the server, as if it had never been."""

import re
import threading
from collections import Counter
from contextlib import contextmanager

import weir_raw
from weir_process import eventually
from weir_site import get

LINE = re.compile(r"(\w+)(?:\{(.*)\})? (-?[0-9.]+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')

# How a connection may end that nothing is wrong with, depending on who is first: the client that has
# its answer, the server that was asked to close, or the reload.
ORDINARY = ("client", "client_reset", "done", "idle", "stopped")

# Gauges of what is there at rest too.
STANDING = ("weir_workers", "weir_generation", "weir_build_info", "weir_pool_threads", "weir_pool_threads_idle",
            "weir_listener_queue_limit", "weir_memory_bytes", "weir_memory_limit_bytes", "weir_zones", "weir_zone_bytes")


class Scrape:
    """One answer of the handler `metrics`: {(name, labels): value}, and the type of each name."""

    def __init__(self, text):
        self.text = text
        self.types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
        self.series = {}
        for line in text.splitlines():
            found = LINE.match(line)
            if found:
                key = (found.group(1), frozenset(LABEL.findall(found.group(2) or "")))
                assert key not in self.series, f"twice: {line}"
                self.series[key] = float(found.group(3))

    def value(self, name, **labels):
        """The sum of a series over all that have these labels."""
        wanted = {(key, str(value)) for key, value in labels.items()}
        return sum(value for (key, have), value in self.series.items() if key == name and wanted <= have)

    def by(self, name, *labels):
        """{values of these labels: sum}, without those that are zero."""
        sums = Counter()
        for (key, have), value in self.series.items():
            if key == name:
                have = dict(have)
                sums[tuple(have.get(label, "") for label in labels)] += value
        return Counter({key: value for key, value in sums.items() if value})

    def gauges(self):
        """{(name, labels): value} of all that are not zero, but for those of what stands at rest."""
        return {(name, labels): value for (name, labels), value in self.series.items()
                if self.types.get(name) == "gauge" and name not in STANDING and value}

    def counters(self):
        """All that must never go down, the counts of histograms among them."""
        names = {name for name, kind in self.types.items() if kind == "counter"}
        names |= {f"{name}{end}" for name, kind in self.types.items() if kind == "histogram"
                  for end in ("_bucket", "_count", "_sum")}
        return {key: value for key, value in self.series.items() if key[0] in names}


class Tally:
    """What clients count, any number of them at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = Counter()  # (route, method, code)
        self.ends = Counter()      # reason
        self.closes = Counter()    # reason, or "ordinary"
        self.connections = 0
        self.refused = 0           # heads that the server answered itself

    def connect(self, address):
        """A connection, counted; closed() follows, unless it is lost with its worker."""
        connection = weir_raw.Connection(address)
        with self.lock:
            self.connections += 1
        return connection

    @contextmanager
    def connection(self, address, ends="ordinary"):
        """The same for as long as the block lasts; `ends`: why the server will say it ended."""
        connection = self.connect(address)
        try:
            yield connection
        finally:
            connection.close()
            self.closed(ends)

    def closed(self, reason):
        with self.lock:
            self.closes[reason] += 1

    def counted(self, route, code, end="complete", method="GET"):
        with self.lock:
            self.requests[route, method, str(code)] += 1
            self.ends[end] += 1
            self.refused += method == "_OTHER"

    def seen(self, route, code=None):
        """Requests of a route that were answered with that status; or all of them."""
        return sum(n for (which, _, what), n in self.requests.items()
                   if which == route and (code is None or what == str(code)))


def differences(scrape, tally):
    """What server and clients do not agree about: [(what, server's, clients')]."""
    closes = Counter()
    for (reason,), value in scrape.by("weir_connections_closed_total", "reason").items():
        closes["ordinary" if reason in ORDINARY else reason] += value
    rows = [
        ("requests", scrape.by("weir_http_requests_total", "route", "method", "code"), +tally.requests),
        ("ends", Counter({reason: value for (reason,), value in
                          scrape.by("weir_http_requests_ended_total", "reason").items()}), +tally.ends),
        ("closes", closes, +tally.closes),
        ("heads refused", scrape.value("weir_http_heads_refused_total"), tally.refused),
        ("connections opened", scrape.value("weir_connections_opened_total"), tally.connections),
    ]
    durations = scrape.by("weir_http_requests_total", "server", "route")
    rows += [(f"durations: {part}", scrape.by(f"weir_http_request_{part}duration_seconds_count", "server", "route"),
              durations) for part in ("", "read_", "queue_", "handle_", "write_")]
    return [row for row in rows if row[1] != row[2]]


class Figures:
    """Scrapes a server, and counts that too; no counter may ever go down."""

    def __init__(self, address, tally, target="/metrics", route="metrics"):
        self.address, self.tally, self.target, self.route = address, tally, target, route
        self.before = {}

    def scrape(self):
        with self.tally.connection(self.address) as connection:
            answer = connection.send(get(self.target, fields="Connection: close\r\n")).read()
            connection.expect_closed()
        assert answer.status == 200, answer
        scrape = Scrape(answer.body.decode())
        counters = scrape.counters()
        down = {key: (value, counters.get(key)) for key, value in self.before.items()
                if counters.get(key, -1) < value}
        assert not down, f"went down: {down}"
        self.before = counters
        self.tally.counted(self.route, 200)
        return scrape

    def agree(self, more=lambda scrape: [], seconds=15):
        """Waits until server and clients agree, when all clients are done. `more` returns rows as
        differences() has them, of which the second and the third are to be equal."""
        wrong = []

        def do():
            # The scrape that is being answered has not ended, and is not counted yet; but its connection
            # is open.
            before = self.copy()
            before.connections += 1
            scrape = self.scrape()
            wrong[:] = differences(scrape, before) + [row for row in more(scrape) if row[1] != row[2]]
            return not wrong

        assert eventually(do, seconds), "\n".join(f"{what}: server {server}, clients {clients}"
                                                  for what, server, clients in wrong)

    def copy(self):
        copy = Tally()
        with self.tally.lock:
            for name in ("requests", "ends", "closes"):
                setattr(copy, name, Counter(getattr(self.tally, name)))
            copy.connections, copy.refused = self.tally.connections, self.tally.refused
        return copy

    def at_rest(self, seconds=15):
        """Waits until every gauge is back at zero, but for the scrape that says so."""
        left, seen = {}, []

        def do():
            scrape = self.scrape()
            left.clear()
            left.update({key: value for key, value in scrape.gauges().items() if not (
                value == 1 and key[0] in ("weir_connections", "weir_connections_active",
                                          "weir_http_requests_in_flight"))})
            seen[:] = [scrape]
            return not left

        assert eventually(do, seconds), left
        return seen[0]
