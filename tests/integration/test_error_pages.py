# SPDX-License-Identifier: MIT
"""CONFIG.md, handler `error_pages`: the bodies of error answers, by status and by Accept (F61, F155)."""

from weir_site import get, route, server, site


def paged(tmp_path, **options):
    (tmp_path / "404.html").write_text("<p>nothing here")
    (tmp_path / "404.json").write_text('{"error": 404}')
    document = site(servers=[server(
        route("/own", "mine", status=404), route("/teapot", status=503), use=[
            {"error_pages": {"404": [str(tmp_path / "404.html"), str(tmp_path / "404.json")],
                             "text": {"5xx": "sorry, {client.ip}"}, **options}},
            {"headers": {"response": {"set": {"x-a": "b"}}}}])])
    return {**document, "modules": ["respond", "error_pages", "headers"]}


def test_pages_by_status_and_accept(weir, raw, tmp_path):
    running = weir(paged(tmp_path))
    with raw(running) as connection:
        html = connection.send(get("/none")).read()
        json = connection.send(get("/none", fields="Accept: application/json\r\n")).read()
        text = connection.send(get("/teapot")).read()
        own = connection.send(get("/own")).read()
    assert (html.status, html.body, html.field("content-type")) == (404, b"<p>nothing here", "text/html; charset=utf-8")
    assert (json.status, json.body, json.field("content-type")) == (404, b'{"error": 404}', "application/json")
    assert (text.status, text.body) == (503, b"sorry, 127.0.0.1")
    assert (own.status, own.body) == (404, b"mine")
    assert {answer.field("x-a") for answer in (html, json, text, own)} == {"b"}


def test_a_handler_s_body_only_when_asked(weir, raw, tmp_path):
    with raw(weir(paged(tmp_path, intercept=True))) as connection:
        assert connection.send(get("/own")).read().body == b"<p>nothing here"


def test_a_missing_file_is_refused(weir, tmp_path):
    running = weir(paged(tmp_path, **{"403": str(tmp_path / "403.html")}), listeners=0, exit_status=None)
    running.expect_error("403.html")
    running.exit_status = running.wait_exit()
    assert running.exit_status != 0
    assert "cannot read" in running.log


def test_a_route_makes_the_page(weir, raw):
    document = site(servers=[server(
        {"match": "/errors/*", "internal": True, "handle": {"respond": {"body": "{path} at {host}", "type": "text/x-page"}}},
        route("/teapot", status=418), route("/hello", "hello"),
        use=[{"error_pages": {"routes": {"4xx": "/errors/{status}", "503": "/nowhere"}}}])])
    running = weir({**document, "modules": ["respond", "error_pages"]})
    with raw(running) as connection:
        page = connection.send(get("/none")).read()
        teapot = connection.send(get("/teapot")).read()
        head = connection.send(get("/none", method="HEAD")).read("HEAD")
        direct = connection.send(get("/errors/404")).read()
        refused = connection.send(b"GET /none HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").read()
    assert (page.status, page.body, page.field("content-type")) == (404, b"/errors/404 at a", "text/x-page")
    assert page.field("x-error-code") == "no_route"
    assert (teapot.status, teapot.body) == (418, b"/errors/418 at a")
    assert (head.status, head.field("content-length")) == (404, str(len(page.body)))
    assert (direct.status, direct.body) == (404, b"/errors/404 at a")
    assert (refused.status, refused.field("x-error-code")) == (400, "several_hosts")
    assert refused.body.startswith(b"/errors/400 at ")


def test_a_route_that_fails_leaves_the_server_s_words(weir, raw):
    document = site(servers=[server(
        {"match": "/errors/*", "internal": True, "handle": {"respond": {"body": "x", "status": 500}}},
        use=[{"error_pages": {"routes": {"4xx": "/errors/{status}"}}}])])
    running = weir({**document, "modules": ["respond", "error_pages"]})
    with raw(running) as connection:
        answer = connection.send(get("/none")).read()
    assert (answer.status, answer.body) == (404, b"404 Not Found\n")
    assert running.wait(lambda: "the route asked for the page of 404 answered 500" in running.log, 5)


def test_a_part_of_the_site_has_a_log_level_of_its_own(weir, raw):
    """CONFIG.md, Inheritance 4: `log` merges key by key, down to routes."""
    def wrong(match, level):
        return {"match": match, "handle": {"respond": {"status": 418}}, "log": {"level": level}}

    document = site(servers=[server(
        {"match": "/errors", "internal": True, "handle": {"respond": {"body": "x", "status": 500}}},
        wrong("/quiet", "error"), wrong("/told", "warn"),
        use=[{"error_pages": {"routes": {"4xx": "/errors"}}}])])
    running = weir({**document, "modules": ["respond", "error_pages"]})
    with raw(running) as connection:
        for path in ("/quiet", "/told"):
            assert connection.send(get(path)).read().status == 418
    assert running.wait(lambda: "GET /told: the route asked" in running.log, 5)
    assert "GET /quiet: " not in running.log
