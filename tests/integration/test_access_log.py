# SPDX-License-Identifier: MIT
"""The access log (F91, F95, F84; DESIGN.md section 8): one line for each request that ended, in a form that
no client can forge, written by a thread of its own."""

import datetime
import json
import os
import re
import resource
import signal
import time

import pytest
from weir_process import eventually
from weir_site import get, route, server, site


def logged(log, *routes, **rest):
    document = site(servers=[server(*(routes or [route("/hello", "hello"), route("/gone", "gone", status=410)]),
                                    use=[{"access_log": log}], **rest)])
    return {**document, "modules": ["respond", "access_log"]}


def lines_of(path, count):
    """The lines of the file, once `count` of them are there."""
    def lines():
        return path.read_bytes().decode().split("\n")[:-1] if path.exists() else []

    assert eventually(lambda: len(lines()) >= count), f"{lines()}"
    assert len(lines()) == count
    return lines()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "access.log"


def ask(raw, running, *requests):
    with raw(running) as connection:
        return [connection.send(request).read().status for request in requests]


def test_json_tells_of_each_request(weir, raw, log):
    running = weir(logged(str(log), name="shop"))
    ask(raw, running, get("/hello?a=b", host="x.example", fields="Referer: r\r\nUser-Agent: u\r\n"), get("/none"))
    found = [json.loads(line) for line in lines_of(log, 2)]
    assert list(found[0]) == [
        "time", "client", "peer", "method", "target", "protocol", "host", "status", "bytes_sent", "body_bytes_sent",
        "bytes_received", "duration", "first_byte", "request_id", "server", "route", "referer", "user_agent", "end"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found[0]["time"])
    expected = {"client": "127.0.0.1", "method": "GET", "target": "/hello?a=b", "protocol": "HTTP/1.1",
                "host": "x.example", "status": 200, "body_bytes_sent": 5, "server": "shop", "referer": "r",
                "user_agent": "u", "end": "complete"}
    assert {key: found[0][key] for key in expected} == expected
    assert 0 <= found[0]["first_byte"] <= found[0]["duration"]
    assert re.fullmatch("[0-9A-Z]{26}", found[0]["request_id"])
    assert (found[1]["target"], found[1]["status"], found[1]["error"]) == ("/none", 404, "no_route")


def test_combined_is_what_analysers_read(weir, raw, log):
    running = weir(logged({"file": str(log), "format": "combined"}))
    ask(raw, running, get("/hello", fields="User-Agent: curl/8\r\n"), get("/gone"))
    lines = lines_of(log, 2)
    time = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
    assert re.fullmatch(rf'127\.0\.0\.1 - - {time} "GET /hello HTTP/1\.1" 200 5 "-" "curl/8"', lines[0])
    assert re.fullmatch(rf'127\.0\.0\.1 - - {time} "GET /gone HTTP/1\.1" 410 4 "-" "-"', lines[1])


@pytest.mark.parametrize("form, written", [
    ("combined", r'"a\x22 \x5C \xE4 \x09b"'),
    ("{header.user-agent}|{path}", r'a\x22 \x5C \xE4 \x09b|/x\x0Ay'),
    ("json", '"user_agent":"a\\" \\\\ \\u00e4 \\u0009b"'),
])
def test_no_client_forges_a_line(weir, raw, log, form, written):
    running = weir(logged({"file": str(log), "format": form}, route(None, "hello")))
    ask(raw, running, get("/x%0Ay", fields="User-Agent: a\" \\ \xe4 \tb\r\n"))
    line, = lines_of(log, 1)
    assert written in line
    assert all(0x20 <= ord(c) < 0x7F for c in line)


@pytest.mark.parametrize("form, escaped", [
    ("combined", {'"': r"\x22", "\\": r"\x5C", "\xa0": r"\xA0"}),
    ("json", {'"': r"\"", "\\": r"\\", "\xa0": r"\u00a0"}),
])
def test_a_byte_is_escaped_wherever_it_stands(weir, raw, log, form, escaped):
    running = weir(logged({"file": str(log), "format": form}))
    plain = "Agent/1.0 ~ (!#[]^`) a-z"
    sent = [(plain[:i], byte, plain[i:]) for byte in escaped for i in range(len(plain) + 1)]
    ask(raw, running, *[get("/hello", fields=f"Referer: {a}{b}{c}\r\n") for a, b, c in sent])
    want = [a + escaped[b] + c for a, b, c in sent]
    for line, text in zip(lines_of(log, len(want)), want):
        assert f'"{text}"' in line


