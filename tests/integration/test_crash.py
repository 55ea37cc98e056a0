# SPDX-License-Identifier: MIT
"""A module that crashes costs its worker's requests and nothing else, and is named (DESIGN.md section 3,
F79, F126): in every hook, by a fault, an abort, an overflow of the stack or an endless loop."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import weir_raw
from weir_process import eventually, process_tree
from weir_site import route

HOOKS = ["head", "rewrite", "access", "request-body", "prepare", "content", "reply-head", "reply-body", "log"]

# Sanitizers have handlers of their own, which end a process that faults with a status.
HAS_SANITIZER = "-fsanitize" in Path(os.environ["WEIR_BUILDDIR"], "Makefile").read_text(errors="replace")
# There, they are told to let it end as it would.
PLAIN = {f"{name}_OPTIONS": os.environ.get(f"{name}_OPTIONS", "") + ":handle_segv=0:handle_abort=0:handle_sigill=0"
         for name in ("ASAN", "TSAN")}
SIGNALS = {"segv": "SIGSEGV", "abort": "SIGABRT", "stack": "SIGSEGV", "loop": "SIG(ABRT|KILL)"}


def served(weir, use=("crash",), handle="crash", **workers):
    module = Path(os.environ["WEIR_BUILDDIR"], "tests/support/.libs/libcrash.so")
    return weir({
        "modules": [{"name": "crash", "path": str(module)}, "respond", "headers"],
        "workers": {"processes": 2, **workers},
        "defaults": {"use": list(use)},
        "servers": [{"listen": "127.0.0.1:0",
                     "routes": [route("/large", "x" * 1_000_000), {"name": "the one", "handle": handle}]}],
    }, env=PLAIN)


def request(path):
    return (f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: x\r\nContent-Length: 4\r\n\r\nbody").encode()


def ask(raw, server, path):
    """None when the connection breaks."""
    with raw(server) as connection:
        try:
            return connection.send(request(path)).read().body
        except (OSError, AssertionError):
            return None


def workers(server):
    return {pid for pid in process_tree(server.pid) if pid != server.pid}


def is_replaced(server, raw, before):
    def is_so():
        now = workers(server)
        return len(now) == 2 and now != before and ask(raw, server, "/fine") == b"alive"

    return eventually(is_so, 20)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("way", ["segv", "abort"])
def test_a_crash_is_named_and_its_worker_replaced(weir, raw, hook, way):
    server = served(weir)
    server.expect_error(".")
    before = workers(server)
    ask(raw, server, f"/{hook}/{way}")
    how = "(killed by SIG|ended with status)" if HAS_SANITIZER else f"killed by {SIGNALS[way]}"
    line = server.wait_for_line(f"worker [01] \\(generation 1, process \\d+\\) {how}.*it is replaced")
    assert f"in module crash, hook {hook.replace('-', ' ')}" in line
    if not HAS_SANITIZER:
        assert f"POST /{hook}/{way}" in line
        if hook not in ("head", "rewrite"):
            assert 'route "the one"' in line
    assert is_replaced(server, raw, before)


@pytest.mark.parametrize("way", ["segv", "loop"])
def test_a_crash_in_a_variable_is_named(weir, raw, way):
    fields = {"headers": {"response": {"set": {"X-Way": "{crash.way}"}}}}
    server = served(weir, use=("crash", fields), stall_timeout="300ms")
    server.expect_error(".")
    assert raw(server).send(request("/fine")).read().field("x-way") == "alive"
    before = workers(server)
    ask(raw, server, f"/variable/{way}")
    server.wait_for_line("is stuck in module crash, hook variable" if way == "loop"
                         else "in module crash, hook variable.*it is replaced", 20)
    assert is_replaced(server, raw, before)


@pytest.mark.skipif(HAS_SANITIZER, reason="the sanitizer's handler is in the place of ours")
def test_an_overflow_of_the_stack_is_named(weir, raw):
    server = served(weir)
    server.expect_error(".")
    before = workers(server)
    ask(raw, server, "/content/stack")
    server.wait_for_line("killed by SIGSEGV.* in module crash, hook content, .*POST /content/stack")
    assert is_replaced(server, raw, before)


@pytest.mark.skipif(HAS_SANITIZER, reason="the sanitizer's handler is in the place of ours")
def test_the_log_shows_the_way_there(weir, raw):
    server = served(weir)
    server.expect_error(".")
    ask(raw, server, "/content/segv")
    server.wait_for_line("crash: SIGSEGV in module crash")
    server.wait_for_line(r"libcrash\.so\(.*\+0x")


@pytest.mark.parametrize("hook", HOOKS)
def test_an_endless_loop_is_found_and_named(weir, raw, hook):
    server = served(weir, stall_timeout="300ms")
    server.expect_error(".")
    before = workers(server)
    ask(raw, server, f"/{hook}/loop")
    line = server.wait_for_line(f"is stuck in module crash, hook {hook.replace('-', ' ')}.*workers.stall_timeout", 20)
    if not HAS_SANITIZER:
        assert f"POST /{hook}/loop, request x" in line or f"POST /{hook}/loop, for longer" in line
    server.wait_for_line("killed by SIG(ABRT|KILL)|ended with status", 20)
    assert is_replaced(server, raw, before)


def test_the_loop_that_is_stuck_is_named_and_not_another(weir, raw):
    """With several loops: the one on the main thread is well."""
    server = served(weir, stall_timeout="300ms", processes=1, loops=4)
    server.expect_error(".")
    connections = [raw(server) for _ in range(20)]
    for connection in connections:
        connection.send(request("/content/loop"))
    line = server.wait_for_line("is stuck in module crash, hook content", 20)
    if not HAS_SANITIZER:
        assert 'route "the one", POST /content/loop' in line
    server.wait_for_line("(killed by SIG(ABRT|KILL)|ended with status).*in module crash, hook content", 20)
    for connection in connections:
        connection.close()


def test_a_kill_from_outside_is_no_module_s_fault(weir, raw):
    server = served(weir, processes=1)
    server.expect_error(".")
    [victim] = workers(server)
    os.kill(victim, signal.SIGKILL)
    assert "module" not in server.wait_for_line(f"process {victim}\\) killed by SIGKILL.*it is replaced")
    assert eventually(lambda: workers(server) and ask(raw, server, "/fine") == b"alive", 20)
    # Its work is said, and that it was at it.
    [victim] = workers(server)
    connection = raw(server).send(request("/job/loop"))
    server.wait_for_line("crash: work of a pool's thread begins")
    os.kill(victim, signal.SIGKILL)
    line = server.wait_for_line(f"process {victim}\\) killed by SIGKILL.*it is replaced")
    assert "killed by SIGKILL while it was in module crash, hook access (its work on a pool's thread)" in line
    connection.close()


def test_a_worker_that_is_held_is_no_stall(weir, raw):
    """Stopped, or under a debugger; it is one once it goes on and still does not come back."""
    server = served(weir, stall_timeout="200ms", processes=1)
    server.expect_error(".")
    [worker] = workers(server)
    with raw(server) as connection:
        connection.send(request("/fine")).read()
        connection.send(request("/content/loop"))
        os.kill(worker, signal.SIGSTOP)
        assert not eventually(lambda: "is stuck" in server.log, 0.5)
        os.kill(worker, signal.SIGCONT)
        server.wait_for_line("is stuck in module crash, hook content")


def test_a_slow_job_on_a_pool_is_no_stall(weir, raw):
    """A pool's thread may take its time; its request's own limit ends it."""
    server = served(weir, stall_timeout="200ms")
    connection = raw(server).send(request("/job/loop"))
    server.wait_for_line("crash: work of a pool's thread begins")
    for _ in range(100):
        assert ask(raw, server, "/fine") == b"alive"
    assert "is stuck" not in server.log
    server.kill()  # the job never ends
    server.exit_status = -9
    connection.close()


@pytest.mark.parametrize("way", ["segv", "abort"])
def test_a_crash_on_a_pool_thread_is_named(weir, raw, way):
    server = served(weir)
    server.expect_error(".")
    before = workers(server)
    ask(raw, server, f"/job/{way}")
    server.wait_for_line("in module crash, hook access \\(its work on a pool's thread\\).*it is replaced")
    assert is_replaced(server, raw, before)


@pytest.mark.parametrize("hook", ["accept", "open", "close"])
def test_a_crash_in_a_hook_of_connections_is_named(weir, raw, hook):
    server = served(weir, use=[{"crash_connection": hook}])
    server.expect_error(".")
    ask(raw, server, "/fine")
    server.wait_for_line(f"in module crash, hook {hook}.*it is replaced")


def test_a_module_that_exits_is_named(weir, raw):
    server = served(weir)
    server.expect_error(".")
    before = workers(server)
    ask(raw, server, "/content/exit")
    server.wait_for_line("ended with status 3 in module crash, hook content.*it is replaced")
    assert is_replaced(server, raw, before)


def test_status_counts_crashes_by_module(weir, raw):
    server = served(weir, processes=1)
    server.expect_error(".")

    def deaths():
        with weir_raw.Connection(f"unix:{server.folder}/control.sock") as connection:
            answer = connection.send(b"GET /status HTTP/1.1\r\nHost: weir\r\n\r\n").read()
        return json.loads(answer.body)["deaths"]

    for i in range(2):
        ask(raw, server, "/content/abort")
        assert eventually(lambda: deaths() == {"crash": i + 1} and ask(raw, server, "/fine") == b"alive", 20), deaths()
    [victim] = workers(server)
    os.kill(victim, signal.SIGKILL)
    assert eventually(lambda: deaths() == {"crash": 2, "": 1}, 20), deaths()


def test_the_other_workers_requests_are_unharmed(weir, raw):
    server = served(weir)
    server.expect_error(".")
    kept = [raw(server) for _ in range(30)]
    for connection in kept:
        assert connection.send(request("/fine")).read().body == b"alive"
    downloads = [raw(server).send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 4) for _ in range(10)]
    victim = int(re.search(r"process (\d+)", _crash(server, raw)).group(1))
    alive = whole = 0
    for connection in kept:
        try:
            alive += connection.send(request("/fine")).read().body == b"alive"
        except (OSError, AssertionError):
            continue
    for connection in downloads:
        try:
            whole += all(len(connection.read().body) == 1_000_000 for _ in range(4))
        except (OSError, AssertionError):
            continue
    assert victim not in workers(server)
    assert 0 < alive < 30 and 0 < whole


def _crash(server, raw):
    ask(raw, server, "/content/segv")
    return server.wait_for_line("process \\d+\\) (killed|ended).*it is replaced")
