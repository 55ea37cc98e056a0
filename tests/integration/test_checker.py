# SPDX-License-Identifier: MIT
"""What stands between the configuration and the server: the text is read once, with the rights of whoever
starts the server; modules are tried in a process of their own, without rights, which may do what it likes."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from weir_process import eventually, slow
from weir_site import get, route, server, site

WEIR = os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"
MODULES = os.environ.get("WEIR_MODULE_DIR") or f"{os.environ['WEIR_BUILDDIR']}/modules/.libs"
WICKED = f"{os.environ['WEIR_BUILDDIR']}/tests/support/.libs/libwicked.so"
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


def for_nobody():
    """Skips unless this is root and nobody may execute what was built."""
    if os.geteuid() != 0:
        pytest.skip("only root can give rights up")
    if subprocess.run([*AS_NOBODY, WEIR, "--version"], capture_output=True).returncode != 0:
        pytest.skip("nobody may not execute what was built here")


def wicked(init="", check="", **rest):
    """A site whose module does harm: in its init, or when the options of its handler are checked."""
    return {"modules": ["respond", {"name": "wicked", "path": WICKED, "options": {"init": init}}],
            "servers": [{"listen": "127.0.0.1:0",
                         "routes": [{"handle": [{"wicked": {"check": check}}, {"respond": "well"}]}]}], **rest}


def ask(raw, running, listener=0, host="a"):
    with raw(running.addresses[listener]) as connection:
        return connection.send(get(host=host)).read().body


def is_checker(pid):
    try:
        return b"\0checker\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


# --- one text


def test_a_secret_that_only_root_may_read_is_served(weir, raw, tmp_path):
    for_nobody()
    secret = tmp_path / "secret"
    secret.write_text("for your eyes only\n")
    secret.chmod(0o600)
    config = site(route("/hello", f"$file:{secret}"), top={"workers": {"user": "nobody"}})
    running = weir(config)  # in a folder of root's, mode 0700
    assert ask(raw, running) == b"for your eyes only"


def test_included_files_and_the_environment_are_served(weir, raw, tmp_path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/b.json").write_text(
        '{ "servers": [{ "listen": "127.0.0.1:0", "host": "b", "routes": [{ "handle": { "respond": "${env:WEIR_B}" } }] }] }')
    (tmp_path / "sites/a.json").write_text(
        '{ "servers": [{ "listen": "127.0.0.1:0", "host": "a", "routes": [{ "handle": { "respond": "an a" } }] }] }')
    running = weir({"modules": ["respond"], "include": ["sites/*.json"]}, listeners=2, env={"WEIR_B": "a bee"})
    assert ask(raw, running, 0) == b"an a"
    assert ask(raw, running, 1, "b") == b"a bee"


def test_a_file_that_changes_after_it_was_read_changes_nothing(weir, raw, tmp_path):
    """The module rewrites the file while it is being checked."""
    file = tmp_path / "weir.json"
    running = weir(wicked(check=f"change:{file}"))
    assert file.read_text() == "{ changed"
    assert ask(raw, running) == b"well"


def test_a_mistake_in_an_included_file_has_its_place(weir, tmp_path):
    (tmp_path / "more.json").write_text('{\n  "servers": [{ "listen": ":0", "rooutes": [] }]\n}\n')
    running = weir({"modules": [], "include": "more.json"}, listeners=0, exit_status=78)
    running.expect_error("rooutes")
    assert running.wait_exit() == 78
    assert f"{tmp_path}/more.json:2:" in running.log


# --- modules that do harm


@pytest.mark.parametrize("how, says", [
    ({"env": {"WEIR_WICKED": "crash"}}, "does not survive a check .load."),
    ({"init": "crash"}, "does not survive a check .init."),
    ({"check": "abort"}, "does not survive a check .conf_check."),
    ({"init": "exit"}, "does not survive a check .init."),
    ({"init": "print"}, "does not survive a check .init."),
    ({"check": "flood"}, "does not survive a check .conf_check."),
    ({"check": "garble"}, "does not come to its end"),
], ids=str)
def test_a_module_that_ends_the_check_is_named(weir, how, says):
    env = how.get("env")
    config = wicked(init=how.get("init", ""), check=how.get("check", ""))
    running = weir(config, listeners=0, exit_status=78, env=env)
    running.expect_error(says)
    assert running.wait_exit() == 78
    assert not running.addresses
    assert "E0211" in running.log
    if "garble" not in str(how):
        assert '"wicked"' in running.log


def test_a_check_that_hangs_does_not_keep_the_server_from_being_stopped(weir):
    running = weir(wicked(init="hang"), listeners=0, exit_status=1)
    assert eventually(lambda: any(is_checker(pid) for pid in running.processes()))
    running.signal(signal.SIGTERM)
    assert running.wait_exit(10) == 1
    assert "stopped while the configuration was being checked" in running.log


def test_a_reload_into_a_module_that_crashes_leaves_the_old_serving(weir, raw, tmp_path):
    running = weir(wicked())
    assert ask(raw, running) == b"well"
    config = wicked(init="crash")
    config["workers"] = json.loads((tmp_path / "weir.json").read_text())["workers"]
    (tmp_path / "weir.json").write_text(json.dumps(config))
    running.expect_error("does not survive a check .init.")
    running.expect_error("reload|generation|configuration")
    running.signal(signal.SIGHUP)
    running.wait_for_line("does not survive a check .init.")
    assert ask(raw, running) == b"well"


def test_while_a_configuration_is_checked_all_else_goes_on(weir, raw, tmp_path):
    """A module that hangs has 30 seconds: meanwhile workers are replaced, and the server answers."""
    running = weir(wicked())
    good = (tmp_path / "weir.json").read_text()
    [worker] = [pid for pid in running.processes() if pid != running.pid]
    bad = {**wicked(init="hang"), "workers": json.loads(good)["workers"]}
    (tmp_path / "weir.json").write_text(json.dumps(bad))
    running.signal(signal.SIGHUP)
    assert eventually(lambda: any(is_checker(pid) for pid in running.processes()))
    running.expect_error("killed by SIGKILL: it is replaced")
    os.kill(worker, signal.SIGKILL)
    running.wait_for_line("worker 0 .generation 1. serves as process")
    assert ask(raw, running) == b"well"
    status = subprocess.run([WEIR, "status", "--control", f"{tmp_path}/control.sock"], env=running.env,
                            capture_output=True, text=True, timeout=slow(30))
    assert "generation 1: serving, 1 restarts" in status.stdout
    (tmp_path / "weir.json").write_text(good)
    running.signal(signal.SIGHUP)
    running.wait_for_line("once the one that is under way has ended")
    running.expect_error("does not survive a check .init.")
    running.expect_error("refused, generation 1 serves on")
    os.kill(next(pid for pid in running.processes() if is_checker(pid)), signal.SIGKILL)
    running.wait_for_line("generation 2 serves")


def test_a_reload_that_is_being_checked_does_not_keep_the_server_from_ending(weir, tmp_path):
    running = weir(wicked())
    bad = {**wicked(init="hang"), "workers": json.loads((tmp_path / "weir.json").read_text())["workers"]}
    (tmp_path / "weir.json").write_text(json.dumps(bad))
    running.signal(signal.SIGHUP)
    assert eventually(lambda: any(is_checker(pid) for pid in running.processes()))
    processes = running.processes()
    running.signal(signal.SIGTERM)
    assert running.wait_exit() == 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in processes)


def test_what_a_module_said_before_it_ended_the_check_is_shown(weir):
    running = weir(wicked(init="abort"), listeners=0, exit_status=78)
    running.expect_error("does not survive")
    running.wait_exit()
    assert "| wicked: I give up" in running.log


def test_the_check_has_no_rights(weir, tmp_path):
    """A module that writes to a file of root's cannot."""
    for_nobody()
    file = tmp_path / "precious"
    file.write_text("precious")
    file.chmod(0o600)
    config = wicked(check=f"change:{file}", workers={"user": "nobody"})
    running = weir(config, listeners=0, exit_status=78)
    running.expect_error("does not survive")
    assert running.wait_exit() == 78
    assert file.read_text() == "precious"


