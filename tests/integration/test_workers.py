# SPDX-License-Identifier: MIT
"""Workers (DESIGN.md section 3): several processes and loops share the addresses, one that dies is
replaced and costs nobody else anything, none outlives its master, and signals change their number."""

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from weir_load import Load
from weir_process import descriptors, eventually, process_tree
from weir_site import GET, HELLO, route, site


def workers(server):
    """The pids of its workers: all that it started and that is still there."""
    return [pid for pid in process_tree(server.pid) if pid != server.pid]


def serving(weir, processes=2, **rest):
    top = {"workers": {"processes": processes, **rest}}
    return weir(site(route("/hello", "hello"), route("/large", "x" * 1_000_000), top=top))


def test_each_process_and_loop_accepts(weir, raw):
    """By SO_REUSEPORT the kernel spreads connections over the sockets; with a hundred of them every
    process has some."""
    server = serving(weir, processes=3, loops=2)
    assert len(workers(server)) == 3
    connections = [raw(server) for _ in range(100)]
    for connection in connections:
        assert connection.send(GET).read().body == HELLO

    def sockets(pid):
        folder = f"/proc/{pid}/fd"
        return sum(os.readlink(f"{folder}/{fd}").startswith("socket:") for fd in os.listdir(folder))

    counts = [sockets(pid) for pid in workers(server)]
    assert sum(counts) >= 100 and min(counts) > 10, counts


def test_a_worker_that_is_killed_is_replaced(weir, raw):
    server = serving(weir)
    victim, other = workers(server)
    kept = []
    while len(kept) < 40:
        kept.append(raw(server))
        assert kept[-1].send(GET).read().status == 200
    os.kill(victim, signal.SIGKILL)
    server.expect_error(f"process {victim}\\) killed by SIGKILL: it is replaced")
    assert eventually(lambda: len(workers(server)) == 2 and victim not in workers(server))
    alive = 0
    for connection in kept:  # those of the other one go on as if nothing had happened
        try:
            alive += connection.send(GET).read().body == HELLO
        except (OSError, AssertionError):
            continue
    assert 0 < alive < 40
    assert other in workers(server)
    for _ in range(20):
        assert raw(server).send(GET).read().body == HELLO


def test_while_a_worker_is_away_another_accepts_from_its_sockets(weir, raw):
    """A slot without a worker is adopted: no new connection waits for the replacement."""
    server = serving(weir)
    for _ in range(5):
        os.kill(workers(server)[0], signal.SIGKILL)
        for _ in range(20):
            connection = raw(server)
            try:
                assert connection.send(GET).read().body == HELLO
            except OSError:
                continue  # what the dead one had accepted is lost with it
        assert eventually(lambda: len(workers(server)) == 2)
    server.expect_error("killed by SIGKILL")


def test_a_worker_that_is_full_does_not_end_for_the_sockets_of_another(weir, raw):
    """It has no descriptors left to accept from them: they wait for the replacement, and whoever is with
    the one that is full stays."""
    server = weir(site(top={"workers": {"processes": 2}}),
                  command=["/bin/sh", "-c", 'ulimit -n 60; exec "$0" "$@"', f"{os.environ['WEIR_BUILDDIR']}/weir"])
    victim, other = workers(server)
    crowd = [raw(server) for _ in range(200)]
    assert eventually(lambda: all(len(descriptors(pid)) >= 58 for pid in (victim, other)))
    os.kill(victim, signal.SIGKILL)
    server.expect_error("killed by SIGKILL: it is replaced")
    server.wait_for_line("no further socket can be accepted from")
    server.wait_for_line("serves as process")
    assert other in workers(server)
    answered = 0
    for connection in crowd:
        try:
            answered += connection.send(GET).read().body == HELLO
        except (OSError, AssertionError):
            continue
    assert answered > 20


