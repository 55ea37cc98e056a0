# SPDX-License-Identifier: MIT
"""Limits and timeouts as CONFIG.md has them: each ends in the answer that HTTP.md gives, with close, and
counts where it was set: in `defaults`, on a listener, a server or a route."""

import select
import time

import pytest
from weir_process import eventually, slow
from weir_site import GET, get, route, server, site


def limited(limits, **rest):
    return site(top={"defaults": {"limits": limits, **rest}})


def refused(connection, data, status):
    answer = connection.send(data).read()
    assert answer.status == status
    assert answer.field("connection") == "close"
    connection.expect_closed()


def line_of(length):
    """A request whose line has that many bytes."""
    empty = len("GET /hello? HTTP/1.1")
    return get("/hello?" + "x" * (length - empty))


# --- sizes of the head (F34)


def test_a_request_line_of_the_limit_is_served_and_a_longer_one_is_414(weir, raw):
    running = weir(limited({"request_line": "100b"}))
    assert raw(running).send(line_of(100)).read().status == 200
    refused(raw(running), line_of(101), 414)


def test_a_request_line_without_end_is_414_at_the_limit(weir, raw):
    refused(raw(weir(limited({"request_line": "100b"}))), b"GET /" + b"a" * 96, 414)


def test_a_field_of_the_limit_is_served_and_a_longer_one_is_431(weir, raw):
    running = weir(limited({"field": "100b"}))
    assert raw(running).send(get(fields="X: " + "y" * 97 + "\r\n")).read().status == 200
    refused(raw(running), get(fields="X: " + "y" * 98 + "\r\n"), 431)
    refused(raw(running), get(fields="X" * 98 + ": y\r\n"), 431)


def test_a_field_without_end_is_431_at_the_limit(weir, raw):
    refused(raw(weir(limited({"field": "100b"}))), b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 98, 431)


def test_as_many_fields_as_the_limit_are_served_and_one_more_is_431(weir, raw):
    running = weir(limited({"fields": 5}))
    assert raw(running).send(get(fields="X: y\r\n" * 4)).read().status == 200
    refused(raw(running), get(fields="X: y\r\n" * 5), 431)


def test_a_head_above_the_limit_is_431(weir, raw):
    running = weir(limited({"head": "1k"}))
    field = "X: " + "y" * 95 + "\r\n"
    assert raw(running).send(get(fields=field * 9)).read().status == 200
    refused(raw(running), get(fields=field * 11), 431)
    refused(raw(running), b"GET / HTTP/1.1\r\nHost: a\r\n" + field.encode() * 11, 431)


def test_the_presets_hold(weir, raw):
    """8k, 8k, 100, 64k."""
    running = weir(site())
    assert raw(running).send(line_of(8192)).read().status == 200
    refused(raw(running), line_of(8193), 414)
    assert raw(running).send(get(fields="X: " + "y" * 8189 + "\r\n")).read().status == 200
    refused(raw(running), get(fields="X: " + "y" * 8190 + "\r\n"), 431)
    assert raw(running).send(get(fields="X: y\r\n" * 99)).read().status == 200
    refused(raw(running), get(fields="X: y\r\n" * 100), 431)
    refused(raw(running), get(fields=("X: " + "y" * 8000 + "\r\n") * 9), 431)


def test_a_head_limit_counts_for_each_request_and_not_for_the_connection(weir, raw):
    connection = raw(weir(limited({"head": "256b"})))
    connection.send(GET * 100)
    assert [connection.read().status for _ in range(100)] == [200] * 100
    connection.expect_open()


# --- bodies (F35, F36)


def post(target, length, fields=""):
    return get(target, method="POST", fields=f"Content-Length: {length}\r\n{fields}")


def test_a_body_above_the_limit_is_413_before_it_is_sent(weir, raw):
    running = weir(limited({"body": "1k"}))
    assert raw(running).send(post("/hello", 1024) + b"x" * 1024).read().status == 200
    assert raw(running).send(post("/hello", 1025)).read().status == 413
    refused(raw(running), post("/hello", 1_000_000), 413)


def test_a_body_a_little_above_the_limit_ends_the_connection(weir, raw):
    """HTTP.md, framing: after an error answer nothing more is interpreted."""
    refused(raw(weir(limited({"body": "1k"}))), post("/hello", 1025), 413)


def test_a_body_above_the_limit_is_413_instead_of_100_continue(weir, raw):
    connection = raw(weir(site()))
    connection.send(post("/hello", (1 << 20) + 1, "Expect: 100-continue\r\n"))
    answer = connection.read()
    assert (answer.status, answer.interim) == (413, [])
    connection.expect_closed()