def test_a_template_is_a_line(weir, raw, log):
    running = weir(logged({"file": str(log), "format": "{client.ip} {method} {target} {status} {request.id}"}))
    ask(raw, running, get("/hello"))
    assert re.fullmatch(r"127\.0\.0\.1 GET /hello 200 [0-9A-Z]{26}", lines_of(log, 1)[0])


def test_a_template_says_when_how_long_and_how_much(weir, raw, log):
    form = ('{client.ip} - - [{time.combined}] "{method} {target} {protocol}" {status} {bytes.body_sent}'
            ' {time} {time.unix} {duration} {first_byte} {bytes.received} {bytes.sent} {end}')
    running = weir(logged({"file": str(log), "format": form}))
    began = time.time()
    ask(raw, running, get("/hello"))
    line, = lines_of(log, 1)
    found = re.fullmatch(
        r'127\.0\.0\.1 - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "GET /hello HTTP/1\.1" 200 5'
        r' (\S+Z) (\d+\.\d{3}) (\d+\.\d{6}) (\d+\.\d{6}) (\d+) (\d+) complete', line)
    assert found
    combined, iso, unix, duration, first_byte, received, sent = found.groups()
    moment = datetime.datetime.fromtimestamp(float(unix), datetime.timezone.utc)
    assert abs(float(unix) - began) < 60
    assert iso == moment.strftime("%Y-%m-%dT%H:%M:%S.") + unix[-3:] + "Z"
    assert combined == moment.strftime("%d/%b/%Y:%H:%M:%S +0000")
    assert float(first_byte) <= float(duration) < 60
    assert int(received) == len(get("/hello"))
    assert int(sent) > 5


def test_what_is_known_at_the_end_stands_in_no_other_template(weir):
    document = site(servers=[server(route("/hello", "took {duration}"))])
    running = weir(document, listeners=0, exit_status=None)
    running.expect_error("error")
    running.exit_status = running.wait_exit()
    assert running.exit_status == 78
    assert '"body": this is known when the request has ended: in lines of logs only' in running.log


# --- internal requests

def paged(log):
    document = logged(log, {"match": "/errors/*", "internal": True, "handle": {"respond": {"body": "sorry"}}},
                      route("/hello", "hello"))
    document["servers"][0]["use"].append({"error_pages": {"routes": {"404": "/errors/404"}}})
    return {**document, "modules": ["respond", "access_log", "error_pages"]}


def test_internal_requests_are_not_logged(weir, raw, log):
    running = weir(paged(str(log)))
    ask(raw, running, get("/none"), get("/hello"))
    found = [json.loads(line) for line in lines_of(log, 2)]
    assert [(line["target"], "internal" in line) for line in found] == [("/none", False), ("/hello", False)]


def test_internal_requests_are_marked_when_they_are(weir, raw, log):
    running = weir(paged({"file": str(log), "internal": True}))
    ask(raw, running, get("/none"))
    found = {line["target"]: line for line in map(json.loads, lines_of(log, 2))}
    page, asked = found["/errors/404"], found["/none"]
    assert (page["internal"], page["status"], page["bytes_sent"], page["end"]) == (1, 200, 5, "complete")
    assert (asked["status"], asked["error"]) == (404, "no_route")
    assert "internal" not in asked
    assert page["request_id"] == asked["request_id"]


def test_a_template_tells_internal_requests(weir, raw, log):
    running = weir(paged({"file": str(log), "internal": True, "format": "{internal} {target} {request.id}"}))
    ask(raw, running, get("/none"))
    lines = [line.split() for line in lines_of(log, 2)]
    assert sorted(line[:2] for line in lines) == [["0", "/none"], ["1", "/errors/404"]]
    assert lines[0][2] == lines[1][2]


def test_the_request_id_of_a_trusted_peer_is_logged(weir, raw, log):
    """F92: from others it is not taken."""
    running = weir(logged({"file": str(log), "format": "{request.id}"}, trust={"peers": ["127.0.0.2"]}))
    ask(raw, running, get("/hello", fields="X-Request-Id: forged\r\n"))
    assert lines_of(log, 1)[0] != "forged"
    other = log.with_name("trusted.log")
    running = weir(logged({"file": str(other), "format": "{request.id}"}, trust={"peers": ["127.0.0.1"]}))
    ask(raw, running, get("/hello", fields="X-Request-Id: from-the-edge\r\n"))
    assert lines_of(other, 1) == ["from-the-edge"]


@pytest.mark.parametrize("when, want", [
    ("4xx", ["/gone", "/none"]),
    (["404"], ["/none"]),
    (["410-499", "404"], ["/gone", "/none"]),
    (["{query.debug}"], ["/hello?debug=1"]),
    (["{query.debug}", "404"], ["/hello?debug=1", "/none"]),
])
def test_a_filter_by_status_or_variable(weir, raw, log, when, want):
    running = weir(logged({"file": str(log), "format": "{target}", "when": when}))
    ask(raw, running, get("/hello"), get("/hello?debug=1"), get("/hello?debug=0"), get("/gone"), get("/none"))
    assert lines_of(log, len(want)) == want


