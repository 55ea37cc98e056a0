# SPDX-License-Identifier: MIT
"""`on_crash` of a module's entry: whether a crash in it costs a worker, which is replaced, or ends the server (F79)."""

import json
import os
import signal
from pathlib import Path

import pytest
from test_crash import PLAIN, ask, is_replaced, workers
from weir_process import eventually
from weir_site import route

MODULE = f"{os.environ['WEIR_BUILDDIR']}/tests/support/.libs/libcrash.so"


def served(weir, policy, **keys):
    return weir({
        "modules": ["respond", {"name": "crash", "path": MODULE, **({} if policy is None else {"on_crash": policy})}],
        "workers": {"processes": 2, "stall_timeout": "300ms"},
        "servers": [{"listen": "127.0.0.1:0",
                     "routes": [route("/large", "x" * 4_000_000), {"use": ["crash"], "handle": "crash"}]}],
    }, env=PLAIN, **keys)


@pytest.mark.parametrize("policy", [None, "restart"])
def test_the_preset_replaces_the_worker(weir, raw, policy):
    running = served(weir, policy)
    running.expect_error(".")
    before = workers(running)
    ask(raw, running, "/access/segv")
    running.wait_for_line("in module crash, hook access.*it is replaced")
    assert is_replaced(running, raw, before)


@pytest.mark.parametrize("way", ["segv", "abort", "loop"])
def test_stop_ends_the_server_and_says_why(weir, raw, way):
    running = served(weir, "stop", exit_status=1)
    running.expect_error(".")
    ask(raw, running, f"/access/{way}")
    running.wait_for_line("in module crash, hook access.*the server ends, as the module's on_crash says", 20)
    running.wait_exit()
    assert "it is replaced" not in running.log


def test_stop_answers_what_the_other_workers_have_accepted(weir, raw):
    running = served(weir, "stop", exit_status=1)
    running.expect_error(".")
    # Connections enough for both workers; each has an answer on its way that its client does not read yet.
    clients = [raw(running).send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(32)]
    heads = [client.read_head() for client in clients]
    ask(raw, running, "/access/segv")
    running.wait_for_line("stopping: what was accepted is answered")
    whole = 0
    for client, head in zip(clients, heads):
        try:
            whole += len(client.finish(head).body) == 4_000_000
        except (OSError, AssertionError):
            pass  # its worker is the one that crashed
    running.wait_exit()
    assert whole > 0


def test_stop_is_about_that_module_alone(weir, raw):
    """A worker that is killed from outside crashed in no module."""
    running = served(weir, "stop")
    running.expect_error(".")
    before = workers(running)
    os.kill(min(before), 9)
    running.wait_for_line("killed by SIGKILL.*it is replaced")
    assert is_replaced(running, raw, before)


def test_a_reload_may_change_it(weir, raw):
    running = served(weir, "stop")
    running.expect_error(".")
    running.config["modules"][1]["on_crash"] = "restart"
    Path(running.folder, "weir.json").write_text(json.dumps(running.config))
    running.signal(signal.SIGHUP)
    running.wait_for_line("generation 2 serves with 2 workers")
    assert eventually(lambda: len(workers(running)) == 2)  # those of generation 1 have ended
    before = workers(running)
    ask(raw, running, "/access/segv")
    running.wait_for_line("generation 2, .*in module crash, hook access.*it is replaced")
    assert is_replaced(running, raw, before)
