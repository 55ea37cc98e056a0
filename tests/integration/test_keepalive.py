# SPDX-License-Identifier: MIT
"""Connections that carry several requests, or end early: in order, to the end, and nothing is left
behind when a client leaves at any byte."""

import email.utils
import time

import pytest
import weir_raw
from weir_site import GET, HELLO, get, route, site


@pytest.fixture(scope="module")
def server(weir_for_all):
    server = weir_for_all(site(
        route("/hello", "hello"), route("/n/{n}", "{path.n}"), route("/large", "x" * 300_000),
        route("/204", status=204), route("/304", status=304), route("/500", status=500)))
    server.unused = server.descriptor_count()
    return server


@pytest.fixture(autouse=True)
def nothing_is_left(server, raw):
    """Each test of this file, whatever it does to its connections."""
    yield
    for connection in raw.connections:
        connection.close()
    server.descriptors_return_to(server.unused)


# --- pipelining (F40)


def test_pipelined_requests_are_answered_in_order(server, raw):
    connection = raw(server)
    connection.send(b"".join(get(f"/n/{i}") for i in range(500)))
    assert [connection.read().body for _ in range(500)] == [str(i).encode() for i in range(500)]
    connection.expect_open()


def test_pipelined_requests_cut_anywhere_are_answered_in_order(server, raw):
    connection = raw(server)
    three = get("/n/1") + get("/n/2") + get("/n/3")
    for how in weir_raw.ways(three):
        connection.send(three, how)
        assert [connection.read().body for _ in range(3)] == [b"1", b"2", b"3"], how
    connection.expect_open()


def test_pipelined_requests_of_all_kinds_stay_in_step(server, raw):
    connection = raw(server)
    connection.send(
        get("/n/1") + get("/hello", method="HEAD") + get("/204") + get("/none") + get("/304")
        + get("/hello", method="POST", fields="Content-Length: 4\r\n", body=b"GET ") + get("/500") + get("/n/2"))
    seen = [connection.read(method) for method in ("GET", "HEAD", "GET", "GET", "GET", "POST", "GET", "GET")]
    assert [answer.status for answer in seen] == [200, 200, 204, 404, 304, 200, 500, 200]
    assert seen[0].body == b"1" and seen[1].body == b"" and seen[-1].body == b"2"
    connection.expect_open()


def test_large_answers_to_pipelined_requests_arrive_whole(server, raw):
    """More than any socket buffer holds, read only after all was asked."""
    connection = raw(server)
    connection.send(get("/large") * 50 + GET)
    for _ in range(50):
        assert connection.read().body == b"x" * 300_000
    assert connection.read().body == HELLO


def test_the_last_of_pipelined_requests_may_say_close(server, raw):
    connection = raw(server)
    connection.send(GET * 10 + get(fields="Connection: close\r\n"))
    assert [connection.read().field("connection") for _ in range(11)] == [None] * 10 + ["close"]
    connection.expect_closed()


def test_an_error_behind_pipelined_requests_comes_after_their_answers(server, raw):
    connection = raw(server)
    connection.send(GET * 10 + b"NONSENSE\r\n\r\n" + GET)
    assert [connection.read().status for _ in range(11)] == [200] * 10 + [400]
    connection.expect_closed()


def test_a_thousand_requests_one_after_another_on_one_connection(server, raw):
    connection = raw(server)
    for _ in range(1000):
        assert connection.send(GET).read().body == HELLO
    connection.expect_open()


# --- the client ends (HTTP.md, framing)


@pytest.mark.parametrize("count", [1, 3])
def test_a_half_close_after_complete_requests_is_answered(server, raw, count):
    for _ in range(50):  # together or apart: a request and its FIN may be one event
        connection = raw(server)
        connection.send(GET * count)
        connection.finish_sending()
        assert [connection.read().body for _ in range(count)] == [HELLO] * count
        connection.expect_closed()


def test_a_half_close_before_a_large_answer_was_read_does_not_cut_it(server, raw):
    connection = raw(server)
    connection.send(get("/large") * 20)
    connection.finish_sending()
    for _ in range(20):
        assert len(connection.read().body) == 300_000
    connection.expect_closed()


def test_an_end_without_a_request_is_not_answered(server, raw):
    connection = raw(server)
    connection.finish_sending()
    connection.expect_closed()


