# SPDX-License-Identifier: MIT
"""Stopping (F21, F70, F74, F78): TERM and QUIT answer what was accepted, a second TERM or INT is now, and
the exit status says that it was as asked."""

import signal
import socket
import time

import pytest
import weir_raw
from weir_process import eventually, slow
from weir_site import GET, HELLO, get, route, site

STOPPING = "draining: no new connections"  # said by the worker, once it is so


def drain(server, number=signal.SIGTERM):
    server.signal(number)
    server.wait_for_line(STOPPING)


def refuses(server):
    try:
        weir_raw.Connection(server).close()
    except (ConnectionRefusedError, ConnectionResetError):  # the latter in the moment of closing
        return True
    return False


def slow_head(server, raw):
    """A connection in the middle of a head that the server has begun to read."""
    connection = raw(server)
    assert connection.send(GET + GET[:20]).read().body == HELLO
    return connection


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_an_unused_server_stops_with_status_0(weir, number):
    server = weir(site())
    server.signal(number)
    assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_idle_connections_are_closed_at_once(weir, raw, number):
    """Cleanly, whether they asked something before or not, and the server does not wait for its
    drain_timeout of 60 s."""
    server = weir(site())
    silent, kept = raw(server), raw(server)
    assert kept.send(GET).read().status == 200
    began = time.monotonic()
    server.signal(number)
    kept.expect_closed()
    if number == signal.SIGTERM:
        silent.finish_sending()
    silent.expect_closed()
    assert server.wait_exit() == 0
    assert time.monotonic() - began < slow(15)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_request_in_flight_is_answered_with_close(weir, raw, number):
    server = weir(site())
    connection = slow_head(server, raw)
    drain(server, number)
    connection.send(GET[20:])
    answer = connection.read()
    assert (answer.body, answer.field("connection")) == (HELLO, "close")
    connection.expect_closed()
    assert server.wait_exit() == 0


def test_new_connections_are_refused_while_it_stops(weir, raw):
    server = weir(site())
    connection = slow_head(server, raw)
    drain(server)
    assert eventually(lambda: refuses(server))
    assert connection.send(GET[20:]).read().body == HELLO
    assert server.wait_exit() == 0


def test_a_large_answer_that_is_being_read_arrives_whole(weir, raw):
    server = weir(site(route("/large", "x" * 3_000_000)))
    connection = raw(server)
    connection.send(get("/large") * 10)
    head = connection.read_head()
    drain(server)
    body = connection._exactly(int(head.field("content-length")), "body")
    assert body == b"x" * 3_000_000
    connection.socket.settimeout(slow(10))
    while connection.ended is None:  # what else was asked: whole answers or none, and then the end
        if not connection.buffer and not connection._more():
            break
        answer = connection.read()
        assert len(answer.body) == 3_000_000
    assert connection.ended in (None, weir_raw.CLOSED)
    assert server.wait_exit() == 0


def test_what_was_asked_before_it_was_told_to_stop_is_answered(weir, raw):
    """The server is held while a request and then TERM arrive."""
    server = weir(site())
    connection = raw(server)
    assert connection.send(GET).read().status == 200
    with server.held():
        connection.send(GET)
        server.signal(signal.SIGTERM)
    assert connection.read().body == HELLO
    connection.expect_closed()
    assert server.wait_exit() == 0



@pytest.mark.parametrize("count", [1, 5])
def test_what_is_asked_before_a_connection_was_closed_is_answered(weir, raw, count):
    """F70, F74, DESIGN.md section 3: a request is lost unless our FIN was sent before its first byte
    arrived; a client that pipelined gets its answers first."""
    server = weir(site())
    connection = raw(server)
    assert connection.send(GET).read().status == 200
    with server.held():
        server.signal(signal.SIGTERM)
        connection.send(GET * count)
    answers = [connection.read() for _ in range(count)]
    assert [answer.body for answer in answers] == [HELLO] * count
    connection.expect_closed()
    assert server.wait_exit() == 0


def test_a_first_request_that_crosses_the_signal_is_answered(weir, raw):
    """F70: connections accepted but not yet read."""
    server = weir(site())
    unused = server.descriptor_count()
    connection = raw(server)
    assert eventually(lambda: server.descriptor_count() > unused)
    with server.held():
        server.signal(signal.SIGTERM)
        connection.send(GET)
    assert connection.read().body == HELLO


def test_what_waits_in_the_listen_queue_is_answered(weir, raw):
    """F70, nothing accepted is reset: the handshake was the system's, the client is connected."""
    server = weir(site())
    with server.held():
        server.signal(signal.SIGTERM)
        waiting = [raw(server).send(GET) for _ in range(5)]
    for connection in waiting:
        assert connection.read().body == HELLO
        connection.expect_closed()
    assert server.wait_exit() == 0


def test_the_second_term_is_now(weir, raw):
    server = weir(site())
    connection = slow_head(server, raw)
    drain(server)
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert connection.wait_end() in (weir_raw.CLOSED, weir_raw.RESET)


def test_two_terms_at_once_are_not_mixed_up(weir, raw):
    """F78: a pending signal is one signal; whichever way it is taken, the server ends."""
    server = weir(site())
    slow_head(server, raw).socket.shutdown(socket.SHUT_WR)
    for _ in range(10):
        server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0


@pytest.mark.parametrize("draining", [False, True])
def test_int_is_now(weir, raw, draining):
    server = weir(site())
    connection = slow_head(server, raw)
    if draining:
        drain(server)
    server.signal(signal.SIGINT)
    assert server.wait_exit() == 0
    assert connection.wait_end() in (weir_raw.CLOSED, weir_raw.RESET)


def test_what_is_open_at_the_drain_timeout_is_cut(weir, raw):
    """F21: the deadline and at most a second."""
    server = weir(site(top={"workers": {"drain_timeout": "1s"}}))
    connection = slow_head(server, raw)
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert 1 <= time.monotonic() - began < slow(3.5)
    server.wait_for_line("drain_timeout")
    assert connection.wait_end() in (weir_raw.CLOSED, weir_raw.RESET)


def test_a_client_that_does_not_read_cannot_keep_it_from_stopping(weir, raw):
    server = weir(site(route("/large", "x" * 1_000_000), top={"workers": {"drain_timeout": "1s"}}))
    raw(server).send(get("/large") * 50)
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0


def test_a_slow_head_is_cut_at_its_own_deadline_also_while_stopping(weir, raw):
    server = weir(site(top={"defaults": {"timeouts": {"head": "1s"}}}))
    connection = slow_head(server, raw)
    drain(server)
    assert connection.read().status == 408
    connection.expect_closed()
    connection.close()
    assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_other_signals_do_not_end_it(weir, raw, number):
    server = weir(site())
    connection = raw(server)
    assert connection.send(GET).read().status == 200
    for _ in range(5):
        server.signal(number)
    assert connection.send(GET).read().status == 200
    assert raw(server).send(GET).read().status == 200


def test_a_unix_socket_stops_as_well(weir, raw, tmp_path):
    server = weir(site(listen=f"unix:{tmp_path}/web.sock"))
    connection = raw(server)
    assert connection.send(GET).read().status == 200
    server.signal(signal.SIGTERM)
    connection.expect_closed()
    assert server.wait_exit() == 0