def test_a_body_limit_is_that_of_the_route(weir, raw):
    running = weir(site(
        route("/small", "s", limits={"body": "10b"}),
        route("/large", "l", limits={"body": "10k"}),
        route("/any", "a", limits={"body": False}),
        route("/other", "o"),
        limits={"body": "1k"}))
    for target, length in (("/small", 11), ("/large", 10241), ("/other", 1025)):
        assert raw(running).send(post(target, length)).read().status == 413
    with raw(running) as connection:
        for target, length in (("/small", 10), ("/large", 10240), ("/other", 1024), ("/any", 100_000)):
            assert connection.send(post(target, length) + b"x" * length).read().status == 200
        connection.expect_open()


def test_no_limit_means_no_limit(weir, raw):
    connection = raw(weir(limited({"body": False})))
    assert connection.send(post("/hello", (1 << 64) - 1)).read().status == 200
    connection.expect_closed()  # nobody can wait for all that


# --- numbers of requests and connections


def last_of(connection, most):
    """After how many requests on the connection the answer says close."""
    for number in range(1, most + 1):
        if connection.send(GET).read().field("connection") == "close":
            connection.expect_closed()
            return number
    return None


def test_the_last_of_requests_per_connection_says_close(weir, raw):
    """F32."""
    running = weir(limited({"requests_per_connection": 3}))
    assert last_of(raw(running), 4) == 3
    with raw(running) as connection:  # pipelined: what comes after it is not interpreted
        connection.send(GET * 10)
        assert [connection.read().field("connection") for _ in range(3)] == [None, None, "close"]
        connection.expect_closed()


@pytest.mark.parametrize("depth", [1, 2, 32])
def test_more_pipelined_requests_than_the_depth_are_all_answered(weir, raw, depth):
    """F40: the depth bounds what is worked on at once, not what a client may send."""
    connection = raw(weir(limited({"pipeline": depth})))
    connection.send(GET * 300)
    assert [connection.read().body for _ in range(300)] == [b"hello"] * 300
    connection.expect_open()


def test_above_the_limit_of_connections_accepting_pauses(weir, raw):
    """F22: the one too many waits until another has ended; then it is served."""
    running = weir(limited({"connections": 2}))
    first, second = raw(running), raw(running)
    for connection in (first, second):
        assert connection.send(GET).read().status == 200
    running.wait_for_line("limits.connections")
    third = raw(running).send(GET)
    for connection in (first, second) * 20:
        assert connection.send(GET).read().status == 200
    third.expect_open()
    assert not select.select([third.socket], [], [], 0)[0]
    first.close()
    assert third.read().status == 200
    second.close()
    assert raw(running).send(GET).read().status == 200


