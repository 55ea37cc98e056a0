# SPDX-License-Identifier: MIT
"""What the handler `proxy` changes on the way: fields, error pages, Proxy-Status, variables, accel."""

import json
import re
import socket

import pytest
from weir_figures import Scrape
from weir_process import eventually
from weir_site import get, server
from weir_upstream import Upstream, always, answer


def site(target, proxy=None, modules=(), use=None, routes=(), upstream=None, **rest):
    handle = {"proxy": {"to": "app", **(proxy or {})}}
    return {"modules": ["proxy", *modules], "upstreams": {"app": {"targets": target, **(upstream or {})}},
            "servers": [server(*routes, {"handle": handle, **({"use": use} if use else {})}, **rest)]}


# ---- fields ------------------------------------------------------------------------------------

EDITS = {
    "set": {"X-Set": "{client.ip}", "X-Empty": "{query.none}", "Via": "none"},
    "add": {"X-Added": "ours", "X-New": "{method}"},
    "remove": ["Cookie", "X-Forwarded-For", "X-Request-ID"],
}


def test_what_the_upstream_is_sent_may_be_changed(weir, raw):
    fields = ("X-Set: theirs\r\nX-Empty: theirs\r\nX-Added: theirs\r\nCookie: a=b\r\nX-Stays: 1\r\n"
              "Connection: X-Set\r\n")
    with Upstream(always(answer())) as app:
        got = raw(weir(site(app.address, {"headers": {"request": EDITS}}))).send(get(fields=fields)).read()
        assert got.status == 200
    request = app.requests[0]
    assert request.all("x-set") == ["127.0.0.1"]
    assert request.all("x-empty") == request.all("cookie") == []
    assert request.all("x-added") == ["theirs", "ours"]
    assert (request.field("x-new"), request.field("x-stays"), request.all("via")) == ("GET", "1", ["none"])
    assert request.field("x-forwarded-for") is request.field("x-request-id") is None
    assert request.field("x-forwarded-proto") == "http"


def test_a_removed_field_may_be_given_anew(weir, raw):
    edits = {"remove": ["X-A", "X-Real-IP"], "add": {"X-A": ["1", "2"], "X-Real-IP": "me"}}
    with Upstream(always(answer())) as app:
        raw(weir(site(app.address, {"headers": {"request": edits}}))).send(get(fields="X-A: theirs\r\n")).read()
    assert app.requests[0].all("x-a") == ["1", "2"]
    assert app.requests[0].all("x-real-ip") == ["me"]


def test_no_value_makes_a_second_field(weir, raw):
    edits = {"set": {"X-Path": "{path}"}}
    with Upstream(always(answer())) as app:
        got = raw(weir(site(app.address, {"headers": {"request": edits, "response": edits}}))).send(
            get("/a%0d%0aEvil:%201")).read()
        assert got.field("evil") is None
    assert app.requests[0].field("evil") is None


def test_the_answer_may_be_changed(weir, raw):
    edits = {"set": {"Cache-Control": "no-store", "X-Gone": ""}, "add": {"Vary": "Cookie"}, "remove": ["Server", "X-Powered-By"]}
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    with Upstream(always(answer(b"hi", fields="Cache-Control: public\r\nX-Gone: 1\r\nVary: Accept\r\nServer: old\r\n"
                                              "X-Powered-By: x\r\n"))) as app:
        got = raw(weir(site(app.address, {"headers": {"response": edits}}))).send(get()).read()
        assert (got.body, got.all("cache-control"), got.all("vary")) == (b"hi", ["no-store"], ["Accept", "Cookie"])
        assert got.field("x-gone") is got.field("server") is got.field("x-powered-by") is None
    dead = raw(weir(site("127.0.0.1:%d" % probe.getsockname()[1], {"headers": {"response": edits}}))).send(get()).read()
    assert (dead.status, dead.field("cache-control")) == (502, None)  # that is no answer of the upstream's
    probe.close()


def test_what_hooks_put_in_is_not_the_client_s_to_take_away(weir, raw):
    """By naming it in Connection; nor is it dropped for its underscore."""
    edits = {"request": {"set": {"X-Set": "ours"}, "add": {"X_Under": "ours"}, "remove": ["X-Last"]}}
    for last in ("X-Set: theirs\r\n", "X-Last: theirs\r\n", ""):
        with Upstream(always(answer())) as app:
            document = site(app.address, modules=["headers"], use=[{"headers": edits}])
            raw(weir(document)).send(get(fields="Connection: X-Set, X_Under\r\nX_Under: theirs\r\n" + last)).read()
        request = app.requests[0]
        assert (request.all("x-set"), request.all("x_under"), request.all("x-last")) == (["ours"], ["ours"], [])


# ---- error pages -------------------------------------------------------------------------------


