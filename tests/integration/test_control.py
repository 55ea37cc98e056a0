# SPDX-License-Identifier: MIT
"""The control socket and the commands that use it (F90, F114, F161): what runs, reload with its report,
log files, stop; only for root and the account of the server."""

import json
import os
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import weir_raw
from weir_process import eventually, process_tree
from weir_site import GET, HELLO, route, site


def weir_command(server, *words):
    return subprocess.run([*server.command, *words, "--control", f"{server.folder}/control.sock"],
                          env=server.env, capture_output=True, text=True, timeout=60)


def ask(server, method, path):
    with weir_raw.Connection(f"unix:{server.folder}/control.sock") as connection:
        answer = connection.send(f"{method} {path} HTTP/1.1\r\nHost: weir\r\n\r\n".encode()).read()
    return answer.status, json.loads(answer.body)


def test_status_says_what_runs(weir, raw):
    server = weir(site(top={"workers": {"processes": 2}}))
    for _ in range(5):
        assert raw(server).send(GET).read().body == HELLO

    def has_counted():
        generation = ask(server, "GET", "/status")[1]["generations"][0]
        return sum(worker["requests"] for worker in generation["workers"]) == 5

    assert eventually(has_counted)
    status, what = ask(server, "GET", "/status")
    assert status == 200 and what["state"] == "serving" and what["process"] == server.pid
    [generation] = what["generations"]
    assert generation["state"] == "serving" and generation["number"] == 1
    pids = {worker["process"] for worker in generation["workers"]}
    assert pids == set(process_tree(server.pid)) - {server.pid}
    assert all(worker["state"] == "serving" for worker in generation["workers"])
    [listener] = what["listeners"]
    assert listener["address"] == server.address and listener["sockets"] == 2
    assert listener["queue"] == 0 and listener["queue_limit"] > 0
    assert what["deaths"] == {}


def test_status_tells_idle_connections_from_active_ones_and_those_that_closed(weir, raw):
    server = weir(site(top={"workers": {"processes": 1}}))
    idle, active = raw(server), raw(server)
    assert idle.send(GET).read().body == HELLO
    active.send(GET[:-2])  # the end of its head is missing
    with raw(server) as gone:
        assert gone.send(GET).read().body == HELLO

    def connections():
        [worker] = ask(server, "GET", "/status")[1]["generations"][0]["workers"]
        return [worker[f"connections_{kind}"] for kind in ("accepted", "closed", "open", "active", "idle")]

    assert eventually(lambda: connections() == [3, 1, 2, 1, 1]), connections()
    assert "1 active, 1 idle, 3 accepted, 1 closed" in weir_command(server, "status").stdout
    idle.close()
    active.close()
    assert eventually(lambda: connections() == [3, 3, 0, 0, 0]), connections()


def test_status_counts_clients_that_wait_to_be_accepted(weir, raw):
    server = weir(site(top={"workers": {"processes": 1}}))
    [worker] = set(process_tree(server.pid)) - {server.pid}
    os.kill(worker, signal.SIGSTOP)
    waiting = [raw(server) for _ in range(3)]
    assert ask(server, "GET", "/status")[1]["listeners"][0]["queue"] == 3
    assert ": 3 of at most " in weir_command(server, "status").stdout
    os.kill(worker, signal.SIGCONT)
    assert eventually(lambda: ask(server, "GET", "/status")[1]["listeners"][0]["queue"] == 0)
    for connection in waiting:
        connection.close()


def test_the_command_prints_it_for_people_and_for_programs(weir):
    server = weir(site())
    done = weir_command(server, "status")
    assert done.returncode == 0 and not done.stderr
    assert f"process {server.pid}" in done.stdout and server.address in done.stdout
    assert "generation 1: serving" in done.stdout
    assert json.loads(weir_command(server, "status", "--json").stdout)["process"] == server.pid


