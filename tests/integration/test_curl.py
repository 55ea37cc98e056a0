# SPDX-License-Identifier: MIT
"""curl, as people use it."""

import re
import subprocess

import pytest
from weir_process import slow
from weir_site import HELLO, route, site


@pytest.fixture(scope="module")
def server(weir_for_all):
    server = weir_for_all(site(
        route("/hello", "hello"), route("/n/{n}", "{path.n}"), route("/large", "x" * 2_000_000),
        route("/204", status=204), route("/small/*", "small", limits={"body": "1k"}),
        route("/echo/*", "{method} {target} {header.user-agent}")))
    server.unused = server.descriptor_count()
    return server


def talk(*arguments):
    """curl's own way out: (exit status, what it printed, what it said of the connection)."""
    done = subprocess.run(["curl", "-q", "-sS", "-v", "--noproxy", "*", "--max-time", str(slow(20)), *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=slow(40))
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def connections(said):
    """How many connections curl opened."""
    return len(re.findall(r"^\* Connected to ", said, re.M))


def test_a_page(server, curl):
    answer = curl(server.url("/hello"))
    assert (answer.status, answer.body) == (200, HELLO)
    assert answer.field("content-type") == "text/plain; charset=utf-8"
    assert answer.field("content-length") == "5"
    assert answer.field("server")


def test_http_1_0(server):
    status, body, said = talk("--http1.0", server.url("/hello"))
    assert (status, body) == (0, HELLO)
    assert "< HTTP/1.1 200 OK" in said and "< Connection: close" in said


def test_http_2_is_declined_and_http_1_goes_on(server):
    """curl offers an upgrade to h2c, which this server does not follow."""
    status, body, said = talk("--http2", server.url("/hello"))
    assert (status, body) == (0, HELLO)
    assert "< HTTP/1.1 200 OK" in said


def test_head(server, curl):
    for target, length in (("/hello", "5"), ("/large", "2000000")):
        answer = curl(server.url(target), "-I")
        assert (answer.status, answer.body[:9], answer.field("content-length")) == (200, b"HTTP/1.1 ", length)


def test_a_range_of_what_has_no_ranges_is_the_whole(server, curl):
    """RFC 9110 section 14.2: a server may ignore the field."""
    answer = curl(server.url("/hello"), "--range", "1-2")
    assert (answer.status, answer.body) == (200, HELLO)
    assert answer.field("content-range") is None


def test_a_large_page_is_whole(server, curl):
    assert curl(server.url("/large")).body == b"x" * 2_000_000


def test_a_slow_download_is_whole(server, curl):
    assert curl(server.url("/large"), "--limit-rate", "4M").body == b"x" * 2_000_000


def test_several_pages_on_one_connection(server):
    urls = [server.url(f"/n/{i}") for i in range(20)]
    status, body, said = talk(*urls)
    assert (status, body) == (0, "".join(map(str, range(20))).encode())
    assert connections(said) == 1


def test_different_requests_on_one_connection(server):
    url = server.url
    status, body, said = talk(
        "-X", "PUT", "--data-binary", "x", url("/echo/put"), "--next", "-sS", "-v", "--noproxy", "*", "-I", url("/hello"),
        "--next", "-sS", "-v", "--noproxy", "*", url("/204"), "--next", "-sS", "-v", "--noproxy", "*", url("/none"),
        "--next", "-sS", "-v", "--noproxy", "*", url("/hello"))
    assert status == 0
    assert body.startswith(b"PUT /echo/put curl/") and body.endswith(HELLO)
    assert re.findall(r"^< HTTP/1\.1 (\d+)", said, re.M) == ["200", "200", "204", "404", "200"]
    assert connections(said) == 1


def test_many_at_once(server):
    status, body, said = talk("--no-progress-meter", "--parallel", "--parallel-immediate", "--parallel-max", "20",
                              *[server.url(f"/n/{i}") for i in range(100, 200)])
    assert status == 0
    assert sorted(re.findall(rb"\d\d\d", body)) == [str(i).encode() for i in range(100, 200)]


def test_a_form(server, curl):
    assert curl(server.url("/hello"), "-d", "a=b").body == HELLO


@pytest.fixture
def upload(tmp_path):
    file = tmp_path / "upload"
    file.write_bytes(b"u" * 200_000)
    return file


def test_an_upload_that_nobody_wants_is_not_sent(server, upload):
    """curl asks first (Expect: 100-continue) and is told the answer instead (F39)."""
    status, body, said = talk("-H", "Expect: 100-continue", "--expect100-timeout", "30", "-T", str(upload),
                              server.url("/echo/up"))
    assert status == 0
    assert body.startswith(b"PUT /echo/up curl/")
    assert "100 Continue" not in said
    assert "We are completely uploaded" not in said


def test_an_upload_above_the_limit_is_413_before_it_is_sent(server, upload):
    """F35: in place of 100 Continue."""
    status, body, said = talk("-H", "Expect: 100-continue", "--expect100-timeout", "30", "-T", str(upload),
                              server.url("/small/up"))
    assert status == 0
    assert "< HTTP/1.1 413" in said and "100 Continue" not in said
    assert "We are completely uploaded" not in said


def test_an_upload_without_asking_can_read_the_413(server, upload):
    """F44: not lost to a reset."""
    status, _, said = talk("-H", "Expect:", "-T", str(upload), server.url("/small/up"))
    assert status == 0, said
    assert "< HTTP/1.1 413" in said


def test_an_upload_that_is_not_read_leaves_the_next_request_right(server, upload):
    """F43: the rest is discarded, on this connection or by closing it."""
    status, body, _ = talk("-H", "Expect:", "-T", str(upload), server.url("/n/1"),
                           "--next", "-sS", "--noproxy", "*", server.url("/n/2"))
    assert (status, body) == (0, b"12")


def test_an_upload_of_unknown_length_that_is_not_read_is_answered(server, upload):
    status, body, said = talk("-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-T", str(upload), server.url("/n/1"))
    assert (status, body) == (0, b"1"), said


def test_a_compressed_page_is_not_promised(server, curl):
    answer = curl(server.url("/hello"), "--compressed")
    assert answer.body == HELLO and answer.field("content-encoding") is None


def test_an_error_is_a_page_of_its_own(server, curl):
    answer = curl(server.url("/none"))
    assert answer.status == 404
    assert answer.body and answer.field("content-type").startswith("text/")
    assert talk("-f", server.url("/none"))[0] == 22


def test_a_path_is_as_curl_sends_it(server):
    assert talk("--path-as-is", server.url("/echo/a/../b"))[1].startswith(b"GET /echo/a/../b ")
    assert b"400" in talk("--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", server.url("/../../etc/passwd"))[1]


def test_a_unix_socket(weir, tmp_path, curl):
    path = tmp_path / "web.sock"
    weir(site(listen=f"unix:{path}"))
    answer = curl("http://a/hello", "--unix-socket", str(path))
    assert (answer.status, answer.body) == (200, HELLO)


def test_an_abstract_socket(weir, tmp_path, curl):
    name = f"weir-curl-{tmp_path.name}-{id(tmp_path)}"
    weir(site(listen=f"@{name}"))
    assert curl("http://a/hello", "--abstract-unix-socket", name).body == HELLO


def test_nothing_is_left_of_all_that(server, curl):
    assert curl(server.url("/hello")).status == 200
    server.descriptors_return_to(server.unused)
