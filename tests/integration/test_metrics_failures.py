# SPDX-License-Identifier: MIT
"""After a load in which everything fails that can, with reloads, a crash and a kill among it, all gauges
are back at zero, and counters equal what the clients counted (weir_figures says how that is meant)."""

import os
import shutil
import signal
import subprocess

import weir_failures
import weir_figures
from weir_process import descriptors, eventually, is_instrumented, process_tree
from weir_site import get, route, site

# Sanitizers have handlers of their own; here they are told to let a process end as it would.
PLAIN = {f"{name}_OPTIONS": os.environ.get(f"{name}_OPTIONS", "") + ":handle_segv=0:handle_abort=0"
         for name in ("ASAN", "TSAN")}


def prometheus_complains(text):
    """What promtool says of a scrape; nothing where it is not installed."""
    promtool = shutil.which("promtool")
    if promtool is None:
        return ""
    done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr


class Measured:
    """The site, its clients' count and its own."""

    def __init__(self, weir, folder):
        self.site = weir_failures.Site(folder)
        self.running = weir(self.site.document(), listeners=3, env=PLAIN)
        self.running.expect_error(r"module failing, hook content, [A-Z]+ \S*fail\S*: failed: 500")
        self.running.expect_error(r"module failing, hook content, [A-Z]+ \S*torn\S*: failed: its answer is cut")
        self.running.expect_error("GET /(short|torn): the answer could not be finished")
        self.running.expect_error("workers.temp_size, or a quota, is used up: 507")
        self.site.started(self.running)
        self.tally = weir_figures.Tally()
        self.figures = weir_figures.Figures(self.site.address, self.tally)
        self.generation = 1
        self.lost_work = 0      # that the pool was given by requests whose worker then ended
        self.lost_routes = []   # of requests that the module had counted when their worker ended

    def load(self, meanwhile=None):
        weir_failures.load(self.site, self.tally, meanwhile)

    def reload(self):
        self.generation += 1
        self.running.signal(signal.SIGHUP)
        self.running.wait_for_line(f"generation {self.generation} serves", 20)

    def workers(self):
        return [pid for pid in process_tree(self.running.pid) if pid != self.running.pid]

    def check(self):
        """Server and clients agree, and nothing is left."""
        self.figures.agree(self.pool_and_module)
        scrape = self.figures.at_rest()
        # What requests and connections had is kept for others: a few blocks of each that were there at once.
        assert scrape.value("weir_memory_bytes") < 1 << 20

    def work(self):
        """All that the pool `held` was ever given."""
        crowd = sum(self.tally.seen("crowded/*", code) for code in (503, 504))
        return crowd + self.tally.seen("hold", 200) + self.lost_work

    def pool_and_module(self, scrape):
        given, ran, rejected, expired = (scrape.value(f"weir_pool_{what}_total", pool="held")
                                         for what in ("submitted", "ran", "rejected", "expired"))
        own = {route: self.tally.seen(route) for route in weir_failures.FAILING}
        for route in self.lost_routes:
            own[route] += 1  # counted as they began
        failed = scrape.value("weir_hook_calls_total", module="failing", hook="content", verdict="failed")
        return [("work given", given, self.work()),
                ("work that was begun, a killed worker's too", ran, given - rejected - expired),
                ("work without room, or too late", rejected + expired, self.tally.seen("crowded/*", 503)),
                ("both are there", min(rejected, expired) > 0, True),
                ("failed calls", failed, self.tally.seen("fail", 500) + self.tally.seen("torn", 200)),
                ("what the module counts itself",
                 {route: value for (route,), value in scrape.by("weir_failing_requests_total", "route").items()
                  if route in own},
                 {route: value for route, value in own.items() if value}),
                ("what it has held", scrape.value("weir_failing_held_seconds_count", by="gate"),
                 self.tally.seen("hold", 200)),
                ("bodies without room", scrape.value("weir_body_file_failures_total"),
                 self.tally.seen("huge", 507))]

    def lose_worker(self, end):
        """`end` ends a worker while requests of every kind are under way."""
        under_way = weir_failures.UnderWay(self.site, self.tally)

        def has_begun():
            scrape = self.figures.scrape()
            return (scrape.value("weir_http_requests_in_flight") == under_way.waiting + 1 and
                    scrape.value("weir_connections") == len(under_way.clients) + 1 and
                    scrape.value("weir_pool_submitted_total", pool="held") == self.work() + 1 and
                    scrape.value("weir_pool_threads_busy", pool="held") == 1)

        assert eventually(has_begun), self.figures.scrape().gauges()
        end()
        lost = under_way.finish()
        assert lost
        self.lost_work += lost.count("held")
        self.lost_routes += [{"held": "hold", "parked": "park"}[name] for name in lost if name in ("held", "parked")]

    def kill(self):
        victim = max(self.workers(), key=lambda pid: sum(
            name.startswith("socket:") for name in descriptors(pid).values()))
        self.running.expect_error(f"process {victim}\\) killed by SIGKILL.*it is replaced")
        os.kill(victim, signal.SIGKILL)
        self.running.wait_for_line(f"process {victim}.*it is replaced")

    def crash(self):
        self.running.expect_error("in module failing, hook content.*it is replaced")
        connection = self.tally.connect(self.site.address)
        connection.send(get("/crash"))
        self.lost_routes.append("crash")
        self.running.wait_for_line("killed by SIGABRT.* in module failing, hook content.*it is replaced")
        connection.close()


