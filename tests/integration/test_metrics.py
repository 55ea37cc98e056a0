# SPDX-License-Identifier: MIT
"""The handler `metrics` (DESIGN.md section 8): what it answers is what Prometheus reads, and counts what
clients count, over workers that end and generations that follow one another."""

import os
import re
import shutil
import signal
import subprocess

import pytest
from weir_figures import Scrape
from weir_process import eventually, process_tree
from weir_site import get, route, server, site

PROMTOOL = shutil.which("promtool")
EVENTS = f"{os.environ['WEIR_BUILDDIR']}/contrib/examples/events/.libs/events.so"


def measured(**workers):
    document = site(servers=[server(
        route("/hello", "hello", name="hello"),
        route("/gone", status=410, name="gone"),
        {"match": "/post", "name": "post", "handle": {"respond": "x"}, "limits": {"body": "10b"}},
        {"match": "/metrics", "name": "metrics", "handle": "metrics"}, name="shop")],
        top={"workers": {"processes": 2, **workers}})
    return {**document, "modules": ["respond", "metrics"]}


def scrape(raw, weir):
    with raw(weir) as connection:
        answer = connection.send(get("/metrics")).read()
    assert answer.status == 200
    return answer.body.decode()


def value(text, name, **labels):
    """The sum of a series over all that have these labels."""
    return Scrape(text).value(name, **labels)


def counts(raw, weir, **labels):
    return value(scrape(raw, weir), "weir_http_requests_total", **labels)


def ask(raw, weir, request, status):
    with raw(weir) as connection:
        assert connection.send(request).read().status == status


def load(raw, weir):
    """Every kind of request once; what each is counted as."""
    ask(raw, weir, get("/hello"), 200)
    ask(raw, weir, get("/gone"), 410)
    ask(raw, weir, get("/missing"), 404)
    ask(raw, weir, get("/post", method="POST", fields="Content-Length: 11\r\n"), 413)
    ask(raw, weir, b"GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", 400)
    with raw(weir) as connection:  # a client that leaves in the middle of its head
        connection.send(b"GET /hel")
    return [dict(route="hello", method="GET", code=200), dict(route="gone", method="GET", code=410),
            dict(route="", method="GET", code=404), dict(route="post", method="POST", code=413),
            dict(method="_OTHER", code=400)]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_reads_it_without_complaint(weir, raw):
    running = weir(measured())
    load(raw, running)
    text = scrape(raw, running)
    result = subprocess.run([PROMTOOL, "check", "metrics"], input=text, text=True,
                            capture_output=True, check=False)
    assert result.returncode == 0 and result.stderr == "" and result.stdout == "", result


def negotiated(raw, weir, accept):
    with raw(weir) as connection:
        fields = "" if accept is None else f"Accept: {accept}\r\n"
        answer = connection.send(get("/metrics", fields=fields)).read()
    assert answer.status == 200
    return answer.field("Content-Type").partition(";")[0], answer.body.decode()


TEXT, OPEN = "text/plain", "application/openmetrics-text"


@pytest.mark.parametrize("accept,wanted", [
    (None, TEXT), ("*/*", TEXT), ("text/html", TEXT), (OPEN, OPEN), (OPEN + ";q=0", TEXT),
    # As Prometheus asks.
    ("application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
     "text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", OPEN),
    (f"{TEXT}, {OPEN};q=0.9", TEXT)])
def test_the_client_chooses_the_format(weir, raw, accept, wanted):
    kind, text = negotiated(raw, weir(measured()), accept)
    assert kind == wanted
    if wanted == OPEN:
        assert text.endswith("\n# EOF\n")
        assert "# TYPE weir_http_requests_ended counter\n" in text
        assert re.search(r"^weir_http_requests_ended_total\{", text, re.M)
        assert not re.search(r"^# TYPE \w+_total ", text, re.M)
    else:
        assert "# EOF" not in text and "# TYPE weir_http_requests_ended_total counter\n" in text


@pytest.mark.parametrize("accept", [TEXT, OPEN])
def test_what_modules_count_themselves_is_told_as_well(weir, raw, accept):
    document = measured(processes=1)
    document["modules"].append({"name": "events", "path": EVENTS})
    document["servers"][0]["routes"].append({"match": "/events", "name": "events", "handle": "events"})
    running = weir(document)
    for _ in range(3):
        raw(running).send(get("/events")).read_head()
    raw.connections[0].reset()
    route = dict(route="events")
    assert eventually(lambda: value(scrape(raw, running), "weir_events_listening", **route) == 2)
    text = negotiated(raw, running, accept)[1]
    assert value(text, "weir_events_streams_total", **route) == 3
    family = "weir_events_streams" if accept == OPEN else "weir_events_streams_total"
    assert f"# HELP {family} Streams that were begun\n# TYPE {family} counter\n" in text
    assert "# TYPE weir_events_listening gauge\n" in text


