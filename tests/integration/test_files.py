# SPDX-License-Identifier: MIT
"""HTTP.md, Files and Answers, against the real binary: what is served from a folder, what never is, conditions
and ranges (F54 to F58). Each row is sent whole, byte by byte and split in two at every point, with the
same answer each time, on a connection that is kept unless the row says otherwise.

tests/unit/modules/static_test.c has such rows without sockets and on older kernels."""

import gzip
import os
import socket

import pytest
import weir_raw
from weir_site import get

SECRET = b"nobody may see this"
TEN = b"0123456789"
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER, LATER = "Sun, 06 Nov 1994 08:49:36 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"
TAG = f'"{len(TEN):x}-{784111777 * 10**9:x}"'
ABSENT = None


def fill(folder):
    """The files beneath folder/www, and what is beside it."""
    www = folder / "www"
    (www / "dir" / "sub").mkdir(parents=True)
    (folder / "secret").write_bytes(SECRET)
    (www / "ten").write_bytes(TEN)
    os.utime(www / "ten", (784111777, 784111777))
    (www / "empty").write_bytes(b"")
    (www / "app.js").write_bytes(b"original")
    (www / "app.js.gz").write_bytes(gzip.compress(b"original"))
    (www / "app.js.br").write_bytes(b"brotli")
    (www / "old.js").write_bytes(b"original")
    (www / "old.js.gz").write_bytes(b"of another version")
    os.utime(www / "old.js.gz", (1, 1))
    (www / "index").mkdir()
    (www / "index" / "index.html").write_bytes(b"<p>index</p>")
    (www / "a b%c").write_bytes(b"odd")
    (www / ".hidden").write_bytes(SECRET)
    (www / "dir" / ".hidden").write_bytes(SECRET)
    (www / ".well-known").mkdir()
    (www / ".well-known" / "x").write_bytes(b"known")
    for name, to in (("link", "ten"), ("absolute", "/etc/passwd"), ("out", "../secret"), ("out-folder", ".."),
                     ("loop", "loop"), ("dangling", "nothing"), ("self", "/proc/self/environ")):
        (www / name).symlink_to(to)
    os.mkfifo(www / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(www)
        one.bind("socket")
    for name in (b"<b>&\"'.txt", b"javascript:alert(1)", b"line\nbreak", b"\xe4", "ü".encode(), b"%2e%2e"):
        with open(os.fsencode(www / "dir") + b"/" + name, "wb") as file:
            file.write(b"x")
    return www


def ask(target, fields="", method="GET", **rest):
    lines = "".join(f"{line}\r\n" for line in fields.split("\n") if line)
    return get(target, method=method, fields=lines, **rest)


def row(why, data, status, body=..., **fields):
    return pytest.param(data, status, body, fields, id=why)


ROWS = [
    row("a file", ask("/ten"), 200, TEN, ETag=TAG, Last_Modified=DATE, Accept_Ranges="bytes", Content_Length="10"),
    row("HEAD of it (F47)", ask("/ten", method="HEAD"), 200, b"", ETag=TAG, Content_Length="10"),
    row("an empty one", ask("/empty"), 200, b"", Content_Length="0"),
    row("an escaped name", ask("/a%20b%25c"), 200, b"odd"),
    row("another method (RFC 9110 15.5.6)", ask("/ten", method="DELETE"), 405, Allow="GET, HEAD, OPTIONS"),
    row("POST", ask("/ten", "Content-Length: 3", method="POST", body=b"abc"), 405, Allow="GET, HEAD, OPTIONS"),
    row("TRACE", ask("/ten", method="TRACE"), 405, Allow="GET, HEAD, OPTIONS"),
    row("OPTIONS", ask("/ten", method="OPTIONS"), 204, b"", Allow="GET, HEAD, OPTIONS"),
    row("another method to nothing", ask("/none", method="PUT"), 404),
    row("nothing", ask("/none"), 404),
    row("below a file", ask("/ten/x"), 404),
    row("a file with a slash", ask("/ten/"), 404),
    row("in another case", ask("/TEN"), 404),
    row("a name too long for any file", ask("/" + "x" * 300), 404),

    # --- folders
    row("a folder", ask("/dir"), 308, Location="/dir/"),
    row("with its query", ask("/dir?a=%2F&b"), 308, Location="/dir/?a=%2F&b"),
    row("no open redirect through two slashes", ask("//dir"), 308, Location="/dir/"),
    row("nor through a host", ask("//evil.example/../dir"), 308, Location="/dir/"),
    row("nor through an absolute target", ask("http://b.example//dir"), 308, Location="/dir/"),
    row("nor with a backslash", ask("/%5Cevil.example/..%5Cdir"), 400, end="closed"),
    row("a folder through a link is the same", ask("/link/"), 404),
    row("an index", ask("/index/"), 200, b"<p>index</p>", Content_Type="text/html; charset=utf-8"),
    row("no index and no listing", ask("/dir/"), 404),

    # --- paths (F58)
    row("dots within", ask("/dir/sub/../../ten"), 200, TEN),
    row("encoded dots within", ask("/dir/%2e%2E/ten"), 200, TEN),
    *(row(f"out of the root: {target}", ask(target), 400, end="closed") for target in (
        "/../secret", "/dir/../../secret", "/%2e%2e/secret", "/.%2e/secret", "/%2e./secret", "/..%2fsecret",
        "/%2e%2e%2fsecret", "/dir/..%2f..%2fsecret", "/..%5csecret", "/dir%2f..%2f..%2fsecret", "/ten%00",
        "/ten%00.html", "/%00", "/%", "/%2", "/%zz", "/..")),
    *(row(f"nothing: {target}", ask(target), 404) for target in (
        "/%252e%252e/secret", "/dir%2fsub", "/ten%5c", "/...", "/..;/secret", "/%c0%ae%c0%ae/secret", "/..%c0%af",
        "/ten%0a", "/ten%20", "/ten.")),
    row("merged slashes", ask("///ten"), 200, TEN),
    row("a link beneath the root", ask("/link"), 200, TEN),
    *(row(f"a link that leads out: {name}", ask(f"/{name}"), 404) for name in (
        "absolute", "out", "out-folder/secret", "out-folder/", "loop", "dangling", "self")),
    *(row(f"no file: {name}", ask(f"/{name}"), 404) for name in ("fifo", "socket")),
    *(row(f"hidden: {target}", ask(target), 404) for target in ("/.hidden", "/dir/.hidden", "/%2ehidden")),
    row("well-known is not hidden (RFC 8615)", ask("/.well-known/x"), 200, b"known"),

    # --- conditions (RFC 9110 13.2.2)
    row("If-None-Match", ask("/ten", f"If-None-Match: {TAG}"), 304, b"", ETag=TAG, Content_Type=ABSENT),
    row("weakly", ask("/ten", f"If-None-Match: W/{TAG}"), 304, b""),
    row("in a list", ask("/ten", f'If-None-Match: "x", {TAG}'), 304, b""),
    row("over two lines", ask("/ten", f'If-None-Match: "x"\nIf-None-Match: {TAG}'), 304, b""),
    row("anything", ask("/ten", "If-None-Match: *"), 304, b""),
    row("another", ask("/ten", 'If-None-Match: "x"'), 200, TEN),
    row("HEAD is asked alike", ask("/ten", "If-None-Match: *", method="HEAD"), 304, b""),
    row("it is stronger than a date", ask("/ten", f'If-None-Match: "x"\nIf-Modified-Since: {LATER}'), 200, TEN),
    row("If-Modified-Since", ask("/ten", f"If-Modified-Since: {DATE}"), 304, b""),
    row("later", ask("/ten", f"If-Modified-Since: {LATER}"), 304, b""),
    row("earlier", ask("/ten", f"If-Modified-Since: {EARLIER}"), 200, TEN),
    row("as RFC 850", ask("/ten", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"), 304, b""),
    row("as asctime()", ask("/ten", "If-Modified-Since: Sun Nov  6 08:49:37 1994"), 304, b""),
    row("no date", ask("/ten", "If-Modified-Since: yesterday"), 200, TEN),
    row("If-Match", ask("/ten", f"If-Match: {TAG}"), 200, TEN),
    row("not weakly", ask("/ten", f"If-Match: W/{TAG}"), 412),
    row("If-Match anything", ask("/ten", "If-Match: *"), 200, TEN),
    row("If-Match another", ask("/ten", 'If-Match: "x"'), 412),
    row("it comes first", ask("/ten", f'If-Match: "x"\nIf-None-Match: {TAG}'), 412),
    row("it is stronger than its date", ask("/ten", f"If-Match: {TAG}\nIf-Unmodified-Since: {EARLIER}"), 200, TEN),
    row("If-Unmodified-Since", ask("/ten", f"If-Unmodified-Since: {DATE}"), 200, TEN),
    row("and earlier", ask("/ten", f"If-Unmodified-Since: {EARLIER}"), 412),
    row("of nothing there is no condition", ask("/none", "If-None-Match: *"), 404),

    # --- ranges (RFC 9110 14)
    *(row(f"Range: {text}", ask("/ten", f"Range: {text}"), 206, body, Content_Range=f"bytes {part}/10")
      for text, part, body in (
          ("bytes=0-0", "0-0", b"0"), ("bytes=2-4", "2-4", b"234"), ("bytes=9-", "9-9", b"9"), ("bytes=-3", "7-9", b"789"),
          ("bytes=-99", "0-9", TEN), ("bytes=5-99", "5-9", b"56789"), ("Bytes=0-1", "0-1", b"01"),
          ("bytes=0-18446744073709551616", "0-9", TEN), ("bytes=-18446744073709551616", "0-9", TEN),
          ("bytes=0-3,2-5", "0-5", b"012345"), ("bytes=5-6, 7-8", "5-8", b"5678"), ("bytes=0-1,50-", "0-1", b"01"),
          ("bytes=,3-3,", "3-3", b"3"))),
    *(row(f"Range: {text}", ask("/ten", f"Range: {text}"), 416, Content_Range="bytes */10") for text in (
        "bytes=10-", "bytes=10-20", "bytes=-0", "bytes=18446744073709551616-", "bytes=50-60,70-")),
    *(row(f"Range: {text[:30]}", ask("/ten", f"Range: {text}"), 200, TEN, Content_Range=ABSENT) for text in (
        "bytes=4-2", "bytes=a-b", "bytes=", "bytes", "bytes=-", "bytes=+1-2", "bytes=0x1-2", "bytes=1-2-3", "bytes= - 1",
        "lines=0-1", "bytes=0-1,x", "bytes=" + "0-0,2-2," * 200)),
    row("two lines of them", ask("/ten", "Range: bytes=0-1\nRange: bytes=3-4"), 200, TEN),
    row("HEAD has no ranges", ask("/ten", "Range: bytes=0-1", method="HEAD"), 200, b"", Content_Length="10"),
    row("of nothing", ask("/empty", "Range: bytes=0-"), 416, Content_Range="bytes */0"),
    row("If-Range", ask("/ten", f"Range: bytes=0-1\nIf-Range: {TAG}"), 206, b"01"),
    row("not weakly either", ask("/ten", f"Range: bytes=0-1\nIf-Range: W/{TAG}"), 200, TEN),
    row("If-Range another", ask("/ten", 'Range: bytes=0-1\nIf-Range: "x"'), 200, TEN),
    row("If-Range its date", ask("/ten", f"Range: bytes=0-1\nIf-Range: {DATE}"), 206, b"01"),
    row("no other date", ask("/ten", f"Range: bytes=0-1\nIf-Range: {LATER}"), 200, TEN),
    row("nor nonsense", ask("/ten", "Range: bytes=0-1\nIf-Range: x"), 200, TEN),
    row("If-Range another, of what cannot be", ask("/ten", 'Range: bytes=50-\nIf-Range: "x"'), 200, TEN),
    row("304 comes before ranges", ask("/ten", f"Range: bytes=50-\nIf-None-Match: {TAG}"), 304, b""),
    row("412 too", ask("/ten", 'Range: bytes=50-\nIf-Match: "x"'), 412),

    # --- precompressed (F56)
    row("gzip", ask("/app.js", "Accept-Encoding: gzip"), 200,
        Content_Encoding="gzip", Vary="Accept-Encoding", Content_Type="text/javascript; charset=utf-8"),
    row("what is wanted most", ask("/app.js", "Accept-Encoding: gzip;q=0.5, br"), 200, b"brotli", Content_Encoding="br"),
    row("anything", ask("/app.js", "Accept-Encoding: gzip;q=0, *"), 200, b"brotli", Content_Encoding="br"),
    row("refused", ask("/app.js", "Accept-Encoding: gzip;q=0, br;q=0.000"), 200, b"original", Content_Encoding=ABSENT,
        Vary="Accept-Encoding"),
    row("as it is, rather", ask("/app.js", "Accept-Encoding: identity, gzip;q=0.5, br;q=0.9"), 200, b"original"),
    row("not asked for", ask("/app.js"), 200, b"original", Content_Encoding=ABSENT, Vary="Accept-Encoding"),
    row("malformed", ask("/app.js", "Accept-Encoding: gzip;q=2, br;q=x"), 200, b"original"),
    row("older than the original", ask("/old.js", "Accept-Encoding: gzip"), 200, b"original", Content_Encoding=ABSENT),
    row("ranges are of what is sent", ask("/app.js", "Accept-Encoding: br\nRange: bytes=0-1"), 206, b"br",
        Content_Encoding="br", Content_Range="bytes 0-1/6"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = os.getcwd()
    folder = tmp_path_factory.mktemp("files")
    fill(folder)
    os.chdir(here)
    return folder


@pytest.fixture(scope="module")
def server(weir_for_all, folder):
    www = str(folder / "www")
    return weir_for_all({"modules": ["static"], "servers": [{"listen": "127.0.0.1:0", "routes": [
        {"match": "/list/*", "handle": {"static": {"root": www, "strip": "/list", "listing": True}}},
        {"match": "/strict/*", "handle": {"static": {"root": www, "strip": "/strict", "symlinks": "deny", "hidden": True}}},
        {"handle": {"static": {"root": www, "precompressed": ["gzip", "br"]}}}]}]})


def test_a_tag_is_made_of_size_and_time(server, raw):
    assert raw(server).send(ask("/ten")).read().field("ETag") == TAG


@pytest.mark.parametrize("data, status, body, fields", ROWS)
def test_the_answer_is_the_same_however_the_bytes_are_cut(server, data, status, body, fields):
    method = data.split(b" ", 1)[0].decode()
    fields = dict(fields)
    end = fields.pop("end", "kept")
    for how in weir_raw.ways(data) if len(data) < 400 else ["whole", "bytes"]:
        with weir_raw.Connection(server) as connection:
            answer = connection.send(data, how).read(method)
            assert answer.status == status, how
            assert body is ... or answer.body == body, how
            assert SECRET not in answer.body
            for name, value in fields.items():
                assert answer.field(name.replace("_", "-")) == value, (how, name)
            if end == "closed":
                connection.expect_closed()
            else:
                assert connection.send(ask("/ten")).read().body == TEN, how


@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_several_ranges_are_parts(server, raw, how):
    answer = raw(server).send(ask("/ten", "Range: bytes=0-1,4-5,-1"), how).read()
    kind, _, boundary = answer.field("Content-Type").partition("; boundary=")
    assert (answer.status, kind, answer.field("Content-Range")) == (206, "multipart/byteranges", None)
    parts = answer.body.split(b"--" + boundary.encode())
    assert parts[0] in (b"", b"\r\n") and parts[-1] == b"--\r\n"
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [b"01\r\n", b"45\r\n", b"9\r\n"]
    assert b"Content-Range: bytes 4-5/10\r\n" in parts[2]


@pytest.mark.parametrize("name, status", [("ten", 200), ("link", 404), ("index", 308), ("out", 404), (".hidden", 200)])
def test_links_may_be_denied_and_hidden_files_shown(server, raw, name, status):
    assert raw(server).send(ask(f"/strict/{name}")).read().status == status


@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_a_listing_escapes_names(server, raw, how):
    """Markup, schemes, line breaks and bytes that are no text: each link leads to its file, and nowhere else."""
    page = raw(server).send(ask("/list/dir/"), how).read()
    assert page.field("Content-Type") == "text/html; charset=utf-8"
    for text in (b"<b>", b"\nbreak", b'href="javascript'):
        assert text not in page.body
    assert b".hidden" not in page.body
    links = [piece.split(b'"', 1)[0] for piece in page.body.split(b'href="')[1:]]
    assert links[0] == b"../" and all(link.startswith((b"../", b"./")) for link in links)
    files = [link for link in links if not link.endswith(b"/")]
    assert len(files) == 6
    for link in files:
        target = b"/list/dir/" + link[2:].replace(b"&amp;", b"&").replace(b"&#39;", b"'").replace(b"&quot;", b'"')
        assert raw(server).send(ask(target.decode("ascii")), how).read().body == b"x", target


@pytest.mark.parametrize("how", ["whole", "bytes"])
@pytest.mark.parametrize("change", ["shrinks", "is emptied"])
def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(server, raw, folder, change, how):
    """F54: rather than wrong bytes, or an answer that is never whole."""
    file = folder / "www" / f"{change.replace(' ', '-')}-{how}"
    with open(file, "wb") as large:
        large.truncate(64 << 20)
    connection = raw(server)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.send(ask(f"/{file.name}"), how)
    assert connection.read_head().field("Content-Length") == str(64 << 20)
    os.truncate(file, 1 << 20 if change == "shrinks" else 0)
    server.expect_error("the answer could not be finished")
    seen = len(connection.buffer)
    connection.buffer = b""
    while connection._more():
        seen += len(connection.buffer)
        connection.buffer = b""
    assert connection.ended in (weir_raw.CLOSED, weir_raw.RESET)
    assert seen < 64 << 20


@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_a_file_that_is_replaced_while_it_is_sent_arrives_as_it_was(server, raw, folder, how):
    file = folder / "www" / f"replaced-{how}"
    file.write_bytes(b"a" * (16 << 20))
    connection = raw(server)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.send(ask(f"/{file.name}"), how)
    assert connection.read_head().status == 200
    (folder / "www" / "new").write_bytes(b"b" * (16 << 20))
    os.replace(folder / "www" / "new", file)
    body = connection._exactly(16 << 20, "body")
    assert body.count(b"a") == 16 << 20
    connection.expect_open()
