# SPDX-License-Identifier: MIT
"""Every key whose name is settled is known to weir check: it is taken, or answered "not in this build" with a code of
its own, and never taken for a slip. The tables hold all of them; a key that moves from LATER to NOW moves here too."""

import json
import os
import subprocess

import pytest
from weir_process import slow

WEIR = os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"
MODULES = os.environ.get("WEIR_MODULE_DIR") or f"{os.environ['WEIR_BUILDDIR']}/modules/.libs"
HERE = ["static", "respond", "redirect", "headers", "access_log", "error_pages", "metrics", "access", "accel"]


def check(tmp_path, document):
    path = tmp_path / "weir.json"
    path.write_text(json.dumps(document))
    env = {"PATH": os.environ["PATH"], "WEIR_MODULE_DIR": MODULES, "LC_ALL": "C"}
    done = subprocess.run([WEIR, "check", "--json", "--text-only", "-c", path], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=slow(60), env=env)
    assert done.returncode in (0, 78), done.stderr
    return [(m["code"], m["pointer"], m["message"]) for m in json.loads(done.stdout)["mistakes"]]


def document(modules=HERE, server=None, route=None, **keys):
    route = {"handle": {"respond": "x"}, **(route or {})}
    return {"modules": modules, "servers": [{"listen": ":8080", "routes": [route], **(server or {})}], **keys}


def use(handler, **options):
    return document(route={"use": {handler: options}})


def handle(handler, **options):
    return document(route={"handle": {handler: options}})


NOW = [
    *(document(workers={key: value}) for key, value in [
        ("processes", "auto"), ("processes", 2), ("loops", 1), ("user", "nobody"), ("group", "nogroup"), ("memory", "1g"),
        ("drain_timeout", "60s"), ("max_requests", 5), ("cpu_affinity", True)]),
    *(document(pools={"default": {key: value}}) for key, value in [
        ("min", 2), ("max", 16), ("max", False), ("max", -1), ("queue_size", 1000), ("queue_timeout", "10s"),
        ("idle_timeout", "30s")]),
    *(document(log={key: value}) for key, value in [("file", "x.log"), ("level", "info"), ("format", "json")]),
    document(server={"log": {"level": "debug"}}),
    document(route={"log": {"level": "debug"}}),
    document(control={"listen": "unix:x"}),
    *(document(defaults={"limits": {key: value}}) for key, value in [
        ("request_line", "8k"), ("field", "8k"), ("fields", 100), ("head", "64k"), ("body", "1m"), ("body_rate", "1k/s"),
        ("connections", 10000), ("connections_policy", "503"), ("requests_per_connection", 5), ("pipeline", 32)]),
    *(document(defaults={"timeouts": {key: "10s"}}) for key in
      ["handshake", "head", "body", "request", "send", "keepalive", "idle", "wait"]),
    *(document(server={"trust": {key: value}}) for key, value in [
        ("peers", ["10.0.0.0/8"]), ("header", "x-forwarded-for"), ("hops", 1)]),
    document(listeners={"a": {"address": ":8081", "mode": "0660", "backlog": 5, "trust": {}, "use": [], "limits": {},
                              "timeouts": {}, "proxy_protocol": False}}),
    document(listeners={"a": {"address": ":8081", "proxy_protocol": True, "trust": {"peers": ["10.0.0.0/8"]}}}),
    document(server={"name": "x", "host": "a.example", "limits": {}, "timeouts": {}, "use": []}),
    document(route={"name": "x", "match": "/", "internal": True, "use": [], "routes": [], "limits": {}, "timeouts": {}}),
    document(modules=[*HERE[1:], {"name": "static", "options": {}, "defaults": {}, "path": None, "sha256": None}]),
    *(document(route={"match": {key: value}}) for key, value in [
        ("path", "/"), ("path_regex", "^/"), ("host", "a"), ("method", "GET"), ("header", {"x": "y"}), ("query", {"x": "y"}),
        ("client", "::1"), ("peer", "::1"), ("protocol", "http/1.1"), ("variable", {"method": "GET"}), ("not", "/")]),
    *(handle("static", root=".", **{key: value}) for key, value in [
        ("strip", "/a"), ("index", "index.html"), ("try", ["{path}"]), ("fallback", "index.html"), ("listing", False),
        ("precompressed", ["br"]), ("cache_control", "no-cache"), ("hidden", False), ("symlinks", "beneath")]),
    handle("respond", status=200, body="x", type="text/plain"),
    handle("redirect", to="/x", status=308),
    *(use("headers", **{way: {"set": {"x-a": "b"}, "add": {"x-c": "d"}, "remove": ["x-e"]}}) for way in
      ("request", "response")),
    *(use("access_log", file="x.log", **{key: value}) for key, value in [("format", "json"), ("when", "4xx")]),
    use("error_pages", **{"404": "x.html", "5xx": "x.html"}),
    handle("metrics"),
    *(handle("metrics", format=value) for value in ["prometheus"]),
    use("access", allow=["10.0.0.0/8"], deny=["10.1.0.0/16"]),
    document(upstreams={"shop": {
        "targets": ["127.0.0.1:8000", {"address": "127.0.0.1:8001", "weight": 2, "backup": True},
                    "app.example:80", "srv:_http._tcp.example"],
        "balance": "least_connections", "keepalive": 5,
        "timeouts": {"connect": "1s", "send": "1s", "read": "1s", "queue": "1s"}, "proxy_protocol": "v2",
        "all_out": "refuse",
        "health": {"path": "/", "host": "a", "expect": "2xx", "every": "5s", "timeout": "1s", "rise": 1, "fall": 3},
        "resolve": {"servers": "127.0.0.1:53", "timeout": "1s", "ttl_min": "1s", "ttl_max": "1m", "family": "ipv4"},
        "eject": {"failures": 3, "within": "10s", "for": "10s", "for_max": "5m", "max_percent": 50, "status": ["503"]},
        "retry": {"times": 2, "on": ["connect"], "budget": 10}}}),
    *(document([*HERE, "proxy"], upstreams={"shop": {"targets": "127.0.0.1:8000"}},
               route={"handle": {"proxy": {"to": "shop", **options}}}) for options in [{}, {"path": "/x"}, {"buffering": True}]),
    use("accel", to="/in/*", headers=["X-Accel-Redirect"]),
    *(document([*HERE, "rate_limit"], route={"use": {"rate_limit": {"rate": "5/m", **options}}}) for options in [
        {}, {"burst": 5}, {"key": "{client.ip}"}, {"zone": "x"}, {"dry_run": True}]),
    *(document(route={"match": "/{id}", "handle": {"respond": "{%s}" % name}}) for name in [
        "method", "scheme", "host", "target", "path", "query.x", "header.x", "cookie.x", "path.id", "client.ip", "peer.ip",
        "server.name", "route.name", "request.id", "status", "upstream.address"]),
]