def test_slow_is_until_the_answer_begins(weir, raw, log):
    running = weir(logged({"file": str(log), "format": "{target}", "slow": "1h"}))
    ask(raw, running, get("/hello"))
    running.finish()
    assert log.read_text() == ""


def test_what_was_refused_is_logged(weir, raw, log):
    running = weir(logged(str(log)))
    assert ask(raw, running, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n") == [400]
    assert json.loads(lines_of(log, 1)[0])["status"] == 400


def test_a_client_that_left_is_logged(weir, raw, log):
    big = log.with_name("big")
    big.mkdir()
    with open(big / "file", "wb") as file:
        file.truncate(1 << 28)
    document = logged(str(log), {"handle": {"static": str(big)}})
    running = weir({**document, "modules": ["static", "access_log"]})
    with raw(running) as connection:
        connection.send(get("/file"))
        connection.socket.recv(1000)
        connection.reset()
    found = json.loads(lines_of(log, 1)[0])
    assert (found["status"], found["end"]) == (200, "client_left")
    assert 0 < found["bytes_sent"] < 1 << 28


def test_nothing_is_lost_at_the_end(weir, raw, log):
    running = weir(logged({"file": str(log), "format": "{target}"}))
    with raw(running) as connection:
        connection.send(b"".join(get(f"/hello?{i}") for i in range(20)))
        for _ in range(20):
            connection.read()
    running.finish()
    assert log.read_text().split() == [f"/hello?{i}" for i in range(20)]


def test_routes_share_a_file_and_can_do_without(weir, raw, log):
    document = logged({"file": str(log), "format": "{target}"},
                      route("/quiet", "x", use=[{"access_log": False}]),
                      route("/other", "x", use=[{"access_log": {"format": "other {target}"}}]),
                      route(None, "x"))
    running = weir(document)
    ask(raw, running, get("/quiet"), get("/other"), get("/x"))
    assert lines_of(log, 2) == ["other /other", "/x"]
    files = [name for pid in running.processes() for name in os.listdir(f"/proc/{pid}/fd")
             if os.readlink(f"/proc/{pid}/fd/{name}") == str(log) and pid != running.pid]
    assert len(files) <= 2  # the worker's, and what it inherited


def test_a_rotated_log_goes_on_in_a_new_file(weir, raw, log):
    """F84: USR1 reopens, no line is lost."""
    running = weir(logged({"file": str(log), "format": "{target}"}))
    old = log.with_name("old.log")
    sent = 0
    with raw(running) as connection:
        for i in range(60):
            connection.send(get(f"/hello?{i}")).read()
            sent += 1
            if i == 20:
                log.rename(old)
                running.signal(signal.SIGUSR1)
                assert eventually(log.exists)
    running.finish()
    lines = old.read_text().split("\n")[:-1] + log.read_text().split("\n")[:-1]
    assert lines == [f"/hello?{i}" for i in range(sent)]


def test_a_file_that_may_grow_no_more_holds_up_nobody(weir, raw, log):
    """A full disk: lines are dropped and counted, none is cut in half, requests are answered."""
    running = weir(logged({"file": str(log), "format": "{target}"}))
    for pid in running.processes():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, 4096))
    running.expect_error("lines were dropped")
    with raw(running) as connection:
        for i in range(100):
            assert connection.send(get(f"/hello?{'x' * 90}{i}")).read().status == 200
    running.wait_for_line(r"error.*access\.log: .*lines were dropped")
    running.finish()
    text = log.read_text()
    assert len(text) <= 4096
    assert text.endswith("\n")
    assert all(re.fullmatch(r"/hello\?x{90}\d+", line) for line in text.split("\n")[:-1])


@pytest.mark.parametrize("log, said", [
    ({"file": "/nowhere/at/all.log"}, "/nowhere/at/all.log"),
    ({"file": "a.log", "format": "common"}, "is no format"),
    ({"file": "a.log", "when": ["6xx"]}, "neither a status"),
    ({"file": "a.log", "format": "combined", "internal": True}, "cannot tell an internal request"),
    ({}, "file"),
])
def test_what_cannot_be_logged_to_is_refused(weir, log, said):
    running = weir(logged(log), listeners=0, exit_status=None)
    running.expect_error("error")
    running.exit_status = running.wait_exit()
    assert running.exit_status != 0
    assert said in running.log