def test_server_and_clients_agree_and_nothing_is_left(weir, tmp_path):
    measured = Measured(weir, tmp_path)
    measured.load()
    measured.check()
    measured.load(meanwhile=measured.reload)
    measured.check()
    measured.lose_worker(measured.kill)
    measured.check()
    measured.load(meanwhile=measured.reload)
    measured.lose_worker(measured.crash)
    measured.check()
    measured.load(meanwhile=measured.reload)
    measured.check()
    scrape = measured.figures.scrape()
    deaths = scrape.by("weir_worker_deaths_total", "module")
    # With sanitizers nobody says which thread crashed, where work for the module was held on another.
    assert deaths == {("",): 1, ("failing",): 1} or (is_instrumented() and deaths == {("",): 2})
    # Those before the last reload end in their own time.
    assert eventually(lambda: measured.figures.scrape().by("weir_workers", "state") == {("serving",): 2}, 20)
    assert scrape.value("weir_generation") == 4
    complains = prometheus_complains(scrape.text)
    assert not complains, complains


def test_what_is_shed_for_want_of_memory_is_counted_as_such(weir):
    """Nobody reads, until a request is told to come again: that is in a count of its own, for its head was not
    even looked at."""
    document = site(route("/large", "x" * (4 << 20), name="large"),
                    {"match": "/metrics", "name": "metrics", "handle": "metrics"}, top={"workers": {"memory": "16m"}})
    document["modules"].append("metrics")
    running = weir(document)
    tally, stalled = weir_figures.Tally(), []

    def is_full():
        connection = tally.connect(running.address)
        stalled.append(weir_failures.small(connection).send(get("/large")))
        return connection.read_head().status == 503

    assert eventually(is_full, 20)
    readers, shed = len(stalled) - 1, 1
    for connection in stalled:
        connection.close()

    def serves_again():
        nonlocal shed
        with tally.connection(running.address) as connection:
            status = connection.send(get("/none")).read().status
        shed += status == 503
        return status == 404

    assert eventually(serves_again)
    figures = weir_figures.Figures(running.address, tally)
    seen = []

    def is_counted():
        scrape = figures.scrape()
        ended = scrape.by("weir_http_requests_ended_total", "reason")
        closed = scrape.by("weir_connections_closed_total", "reason")
        slow = scrape.value("weir_http_readers_shed_total")
        seen[:] = [scrape.value("weir_http_requests_shed_total"), closed["no_memory",],
                   scrape.value("weir_http_requests_total", route="large", code=200),
                   ended["client_left",] + ended["client_slow",], ended["client_slow",], closed["slow_reader",]]
        return seen == [shed, shed, readers, readers, slow, slow]

    assert eventually(is_counted), (shed, readers, seen)
    scrape = figures.at_rest()
    assert scrape.value("weir_memory_limit_bytes") == 16 << 20
    assert scrape.value("weir_memory_bytes") < 1 << 20
