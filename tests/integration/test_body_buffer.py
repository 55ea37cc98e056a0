# SPDX-License-Identifier: MIT
"""limits.body_buffer: a body is read before a handler, and with it a thread, is used (F12); what of it is too
large for memory is in a file without a name, which is gone with the request (F14)."""

import os
import time
import zlib

import pytest
from weir_process import descriptors, eventually, is_instrumented, process_tree, resident_bytes, slow
from weir_site import get, server

MODULE = f"{os.environ['WEIR_BUILDDIR']}/tests/support/.libs/libbody.so"
MEBIBYTE = 1 << 20


def summing(folder, workers=None, **limits):
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    folder.parent.chmod(0o755)
    return {"modules": [{"name": "body", "path": MODULE}],
            "workers": {"processes": 1, "temp_dir": str(folder), **(workers or {})},
            "pools": {"default": {"min": 2, "max": 2}},
            "servers": [server({"handle": "sum"}, limits={"body_buffer": False, "body": "300m", **limits})]}


def post(length, target="/"):
    return get(target, method="POST", fields=f"Content-Length: {length}\r\n")


def summed(body):
    return f"{len(body)} {zlib.adler32(body)}".encode()


def open_files(running):
    """Descriptors of all processes that are files beneath /, named or not."""
    return sorted(name for pid in process_tree(running.pid) for name in descriptors(pid).values()
                  if name.startswith("/") and "(deleted)" in name and "memfd" not in name)


def open_bytes(running):
    """How long they are together."""
    return sum(os.stat(f"/proc/{pid}/fd/{number}").st_size for pid in process_tree(running.pid)
               for number, name in descriptors(pid).items()
               if name.startswith("/") and "(deleted)" in name and "memfd" not in name)


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_handlers_read_it_without_knowing(weir, raw, tmp_path, size):
    running = weir(summing(tmp_path / "temp", body_memory="64k"))
    body = os.urandom(size)
    with raw(running) as connection:
        for _ in range(3):
            assert connection.send(post(size) + body).read().body == summed(body)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[i:i + 70_001] for i in range(0, size, 70_001)))
        connection.send(get("/", method="POST", fields="Transfer-Encoding: chunked\r\n") + chunks + b"0\r\n\r\n")
        assert connection.read().body == summed(body)
    assert eventually(lambda: open_files(running) == [])


def test_fifty_slow_uploads_hold_no_thread(weir, raw, tmp_path):
    running = weir(summing(tmp_path / "temp"))
    uploads = [raw(running).send(post(10) + b"a") for _ in range(50)]
    for _ in range(5):
        began = time.monotonic()
        with raw(running) as connection:
            assert connection.send(post(5) + b"hello").read().body == summed(b"hello")
        assert time.monotonic() - began < slow(0.1)
        for upload in uploads:
            upload.send(b"a")
    for upload in uploads:
        assert upload.send(b"aaaa").read().body == summed(b"a" * 10)


def test_a_large_upload_costs_no_memory(weir, raw, tmp_path):
    size = (16 if is_instrumented() else 256) * MEBIBYTE
    running = weir(summing(tmp_path / "temp", workers={"temp_size": "300m"}))
    piece = os.urandom(MEBIBYTE)
    with raw(running) as connection:
        assert connection.send(post(5) + b"hello").read().body == summed(b"hello")
        before, most, adler = resident_bytes(running.pid), 0, 1
        connection.send(post(size))
        for i in range(size // MEBIBYTE):
            connection.send(piece)
            adler = zlib.adler32(piece, adler)
            if i % 16 == 0:
                most = max(most, resident_bytes(running.pid))
        assert os.listdir(tmp_path / "temp") == []
        assert connection.read().body == f"{size} {adler}".encode()
        most = max(most, resident_bytes(running.pid))
    assert is_instrumented() or most - before < 8 * MEBIBYTE
    assert eventually(lambda: open_files(running) == [])


def test_a_client_that_leaves_takes_its_file_along(weir, raw, tmp_path):
    running = weir(summing(tmp_path / "temp", body_memory="64k"))
    uploads = [raw(running).send(post(2 * MEBIBYTE) + os.urandom(MEBIBYTE)) for _ in range(10)]
    assert eventually(lambda: len(open_files(running)) == 10)
    for upload in uploads[:5]:
        upload.reset()
    for upload in uploads[5:]:
        upload.close()
    assert eventually(lambda: open_files(running) == [])
    assert raw(running).send(post(1) + b"a").read().body == summed(b"a")


def test_a_full_disk_is_507_for_those_that_need_it(weir, raw, tmp_path):
    """The disk is as full as RLIMIT_FSIZE says; 32 MiB, since the server makes files of its own."""
    binary = os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"
    limited = ["prlimit", f"--fsize={32 * MEBIBYTE}", binary]
    running = weir(summing(tmp_path / "temp"), command=limited)
    running.expect_error("bodies of requests cannot be kept in .*temp: File too large: 507")
    piece = os.urandom(MEBIBYTE)
    with raw(running) as connection:
        connection.send(post(64 * MEBIBYTE))
        try:
            for _ in range(64):
                connection.send(piece)
        except OSError:
            pass  # it was refused before all was sent
        answer = connection.read()
        assert (answer.status, answer.reason) == (507, "Insufficient Storage")
    with raw(running) as connection:
        assert connection.send(post(MEBIBYTE) + piece).read().body == summed(piece)
    assert eventually(lambda: open_files(running) == [])


def test_all_files_together_are_bounded(weir, raw, tmp_path):
    running = weir(summing(tmp_path / "temp", workers={"temp_size": "4m"}, body_memory="64k"))
    running.expect_error("workers.temp_size, or a quota, is used up: 507")
    first = raw(running).send(post(4 * MEBIBYTE) + bytes(3 * MEBIBYTE))
    assert eventually(lambda: open_bytes(running) > 3 * MEBIBYTE - 128 * 1024)  # else the room may be the other's
    second = raw(running).send(post(3 * MEBIBYTE) + bytes(3 * MEBIBYTE))
    assert second.read().status == 507
    first.reset()
    assert eventually(lambda: open_files(running) == [])
    assert raw(running).send(post(3 * MEBIBYTE) + bytes(3 * MEBIBYTE)).read().body == summed(bytes(3 * MEBIBYTE))


def test_a_directory_that_is_not_there_is_said_at_the_start(weir, tmp_path):
    document = summing(tmp_path / "temp", workers={"temp_dir": str(tmp_path / "none")})
    running = weir(document, listeners=0, exit_status=78)
    running.expect_error("workers.temp_dir: .*none: No such file or directory")
    running.wait_exit()
    assert "workers.temp_dir: the bodies of limits.body_buffer cannot be kept in" in running.log


def test_it_is_not_needed_where_nothing_is_kept(weir, raw, tmp_path):
    document = summing(tmp_path / "temp", workers={"temp_dir": str(tmp_path / "none")}, body_buffer=0)
    running = weir({**document, "servers": [server({"handle": "sum"})]})
    assert raw(running).send(post(5) + b"hello").read().body == summed(b"hello")
