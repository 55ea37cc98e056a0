# SPDX-License-Identifier: MIT
"""CONFIG.md, "Choosing a server and a route": which server answers for a host and an address, and which
route for a request; what routes inherit; what templates tell of it."""

import pytest
from weir_site import get, route, server, site


def ask(connection, target="/", **how):
    answer = connection.send(get(target, **how)).read(how.get("method", "GET"))
    return answer.status if answer.status != 200 else answer.body.decode("latin-1")


# --- the server


@pytest.fixture(scope="module")
def hosts(weir_for_all):
    def named(body, **rest):
        return server(route(None, body), listen="door", **rest)

    return weir_for_all(site(
        servers=[
            named("exact", host="a.example"), named("suffix", host="*.example"),
            named("longer suffix", host=["*.b.example", "c.b.example"]), named("any"),
            server(route(None, "other door"), listen="other", host="a.example"),
        ],
        top={"listeners": {"door": {"address": "127.0.0.1:0"}, "other": {"address": "127.0.0.2:0"}}}), listeners=2)


@pytest.mark.parametrize("host, want", [
    ("a.example", "exact"), ("A.EXAMPLE", "exact"), ("a.example:8080", "exact"), ("a.example:", "exact"),
    ("x.example", "suffix"), ("x.y.example", "suffix"), ("X.Example:1", "suffix"),
    ("b.example", "suffix"), ("x.b.example", "longer suffix"), ("c.b.example", "longer suffix"),
    ("x.y.b.example", "longer suffix"),
    ("example", "any"), ("aexample", "any"), ("xa.example.org", "any"), ("127.0.0.1", "any"), ("[::1]:80", "any"),
])
def test_a_host_has_its_server(hosts, raw, host, want):
    """Exact, then the longest suffix, then the one without host; without case or port."""
    assert ask(raw(hosts), host=host) == want


def test_each_request_of_a_connection_chooses_anew(hosts, raw):
    connection = raw(hosts)
    assert [ask(connection, host=host) for host in ("a.example", "q", "x.b.example", "x.example", "a.example")] == [
        "exact", "any", "longer suffix", "suffix", "exact"]


def test_the_authority_of_an_absolute_target_wins(hosts, raw):
    """RFC 9112 section 3.2.2."""
    assert ask(raw(hosts), "http://x.example/", host="a.example") == "suffix"


def test_http_1_0_without_a_host_is_for_the_one_without_host(hosts, raw):
    assert ask(raw(hosts), version="1.0", host=None) == "any"


def test_servers_of_another_address_are_not_asked(hosts, raw):
    assert ask(raw(hosts.addresses[1]), host="a.example") == "other door"


@pytest.mark.parametrize("host", ["x.example", "any", None])
def test_no_server_for_a_host_is_421(hosts, raw, host):
    with raw(hosts.addresses[1]) as connection:
        assert ask(connection, host=host, version="1.1" if host else "1.0") == 421


def test_a_421_leaves_a_hint_in_the_log(hosts, raw):
    assert ask(raw(hosts.addresses[1]), host="nobody.example") == 421
    hosts.wait_for_line("nobody.example")


def test_a_421_does_not_end_the_connection(hosts, raw):
    with raw(hosts.addresses[1]) as connection:
        assert [ask(connection, host=host) for host in ("q", "a.example", "q")] == [421, "other door", 421]


# --- patterns


@pytest.fixture(scope="module")
def patterns(weir_for_all):
    return weir_for_all(site(
        route("/exact", "exact"),
        route("/below/*", "below"),
        route("/two/first", "first"), route("/two/*", "second"),
        route("*.php", "suffix"),
        route("/users/{id}/profile", "user {path.id}"),
        route("/f/{rest*}", "tail {path.rest}"),
        route(["/list/a", "/list/b"], "list"),
        route("/sp ace", "decoded"),
        route("/Case", "upper"), route("/case", "lower"),
        route({"path": "/*", "header": {"x-last": "yes"}}, "last")))


@pytest.mark.parametrize("target, want", [
    ("/exact", "exact"), ("/exact?q=1", "exact"), ("/exact/", 404), ("/exac", 404), ("/exact/x", 404),
    ("/e%78act", "exact"), ("/./exact", "exact"), ("/x/../exact", "exact"), ("//exact", "exact"),
    ("/below", "below"), ("/below/", "below"), ("/below/a/b", "below"), ("/belowx", 404), ("/belo", 404),
    ("/two/first", "first"), ("/two/firsts", "second"), ("/two/first/x", "second"),
    ("/a.php", "suffix"), ("/x/y/a.php", "suffix"), ("/a.php/x", 404), ("/a.PHP", 404),
    ("/users/7/profile", "user 7"), ("/users/a%20b/profile", "user a b"), ("/users//profile", 404),
    ("/users/7/8/profile", 404), ("/users/7/profile/", 404),
    ("/f/a", "tail a"), ("/f/a/b/c", "tail a/b/c"),
    ("/list/a", "list"), ("/list/b", "list"), ("/list/c", 404),
    ("/sp%20ace", "decoded"),
    ("/Case", "upper"), ("/case", "lower"), ("/CASE", 404),
])
def test_a_path_has_its_route(patterns, raw, target, want):
    assert ask(raw(patterns), target) == want


