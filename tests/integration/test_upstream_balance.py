# SPDX-License-Identifier: MIT
"""Which of an upstream's targets a request reaches: `balance`, `backup`, `sticky`, `slow_start`."""

import collections
import contextlib
import os
import queue
import re
import threading
from pathlib import Path

import pytest
from weir_process import eventually, slow
from weir_site import get, server
from weir_upstream import Place, Upstream, always, answer

OUT = {"failures": 1, "within": "1h", "for": "1h", "for_max": "1h"}  # at once, and for good
TRUST = {"peers": ["127.0.0.0/8"]}


def site(targets, routes=None, **upstream):
    return {"modules": ["proxy"], "upstreams": {"app": {"targets": targets, **upstream}},
            "servers": [server(*(routes or [{"handle": {"proxy": "app"}}]), trust=TRUST)]}


class Farm:
    """Upstreams that answer with their own number."""

    def __init__(self, apps):
        self.apps = apps
        self.addresses = [app.address for app in apps]


@contextlib.contextmanager
def farm(count):
    with contextlib.ExitStack() as stack:
        yield Farm([stack.enter_context(Upstream(always(answer(b"%d" % i)))) for i in range(count)])


def ask(client, target="/", fields=""):
    got = client.send(get(target, fields=fields)).read()
    assert got.status == 200
    return got


def who(client, target="/", fields=""):
    return int(ask(client, target, fields).body)


# ---- by weight and load ------------------------------------------------------------------------


def test_targets_take_turns_by_weight(weir, raw):
    with farm(3) as apps:
        targets = [{"address": address, "weight": weight} for address, weight in zip(apps.addresses, (1, 2, 3))]
        client = raw(weir(site(targets)))
        assert collections.Counter(who(client) for _ in range(60)) == {0: 10, 1: 20, 2: 30}


@pytest.mark.parametrize("balance", ["least_connections", "random"])
def test_who_is_busy_is_spared(weir, raw, balance):
    """With two targets both are drawn at random."""
    gate, held_by = threading.Event(), queue.SimpleQueue()

    def script(number):
        def serve(peer, request):
            if request.target == "/hold":
                held_by.put(number)
                gate.wait(slow(60))
            peer.send(answer(b"%d" % number))
            return True
        return serve

    with Upstream(script(0)) as first, Upstream(script(1)) as second:
        running = weir(site([first.address, second.address], balance=balance))
        client, holding = raw(running), raw(running)
        try:
            holding.send(get("/hold"))
            busy = held_by.get(timeout=slow(10))
            assert [who(client) for _ in range(20)] == [1 - busy] * 20
        finally:
            gate.set()
        assert int(holding.read().body) == busy
        assert {who(client) for _ in range(40)} == {0, 1}


def test_random_reaches_all(weir, raw):
    with farm(4) as apps:
        client = raw(weir(site(apps.addresses, balance="random")))
        assert {who(client) for _ in range(200)} == {0, 1, 2, 3}


# ---- by key ------------------------------------------------------------------------------------


KEYS = [  # the balance; what the i-th key looks like in a request
    ("hash", lambda i: ("/", f"X-Forwarded-For: 10.0.0.{i}\r\n")),
    ({"hash": "{client.ip}"}, lambda i: ("/", f"X-Forwarded-For: 10.0.0.{i}\r\n")),
    ({"hash": "{path}"}, lambda i: (f"/item/{i}", "")),
    ({"hash": "{header.x-tenant}"}, lambda i: ("/", f"X-Tenant: {i}\r\n")),
    ({"hash": "{cookie.session}"}, lambda i: ("/", f"Cookie: a=b; session={i}\r\n")),
    ({"hash": "{host}{query.id}", "bound": 150}, lambda i: (f"/?x=1&id={i}", "")),
    ({"hash": "{path.name}"}, lambda i: (f"/u/{i}", "")),
]


