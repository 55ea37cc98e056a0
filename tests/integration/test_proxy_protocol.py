# SPDX-License-Identifier: MIT
"""The PROXY protocol: taken from proxies in front (F69) and told to upstreams (F134), from and to the test's own
ends, HAProxy and nginx."""

import ipaddress
import json
import socket

import pytest
import weir_proxy_header as header
from weir_figures import Scrape
from weir_process import eventually
from weir_raw import CLOSED, RESET
from weir_site import get, route, server
from weir_upstream import Upstream, always, answer

LOOPBACK = {"peers": ["127.0.0.1"]}
SEEN = "{peer.ip} {client.ip}"


def listening(address="127.0.0.1:0", trust=LOOPBACK, routes=(), **rest):
    """A listener that takes the protocol, and a second one beside it that does not, for metrics."""
    listener = {"address": address, "proxy_protocol": True, **({"trust": trust} if trust else {}), **rest}
    return {
        "modules": ["respond", "metrics", "access", "access_log"],
        "listeners": {"web": listener},
        "servers": [server(*routes, route(None, SEEN), listen="web", **({"trust": trust} if trust else {})),
                    server({"handle": "metrics"})]}


def figures(raw, running):
    with raw(running.addresses[1]) as connection:
        return Scrape(connection.send(get("/metrics")).read().body.decode())


def closes(raw, running, reason):
    return figures(raw, running).value("weir_connections_closed_total", reason=reason)


HEADERS = {
    "line": (header.line(), "198.51.100.7"),
    "line of IPv6": (header.line("2001:db8::7", "2001:db8::1"), "2001:db8::7"),
    "unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "binary": (header.binary(), "198.51.100.7"),
    "binary IPv6": (header.binary("2001:db8::7", "2001:db8::1"), "2001:db8::7"),
    "local": (header.LOCAL, "127.0.0.1"),
    "checksum": (header.binary(checksum=True, vectors=header.vector(2, b"a.example")), "198.51.100.7"),
    "long": (header.binary(vectors=header.vector(0xE0, bytes(60000))), "198.51.100.7"),
}


@pytest.fixture(scope="module")
def shared(weir_for_all):
    return weir_for_all(listening(), listeners=2)


@pytest.mark.parametrize("how", ["whole", "bytes", 1, 20])
@pytest.mark.parametrize("name", HEADERS)
def test_the_header_says_who_the_peer_is(shared, raw, name, how):
    sent, who = HEADERS[name]
    if how == "bytes" and len(sent) > 1000:
        how = len(sent) - 1
    with raw(shared) as client:
        got = client.send(sent + get(), how).read()
        assert (got.status, got.body.decode()) == (200, f"{who} {who}")
        again = client.send(get("/a") + get("/b")).read()  # kept, and pipelined
        assert again.body == got.body == client.read().body


def test_a_client_behind_the_proxy_does_not_say_who_it_is(shared, raw):
    """The proxy is believed, and not whom it speaks for."""
    fields = "X-Forwarded-For: 192.0.2.9\r\n"
    with raw(shared) as client:
        assert client.send(header.line() + get(fields=fields)).read().body == b"198.51.100.7 198.51.100.7"
    with raw(shared) as client:  # a second proxy in front, which is trusted as the first
        got = client.send(header.line("127.0.0.1", "127.0.0.1") + get(fields=fields)).read()
        assert got.body == b"127.0.0.1 192.0.2.9"


@pytest.mark.parametrize("sent", [
    get(), header.line()[:-2] + b"\n" + get(), b"PROXY TCP4 1.2.3.4\r\n" + get(), header.line().replace(b"7 ", b"07 "),
    header.SIGNATURE + b"\x11\x11\0\x0c", header.binary(checksum=True)[:-1] + b"\0", b"PROXY UNKNOWN" + b"x" * 107,
    b"\x16\x03\x01\x02\x00\x01"])
@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_what_is_no_header_is_closed_without_an_answer(weir, raw, sent, how):
    running = weir(listening(), listeners=2)
    with raw(running) as client:
        try:
            client.send(sent, how)
        except OSError:
            pass  # it did not wait for the rest
        assert client.wait_end() in (CLOSED, RESET)
        assert client.buffer == b""
    running.wait_for_line(r"warn: connection from 127\.0\.0\.1 closed: no header of the PROXY protocol: ")
    assert closes(raw, running, "bad_proxy_header") == 1


