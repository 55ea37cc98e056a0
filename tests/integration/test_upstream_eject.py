# SPDX-License-Identifier: MIT
"""Targets that keep failing are passed over for a while (`eject`), unless all are."""

import pytest
from weir_figures import Scrape
from weir_process import eventually
from weir_site import get, server
from weir_upstream import Place, Upstream, always, answer

LONG = {"within": "1h", "for": "1h", "for_max": "1h"}  # whoever is out stays out


def site(targets, eject, timeouts=None):
    return {"modules": ["proxy", "metrics"],
            "upstreams": {"app": {"targets": targets, "eject": eject, "timeouts": timeouts or {}, "keepalive": 0}},
            "servers": [server({"match": "/metrics", "handle": "metrics"}, {"handle": {"proxy": "app"}})]}


def ejections(client, target):
    scrape = Scrape(client.send(get("/metrics")).read().body.decode())
    return scrape.value("weir_upstream_ejections_total", upstream="app", target=target)


def opened(client, target):
    scrape = Scrape(client.send(get("/metrics")).read().body.decode())
    return scrape.value("weir_upstream_connections_opened_total", upstream="app", target=target)


def ask(client, count, method="GET"):
    return [client.send(get(method=method, fields="Content-Length: 0\r\n" if method == "POST" else "")).read()
            for _ in range(count)]


def test_one_that_refuses_is_passed_over(weir, raw):
    with Place() as dead, Upstream(always(answer(b"alive"))) as app:
        running = weir(site([dead.address, app.address], {**LONG, "failures": 4}))
        client = raw(running)
        assert [got.body for got in ask(client, 20)] == [b"alive"] * 20
        running.wait_for_line(f'warn: upstream app: {dead.address} keeps failing, last with "refused"; '
                              r"passed over for 3[6-9]\d\d\.\d s")
        assert ejections(client, dead.address) == 1
        assert opened(client, dead.address) == 4
        assert ejections(client, app.address) == 0


def test_one_that_is_silent_is_passed_over(weir, raw):
    """It takes connections, which says nothing of it."""
    with Upstream(lambda peer, _: peer.wait_closed()) as silent, Upstream(always(answer())) as app:
        running = weir(site([silent.address, app.address], {**LONG, "failures": 2}, {"read": "1s"}))
        client = raw(running)
        assert [got.status for got in ask(client, 10)].count(504) >= 2  # more where the other one was slow, too
        assert len(silent.requests) == 2
        running.wait_for_line(f'{silent.address} keeps failing, last with "read_timeout"')


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 O", b"220 mail.example ESMTP\r\n"], ids=["closes", "in head", "garbage"])
def test_one_without_an_answer_is_passed_over(weir, raw, said):
    with Upstream(always(said, keep=False)) as bad, Upstream(always(answer())) as app:
        client = raw(weir(site([bad.address, app.address], {**LONG, "failures": 2})))
        assert [got.status for got in ask(client, 10, "POST")].count(502) == 2
        assert len(bad.requests) == 2


def test_answers_count_as_failures_where_that_is_said(weir, raw):
    with Upstream(always(answer(status="503 No"))) as bad, Upstream(always(answer())) as app:
        running = weir(site([bad.address, app.address], {**LONG, "failures": 2, "status": "500-503"}))
        assert [got.status for got in ask(raw(running), 10)].count(503) == 2
        running.wait_for_line('last with "status 503"')


@pytest.mark.parametrize("eject", [{**LONG, "failures": 2}, {**LONG, "failures": 2, "status": ["501", "4xx"]}], ids=str)
def test_answers_are_no_failures_otherwise(weir, raw, eject):
    with Upstream(always(answer(status="503 No"))) as bad, Upstream(always(answer())) as app:
        assert [got.status for got in ask(raw(weir(site([bad.address, app.address], eject))), 10)].count(503) == 5


