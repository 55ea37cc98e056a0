# SPDX-License-Identifier: MIT
"""Targets that are names: resolved anew by their time to live; the last good set stays while they cannot be; no
request fails while a set changes (F142)."""

import contextlib
import socket
import struct
import threading

import pytest
import weir_dns
from weir_dns import AAAA, A, SRV, NameServer
from weir_figures import Scrape
from weir_raw import BadAnswer
from weir_site import get, server
from weir_upstream import Upstream, always, answer


def site(names, targets="app.test:{port}", port=0, resolve=None, **upstream):
    targets = targets.format(port=port) if isinstance(targets, str) else targets
    resolve = {"servers": [names.address], "ttl_max": "1h", **(resolve or {})}
    return {"modules": ["proxy", "metrics"],
            "upstreams": {"app": {"targets": targets, "resolve": resolve, **upstream}},
            "servers": [server({"match": "/metrics", "handle": "metrics"},
                               {"handle": {"proxy": {"to": "app", "proxy_status": True}}})]}


@contextlib.contextmanager
def farm(*hosts):
    """Upstreams at several addresses with one port; each answers with its address."""
    with contextlib.ExitStack() as stack:
        while True:
            apps, port = [], 0
            try:
                for host in hosts:
                    apps.append(Upstream(always(answer(host.encode())), address=(host, port)))
                    port = apps[0].listener.getsockname()[1]
                break
            except OSError:  # another has the number, at one of the addresses
                for app in apps:
                    app.stop()
        for app in apps:
            stack.enter_context(app)
        yield apps, port


def figure(client, name, **labels):
    scrape = Scrape(client.send(get("/metrics")).read().body.decode())
    return scrape.value(name, upstream="app", **labels)


def bodies(client, count):
    """Of so many answers, which are all good."""
    got = [client.send(get()).read() for _ in range(count)]
    assert [one.status for one in got] == [200] * count
    return [one.body.decode() for one in got]


# ---- resolved ----------------------------------------------------------------------------------


def test_a_name_is_all_of_its_addresses(weir, raw):
    with NameServer() as names, farm("127.0.0.1", "127.0.0.2") as (apps, port):
        names.say("app.test", "127.0.0.1", "127.0.0.2")
        running = weir(site(names, port=port))
        client = raw(running)
        assert sorted(bodies(client, 4)) == ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2
        running.wait_for_line(rf"info: upstream app: app.test:{port} is 127.0.0.[12]:{port}, 127.0.0.[12]:{port}$")
        target = f"app.test:{port}"
        assert figure(client, "weir_upstream_addresses", target=target) == 2
        assert figure(client, "weir_upstream_lookups_total", target=target, result="found") == 1
        assert figure(client, "weir_upstream_exchanges_total", target=target, result="fine") == 4
        assert figure(client, "weir_upstream_connections", target=target) == 2
        assert figure(client, "weir_upstream_connections_idle", target=target) == 2


def test_the_table_of_hosts_is_known(weir, raw):
    with NameServer() as names, Upstream(always(answer(b"local"))) as app:
        port = app.listener.getsockname()[1]
        client = raw(weir(site(names, f"localhost:{port}", resolve={"family": "ipv4"})))
        assert bodies(client, 2) == ["local"] * 2
        assert names.questions == []


def test_ipv6_addresses_are_used(weir, raw):
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    port = listener.getsockname()[1]

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer(b"six"))
            connection.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener, NameServer() as names:
        names.say("app.test", "::1")
        with raw(weir(site(names, port=port))) as client:
            assert bodies(client, 1) == ["six"]
            assert names.asked("app.test", A) == names.asked("app.test", AAAA) == 1


@pytest.mark.parametrize("family, kind", [("ipv4", A), ("ipv6", AAAA)])
def test_only_one_kind_is_asked_for_where_that_is_said(weir, raw, family, kind):
    with NameServer() as names, farm("127.0.0.1") as (_, port):
        running = weir(site(names, port=port, resolve={"family": family}))
        assert raw(running).send(get()).read().status == 502
        assert {question.kind for question in names.questions} == {kind}


def test_an_alias_and_a_truncated_answer_are_followed(weir, raw):
    with NameServer() as names, farm("127.0.0.1") as (_, port):
        names.say("app.test", "127.0.0.1", alias="other.test")
        whole = weir_dns.record("app.test", A, b"\x7f\0\0\1", 3600)
        said = []

        def half(question):  # the rest comes by TCP
            said.append(question)
            return question.answer(flags=weir_dns.TRUNCATED) if len(said) == 1 else question.answer([whole])

        assert bodies(raw(weir(site(names, port=port))), 1) == ["127.0.0.1"]
        names.set("app.test", A, half)
        assert bodies(raw(weir(site(names, port=port))), 1) == ["127.0.0.1"]
        assert len(said) == 2