def test_a_header_that_breaks_off_is_none(weir, raw):
    running = weir(listening(), listeners=2)
    with raw(running) as client:
        client.send(header.line()[:20]).finish_sending()
        assert client.wait_end() == CLOSED
    running.wait_for_line("it ended within the header of the PROXY protocol")
    with raw(running) as client:
        client.finish_sending()  # a balancer that looks whether we are there
        assert client.wait_end() == CLOSED
    assert closes(raw, running, "bad_proxy_header") == 1
    assert closes(raw, running, "client") >= 1
    assert len([line for line in running.lines if "PROXY protocol" in line]) == 1


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 198.51"])
def test_the_header_has_the_time_of_a_head(weir, raw, sent):
    running = weir(listening(timeouts={"head": "300ms"}), listeners=2)
    with raw(running) as client:
        client.send(sent)
        assert client.wait_end() == CLOSED
        assert client.buffer == b""
    assert closes(raw, running, "slow_head") == 1


def test_who_may_not_speak_for_others_is_closed_at_once(weir, raw):
    running = weir(listening(trust={"peers": ["10.0.0.0/8"]}), listeners=2)
    with raw(running) as client:
        assert client.wait_end() in (CLOSED, RESET)  # nothing was sent
    running.wait_for_line(r'warn: connection from 127\.0\.0\.1 closed: it is not one of "trust"')
    assert closes(raw, running, "untrusted") == 1


def test_many_strangers_make_few_lines(weir, raw):
    running = weir(listening(trust={"peers": ["10.0.0.0/8"]}), listeners=2)
    for _ in range(50):
        with raw(running) as client:
            client.wait_end()
    assert closes(raw, running, "untrusted") == 50
    assert len([line for line in running.lines if "closed: it is not one" in line]) < 50


def test_a_unix_sockets_file_says_who_may_speak_for_others(weir, raw, tmp_path):
    document = listening(f"unix:{tmp_path}/web.sock", trust=None)
    running = weir(document, listeners=2)
    for sent, who in [(header.line(), b"198.51.100.7 198.51.100.7"), (header.LOCAL, b" ")]:
        with raw(f"unix:{tmp_path}/web.sock") as client:
            assert client.send(sent + get(), "bytes").read().body == who
    with raw(f"unix:{tmp_path}/web.sock") as client:
        client.send(get())
        assert client.wait_end() in (CLOSED, RESET)
    running.wait_for_line("connection from a Unix socket closed: no header")


def test_who_is_let_in_is_whom_the_proxy_speaks_for(weir, raw, tmp_path):
    routes = [route("/in", "in", use=[{"access": {"allow": ["198.51.100.0/24"]}}]),
              {"match": {"path": "/peer", "peer": "198.51.100.7"}, "handle": {"respond": "matched"}}]
    document = listening(routes=routes)
    document["servers"][0]["use"] = [{"access_log": str(tmp_path / "access.json")}]
    running = weir(document, listeners=2)
    for source, status in [("198.51.100.7", 200), ("203.0.113.9", 403)]:
        with raw(running) as client:
            assert client.send(header.line(source) + get("/in")).read().status == status
    with raw(running) as client:
        assert client.send(header.binary() + get("/peer")).read().body == b"matched"
    log = tmp_path / "access.json"
    assert eventually(lambda: log.exists() and log.read_text().count("\n") == 3)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["peer"], line["client"]) for line in lines] == [
        ("198.51.100.7",) * 2, ("203.0.113.9",) * 2, ("198.51.100.7",) * 2]


def test_a_listener_that_would_believe_nobody_is_refused(weir):
    running = weir(listening(trust=None), listeners=0, exit_status=78)
    running.expect_error(r"error\[E")
    running.wait_exit()
    assert '"proxy_protocol" needs "trust": { "peers": [...] }' in running.log


def test_a_header_counts_as_no_request(weir, raw):
    running = weir(listening(), listeners=2)
    with raw(running) as client:
        client.send(header.line() + get()).read()
    seen = figures(raw, running)
    assert seen.value("weir_http_requests_total", code="200") == 1
    with raw(running) as client:
        client.send(header.line()).finish_sending()
        assert client.wait_end() == CLOSED
    assert figures(raw, running).value("weir_http_heads_refused_total") == 0


