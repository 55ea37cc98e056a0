# SPDX-License-Identifier: MIT
"""The benchmark's floor answers what it should, and the harness measures: ratios gate nothing, but
a harness that no longer works is noticed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import weir_process
import weir_raw

FLOOR = Path(os.environ["WEIR_BUILDDIR"]) / "tests/bench/floor"
COMPARE = Path(os.environ["WEIR_SRCDIR"]) / "tests/bench/compare"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def floor():
    processes = []

    def start(*options):
        process = subprocess.Popen([FLOOR, *options], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        processes.append(process)
        return process.stderr.readline().decode().split()[-1], process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_floor_answers_whole_and_byte_by_byte_and_split_at_every_point(floor, raw):
    address, _ = floor()
    with raw(address) as connection:
        for how in weir_raw.ways(GET):
            answer = connection.send(GET, how).read()
            assert (answer.status, answer.body) == (200, b"x" * 1024)
        connection.expect_open()


def test_the_floor_answers_pipelined_requests(floor, raw):
    address, _ = floor("--body", "10")
    with raw(address) as connection:
        connection.send(GET * 200)
        assert [connection.read().body for _ in range(200)] == [b"x" * 10] * 200
        connection.expect_open()


@pytest.mark.parametrize("sendfile", ["0", "1"])
@pytest.mark.parametrize("size", [0, 65536, 5_000_000])
def test_the_floor_answers_large_bodies(floor, raw, size, sendfile):
    address, _ = floor("--body", str(size), "--sendfile", sendfile)
    with raw(address) as connection:
        connection.send(GET * 3)
        assert [connection.read().body == b"x" * size for _ in range(3)] == [True] * 3
        connection.expect_open()


def test_the_floor_closes_when_told(floor, raw):
    address, _ = floor("--close", "1")
    with raw(address) as connection:
        assert connection.send(GET).read().field("connection") == "close"
        connection.expect_closed()


def test_the_floor_frees_a_connection_whose_request_and_fin_came_in_one(floor, raw):
    address, process = floor("--status", "304 Not Modified")
    before = len(weir_process.descriptors(process.pid))
    for _ in range(50):
        connection = raw(address)
        connection.send(GET)
        connection.finish_sending()
        assert connection.read().status == 304
        connection.expect_closed()
    assert weir_process.eventually(lambda: len(weir_process.descriptors(process.pid)) == before)


def test_the_floor_answers_when_a_body_has_come_whole(floor, raw):
    address, _ = floor("--request-body", "7")
    post = b"POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n\r\n\r\nabc"
    with raw(address) as connection:
        for how in weir_raw.ways(post):
            assert connection.send(post, how).read().status == 200
        connection.send(post[:-1])
        assert weir_raw.request(address, post).status == 200  # one thread: what was sent before has been looked at
        connection.expect_open()  # and not answered
        connection.send(b"c" + post)
        assert [connection.read().status for _ in range(2)] == [200] * 2


def test_the_harness_measures_the_floor_weir_and_their_peers(tmp_path):
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not shutil.which("wrk") or not os.access(nginx, os.X_OK) or not os.access(haproxy, os.X_OK):
        pytest.skip("needs wrk, nginx and haproxy")
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, COMPARE, "--rounds", "1", "--seconds", "1",
         "--workloads", "404,logged,proxy-post", "--floor", FLOOR, "--nginx", nginx, "--haproxy", haproxy,
         "--json", figures, "--markdown"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=weir_process.slow(120))
    assert done.returncode == 0, done.stderr
    assert "| 1 KiB file, log, header, metrics |" in done.stdout
    assert "| 64 KiB sent, 1 KiB back |" in done.stdout
    rows = json.loads(figures.read_text())["rows"]
    assert [row["workload"] for row in rows] == ["404", "logged", "proxy-post"]
    for row in rows:
        assert row["weir"] > 0 and row["nginx"] > 0 and row["haproxy" if row["proxied"] else "floor"] > 0