def test_the_order_of_the_file_decides(weir, raw):
    """The first match wins, however wide."""
    running = weir(site(
        route({"path": "/a/*", "method": "GET"}, "first"), route("/a/b", "second"), route(None, "third")))
    connection = raw(running)
    assert ask(connection, "/a/b") == "first"
    assert ask(connection, "/a/b", method="PUT") == "second"
    assert ask(connection, "/a/c", method="PUT") == "third"


def test_a_thousand_routes_are_told_apart(weir, raw):
    connection = raw(weir(site(*(route(f"/r{i}/*", str(i)) for i in range(1000)))))
    for i in (0, 1, 499, 998, 999):
        assert ask(connection, f"/r{i}/x") == str(i)
    assert ask(connection, "/r1000/x") == 404


# --- other keys of `match`


@pytest.fixture(scope="module")
def keys(weir_for_all):
    return weir_for_all(site(
        route({"path": "/m", "method": ["GET", "POST"]}, "get or post"),
        route({"path": "/m", "method": "PUT"}, "put"),
        route({"path": "/h", "header": {"X-Kind": "one"}}, "one"),
        route({"path": "/h", "header": {"x-kind": ["two", "three"]}}, "two or three"),
        route({"path": "/h", "header": {"x-kind": True}}, "some"),
        route({"path": "/h"}, "none"),
        route({"path": "/q", "query": {"a": "1"}}, "a is 1"),
        route({"path": "/q", "query": {"b": "x y"}}, "b is x y"),
        route({"path": "/q"}, "no query"),
        route({"path": "/not", "not": {"method": "GET"}}, "not get"),
        route({"path": "/not"}, "get"),
        route({"path": "/host", "host": "x.example"}, "x"),
        route({"path": "/host"}, "not x"),
        route({"path": "/peer", "peer": ["10.0.0.0/8", "127.0.0.0/8"]}, "near"),
        route({"path": "/far", "peer": "10.0.0.0/8"}, "far"),
        route({"path": "/protocol", "protocol": "http/1.0"}, "old"),
        route({"path": "/protocol"}, "new")))


@pytest.mark.parametrize("target, how, want", [
    ("/m", {}, "get or post"), ("/m", {"method": "POST"}, "get or post"), ("/m", {"method": "PUT"}, "put"),
    ("/m", {"method": "DELETE"}, 404),
    ("/h", {}, "none"), ("/h", {"fields": "x-kind: one\r\n"}, "one"), ("/h", {"fields": "X-KIND: one\r\n"}, "one"),
    ("/h", {"fields": "X-Kind: three\r\n"}, "two or three"), ("/h", {"fields": "X-Kind: four\r\n"}, "some"),
    ("/h", {"fields": "X-Kind: four\r\nX-Kind: one\r\n"}, "one"),
    ("/q", {}, "no query"), ("/q?a=1", {}, "a is 1"), ("/q?x=2&a=1&y", {}, "a is 1"), ("/q?a=2", {}, "no query"),
    ("/q?b=x%20y", {}, "b is x y"), ("/q?b=x+y", {}, "b is x y"), ("/q?aa=1", {}, "no query"),
    ("/not", {}, "get"), ("/not", {"method": "POST"}, "not get"),
    ("/host", {"host": "x.example"}, "x"), ("/host", {"host": "X.example:81"}, "x"), ("/host", {}, "not x"),
    ("/peer", {}, "near"), ("/far", {}, 404),
    ("/protocol", {"version": "1.0"}, "old"), ("/protocol", {}, "new"),
])
def test_all_keys_of_a_match_must_hold(keys, raw, target, how, want):
    assert ask(raw(keys), target, **how) == want


# --- nested and internal routes


@pytest.fixture(scope="module")
def nested(weir_for_all):
    return weir_for_all(site(
        route("/api/*", "api", routes=[
            route("/api/login", "login"),
            {"match": {"path": "/api/any/*", "method": "POST"}, "name": "inherits"},
        ]),
        {"match": "/bare/*", "routes": [route("/bare/child", "child")]},
        route("/secret", "internal", internal=True),
        {"match": "/deep/{a}/*", "routes": [route("/deep/{a}/{b}", "{path.a} and {path.b}")]},
        route("/*", "rest")))


@pytest.mark.parametrize("target, how, want", [
    ("/api/login", {}, "login"), ("/api", {}, "api"), ("/api/other", {}, "api"),
    ("/api/any/x", {"method": "POST"}, "api"),
    ("/bare/child", {}, "child"), ("/bare/other", {}, 404),  # never the next sibling
    ("/deep/1/2", {}, "1 and 2"), ("/deep/1/2/3", {}, 404),
    ("/secret", {}, "rest"),  # matching goes on as if it were not there
    ("/other", {}, "rest"),
])
def test_children_match_within_their_parent(nested, raw, target, how, want):
    assert ask(raw(nested), target, **how) == want