def test_errors_of_the_upstream_get_pages_of_the_site(weir, raw, tmp_path):
    def script(peer, request):
        status = request.target[1:]
        peer.send(answer(b"of the upstream", f"{status} X", "Retry-After: 7\r\nSet-Cookie: a=b\r\n"
                                                            "WWW-Authenticate: Basic\r\n"))
        return True

    page = tmp_path / "50x.html"
    page.write_text("of the site")
    tmp_path.chmod(0o755)
    with Upstream(script) as app:
        client = raw(weir(site(app.address, {"intercept": [401, "500-503"], "proxy_status": True},
                               ["error_pages"], [{"error_pages": {"5xx": str(page)}}])))
        for status, body in ((200, b"of the upstream"), (404, b"of the upstream"), (504, b"of the upstream"),
                             (500, b"of the site"), (503, b"of the site")):
            got = client.send(get(f"/{status}")).read()
            assert (got.status, got.body) == (status, body)
            assert got.field("proxy-status") == f"weir; received-status={status}"
            assert (got.field("set-cookie") is None) == (body == b"of the site")
            assert got.field("retry-after") == "7"
        got = client.send(get("/401")).read()
        assert (got.status, got.field("www-authenticate")) == (401, "Basic") and b"upstream" not in got.body
    assert app.connections == 1  # what was passed over had come whole


def test_an_intercepted_answer_is_not_waited_for(weir, raw):
    closed = []

    def script(peer, _):
        peer.send(b"HTTP/1.1 500 X\r\nContent-Length: 1000000000\r\n\r\nbeginning")
        peer.wait_closed()
        closed.append(peer.number)
        return False

    with Upstream(script) as app:
        running = weir(site(app.address, {"intercept": "5xx"}))
        client = raw(running)
        for _ in range(2):
            got = client.send(get()).read()
            assert got.status == 500 and b"beginning" not in got.body
    assert app.connections == 2 and sorted(closed) == [1, 2]


# ---- Proxy-Status ------------------------------------------------------------------------------


def test_proxy_status_tells_what_became_of_it(weir, raw):
    theirs = 'Proxy-Status: origin; received-status=200; details="x"\r\n'
    with Upstream(always(answer(b"hi", "404 No", theirs))) as app:
        got = raw(weir(site(app.address, {"proxy_status": True, "next_hop": True}))).send(get()).read()
        assert got.all("proxy-status") == [theirs[14:-2], f'weir; received-status=404; next-hop="{app.address}"']
        got = raw(weir(site(app.address))).send(get()).read()
        assert got.all("proxy-status") == [theirs[14:-2]]  # nobody asked for ours


def test_proxy_status_tells_who_could_not_be_asked(weir, raw):
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    dead = "127.0.0.1:%d" % probe.getsockname()[1]
    got = raw(weir(site(dead, {"proxy_status": True, "next_hop": True}))).send(get()).read()
    assert (got.status, got.all("proxy-status")) == (502, [f'weir; error=connection_refused; next-hop="{dead}"'])
    probe.close()


# ---- variables ---------------------------------------------------------------------------------

NAMES = ["name", "address", "status", "time", "connect_time", "head_time", "retries"]


def test_variables_tell_of_the_upstream(weir, raw, tmp_path):
    def script(peer, request):
        peer.send(answer(b"hi", "202 X"))
        return True

    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    dead = "127.0.0.1:%d" % probe.getsockname()[1]
    tmp_path.chmod(0o777)
    log = tmp_path / "access.log"
    template = "|".join("{upstream.%s}" % name for name in NAMES)
    with Upstream(script) as app:
        document = site(app.address, {"headers": {"response": {"set": {"X-Upstream": template}}}},
                        ["access_log", "respond"], [{"access_log": {"file": str(log), "format": template}}],
                        [{"match": "/dead", "handle": {"proxy": "dead"},
                          "use": [{"access_log": {"file": str(log), "format": template}}]},
                         {"match": "/none", "handle": {"respond": template}}])
        document["upstreams"]["dead"] = {"targets": [dead]}
        running = weir(document)
        client = raw(running)
        seconds = r"\d+\.\d{6}"
        first = client.send(get()).read().field("x-upstream")
        second = client.send(get()).read().field("x-upstream")
        for got in (first, second):
            assert re.fullmatch(rf"app\|{app.address}\|202\|{seconds}\|{seconds}\|{seconds}\|0", got), got
        assert second.split("|")[4] == "0.000000"  # kept
        assert client.send(get("/dead")).read().status == 502
        assert client.send(get("/none")).read().body == b"||||||"
        assert eventually(lambda: log.exists() and log.read_text().count("\n") == 3)
    lines = log.read_text().splitlines()
    for line in lines[:2]:
        assert re.fullmatch(rf"app\|{app.address}\|202\|{seconds}\|{seconds}\|{seconds}\|0", line), line
    assert re.fullmatch(rf"dead\|{dead}\|\|{seconds}\|\|\|0", lines[2]), lines[2]
    probe.close()


