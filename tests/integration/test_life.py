# SPDX-License-Identifier: MIT
"""The life of modules in the real server (DESIGN.md section 5): what is called when and on which thread,
across reloads; a start that fails changes nothing; what crashes or hangs is named."""

import json
import os
import signal
from pathlib import Path

import pytest
from weir_process import eventually, slow
from weir_site import get

PLAIN = {f"{name}_OPTIONS": os.environ.get(f"{name}_OPTIONS", "") + ":handle_segv=0:handle_abort=0"
         for name in ("ASAN", "TSAN")}


def stall(milliseconds):
    """For workers.stall_timeout: on a busy machine what waits for its turn is not to pass for stuck."""
    return f"{slow(milliseconds):.0f}ms"


def module(name, note, **options):
    path = Path(os.environ["WEIR_BUILDDIR"], f"tests/support/.libs/lib{name}.so")
    return {"name": name, "path": str(path), "options": {"note": str(note), **options}}


def config(note, first=None, second=None, **workers):
    return {"modules": [module("life_one", note, **(first or {})), module("life_two", note, **(second or {}))],
            "workers": {"processes": 1, **workers},
            "servers": [{"listen": "127.0.0.1:0", "routes": [{"handle": "life_one"}]}]}


def lives(note):
    """{process: ["NAME FUNCTION [LOOP] THREAD deaf", ...]}, in the order in which they began."""
    found = {}
    for line in note.read_text().splitlines() if note.exists() else []:
        process, _, rest = line.partition(" ")
        found.setdefault(process, []).append(rest)
    return found


def ask(raw, server):
    return raw(server).send(get("/")).read().body


def start_over(server, options):
    """Reloads with other options of its first module."""
    file = server.folder / "weir.json"
    other = json.loads(file.read_text())
    other["modules"][0]["options"].update(options)
    file.write_text(json.dumps(other))
    server.signal(signal.SIGHUP)


def test_modules_are_called_in_order_on_their_threads(weir, raw, tmp_path):
    note = tmp_path / "note"
    server = weir(config(note, loops=2))
    assert ask(raw, server) == b"alive"
    server.finish()
    [life] = lives(note).values()
    # Both loops end by themselves, so whose loop_stop comes first is not settled.
    up, down = life[:10], life[10:]
    assert up == ["life_one worker_start main deaf", "life_two worker_start main deaf",
                  "life_one loop_start 0 main deaf", "life_two loop_start 0 main deaf",
                  "life_one loop_start 1 other deaf", "life_two loop_start 1 other deaf",
                  "life_one live main deaf", "life_two live main deaf",
                  "life_two drain main deaf", "life_one drain main deaf"]
    for loop, thread in (("0", "main"), ("1", "other")):
        assert [line for line in down if f"loop_stop {loop}" in line] == [
            f"life_two loop_stop {loop} {thread} deaf", f"life_one loop_stop {loop} {thread} deaf"]
    assert down[4:] == ["life_two worker_stop main deaf", "life_one worker_stop main deaf"]


def test_the_new_generation_is_live_before_the_old_one_drains(weir, raw, tmp_path):
    note = tmp_path / "note"
    server = weir(config(note))
    [old] = lives(note)
    kept = raw(server)
    assert kept.send(get("/")).read().body == b"alive"
    server.signal(signal.SIGHUP)
    assert eventually(lambda: any("drain" in line for line in lives(note)[old]))
    both = lives(note)
    [new] = both.keys() - {old}
    assert "life_two live main deaf" in both[new]
    # What was accepted is still served, by modules that have not stopped.
    assert not any("stop" in line for line in both[old])
    assert kept.send(get("/")).read().body == b"alive"
    assert eventually(lambda: lives(note)[old][-1] == "life_one worker_stop main deaf")
    assert ask(raw, server) == b"alive"


