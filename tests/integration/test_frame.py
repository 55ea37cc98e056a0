# SPDX-License-Identifier: MIT
"""The frame of the integration tests sees what it is there to see: tried against a server that
misbehaves on request (tests/support/fake_weir.py)."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import weir_process
import weir_raw
from weir_process import Misbehaved, Server

SUPPORT = Path(weir_process.__file__).resolve().parent
FAKE = [sys.executable, str(SUPPORT / "fake_weir.py")]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def fake(tmp_path):
    """fake(KEY=VALUE...) is a server that does so; the test itself judges it."""
    servers = []

    def make(**conf):
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(folder, {"fake": conf}, command=FAKE))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


# --- the server's process


def test_a_good_server_passes(fake):
    server = fake(answers=[OK], say=["info: all is well", "debug: errors: none"]).start()
    assert weir_raw.request(server, GET).body == b"hi"
    server.finish()
    assert server.process.returncode == 0


def test_every_listener_is_waited_for(fake):
    server = fake(listen=3).start(listeners=3)
    assert len(set(server.addresses)) == 3
    server.finish()


@pytest.mark.parametrize("line", [
    "weir: assertion failed: x (core/base/buf.c:1, f)",
    "==1==ERROR: AddressSanitizer: heap-use-after-free",
    "==1==ERROR: LeakSanitizer: detected memory leaks",
    "WARNING: ThreadSanitizer: data race (pid=1)",
    "a.c:1:2: runtime error: signed integer overflow",
    "error: something that nobody expected",
    "2026-01-01 worker 1: error: the same with a prefix",
    "weir.json:8:50: error[E0203]: unknown handler",
])
def test_what_a_server_must_not_say_fails(fake, line):
    server = fake(say=[line]).start()
    server.wait_for_line(re.escape(line))
    with pytest.raises(Misbehaved, match=re.escape(line)):
        server.finish()


def test_an_expected_error_passes_and_a_missing_one_fails(fake):
    server = fake(say=["error: disk full"]).start()
    server.expect_error("disk full")
    server.finish()
    server = fake().start()
    server.expect_error("disk full")
    with pytest.raises(Misbehaved, match="disk full"):
        server.finish()


def test_the_wrong_exit_status_fails(fake):
    with pytest.raises(Misbehaved, match="exit status 3, not 0"):
        fake(status=3).start().finish()


def test_a_death_by_signal_fails(fake):
    server = fake().start()
    server.signal(signal.SIGKILL)
    server.wait_exit()
    with pytest.raises(Misbehaved, match="exit status -9"):
        server.finish()


def test_a_server_that_never_listens_fails(fake):
    with pytest.raises(Misbehaved, match="ended before it listened(.|\n)*told to die"):
        fake(die=78).start()


def test_a_refusal_is_seen_by_its_status(fake):
    server = fake(die=78).launch()
    assert server.wait_exit() == 78
    server.exit_status = 78
    server.finish()


def test_a_server_that_does_not_stop_is_killed_and_fails(fake):
    server = fake(deaf=True, child=True).start()
    server.signal(signal.SIGTERM)
    with pytest.raises(Misbehaved, match="still there"):
        server.wait_exit(seconds=0.2)
    tree = server.processes()
    assert len(tree) == 2
    server.kill()
    # A killed orphan may stay a zombie until whoever adopted it looks.
    def gone(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    assert weir_process.eventually(lambda: all(gone(pid) for pid in tree))


def test_a_leaked_descriptor_is_found(fake):
    server = fake(answers=[OK], leak=2).start()
    before = server.descriptor_count()
    assert weir_raw.request(server, GET).status == 200
    with pytest.raises(Misbehaved, match="/dev/null"):
        server.descriptors_return_to(before, seconds=0.2)
    server.finish()


def test_returned_descriptors_pass(fake):
    server = fake(answers=[OK]).start()
    before = server.descriptor_count()
    assert weir_raw.request(server, GET).status == 200
    server.descriptors_return_to(before)
    server.finish()


def test_the_fixture_fails_a_test_that_passed(tmp_path):
    """The same through pytest, teardown included, in a run of its own."""
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(SUPPORT)!r})\npytest_plugins = ['weir_fixtures']\n")
    (tmp_path / "test_it.py").write_text(
        "def test_good(weir, curl):\n"
        "    server = weir({'fake': {'answers': ['HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi']}})\n"
        "    assert curl(server.url()).body == b'hi'\n"
        "def test_bad(weir):\n"
        "    weir({'fake': {'say': ['error: out of luck'], 'status': 0}}).wait_for_line('luck')\n")
    wrapper = tmp_path / "weir"
    wrapper.write_text(f"#!/bin/sh\nexec {FAKE[0]} {FAKE[1]} \"$@\"\n")
    wrapper.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
         "--rootdir", str(tmp_path), str(tmp_path / "test_it.py")],
        env=dict(os.environ, WEIR_BIN=str(wrapper)), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1
    assert "unexpected error: error: out of luck" in done.stdout
    assert "tests: 2 passed, 1 failed, 0 skipped" in done.stdout  # both bodies, one teardown


# --- the client


def test_reads_what_is_right(fake, raw):
    server = fake(answers=[
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\r\nA: 1\r\na:\t2 \r\nEmpty:\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00A\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ]).start()
    with raw(server) as connection:
        answer = connection.send(GET).read()
        assert (answer.status, answer.reason, answer.body, answer.framing) == (200, "Fine", b"abc", "length")
        assert answer.field("a") == "1, 2" and answer.field("empty") == "" and answer.field("b") is None
        assert [i.status for i in answer.interim] == [100]
        answer = connection.send(GET, "bytes").read()
        assert (answer.body, answer.trailers, answer.framing) == (b"abc0123456789", [("T", "x")], "chunked")
        connection.expect_open()
        assert connection.send(GET, 7).read().status == 304
        assert connection.send(GET).read().body == b""
        answer = connection.send(GET).read()
        assert (answer.body, answer.framing) == (b"until the end", "close")
        connection.expect_closed()
    server.finish()


HEAD = "HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("why, answer", [
    ("no CR", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    ("a bare CR in a value", HEAD + "A: b\rc\r\nContent-Length: 0\r\n\r\n"),
    ("another version", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("lower case", "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("no space after the status", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    ("four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("a space before the colon", HEAD + "Content-Length : 0\r\n\r\n"),
    ("a folded line", HEAD + "A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    ("a NUL in a value", HEAD + "A: b\0c\r\nContent-Length: 0\r\n\r\n"),
    ("two lengths", HEAD + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
    ("a signed length", HEAD + "Content-Length: +0\r\n\r\n"),
    ("length and coding", HEAD + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("another coding", HEAD + "Transfer-Encoding: gzip\r\n\r\n"),
    ("a length in a 204", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n"),
    ("a coding in a 100", "HTTP/1.1 100 C\r\nTransfer-Encoding: chunked\r\n\r\n" + OK),
    ("a body that is too short", HEAD + "Content-Length: 3\r\n\r\nab"),
    ("a chunk without a size", HEAD + "Transfer-Encoding: chunked\r\n\r\n\r\nabc"),
    ("a chunk size in hexadecimal notation", HEAD + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"),
    ("a chunk that is too long", HEAD + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
    ("no last chunk", HEAD + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ("no end of the trailers", HEAD + "Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n"),
    ("nothing", ""),
])
def test_refuses_what_is_wrong(fake, raw, why, answer):
    server = fake(answers=[answer]).start()
    with pytest.raises(weir_raw.BadAnswer):
        raw(server).send(GET).read()
    server.finish()


def test_tells_a_close_from_a_reset(fake, raw):
    for end, seen in (("close", weir_raw.CLOSED), ("reset", weir_raw.RESET), ("open", weir_raw.OPEN)):
        server = fake(answers=[OK], end=end).start()
        with raw(server) as connection:
            assert connection.send(GET).read().status == 200
            assert connection.wait_end(seconds=0.2 if end == "open" else 10) == seen
        server.finish()
    with raw(fake(answers=["HTTP/1.1 200 OK\r\n\r\nshort"], end="reset").start()) as connection:
        with pytest.raises(weir_raw.BadAnswer):
            connection.send(GET).read()


def test_an_answer_too_many_is_noticed(fake, raw):
    server = fake(answers=[OK + OK]).start()
    with raw(server) as connection:
        assert connection.send(GET).read().status == 200
        with pytest.raises(weir_raw.BadAnswer, match="after the last answer"):
            connection.wait_end()
    server.finish()


def test_splits_at_every_point():
    assert weir_raw.ways(b"abc") == ["whole", "bytes", 1, 2]


def test_bounds_grow_with_the_machine(monkeypatch):
    monkeypatch.setenv("WEIR_TEST_SLOW", "3")
    assert weir_process.slow(2) == 6
    monkeypatch.setenv("WEIR_TEST_SLOW", "nonsense")
    assert weir_process.slow(2) == 2
    monkeypatch.delenv("WEIR_TEST_SLOW")
    assert weir_process.slow(2) == 2


def test_curl_reads_status_fields_and_body(fake, curl):
    server = fake(answers=[OK.replace("OK", "OK\r\nX-A: b: c")]).start()
    answer = curl(server.url("/x"))
    assert (answer.status, answer.field("x-a"), answer.body) == (200, "b: c", b"hi")
    server.finish()
