# SPDX-License-Identifier: MIT
"""One budget of memory a worker (DESIGN.md section 1, rule 9; workers.memory): a thousand clients that
ask for much and read nothing cost no more than it says, and the server goes on serving others."""

import resource
import socket

import pytest
from weir_process import eventually, is_instrumented, resident_bytes, slow
from weir_site import GET, HELLO, get, route, site

MANY = 1000
MEBIBYTE = 1 << 20
BUDGET = 64 * MEBIBYTE


@pytest.fixture(autouse=True)
def descriptors():
    """Enough of them for both ends, where the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MANY + 500
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"needs {wanted} descriptors, the hard limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident(server):
    return resident_bytes(server.pid)


def stalled(raw, server, target, times=1):
    """A connection that asks and reads nothing; `times`: more than the kernel's buffers take."""
    connection = raw(server)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.send(get(target) * times)
    return connection


def ordinary(raw, server):
    """The status of an ordinary request."""
    with raw(server) as connection:
        return connection.send(GET).read().status


@pytest.mark.skipif(is_instrumented(), reason="memory is not judged under sanitizers")
def test_stalled_readers_of_a_large_file_cost_next_to_no_memory(weir, raw, tmp_path):
    (tmp_path / "www").mkdir()
    with open(tmp_path / "www" / "large.bin", "wb") as file:
        file.truncate(10 * MEBIBYTE)
    config = site(route("/hello", "hello"), {"match": "/*", "handle": {"static": str(tmp_path / "www")}},
                  top={"workers": {"memory": "64m"}})
    config["modules"].append("static")
    server = weir(config)
    assert ordinary(raw, server) == 200
    before = resident(server)
    for _ in range(MANY):
        stalled(raw, server, "/large.bin")
    assert ordinary(raw, server) == 200
    assert resident(server) - before < BUDGET / 2
    assert "workers.memory" not in server.log


@pytest.mark.skipif(is_instrumented(), reason="memory is not judged under sanitizers")
def test_stalled_readers_of_answers_in_memory_stay_within_the_budget(weir, raw):
    server = weir(site(route("/hello", "hello"), route("/large", "x" * MEBIBYTE), top={"workers": {"memory": "64m"}}))
    assert ordinary(raw, server) == 200
    before = resident(server)
    most = 0
    for i in range(MANY):
        stalled(raw, server, "/large", 10)
        if i % 50 == 0:
            most = max(most, resident(server) - before)
    # The allocator's own share, and what the kernel rounds to pages, comes on top.
    assert most < BUDGET * 1.5
    # Whoever has been stalled for a second makes room for others.
    assert eventually(lambda: ordinary(raw, server) == 200, 30)
    assert "workers.memory (64 MiB) is used up" in server.log


def test_a_new_request_is_told_to_come_again_when_memory_is_used_up(weir, raw):
    server = weir(site(route("/hello", "hello"), route("/large", "x" * MEBIBYTE), top={"workers": {"memory": "4m"}}))
    answers = []

    def is_full():
        stalled(raw, server, "/large", 10)
        with raw(server) as connection:
            answers.append(connection.send(GET).read())
        return answers[-1].status == 503

    assert eventually(is_full, slow(20))
    assert answers[-1].field("Retry-After") == "1"
    assert answers[-1].field("Connection") == "close"
    for connection in raw.connections:
        connection.close()
    assert eventually(lambda: ordinary(raw, server) == 200)
    with raw(server) as connection:
        assert connection.send(GET).read().body == HELLO
