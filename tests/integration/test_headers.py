# SPDX-License-Identifier: MIT
"""CONFIG.md, handler `headers`: fields of requests and answers, errors included (F150), over layers; and what
of it is the server's (F50)."""

import re

import pytest
from weir_site import get, route, server, site


def edited(headers, *routes):
    document = site(servers=[server(*(routes or [route("/hello", "{header.x-request-id}")]), use=[{"headers": headers}])])
    return {**document, "modules": ["respond", "headers"]}


def test_every_answer_has_them(weir, raw):
    running = weir(edited({"response": {"set": {"x-content-type-options": "nosniff"}, "add": {"x-by": ["a", "b"]}}}))
    with raw(running) as connection:
        for target, status in ("/hello", 200), ("/none", 404):
            answer = connection.send(get(target)).read()
            assert (answer.status, answer.field("x-content-type-options")) == (status, "nosniff")
            assert answer.all("x-by") == ["a", "b"]


def test_routes_add_to_their_server_s(weir, raw):
    running = weir(edited(
        {"response": {"set": {"x-a": "server", "x-b": "server"}}},
        route("/in", "in", use=[{"headers": {"response": {"set": {"x-b": "route"}, "remove": ["content-type"]}}}])))
    with raw(running) as connection:
        answer = connection.send(get("/in")).read()
    assert (answer.field("x-a"), answer.field("x-b"), answer.field("content-type")) == ("server", "route", None)


def test_the_request_id_is_passed_on_and_given_back(weir, raw):
    """F92."""
    running = weir(edited({"request": {"set": {"x-request-id": "{request.id}"}},
                           "response": {"set": {"x-request-id": "{request.id}"}}}))
    with raw(running) as connection:
        answer = connection.send(get("/hello", fields="X-Request-Id: forged\r\n")).read()
    assert re.fullmatch(rb"[0-9A-Z]{26}", answer.body)
    assert answer.field("x-request-id") == answer.body.decode()


@pytest.mark.parametrize("how", ["whole", "bytes"])
@pytest.mark.parametrize("data, status", [(get("/hello"), 200), (get("/none"), 404), (get(host=None), 400)])
def test_the_server_s_own_can_be_removed(weir, raw, data, status, how):
    """F45, F46: from refusals too."""
    running = weir(edited({"response": {"remove": ["server", "date"]}}))
    answer = raw(running).send(data, how).read()
    assert (answer.status, answer.field("server"), answer.field("date")) == (status, None, None)


@pytest.mark.parametrize("edits", [
    {"response": {"set": {"transfer-encoding": "chunked"}}}, {"request": {"set": {"content-length": "0"}}}])
def test_what_frames_a_message_is_refused(weir, edits):
    running = weir(edited(edits), listeners=0, exit_status=78)
    running.expect_error(r"error\[E")
    running.wait_exit()
    assert re.search("(transfer-encoding|content-length) says how the message is framed", running.log)