def test_with_policy_503_the_one_too_many_is_told_so(weir, raw):
    """F22: at once and whatever it asks; idle connections count, and whoever comes when one has ended is served."""
    running = weir(limited({"connections": 2, "connections_policy": "503"}))
    first, second = raw(running), raw(running)
    for connection in (first, second):
        assert connection.send(GET).read().status == 200
    for ask in (GET, GET * 3, b"", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", b"\0"):
        refused_one = raw(running).send(ask)
        answer = refused_one.read()
        assert (answer.status, answer.body, answer.field("connection")) == (503, b"", "close")
        assert answer.field("retry-after") == "1"
        refused_one.expect_closed()
    running.wait_for_line(r"limits.connections \(2\) are open; new ones are answered 503")
    for connection in (first, second) * 5:
        assert connection.send(GET).read().status == 200
    first.close()
    assert eventually(lambda: raw(running).send(GET).read().status == 200)


def test_with_policy_503_clients_that_stay_hold_no_memory(weir, raw):
    """Those that were told and do not leave are closed; more than 256 of them at once wait for that."""
    running = weir(limited({"connections": 1, "connections_policy": "503"}))
    served = raw(running)
    assert served.send(GET).read().status == 200
    before = running.descriptor_count()
    strangers = [raw(running) for _ in range(300)]
    assert eventually(lambda: running.descriptor_count() >= before + 10)
    assert running.descriptor_count() <= before + 257
    for stranger in strangers:
        assert stranger.read().status == 503
    assert served.send(GET).read().status == 200
    assert eventually(lambda: running.descriptor_count() <= before)
    served.close()
    assert eventually(lambda: raw(running).send(GET).read().status == 200)


def test_refused_connections_are_counted_by_that_reason(weir, raw):
    document = limited({"connections": 1, "connections_policy": "503"})
    document["modules"].append("metrics")
    document["servers"][0]["routes"].insert(0, {"match": "/metrics", "handle": "metrics"})
    running = weir(document)
    served = raw(running)
    assert served.send(GET).read().status == 200
    for _ in range(3):
        with raw(running) as stranger:
            assert stranger.read().status == 503
    counted = 'weir_connections_closed_total{reason="too_many"} 3'
    assert eventually(lambda: counted in served.send(get("/metrics")).read().body.decode())


@pytest.mark.parametrize("body", [b"Content-Length: 11\r\n\r\nhello world",
                                  b"Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"], ids=["length", "chunks"])
def test_a_connection_that_ends_for_its_body_says_so(weir, raw, body):
    document = limited({"body": "10b"})
    document["modules"].append("metrics")
    document["servers"][0]["routes"].insert(0, {"match": "/metrics", "handle": "metrics"})
    running = weir(document)
    refused(raw(running), b"POST /hello HTTP/1.1\r\nHost: a\r\n" + body, 413)
    counted = 'weir_connections_closed_total{reason="body_limit"} 1'
    with raw(running) as connection:
        assert eventually(lambda: counted in connection.send(get("/metrics")).read().body.decode())


def test_a_reset_connection_makes_room_for_the_next(weir, raw):
    running = weir(limited({"connections": 1}))
    for _ in range(20):
        connection = raw(running)
        assert connection.send(GET).read().status == 200
        connection.reset()


# --- times


def test_an_idle_connection_ends_after_the_keepalive_timeout(weir, raw):
    """F30: within the timeout and a second."""
    running = weir(limited({}, timeouts={"keepalive": "1s", "head": "1h"}))
    connection = raw(running)
    began = time.monotonic()
    assert connection.send(GET).read().status == 200
    connection.expect_closed()
    assert 1 <= time.monotonic() - began < slow(3.5)


def test_each_request_starts_the_keepalive_timeout_anew(weir, raw):
    running = weir(limited({}, timeouts={"keepalive": "3s", "head": "1h"}))
    connection = raw(running)
    began = time.monotonic()
    asked = 0
    while time.monotonic() - began < 4 and not select.select([connection.socket], [], [], 0.1)[0]:
        assert connection.send(GET).read().status == 200
        asked += 1
    assert asked > 1 and time.monotonic() - began >= 4


def test_a_slow_head_is_408_at_an_absolute_deadline(weir, raw):
    """F28: a byte now and then does not move it."""
    running = weir(limited({}, timeouts={"head": "1s", "keepalive": "1h"}))
    connection = raw(running)
    began = time.monotonic()
    connection.send(b"GET / HTTP/1.1\r\nX: ")
    while not select.select([connection.socket], [], [], 0.1)[0]:
        connection.send(b"y")
        assert time.monotonic() - began < slow(10)
    answer = connection.read()
    assert 1 <= time.monotonic() - began < slow(3.5)
    assert (answer.status, answer.field("connection")) == (408, "close")
    connection.expect_closed()


def test_a_slow_head_on_a_kept_connection_is_408_as_well(weir, raw):
    running = weir(limited({}, timeouts={"head": "1s", "keepalive": "1h"}))
    connection = raw(running)
    assert connection.send(GET).read().status == 200
    began = time.monotonic()
    connection.send(GET[:-1])
    assert connection.read().status == 408
    assert 1 <= time.monotonic() - began < slow(3.5)
    connection.expect_closed()


def test_a_connection_that_never_says_anything_ends_after_the_head_timeout(weir, raw):
    running = weir(limited({}, timeouts={"head": "1s", "keepalive": "1h"}))
    connection = raw(running)
    connection.expect_closed()  # and no answer: nothing was asked


def test_a_body_that_is_discarded_has_a_time_limit_too(weir, raw):
    """The answer is out, the rest of the body never comes."""
    running = weir(limited({}, timeouts={"body": "1s"}))
    connection = raw(running)
    assert connection.send(post("/hello", 5) + b"he").read().status == 200
    connection.expect_closed()


LARGE = 1_000_000


def stuck_reader(running, raw, target):
    """Asks for much and reads nothing."""
    connection = raw(running)
    connection.send(get(target) * 30)
    return connection


def test_a_reader_that_reads_nothing_is_cut_after_the_send_timeout(weir, raw):
    """F53; the descriptor says so, since the client's buffer is full of answers."""
    running = weir(site(route("/large", "x" * LARGE), top={"defaults": {"timeouts": {"send": "1s"}}}))
    before = running.descriptor_count()
    began = time.monotonic()
    stuck_reader(running, raw, "/large")
    assert eventually(lambda: running.descriptor_count() > before)  # it was accepted
    running.descriptors_return_to(before)
    assert 1 <= time.monotonic() - began


# --- where they count


def test_a_listener_has_limits_of_its_own(weir, raw):
    running = weir(site(
        top={"listeners": {"narrow": {"address": "127.0.0.1:0", "limits": {"request_line": "64b", "fields": 2},
                                      "timeouts": {"keepalive": "1s"}}},
             "defaults": {"limits": {"fields": 3}}},
        listen=["narrow", "127.0.0.2:0"]), listeners=2)
    narrow, wide = running.addresses
    refused(raw(narrow), line_of(65), 414)
    assert raw(wide).send(line_of(65)).read().status == 200
    three = get(fields="X: y\r\nX: y\r\n")
    refused(raw(narrow), three, 431)
    kept = raw(wide)
    assert kept.send(three).read().status == 200
    refused(raw(wide), get(fields="X: y\r\n" * 3), 431)
    connection = raw(narrow)
    assert connection.send(GET).read().status == 200
    connection.expect_closed()
    assert kept.send(GET).read().status == 200


def test_limits_of_connections_are_counted_for_each_listener(weir, raw):
    running = weir(site(
        top={"listeners": {"one": {"address": "127.0.0.1:0", "limits": {"connections": 1}}}},
        listen=["one", "127.0.0.2:0"]), listeners=2)
    one, many = running.addresses
    first = raw(one)
    assert first.send(GET).read().status == 200
    for _ in range(5):
        assert raw(many).send(GET).read().status == 200
    second = raw(one).send(GET)
    first.close()
    assert second.read().status == 200


def on_one_listener(**first):
    """Servers a and b behind one port; `first` is for a alone."""
    return site(servers=[server(host="a", listen="both", **first), server(host="b", listen="both")],
                top={"listeners": {"both": {"address": "127.0.0.1:0"}}})


def test_a_server_has_a_number_of_requests_per_connection_of_its_own(weir, raw):
    """CONFIG.md, Inheritance 4."""
    running = weir(on_one_listener(limits={"requests_per_connection": 2}))
    assert last_of(raw(running), 5) == 2
    with raw(running) as connection:
        assert [connection.send(get(host="b")).read().field("connection") for _ in range(5)] == [None] * 5


def test_a_server_has_a_keepalive_timeout_of_its_own(weir, raw):
    running = weir(on_one_listener(timeouts={"keepalive": "1s"}))
    other = raw(running)
    assert other.send(get(host="b")).read().status == 200
    connection = raw(running)
    assert connection.send(GET).read().status == 200
    connection.expect_closed(4)
    assert other.send(get(host="b")).read().status == 200


def test_a_route_has_a_send_timeout_of_its_own(weir, raw):
    running = weir(site(route("/large", "x" * LARGE, timeouts={"send": "1s"}), route("/hello", "hello")))
    before = running.descriptor_count()
    stuck_reader(running, raw, "/large")
    assert eventually(lambda: running.descriptor_count() > before)  # it was accepted
    running.descriptors_return_to(before, 4)


@pytest.mark.parametrize("key, value, group", [
    *((key, value, "limits") for key, value in (
        ("request_line", "1k"), ("field", "1k"), ("fields", 10), ("head", "1k"), ("connections", 10),
        ("pipeline", 2))),
    ("handshake", "1s", "timeouts"), ("head", "1s", "timeouts"),
])
@pytest.mark.parametrize("place", ["server", "route"])
def test_what_is_decided_before_a_server_is_known_is_refused_further_in(weir, place, key, value, group):
    scoped = {group: {key: value}}
    document = site(**scoped) if place == "server" else site(route("/hello", "x", **scoped))
    running = weir(document, listeners=0, exit_status=78)
    running.expect_error(rf'error\[E\d+\]: "{key}" cannot be set on a {place}')
    assert running.wait_exit() == 78


@pytest.mark.parametrize("key, value, group", [
    ("requests_per_connection", 3, "limits"), ("keepalive", "1s", "timeouts")])
def test_what_is_decided_before_a_route_is_known_is_refused_on_a_route(weir, key, value, group):
    running = weir(site(route("/hello", "x", **{group: {key: value}})), listeners=0, exit_status=78)
    running.expect_error(rf'error\[E\d+\]: "{key}" cannot be set on a route')
    assert running.wait_exit() == 78


@pytest.mark.parametrize("group, key, value, says", [
    ("limits", "head", 1000, r'write "1000b"'),
    ("timeouts", "head", 5, r'write "5s"'),
    ("timeouts", "head", "5", r'write "5s"'),
    ("timeouts", "head", 0, "no limit.*false"),
    ("limits", "fields", 0, "no limit.*false"),
    ("limits", "head", "1z", "a whole number and"),
    ("limits", "heads", "1k", 'did you mean "head"'),
])
def test_a_wrong_value_is_refused_with_what_would_be_right(weir, group, key, value, says):
    running = weir(site(top={"defaults": {group: {key: value}}}), listeners=0, exit_status=78)
    running.expect_error(key)
    assert running.wait_exit() == 78
    running.wait_for_line(says)