# --- templates


@pytest.mark.parametrize("template, how, want", [
    ("{method} {target}", {"target": "/a%20b?c=d"}, "GET /a%20b?c=d"),
    ("{path}", {"target": "/x/../a%20b?c"}, "/a b"),
    ("{host}", {"host": "Example.ORG:81"}, "example.org"),
    ("{scheme}", {}, "http"),
    ("{query.a}|{query.b}", {"target": "/?b=1%2B2&a=x+y"}, "x y|1+2"),
    ("{query.none}|{header.none}|{cookie.none}", {}, "||"),
    ("{header.x-a}", {"fields": "X-A:  v w \r\n"}, "v w"),
    ("{cookie.b}", {"fields": "Cookie: a=1; b=2; c=3\r\n"}, "2"),
    ("{peer.ip}", {}, "127.0.0.1"),
    ("{server.name} {route.name}", {}, "the server the route"),
    ("{{{method}} {{x}", {}, "{GET} {x}"),
    ("{method}", {"method": "OPTIONS"}, "OPTIONS"),
])
def test_a_template_tells_of_the_request(weir, raw, template, how, want):
    running = weir(site(route(None, template, name="the route"), name="the server"))
    assert ask(raw(running), how.pop("target", "/"), **how) == want


def test_the_first_of_fields_with_one_name_is_in_a_template(weir, raw):
    """As weir_request_field() says; not joined."""
    running = weir(site(route(None, "{header.x-a}")))
    assert ask(raw(running), fields="X-A: 1\r\nX-A: 2\r\n") == "1"


# --- what is refused


@pytest.mark.parametrize("document, says", [
    (site(route("/a", "1"), route("/a", "2")), "this route never matches"),
    (site(route(None, "1"), route("/a", "2")), "this route never matches"),
    (site(route("/a/*", "1"), route({"path": "/a/b", "method": "GET"}, "2")), "this route never matches"),
    (site(route("a", "1")), 'did you mean "/a"'),
    (site(route("/a", "{nonsense}")), "nonsense"),
    (site(route({"path": "/a", "methods": "GET"}, "1")), 'did you mean "method"'),
    (site(servers=[server(host="a", listen=":1"), server(host="A", listen=":1")]), "another server has the host"),
    (site(servers=[server(listen=":1"), server(listen=":1")]), "error"),
    (site({"match": "/a", "handle": {"respnd": "x"}}), 'did you mean "respond"'),
    ({**site(), "modules": []}, 'add "respond" to "modules"'),
], ids=lambda value: value if isinstance(value, str) else None)
def test_what_can_never_work_is_refused(weir, document, says):
    running = weir(document, listeners=0, exit_status=78)
    running.expect_error("error")
    assert running.wait_exit() == 78
    running.wait_for_line(says)


def test_a_capture_that_the_pattern_does_not_have_is_refused(weir):
    """CONFIG.md, variables: an unknown name is an error."""
    running = weir(site(route("/a/{id}", "{path.idd}")), listeners=0)
    if running.wait(lambda: running.addresses) and running.addresses:
        raise AssertionError("it serves")
    running.exit_status = 78
    running.expect_error("path.idd")


def test_all_mistakes_are_reported_in_the_order_of_the_file(weir):
    running = weir(site(route("/a", "1"), route("/a", "{nonsense}"), route("b", "3"), nme="x"),
                   listeners=0, exit_status=78)
    running.expect_error("never matches")
    running.expect_error("nonsense")
    running.expect_error('malformed pattern "b"')
    running.expect_error('"nme"')
    assert running.wait_exit() == 78
    lines = [int(line.split("weir.json:")[1].split(":")[0]) for line in running.lines if "error[" in line]
    assert len(lines) >= 4 and lines == sorted(lines)


def test_a_route_may_ask_for_a_variable(weir, raw):
    """CONFIG.md, choosing a route 4: `variable`, all of whose values are those of templates."""
    running = weir(site(
        {"match": {"variable": {"cookie.a": "1"}}, "handle": {"respond": "cookie"}},
        {"match": {"variable": {"query.q": "x y"}}, "handle": {"respond": "query"}},
        route("/*", "other")))
    connection = raw(running)
    assert connection.send(get(fields="Cookie: b=2; a=1\r\n")).read().body == b"cookie"
    assert connection.send(get("/?q=x+y")).read().body == b"query"
    assert connection.send(get(fields="Cookie: b=1\r\n")).read().body == b"other"


@pytest.mark.parametrize("name", ["tls.sni"])
def test_a_variable_that_this_build_does_not_bring_is_refused(weir, name):
    running = weir(site(route("/*", "{" + name + "}")), listeners=0, exit_status=78)
    running.expect_error("not in this build")
    assert running.wait_exit() == 78