# document, code, pointer of the object that holds the key, the key's name.
LATER = [
    (document(server={"tls": {"certificate": "a", "key": "b", "client_ca": "c", "min_version": "1.2"}}), "E0501",
     "/servers/0", "tls"),
    (document(server={"tls": [{"certificate": "a", "key": "b"}]}), "E0501", "/servers/0", "tls"),
    *((document(upstreams={"shop": {"targets": "127.0.0.1:8000", name: value}}), "E0501", "/upstreams/shop", name)
      for name, value in [
          ("tls", {})]),
    *((document(route={"handle": {"respond": "{%s}" % name}}), "E0501", "/servers/0/routes/0/handle/respond", name)
      for name in ("tls.sni",)),
    *((document(route={"match": {"variable": {name: "x"}}}), "E0501", "/servers/0/routes/0/match/variable", name)
      for name in ("tls.sni",)),
    *((document(modules=[*HERE, handler], route={place: {handler: {}}}), "E0502", "/modules/9", handler) for place, handler in [
        ("handle", "asgi"), ("handle", "wsgi"), ("use", "compress")]),
    *((document(route={place: {handler: options}}), "E0502", f"/servers/0/routes/0/{place}", handler)
      for place, handler, options in [
          ("handle", "asgi", {"app": "main:app", "python": "venv"}), ("handle", "wsgi", "main:app"),
          ("use", "compress", {})]),
]


@pytest.mark.parametrize("case", NOW, ids=json.dumps)
def test_a_settled_key_is_taken(tmp_path, case):
    assert check(tmp_path, case) == []


@pytest.mark.parametrize("case, code, pointer, name", LATER, ids=str)
def test_what_is_later_s_is_said_to_be(tmp_path, case, code, pointer, name):
    found = check(tmp_path, case)
    assert [(mistake[0], mistake[1]) for mistake in found] == [(code, pointer)]
    assert f'"{name}" is not in this build' in found[0][2]


@pytest.mark.parametrize("value", [False, None], ids=str)
def test_later_s_key_may_say_no(tmp_path, value):
    """A configuration for several versions says that it wants none."""
    assert check(tmp_path, document(upstreams=value, server={"tls": value})) == []
