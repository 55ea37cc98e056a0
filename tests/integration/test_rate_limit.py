# SPDX-License-Identifier: MIT
"""Rate limits (F96): one for the whole server, in memory that outlives workers; who a client is, what it is told, and
what becomes of a limit when workers die, generations come and go, or clients are more than there is room for.

Where a test counts to the request, the rate makes no room for another one while the test runs: one in ten minutes."""

import concurrent.futures
import json
import os
import signal
import subprocess
import time

import pytest
from weir_figures import Scrape
from weir_process import eventually, process_tree, slow
from weir_site import get, route, server

SLOW = "6/h"  # another one in ten minutes


def limit(rate=SLOW, name=None, **options):
    entry = {"rate_limit": {"rate": rate, **options}}
    return {**entry, "as": name} if name else entry


def limited(*uses, routes=None, top=None, **rest):
    """A server under these limits, and one beside it that tells the figures."""
    return {"modules": ["respond", "rate_limit", "metrics", "error_pages", "access_log"], "servers": [
        server(*(routes or [route(None, "in")]), use=list(uses), **rest),
        server({"handle": "metrics"}, name="figures")], **(top or {})}


def start(weir, config, listeners=2, **how):
    return weir(config, listeners=listeners, **how)


def ask(running, target="/", fields="", listener=0, times=1, raw=None):
    """The statuses of so many requests on one connection, and the last answer."""
    statuses = []
    with raw(running.addresses[listener]) as connection:
        for _ in range(times):
            answer = connection.send(get(target, fields=fields)).read()
            statuses.append(answer.status)
    return statuses, answer


def client(address):
    return f"X-Forwarded-For: {address}\r\n"


BEHIND = {"trust": {"peers": ["127.0.0.1"]}}


def figures(running, raw):
    with raw(running.addresses[-1]) as connection:
        return Scrape(connection.send(get("/")).read().body.decode())


def results(running, raw):
    return {key[0]: value for key, value in figures(running, raw).by("weir_rate_limit_requests_total", "result").items()}


def workers(running):
    return [pid for pid in process_tree(running.pid) if pid != running.pid]


# --- the limit

@pytest.mark.parametrize("loops", [1, 2])
def test_it_is_one_for_all_workers_and_loops_to_the_request(weir, raw, loops):
    """A hundred connections fall to all of four workers, who count in one place."""
    running = start(weir, limited(limit(burst=50), top={"workers": {"processes": 4, "loops": loops}}))

    def some(_):
        return ask(running, times=3, raw=raw)[0]

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        statuses = [status for found in pool.map(some, range(100)) for status in found]
    assert sorted(statuses) == [200] * 50 + [429] * 250
    assert results(running, raw) == {"allowed": 50, "limited": 250}


