# SPDX-License-Identifier: MIT
"""Starting (F1, F2, F5, F6, F23): what is wrong is said before anything is served, with an exit status of
its own; what is right listens on all of its addresses or on none."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import weir_process
import weir_raw
from weir_process import eventually, slow
from weir_site import GET, HELLO, get, route, server, site

WEIR = os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"
NOBODY = 65534


def run(*arguments, **how):
    """Another command of the program, to its end."""
    return subprocess.run([WEIR, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=slow(30), **how)


def refused(weir, config, says, status=78, **how):
    """The configuration is refused: with that status, and `says` (a pattern) in an error."""
    running = weir(config, listeners=0, exit_status=status, **how)
    running.expect_error(says)
    assert running.wait_exit() == status
    assert not running.addresses
    return running


def through_shell(before):
    """The command as a shell starts it after `before`, such as "ulimit -n 20"."""
    return ["/bin/sh", "-c", f'{before}; exec "$0" "$@"', WEIR]


# --- the command line


@pytest.mark.parametrize("arguments, says", [
    ([], "Usage: weir"),
    (["rnu"], 'did you mean "run"'),
    (["nonsense"], "weir --help"),
    (["run", "--nonsense"], "--help"),
    (["run", "-c"], "--help"),
    (["run", "one", "two"], "one argument too many"),
])
def test_wrong_arguments_are_64_and_say_where_help_is(arguments, says):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert says in done.stderr


def test_a_wrong_option_is_reported_by_the_program_and_command():
    assert run("run", "--nonsense").stderr.startswith("weir run: ")


@pytest.mark.parametrize("arguments, says", [
    (["--help"], "Usage: weir COMMAND"), (["-h"], "Usage: weir COMMAND"), (["help"], "Usage: weir COMMAND"),
    (["run", "--help"], "Exit codes"), (["run", "-h"], "Signals"),
    (["--version"], "weir "), (["-V"], "weir "),
])
def test_help_and_version_go_to_standard_output(arguments, says):
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert says in done.stdout


def test_the_version_is_one_line():
    assert re.fullmatch(r"weir \d+\.\d+\.\d+\S*\n", run("--version").stdout)


def test_without_c_it_is_weir_json_here(tmp_path):
    done = run("run", cwd=tmp_path)
    assert done.returncode == 78
    assert "weir.json" in done.stderr


# --- the file


def test_a_missing_file_is_named(tmp_path):
    done = run("run", "-c", str(tmp_path / "none.json"))
    assert done.returncode == 78
    assert f'"{tmp_path}/none.json" cannot be read: No such file' in done.stderr


def test_a_folder_is_no_configuration(tmp_path):
    done = run("run", "-c", str(tmp_path))
    assert done.returncode == 78
    assert "directory" in done.stderr


@pytest.fixture
def somebody():
    """A folder that another user may enter, and the command that runs the server as one without rights;
    as which the tests run, if they have none."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    if os.geteuid() == 0:
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
        if subprocess.run([*as_nobody, "test", "-x", WEIR], stdin=subprocess.DEVNULL).returncode != 0:
            pytest.skip("the build tree is closed to other users")
    else:
        as_nobody = []
    yield folder, as_nobody
    shutil.rmtree(folder)


def run_as_somebody(somebody, config):
    folder, as_nobody = somebody
    return weir_process.Server(folder, {**config, "workers": {"processes": 1}}, command=[*as_nobody, WEIR])


