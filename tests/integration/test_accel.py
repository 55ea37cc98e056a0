# SPDX-License-Identifier: MIT
"""CONFIG.md, handler `accel`: an answer's X-Accel-Redirect or X-Sendfile names what is sent in its place (F62).

The application is a file whose own fields (`static`, headers) name another."""

import re

import pytest
from weir_site import get, server, site

CONTENT = bytes(range(256)) * 8192  # 2 MiB: leaves in several portions


def application(tmp_path, match, fields):
    return {"match": match,
            "handle": {"static": {"root": str(tmp_path / "app"), "try": "/page", "headers": fields}}}


@pytest.fixture
def accelerated(weir, tmp_path):
    """A server whose /to/... lead to what their names say."""
    for name, content in (("app/page", b"not this"), ("files/a.bin", CONTENT), ("files/b.html", b"<p>b"),
                          ("outside/c.txt", b"not yours")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.parent.chmod(0o755)
        path.write_bytes(content)
    (tmp_path / "files" / "link").symlink_to("../outside/c.txt")
    tmp_path.chmod(0o755)
    kept = {"content-disposition": "attachment", "set-cookie": "a=b", "x-secret": "inner"}
    document = site(servers=[server(
        {"match": "/protected/*", "internal": True,
         "handle": {"static": {"root": str(tmp_path / "files"), "strip": "/protected"}}},
        {"match": "/loop/*", "internal": True,
         "handle": {"static": {"root": str(tmp_path / "app"), "try": "/page",
                               "headers": {"x-accel-redirect": "/loop/again"}}}},
        application(tmp_path, "/to/route", {"x-accel-redirect": "/protected/a.bin", **kept}),
        application(tmp_path, "/to/page", {"x-accel-redirect": "/protected/b.html"}),
        application(tmp_path, "/to/file", {"x-sendfile": str(tmp_path / "files" / "a.bin"), **kept}),
        application(tmp_path, "/to/none", {"x-accel-redirect": "/protected/none", **kept}),
        application(tmp_path, "/to/outside", {"x-sendfile": str(tmp_path / "outside" / "c.txt")}),
        application(tmp_path, "/to/link", {"x-sendfile": str(tmp_path / "files" / "link")}),
        application(tmp_path, "/to/climb", {"x-accel-redirect": "/protected/%2e%2e/loop/a"}),
        application(tmp_path, "/to/loop", {"x-accel-redirect": "/loop/a"}),
        application(tmp_path, "/to/nothing", {"x-accel-buffering": "no"}),
        use=[{"error_pages": {"text": {"404": "no such file"}}},
             {"accel": {"to": ["/protected/*", "/loop/*"], "roots": str(tmp_path / "files")}},
             {"headers": {"response": {"set": {"x-frame-options": "DENY"}}}}])])
    return weir({**document, "modules": ["static", "accel", "headers", "error_pages"]})


def shows_nothing(answer):
    return not any(re.match("(?i)x-accel|x-sendfile|x-secret", name) for name, _ in answer.fields)


@pytest.mark.parametrize("target", ["/to/route", "/to/file"])
def test_what_is_named_is_sent(accelerated, raw, target):
    with raw(accelerated) as connection:
        answer = connection.send(get(target)).read()
        assert (answer.status, answer.body == CONTENT) == (200, True)
        assert answer.all("content-disposition") == ["attachment"]
        assert answer.all("set-cookie") == ["a=b"]
        assert answer.all("x-frame-options") == ["DENY"]
        assert shows_nothing(answer)
        head = connection.send(get(target, method="HEAD")).read("HEAD")
        assert (head.status, head.field("content-length")) == (200, str(len(CONTENT)))


@pytest.mark.parametrize("target", ["/to/route", "/to/file"])
def test_ranges_and_conditions_hold_for_it(accelerated, raw, target):
    with raw(accelerated) as connection:
        whole = connection.send(get(target, method="HEAD")).read("HEAD")
        part = connection.send(get(target, fields="Range: bytes=1000000-1000009\r\n")).read()
        assert (part.status, part.body) == (206, CONTENT[1000000:1000010])
        assert part.field("content-range") == f"bytes 1000000-1000009/{len(CONTENT)}"
        same = connection.send(get(target, fields=f"If-None-Match: {whole.field('etag')}\r\n")).read()
        assert (same.status, same.body) == (304, b"")
        beyond = connection.send(get(target, fields="Range: bytes=9999999-\r\n")).read()
        assert beyond.status == 416
    assert all(map(shows_nothing, (whole, part, same, beyond)))


def test_the_application_s_type_stays(accelerated, raw):
    with raw(accelerated) as connection:
        answer = connection.send(get("/to/page")).read()
    assert (answer.status, answer.body, answer.field("content-type")) == (200, b"<p>b", "application/octet-stream")


@pytest.mark.parametrize("target, status, line", [
    ("/to/none", 404, None),
    ("/to/outside", 500, "beneath no directory of `roots`"),
    ("/to/link", 500, "leaves its root by a link"),
    ("/to/climb", 500, "climbs nowhere"),
    ("/to/loop", 508, "nested more than 8 deep"),
])
def test_where_nothing_may_be_sent(accelerated, raw, target, status, line):
    if line is not None:
        accelerated.expect_error(line)
    with raw(accelerated) as connection:
        answer = connection.send(get(target)).read()
    assert answer.status == status
    assert status != 404 or answer.body == b"no such file"
    assert b"not" not in answer.body
    assert shows_nothing(answer)
    assert line is None or accelerated.wait(lambda: line in accelerated.log, 5)


def test_nobody_else_reaches_it(accelerated, raw):
    with raw(accelerated) as connection:
        assert connection.send(get("/protected/a.bin")).read().status == 404


def test_what_is_for_the_server_goes_no_further(accelerated, raw):
    with raw(accelerated) as connection:
        answer = connection.send(get("/to/nothing")).read()
    assert (answer.status, answer.body) == (200, b"not this")
    assert shows_nothing(answer)