# --- one truth


def check(config, tmp_path):
    file = tmp_path / "checked.json"
    file.write_text(json.dumps(config, indent=2))
    return subprocess.run([WEIR, "check", "-c", str(file)], capture_output=True, text=True, timeout=slow(30),
                          env=dict(os.environ, WEIR_MODULE_DIR=MODULES))


@pytest.mark.parametrize("config", [
    site(top={"workers": {"loops": 0}}),
    site(top={"workers": {"user": [], "loops": 0}, "nonsense": 1}),
    site(server(listen="nowhere")),
    {"modules": ["nonsense"]},
    wicked(nonsense=1),
], ids=str)
def test_check_and_run_say_the_same(weir, tmp_path, config):
    config = {"workers": {"user": "root"}, **config}
    running = weir(config, listeners=0, exit_status=78)
    running.expect_error("error")
    assert running.wait_exit() == 78
    done = check(running.config, tmp_path)
    assert done.returncode == 78
    assert done.stderr.replace("checked.json", "weir.json").rstrip("\n") == running.log


@pytest.mark.parametrize("config, at, says", [
    (site(top={"upstreams": {"app": {"targets": "127.0.0.1:80", "tls": {}}}}), '"tls"', "not in this build"),
], ids=str)
def test_what_is_not_in_this_build_is_refused_in_its_place(tmp_path, config, at, says):
    done = check(config, tmp_path)
    assert done.returncode == 78
    assert "error[E0501]" in done.stderr and says in done.stderr
    line = next(number for number, text in enumerate((tmp_path / "checked.json").read_text().splitlines(), 1)
                if at in text)
    assert f"checked.json:{line}:" in done.stderr


def test_more_addresses_than_a_server_opens_are_refused(tmp_path):
    listen = [f"127.0.{number // 250}.{number % 250 + 1}:80" for number in range(4097)]
    done = check(site(listen=listen), tmp_path)
    assert done.returncode == 78
    assert "one of 4097 addresses; 4096 at most" in done.stderr
    assert check(site(listen=listen[:-1]), tmp_path).returncode == 0


# --- the error log


def test_the_error_log_is_json_where_asked_for(weir, tmp_path):
    log = tmp_path / "error.log"
    running = weir(site(top={"log": {"format": "json", "file": str(log)}}), listeners=0)
    assert eventually(lambda: log.exists() and "listening" in log.read_text())
    running.signal(signal.SIGTERM)
    assert running.wait_exit() == 0
    for line in log.read_text().splitlines():
        assert set(json.loads(line)) == {"time", "pid", "level", "message"}
