# SPDX-License-Identifier: MIT
"""CONFIG.md, handler `redirect`: where clients are sent, and that no link sends them to another host
(HTTP.md, "Files" and "Kinds of mistakes": open redirects through `//`)."""

import pytest
from weir_site import get, server, site


def redirects(*routes):
    document = site(servers=[server(*routes)])
    return {**document, "modules": ["redirect"]}


def to(target, match=None, **rest):
    found = {"handle": {"redirect": {"to": target, **rest} if rest else target}}
    return found if match is None else {"match": match, **found}


@pytest.fixture(scope="module")
def served(weir_for_all):
    return weir_for_all(redirects(
        to("https://{host}{target}", match={"host": "secure.example"}),
        to("/new/{path.rest}", match="/old/{rest*}", status=301),
        to("{query.next}", match="/login", status=303),
        to("{target}", match={"host": "loop.example"}),
        to("/elsewhere")))


@pytest.mark.parametrize("host, target, status, location", [
    ("secure.example", "/a?b=c", 308, "https://secure.example/a?b=c"),
    ("secure.example:80", "/", 308, "https://secure.example/"),
    ("a", "/old/x/y%20z", 301, "/new/x/y%20z"),
    ("a", "/login?next=/home", 303, "/home"),
    ("a", "/login?next=//evil.example/", 303, "/evil.example/"),
    ("a", "/login?next=https://evil.example/", 303, "./https://evil.example/"),
    ("loop.example", "//evil.example/%2e%2e", 308, "/evil.example/%2e%2e"),
    ("a", "/", 308, "/elsewhere"),
])
def test_a_client_is_sent_to(served, raw, host, target, status, location):
    with raw(served) as connection:
        answer = connection.send(get(target, host=host)).read()
    assert (answer.status, answer.field("location")) == (status, location)


def test_a_head_and_a_post_are_redirected_alike(served, raw):
    with raw(served) as connection:
        assert connection.send(get("/x", method="HEAD")).read("HEAD").field("location") == "/elsewhere"
        assert connection.send(get("/x", method="POST", fields="Content-Length: 2\r\n", body=b"ab")).read().status == 308


@pytest.mark.parametrize("target, said", [
    ("https://a.example{query.next}", "write a slash before it"),
    ("/\\evil.example", "backslash"),
    ("{nonsense}", "unknown variable"),
])
def test_what_would_lead_anywhere_is_refused(weir, target, said):
    running = weir(redirects(to(target)), listeners=0, exit_status=78)
    running.expect_error(r"error\[E")
    running.wait_exit()
    assert said in running.log