@pytest.mark.parametrize("eject", [False, {**LONG, "failures": False}, {**LONG, "failures": 1, "max_percent": 49}], ids=str)
def test_none_is_passed_over_where_that_is_said(weir, raw, eject):
    with Place() as dead, Upstream(always(answer())) as app:
        client = raw(weir(site([dead.address, app.address], eject)))
        assert [got.status for got in ask(client, 10)] == [200] * 10
        assert (opened(client, dead.address), ejections(client, dead.address)) == (5, 0)


def test_when_all_are_out_all_are_asked(weir, raw):
    with Place() as dead, Place() as other:
        running = weir(site([dead.address, other.address], {**LONG, "failures": 1}))
        client = raw(running)
        assert [got.status for got in ask(client, 2)] == [502] * 2
        assert ejections(client, dead.address) == ejections(client, other.address) == 1
        with Upstream(always(answer()), place=other):
            assert [got.status for got in ask(client, 4)] == [200] * 4
            running.wait_for_line(f"info: upstream app: {other.address} works again")


def breaker(target, seconds):
    document = site(target, {"failures": 2, "within": "1h", "for": seconds, "for_max": seconds})
    document["upstreams"]["app"]["all_out"] = "refuse"
    document["servers"][0]["routes"][1]["handle"] = {"proxy": {"to": "app", "proxy_status": True}}
    return document


def test_when_all_are_out_none_is_asked_where_that_is_said(weir, raw):
    with Place() as place:
        client = raw(weir(breaker(place.address, "1h")))
        assert [got.status for got in ask(client, 2)] == [502] * 2
        for got in ask(client, 10):
            assert (got.status, got.field("retry-after")) == (503, "1")
            assert got.field("proxy-status").startswith("weir; error=destination_unavailable")
        assert opened(client, place.address) == 2
        scrape = Scrape(client.send(get("/metrics")).read().body.decode())
        assert scrape.value("weir_upstream_exchanges_total", upstream="app", result="unavailable") == 10


def test_and_one_request_shows_that_all_may_pass_again(weir, raw):
    with Place() as place:
        client = raw(weir(breaker(place.address, "50ms")))
        assert [got.status for got in ask(client, 2)] == [502] * 2
        assert eventually(lambda: ask(client, 1)[0].status == 502)  # one try, in vain
        with Upstream(always(answer()), place=place):
            assert eventually(lambda: ask(client, 1)[0].status == 200)
            assert [got.status for got in ask(client, 10)] == [200] * 10


def test_one_that_comes_back_is_asked_again(weir, raw):
    with Place() as place, Upstream(always(answer(b"other"))) as app:
        running = weir(site([place.address, app.address], {"failures": 1, "for": "50ms", "for_max": "50ms"}))
        client = raw(running)
        ask(client, 2)
        assert ejections(client, place.address) == 1
        assert eventually(lambda: ask(client, 1) and ejections(client, place.address) >= 3)  # one try each time
        with Upstream(always(answer(b"back")), place=place):
            assert eventually(lambda: ask(client, 1)[0].body == b"back")
            running.wait_for_line(f"{place.address} works again")
            bodies = [got.body for got in ask(client, 10)]
            assert (bodies.count(b"back"), bodies.count(b"other")) == (5, 5)
            tries = opened(client, place.address) - 6
            assert ejections(client, place.address) == tries


WRONG = [
    ({"for": "10m"}, '"for" is longer than "for_max"'), ({"failures": 0}, "zero"), ({"status": "9xx"}, "status"),
    ({"max_percent": 101}, "out of range"), ({"fails": 3}, "unknown key"), (True, "an object")]


def test_what_is_wrong_is_said(weir):
    document = site("127.0.0.1:1", False)
    document["upstreams"].update({f"n{number}": {"targets": "127.0.0.1:1", "eject": eject}
                                  for number, (eject, _) in enumerate(WRONG)})
    running = weir(document, listeners=0, exit_status=78)
    running.expect_error("")
    running.wait_exit()
    for number, (eject, said) in enumerate(WRONG):
        report = running.log.partition(f"at /upstreams/n{number}/eject")[0].rpartition("at /upstreams/")[2]
        assert f"at /upstreams/n{number}/eject" in running.log and said in report, (eject, report)