def test_a_retry_is_seen_in_the_log(weir, raw):
    with Upstream(always(b"", keep=False)) as bad, Upstream(always(answer())) as good:
        client = raw(weir(site([bad.address, good.address], {"headers": {"response": {"set": {
            "X-Upstream": "{upstream.address} {upstream.retries}"}}}})))
        assert client.send(get()).read().field("x-upstream") == f"{good.address} 1"


# ---- retry of the handler ----------------------------------------------------------------------


@pytest.mark.parametrize("retry, status", [
    (None, 200), ({"times": 0}, 502), ({"times": 1}, 200), ({"on": ["closed"]}, 200), ({"on": ["connect", "503"]}, 502),
    ({"on": []}, 502)], ids=str)
def test_the_handler_retries_less_than_the_upstream(weir, raw, retry, status):
    with Upstream(always(b"", keep=False)) as bad, Upstream(always(answer())) as good:
        client = raw(weir(site([bad.address, good.address], {} if retry is None else {"retry": retry})))
        assert client.send(get()).read().status == status
    assert len(bad.requests) == 1


# ---- accel -------------------------------------------------------------------------------------


def test_an_upstream_names_what_is_sent(weir, raw, tmp_path):
    """F62: the fields never reach the client, and the connection to the upstream is kept where its answer was whole."""
    def script(peer, request):
        field = {"/redirect": "X-Accel-Redirect: /inside/x", "/file": f"X-Sendfile: {tmp_path}/file.txt",
                 "/outside": "X-Accel-Redirect: /elsewhere", "/long": "X-Accel-Redirect: /inside/x",
                 "/ignored": "X-Accel-Expires: 5"}[request.target]
        if request.target == "/long":
            peer.send(f"HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 100000000\r\n\r\nbeginning".encode())
            peer.wait_closed()
            return False
        peer.send(answer(b"secret", fields=f"{field}\r\nX-Accel-Buffering: no\r\nContent-Type: text/x\r\nSet-Cookie: a=b\r\n"))
        return True

    (tmp_path / "file.txt").write_text("from the disk")
    tmp_path.chmod(0o755)
    with Upstream(script) as app:
        running = weir(site(app.address, modules=["accel", "respond"],
                            use=[{"accel": {"to": ["/inside/*"], "roots": [str(tmp_path)]}}],
                            routes=[{"match": "/inside/*", "internal": True, "handle": {"respond": "from inside"}}]))
        running.expect_error("is beneath no path of `to`")
        client = raw(running)
        for target, status, body in (("/redirect", 200, b"from inside"), ("/file", 200, b"from the disk"),
                                     ("/outside", 500, None), ("/ignored", 200, b"secret"),
                                     ("/long", 200, b"from inside"), ("/redirect", 200, b"from inside")):
            got = client.send(get(target)).read()
            assert got.status == status, got
            assert got.body == body if body is not None else b"secret" not in got.body
            assert not [name for name, _ in got.fields if name.lower().startswith(("x-accel", "x-sendfile"))]
            assert got.field("set-cookie") == ("a=b" if status == 200 and target != "/long" else None)
        # One until it answered at length, whose connection was closed; and one more.
        assert app.wait(lambda: app.connections == 2)


# ---- underscores -------------------------------------------------------------------------------


def test_fields_with_an_underscore_are_dropped_and_counted(weir, raw):
    """F42."""
    with Upstream(always(answer())) as app:
        document = site(app.address, modules=["metrics"], routes=[{"match": "/metrics", "handle": "metrics"}])
        client = raw(weir(document))
        client.send(get(fields="X_A: 1\r\nX_Forwarded_For: 2\r\nX-B: 3\r\n")).read()
        client.send(get(fields="X-B: 3\r\n")).read()
        scrape = Scrape(client.send(get("/metrics")).read().body.decode())
    assert scrape.value("weir_upstream_fields_dropped_total", upstream="app", reason="underscore") == 2
    assert not [name for request in app.requests for name, _ in request.fields if "_" in name]


# ---- configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize("proxy, said", [
    ({"headers": {"request": {"set": {"Host": "x"}}}}, "is the option `host`"),
    ({"headers": {"request": {"remove": ["Content-Length"]}}}, "server's to say"),
    ({"headers": {"response": {"add": {"Transfer-Encoding": "x"}}}}, "server's to say"),
    ({"headers": {"set": {"a": "b"}}}, "unknown key \"set\""),
    ({"headers": {"response": {"set": {"X": "{upstream.nam}"}}}}, "unknown variable \"upstream.nam\""),
    ({"intercept": [302]}, "only 4xx and 5xx"), ({"intercept": ["6xx"]}, "intercept"),
    ({"retry": {"on": ["never"]}}, "\"never\""), ({"retry": {"budget": 5}}, "unknown key \"budget\"")],
    ids=json.dumps)
def test_a_wrong_option_is_refused(weir, proxy, said):
    running = weir(site("127.0.0.1:1", proxy), listeners=0, exit_status=78)
    running.expect_error(re.escape(said))
    running.wait_exit()
