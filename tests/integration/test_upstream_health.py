# SPDX-License-Identifier: MIT
"""Targets are asked how they are (`health`), and those that are down are not asked for anything else."""

import signal
import threading
import time

import pytest
from weir_figures import Scrape
from weir_process import eventually
from weir_site import get, server
from weir_upstream import Place, Upstream, always, answer

# Only what is tested for its slowness has little time.
OFTEN = {"path": "/up", "every": "50ms", "timeout": "60s", "rise": 1, "fall": 1}
DOWN, UP = answer(b"no", status="500 No"), answer(b"yes")


def site(targets, health, upstream=None, workers=None):
    return {"modules": ["proxy", "metrics"], "workers": workers or {},
            "upstreams": {"app": {"targets": targets, "health": health, "eject": False, **(upstream or {})}},
            "servers": [server({"match": "/metrics", "handle": "metrics"}, {"handle": {"proxy": "app"}})]}


@pytest.fixture
def target():
    """target(SCRIPT) is there until the server is gone, which a test names after it: else all would be down at last."""
    targets = []

    def start(script, **how):
        targets.append(Upstream(script, **how))
        return targets[-1]

    yield start
    for one in targets:
        one.stop()
    for one in targets:
        assert one.faults == []


@pytest.fixture
def place():
    with Place() as one:
        yield one


def reload(server):
    def counts():  # by the master, and by the old worker once it accepts no more
        return server.log.count(" serves with "), server.log.count("draining: no new")

    before = counts()
    server.signal(signal.SIGHUP)
    assert eventually(lambda: all(now > then for now, then in zip(counts(), before)), 20), server.log


class App:
    """Answers checks as it is told, and everything else with its name."""

    def __init__(self, name=b"app", check=UP):
        self.name, self.check = name, check
        self.checks = 0

    def __call__(self, peer, request):
        if request.target != "/up":
            peer.send(answer(self.name))
            return True
        self.checks += 1
        if callable(self.check):
            return self.check(peer)
        peer.send(self.check)
        return False


def figures(running, raw):
    with raw(running) as client:
        return Scrape(client.send(get("/metrics")).read().body.decode())


def said(line):
    return line.replace("(", r"\(").replace(")", r"\)")


def asked(running, raw, count=10):
    """The bodies of so many answers, each on a connection of its own."""
    bodies = []
    for _ in range(count):
        with raw(running) as client:
            got = client.send(get("/x")).read()
            assert got.status == 200, got
            bodies.append(got.body)
    return bodies


def trickle(peer):
    try:
        for byte in b"HTTP/1.1 200 OK\r\nX: ".ljust(1 << 20, b"y"):
            peer.send(bytes([byte]))
            time.sleep(0.01)  # on purpose: a target that is slow for ever
    except OSError:
        return False


def pour(peer):
    """A body without an end."""
    try:
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(b"x" * 4096)
    except OSError:
        return False


WANTS_BODY = {"status": "2xx", "body": "ready"}