def test_the_configuration_says_where_the_socket_is(weir, tmp_path):
    path = tmp_path / "elsewhere.sock"
    server = weir(site(top={"control": {"listen": f"unix:{path}"}}))
    done = subprocess.run([*server.command, "status", "-c", str(server.folder / "weir.json")],
                          env=server.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert not path.exists()


def test_reload_answers_when_the_new_generation_serves(weir, raw):
    server = weir(site())
    config = json.loads((server.folder / "weir.json").read_text())
    config["servers"][0]["routes"] = [route("/hello", "other")]
    (server.folder / "weir.json").write_text(json.dumps(config))
    done = weir_command(server, "reload", "--wait")
    assert done.returncode == 0 and "generation 2 serves" in done.stdout, done.stderr
    assert eventually(lambda: raw(server).send(GET).read().body == b"other")


def test_reload_prints_what_is_wrong_and_changes_nothing(weir, raw):
    server = weir(site())
    server.expect_error(".")
    (server.folder / "weir.json").write_text('{ "modules": ["respnd"], "servers": [] }')
    done = weir_command(server, "reload")
    assert done.returncode == 78
    assert "weir.json:1:" in done.stderr and "respnd" in done.stderr and "serves on" in done.stderr
    assert raw(server).send(GET).read().body == HELLO


def wicked(server, **options):
    """Its configuration, with a module that does harm in a second route."""
    config = json.loads((server.folder / "weir.json").read_text())
    path = f"{os.environ['WEIR_BUILDDIR']}/tests/support/.libs/libwicked.so"
    config["modules"] = ["respond", {"name": "wicked", "path": path}]
    config["servers"][0]["routes"].append({"match": "/wicked", "handle": {"wicked": options}})
    return config


def test_a_generation_that_does_not_come_up_is_given_up(weir, raw):
    """A module that waits for ever where only workers call it, such as for a database."""
    server = weir(site())
    file = server.folder / "weir.json"
    good = file.read_text()
    config = wicked(server, open="hang")
    config["workers"]["start_timeout"] = "200ms"
    file.write_text(json.dumps(config))
    server.expect_error("worker 0 .generation 2, process .* does not become ready within workers.start_timeout")
    server.expect_error("before it was ready")
    server.expect_error("generation 2 failed, generation 1 serves on")
    done = weir_command(server, "reload")
    assert done.returncode == 78, done
    assert "worker 0 (generation 2) took longer than workers.start_timeout" in done.stderr
    assert raw(server).send(GET).read().body == HELLO
    file.write_text(good)
    assert weir_command(server, "reload").returncode == 0


def test_a_stop_answers_who_waits_for_a_reload(weir):
    server = weir(site())
    (server.folder / "weir.json").write_text(json.dumps(wicked(server, open="hang")))
    asked = subprocess.Popen([*server.command, "reload", "--wait", "--control", f"{server.folder}/control.sock"],
                             env=server.env, stderr=subprocess.PIPE, text=True)
    server.wait_for_line("generation 2 starts")
    assert eventually(lambda: len(process_tree(server.pid)) > 2)
    server.signal(signal.SIGTERM)
    assert server.wait_exit() == 0
    assert "the server stops" in asked.communicate(timeout=60)[1]
    assert asked.returncode == 1


def test_a_first_generation_that_gives_up_while_the_second_fails_ends_the_server(weir):
    """Neither for ever without a worker, nor as if all were well."""
    server = weir(site())
    server.exit_status = 1
    server.expect_error("killed by SIGKILL")
    server.expect_error("giving up")
    server.expect_error("generation 2 failed, and no other is left: the server ends")
    (server.folder / "weir.json").write_text(json.dumps(wicked(server, open="hang")))
    first = set(process_tree(server.pid))
    server.signal(signal.SIGHUP)
    second = set()

    def is_worker(pid):
        try:
            return b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False  # the checker, which has ended meanwhile

    def hangs():
        """The worker of the second generation, once it is one."""
        second.update(pid for pid in set(process_tree(server.pid)) - first if is_worker(pid))
        return second

    assert eventually(hangs)
    while "giving up" not in server.log:
        for pid in set(process_tree(server.pid)) - second - {server.pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    os.kill(second.pop(), signal.SIGKILL)
    assert server.wait_exit() == 1


@pytest.mark.parametrize("change, says", [
    ({"log": {"file": "/nowhere/error.log"}}, "its directory has to be there"),
    ({"workers": {"user": "nonesuch"}}, "log says why"),
], ids=str)
def test_whoever_asks_for_a_reload_is_told_what_the_system_refused(weir, change, says):
    server = weir(site())
    server.expect_error("refused, generation 1 serves on")
    if os.geteuid() != 0 and "workers" in change:
        pytest.skip("only root can become another user")
    config = json.loads((server.folder / "weir.json").read_text())
    config.update(change)
    (server.folder / "weir.json").write_text(json.dumps(config))
    server.expect_error("nowhere|nonesuch")
    done = weir_command(server, "reload")
    assert done.returncode == 78
    assert says in done.stderr, done.stderr


def test_whoever_asks_for_a_reload_is_told_which_port_is_taken(weir):
    first, server = weir(site()), weir(site())
    config = json.loads((server.folder / "weir.json").read_text())
    config["servers"][0]["listen"] = first.address
    (server.folder / "weir.json").write_text(json.dumps(config))
    server.expect_error("Address already in use")
    server.expect_error("refused, generation 1 serves on")
    done = weir_command(server, "reload")
    assert done.returncode == 78
    assert f"listener {first.address}: Address already in use; another program listens there" in done.stderr


def test_several_who_ask_for_a_reload_are_all_answered(weir):
    server = weir(site())
    asked = [subprocess.Popen([*server.command, "reload", "--control", f"{server.folder}/control.sock"],
                              env=server.env, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    for process in asked:
        assert "serves" in process.communicate(timeout=60)[0]
        assert process.returncode == 0


def test_reload_need_not_wait(weir):
    server = weir(site())
    assert weir_command(server, "reload", "--no-wait").returncode == 0
    server.wait_for_line("generation 2 serves")


def test_reopen_and_stop(weir, tmp_path):
    server = weir(site())
    assert weir_command(server, "reopen").returncode == 0
    server.wait_for_line("log files are open anew")
    assert weir_command(server, "stop").returncode == 0
    assert server.wait_exit() == 0


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/nothing", 404), ("GET", "/reload", 405), ("POST", "/status", 405)])
def test_what_it_does_not_know_is_said(weir, method, path, status):
    server = weir(site())
    found, what = ask(server, method, path)
    assert found == status and what["message"]


@pytest.mark.parametrize("method, path, allowed", [("GET", "/reload", "POST"), ("POST", "/status", "GET")])
def test_another_method_is_told_which_is_allowed(weir, method, path, allowed):
    server = weir(site())
    with weir_raw.Connection(f"unix:{server.folder}/control.sock") as connection:
        answer = connection.send(f"{method} {path} HTTP/1.1\r\nHost: weir\r\n\r\n".encode()).read()
    assert answer.field("allow") == allowed


def test_a_hostile_client_of_it_harms_nobody(weir, raw):
    server = weir(site())
    with weir_raw.Connection(f"unix:{server.folder}/control.sock") as connection:
        assert connection.send(b"GET /status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").read().status == 400
    silent = [weir_raw.Connection(f"unix:{server.folder}/control.sock") for _ in range(60)]
    assert raw(server).send(GET).read().body == HELLO
    for connection in silent:
        connection.close()
    assert eventually(lambda: ask_or_none(server) == 200)


def ask_or_none(server):
    try:
        return ask(server, "GET", "/status")[0]
    except (OSError, AssertionError):
        return None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_account_is_turned_away(weir):
    """An abstract socket has no mode that would keep anybody away."""
    name = f"weir-test-{os.getpid()}"
    server = weir(site(top={"control": {"listen": f"@{name}"}}))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            client = socket.socket(socket.AF_UNIX)
            client.connect("\0" + name)
            client.sendall(b"POST /stop HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            os.write(writer, client.recv(1000))
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    answer = os.read(reader, 1000)
    os.close(reader)
    assert answer.startswith(b"HTTP/1.1 403 "), answer
    assert server.process.poll() is None


def test_a_server_that_is_not_there_is_said(tmp_path, weir):
    server = weir(site())
    done = subprocess.run([*server.command, "status", "--control", str(tmp_path / "none.sock")],
                          env=server.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 69 and "is the server running?" in done.stderr


def test_a_second_server_does_without_the_socket_of_the_first(weir, raw, tmp_path):
    first = weir(site())
    path = f"unix:{first.folder}/control.sock"
    second = weir(site(top={"control": {"listen": path}}))
    assert "another server answers there" in second.log
    assert raw(second).send(GET).read().body == HELLO
    assert ask(first, "GET", "/status")[1]["process"] == first.pid


def test_a_server_is_not_taken_for_another_at_the_same_address(weir, tmp_path):
    """Where two share a preset socket the first has it; who names the second's configuration is told."""
    server = weir(site())
    config = tmp_path / "other.json"
    config.write_text(json.dumps(site(top={"control": {"listen": f"unix:{server.folder}/control.sock"}})))
    for command in ("stop", "reload", "status"):
        done = subprocess.run([*server.command, command, "-c", str(config)], env=server.env,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 69 and "this is another server" in done.stderr, done
        assert str(server.pid) in done.stderr
    assert server.process.poll() is None
    link = tmp_path / "link.json"
    link.symlink_to(server.folder / "weir.json")
    own = subprocess.run([*server.command, "status", "-c", str(link)], env=server.env,
                         capture_output=True, text=True, timeout=60)
    assert own.returncode == 0, own.stderr


def test_who_asks_during_a_reload_is_answered_by_the_next(weir):
    """The file may have changed since the one under way read it."""
    server = weir(site(top={"workers": {"processes": 8}}))
    server.expect_error(".")
    file = server.folder / "weir.json"
    good = file.read_text()
    path = f"unix:{server.folder}/control.sock"
    request = b"POST /reload HTTP/1.1\r\nHost: a\r\n\r\n"
    for _ in range(20):
        assert eventually(lambda: len(process_tree(server.pid)) == 9, 60)  # nothing is under way
        first = weir_raw.Connection(path).send(request)
        assert eventually(lambda: len(process_tree(server.pid)) > 9)
        file.write_text('{ "modules": ["respnd"], "servers": [] }')
        second = weir_raw.Connection(path).send(request)
        answers = first.read().status, second.read().status
        file.write_text(good)
        assert answers[1] == 409, answers
        first.close()
        second.close()
        if "once the one that is under way has ended" in server.log:
            return
    pytest.fail("no reload came during another")


def moved(server, path, **more):
    config = json.loads((server.folder / "weir.json").read_text())
    config["control"] = {"listen": f"unix:{path}"}
    (server.folder / "weir.json").write_text(json.dumps({**config, **more}))


def test_a_reload_that_moves_the_socket_is_answered_at_the_old_one(weir, tmp_path):
    server = weir(site())
    for path in (tmp_path / "new.sock", server.folder / "control.sock", tmp_path / "new.sock"):
        old = json.loads((server.folder / "weir.json").read_text()).get("control", {}).get(
            "listen", f"unix:{server.folder}/control.sock")
        moved(server, path)
        with weir_raw.Connection(old) as connection:
            answer = connection.send(b"POST /reload HTTP/1.1\r\nHost: a\r\n\r\n").read()
        assert answer.status == 200 and b"serves with" in answer.body
        if old != f"unix:{path}":
            assert eventually(lambda: not os.path.exists(old.removeprefix("unix:")))
        assert eventually(lambda: path.exists())
        with weir_raw.Connection(f"unix:{path}") as connection:
            assert connection.send(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n").read().status == 200


def test_a_generation_that_fails_leaves_the_socket_where_it_is(weir, tmp_path):
    """What only workers find out: a root that is not there."""
    server = weir(site())
    server.expect_error(".")
    old = f"unix:{server.folder}/control.sock"
    moved(server, tmp_path / "new.sock", modules=["respond", "static"],
          servers=[{"listen": "127.0.0.1:0", "routes": [{"handle": {"static": str(tmp_path / "none")}}]}])
    with weir_raw.Connection(old) as connection:
        answer = connection.send(b"POST /reload HTTP/1.1\r\nHost: a\r\n\r\n").read()
    assert answer.status == 409 and b"generation 2 failed" in answer.body, answer.body
    assert ask(server, "GET", "/status")[0] == 200
    assert not (tmp_path / "new.sock").exists()