def test_an_unreadable_file_is_named(somebody):
    folder, as_nobody = somebody
    file = folder / "weir.json"
    file.write_text("{}")
    file.chmod(0)
    done = subprocess.run([*as_nobody, WEIR, "run", "-c", str(file)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=slow(30))
    assert done.returncode == 78
    assert f'"{file}" cannot be read: Permission denied' in done.stderr


@pytest.mark.parametrize("text, at, says", [
    ('{ "modules": ["respond"]\n  "servers": [] }', "1:25", "comma is missing"),
    ("{ 'modules': [] }", "1:3", "double quotes|quot"),
    ("", "1:1", "empty"),
    ("[]", "1:1", "an object"),
    ("\ufeff{}", "1:1", "."),
    ('{ "servers": [', r"1:\d+", "."),
    ('{ "servers": [] } x', "1:19", "."),
    ('{\n  // a comment\n  "servers": [],\n  "servers": [],\n}', r"4:3", "servers"),
    ('{ "serverz": [] }', "1:3", 'did you mean "servers"'),
    ("\0", "1:1", "."),
    ('{ "a": "\xff" }'.encode("latin-1"), r"1:\d+", "UTF-8"),
    ("[" * 100_000, r"1:\d+", "."),
], ids=repr)
def test_a_mistake_has_its_line_and_column(weir, tmp_path, text, at, says):
    """F1. The position is what an editor jumps to."""
    file = tmp_path / "weir.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run("run", "-c", str(file))
    assert done.returncode == 78
    assert re.search(rf"weir\.json:{at}: error\[E\d{{4}}\]: ", done.stderr), done.stderr
    assert re.search(says, done.stderr), done.stderr
    assert len(done.stderr) < 20_000


@pytest.mark.parametrize("text", ["x" * 7_000_000, "{path}" * 1_000_000], ids=["plain", "template"])
def test_a_text_as_large_as_a_file_may_be_is_served(weir, text):
    assert weir(site(route("/other", text), route("/hello", "hello"))).addresses


def test_a_file_that_is_too_large_is_refused_as_such(weir):
    refused(weir, site(route("/hello", "x" * 9_000_000)), "it is larger than 8 MiB")


# --- modules (F2)


def test_an_unknown_module_is_refused(weir):
    refused(weir, {**site(), "modules": ["respond", "nonsense"]}, '"nonsense" is not installed')


def test_a_shared_object_that_is_no_module_is_refused(weir):
    libc = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libc.so" in line)
    running = refused(weir, {**site(), "modules": ["respond", {"name": "foreign", "path": libc}]},
                      "is no module of Weir")
    running.wait_for_line("weir_module_v1")


def test_a_file_that_is_no_shared_object_is_refused(weir, tmp_path):
    (tmp_path / "text.so").write_text("text")
    refused(weir, {**site(), "modules": ["respond", {"name": "text", "path": "text.so"}]}, "text.so. cannot be loaded")


def test_a_module_file_that_is_missing_is_refused(weir):
    refused(weir, {**site(), "modules": ["respond", {"name": "gone", "path": "gone.so"}]}, "there is no file")


def test_a_module_directory_without_the_module_is_named(weir, tmp_path):
    running = weir(site(), listeners=0, exit_status=78, env={"WEIR_MODULE_DIR": str(tmp_path / "nowhere")})
    running.expect_error("respond")
    assert running.wait_exit() == 78
    assert "nowhere" in running.log


def test_a_relative_module_directory_is_from_where_weir_is_started(tmp_path):
    modules = Path(os.environ.get("WEIR_MODULE_DIR") or f"{os.environ['WEIR_BUILDDIR']}/modules/.libs").resolve()
    (tmp_path / "site.json").write_text(json.dumps(site()))
    done = subprocess.run([Path(WEIR).absolute(), "check", "-c", tmp_path / "site.json"], cwd=modules.parent,
                          env={**os.environ, "WEIR_MODULE_DIR": modules.name}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=slow(30))
    assert (done.returncode, done.stderr) == (0, "") and "no mistakes" in done.stdout


# --- addresses (F6)


def test_a_port_in_use_is_71_and_says_what_to_do(weir):
    first = weir(site())
    refused(weir, site(listen=first.address), "Address already in use; .*(stop it|another port)", status=71)
    assert weir_raw.request(first, GET).body == HELLO


def test_of_two_listeners_all_or_none_serve(weir, tmp_path):
    """F6: nothing is half started, and every address that failed is named."""
    first = weir(site())
    file = tmp_path / "none/web.sock"
    running = refused(weir, site(listen=["127.0.0.2:0", first.address, f"unix:{file}"]), re.escape(first.address), status=71)
    running.expect_error(re.escape(str(file)))


def test_a_port_without_permission_is_77(somebody):
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("every port is free to all here")
    running = run_as_somebody(somebody, site(listen="127.0.0.1:80"))
    running.exit_status = 77
    running.expect_error("Permission denied; .*1024")
    assert running.launch().wait_exit() == 77
    running.finish()


def test_a_socket_file_without_permission_is_77(somebody):
    folder, _ = somebody
    inner = folder / "closed"
    inner.mkdir(mode=0o555)
    inner.chmod(0o555)
    running = run_as_somebody(somebody, site(listen=f"unix:{inner}/web.sock"))
    running.exit_status = 77
    running.expect_error("Permission denied")
    assert running.launch().wait_exit() == 77
    running.finish()


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


@needs_ipv6
def test_ipv6_is_spoken(weir, raw, curl):
    running = weir(site(route(None, "{peer.ip}"), listen="[::1]:0"))
    assert re.fullmatch(r"\[::1\]:\d+", running.address)
    assert raw(running).send(get("/")).read().body == b"::1"
    assert curl(running.url("/"), "-g").body == b"::1"


@needs_ipv6
def test_a_port_alone_is_both_versions(weir, raw):
    running = weir(site(route(None, "{peer.ip}"), listen=":0"))
    port = running.address.rpartition(":")[2]
    assert raw(f"127.0.0.1:{port}").send(get("/")).read().body == b"127.0.0.1"
    assert raw(f"[::1]:{port}").send(get("/")).read().body == b"::1"


@needs_ipv6
def test_both_versions_may_have_the_same_port_apart(weir, raw):
    first = weir(site(route(None, "4")))
    port = first.port
    second = weir(site(route(None, "6"), listen=f"[::1]:{port}"))
    assert raw(first).send(get("/")).read().body == b"4"
    assert raw(second).send(get("/")).read().body == b"6"


def test_any_port_twice_is_two_ports(weir):
    running = weir(site(listen=["127.0.0.1:0", "127.0.0.1:0"]), listeners=0)
    running.wait(lambda: len(running.addresses) == 2)
    if not running.addresses:
        running.exit_status = 78
        running.expect_error("listens here already")
    assert len(set(running.addresses)) == 2


def test_a_unix_socket_has_the_mode_0660_unless_told(weir, raw, tmp_path):
    path = tmp_path / "web.sock"
    running = weir(site(listen=f"unix:{path}"))
    assert running.address == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert raw(running).send(GET).read().body == HELLO


@pytest.mark.parametrize("mode", ["0600", "0666", "0777"])
def test_a_unix_socket_has_the_mode_that_it_was_given(weir, tmp_path, mode):
    path = tmp_path / "web.sock"
    weir(site(listen="door", top={"listeners": {"door": {"address": f"unix:{path}", "mode": mode}}}),
         command=through_shell("umask 077"))
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)