# ---- again and again ---------------------------------------------------------------------------


def test_a_name_is_asked_for_again_when_its_time_is_over(weir, raw):
    with NameServer() as names, farm("127.0.0.1", "127.0.0.2") as (apps, port):
        names.say("app.test", "127.0.0.1", ttl=1)
        running = weir(site(names, port=port))
        client = raw(running)
        assert bodies(client, 2) == ["127.0.0.1"] * 2
        names.say("app.test", "127.0.0.2", ttl=1)
        running.wait_for_line(rf"info: upstream app: app.test:{port} is 127.0.0.2:{port}$")
        assert bodies(client, 3) == ["127.0.0.2"] * 3
        # The connection to the first, which nobody uses, is closed.
        assert figure(client, "weir_upstream_connections", target=f"app.test:{port}") == 1


@pytest.mark.parametrize("ttl", [0, 0x7fffffff, 0xffffffff])
def test_a_long_time_is_cut_and_none_is_stretched(weir, raw, ttl):
    with NameServer() as names, farm("127.0.0.1") as (_, port):
        names.say("app.test", "127.0.0.1", ttl=ttl)
        client = raw(weir(site(names, port=port, resolve={"ttl_min": "50ms", "ttl_max": "60ms"})))
        assert bodies(client, 1) == ["127.0.0.1"]
        assert names.wait_asked("app.test", 3)


def test_what_goes_on_goes_on(weir, raw):
    """An exchange with an address that has gone ends in peace, and its connection then."""
    go_on = threading.Event()

    def late(peer, _):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        go_on.wait(20)
        peer.send(b"lf")
        return True

    with NameServer() as names, Upstream(late) as old:
        port = old.listener.getsockname()[1]
        with Upstream(always(answer(b"new")), address=("127.0.0.2", port)):
            names.say("app.test", "127.0.0.1", ttl=0)
            running = weir(site(names, port=port, resolve={"ttl_min": "50ms"}))
            first, second = raw(running), raw(running)
            first.send(get())
            assert old.wait(lambda: old.requests)
            names.say("app.test", "127.0.0.2", ttl=3600)
            running.wait_for_line(rf"app.test:{port} is 127.0.0.2:{port}$")
            assert bodies(second, 2) == ["new"] * 2
            go_on.set()
            assert first.read().body == b"half"
            assert bodies(first, 1) == ["new"]
            assert figure(second, "weir_upstream_connections", target=f"app.test:{port}") == 1


def test_no_request_fails_while_names_change_all_the_time(weir, raw):
    hosts = [f"127.0.0.{i}" for i in range(1, 6)]
    with NameServer() as names, farm(*hosts) as (apps, port):
        turn = [0]

        def change(question):  # two of five, others each time
            turn[0] += 1
            chosen = [hosts[(turn[0] * 2 + i) % 5] for i in range(2)]
            return question.answer([weir_dns.record("app.test", A, socket.inet_aton(host), 0) for host in chosen])

        names.set("app.test", A, change)
        running = weir(site(names, port=port, resolve={"ttl_min": "50ms"}))
        lost, answers, over = [], [0], threading.Event()

        def load():
            try:
                with raw(running) as client:
                    while not over.is_set():
                        got = client.send(get()).read()
                        answers[0] += 1
                        if got.status != 200:
                            lost.append(got.status)
            except (OSError, BadAnswer) as error:
                lost.append(repr(error))

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            assert names.wait_asked("app.test", 25)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert lost == [] and answers[0] > 25
        assert all(app.requests for app in apps)


# ---- failures ----------------------------------------------------------------------------------

ABSURD = {
    "servfail": lambda question: question.answer(code=weir_dns.SERVFAIL),
    "refused": lambda question: question.answer(code=weir_dns.REFUSED),
    "nxdomain": lambda question: question.answer(code=weir_dns.NXDOMAIN),
    "no data": lambda question: question.answer(),
    "silence": lambda _: None,
    "a header alone": lambda question: question.answer()[:12],
    "cut in a record": lambda question: question.answer([weir_dns.record("app.test", A, b"\x7f\0\0\1", 1)])[:-2],
    "more records than there are": lambda question: question.message[:2] + struct.pack(
        "!HHHHH", 0x8180, 1, 9, 0, 0) + question.section,
    "an address of three bytes": lambda question: question.answer([weir_dns.record("app.test", A, b"\x7f\0\0", 1)]),
    "a name that points at itself": lambda question: question.answer(
        [struct.pack("!H", 0xc000 | (12 + len(question.section))) + struct.pack("!HHIH", A, 1, 1, 4) + b"\x7f\0\0\1"]),
    "another's name": lambda question: question.answer([weir_dns.record("evil.test", SRV, b"\0" * 7, 1)]),
    "garbage": lambda question: question.message[:2] + b"\xff" * 60,
}