@pytest.mark.parametrize("option,wanted", [("prometheus", TEXT), ("openmetrics", OPEN)])
def test_or_the_configuration_does(weir, raw, option, wanted):
    document = measured()
    document["servers"][0]["routes"][3]["handle"] = {"metrics": option}
    running = weir(document)
    for accept in (TEXT, OPEN):
        assert negotiated(raw, running, accept)[0] == wanted


def test_counts_what_clients_count_and_gauges_return_to_zero(weir, raw):
    running = weir(measured())
    kinds = []
    for _ in range(5):
        kinds = load(raw, running)
    for kind in kinds:
        assert eventually(lambda: counts(raw, running, **kind) == 5), (kind, scrape(raw, running))
    assert eventually(lambda: value(scrape(raw, running), "weir_http_heads_refused_total") == 5)
    duration = dict(server="shop", route="hello")
    text = scrape(raw, running)
    assert value(text, "weir_http_request_duration_seconds_count", **duration) == 5

    def at_rest():  # but for the scrape itself
        text = scrape(raw, running)
        return value(text, "weir_http_requests_in_flight") <= 1 and value(text, "weir_connections") <= 1

    assert eventually(at_rest), scrape(raw, running)


def test_tells_what_the_master_and_the_process_have(weir, raw):
    document = measured(processes=1)
    document["pools"] = {"default": {"min": 3, "max": 5}}
    running = weir(document)
    load(raw, running)

    def has_all():
        text = scrape(raw, running)
        return (value(text, "weir_pool_threads", pool="default") == 3 and
                value(text, "weir_workers", state="serving") == 1 and value(text, "weir_generation") == 1 and
                value(text, "weir_listener_queue_limit", listener=running.address) > 0)

    assert eventually(has_all), scrape(raw, running)
    text = scrape(raw, running)
    assert value(text, "weir_build_info") == 1
    at_rest = [("weir_listener_queue", {"listener": running.address}), ("weir_pool_queue", {"pool": "default"}),
               ("weir_pool_threads_busy", {"pool": "default"}),
               ("weir_pool_rejected_total", {"pool": "default"}), ("weir_log_lines_dropped_total", {})]
    for name, labels in at_rest:
        assert re.search(rf"^{name}[ {{]", text, re.M)
        # A connection that asked for the figures may have stood in the queue as it was looked at.
        assert eventually(lambda: value(scrape(raw, running), name, **labels) == 0), name
    assert value(text, "weir_hook_calls_total", module="respond", hook="content", verdict="done") >= 2
    assert value(text, "weir_connections_closed_total", reason="client") >= 1


def test_all_of_them_are_there_from_the_first_moment(weir, raw):
    text = scrape(raw, weir(measured(processes=1)))
    for name in ["weir_connections", "weir_memory_bytes", "weir_body_files", "weir_log_lines_total",
                 "weir_pool_threads", "weir_pool_ran_total"]:
        assert re.search(rf"^{name}[ {{]", text, re.M), name


def test_counters_survive_reloads_and_a_killed_worker(weir, raw):
    running = weir(measured())
    hello = dict(route="hello", code=200)
    asked = 0

    def ask_all():
        nonlocal asked
        for _ in range(20):
            ask(raw, running, get("/hello"), 200)
        asked += 20
        assert eventually(lambda: counts(raw, running, **hello) == asked), scrape(raw, running)

    ask_all()
    victim = next(pid for pid in process_tree(running.pid) if pid != running.pid)
    running.expect_error(f"process {victim}\\) killed by SIGKILL: it is replaced")
    os.kill(victim, signal.SIGKILL)
    running.wait_for_line(f"process {victim}.*it is replaced")
    assert counts(raw, running, **hello) == asked
    ask_all()
    for _ in range(3):
        before = set(process_tree(running.pid))
        running.signal(signal.SIGHUP)
        assert eventually(lambda: set(process_tree(running.pid)) & before == {running.pid} and
                          len(process_tree(running.pid)) == 3)
        assert counts(raw, running, **hello) == asked
        ask_all()


def test_other_methods_are_refused(weir, raw):
    running = weir(measured())
    with raw(running) as connection:
        answer = connection.send(get("/metrics", method="POST", fields="Content-Length: 0\r\n")).read()
    assert answer.status == 405 and answer.field("Allow") in (b"GET, HEAD", "GET, HEAD")