def test_a_relative_unix_socket_is_beside_the_configuration(weir, raw):
    running = weir(site(listen="unix:web.sock"))
    assert (running.folder / "web.sock").is_socket()
    assert raw(f"unix:{running.folder}/web.sock").send(GET).read().body == HELLO


def test_a_stale_unix_socket_is_replaced(weir, raw, tmp_path):
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert path.is_socket()
    assert raw(weir(site(listen=f"unix:{path}"))).send(GET).read().body == HELLO


def test_a_unix_socket_on_which_somebody_answers_is_not_taken(weir, raw, tmp_path):
    path = tmp_path / "web.sock"
    first = weir(site(listen=f"unix:{path}"))
    refused(weir, site(listen=f"unix:{path}"), "Address already in use", status=71)
    assert raw(first).send(GET).read().body == HELLO


def test_a_file_in_the_place_of_a_socket_stays(weir, tmp_path):
    path = tmp_path / "precious"
    path.write_text("text")
    refused(weir, site(listen=f"unix:{path}"), re.escape(str(path)), status=71)
    assert path.read_text() == "text"


def test_a_file_in_the_place_of_a_socket_is_reported_as_such(weir, tmp_path):
    path = tmp_path / "precious"
    path.write_text("text")
    running = refused(weir, site(listen=f"unix:{path}"), re.escape(str(path)), status=71)
    assert "Connection refused" not in running.log