@pytest.mark.parametrize("where", ["worker_start", "loop_start 0", "loop_start 1"])
def test_a_start_that_fails_names_the_module_and_begins_nothing(weir, tmp_path, where):
    note = tmp_path / "note"
    server = weir(config(note, second={"in": where, "way": "fail"}, loops=2), listeners=0, exit_status=1)
    server.expect_error(".")
    server.wait_exit()
    name = where.split()[0]
    assert f"module life_two, hook {name}: failed: Connection refused" in server.log
    assert f"{name} failed: Connection refused" in server.log and "/modules/1" in server.log
    [life] = lives(note).values()
    assert life[-1] == "life_one worker_stop main deaf"
    assert not any("live" in line.split() or "drain" in line for line in life)
    stopped = [line.split()[0] + line.split()[2] for line in life if "loop_stop" in line]
    if where == "loop_start 0":
        assert stopped == ["life_one0"]
    if where == "loop_start 1":
        assert sorted(stopped) == ["life_one0", "life_one1", "life_two0"]
    assert ("life_two worker_stop main deaf" in life) == (name == "loop_start")


def test_a_reload_whose_start_fails_changes_nothing(weir, raw, tmp_path):
    note = tmp_path / "note"
    server = weir(config(note))
    start_over(server, {"in": "worker_start", "way": "report"})
    server.expect_error(".")
    server.wait_for_line("generation 2 failed, generation 1 serves on")
    assert "there is no such way" in server.log and "/modules/0/options/way" in server.log
    assert ask(raw, server) == b"alive"
    first, second = lives(note).values()
    assert second == ["life_one worker_start main deaf"]
    assert not any("drain" in line for line in first)


@pytest.mark.parametrize("where", ["worker_start", "loop_start 0"])
def test_a_crash_in_a_start_is_named(weir, tmp_path, where):
    server = weir(config(tmp_path / "note", second={"in": where, "way": "segv"}), listeners=0, exit_status=1,
                  env=PLAIN)
    server.expect_error(".")
    server.wait_exit()
    assert f"in module life_two, hook {where.split()[0]}" in server.log


@pytest.mark.parametrize("where", ["drain", "loop_stop 0", "worker_stop"])
def test_a_crash_on_the_way_down_is_named(weir, tmp_path, where):
    server = weir(config(tmp_path / "note", second={"in": where, "way": "segv"}), env=PLAIN)
    server.expect_error(".")
    server.signal(signal.SIGTERM)
    server.wait_exit()
    assert f"in module life_two, hook {where.split()[0]}" in server.log


@pytest.mark.parametrize("where", ["live", "drain", "worker_stop"])
def test_one_that_does_not_come_back_is_named_and_ended(weir, raw, tmp_path, where):
    is_live = where != "live"
    server = weir(config(tmp_path / "note", second={"in": where, "way": "loop"}, stall_timeout=stall(500)), env=PLAIN,
                  listeners=1 if is_live else 0, exit_status=0 if is_live else 1)
    server.expect_error(".")
    if is_live:
        assert ask(raw, server) == b"alive"
        server.signal(signal.SIGTERM)
    server.wait_for_line(f"is stuck in module life_two, hook {where}, for longer than workers.stall_timeout", 20)
    server.wait_exit()


def test_timers_tick_on_every_loop_until_it_drains(weir, raw, tmp_path):
    note = tmp_path / "note"
    server = weir(config(note, first={"tick": "5ms"}, loops=2))
    assert eventually(lambda: {"life_one tick 0 main", "life_one tick 1 other"} <= {
        line.removesuffix(" deaf") for life in lives(note).values() for line in life})
    kept = raw(server).send(get("/")[:-2])  # a request that is yet to come keeps it draining
    server.signal(signal.SIGTERM)
    assert eventually(lambda: any("drain" in line for life in lives(note).values() for line in life))
    server.wait_for_line("draining: no new connections")
    kept.send(b"\r\n")
    assert kept.read().body == b"alive"
    server.wait_exit()
    [life] = lives(note).values()
    drained = life.index("life_two drain main deaf")
    # The first loop's have ended before; the other hears of it a moment later.
    assert not any("tick 0" in line for line in life[drained:])
    assert not any("tick" in line for line in life[life.index("life_one loop_stop 1 other deaf"):])