def test_a_reload_waits_for_a_header_under_way(weir, raw):
    running = weir(listening(), listeners=2)
    client = raw(running)
    client.send(header.line()[:10])
    assert eventually(lambda: figures(raw, running).value("weir_connections") >= 2)
    running.signal(1)
    running.wait_for_line("draining")
    assert client.send(header.line()[10:] + get()).read().body == b"198.51.100.7 198.51.100.7"


# ---- others in front -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_haproxy_says_who_asks(weir, raw, tmp_path, how):
    running = weir(listening(), listeners=2)
    with header.haproxy(tmp_path, "listen in\n  mode tcp\n  bind unix@{socket} accept-proxy\n"
                        f"  server weir {running.address} {how}") as front:
        for source in ("198.51.100.7", "2001:db8::7"):
            with raw(front) as client:
                sent = header.line(source, "2001:db8::1" if ":" in source else "203.0.113.1")
                assert client.send(sent + get()).read().body.decode() == f"{source} {source}"


def test_haproxy_finds_us_well(weir, tmp_path):
    """Its health checks speak for nobody (LOCAL)."""
    running = weir(listening(routes=[route("/health", "{peer.ip}")]), listeners=2)
    with header.haproxy(tmp_path, "listen in\n  mode http\n  option httpchk GET /health\n"
                        "  http-check expect string 127.0.0.1\n  bind unix@{socket}\n  stats enable\n"
                        f"  server weir {running.address} check send-proxy-v2 inter 50ms") as front:
        def is_up():
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(front.socket))
                client.sendall(b"GET /haproxy?stats;csv HTTP/1.0\r\n\r\n")
                return b"L7OK" in b"".join(iter(lambda: client.recv(65536), b""))
        assert eventually(is_up)


# ---- out -----------------------------------------------------------------------------------------


def proxying(targets, version, listener="127.0.0.1:0", trust=None, **upstream):
    return {"modules": ["proxy"],
            "upstreams": {"app": {"targets": targets, "proxy_protocol": version, **upstream}},
            "servers": [server({"handle": {"proxy": "app"}}, listen=listener, **({"trust": trust} if trust else {}))]}


class Introduced:
    """A script for weir_upstream.Upstream whose connections begin with a header; `seen` has one for each."""

    def __init__(self):
        self.seen = []

    def greet(self, peer):
        self.seen.append(header.read(peer))


@pytest.mark.parametrize("version, number", [("v1", 1), ("v2", 2)])
def test_each_connection_begins_with_whom_it_is_for(weir, raw, version, number):
    introduced = Introduced()
    with Upstream(always(answer(b"hi")), greet=introduced.greet) as app:
        running = weir(proxying(app.address, version))
        with raw(running) as client:
            for _ in range(2):
                assert client.send(get()).read().body == b"hi"
            here, there = client.socket.getsockname(), client.socket.getpeername()
    assert introduced.seen == [(number, *here, *there)] * 2  # one connection for each: none is kept
    assert app.connections == 2


def test_a_connection_is_never_another_clients(weir, raw):
    """Also where `keepalive` says that some are kept."""
    introduced = Introduced()
    with Upstream(always(answer(b"hi")), greet=introduced.greet) as app:
        running = weir(proxying(app.address, "v2", keepalive=64))
        ports = []
        for _ in range(3):
            with raw(running) as client:
                client.send(get()).read()
                ports.append(client.socket.getsockname()[1])
    assert [seen[2] for seen in introduced.seen] == ports


def test_an_upload_follows_the_header(weir, raw):
    introduced = Introduced()
    body = b"x" * 300000
    with Upstream(always(answer(b"hi")), greet=introduced.greet) as app:
        running = weir(proxying(app.address, "v1"))
        with raw(running) as client:
            sent = get("/", method="POST", fields=f"Content-Length: {len(body)}\r\n", body=body)
            assert client.send(sent).read().body == b"hi"
    assert app.requests[0].body == body


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_client_is_whom_a_trusted_peer_names(weir, raw, version):
    introduced = Introduced()
    with Upstream(always(answer()), greet=introduced.greet) as app:
        running = weir(proxying(app.address, version, trust=LOOPBACK))
        for said in ("198.51.100.7", "2001:db8::7"):
            with raw(running) as client:
                client.send(get(fields=f"X-Forwarded-For: {said}\r\n")).read()
                port = client.socket.getpeername()[1]
    assert [seen[1:] for seen in introduced.seen] == [
        ("198.51.100.7", 0, "127.0.0.1", port), ("2001:db8::7", 0, str(ipaddress.ip_address("::ffff:127.0.0.1")), port)]