def test_a_link_in_the_place_of_a_socket_is_not_followed(weir, tmp_path):
    """Nor removed: only a socket that nobody answers on is."""
    target = tmp_path / "elsewhere.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(target))
    link = tmp_path / "web.sock"
    link.symlink_to(target)
    refused(weir, site(listen=f"unix:{link}"), re.escape(str(link)), status=71)
    assert link.is_symlink() and target.is_socket()


def test_a_unix_socket_goes_with_its_server(weir, raw, tmp_path):
    path = tmp_path / "web.sock"
    running = weir(site(listen=f"unix:{path}"))
    assert raw(running).send(GET).read().body == HELLO
    running.finish()
    assert not path.exists()


def test_a_unix_socket_that_is_anothers_by_now_stays(weir, tmp_path):
    path = tmp_path / "web.sock"
    running = weir(site(listen=f"unix:{path}"))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        running.finish()
    assert path.is_socket()


def test_of_a_start_that_fails_no_socket_is_left(weir, tmp_path):
    first, path = weir(site()), tmp_path / "web.sock"
    refused(weir, site(listen=[f"unix:{path}", first.address]), "Address already in use", status=71)
    assert not path.exists()


def test_an_abstract_socket_is_spoken(weir):
    name = f"weir-test-{os.getpid()}"
    running = weir(site(listen=f"@{name}"))
    assert running.address == f"@{name}"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(slow(10))
        client.connect(f"\0{name}")
        client.sendall(GET)
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_it_starts_again_at_once_on_the_same_port(weir, raw):
    """No address stays taken after a stop that closed connections itself. (127.0.0.3: nobody else picks
    a port there meanwhile.)"""
    first = weir(site(listen="127.0.0.3:0"))
    address = first.address
    connection = raw(first)
    assert connection.send(get(fields="Connection: close\r\n")).read().body == HELLO
    connection.expect_closed()
    first.finish()
    assert raw(weir(site(listen=address))).send(GET).read().body == HELLO


def test_several_servers_on_several_addresses(weir, raw, tmp_path):
    running = weir(site(servers=[
        server(route(None, "one"), listen=["127.0.0.1:0", f"unix:{tmp_path}/one.sock"]),
        server(route(None, "two"), listen="127.0.0.2:0")]), listeners=3)
    bodies = {address: raw(address).send(get("/")).read().body for address in running.addresses}
    assert sorted(bodies.values()) == [b"one", b"one", b"two"]


# --- log files


def test_a_link_in_the_place_of_a_log_file_is_not_followed(weir, tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "error.log").symlink_to(target)
    refused(weir, site(top={"log": {"file": str(tmp_path / "error.log")}}),
            "error.log: is a symbolic link, which is not followed", status=71)
    assert target.read_text() == "precious"


def test_a_log_file_in_a_folder_that_is_missing_is_said(weir, tmp_path):
    refused(weir, site(top={"log": {"file": str(tmp_path / "none/error.log")}}),
            "none/error.log: No such file or directory; its directory has to be there", status=71)


def test_an_error_log_on_a_full_disk_is_said_and_goes_to_standard_error(weir, raw):
    running = weir(site(top={"log": {"file": "/dev/full"}}))
    running.expect_error("the error log cannot be written: No space left on device")
    assert raw(running).send(GET).read().body == HELLO


# --- roots


@pytest.mark.parametrize("processes", [1, 3])
def test_a_root_that_is_not_there_is_said_once_with_its_place(weir, processes):
    """By whichever worker comes first, whatever the others say."""
    config = {"modules": ["static"], "workers": {"processes": processes},
              "servers": [server({"handle": {"static": "/nowhere/www"}})]}
    running = refused(weir, config, "cannot open the directory /nowhere/www: No such file or directory")
    assert running.log.count("cannot open the directory") == 1


def test_a_root_that_workers_may_not_enter_is_said(somebody):
    folder, _ = somebody
    closed = folder / "closed"
    closed.mkdir(mode=0)
    closed.chmod(0)
    running = run_as_somebody(somebody, {"modules": ["static"], "servers": [server({"handle": {"static": str(closed)}})]})
    running.exit_status = 78
    running.expect_error("closed: Permission denied; the account of workers .workers.user. has to be allowed to enter it")
    assert running.launch().wait_exit() == 78
    running.finish()


