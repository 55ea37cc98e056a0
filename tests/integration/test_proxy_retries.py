# SPDX-License-Identifier: MIT
"""Requests that are sent to another target, and those that are not (F143)."""

import re
import socket

import pytest
from weir_figures import Scrape
from weir_site import get, server
from weir_upstream import Upstream, always, answer

EVERYTHING = ["connect", "timeout", "closed", "bad_answer", "429", "500", "502", "503", "504"]
SHORT = {"connect": "400ms", "read": "400ms", "send": "400ms", "queue": "400ms"}


def site(targets, retry=None, timeouts=None, proxy=None, **rest):
    routes = [{"match": "/metrics", "handle": "metrics"}, {"handle": {"proxy": {"to": "app", **(proxy or {})}}}]
    return {"modules": ["proxy", "metrics"],
            "upstreams": {"app": {"targets": targets, "retry": retry, "timeouts": timeouts}},
            "servers": [server(*routes, **rest)]}


def figures(client):
    return Scrape(client.send(get("/metrics")).read().body.decode())


def nothing(peer, _):
    peer.wait_closed()
    return False


def reset(peer, _):
    peer.reset()
    return False


# name, script of the bad target, reason
BAD = [
    ("closes", always(b"", keep=False), "closed"),
    ("closes in the head", always(b"HTTP/1.1 200 OK\r\nX: y\r\n", keep=False), "closed"),
    ("resets", reset, "closed"),
    ("silent", nothing, "timeout"),
    ("no HTTP", always(b"SSH-2.0-OpenSSH\r\n\r\n"), "bad_answer"),
    ("both lengths", always(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"), "bad_answer"),
    *((status, always(answer(b"bad", f"{status} Bad")), status) for status in ("429", "500", "502", "503", "504")),
]


@pytest.mark.parametrize("method, fields, body", [
    ("GET", "", b""), ("PUT", "Content-Length: 5\r\n", b"12345"),
    ("PUT", "Transfer-Encoding: chunked\r\n", b"5\r\n12345\r\n0\r\n\r\n")], ids=["GET", "PUT", "chunks"])
@pytest.mark.parametrize("script, reason", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_an_idempotent_request_goes_to_another_target(weir, raw, script, reason, method, fields, body):
    want = b"12345" if body else b""
    with Upstream(script) as bad, Upstream(always(answer(b"good"))) as good:
        running = weir(site([bad.address, good.address], {"on": EVERYTHING, "budget": False}, SHORT))
        client = raw(running)
        for _ in range(2):  # the second begins with the other
            got = client.send(get(method=method, fields=fields, body=body)).read(method)
            assert (got.status, got.body) == (200, b"good")
        assert [r.body for r in bad.requests] == [want]
        assert [r.body for r in good.requests] == [want, want]
        scrape = figures(client)
        assert scrape.by("weir_upstream_retries_total", "upstream", "target", "reason") == {
            ("app", bad.address, reason): 1}
        assert scrape.value("weir_upstream_exchanges_total", upstream="app", result="fine") == 2


@pytest.mark.parametrize("script, status", [(always(b"", keep=False), 502), (always(answer(b"", "503 Busy")), 503),
                                            (nothing, 504)], ids=["closes", "503", "silent"])
def test_a_post_is_asked_of_one_target(weir, raw, script, status):
    with Upstream(script) as bad, Upstream(always(answer(b"good"))) as good:
        running = weir(site([bad.address, good.address], {"on": EVERYTHING}, SHORT))
        got = raw(running).send(get(method="POST", fields="Content-Length: 2\r\n", body=b"hi")).read()
        assert got.status == status
    assert (len(bad.requests), len(good.requests)) == (1, 0)


def test_without_a_connection_anything_goes_on(weir, raw):
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))  # and does not listen
    dead = "127.0.0.1:%d" % probe.getsockname()[1]
    with Upstream(always(answer())) as app:
        client = raw(weir(site([dead, app.address], {"times": 0, "budget": 0})))
        assert client.send(get(method="POST")).read().status == 200
        assert figures(client).by("weir_upstream_retries_total", "target", "reason") == {(dead, "connect"): 1}
        running = weir(site([dead, app.address], {"on": []}))
        assert raw(running).send(get(method="POST")).read().status == 502  # unless nobody wants it
    probe.close()


def test_the_last_answer_is_the_client_s(weir, raw):
    with Upstream(always(answer(b"one", "503 Busy"))) as one, Upstream(always(answer(b"two", "503 Busy"))) as two:
        client = raw(weir(site([one.address, two.address], {"on": ["503"], "times": 5})))
        assert client.send(get()).read().body == b"two"
        assert client.send(get()).read().body == b"one"
    assert (one.connections, two.connections) == (1, 1)  # kept, since what was passed over had come whole


def test_times_is_how_often(weir, raw):
    scripts = [Upstream(always(b"", keep=False)) for _ in range(4)]
    addresses = [upstream.address for upstream in scripts]
    try:
        for times, asked in ((0, 1), (1, 2), (2, 3), (9, 4)):
            before = sum(len(upstream.requests) for upstream in scripts)
            client = raw(weir(site(addresses, {"times": times})))
            assert client.send(get()).read().status == 502
            assert sum(len(upstream.requests) for upstream in scripts) - before == asked
    finally:
        for upstream in scripts:
            upstream.stop()


def test_a_group_that_is_down_is_not_asked_twice_as_much(weir, raw):
    with Upstream(always(answer(b"", "503 Busy"))) as one, Upstream(always(answer(b"", "503 Busy"))) as two:
        client = raw(weir(site([one.address, two.address], {"on": ["503"], "budget": 10, "floor": "5/h"})))
        for _ in range(100):
            assert client.send(get()).read().status == 503
        scrape = figures(client)
        sent = len(one.requests) + len(two.requests)
        assert sent == 100 + scrape.value("weir_upstream_retries_total", reason="503")
        assert 110 <= sent <= 115
        assert scrape.value("weir_upstream_retries_refused_total", upstream="app") == 200 - sent


def test_a_large_body_is_sent_once(weir, raw):
    def refuse(peer, request):
        assert len(request.body) in (60000, 80000)
        return False

    with Upstream(refuse) as bad, Upstream(always(answer())) as good:
        client = raw(weir(site([bad.address, good.address])))
        for size, status in ((80000, 502), (60000, 200), (60000, 200)):
            got = client.send(get(method="PUT", fields=f"Content-Length: {size}\r\n", body=b"x" * size)).read()
            assert got.status == status
    assert {len(request.body) for request in good.requests} == {60000}


def test_nothing_is_sent_again_once_a_hint_was_passed_on(weir, raw):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    with Upstream(always(hint, keep=False)) as bad, Upstream(always(answer())) as good:
        got = raw(weir(site([bad.address, good.address]))).send(get()).read()
        assert (got.status, [i.status for i in got.interim]) == (502, [103])
    assert good.requests == []


def test_targets_that_die_lose_no_idempotent_request(weir, raw):
    """Each closes every third of its connections without an answer."""
    def flaky(peer, request):
        if peer.number % 3 == 0:
            return False
        peer.send(answer(request.target.encode()))
        return peer.number % 2 == 0  # some are kept

    with Upstream(flaky) as one, Upstream(flaky) as two, Upstream(always(answer(b"/x"))) as three:
        client = raw(weir(site([one.address, two.address, three.address], {"times": 2, "budget": False})))
        for _ in range(200):
            got = client.send(get("/x")).read()
            assert (got.status, got.body) == (200, b"/x")


@pytest.mark.parametrize("retry, said", [
    ({"times": 17}, "times"), ({"on": ["refused"]}, "\"refused\""), ({"on": [503]}, "\"on\""),
    ({"budget": 101}, "budget"), ({"budget": "20%"}, "budget"), ({"floor": 10}, "floor"),
    ({"time": 1}, "unknown key \"time\"")])
def test_a_wrong_retry_is_refused(weir, retry, said):
    running = weir(site("127.0.0.1:1", retry), listeners=0, exit_status=78)
    running.expect_error(re.escape(said))
    running.wait_exit()