def test_an_end_on_a_kept_connection_is_not_answered(server, raw):
    connection = raw(server)
    assert connection.send(GET).read().status == 200
    connection.finish_sending()
    connection.expect_closed()


def test_an_end_in_mid_head_is_the_end(server, raw):
    for length in range(1, len(GET)):
        connection = raw(server)
        connection.send(GET[:length])
        connection.finish_sending()
        connection.expect_closed()


def test_an_end_in_a_body_that_nobody_reads_is_the_end(server, raw):
    connection = raw(server)
    connection.send(get(method="POST", fields="Content-Length: 10\r\n", body=b"four"))
    assert connection.read().status == 200
    connection.finish_sending()
    connection.expect_closed()


def test_a_reset_at_any_byte_leaves_nothing_behind(server, raw):
    whole = get(method="POST", fields="Content-Length: 5\r\n", body=b"hello") + GET
    for length in range(len(whole) + 1):
        connection = raw(server)
        connection.send(whole[:length])
        connection.reset()
    assert raw(server).send(GET).read().body == HELLO


def test_a_reset_in_a_large_answer_leaves_nothing_behind(server, raw):
    for wanted in (0, 1, 100, 70_000, 400_000):
        connection = raw(server)
        connection.send(get("/large") * 30)
        connection._exactly(wanted, "part of an answer")
        connection.reset()
    assert raw(server).send(GET).read().body == HELLO


def test_a_close_with_answers_unread_leaves_nothing_behind(server, raw):
    for _ in range(20):
        connection = raw(server)
        connection.send(GET * 20)
        connection.close()
    assert raw(server).send(GET).read().body == HELLO


# --- HTTP/1.0 (F48)


def test_an_http_1_0_client_may_keep_its_connection(server, raw):
    """The answer says so, since it is not that version's preset (RFC 9112 appendix C.2.2)."""
    connection = raw(server)
    keep = get(version="1.0", fields="Connection: Keep-Alive\r\n")
    for _ in range(3):
        answer = connection.send(keep).read()
        assert (answer.body, answer.framing) == (HELLO, "length")
        assert answer.field("connection").lower() == "keep-alive"
    connection.expect_open()
    assert connection.send(get(version="1.0")).read().body == HELLO
    connection.expect_closed()


def test_an_http_1_0_client_that_asks_for_nothing_is_answered_and_closed(server, raw):
    connection = raw(server)
    answer = connection.send(b"GET /hello HTTP/1.0\r\n\r\n").read()
    assert (answer.status, answer.body) == (200, HELLO)
    assert answer.version == "HTTP/1.1"  # RFC 9110 section 6.2: the server's own
    connection.expect_closed()


def test_close_beside_keep_alive_closes(server, raw):
    connection = raw(server)
    assert connection.send(get(version="1.0", fields="Connection: keep-alive, close\r\n")).read().status == 200
    connection.expect_closed()


# --- answers without a body (F47)


@pytest.mark.parametrize("target", ["/hello", "/large", "/none", "/500"])
def test_head_is_answered_as_get_without_the_body(server, raw, target):
    connection = raw(server)
    full = connection.send(get(target)).read()
    head = connection.send(get(target, method="HEAD")).read("HEAD")
    assert head.status == full.status
    assert head.field("content-length") == full.field("content-length") == str(len(full.body))
    assert head.field("content-type") == full.field("content-type")
    assert connection.send(GET).read().body == HELLO
    connection.expect_open()


def test_head_of_an_error_has_no_body(server, raw):
    connection = raw(server)
    connection.send(get(method="HEAD", host=None))
    assert connection.read("HEAD").status == 400
    connection.expect_closed()


@pytest.mark.parametrize("target", ["/204", "/304"])
def test_statuses_without_a_body_have_none(server, raw, target):
    connection = raw(server)
    answer = connection.send(get(target)).read()
    assert (answer.body, answer.framing) == (b"", "none")
    assert connection.send(GET).read().body == HELLO


def test_every_answer_has_a_date_and_a_length(server, raw):
    """F45: RFC 9110 section 6.6.1."""
    connection = raw(server)
    before = time.time()
    answer = connection.send(GET).read()
    told = email.utils.parsedate_to_datetime(answer.field("date")).timestamp()
    assert before - 2 <= told <= time.time() + 1
    assert answer.framing == "length"
    assert len(answer.all("date")) == len(answer.all("server")) == 1
