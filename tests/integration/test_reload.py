# SPDX-License-Identifier: MIT
"""Reloading (F76, DESIGN.md section 3): the new generation serves before the old one drains, no request
is lost whatever clients are doing, and one that fails changes nothing. A request is lost unless our
FIN was sent before its first byte arrived.

WEIR_RELOADS sets how often the load test reloads (20)."""

import json
import os
import signal
import socket
import stat
import time

import pytest
import weir_raw
from weir_load import Load
from weir_process import descriptors, eventually, process_tree, slow
from weir_site import GET, HELLO, get, route, site

RELOADS = int(os.environ.get("WEIR_RELOADS", "20"))


def reload(server, config=None):
    """Tells it to, and waits until the next generation serves."""
    if config is not None:
        (server.folder / "weir.json").write_text(json.dumps(config))
    def counts():  # by the master, and by the old workers once they accept no more
        return server.log.count(" serves with "), server.log.count("draining: no new")

    before = counts()
    server.signal(signal.SIGHUP)
    server.wait(lambda: all(now > then for now, then in zip(counts(), before)), 20)
    assert all(now > then for now, then in zip(counts(), before)), server.log


def with_body(server, text):
    """The server's own configuration, with another answer."""
    config = json.loads((server.folder / "weir.json").read_text())
    config["servers"][0]["routes"] = [route("/hello", text)]
    return config


def test_a_new_configuration_serves_new_connections(weir, raw):
    server = weir(site())
    reload(server, with_body(server, "other"))
    assert raw(server).send(GET).read().body == b"other"


def test_a_kept_connection_gets_one_more_answer_that_says_close(weir, raw):
    server = weir(site())
    kept = raw(server)
    assert kept.send(GET).read().body == HELLO
    reload(server, with_body(server, "other"))
    answer = kept.send(GET).read()
    assert (answer.body, answer.field("connection")) == (HELLO, "close")
    kept.expect_closed()


def test_an_upload_and_a_download_of_the_old_generation_are_finished(weir, raw):
    server = weir(site(route("/hello", "hello"), route("/large", "x" * 3_000_000)))
    upload = raw(server).send(get(method="POST", fields="Content-Length: 100000\r\n") + b"x" * 10)
    download = raw(server)
    download.send(get("/large") * 3)  # more than the buffers of the system hold
    head = download.read_head()
    reload(server)
    assert upload.read().status == 200
    body = download._exactly(int(head.field("content-length")), "body")
    assert body == b"x" * 3_000_000
    for _ in range(2):
        assert len(download.read().body) == 3_000_000


@pytest.mark.parametrize("text, says", [
    ("{", "error"),
    ('{ "modules": ["nowhere"], "servers": [] }', "nowhere"),
])
def test_a_wrong_configuration_changes_nothing(weir, raw, text, says):
    server = weir(site())
    pids = process_tree(server.pid)
    (server.folder / "weir.json").write_text(text)
    server.expect_error(".")
    server.signal(signal.SIGHUP)
    server.wait_for_line("reload: refused, generation 1 serves on")
    assert says in server.log
    assert raw(server).send(GET).read().body == HELLO
    assert process_tree(server.pid) == pids


def test_an_address_in_use_changes_nothing(weir, raw):
    server = weir(site())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = with_body(server, "other")
        config["servers"].append({"listen": f"127.0.0.1:{taken.getsockname()[1]}", "routes": [route("/", "b")]})
        (server.folder / "weir.json").write_text(json.dumps(config))
        server.expect_error("another program listens there")
        server.expect_error("refused, generation 1 serves on")
        server.signal(signal.SIGHUP)
        server.wait_for_line("refused, generation 1 serves on")
    assert raw(server).send(GET).read().body == HELLO


def test_a_reload_that_fails_does_not_move_the_log(weir, tmp_path):
    first, server = weir(site()), weir(site())
    config = json.loads((server.folder / "weir.json").read_text())
    config["servers"][0]["listen"] = first.address
    config["log"] = {"file": str(tmp_path / "other.log"), "level": "error"}
    (server.folder / "weir.json").write_text(json.dumps(config))
    server.expect_error("Address already in use")
    server.expect_error("generation 1 serves on")
    server.signal(signal.SIGHUP)
    server.wait_for_line("generation 1 serves on")
    assert (tmp_path / "other.log").read_text() == ""
    assert not any("other.log" in name for name in descriptors(server.pid).values())


def test_log_files_of_generations_that_have_ended_are_closed(weir, tmp_path):
    server = weir(site(top={"log": {"file": str(tmp_path / "first.log")}}), listeners=0)
    assert eventually(lambda: (tmp_path / "first.log").exists() and "listening" in (tmp_path / "first.log").read_text())
    config = json.loads((server.folder / "weir.json").read_text())
    config["log"]["file"] = str(tmp_path / "second.log")
    (server.folder / "weir.json").write_text(json.dumps(config))
    server.signal(signal.SIGHUP)
    assert eventually(lambda: not any("first.log" in name for name in descriptors(server.pid).values()))
    assert "generation 2 serves" in (tmp_path / "second.log").read_text()