def test_a_worker_told_to_end_answers_what_it_has_and_is_replaced(weir, raw):
    server = serving(weir, processes=1)
    before = workers(server)
    connection = raw(server)
    connection.send(GET[:10])
    assert eventually(lambda: server.log)
    os.kill(before[0], signal.SIGTERM)
    server.wait_for_line("told to end by a signal")
    connection.send(GET[10:])
    assert connection.read().body == HELLO
    assert eventually(lambda: workers(server) and workers(server) != before)
    assert raw(server).send(GET).read().body == HELLO


def test_no_request_is_lost_when_workers_are_told_to_end_under_load(weir):
    """The master starts another before the one that was told closes its doors."""
    server = serving(weir, processes=2)
    with Load(server) as load:
        for _ in range(6):
            victim, answers = workers(server)[0], load.answers
            os.kill(victim, signal.SIGTERM)
            assert eventually(lambda: victim not in workers(server), 30)
            assert eventually(lambda: load.answers > answers + 20, 20)
            assert len(workers(server)) == 2
    assert not load.lost, load.lost[:5]


def test_no_worker_outlives_its_master(weir, raw):
    server = serving(weir)
    pids = workers(server)
    os.kill(server.pid, signal.SIGKILL)
    server.exit_status = -signal.SIGKILL
    server.wait_exit()
    assert eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


def test_ttin_and_ttou_change_the_number_of_workers(weir, raw):
    server = serving(weir, processes=1)
    first = workers(server)
    for count in (2, 3):
        server.signal(signal.SIGTTIN)
        server.wait_for_line(f"{count} workers from now on")
        assert eventually(lambda: len(workers(server)) == count)
    for count in (2, 1):
        server.signal(signal.SIGTTOU)
        assert eventually(lambda: len(workers(server)) == count)
        for _ in range(20):  # the sockets of those that left are somebody else's now
            with raw(server) as connection:
                assert connection.send(GET).read().body == HELLO
    assert workers(server) == first
    server.signal(signal.SIGTTOU)
    server.wait_for_line("one worker has to stay")


def test_a_worker_that_has_served_enough_is_replaced_in_good_order(weir, raw):
    server = serving(weir, processes=2, max_requests=50)
    before = set(workers(server))
    failed = 0

    def are_new():
        nonlocal failed
        for _ in range(20):
            with raw(server) as connection:
                failed += connection.send(GET).read().body != HELLO
        now = set(workers(server))
        return not before & now and len(now) == 2

    assert eventually(are_new, 30)
    assert failed == 0


def test_winch_accepts_no_more_but_answers(weir, raw):
    server = serving(weir)
    connection = raw(server)
    assert connection.send(GET).read().body == HELLO
    server.signal(signal.SIGWINCH)
    server.wait_for_line("no new connections are accepted")
    assert connection.send(GET).read().body == HELLO
    waiting = raw(server).send(GET)
    server.signal(signal.SIGHUP)
    server.wait_for_line("generation 2 serves")
    assert waiting.read().body == HELLO


def test_usr1_opens_logs_anew(weir, raw, tmp_path):
    file, moved = tmp_path / "error.log", tmp_path / "error.log.1"
    server = weir(site(top={"log": {"file": str(file), "level": "debug"}, "workers": {"processes": 2}}), listeners=0)
    assert eventually(lambda: file.exists() and "listening on" in file.read_text())
    address = re.search(r"listening on (\S+)", file.read_text()).group(1)
    with raw(address) as connection:
        assert connection.send(GET).read().body == HELLO
    assert eventually(lambda: "ended: client" in file.read_text())
    file.rename(moved)
    server.signal(signal.SIGUSR1)
    assert eventually(lambda: file.exists() and "open anew" in file.read_text())
    size = moved.stat().st_size
    for _ in range(10):
        with raw(address) as connection:
            assert connection.send(GET).read().body == HELLO
    assert eventually(lambda: file.read_text().count("ended: client") == 10)
    assert moved.stat().st_size == size
    assert all(line.endswith("client") or "weir[" in line for line in file.read_text().splitlines())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_have_given_up_their_rights_and_the_master_has_not(weir):
    server = weir(site(top={"workers": {"user": "nobody", "processes": 2}}), listeners=0)
    if not server.wait(lambda: server.addresses) or not server.addresses:
        pytest.skip("nobody cannot read this tree")

    def uids(pid):
        with open(f"/proc/{pid}/status") as status:
            return next(line.split()[1:] for line in status if line.startswith("Uid:"))

    assert set(uids(server.pid)) == {"0"}
    for pid in workers(server):
        assert "0" not in uids(pid)
        with open(f"/proc/{pid}/status") as status:
            text = status.read()
        assert re.search(r"NoNewPrivs:\s*1", text) and re.search(r"CapEff:\s*0+\n", text)


