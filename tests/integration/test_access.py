# SPDX-License-Identifier: MIT
"""CONFIG.md, handler `access`: who may come, by the client's address after `trust` (F153)."""

import pytest
from weir_site import get, route, server, site


def guarded(access, trust=None, **rest):
    document = site(servers=[server(
        route("/open/*", "open", use=[{"access": False}]),
        route("/narrow/*", "narrow", use=[{"access": {"deny": ["198.51.100.0/24"]}}]),
        route(None, "in"),
        use=[{"access": access}], **({"trust": trust} if trust else {}), **rest)])
    return {**document, "modules": ["respond", "access"]}


def status(raw, running, target="/", fields=""):
    with raw(running) as connection:
        return connection.send(get(target, fields=fields)).read().status


@pytest.mark.parametrize("access, want", [
    ({"allow": ["127.0.0.0/8"]}, 200),
    ({"allow": ["10.0.0.0/8"]}, 403),
    ({"deny": ["127.0.0.1"]}, 403),
    ({"deny": ["10.0.0.0/8"]}, 200),
    ({"allow": ["127.0.0.1"], "deny": ["127.0.0.0/8"]}, 403),
])
def test_clients_are_admitted_by_address(weir, raw, access, want):
    """Deny wins; where anything is allowed, nobody else is."""
    assert status(raw, weir(guarded(access))) == want


def test_the_client_is_whom_a_trusted_peer_speaks_for(weir, raw):
    running = weir(guarded({"deny": ["192.0.2.0/24"]}, trust={"peers": ["127.0.0.1"]}))
    assert status(raw, running, fields="X-Forwarded-For: 192.0.2.7\r\n") == 403
    assert status(raw, running, fields="X-Forwarded-For: 203.0.113.7\r\n") == 200
    assert status(raw, running) == 200


def test_what_an_untrusted_peer_says_admits_nobody(weir, raw):
    running = weir(guarded({"allow": ["192.0.2.0/24"]}))
    assert status(raw, running, fields="X-Forwarded-For: 192.0.2.7\r\n") == 403


def test_lists_append_over_layers_and_a_route_can_leave_them(weir, raw):
    running = weir(guarded({"deny": ["192.0.2.0/24"]}, trust={"peers": ["127.0.0.1"]}))
    for client, target, want in [("192.0.2.7", "/narrow/x", 403), ("198.51.100.7", "/narrow/x", 403),
                                 ("198.51.100.7", "/", 200), ("192.0.2.7", "/open/x", 200)]:
        assert status(raw, running, target, f"X-Forwarded-For: {client}\r\n") == want


def test_a_hook_without_networks_is_refused(weir):
    running = weir(guarded({}), listeners=0, exit_status=78)
    running.expect_error(r"error\[E")
    running.wait_exit()
    assert "neither `allow` nor `deny`" in running.log
