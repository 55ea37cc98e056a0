# SPDX-License-Identifier: MIT
"""An answer that is kept (weir_reply_keep()) is made as if its client read fast: what it has not read is in memory up
to limits.reply_memory, and then in a file without a name, which is gone with the request (F14)."""

import os
import socket

import pytest
from weir_process import descriptors, eventually, is_instrumented, process_tree, resident_bytes
from weir_site import get, server

MODULE = f"{os.environ['WEIR_BUILDDIR']}/tests/support/.libs/libbody.so"
MEBIBYTE = 1 << 20
PATTERN = bytes(range(251))


def making(folder, workers=None, **limits):
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    folder.parent.chmod(0o755)
    return {"modules": [{"name": "body", "path": MODULE}],
            "workers": {"processes": 1, "temp_dir": str(folder), "temp_size": "300m", **(workers or {})},
            "servers": [server({"handle": "make"}, limits=limits)]}


def files(running):
    """How long the files without names are that the server's processes hold."""
    return [os.stat(f"/proc/{pid}/fd/{number}").st_size for pid in process_tree(running.pid)
            for number, name in descriptors(pid).items()
            if name.startswith("/") and "(deleted)" in name and "memfd" not in name]


def ask(raw, running, size):
    """A client that takes little: its system keeps at most some 100 KiB for it."""
    connection = raw(running)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    return connection.send(get(f"/{size}"))


def made(raw, running):
    with raw(running) as connection:
        return int(connection.send(get("/made")).read().body)


def is_right(body, size):
    return len(body) == size and body == (PATTERN * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, 100_000, 20_000_003])
def test_clients_get_all_of_it(weir, raw, tmp_path, size):
    running = weir(making(tmp_path / "temp", reply_memory="64k"))
    for _ in range(2):
        with raw(running) as connection:
            assert is_right(connection.send(get(f"/{size}")).read().body, size)
    assert eventually(lambda: files(running) == [])
    assert made(raw, running) == 2


def test_the_maker_does_not_wait_and_memory_does_not_grow(weir, raw, tmp_path):
    size = (8 if is_instrumented() else 64) * MEBIBYTE
    running = weir(making(tmp_path / "temp"))
    assert made(raw, running) == 0
    before = resident_bytes(running.pid)
    clients = [ask(raw, running, size) for _ in range(3)]
    assert eventually(lambda: made(raw, running) == 3, 60)
    assert is_instrumented() or resident_bytes(running.pid) - before < 16 * MEBIBYTE
    assert len(files(running)) == 3
    assert os.listdir(tmp_path / "temp") == []
    for client in clients:
        assert is_right(client.read().body, size)
    assert eventually(lambda: files(running) == [])


def test_a_client_that_leaves_takes_its_file_along(weir, raw, tmp_path):
    running = weir(making(tmp_path / "temp", reply_memory="64k"))
    clients = [ask(raw, running, 20 * MEBIBYTE) for _ in range(6)]
    assert eventually(lambda: made(raw, running) == 6, 60)
    assert len(files(running)) == 6
    for client in clients[:3]:
        client.reset()
    for client in clients[3:]:
        client.close()
    assert eventually(lambda: files(running) == [])


def test_on_a_full_disk_the_maker_waits_and_nothing_is_lost(weir, raw, tmp_path):
    """The disk is as full as RLIMIT_FSIZE says; 32 MiB, since the server makes files of its own."""
    binary = os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"
    running = weir(making(tmp_path / "temp"), command=["prlimit", f"--fsize={32 * MEBIBYTE}", binary])
    running.expect_error("answers cannot be kept in .*temp: File too large: whoever makes them waits for their clients")
    client = ask(raw, running, 64 * MEBIBYTE)
    assert eventually(lambda: "answers cannot be kept in" in running.log, 60)
    assert made(raw, running) == 0
    assert is_right(client.read().body, 64 * MEBIBYTE)
    assert eventually(lambda: made(raw, running) == 1 and files(running) == [])


def test_without_a_directory_the_maker_waits(weir, raw, tmp_path):
    document = making(tmp_path / "temp", workers={"temp_dir": str(tmp_path / "none")}, reply_memory="64k")
    running = weir(document)
    running.expect_error("answers cannot be kept in .*none: No such file or directory")
    client = ask(raw, running, 20 * MEBIBYTE)
    assert eventually(lambda: "answers cannot be kept in" in running.log)
    assert made(raw, running) == 0
    assert is_right(client.read().body, 20 * MEBIBYTE)
