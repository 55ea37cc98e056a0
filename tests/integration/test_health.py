# SPDX-License-Identifier: MIT
"""Liveness and readiness (F94, DESIGN.md section 8): answered on the loop, whatever else is busy; not ready is
who stops, and not who makes way for another."""

import json
import os
import select
import signal

import pytest
from weir_process import eventually
from weir_site import get, route, server
from weir_slow_file import SlowFile

BUILD = os.environ["WEIR_BUILDDIR"]
PROCESSES = {"workers": {"processes": 1}}


def watched(*routes, use=("health",), modules=(), **top):
    return {"modules": ["respond", "health", *modules], "servers": [server(*routes, use=list(use))], **PROCESSES, **top}


def status(answer):
    return answer.status, json.loads(answer.body)["status"]


def ask(raw, running, path):
    return raw(running).send(get(path)).read()


def test_it_lives_and_is_ready(weir, raw):
    running = weir(watched())
    assert status(ask(raw, running, "/livez")) == (200, "live")
    ready = ask(raw, running, "/readyz")
    assert status(ready) == (200, "ready")
    assert (ready.field("content-type"), ready.field("cache-control")) == ("application/json", "no-store")
    assert ask(raw, running, "/hello").body == b"hello"


def test_it_is_answered_while_the_pool_is_saturated(weir, raw, tmp_path):
    slow = SlowFile(tmp_path / "banned")
    lookup = {"name": "lookup", "path": f"{BUILD}/contrib/examples/lookup/.libs/lookup.so",
              "options": {"file": str(slow.path)}}
    running = weir(watched(route("/*", "in"), use=({"lookup": {"within": "60s"}}, "health"), modules=[lookup],
                           pools={"default": {"min": 1, "max": 1, "queue_size": 1}}))
    first, others = raw(running).send(get("/")), [raw(running) for _ in range(2)]
    held = slow.hold()  # the pool's one thread is at work
    for connection in others:
        connection.send(get("/"))
    busy = select.select([c.socket for c in others], [], [], first.socket.gettimeout())[0]
    assert len(busy) == 1  # the other one fills the queue
    for path, want in (("/livez", "live"), ("/readyz", "ready")):
        assert status(ask(raw, running, path)) == (200, want)
    os.close(held)
    slow.let_go(first, *others)
    assert sorted(c.read().status for c in (first, *others)) == [200, 200, 503]


def test_a_worker_that_makes_way_is_ready(weir, raw):
    running = weir(watched())
    kept = raw(running)
    assert status(kept.send(get("/readyz")).read()) == (200, "ready")
    running.signal(signal.SIGHUP)
    running.wait_for_line("draining: no new connections")
    answer = kept.send(get("/readyz")).read()
    assert (status(answer), answer.field("connection")) == ((200, "ready"), "close")
    assert status(ask(raw, running, "/readyz")) == (200, "ready")


@pytest.mark.parametrize("path, want", [("/readyz", (503, "draining")), ("/livez", (200, "live"))])
def test_a_server_that_stops_is_not_ready(weir, raw, path, want):
    running = weir(watched())
    connection = raw(running)
    request = get(path)
    assert connection.send(get("/hello") + request[:20]).read().body == b"hello"
    running.signal(signal.SIGTERM)
    running.wait_for_line("draining: no new connections")
    answer = connection.send(request[20:]).read()
    assert status(answer) == want
    assert answer.field("retry-after") == ("1" if want[0] == 503 else None)
    assert answer.field("connection") == "close"
    assert running.wait_exit() == 0


def test_one_that_was_reloaded_before_it_stops_is_not_ready(weir, raw):
    running = weir(watched())
    connection, idle = raw(running), raw(running)
    request = get("/readyz")
    assert connection.send(get("/hello") + request[:20]).read().body == b"hello"
    assert idle.send(get("/hello")).read().body == b"hello"
    running.signal(signal.SIGHUP)
    running.wait_for_line("draining: no new connections")
    running.signal(signal.SIGTERM)
    idle.expect_closed()  # the worker has heard of it
    assert status(connection.send(request[20:]).read()) == (503, "draining")
    assert running.wait_exit() == 0


# --- workers.stop_delay (F72)

def delayed(weir, delay="60s", **workers):
    return weir(watched(workers={"processes": 1, "stop_delay": delay, **workers}))


def tell(running, number=signal.SIGTERM):
    running.signal(number)
    running.wait_for_line("stopping in")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_it_serves_on_and_is_not_ready(weir, raw, number):
    running = delayed(weir)
    kept = raw(running)
    assert status(kept.send(get("/readyz")).read()) == (200, "ready")
    tell(running, number)
    assert eventually(lambda: status(kept.send(get("/readyz")).read()) == (503, "draining"))
    assert status(kept.send(get("/livez")).read()) == (200, "live")
    assert kept.send(get("/hello")).read().field("connection") is None
    assert status(ask(raw, running, "/readyz")) == (503, "draining")
    assert ask(raw, running, "/hello").body == b"hello"
    assert "draining" not in running.log
    running.signal(number)  # cuts it short, and is not yet "now"
    running.wait_for_line("draining: no new connections")
    kept.expect_closed()
    assert running.wait_exit() == 0
    assert "at once" not in running.log


def test_it_stops_when_the_delay_is_over(weir, raw):
    running = delayed(weir, "300ms")
    tell(running)
    running.wait_for_line("draining: no new connections")
    assert running.wait_exit() == 0


def test_the_third_signal_is_now(weir, raw):
    running = delayed(weir)
    connection = raw(running)
    assert connection.send(get("/hello") + b"GET /he").read().body == b"hello"
    tell(running)
    running.signal(signal.SIGTERM)
    running.wait_for_line("draining: no new connections")
    running.signal(signal.SIGTERM)
    assert running.wait_exit() == 0
    connection.expect_closed()
    assert "stopped at once" in running.log


def test_int_skips_the_delay(weir, raw):
    running = delayed(weir)
    tell(running)
    running.signal(signal.SIGINT)
    assert running.wait_exit() == 0
    assert "stopped at once" in running.log


def test_no_generation_comes_meanwhile(weir, raw):
    running = delayed(weir)
    tell(running)
    running.signal(signal.SIGHUP)
    running.wait_for_line("reload: not while the server stops")
    assert eventually(lambda: status(ask(raw, running, "/readyz")) == (503, "draining"))
    running.signal(signal.SIGTERM)
    assert running.wait_exit() == 0


def test_a_worker_that_is_replaced_meanwhile_is_not_ready_either(weir, raw):
    running = delayed(weir)
    tell(running)
    [worker] = [pid for pid in running.processes() if pid != running.pid]
    running.expect_error("worker 0")
    os.kill(worker, signal.SIGKILL)
    running.wait_for_line(r"worker 0 \(generation 1\) serves as process")
    assert status(ask(raw, running, "/readyz")) == (503, "draining")
    running.signal(signal.SIGTERM)
    assert running.wait_exit() == 0


@pytest.mark.parametrize("delay", ["0s", False])
def test_without_a_delay_it_stops_at_once(weir, raw, delay):
    running = delayed(weir, delay)
    running.signal(signal.SIGTERM)
    running.wait_for_line("draining: no new connections")
    assert "stopping in" not in running.log
    assert running.wait_exit() == 0


def test_it_stands_at_a_server_and_not_at_a_route(weir):
    running = weir({"modules": ["respond", "health"], "servers": [server(route("/hello", "hello", use=["health"]))]},
                   listeners=0, exit_status=78)
    running.expect_error("health")
    running.wait_exit()
