# SPDX-License-Identifier: MIT
"""A corpus of requests that two readers could understand differently, through the proxy: what the upstream receives is
one well-formed request for each that was accepted, and nothing of any other (F66; issue "Reverse proxy", what it must
show, 2). nginx and HAProxy get the same corpus in the same run; what they let through is told, not judged."""

import os
import re
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from weir_process import eventually, slow
from weir_site import server
from weir_upstream import Place, Upstream, always, answer

INNER = b"GET /00-smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def post(*fields, body=b"", line=b"POST /00-first HTTP/1.1", end=b"\r\n"):
    return line + end + b"".join(field + end for field in (b"Host: a", *fields)) + end + body


def chunked(body, size=None):
    return (b"%x" % len(body) if size is None else size) + b"\r\n" + body + b"\r\n0\r\n\r\n"


TE, CL = b"Transfer-Encoding: chunked", b"Content-Length: "

# Name, bytes. Each tries to have INNER taken for a request of its own.
CORPUS = {
    "length and chunked": post(CL + b"%d" % (5 + len(INNER)), TE, body=b"0\r\n\r\n" + INNER),
    "chunked and length": post(TE, CL + b"4", body=b"%x\r\n" % len(INNER) + INNER + b"\r\n0\r\n\r\n"),
    "two lengths": post(CL + b"0", CL + b"%d" % len(INNER), body=INNER),
    "two equal lengths": post(CL + b"%d" % len(INNER), CL + b"%d" % len(INNER), body=INNER),
    "a list of lengths": post(CL + b"0, %d" % len(INNER), body=INNER),
    "a list of equal lengths": post(CL + b"%d, %d" % (len(INNER), len(INNER)), body=INNER),
    "a signed length": post(CL + b"+%d" % len(INNER), body=INNER),
    "a negative length": post(CL + b"-1", body=INNER),
    "a hexadecimal length": post(CL + b"0x%x" % len(INNER), body=INNER),
    "a length with a blank in it": post(CL + b"1 0", body=INNER),
    "an empty length": post(CL, body=INNER),
    "a length beyond 64 bits": post(CL + b"18446744073709551616", body=INNER),
    "a length with an underscore": post(CL + b"0_0", body=INNER),
    "chunked twice": post(TE, TE, body=chunked(INNER)),
    "chunked, chunked": post(b"Transfer-Encoding: chunked, chunked", body=chunked(INNER)),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=chunked(INNER)),
    "identity, chunked": post(b"Transfer-Encoding: identity, chunked", body=chunked(INNER)),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=chunked(INNER)),
    "identity": post(b"Transfer-Encoding: identity", CL + b"0", body=INNER),
    "a coding of another name": post(b"Transfer-Encoding: xchunked", CL + b"0", body=INNER),
    "a quoted coding": post(b'Transfer-Encoding: "chunked"', body=chunked(INNER)),
    "a coding with a parameter": post(b"Transfer-Encoding: chunked;a=b", body=chunked(INNER)),
    "a coding behind a tab": post(b"Transfer-Encoding:\tchunked", CL + b"0", body=chunked(INNER)),
    "a coding behind a vertical tab": post(b"Transfer-Encoding: \x0bchunked", CL + b"4", body=chunked(INNER)),
    "a coding behind a comma": post(b"Transfer-Encoding: ,chunked", CL + b"4", body=chunked(INNER)),
    "an empty coding": post(b"Transfer-Encoding:", CL + b"0", body=INNER),
    "a blank before the colon": post(b"Transfer-Encoding : chunked", CL + b"4", body=chunked(INNER)),
    "a blank before the colon of a length": post(b"Content-Length : %d" % len(INNER), body=INNER),
    "a field that begins with a blank": post(b" Transfer-Encoding: chunked", CL + b"4", body=chunked(INNER)),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked", CL + b"4", body=chunked(INNER)),
    "a name with an underscore": post(b"Transfer_Encoding: chunked", CL + b"0", body=INNER),
    "a name with a null": post(b"Transfer-Encoding\x00: chunked", CL + b"4", body=chunked(INNER)),
    "a value with a null": post(b"Transfer-Encoding: chunked\x00", CL + b"4", body=chunked(INNER)),
    "a value with a bare return": post(b"X: a\rTransfer-Encoding: chunked", CL + b"4", body=chunked(INNER)),
    "a value with a bare newline": post(b"X: a\nTransfer-Encoding: chunked", CL + b"4", body=chunked(INNER)),
    "lines without returns": post(TE, end=b"\n", body=chunked(INNER)),
    "a line without a colon": post(b"Transfer-Encoding chunked", CL + b"0", body=INNER),
    "a coding in HTTP/1.0": post(TE, line=b"POST /00-first HTTP/1.0", body=chunked(INNER)),
    "a version of two digits": post(TE, line=b"POST /00-first HTTP/1.10", body=chunked(INNER)),
    "no version": b"GET /00-first\r\n" + INNER,
    "two hosts": post(b"Host: b", CL + b"0"),
    "a length named in Connection": post(b"Connection: Content-Length", CL + b"%d" % len(INNER), body=INNER),
    "a coding named in Connection": post(b"Connection: Transfer-Encoding", TE, body=chunked(INNER)),
    "a host named in Connection": post(b"Connection: Host", CL + b"0"),
    "a body with GET": post(CL + b"%d" % len(INNER), line=b"GET /00-first HTTP/1.1", body=INNER),
    "a body with HEAD": post(CL + b"%d" % len(INNER), line=b"HEAD /00-first HTTP/1.1", body=INNER),
    "a body with DELETE in chunks": post(TE, line=b"DELETE /00-first HTTP/1.1", body=chunked(INNER)),
    "an upgrade to h2c": post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk",
                              line=b"GET /00-first HTTP/1.1", body=INNER),
    "an upgrade that nobody takes": post(b"Connection: Upgrade", b"Upgrade: websocket",
                                         line=b"GET /00-first HTTP/1.1", body=INNER),
    "a chunk of a size with 0x": post(TE, body=chunked(INNER, b"0x%x" % len(INNER))),
    "a chunk of a signed size": post(TE, body=chunked(INNER, b"+%x" % len(INNER))),
    "a chunk of a negative size": post(TE, body=chunked(INNER, b"-1")),
    "a chunk of a size with blanks": post(TE, body=chunked(INNER, b"%x " % len(INNER))),
    "a chunk of a size beyond 64 bits": post(TE, body=chunked(INNER, b"10000000000000000%x" % len(INNER))),
    "a chunk that is longer than it said": post(TE, body=b"3\r\nabcdef\r\n0\r\n\r\n" + INNER),
    "a chunk that is shorter than it said": post(TE, body=b"%x\r\nabc\r\n0\r\n\r\n" % (10 + len(INNER)) + INNER),
    "a chunk whose end has no return": post(TE, body=b"3\r\nabc\n0\r\n\r\n" + INNER),
    "a chunk's extension with a newline": post(TE, body=b"3;a\nb\r\nabc\r\n0\r\n\r\n" + INNER),
    "a chunk's extension with a return": post(TE, body=b"3;a\rb\r\nabc\r\n0\r\n\r\n" + INNER),
    "chunk sizes that end in a newline": post(TE, body=b"3\nabc\r\n0\r\n\r\n" + INNER),
    "an empty chunk size": post(TE, body=b"\r\nabc\r\n0\r\n\r\n" + INNER),
    "trailers about framing": post(TE, b"Trailer: Content-Length", body=b"0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER),
    "a trailer that is folded": post(TE, body=b"0\r\nX: a\r\n b\r\n\r\n" + INNER),
    "a target with a blank": post(CL + b"0", line=b"POST /00-fir st HTTP/1.1"),
    "a target with a newline in percents": post(CL + b"0", line=b"POST /00-first%0d%0aX:%20y HTTP/1.1"),
    "a target of another host": post(CL + b"0", line=b"POST http://b/00-first HTTP/1.1"),
    "a target with another's user": post(CL + b"0", line=b"POST http://a@b/00-first HTTP/1.1"),
    "a method in lower case": post(CL + b"0", line=b"post /00-first HTTP/1.1"),
    "blank lines before": b"\r\n\r\n" + post(CL + b"0"),
    "a plain request": post(CL + b"3", body=b"abc"),
    "a plain request in chunks": post(TE, body=chunked(b"abc")),
    "two requests": post(CL + b"3", body=b"abc") + post(CL + b"0", line=b"POST /00-second HTTP/1.1"),
}