# --- what it is started with


def test_workers_do_not_see_what_the_environment_holds_for_the_master(weir, raw):
    running = weir(site(route("/hello", "${env:SECRET}")), env={"SECRET": "swordfish", "LC_ALL": "C", "WEIR_OWN": "x"})
    assert raw(running).send(GET).read().body == b"swordfish"
    [worker] = [pid for pid in running.processes() if pid != running.pid]
    names = {text.partition("=")[0] for text in Path(f"/proc/{worker}/environ").read_text().split("\0")}
    assert "SECRET" not in names and "RUNTIME_DIRECTORY" not in names
    assert {"LC_ALL", "WEIR_OWN", "PATH"} <= names


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-"])
def test_closed_standard_streams_are_survived(weir, raw, closed):
    """No connection becomes descriptor 0 or 1 and is written to by mistake."""
    running = weir(site(), command=through_shell(f"exec {closed}"))
    for _ in range(3):
        assert raw(running).send(GET).read().body == HELLO
    refused(weir, {}, "servers", command=through_shell(f"exec {closed}"))


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_no_socket_takes_the_place_of_a_standard_stream(weir, raw, closed):
    running = weir(site(), command=through_shell(f"exec {closed}"))
    connections = [raw(running).send(GET) for _ in range(3)]
    assert [connection.read().body for connection in connections] == [HELLO] * 3
    of_streams = [weir_process.descriptors(running.pid).get(fd, "") for fd in (0, 1)]
    assert not any(what.startswith(("socket:", "anon_inode:")) for what in of_streams), of_streams


def test_a_foreign_locale_changes_nothing(weir, raw):
    running = weir(site(), env={"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"})
    assert raw(running).send(get(fields="CONNECTION: CLOSE\r\n")).read().field("connection") == "close"


# --- too few descriptors (F23)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_too_few_descriptors_are_survived(weir, raw):
    """Clients above the limit wait or are sent away; those below it are served all the while; the loop
    does not spin; when some have left, new ones are served."""
    running = weir(site(), command=through_shell("ulimit -n 24"))
    kept = raw(running)
    assert kept.send(GET).read().body == HELLO
    crowd = [raw(running) for _ in range(40)]
    for connection in crowd:
        try:
            connection.send(GET)
        except OSError:
            pass  # sent away
    began, used = time.monotonic(), cpu_seconds(running.pid)
    while time.monotonic() - began < 2:
        assert kept.send(GET).read().body == HELLO
        time.sleep(0.05)  # on purpose: the measure is what the server does while nothing happens
    assert cpu_seconds(running.pid) - used < 0.5 * (time.monotonic() - began)
    for connection in crowd:
        connection.close()

    def is_served():
        try:
            return weir_raw.request(running, GET).status == 200
        except (OSError, AssertionError):
            return False

    assert eventually(is_served)
    assert kept.send(GET).read().body == HELLO


def test_too_few_descriptors_are_logged_once_a_second(weir, raw):
    running = weir(site(), command=through_shell("ulimit -n 24"))
    running.crowd = [raw(running) for _ in range(40)]
    running.wait(lambda: "descriptors" in running.log, 3)
    lines = [line for line in running.lines if re.search("descriptors|Too many open files", line)]
    assert 1 <= len(lines) <= slow(4)


@pytest.mark.parametrize("count", range(7, 16))
def test_a_limit_of_descriptors_too_small_to_start_is_said(weir, count):
    """F5: wherever they run out, it is an error and 71, or 78 where a file of the configuration could not
    be read; or they do not, and it serves."""
    running = weir(site(), listeners=0, command=through_shell(f"ulimit -n {count}"))
    running.wait(lambda: running.addresses)
    if running.addresses and "Too many open files" not in running.log:
        return
    running.exit_status = running.wait_exit()
    running.expect_error(".")  # each step that failed says so
    assert "Too many open files" in running.log and "LimitNOFILE" in running.log
    assert running.exit_status in (71, 78) or "giving up" in running.log