def test_a_timer_that_does_not_come_back_is_named(weir, tmp_path):
    server = weir(config(tmp_path / "note", first={"tick": "5ms", "in": "tick 0", "way": "loop"},
                         stall_timeout=stall(500)), env=PLAIN)
    server.expect_error(".")
    server.wait_for_line("is stuck in module life_one, hook timer, for longer than workers.stall_timeout", 20)


ONE_THREAD = {"pools": {"default": {"min": 1, "max": 1, "idle_timeout": False}}}


def test_threads_of_pools_keep_what_modules_want(weir, raw, tmp_path):
    note = tmp_path / "note"
    server = weir({**config(note, first={"works": True}), **ONE_THREAD})
    assert [ask(raw, server) for _ in range(3)] == [b"worked"] * 3
    server.finish()
    [life] = lives(note).values()
    assert [line for line in life if "thread_" in line or "job" in line] == [
        "life_one thread_start other deaf", *["life_one job other deaf"] * 3, "life_one thread_stop other deaf"]
    assert life[-3:] == ["life_one thread_stop other deaf", "life_two worker_stop main deaf",
                         "life_one worker_stop main deaf"]


def test_a_thread_that_is_idle_takes_along_what_it_kept(weir, raw, tmp_path):
    note = tmp_path / "note"
    server = weir({**config(note, first={"works": True}),
                   "pools": {"default": {"min": 1, "max": 20, "idle_timeout": "1ms"}}})

    def has_left():
        connections = [raw(server).send(get("/")) for _ in range(20)]
        assert all(connection.read().body == b"worked" for connection in connections)
        [life] = lives(note).values()
        return "life_one thread_stop other deaf" in life

    assert eventually(has_left)
    server.finish()
    [life] = lives(note).values()
    assert life.count("life_one thread_start other deaf") == life.count("life_one thread_stop other deaf")


def test_a_thread_that_cannot_be_started_costs_its_job_and_tries_again(weir, raw, tmp_path):
    note = tmp_path / "note"
    server = weir({**config(note, first={"works": True, "in": "thread_start", "way": "fail"}), **ONE_THREAD})
    server.expect_error("module life_one, hook thread_start: failed: Connection refused: its job is not done, the "
                        "next one tries again")
    for _ in range(3):
        answer = raw(server).send(get("/")).read()
        assert answer.status == 503 and answer.field("Retry-After") == "1"
    [first] = lives(note)
    start_over(server, {"in": ""})
    assert eventually(lambda: ask(raw, server) == b"worked")
    server.finish()
    life = lives(note)[first]
    assert life.count("life_one thread_start other deaf") >= 3
    assert not any("job" in line or "thread_stop" in line for line in life)


@pytest.mark.parametrize("where", ["thread_start", "thread_stop"])
def test_a_crash_on_a_thread_of_a_pool_is_named(weir, raw, tmp_path, where):
    server = weir({**config(tmp_path / "note", first={"works": True, "in": where, "way": "segv"}), **ONE_THREAD},
                  env=PLAIN)
    server.expect_error(".")
    connection = raw(server).send(get("/"))
    if where == "thread_stop":
        assert connection.read().body == b"worked"
        server.signal(signal.SIGTERM)
        server.wait_exit()
    line = server.wait_for_line(f"in module life_one, hook {where}")
    assert "(its work on a pool's thread)" in line


@pytest.mark.parametrize("where", ["thread_start", "job", "thread_stop"])
def test_what_a_thread_does_not_come_back_from_is_left_as_it_is(weir, raw, tmp_path, where):
    """No stall, and no end of its worker; its module is not ended around it, the other is."""
    note = tmp_path / "note"
    server = weir({**config(note, first={"works": True, "in": where, "way": "loop"}, stall_timeout=stall(400)),
                   **ONE_THREAD})
    connection = raw(server).send(get("/"))
    if where == "thread_stop":
        assert connection.read().body == b"worked"
    else:
        assert eventually(lambda: any(where in line for line in lives(note).popitem()[1]))
        connection.reset()
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "is stuck" not in server.log
    assert "module life_one: stopped while threads of a pool were still at its work" in server.log
    [life] = lives(note).values()
    assert life[-1] == "life_two worker_stop main deaf" and "life_one worker_stop main deaf" not in life