def test_of_a_client_on_a_unix_socket_nothing_is_known(weir, raw, tmp_path):
    introduced = Introduced()
    path = f"unix:{tmp_path}/web.sock"
    with Upstream(always(answer(b"hi")), greet=introduced.greet) as app:
        document = proxying(app.address, "v1", listener=path)
        document["upstreams"]["other"] = {"targets": app.address, "proxy_protocol": "v2"}
        document["servers"][0]["routes"].insert(0, {"match": "/2", "handle": {"proxy": "other"}})
        weir(document)
        for target in ("/1", "/2"):
            with raw(path) as client:
                assert client.send(get(target)).read().body == b"hi"
    assert introduced.seen == [(1, None, None, None, None), (2, None, None, None, None)]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("source, destination", [("198.51.100.7", "203.0.113.1"), ("2001:db8::7", "2001:db8::1")])
def test_one_weir_behind_another_sees_the_first_ones_client(weir, raw, version, source, destination):
    """And the last what the first was told: both ends."""
    introduced = Introduced()
    with Upstream(always(answer(b"hi")), greet=introduced.greet) as app:
        chain = [app.address]
        for _ in range(2):
            document = proxying(chain[-1], version, listener="web")
            document["listeners"] = {"web": {"address": "127.0.0.1:0", "proxy_protocol": True, "trust": LOOPBACK}}
            chain.append(weir(document).address)
        with raw(chain[-1]) as client:
            assert client.send(header.line(source, destination) + get()).read().body == b"hi"
    assert introduced.seen == [(int(version[1]), source, 4711, destination, 443)]
    assert app.requests[0].field("x-forwarded-for") == source


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_takes_it(weir, raw, tmp_path, version):
    with header.haproxy(tmp_path, "frontend in\n  mode http\n  bind unix@{socket} accept-proxy\n"
                        "  http-request return status 200 content-type text/plain"
                        " lf-string \"%[src] %[src_port] %[dst] %[dst_port]\"") as back:
        running = weir(proxying(back.address, version))
        with raw(running) as client:
            got = client.send(get()).read()
            here, there = client.socket.getsockname(), client.socket.getpeername()
            assert (got.status, got.body.decode()) == (200, " ".join(map(str, here + there)))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_takes_it(weir, raw, tmp_path, version):
    with header.nginx(tmp_path, "listen unix:{socket} proxy_protocol; location / { return 200 "
                      "\"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr "
                      "$proxy_protocol_server_port\"; }") as back:
        running = weir(proxying(back.address, version))
        with raw(running) as client:
            got = client.send(get()).read()
            here, there = client.socket.getsockname(), client.socket.getpeername()
            assert (got.status, got.body.decode()) == (200, " ".join(map(str, here + there)))


def test_health_checks_speak_for_nobody(weir, raw):
    introduced = Introduced()

    def script(peer, request):
        peer.send(answer(request.target.encode()))
        return False

    with Upstream(script, greet=introduced.greet) as app:
        running = weir(proxying(app.address, "v2", health={"path": "/up", "every": "50ms"}))
        assert app.wait(lambda: any(request.target == "/up" for request in app.requests))
        with raw(running) as client:
            assert client.send(get("/x")).read().body == b"/x"
            here = client.socket.getsockname()
        running.signal(15)
        running.wait_exit()  # so that all that was asked has been seen
    checks = [request.connection for request in app.requests if request.target == "/up"]
    assert introduced.seen.count((2, None, None, None, None)) >= len(checks) > 0
    assert [seen[1:3] for seen in introduced.seen if seen[1] is not None] == [here]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_one_weir_finds_another_well(weir, raw, version):
    """In version 1, which has no word for nobody, by the check's own address."""
    behind = weir(listening(routes=[route("/up", "{peer.ip}")]), listeners=2)
    running = weir(proxying(behind.address, version, health={"path": "/up", "every": "50ms", "fall": 1,
                                                             "expect": {"body": "127.0.0.1"}}))
    with raw(running) as client:
        for _ in range(3):
            assert client.send(get("/up")).read().body == b"127.0.0.1"
    assert eventually(lambda: figures(raw, behind).value("weir_http_requests_total", code="200") >= 6)
    running.signal(15)
    running.wait_exit()  # before the other, which would be found down