# What is one request, or two, for every reader, and which: it passes. All else is refused.
PASSES = {
    "a name with an underscore": ["/first", "/smuggled"],  # the field stays here; the next request is one
    "a length named in Connection": ["/first"],
    "a coding named in Connection": ["/first"],
    "a host named in Connection": ["/first"],
    "a body with GET": ["/first"],
    "a body with HEAD": ["/first"],
    "a body with DELETE in chunks": ["/first"],
    "an upgrade to h2c": ["/first", "/smuggled"],  # nothing is upgraded
    "an upgrade that nobody takes": ["/first", "/smuggled"],
    "trailers about framing": ["/first", "/smuggled"],
    "a target with a newline in percents": ["/first%0D%0AX:%20y"],
    "a target of another host": ["/first"],
    "blank lines before": ["/first"],
    "a plain request": ["/first"],
    "a plain request in chunks": ["/first"],
    "two requests": ["/first", "/second"],
}


def statuses(address, data, half_closes):
    """Sends; the final statuses of all answers up to the end of the connection, which a peer that takes half a
    close for a whole one has to bring about itself."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=slow(20)) as client:
        got = b""
        try:
            client.sendall(data)
            if half_closes:
                client.shutdown(socket.SHUT_WR)
            while more := client.recv(65536):
                got += more
        except (ConnectionError, socket.timeout):
            pass
    found = []
    while got:
        if not got.startswith(b"HTTP/1."):
            return [9]  # an answer of HTTP/0.9, without a head
        head, _, rest = got.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        found.append(int(lines[0].split()[1]))
        length = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")]
        got = rest[length[0] if length and not data.startswith(b"HEAD") else 0:]
    return [status for status in found if status >= 200]


def run_corpus(address, upstream, half_closes=True):
    """{name: (statuses, targets that the upstream got)}: all at once, told apart by a word in their targets."""
    def run(number, data):
        return statuses(address, data.replace(b"/00-", b"/%02d-" % number), half_closes)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(run, range(len(CORPUS)), CORPUS.values()))
    targets = [[r.target for r in upstream.requests if r.target.startswith(f"/{number:02}-")] for number in range(len(CORPUS))]
    assert sum(map(len, targets)) == len(upstream.requests)
    return {name: (f, [t.replace(f"{n:02}-", "", 1) for t in ts]) for n, (name, f, ts) in enumerate(zip(CORPUS, found, targets))}


def test_what_goes_up_is_what_was_accepted(weir):
    with Upstream(always(answer(b"ok"))) as app:
        running = weir({"modules": ["proxy"], "upstreams": {"app": {"targets": app.address}},
                        "servers": [server({"handle": {"proxy": "app"}})]})
        results = run_corpus(running.address, app)
    assert PASSES.keys() <= CORPUS.keys()
    for name, (found, targets) in results.items():
        if name in PASSES:
            assert (found, targets) == ([200] * len(PASSES[name]), PASSES[name]), name
        else:
            assert (len(found), targets) == (1, []) and found[0] in (400, 501), (name, found, targets)
    # A body goes up as it came, whatever else was said of it.
    bodies = [r.body for r in app.requests if r.method in ("GET", "HEAD", "DELETE") and r.body]
    assert len(bodies) == 3 and all(re.fullmatch(rb"GET /\d+-smuggled HTTP/1.1\r\nHost: a\r\n\r\n", body) for body in bodies)


# ---- the peers ---------------------------------------------------------------------------------

NGINX = """
    {user}daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
    events {{ worker_connections 256; }}
    http {{ access_log off; client_body_timeout 1s; client_header_timeout 1s; keepalive_timeout 1s;
        lingering_timeout 1s; lingering_time 1s;
        client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
        uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
        server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{behind}; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_set_header Host $host; }} }} }}
