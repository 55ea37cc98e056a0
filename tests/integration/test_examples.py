# SPDX-License-Identifier: MIT
"""weir-modules(7) and its examples in the real server. How `patient` waits is in test_waits.py."""

import os
import select
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from weir_process import descriptors, eventually
from weir_site import get, route, server
from weir_slow_file import SlowFile

BUILD, SOURCE = Path(os.environ["WEIR_BUILDDIR"]), Path(os.environ["WEIR_SRCDIR"])
TEXT = "Hello, Nobody! 0123\n" * 5000  # more than one run of a filter


def example(name):
    return {"name": name, "path": f"{BUILD}/contrib/examples/{name}/.libs/{name}.so"}


def looked_up(weir, file, within="2s", **top):
    return weir({"modules": ["respond", {**example("lookup"), "options": {"file": str(file)}}],
                 "servers": [server(route("/*", "in"), use=[{"lookup": {"within": within}}])], **top})


def ask(raw, running):
    return raw(running).send(get("/")).read()


def test_the_module_of_the_guide_works(weir, raw, tmp_path):
    page = (SOURCE / "conf/weir-modules.7").read_text()
    code = page.split("\n.nf\n", 1)[1].split("\n.fi\n", 1)[0]
    for roff, c in ((r"\(dq", '"'), (r"\-", "-"), (r"\e", "\\")):
        code = code.replace(roff, c)
    (tmp_path / "hello.c").write_text(code + "\n")
    subprocess.run([*shlex.split(os.environ.get("CC", "cc")), "-shared", "-fPIC", "-fvisibility=hidden", "-Wall",
                    "-Wextra", "-Werror", f"-I{SOURCE}/core/include", "hello.c", "-o", "hello.so",
                    f"-L{BUILD}/.libs", "-lweir", "-Wl,-z,defs"], cwd=tmp_path, check=True)
    running = weir({"modules": [{"name": "hello", "path": str(tmp_path / "hello.so")}],
                    "servers": [server({"handle": "hello"})]})
    assert ask(raw, running).body == b"Hello 127.0.0.1"