def test_a_unix_socket_takes_its_new_mode(weir, raw, tmp_path):
    path = tmp_path / "web.sock"
    server = weir(site(listen="door", top={"listeners": {"door": {"address": f"unix:{path}", "mode": "0600"}}}))
    config = json.loads((server.folder / "weir.json").read_text())
    config["listeners"]["door"]["mode"] = "0666"
    reload(server, config)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    assert raw(server).send(GET).read().body == HELLO


def test_a_port_takes_its_new_backlog(weir, raw):
    server = weir(site(listen="door", top={"listeners": {"door": {"address": "127.0.0.1:0", "backlog": 1}}}))
    config = json.loads((server.folder / "weir.json").read_text())
    config["listeners"]["door"]["backlog"] = 64
    reload(server, config)
    with server.held():  # nobody accepts: the queue holds what it may hold
        crowd = [raw(server, 2) for _ in range(32)]
    for connection in crowd:
        assert connection.send(GET).read().body == HELLO


def test_a_socket_file_that_is_no_longer_wanted_goes(weir, tmp_path):
    server = weir(site(listen=[f"unix:{tmp_path}/a.sock", f"unix:{tmp_path}/b.sock"]), listeners=2)
    config = json.loads((server.folder / "weir.json").read_text())
    config["servers"][0]["listen"] = f"unix:{tmp_path}/a.sock"
    reload(server, config)
    assert eventually(lambda: not (tmp_path / "b.sock").exists())
    assert (tmp_path / "a.sock").is_socket()


def test_a_short_drain_timeout_still_gives_a_kept_connection_its_notice(weir, raw):
    server = weir(site(top={"workers": {"drain_timeout": "1s"}}))
    for _ in range(5):
        kept = raw(server)
        assert kept.send(GET).read().body == HELLO
        began = time.monotonic()
        reload(server)
        eventually(lambda: time.monotonic() - began > 0.2)  # several looks of the one that drains
        if time.monotonic() - began < 0.6:  # else this machine is too slow to tell
            assert kept.send(GET).read().field("connection") == "close"
            return


def test_ports_that_were_chosen_stay_with_their_servers(weir):
    names = ["one", "two", "three"]
    server = weir(site(servers=[{"name": name, "listen": "127.0.0.1:0", "routes": [route("/hello", name)]}
                                for name in names]), listeners=3)
    for _ in range(3):
        assert [weir_raw.request(address, GET).body.decode() for address in server.addresses] == names
        reload(server)


def test_an_address_that_is_no_longer_wanted_is_given_up(weir, raw):
    server = weir(site(listen=["127.0.0.1:0", "127.0.0.1:0"]), listeners=2)
    first, second = server.addresses
    config = json.loads((server.folder / "weir.json").read_text())
    config["servers"][0]["listen"] = "127.0.0.1:0"
    reload(server, config)

    def refuses(address):
        try:
            weir_raw.Connection(address).close()
        except ConnectionRefusedError:
            return True
        return False

    assert eventually(lambda: refuses(first) or refuses(second))
    left = second if refuses(first) else first
    assert raw(left).send(GET).read().body == HELLO


def test_more_workers_after_a_reload(weir, raw):
    server = weir(site(top={"workers": {"processes": 1}}))
    config = with_body(server, "other")
    config["workers"]["processes"] = 3
    reload(server, config)
    assert eventually(lambda: len(process_tree(server.pid)) == 4)
    config["workers"]["processes"] = 1
    reload(server, config)
    assert eventually(lambda: len(process_tree(server.pid)) == 2)
    for _ in range(30):  # the sockets of three slots have one worker
        assert raw(server).send(GET).read().body == b"other"


def test_no_request_is_lost_while_it_reloads_under_load(weir):
    server = weir(site(route("/hello", "hello"), route("/large", "x" * 1_000_000), top={"workers": {"processes": 2}}))
    with Load(server) as load:
        for i in range(RELOADS):
            answers = load.answers
            reload(server)
            assert eventually(lambda: load.answers > answers + 20, 20), i
            # No more than three generations at once: the fourth would only wait.
            assert eventually(lambda: len(process_tree(server.pid)) <= 1 + 2 * 2, 60)
    assert not load.lost, load.lost[:5]
    assert load.answers > 20 * RELOADS


def test_a_fourth_generation_waits_for_a_place(weir, raw):
    server = weir(site())
    held = []
    for generation in (2, 3):
        held.append(raw(server).send(GET + GET[:10]))
        assert held[-1].read().body == HELLO
        reload(server)
        assert f"generation {generation} serves" in server.log
    server.signal(signal.SIGHUP)
    server.wait_for_line("reload: waits, 3 generations")
    for connection in held:
        assert connection.send(GET[10:]).read().body == HELLO
    server.wait_for_line("generation 4 serves")


def test_stopping_while_generations_drain_waits_for_both(weir, raw):
    server = weir(site())
    old = raw(server).send(GET + GET[:10])
    assert old.read().body == HELLO
    reload(server)
    new = raw(server).send(GET + GET[:10])
    assert new.read().body == HELLO
    server.signal(signal.SIGTERM)
    assert eventually(lambda: server.log.count("draining: no new connections") == 2)
    for connection in (old, new):
        assert connection.send(GET[10:]).read().body == HELLO
    began = time.monotonic()
    assert server.wait_exit() == 0
    assert time.monotonic() - began < slow(10)