"""
HAPROXY = """
global
    maxconn 256
defaults
    mode http
    timeout connect 10s
    timeout http-request 1s
    timeout http-keep-alive 1s
    timeout client 1s
    timeout server 1s
listen all
    bind 127.0.0.1:{port}
    server behind {behind}
"""


def find(name):
    return shutil.which(name) or (f"/usr/sbin/{name}" if os.access(f"/usr/sbin/{name}", os.X_OK) else None)


def run_peer(name, folder):
    """The corpus through a peer; None when it is not installed."""
    program = find(name)
    if program is None:
        return None
    folder = folder / name
    folder.mkdir()
    with Place() as place, Upstream(always(answer(b"ok"))) as app:
        place.socket.close()  # its port is free now, and was a moment ago
        conf = folder / "conf"
        user = "user root; " if os.geteuid() == 0 else ""
        text = NGINX if name == "nginx" else HAPROXY
        conf.write_text(text.format(user=user, folder=folder, port=place.address.rpartition(":")[2], behind=app.address))
        command = [program, "-p", folder, "-e", folder / "error.log", "-c", conf] if name == "nginx" else [program, "-db", "-f", conf]
        with open(folder / "log", "w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            assert eventually(lambda: accepts(place.address) or process.poll() is not None, 20)
            assert process.poll() is None, (folder / "log").read_text()
            results = run_corpus(place.address, app, half_closes=False)
        finally:
            process.kill()
            process.wait()
        faults = [str(fault) for fault in app.faults]
        app.faults.clear()  # the peer's, and told
        return results, faults


def accepts(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=slow(5)).close()
        return True
    except OSError:
        return False


def test_the_same_through_nginx_and_haproxy(tmp_path):
    """Told, not judged: which of what Weir refuses they pass on, and what is more than one request then. They must
    agree on what is plain, so that a corpus that nobody could pass is noticed."""
    peers = {name: results for name in ("nginx", "haproxy") if (results := run_peer(name, tmp_path)) is not None}
    if not peers:
        pytest.skip("neither nginx nor haproxy is installed: contrib/packages install test")
    for peer, (results, faults) in peers.items():
        passed = {name: r for name, r in results.items() if name not in PASSES and r[1]}
        print(f"{peer}: of {len(CORPUS) - len(PASSES)} that Weir refuses {len(passed)} go up, {len(faults)} broken: {faults}")
        for name, (found, targets) in passed.items():
            print(f"    {name}: {found} {targets}")
        for name in ("a plain request", "a plain request in chunks", "two requests"):
            assert results[name] == ([200] * len(PASSES[name]), PASSES[name]), (peer, name, results[name])