@pytest.mark.parametrize("balance, key", KEYS, ids=lambda value: str(value) if not callable(value) else "")
def test_a_key_leads_to_one_target(weir, raw, balance, key):
    routes = [{"match": "/u/{name}", "handle": {"proxy": "app"}}, {"handle": {"proxy": "app"}}]
    with farm(3) as apps:
        document = site(apps.addresses, routes, balance=balance)
        client = raw(weir(document))
        first = [who(client, *key(i)) for i in range(40)]
        assert set(first) == {0, 1, 2}
        assert [who(client, *key(i)) for i in range(40)] == first
        # Another server with the same targets, in another order, agrees.
        document = site(apps.addresses[::-1], routes, balance=balance)
        other = raw(weir(document))
        assert [who(other, *key(i)) for i in range(40)] == first


def test_without_a_key_requests_go_in_turn(weir, raw):
    with farm(3) as apps:
        client = raw(weir(site(apps.addresses, balance={"hash": "{header.x-tenant}"})))
        assert [who(client) for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_only_the_keys_of_a_dead_target_move(weir, raw):
    with farm(3) as apps:
        paths = [f"/item/{i}" for i in range(40)]
        running = weir(site(apps.addresses, balance={"hash": "{path}"}, eject=OUT, keepalive=0))
        client = raw(running)
        before = [who(client, path) for path in paths]
        apps.apps[1].stop()
        after = [who(client, path) for path in paths]
        assert all(a == b for a, b in zip(after, before) if b != 1)
        assert {a for a, b in zip(after, before) if b == 1} == {0, 2}
        running.wait_for_line(f"{re.escape(apps.addresses[1])} keeps failing")


def test_a_key_may_be_a_module_s_variable(weir, raw):
    """Where the module is not in use, it is empty."""
    module = Path(os.environ["WEIR_BUILDDIR"], "tests/support/.libs/libcrash.so")
    with farm(3) as apps:
        document = site(apps.addresses, balance={"hash": "{crash.way}"})
        document["modules"].append({"name": "crash", "path": str(module)})
        client = raw(weir(document))
        assert [who(client) for _ in range(6)] == [0, 1, 2, 0, 1, 2]


# ---- backups -----------------------------------------------------------------------------------


def test_a_backup_takes_over_and_gives_back(weir, raw):
    with Place() as place, Upstream(always(answer(b"2"))) as backup:
        eject = {"failures": 1, "within": "1h", "for": "100ms", "for_max": "100ms"}
        targets = [place.address, {"address": backup.address, "backup": True}]
        running = weir(site(targets, eject=eject, keepalive=0))
        client = raw(running)
        assert [who(client) for _ in range(10)] == [2] * 10
        with Upstream(always(answer(b"1")), place=place) as back:
            assert eventually(lambda: who(client) == 1)
            running.wait_for_line(f"{re.escape(place.address)} works again")
            taken = len(backup.requests)
            assert [who(client) for _ in range(10)] == [1] * 10
            assert len(backup.requests) == taken
            assert len(back.requests) == 11


def test_a_backup_is_left_alone(weir, raw):
    with farm(3) as apps:
        targets = [{"address": apps.addresses[0], "backup": True}, *apps.addresses[1:]]
        client = raw(weir(site(targets)))
        assert [who(client) for _ in range(6)] == [1, 2, 1, 2, 1, 2]


# ---- sticky ------------------------------------------------------------------------------------


COOKIE = re.compile(r"place=([0-9a-f]{16})(; .*)\Z")


def cookie_of(got):
    """Name and value, if there is one; its attributes."""
    found = [value for value in got.all("set-cookie") if value.startswith("place=")]
    assert len(found) <= 1
    match = COOKIE.match(found[0]) if found else None
    assert bool(found) == bool(match)
    return (f"Cookie: x=y; place={match.group(1)}\r\n", match.group(2)) if match else None


def test_a_cookie_leads_back(weir, raw):
    with farm(3) as apps:
        client = raw(weir(site(apps.addresses, sticky="place")))
        for want in (0, 1, 2, 0):
            got = ask(client)
            assert int(got.body) == want
            fields, attributes = cookie_of(got)
            assert attributes == "; Path=/; HttpOnly; SameSite=Lax"
            for _ in range(3):
                again = ask(client, fields=fields)
                assert int(again.body) == want
                assert cookie_of(again) is None
        for value in ("", "0123456789abcdef", "127.0.0.1:80", "0" * 17):  # such a target there is not
            assert cookie_of(ask(client, fields=f"Cookie: place={value}\r\n")) is not None


def test_the_cookie_says_what_it_is_told_to(weir, raw):
    sticky = {"cookie": "place", "path": "/a", "max_age": "1h", "secure": True, "http_only": False, "same_site": "none"}
    with farm(1) as apps:
        got = ask(raw(weir(site(apps.addresses, sticky=sticky))))
        assert cookie_of(got)[1] == "; Path=/a; Max-Age=3600; Secure; SameSite=None"


def test_servers_with_one_secret_agree(weir, raw):
    with farm(4) as apps:
        clients = [raw(weir(site(apps.addresses[::way], sticky={"cookie": "place", "secret": secret})))
                   for secret, way in (("a", 1), ("a", -1), ("b", 1))]
        for _ in range(4):
            got = ask(clients[0])
            fields, _ = cookie_of(got)
            assert ask(clients[1], fields=fields).body == got.body
            assert cookie_of(ask(clients[1], fields=fields)) is None
            assert cookie_of(ask(clients[2], fields=fields)) is not None


def test_a_dead_target_s_clients_go_elsewhere_and_stay_there(weir, raw):
    with farm(3) as apps:
        client = raw(weir(site(apps.addresses, sticky="place", eject=OUT, keepalive=0)))
        got = ask(client)
        assert got.body == b"0"
        fields, _ = cookie_of(got)
        apps.apps[0].stop()
        moved = ask(client, fields=fields)
        assert moved.body != b"0"
        fields, _ = cookie_of(moved)
        for _ in range(4):
            again = ask(client, fields=fields)
            assert (again.body, cookie_of(again)) == (moved.body, None)


def test_the_application_s_own_cookies_stay(weir, raw):
    with Upstream(always(answer(fields="Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"))) as app:
        got = ask(raw(weir(site(app.address, sticky="place"))))
        assert [value.split("=")[0] for value in got.all("set-cookie")] == ["a", "b", "place"]


def test_errors_have_no_cookie(weir, raw):
    with Place() as dead:
        got = raw(weir(site(dead.address, sticky="place"))).send(get()).read()
        assert (got.status, got.field("set-cookie")) == (502, None)


# ---- configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize("upstream, said", [
    ({"balance": "least_conn"}, "\"balance\": \"least_conn\" is not one of the choices"),
    ({"balance": 1}, "\"balance\" takes"),
    ({"balance": {"hash": "{client}"}}, "unknown variable \"client\""),
    ({"balance": {"hash": "{duration}"}}, "\"hash\": "),
    ({"balance": {"hsh": "{path}"}}, "unknown key \"hsh\""),
    ({"balance": {"hash": "{path}", "bound": 99}}, "\"bound\""),
    ({"slow_start": "-1s"}, "\"slow_start\""),
    ({"sticky": "a b"}, "no name for a cookie"), ({"sticky": ""}, "no name for a cookie"),
    ({"sticky": {"path": "/"}}, "\"cookie\" is missing"), ({"sticky": 5}, "\"sticky\" takes"),
    ({"sticky": {"cookie": "a", "path": "/; Secure"}}, "no path for a cookie"),
    ({"sticky": {"cookie": "a", "path": "a"}}, "no path for a cookie"),
    ({"sticky": {"cookie": "a", "same_site": "none"}}, "goes only with \"secure\""),
    ({"sticky": {"cookie": "a", "max_age": "10ms"}}, "\"max_age\""),
    ({"targets": {"address": "127.0.0.1:1", "backup": 5}}, "\"backup\" takes")], ids=str)
def test_what_cannot_be_meant_is_refused(weir, upstream, said):
    running = weir(site("127.0.0.1:1", **upstream) if "targets" not in upstream else
                   site(**upstream), listeners=0, exit_status=78)
    running.expect_error(re.escape(said))
    running.wait_exit()


@pytest.mark.parametrize("upstream", [
    {"balance": None}, {"sticky": None}, {"sticky": False}, {"slow_start": "30s"}, {"slow_start": 0},
    {"balance": {}}, {"balance": {"bound": False}}], ids=str)
def test_what_can_be_meant_is_taken(weir, raw, upstream):
    with farm(1) as apps:
        assert who(raw(weir(site(apps.addresses, **upstream)))) == 0