@pytest.mark.parametrize("what", ABSURD)
def test_the_last_good_addresses_stay(weir, raw, what):
    with NameServer() as names, farm("127.0.0.1", "127.0.0.2") as (_, port):
        names.say("app.test", "127.0.0.1", ttl=0)
        running = weir(site(names, port=port, resolve={"timeout": "100ms", "ttl_min": "50ms", "family": "ipv4"}))
        client = raw(running)
        assert bodies(client, 1) == ["127.0.0.1"]
        names.set("app.test", A, ABSURD[what])
        running.wait_for_line(r"warn: upstream app: app.test cannot be resolved: \w+; the last addresses stay")
        assert names.wait_asked("app.test", 2)
        assert bodies(client, 2) == ["127.0.0.1"] * 2
        names.say("app.test", "127.0.0.2", ttl=3600)
        running.wait_for_line("info: upstream app: app.test is resolved again")
        assert bodies(client, 2) == ["127.0.0.2"] * 2
        # One line for each change, however often it was asked.
        assert sum("cannot be resolved" in line for line in running.lines) == 1


def test_one_kind_fails_and_its_addresses_stay(weir, raw):
    with NameServer() as names, farm("127.0.0.1") as (_, port):
        names.say("app.test", "127.0.0.1", ttl=0)
        client = raw(weir(site(names, port=port, resolve={"ttl_min": "50ms"})))
        assert bodies(client, 1) == ["127.0.0.1"]
        names.set("app.test", A, ABSURD["servfail"])
        names.set("app.test", AAAA, lambda question: question.answer(
            [weir_dns.record("app.test", AAAA, socket.inet_pton(socket.AF_INET6, "::1"), 0)]))
        assert names.wait_asked("app.test", 3, AAAA)
        assert bodies(client, 4) == ["127.0.0.1"] * 4  # where ::1 refuses, the other is asked
        assert figure(client, "weir_upstream_addresses", target=f"app.test:{port}") == 2


def test_who_comes_before_the_first_answer_waits_for_it(weir, raw):
    release = threading.Event()

    def late(question):
        release.wait(20)
        return question.answer([weir_dns.record("app.test", A, b"\x7f\0\0\1", 3600)])

    with NameServer() as names, farm("127.0.0.1") as (_, port):
        names.set("app.test", A, late)
        running = weir(site(names, port=port, queue_size=0, resolve={"timeout": "20s"}))
        clients = [raw(running) for _ in range(3)]
        for client in clients:
            client.send(get())
        # They are there, and wait.
        watch = raw(running)
        while figure(watch, "weir_upstream_queued", target="") != 3:
            pass
        release.set()
        assert [client.read().body for client in clients] == [b"127.0.0.1"] * 3


def test_who_waits_for_a_first_answer_that_does_not_come_is_told(weir, raw):
    with NameServer() as names:
        names.be_silent("app.test")
        running = weir(site(names, port=1, resolve={"timeout": "20s"}, timeouts={"queue": "100ms"}))
        got = raw(running).send(get()).read()
        assert (got.status, got.field("proxy-status")) == (502, "weir; error=dns_error")
        running.wait_for_line("warn: module proxy, hook content, GET /hello: upstream app, : unresolved: 502")


def test_who_asks_for_what_cannot_be_resolved_is_told_at_once(weir, raw):
    with NameServer() as names, farm("127.0.0.1") as (_, port):
        running = weir(site(names, port=port, resolve={"ttl_min": "100ms"}, timeouts={"queue": "1h"}))
        running.wait_for_line("warn: upstream app: app.test cannot be resolved: no_name; there is no address")
        client = raw(running)
        got = client.send(get()).read()
        assert (got.status, got.field("proxy-status")) == (502, "weir; error=dns_error")
        names.say("app.test", "127.0.0.1")
        running.wait_for_line("app.test is resolved again")
        assert bodies(client, 1) == ["127.0.0.1"]


def test_others_are_asked_while_a_name_cannot_be_resolved(weir, raw):
    with NameServer() as names, farm("127.0.0.1") as (_, port):
        names.be_silent("app.test")
        running = weir(site(names, [f"app.test:{port}", f"127.0.0.1:{port}"], resolve={"timeout": "20s"}))
        assert bodies(raw(running), 2) == ["127.0.0.1"] * 2


