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
