# SPDX-License-Identifier: MIT
"""Hooks that wait in every phase, in the real server: answers are whole, log hooks run on when the
client has long been served, stopping waits for them, and connections may be held or dropped."""

import os
import signal
from pathlib import Path

import pytest
import weir_raw
from weir_process import eventually
from weir_site import get, route, server

PATIENT = f"{os.environ['WEIR_BUILDDIR']}/contrib/examples/patient/.libs/patient.so"


def patient(options=None, use=(), loops=1):
    """A server whose one route tells what it was asked for, slowly."""
    return {"modules": ["respond", {"name": "patient", "path": PATIENT}],
            "defaults": {"use": list(use)},
            "workers": {"processes": 1, "loops": loops},
            "servers": [server(route("/new/*", "{path} {target} {header.x-moved}"), route(None, "rest"),
                               use=[{"patient": options or {}}])]}


def lines(file):
    return Path(file).read_text().splitlines() if Path(file).exists() else []


def test_every_phase_may_wait(weir, raw, tmp_path):
    running = weir(patient({"note": str(tmp_path / "note")}))
    connections = [raw(running) for _ in range(8)]
    for turn in range(5):
        for i, connection in enumerate(connections):
            connection.send(get(f"/old/{i}/{turn}"))
        for i, connection in enumerate(connections):
            answer = connection.read()
            assert answer.status == 200
            assert answer.body == f"/new/{i}/{turn} /old/{i}/{turn} yes".encode()
    assert eventually(lambda: len(lines(tmp_path / "note")) == 40)
    assert all(" 200 complete " in line and not line.endswith(" 0") for line in lines(tmp_path / "note"))


def test_a_client_that_leaves_ends_its_waits(weir, raw, tmp_path):
    running = weir(patient({"note": str(tmp_path / "note")}))
    for _ in range(20):
        raw(running).send(get("/old/gone")).reset()
    assert raw(running).send(get("/stays")).read().body == b"rest"
    assert eventually(lambda: any("/stays" in line for line in lines(tmp_path / "note")))


def test_stopping_waits_for_log_hooks(weir, raw, tmp_path):
    running = weir(patient({"note": str(tmp_path / "note"), "log": "700ms"}))
    connection = raw(running)
    assert connection.send(get("/last")).read().body == b"rest"
    running.signal(signal.SIGTERM)
    connection.expect_closed()
    assert running.wait_exit() == 0
    assert len(lines(tmp_path / "note")) == 1
    assert lines(tmp_path / "note")[0].startswith("/last 200 complete ")


def test_stopping_at_once_does_not(weir, raw, tmp_path):
    running = weir(patient({"note": str(tmp_path / "note"), "log": "300s"}))
    assert raw(running).send(get("/last")).read().body == b"rest"
    running.signal(signal.SIGINT)
    assert running.wait_exit() == 0
    assert lines(tmp_path / "note") == []


@pytest.mark.parametrize("gate", [["patient_gate"], ["patient_gate", {"patient_gate": {}, "as": "again"}]])
def test_a_connection_may_be_held(weir, raw, gate):
    running = weir(patient(use=gate))
    assert raw(running).send(get("/new/a") + get("/new/b")).read().body == b"/new/a /new/a "


def test_a_connection_may_be_dropped(weir, raw):
    running = weir(patient(use=["patient_wall"]))
    connection = raw(running)
    assert connection.wait_end() in (weir_raw.CLOSED, weir_raw.RESET)