# ---- services ----------------------------------------------------------------------------------


def test_a_service_says_host_port_and_weight(weir, raw):
    with NameServer() as names, Upstream(always(answer(b"a"))) as a, Upstream(always(answer(b"b"))) as b:
        names.serve("_app._tcp.test", (10, 30, a.listener.getsockname()[1], "one.test"),
                    (10, 10, b.listener.getsockname()[1], "two.test"))
        names.say("one.test", "127.0.0.1")
        names.say("two.test", "127.0.0.1")
        client = raw(weir(site(names, "srv:_app._tcp.test")))
        assert sorted(bodies(client, 8)) == ["a"] * 6 + ["b"] * 2
        assert figure(client, "weir_upstream_addresses", target="srv:_app._tcp.test") == 2


def test_hosts_of_a_lower_priority_are_backups(weir, raw):
    with NameServer() as names, Upstream(always(answer(b"a"), keep=False)) as a, Upstream(always(answer(b"b"))) as b:
        names.serve("_app._tcp.test", (20, 1, b.listener.getsockname()[1], "one.test"),
                    (10, 1, a.listener.getsockname()[1], "one.test"))
        names.say("one.test", "127.0.0.1")
        client = raw(weir(site(names, "srv:_app._tcp.test")))
        assert bodies(client, 4) == ["a"] * 4
        a.stop()
        assert bodies(client, 4) == ["b"] * 4


def test_a_service_that_is_a_backup_stays_one(weir, raw):
    with NameServer() as names, Upstream(always(answer(b"a"))) as a, Upstream(always(answer(b"b"))) as b:
        port = b.listener.getsockname()[1]
        names.serve("_app._tcp.test", (10, 1, port, "one.test"))
        names.say("one.test", "127.0.0.1")
        running = weir(site(names, [a.address, {"address": "srv:_app._tcp.test", "backup": True}]))
        running.wait_for_line(r"info: upstream app: srv:_app\._tcp\.test is 127\.0\.0\.1:%d$" % port)
        assert bodies(raw(running), 4) == ["a"] * 4


def test_the_hosts_of_a_service_change_together(weir, raw):
    with NameServer() as names, Upstream(always(answer(b"a"))) as a, Upstream(always(answer(b"b"))) as b:
        release = threading.Event()
        names.serve("_app._tcp.test", (0, 0, a.listener.getsockname()[1], "one.test"), ttl=0)
        names.say("one.test", "127.0.0.1", ttl=3600)
        running = weir(site(names, "srv:_app._tcp.test", resolve={"timeout": "20s", "ttl_min": "50ms"}))
        client = raw(running)
        assert bodies(client, 1) == ["a"]

        def late(question):
            release.wait(20)
            return question.answer([weir_dns.record("two.test", A, b"\x7f\0\0\1", 3600)])

        names.set("two.test", A, late)
        names.serve("_app._tcp.test", (0, 0, b.listener.getsockname()[1], "two.test"))
        assert names.wait_asked("two.test")
        assert bodies(client, 2) == ["a"] * 2  # until the new one is known
        release.set()
        running.wait_for_line(r"info: upstream app: srv:_app\._tcp\.test is 127\.0\.0\.1:%d$"
                              % b.listener.getsockname()[1])
        assert bodies(client, 2) == ["b"] * 2


def test_the_last_good_service_stays(weir, raw):
    with NameServer() as names, Upstream(always(answer(b"a"))) as a:
        port = a.listener.getsockname()[1]
        names.serve("_app._tcp.test", (0, 0, port, "one.test"), ttl=0)
        names.say("one.test", "127.0.0.1")
        running = weir(site(names, "srv:_app._tcp.test", resolve={"ttl_min": "50ms"}))
        client = raw(running)
        assert bodies(client, 1) == ["a"]
        for services in [(0, 0, port, "nowhere.test")], [(0, 0, 0, "one.test")], [(0, 0, port, ".")]:
            names.serve("_app._tcp.test", *services, ttl=0)
            assert names.wait_asked("_app._tcp.test", 3, SRV)
            assert bodies(client, 1) == ["a"]
        names.fail("_app._tcp.test", weir_dns.SERVFAIL)
        assert names.wait_asked("_app._tcp.test", 3, SRV)
        assert bodies(client, 1) == ["a"]
        for what in "nowhere.test", "_app._tcp.test":  # one line for each change, however often it was asked
            assert sum(f"{what} cannot be resolved: " in line for line in running.lines) == 1