@pytest.mark.parametrize("check, expect, why", [
    (DOWN, None, "status 500, expected 2xx"),
    (UP, [204, "3xx", "500-503"], "status 200, expected 204, 3xx, 500-503"),
    (answer(status="302 There", fields="Location: /\r\n"), None, "status 302, expected 2xx"),
    (b"HTTP/1.1 200 O", None, "closed before the end of an answer"),
    (b"220 mail.example ESMTP\r\n", None, "a malformed status line"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000, None, "a head of more than 64 KiB or 128 fields"),
    (b"HTTP/1.1 103 Hint\r\n\r\n" * 17, None, "more 1xx answers than anybody needs"),
    (UP, WANTS_BODY, "status 200, but not the body that is expected"),
    (UP, {"body_regex": "^not? .*y$"}, "status 200, but not the body that is expected"),
    (pour, WANTS_BODY, "status 200, but not the body that is expected"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_one_that_is_not_well_gets_no_request_until_it_is(target, weir, raw, check, expect, why):
    good = UP if not expect else answer(status="500 So it is") if isinstance(expect, list) else answer(b"not ready")
    sick = App(b"sick", check)
    one, two = target(sick), target(App(b"well", good))
    running = weir(site([one.address, two.address], {**OFTEN, **({"expect": expect} if expect else {})}))
    running.wait_for_line(said(f"warn: upstream app: {one.address} is down: {why}; 1 of 2 targets left"))
    assert asked(running, raw) == [b"well"] * 10
    got = figures(running, raw)
    assert (got.value("weir_upstream_target_up", target=one.address),
            got.value("weir_upstream_target_down", target=one.address),
            got.value("weir_upstream_target_up", target=two.address),
            got.value("weir_upstream_target_down", target=two.address)) == (0, 1, 1, 0)
    assert got.value("weir_upstream_checks_total", upstream="app", target=one.address, result="fine") == 0
    assert got.value("weir_upstream_checks_total", upstream="app", target=one.address) >= 1
    assert got.value("weir_upstream_exchanges_total", target=one.address) == 0

    sick.check = good
    running.wait_for_line(f"info: upstream app: {one.address} is up: status ")
    assert eventually(lambda: set(asked(running, raw, 2)) == {b"sick", b"well"})
    got = figures(running, raw)
    assert (got.value("weir_upstream_target_up", target=one.address),
            got.value("weir_upstream_target_down", target=one.address)) == (1, 0)


def test_nobody_is_waited_for_for_ever(target, weir, raw):
    def within_the_body(peer):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nready")
        peer.wait_closed()

    apps = {"silent": target(App(check=lambda peer: peer.wait_closed())), "slow": target(App(check=trickle)),
            "body": target(App(check=within_the_body))}
    document = site("127.0.0.1:1", False)
    health = {**OFTEN, "timeout": "300ms", "expect": WANTS_BODY}
    document["upstreams"].update({name: {"targets": app.address, "health": health} for name, app in apps.items()})
    running = weir(document)
    for name, what in (("silent", "answer"), ("slow", "answer"), ("body", "end of the answer")):
        running.expect_error(f"upstream {name}: {apps[name].address} is down: no {what} within 300 ms; no target is left")
        running.wait_for_line(f"upstream {name}: .* is down")
        assert eventually(lambda: figures(running, raw).value("weir_upstream_checks_total", upstream=name, result="timeout") >= 2)


@pytest.mark.parametrize("health", [OFTEN, {**OFTEN, "path": None}], ids=["http", "tcp"])
def test_one_that_refuses_gets_no_request_until_it_does_not(target, place, weir, raw, health):
    other = target(App(b"other"))
    running = weir(site([place.address, other.address], health))
    running.wait_for_line(f"warn: upstream app: {place.address} is down: connection refused; 1 of 2 targets left")
    assert asked(running, raw) == [b"other"] * 10
    got = figures(running, raw)
    assert got.value("weir_upstream_checks_total", target=place.address, result="refused") >= 1
    assert got.value("weir_upstream_connections_opened_total", target=place.address) == 0
    with Upstream(App(b"back"), place=place):
        running.wait_for_line(f"info: upstream app: {place.address} is up: ")
        assert sorted(set(asked(running, raw))) == [b"back", b"other"]


@pytest.mark.parametrize("check", [pour, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx", b"HTTP/1.0 204 No\r\n\r\n",
                                   b"HTTP/1.1 100 Continue\r\n\r\n" + UP], ids=["endless", "long", "1.0", "interim"])
def test_a_good_head_is_enough_where_nothing_more_is_expected(target, weir, raw, check):
    app = target(App(check=check))
    running = weir(site(app.address, OFTEN))
    assert app.wait(lambda: app.script.checks >= 3)
    assert eventually(lambda: figures(running, raw).value("weir_upstream_checks_total", result="fine") >= 2)
    got = figures(running, raw)
    assert got.by("weir_upstream_checks_total", "result").keys() == {("fine",)}


def test_the_question_is_what_it_should_be(target, weir):
    one, two = target(App()), target(App())
    health = {**OFTEN, "host": "shop.example:81"}
    document = site(one.address, health)
    document["upstreams"]["other"] = {"targets": two.address, "health": {**OFTEN, "path": "/up?a=%20b"}}
    weir(document)
    assert one.wait(lambda: one.requests) and two.wait(lambda: two.requests)
    request = one.requests[0]
    assert (request.method, request.target, request.field("host")) == ("GET", "/up", "shop.example:81")
    assert (request.field("connection"), request.field("user-agent")) == ("close", "weir (health check)")
    assert (two.requests[0].target, two.requests[0].field("host")) == ("/up?a=%20b", two.address)


@pytest.mark.parametrize("path", ["/up", None])
def test_unix_sockets_are_checked_too(target, weir, raw, tmp_path, path):
    where = str(tmp_path / "app.sock")
    tmp_path.chmod(0o755)
    other = target(App(b"other"))
    running = weir(site([f"unix:{where}", other.address], {**OFTEN, "path": path}))
    running.wait_for_line(f"{where} is down: no connection: (No such file|Permission denied)")
    with Upstream(App(b"socket"), address=where) as app:
        (tmp_path / "app.sock").chmod(0o777)
        running.wait_for_line(f"{where} is up")
        assert sorted(set(asked(running, raw))) == [b"other", b"socket"]
        if path is not None:
            assert next(r for r in app.requests if r.target == path).field("host") == "localhost"
    running.wait_for_line(f"{where} is down: connection refused")
    assert set(asked(running, raw)) == {b"other"}


def test_a_change_needs_several_checks_in_a_row(target, weir, raw):
    """Of which every second fails."""
    count = [0]

    def check(peer):
        count[0] += 1
        peer.send(UP if count[0] % 2 else DOWN)
        return False

    app = target(App(check=check))
    running = weir(site(app.address, {**OFTEN, "every": "10ms", "fall": 2, "rise": 2}))
    assert eventually(lambda: figures(running, raw).value("weir_upstream_checks_total", result="status") >= 10)
    assert figures(running, raw).value("weir_upstream_target_up") == 1
    assert "is down" not in running.log


def test_as_many_as_were_told_change_it(target, weir):
    app = App(check=DOWN)
    upstream = target(app)
    running = weir(site(upstream.address, {**OFTEN, "fall": 4, "rise": 3}))
    running.wait_for_line("is down: status 500")
    before = app.checks
    assert before >= 4
    app.check = UP
    running.wait_for_line("is up: status 200")
    assert app.checks >= before + 3
    running.expect_error("no target is left, so all are asked")


def test_when_all_are_down_all_are_asked(target, weir, raw):
    one, two = target(App(b"1", DOWN)), target(App(b"2", DOWN))
    running = weir(site([one.address, two.address], OFTEN))
    running.wait_for_line("is down: .*; 1 of 2 targets left")
    running.expect_error("is down: .*; no target is left, so all are asked")
    running.wait_for_line("no target is left")
    assert sorted(asked(running, raw)) == [b"1"] * 5 + [b"2"] * 5


def test_requests_do_not_wait_for_the_first_check(target, weir, raw):
    app = target(App(check=lambda peer: peer.wait_closed()))
    running = weir(site(app.address, {**OFTEN, "every": "1h", "timeout": "1h"}))
    assert asked(running, raw, 3) == [b"app"] * 3


def test_one_that_is_down_from_the_start_is_found_out_soon(target, place, weir):
    """Long before `every` has passed as often as it must."""
    app = target(App())
    running = weir(site([place.address, app.address], {**OFTEN, "every": "1h", "fall": 3}))
    running.wait_for_line(f"{place.address} is down: connection refused", 20)


def test_kept_connections_close_when_it_goes_down(target, weir, raw):
    closed = threading.Event()
    app = App()

    def script(peer, request):
        keep = app(peer, request)
        if request.target == "/x":
            peer.wait_closed()
            closed.set()
        return keep

    sick, other = target(script), target(App(b"other"))
    running = weir(site([sick.address, other.address], OFTEN))
    assert set(asked(running, raw, 2)) == {b"app", b"other"}
    assert figures(running, raw).value("weir_upstream_connections_idle", target=sick.address) == 1
    app.check = DOWN
    running.wait_for_line(f"{sick.address} is down")
    assert closed.wait(20)
    assert eventually(lambda: figures(running, raw).value("weir_upstream_connections", target=sick.address) == 0)


@pytest.mark.parametrize("how", ["the other comes up", "the last goes down"])
def test_whoever_waits_is_served_when_something_changes(target, weir, raw, how):
    go = threading.Event()
    late, last = App(b"late", DOWN), App(b"last")

    def script(peer, request):
        if request.target == "/hold":
            go.wait(60)
        return last(peer, request)

    down, busy = target(late), target(script)
    running = weir(site([down.address, busy.address], OFTEN, {"connections": 1, "timeouts": {"queue": "60s"}}))
    running.wait_for_line(f"{down.address} is down")
    # The checks have connections of their own.
    held = raw(running, 60).send(get("/hold"))
    assert busy.wait(lambda: any(r.target == "/hold" for r in busy.requests))
    waits = raw(running, 60).send(get("/x"))
    assert eventually(lambda: figures(running, raw).value("weir_upstream_queued") == 1)
    if how == "the other comes up":
        late.check = UP
    else:
        running.expect_error("no target is left, so all are asked")
        last.check = DOWN
    assert waits.read().body == b"late"
    go.set()
    assert held.read().body == b"last"


@pytest.mark.parametrize("workers", [{"processes": 1, "loops": 3}, {"processes": 2, "loops": 2}], ids=str)
def test_one_loop_asks_for_all_of_its_worker(target, weir, raw, workers):
    one, processes = App(b"1"), workers["processes"]
    first, second = target(one), target(App(b"2"))
    begun = time.monotonic()
    running = weir(site([first.address, second.address], {**OFTEN, "every": "100ms"}, workers=workers))
    assert first.wait(lambda: one.checks >= 10 * processes)
    # A loop asks at most every 90 ms, so only as many ask as there are workers.
    assert one.checks <= processes * ((time.monotonic() - begun) / 0.09 + 2)

    def up():
        return eventually(lambda: figures(running, raw).value("weir_upstream_target_up", target=first.address) == processes)

    def loops_ask(wanted):
        return eventually(lambda: set(asked(running, raw, 12 * processes)) == wanted)

    assert up() and loops_ask({b"1", b"2"})
    for _ in range(2):
        one.check = DOWN
        assert eventually(lambda: figures(running, raw).value("weir_upstream_target_down", target=first.address) == processes)
        assert loops_ask({b"2"})
        one.check = UP
        assert up() and loops_ask({b"1", b"2"})


def test_targets_that_die_and_return_under_load_cost_no_request(target, place, weir, raw):
    """Point 5 of what upstreams are for; checks and ejection as they come."""
    failed, stop, counts = [], threading.Event(), [0] * 4

    def load(number, running):
        while not stop.is_set():
            with raw(running, 60) as client:
                for _ in range(20):
                    got = client.send(get("/x")).read()
                    if got.status != 200:
                        failed.append(got)
                    counts[number] += 1

    steady = target(App(b"steady"))
    document = site([place.address, steady.address], {**OFTEN, "fall": 2}, workers={"processes": 1, "loops": 2})
    del document["upstreams"]["app"]["eject"]
    running = weir(document)
    threads = [threading.Thread(target=load, args=(number, running)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(4):
            with Upstream(App(b"comes and goes"), place=place) as app:
                assert app.wait(lambda: len([r for r in app.requests if r.target == "/x"]) >= 20, 30)
            before = sum(counts)
            assert eventually(lambda: running.log.count(" is down: ") > turn, 30)
            assert eventually(lambda: sum(counts) > before + 50, 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []


def test_a_reload_begins_anew_without_a_failure(target, place, weir, raw):
    other = target(App(b"other"))
    running = weir(site([place.address, other.address], OFTEN))
    running.wait_for_line(f"{place.address} is down")
    before = running.log.count(f"{place.address} is down")
    reload(running)
    assert asked(running, raw) == [b"other"] * 10
    assert eventually(lambda: running.log.count(f"{place.address} is down") > before)


WRONG = [
    (True, '"health" is an object'), ({"path": "up"}, '"up" cannot be asked for'), ({"path": ""}, "cannot be asked for"),
    ({"path": "/a b"}, "cannot be asked for"), ({"path": "/a#b"}, "cannot be asked for"),
    ({"path": "/", "host": "a b"}, "is no host to ask for"), ({"host": "a"}, '"host" needs a "path"'),
    ({"expect": "2xx"}, '"expect" needs a "path"'), ({"path": "/", "expect": []}, "no status would be good"),
    ({"path": "/", "expect": "9xx"}, "is no status"), ({"path": "/", "expect": {"body_regex": "("}}, "E0310"),
    ({"path": "/", "expect": {"statuses": 200}}, "unknown key"), ({"every": False}, "cannot be without end"),
    ({"timeout": False}, "cannot be without end"), ({"every": "0s"}, "zero"), ({"rise": 0}, "out of range"),
    ({"fall": 1001}, "out of range"), ({"interval": "5s"}, "unknown key")]


def test_what_is_wrong_is_said(weir):
    document = site("127.0.0.1:1", False)
    document["upstreams"].update({f"n{number}": {"targets": "127.0.0.1:1", "health": health}
                                  for number, (health, _) in enumerate(WRONG)})
    running = weir(document, listeners=0, exit_status=78)
    running.expect_error("")
    running.wait_exit()
    for number, (health, said) in enumerate(WRONG):
        report = running.log.partition(f"at /upstreams/n{number}/health")[0].rpartition("at /upstreams/")[2]
        assert f"at /upstreams/n{number}/health" in running.log and said in report, (health, report)