def test_it_is_never_more_than_the_burst_and_what_the_rate_has_made_room_for(weir, raw):
    running = start(weir, limited(limit("100/s", burst=20), top={"workers": {"processes": 4}}))
    began = time.monotonic()

    def some(_):
        return ask(running, times=250, raw=raw)[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = [status for found in pool.map(some, range(8)) for status in found]
    passed = time.monotonic() - began
    allowed = statuses.count(200)
    assert allowed + statuses.count(429) == 2000
    assert 20 <= allowed <= 20 + 100 * passed + 1
    assert eventually(lambda: ask(running, raw=raw)[0] == [200])  # and it comes back


def test_who_is_refused_is_told_when_to_come_again(weir, curl):
    running = start(weir, limited(limit("1/s", burst=1)))
    answers = [curl(running.url())]
    while answers[-1].status == 200:  # a slow machine may need more than a second for one
        answers.append(curl(running.url()))
    assert answers[-1].status == 429 and answers[-1].field("Retry-After") == "1"
    assert answers[-1].field("RateLimit") is None
    assert eventually(lambda: curl(running.url()).status == 200)


def test_clients_are_told_what_is_left_when_that_is_wanted(weir, curl):
    running = start(weir, limited(limit(burst=3, fields=True, zone="api")))
    left = [curl(running.url()) for _ in range(4)]
    assert [answer.status for answer in left] == [200, 200, 200, 429]
    assert {answer.field("RateLimit-Policy") for answer in left} == {'"api";q=3;w=1800'}
    assert [answer.field("RateLimit").partition(";t=")[0] for answer in left] == [
        '"api";r=2', '"api";r=1', '"api";r=0', '"api";r=0']
    assert 540 <= int(left[-1].field("Retry-After")) <= 600


def test_a_dry_run_counts_and_logs_and_serves(weir, raw):
    running = start(weir, limited(limit(burst=2, dry_run=True)))
    assert ask(running, times=5, raw=raw)[0] == [200] * 5
    running.wait_for_line(r'module rate_limit.* over the limit .* served all the same \(dry run\)')
    assert results(running, raw) == {"allowed": 2, "dry_run": 3}


def test_the_log_has_a_line_of_what_is_refused(weir, raw):
    running = start(weir, limited(limit(burst=1, zone="login"), top={"workers": {"processes": 1}}))
    assert ask(running, times=2, raw=raw)[0] == [200, 429]
    running.wait_for_line(r'warn.* over the limit "login" of 6 in 3600 s, 1 at once: refused')


# --- who a client is

def test_clients_are_told_apart_by_whom_a_trusted_peer_speaks_for(weir, raw):
    running = start(weir, limited(limit(burst=2), **BEHIND))
    for address in ("192.0.2.1", "192.0.2.2"):
        assert ask(running, fields=client(address), times=3, raw=raw)[0] == [200, 200, 429]


def test_an_ipv6_network_is_one_client_and_ipv4_in_its_clothes_is_ipv4(weir, raw):
    running = start(weir, limited(limit(burst=1), **BEHIND))
    for address, want in [
            ("2001:db8:0:1::1", 200), ("2001:db8:0:1::2", 429), ("2001:db8:0:1:ffff:ffff:ffff:ffff", 429),
            ("2001:db8:0:2::1", 200), ("192.0.2.1", 200), ("::ffff:192.0.2.1", 429), ("::ffff:192.0.2.2", 200)]:
        assert ask(running, fields=client(address), raw=raw)[0] == [want], address


def test_the_prefix_is_as_wide_as_it_is_said_to_be(weir, raw):
    running = start(weir, limited(limit(burst=1, ipv6_prefix=56), **BEHIND))
    for address, want in [("2001:db8:0:100::1", 200), ("2001:db8:0:1ff::1", 429), ("2001:db8:0:200::1", 200)]:
        assert ask(running, fields=client(address), raw=raw)[0] == [want], address


def test_a_key_may_be_a_header_and_without_it_nobody_is_limited(weir, raw):
    running = start(weir, limited(limit(burst=1, key="{header.x-api-key}")))
    assert ask(running, fields="X-Api-Key: a\r\n", times=2, raw=raw)[0] == [200, 429]
    assert ask(running, fields="X-Api-Key: b\r\n", times=2, raw=raw)[0] == [200, 429]
    assert ask(running, times=4, raw=raw)[0] == [200] * 4
    assert results(running, raw) == {"allowed": 2, "limited": 2, "keyless": 4}


def test_a_key_of_several_parts(weir, raw):
    running = start(weir, limited(limit(burst=1, key=["{client.ip}", "{path}"])))
    assert ask(running, "/a", times=2, raw=raw)[0] == [200, 429]
    assert ask(running, "/b", times=2, raw=raw)[0] == [200, 429]


def test_clients_on_a_unix_socket_have_no_address_and_are_not_limited(weir, raw, tmp_path):
    running = start(weir, limited(limit(burst=1), listen=f"unix:{tmp_path}/web.sock"))
    socket = next(i for i, address in enumerate(running.addresses) if address.startswith("unix:"))
    assert ask(running, listener=socket, times=4, raw=raw)[0] == [200] * 4


# --- who counts together

def test_uses_of_one_zone_count_together_and_others_do_not(weir, raw):
    running = start(weir, limited(routes=[
        route("/a", "a", use=[limit(burst=2, zone="shared")]), route("/b", "b", use=[limit(burst=2, zone="shared")]),
        route("/c", "c", use=[limit(burst=2, zone="own")]), route("/d", "d")]))
    assert ask(running, "/a", raw=raw)[0] + ask(running, "/b", raw=raw)[0] == [200, 200]
    assert ask(running, "/a", raw=raw)[0] + ask(running, "/b", raw=raw)[0] == [429, 429]
    assert ask(running, "/c", times=3, raw=raw)[0] == [200, 200, 429]
    assert ask(running, "/d", times=5, raw=raw)[0] == [200] * 5


def test_a_limit_that_routes_inherit_is_one_for_all_of_them(weir, raw):
    running = start(weir, limited(limit(burst=2), routes=[route("/a", "a"), route("/b", "b")]))
    assert [ask(running, target, raw=raw)[0][0] for target in ("/a", "/b", "/a", "/b")] == [200, 200, 429, 429]


def test_a_route_may_have_several_limits(weir, raw, tmp_path):
    """Each counts; the log says which one it was."""
    log = tmp_path / "access.log"
    running = start(weir, limited(
        limit(burst=5, zone="site"), {"access_log": {
            "file": str(log), "format": "{target} {status} {rate_limit.result} {rate_limit.zone}"}},
        routes=[route("/login", "in", use=[limit(burst=2, zone="login", name="login")]), route("/a", "a")]))
    assert ask(running, "/login", times=3, raw=raw)[0] == [200, 200, 429]
    assert ask(running, "/a", times=3, raw=raw)[0] == [200, 200, 429]
    assert eventually(lambda: log.exists() and len(log.read_text().splitlines()) == 6)
    assert [line.split() for line in log.read_text().splitlines()] == [
        ["/login", "200"], ["/login", "200"], ["/login", "429", "limited", "login"],
        ["/a", "200"], ["/a", "200"], ["/a", "429", "limited", "site"]]


def test_what_the_server_asks_itself_is_not_limited(weir, raw):
    running = start(weir, limited(
        limit(burst=3), {"error_pages": {"routes": {"404": "/errors"}, "intercept": True}},
        routes=[{"match": "/errors", "internal": True, "handle": {"respond": "a page"}}, route(None, "none", 404)]))
    statuses, answer = ask(running, "/missing", times=3, raw=raw)
    assert statuses == [404] * 3 and answer.body == b"a page"
    assert ask(running, "/missing", raw=raw)[0] == [429]


# --- what it outlives

def reload(running, change):
    """With the configuration as `change` leaves it."""
    file = running.folder / "weir.json"
    config = json.loads(file.read_text())
    change(config["servers"][0])
    file.write_text(json.dumps(config))

    def counts():  # by the master, and by the old workers once they accept no more
        return running.log.count(" serves with "), running.log.count("draining: no new")

    before = counts()
    running.signal(signal.SIGHUP)
    running.wait(lambda: all(now > then for now, then in zip(counts(), before)), 20)
    assert all(now > then for now, then in zip(counts(), before)), running.log


def test_counts_outlive_workers_that_are_killed(weir, raw):
    running = start(weir, limited(limit(burst=6), top={"workers": {"processes": 2}}))
    assert ask(running, times=4, raw=raw)[0] == [200] * 4
    victims = workers(running)
    for victim in victims:
        running.expect_error(f"process {victim}\\) killed by SIGKILL")
        os.kill(victim, signal.SIGKILL)
    assert eventually(lambda: len(workers(running)) == 2 and not set(victims) & set(workers(running)))
    assert ask(running, times=4, raw=raw)[0] == [200, 200, 429, 429]


def test_counts_outlive_a_reload_that_leaves_the_limit_as_it_was(weir, raw):
    running = start(weir, limited(limit(burst=3)))
    assert ask(running, times=4, raw=raw)[0] == [200, 200, 200, 429]

    def change_what_is_said(to):
        to["routes"] = [route(None, "other")]
        to["use"][0]["rate_limit"]["status"] = 503

    reload(running, change_what_is_said)
    assert ask(running, raw=raw)[0] == [503]
    reload(running, lambda to: to.update(use=[limit(burst=4)]))  # another limit begins anew
    assert ask(running, times=5, raw=raw)[0] == [200] * 4 + [429]


def test_memory_is_given_up_when_nobody_declares_it_any_more(weir, raw):
    running = start(weir, limited(limit(burst=3, max_keys=1000)))
    assert eventually(lambda: figures(running, raw).value("weir_zones") == 1)
    assert 16000 <= figures(running, raw).value("weir_zone_bytes") <= 17000
    reload(running, lambda to: to.update(use=[]))
    assert eventually(lambda: figures(running, raw).value("weir_zones") == 0)
    assert eventually(lambda: figures(running, raw).value("weir_zone_bytes") == 0)


def test_more_clients_than_there_is_room_for_are_served_and_counted(weir, raw):
    running = start(weir, limited(limit(burst=1, max_keys=40), **BEHIND))
    with raw(running.addresses[0]) as connection:
        for n in range(1000):
            connection.send(get("/", fields=client(f"10.1.{n // 250}.{n % 250}")))
            assert connection.read().status == 200
    scrape = figures(running, raw)
    assert scrape.value("weir_rate_limit_evictions_total") >= 1000 - 70  # ten sets of seven
    assert scrape.value("weir_rate_limit_requests_total", result="allowed") == 1000
    assert ask(running, fields=client("10.1.3.249"), raw=raw)[0] == [429]  # the last one is still known


# --- mistakes

WEIR = os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"


@pytest.mark.parametrize("uses, message", [
    ([limit("1/s", zone="a"), limit("2/s", zone="a", name="b")], '"a" is shared with a configuration whose other options'),
    ([limit("1/s", max_keys=16_000_000), *(limit("1/s", max_keys=16_000_000, zone=name, name=name) for name in "abcd")],
     "all memory that workers share is more than 1024 MiB"),
    ([limit(False)], "a limit without a rate is none"),
    ([{"rate_limit": {}}], '"rate"'),
])
def test_what_cannot_be_is_refused(tmp_path, uses, message):
    (tmp_path / "weir.json").write_text(json.dumps(limited(*uses)))
    env = dict(os.environ, WEIR_MODULE_DIR=f"{os.environ['WEIR_BUILDDIR']}/modules/.libs")
    done = subprocess.run([WEIR, "check", "-c", tmp_path / "weir.json"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=slow(60), env=env)
    assert done.returncode == 78 and message in done.stderr + done.stdout
