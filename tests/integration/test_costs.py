# SPDX-License-Identifier: MIT
"""What a request and an idle connection cost, counted and not timed: system calls, allocations, user
instructions, bytes."""

import os
import re
import resource
import shutil
import signal
import subprocess

import pytest
from weir_process import is_instrumented, process_tree, resident_bytes, slow
from weir_raw import Connection
from weir_site import GET, get, site

HOOKS = 6


# --- system calls

CONNECTIONS = 64
ROUNDS = 40
NOT_COUNTED = {"epoll_wait", "epoll_pwait", "timerfd_settime", "eventfd", "eventfd2", "restart_syscall"}


@pytest.fixture
def files(weir, tmp_path):
    """A server of one file of 1 KiB."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "1k.bin").write_bytes(b"x" * 1024)
    config = site({"handle": {"static": str(tmp_path / "www")}}, limits={"requests_per_connection": False})
    config["modules"] = ["static"]
    return weir(config)


def trace(pid, file):
    """strace, attached to one process and its threads; skips where that is not allowed."""
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", str(file), "-p", str(pid)],
                              stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not re.search(r"^TracerPid:\s*[1-9]", open(f"/proc/{pid}/status").read(), re.M):
        if tracer.poll() is not None:
            pytest.skip(f"strace cannot attach: {tracer.stderr.read().strip()}")
    return tracer


def stop(tracer):
    tracer.send_signal(signal.SIGINT)
    tracer.wait(slow(10))
    tracer.stderr.close()


def counted(file):
    """How often each call was made."""
    calls = {}
    for line in file.read_text().splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match and match.group(1) not in NOT_COUNTED:
            calls[match.group(1)] = calls.get(match.group(1), 0) + 1
    return calls


needs_strace = pytest.mark.skipif(shutil.which("strace") is None or is_instrumented(),
                                  reason="no strace, or sanitizers, which make calls of their own")


@needs_strace
def test_a_request_costs_one_recv_and_one_send(files, tmp_path):
    worker = process_tree(files.pid)[-1]
    clients = [Connection(files) for _ in range(CONNECTIONS)]
    request = get("/1k.bin")

    def ask_all():
        for client in clients:
            client.send(request)
        for client in clients:
            assert client.read().status == 200

    ask_all()
    tracer = trace(worker, tmp_path / "calls")
    for _ in range(ROUNDS):
        ask_all()
    stop(tracer)
    for client in clients:
        client.close()

    calls = counted(tmp_path / "calls")
    requests = CONNECTIONS * ROUNDS
    received = calls.pop("recvfrom", 0) + calls.pop("recvmsg", 0) + calls.pop("read", 0)
    sent = calls.pop("sendto", 0) + calls.pop("sendmsg", 0) + calls.pop("writev", 0)
    # A look at the file and at its root once a second, and at the clock of other machines.
    few = requests // 20
    assert requests <= received <= requests + few
    assert requests <= sent <= requests + few
    assert sum(calls.values()) <= few, calls


@needs_strace
def test_a_connection_of_one_request_that_came_with_it_costs_four_calls(files, tmp_path):
    worker = process_tree(files.pid)[-1]
    with Connection(files) as first:
        assert first.send(get("/1k.bin")).read().status == 200
    os.kill(worker, signal.SIGSTOP)
    clients = [Connection(files).send(get("/1k.bin", fields="Connection: close\r\n")) for _ in range(CONNECTIONS)]
    tracer = trace(worker, tmp_path / "calls")
    os.kill(worker, signal.SIGCONT)
    for client in clients:
        assert client.read().status == 200
        client.expect_closed()
    stop(tracer)

    calls = counted(tmp_path / "calls")
    few = CONNECTIONS // 10
    for name in ("accept4", "recvfrom", "sendto", "close"):
        assert CONNECTIONS <= calls.pop(name) <= CONNECTIONS + few
    assert sum(calls.values()) <= few, calls


# --- instructions and allocations

PROGRAM = os.path.join(os.environ.get("WEIR_BUILDDIR", "."), "tests/bench/hooks")
needs_program = pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="no tests/bench/hooks: built with Check only")


@needs_program
def test_a_small_answer_through_six_hooks_allocates_nothing():
    done = subprocess.run([PROGRAM, str(HOOKS), "500"], capture_output=True, text=True, check=True)
    assert done.stdout == "allocations: 0\n"


@needs_program
def test_counting_allocates_nothing():
    done = subprocess.run([PROGRAM, str(HOOKS), "500", "counted"], capture_output=True, text=True, check=True)
    assert done.stdout == "allocations: 0\n"


def instructions(folder, hooks, requests, *counted):
    """User instructions of the whole run."""
    out = folder / f"callgrind.{hooks}.{requests}"
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", PROGRAM, str(hooks),
                           str(requests), *counted], capture_output=True, text=True)
    if "debuginfo reader" in done.stderr:
        pytest.skip("this valgrind does not read what this compiler says for debuggers")
    assert done.returncode == 0, done.stderr
    return int(re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.M).group(1))


def each(folder, hooks, *counted):
    """User instructions of one request."""
    few, many = 200, 1200
    return (instructions(folder, hooks, many, *counted) - instructions(folder, hooks, few, *counted)) / (many - few)


needs_valgrind = [needs_program, pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind"),
                  pytest.mark.skipif(is_instrumented(), reason="valgrind does not run with sanitizers")]


def counts_instructions(test):
    for mark in needs_valgrind:
        test = mark(test)
    return test


@counts_instructions
def test_six_hooks_with_nothing_to_say_cost_at_most_150_instructions(tmp_path):
    without = each(tmp_path, 0)
    assert 1000 < without < 20000  # it did serve
    assert each(tmp_path, HOOKS) - without <= 150


@counts_instructions
def test_metrics_cost_at_most_5_percent_of_a_small_answer(tmp_path):
    """With them, and what they count of hooks: the clock of this program costs next to nothing."""
    without = each(tmp_path, HOOKS)
    counted = each(tmp_path, HOOKS, "counted")
    assert without < counted <= without * 1.05


# --- memory

IDLE = 9000
IDLE_BYTES = 512


@pytest.fixture
def descriptors():
    """Enough of them, here and in the server, where the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"needs {wanted} descriptors, the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def kept(server):
    """A connection that has had an answer and stays."""
    connection = Connection(server)
    assert connection.send(GET).read().status == 200
    return connection


@pytest.mark.skipif(is_instrumented(), reason="memory is not judged under sanitizers")
def test_an_idle_connection_costs_at_most_512_bytes(descriptors, weir):
    server = weir(site(timeouts={"keepalive": "1h"}))
    for _ in range(10):
        kept(server).close()  # what every server needs once it serves
    before = resident_bytes(server.pid)
    idle = [kept(server) for _ in range(IDLE)]
    assert (resident_bytes(server.pid) - before) / IDLE <= IDLE_BYTES
    # And they are still there.
    assert idle[0].send(GET).read().status == 200
    assert idle[-1].send(GET).read().status == 200
    for connection in idle:
        connection.close()