@pytest.mark.parametrize("name", ["events", "lookup", "patient", "rot13"])
def test_it_fits(name):
    done = subprocess.run([BUILD / "weir", "abi-check", example(name)["path"]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'module "{name}"' in done.stdout and "safe with several event loops" in done.stdout


def test_lookup_refuses_whom_the_file_names_and_no_other(weir, raw, tmp_path):
    file = tmp_path / "banned"
    file.write_text("127.0.0.11\n10.127.0.0.1\n")
    running = looked_up(weir, file)
    assert ask(raw, running).body == b"in"
    file.write_text("10.0.0.1\r\n127.0.0.1")
    assert ask(raw, running).status == 403
    file.write_text("")
    assert ask(raw, running).body == b"in"
    (tmp_path / "new").write_text("192.0.2.1\n" * 1000 + "127.0.0.1\n")
    (tmp_path / "new").replace(file)
    assert ask(raw, running).status == 403


def test_lookup_lets_nobody_pass_when_it_cannot_read(weir, raw, tmp_path):
    file = tmp_path / "banned"
    running = looked_up(weir, file, pools={"default": {"min": 1, "max": 1}})
    running.expect_error("module lookup, hook thread_start: failed: No such file or directory")
    running.expect_error("module lookup, hook access, GET /: failed: 500")
    assert ask(raw, running).status == 503
    file.write_text("")
    assert ask(raw, running).body == b"in"
    file.unlink()
    assert ask(raw, running).status == 500
    file.write_text("127.0.0.1")
    assert ask(raw, running).status == 403


def test_lookup_opens_its_file_once_for_each_thread(weir, raw, tmp_path):
    file = tmp_path / "banned"
    file.write_text("")
    running = looked_up(weir, file, pools={"default": {"min": 1, "max": 1}}, workers={"processes": 1})
    for _ in range(20):
        assert ask(raw, running).body == b"in"
    held = [path for pid in running.processes() for path in descriptors(pid).values()]
    assert held.count(str(file)) == 1


def test_lookup_answers_in_time(weir, raw, tmp_path):
    slow = SlowFile(tmp_path / "banned")
    running = looked_up(weir, slow.path, "50ms")
    answer = ask(raw, running)
    assert answer.status == 504 and answer.body == b"The list was not read in time.\n"
    os.close(slow.hold())  # its thread comes back to nobody


def test_lookup_answers_when_the_pool_is_busy(weir, raw, tmp_path):
    slow = SlowFile(tmp_path / "banned")
    running = looked_up(weir, slow.path, "60s",
                        pools={"default": {"min": 1, "max": 1, "queue_size": 1}})
    first, others = raw(running).send(get("/")), [raw(running) for _ in range(2)]
    held = slow.hold()  # the pool's one thread is at work
    for connection in others:
        connection.send(get("/"))
    [busy] = select.select([c.socket for c in others], [], [], first.socket.gettimeout())[0]
    others.sort(key=lambda connection: connection.socket is not busy)
    answer = others[0].read()
    assert answer.status == 503 and answer.field("Retry-After") == "1"
    os.close(held)
    slow.let_go(first, others[1])
    assert first.read().body == others[1].read().body == b"in"


def turned(weir, folder):
    (folder / "www").mkdir()
    (folder / "www/a.txt").write_text(TEXT)
    (folder / "www/a.json").write_text(TEXT)
    return weir({"modules": ["static", example("rot13")],
                 "servers": [server({"handle": {"static": str(folder / "www")}}, use=["rot13"])]})


def test_rot13_turns_texts(weir, raw, tmp_path):
    answer = raw(turned(weir, tmp_path)).send(get("/a.txt")).read()
    assert answer.body.decode() == TEXT.replace("Hello, Nobody", "Uryyb, Abobql")
    assert answer.field("Content-Length") is None and answer.field("ETag").startswith("W/")


def test_rot13_leaves_all_else(weir, raw, tmp_path):
    answer = raw(turned(weir, tmp_path)).send(get("/a.json")).read()
    assert answer.body.decode() == TEXT and answer.field("Content-Length") == str(len(TEXT))


def test_rot13_feels_a_slow_reader(weir, raw, tmp_path):
    """Ten answers that nobody reads for a while arrive whole."""
    connection = raw(turned(weir, tmp_path)).send(get("/a.txt") * 10)
    assert all(len(connection.read().body) == len(TEXT) for _ in range(10))


def streaming(weir, workers=(), **options):
    return weir({"modules": [{**example("events"), "options": {"every": "5ms", **options}}],
                 "workers": {"processes": 1, **dict(workers)}, "servers": [server({"handle": "events"})]})


def subscribe(raw, running):
    """A connection and the head of its stream; its first line, which says nothing, has been read."""
    connection = raw(running).send(get("/"))
    head = connection.read_head()
    if head.status == 200:
        assert read_event(connection) == ": welcome"
    return connection, head


def read_event(connection):
    """What one event says; None at the end of the stream. Each is written as one chunk at least."""
    connection.events = getattr(connection, "events", "")
    while "\n\n" not in connection.events:
        size = int(connection._line("chunk size"), 16)
        connection.events += connection._exactly(size, "chunk").decode()
        assert connection._line("the end of a chunk") == b""
        if size == 0:
            return None
    event, _, connection.events = connection.events.partition("\n\n")
    return event


@pytest.mark.parametrize("loops", [1, 2])
def test_events_reach_all_who_listen(weir, raw, loops):
    running = streaming(weir, {"loops": loops})
    listening = [subscribe(raw, running) for _ in range(20)]
    for connection, head in listening:
        assert head.status == 200 and head.field("content-type") == "text/event-stream"
        first = int(read_event(connection).split("\n")[0].removeprefix("id: "))
        for number in range(first + 1, first + 6):
            assert read_event(connection) == f"id: {number}\ndata: tick"


def test_events_are_for_get(weir, raw):
    answer = raw(streaming(weir)).send(get("/", method="POST")).read()
    assert answer.status == 405 and answer.field("Allow") == "GET"


def test_events_have_room_for_so_many_and_for_others_when_they_leave(weir, raw):
    running = streaming(weir, subscribers=1)
    first, _ = subscribe(raw, running)
    full = raw(running).send(get("/")).read()
    assert full.status == 503 and full.field("Retry-After") == "5"
    first.reset()
    assert eventually(lambda: subscribe(raw, running)[1].status == 200)


def test_events_let_go_who_is_too_slow(weir, raw):
    """One who reads nothing holds the only place until what the systems and the server keep for it is full."""
    running = streaming(weir, text="x" * 30000, every="1ms", subscribers=1)
    slow, _ = subscribe(raw, running)
    assert eventually(lambda: raw(running).send(get("/")).read_head().status == 200, 30)
    count = 0
    while (event := read_event(slow)) is not None:
        assert event.endswith("x" * 30000)
        count += 1
    assert 0 < count < 1000  # 30 MB; the streams of a system may hold six
    slow.send(get("/"))
    assert slow.read_head().status in (200, 503)  # the connection is as good as before


@pytest.mark.parametrize("loops", [1, 2])
def test_events_say_good_bye_when_the_server_stops(weir, raw, loops):
    running = streaming(weir, {"loops": loops})
    listening = [subscribe(raw, running)[0] for _ in range(10)]
    running.signal(signal.SIGTERM)
    for connection in listening:
        while (event := read_event(connection)).startswith("id:"):
            pass
        assert event == "event: bye\ndata: come again" and read_event(connection) is None
        connection.expect_closed()
    assert running.wait_exit() == 0


def test_events_of_a_replaced_generation_end_and_others_begin(weir, raw):
    running = streaming(weir)
    old, _ = subscribe(raw, running)
    running.signal(signal.SIGHUP)
    while (event := read_event(old)).startswith("id:"):
        pass
    assert event.startswith("event: bye") and read_event(old) is None
    new, _ = subscribe(raw, running)
    assert read_event(new).startswith("id:")


@pytest.mark.parametrize("text, says", [("a\nb", "one line for each event"), ("x" * 40000, "at most 32668 bytes")])
def test_events_say_what_is_wrong_with_their_text(weir, text, says):
    running = weir({"modules": [{**example("events"), "options": {"text": text}}],
                    "servers": [server({"handle": "events"})]}, listeners=0, exit_status=78)
    running.expect_error(".")
    running.wait_exit()
    assert says in running.log and "/modules/0/options/text" in running.log