def test_a_worker_has_no_descriptor_but_its_own(weir):
    """Each listening socket, the log, its channel, and what an event loop needs."""
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        server = serving(weir, processes=1)
        names = [os.readlink(f"/proc/{workers(server)[0]}/fd/{fd}")
                 for fd in os.listdir(f"/proc/{workers(server)[0]}/fd")]
    finally:
        os.close(leaked)
    # Standard input and output, and what the listener keeps for when descriptors run out.
    assert sum(name == "/dev/null" for name in names) <= 3, names


def test_workers_that_die_at_once_end_the_server_with_a_message(weir, raw):
    """F80: with no earlier generation to return to, it does not spin."""
    server = serving(weir, processes=1)
    server.exit_status = 1
    server.expect_error("killed by SIGKILL")
    server.expect_error("giving up")
    deadline = time.monotonic() + 60
    while "giving up" not in server.log and time.monotonic() < deadline:
        for pid in workers(server):
            try:
                # At the end a sanitizer looks for leaks in a child of its own, a copy of the master.
                if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                pass
    assert server.wait_exit() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_also_while_its_only_worker_is_away(weir, number):
    server = serving(weir, processes=1)
    server.expect_error("killed by SIGKILL")
    for _ in range(3):  # so that the next one comes after a delay
        assert eventually(lambda: workers(server))
        os.kill(workers(server)[0], signal.SIGKILL)
        assert eventually(lambda: not workers(server))
    server.signal(number)
    assert server.wait_exit() == 0


def test_int_is_now_also_when_some_loops_have_drained(weir, raw):
    server = serving(weir, processes=1, loops=4)
    held = raw(server).send(GET + GET[:10])  # on one of the loops; the others have nothing to wait for
    assert held.read().body == HELLO
    server.signal(signal.SIGTERM)
    assert eventually(lambda: server.log.count("every answer was sent") == 3)
    server.signal(signal.SIGINT)
    assert server.wait_exit() == 0
    assert "does not end" not in server.log


def test_a_refused_reload_leaves_no_socket_without_a_worker(weir, raw):
    """It had opened sockets for more workers before it was refused."""
    server = serving(weir, processes=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = json.loads((server.folder / "weir.json").read_text())
        config["workers"]["processes"] = 4
        config["servers"].append({"listen": f"127.0.0.1:{taken.getsockname()[1]}", "routes": [route("/", "b")]})
        (server.folder / "weir.json").write_text(json.dumps(config))
        server.expect_error(".")
        server.signal(signal.SIGHUP)
        server.wait_for_line("refused, generation 1 serves on")
    for _ in range(40):
        with raw(server) as connection:
            assert connection.send(GET).read().body == HELLO


def test_a_unix_socket_is_shared_by_all(weir, raw, tmp_path):
    server = weir(site(listen=f"unix:{tmp_path}/web.sock", top={"workers": {"processes": 3}}))
    for _ in range(30):
        assert raw(server).send(GET).read().body == HELLO
    os.kill(workers(server)[0], signal.SIGKILL)
    server.expect_error("killed by SIGKILL")
    assert eventually(lambda: len(workers(server)) == 3)
    for _ in range(30):
        assert raw(server).send(GET).read().body == HELLO
