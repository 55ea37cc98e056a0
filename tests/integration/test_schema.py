# SPDX-License-Identifier: MIT
"""weir schema and weir check say the same (F113): every key of every level and of every installed handler with
every odd value there is a name for. What a schema cannot say is listed in EXCEPTIONS, and nothing else may differ."""

import json
import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from weir_process import slow

jsonschema = pytest.importorskip("jsonschema", reason="install python3-jsonschema")

BUILD = Path(os.environ["WEIR_BUILDDIR"])
# Of a build tree the program itself: libtool's script in front of it costs ten times what a check does.
WEIR = os.environ.get("WEIR_BIN") or BUILD / ".libs/weir"
if not Path(WEIR).exists():
    WEIR = BUILD / "weir"
MODULES = os.environ.get("WEIR_MODULE_DIR") or f"{os.environ['WEIR_BUILDDIR']}/modules/.libs"
# Where every run of the program is slow (sanitizers), one case of so many.
THIN = max(1, round(slow(1)))


def thin(cases):
    """All of them, or as few as THIN says, always the same."""
    return random.Random(THIN).sample(cases, len(cases) // THIN) if THIN > 1 else cases


# So many mistakes fit into one report, with room for several a value.
BATCH = 60

TEXTS = [
    "", " ", "x", "x y", "é", "x\u0001", "x\r\ny: z", "false", "true", "null", "auto", "*", "/", "a/b", "a.b", "a_b-c",
    "0", "00", "5", "05", "-1", "1.5", "99", "100", "200", "299", "301", "0404", "404", "599", "600", "4xx", "6xx", "400-499",
    "499-400", "100-600", "300-400", "0s", "1s", "10s", "01s", "1 s", "1S", "s", "20000w", "99999999999999w", "213503d", "213504d",
    "99999999999999999999ns", "0b", "1b", "63b", "64b", "8k", "8K", "1m", "1025k", "16m", "17m", "2g", "8388608t", "16777215t",
    "16777216t", "64kb", "0/s", "10/s", "1k/s", "10/w", "10/", "/s", "18446744073709551614/s", "18446744073709551615/s",
    "1.2.3.4", "1.2.3.256", "01.2.3.4", "1.2.3", "10.0.0.0/8", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "10.0.0.0/08", "::",
    "::1", "::1/128", "::1/129", "fe80::/10", "1::2::3", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "[::1]",
    ":8080", "8080", ":65535", ":65536", ":0", "127.0.0.1:8081", "localhost:80", "[::1]:80", "::1:80", "[1.2.3.4]:80", "unix:",
    "unix:x", "unix:/x", "unix:/" + "x" * 107, "@", "@x", "@" + "x" * 106, "@" + "x" * 107, "0660", "660", "0888", "1777", "66", "0o660",
    "example.com", "EXAMPLE.com.", "a..b", ".a", "*.example.com", "*.", "*.1.2.3.4", "a.*.b", "a:80", "a:", "http://a", "-",
    "/a", "/a/", "/a/*", "/*", "/ab*", "/a/*/b", "*.php", "*a/b", "**", "*{a}", "/{id}", "/{id}/{id}", "/{id*}", "/{id*}/x",
    "/{a b}", "/{", "/{}", "/a{b}", "/}", "//", "/a//b", "/.", "/a/..", "/a/./b", "/a?b", "/a#b", "/a b", "/x" * 64, "/x" * 65,
    "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}",
    "GET", "get", "G T", "PROPFIND", "M-SEARCH", "(", "a(b)", "[", "^/a$", "{host}", "{hots}", "{{", "{", "}", "{}", "{host", "{{host}",
    "{header.x}", "{header.}", "{header.a b}", "{cookie.a=b}", "{query.a b}", "{query.}", "{path}", "{path.x}", "{tls.sni}", "{Host}", "{duration}", "{time}",
    "http/1.1", "http/3", "json", "text", "combined", "debug", "stdout", "stderr", "http://a/b?c", "a" * 128, "a" * 129,
    "a" * 64, "a" * 65, "${env:WEIR_NO:-5}", "gzip", "br", "owner", "x-id", "content-length", "no-cache", "text/plain",
    "A" * 64, "0" * 63,
    "a.b:80", "a.b.:80", "a_b.-c:80", "a-.b:80", "1.2.3:80", "1.2.3a:80", "a..b:80", ".:80", "a:0", "a:080", "a:65536", "a b:80",
    "x" * 63 + ":80", "x" * 64 + ":80", ".".join(["x" * 63] * 4)[:253] + ":80", ".".join(["x" * 63] * 4)[:254] + ":80",
    "srv:", "srv:a", "srv:_http._tcp.a.b.", "srv:1.2", "srv:a:80", "srv:" + ".".join(["x" * 63] * 4)[:254], "[::1]:0", "srv:80",
]
OTHERS = [
    None, True, False, 0, 1, -1, 2, 5, 16, 99, 101, 200, 304, 308, 309, 404, 599, 600, 1024, 65535, 65536, 10000, 10001, 1.5,
    2**63 - 1, [], [""], ["x"], [5], [None], [False], [[]], ["x", "x"], ["/a", "/b"], ["10.0.0.0/8", "lo"], ["GET", "get"],
    ["example.com", "*.example.com"], [{}], [{"x": 1}], {}, {"x": 1}, {"x": "y"}, {"x": None}, {"x": ["y", "z"]}, {"x": []},
    {"x": True}, {"x": {}}, {"x": [5]}, {"a b": "y"}, {"": "y"}, {"X-Id": "{host}"}, {"x": "{hots}"}, {"x-note": 5},
    {"404": "x"}, {"5xx": "x"}, {"700": "x"}, {"host": "x"}, {"path.x": "y"}, {"hots": "x"}, {"duration": "x"}, {"404": ["x", "y"]},
]
VALUES = TEXTS + OTHERS


def weir(*arguments):
    env = {"PATH": os.environ["PATH"], "WEIR_MODULE_DIR": MODULES, "TERM": "xterm", "LC_ALL": "C",
           "LD_LIBRARY_PATH": str(BUILD / ".libs")}
    return subprocess.run([str(WEIR), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=slow(120), env=env)


def document(server):
    return {"modules": ["respond"], "servers": [server]}


GOOD = document({"listen": "127.0.0.1:8080", "routes": [{"handle": {"respond": "x"}}]})

# What weir check refuses and a schema cannot: by code, the message (a regular expression) and the reason.
EXCEPTIONS = [
    ("E0202", r'module ".*" is not installed|there is no file', "modules and files are elsewhere"),
    ("E0204", r"is not declared", "a handler needs an entry of \"modules\""),
    ("E0209", r"no listener is named", "a name needs an entry of \"listeners\""),
    ("E0209", r'is not one of "upstreams"', "a name needs an entry of \"upstreams\""),
    ("E0302", r'"proxy_protocol" needs "trust"', "\"defaults\" may say whom to trust"),
    ("E0302", r'"(file|rate|to)" is missing', "another layer may give a hook's option, or none"),
    ("E0303", r'"max" \(.*\) is less than "min"|"[1-5][0-9x]+-[1-5][0-9x]+" is no status', "two numbers are compared"),
    ("E0303", r'goes only with "secure"', "two keys are compared"),
    ("E0303", r'"\w+" is longer than "\w+"', "two durations are compared"),
    ("E0303", r'"(every|timeout)" of a check cannot be without end', "other durations may be"),
    ("E0313", r"is no host to ask for", "an authority is parsed"),
    ("E0315", r"no status would be good", "other lists may be empty"),
    ("E0308", r"bits set beyond its prefix", "bits are compared"),
    ("E0310", r"", "only pcre2 knows its expressions"),
    ("E0314", r"", "a module says so itself"),
    ("E0208", r'unknown variable "path\.', "a capture needs a pattern of the route"),
    ("E0301", r"this is a number with a fraction", "to a schema 1.0 is a whole number"),
    ("E0402", r"is given twice in one list", "entries of a list are compared"),
    ("E0407", r"", "hosts are compared without case, over all servers"),
]
# Whatever comes from the environment or a file is of no type until it is read.
EXPANDED = "${env:"


def handlers(schema):
    """(module, handler, options' schema) of each installed one."""
    for name, definition in schema["$defs"].items():
        if name.startswith("handler-"):
            _, module, handler = name.split("-", 2)
            yield module, handler, definition


GOOD_OPTIONS = {"static": {"root": "/srv"}, "redirect": {"to": "/x"}, "access_log": {"file": "stdout"},
                "accel": {"to": "/in/*"}, "access": {"allow": "10.0.0.0/8"}, "proxy": {"to": "shop"},
                "rate_limit": {"rate": "10/s"}, "forward_auth": {"to": "shop"}}
UPSTREAMS = {"shop": {"targets": "127.0.0.1:9000"}}


def values_of_handlers(schema):
    for module, handler, options in handlers(schema):
        makes_answers = handler in schema["$defs"]["handle"]["anyOf"][0]["enum"]
        place = "handle" if makes_answers else "use"
        of_server = not makes_answers and handler not in schema["$defs"]["route_use"]["anyOf"][0]["enum"]
        good = GOOD_OPTIONS.get(handler, {})
        for value in VALUES:
            entries = [{handler: value}, *({handler: {**good, key: value}} for key in options["properties"])]
            if handler == "headers":
                entries += [{handler: {key: {inner: value}}} for key in options["properties"] for inner in ("set", "remove")]
            for entry in entries:
                yield module, ({place: entry} if of_server else {"routes": [{place: entry}]})
        for place in ("use", "handle"):
            for entry in (handler, {handler: {}}, {handler: True}, {handler: False}, {handler: None}, {}, {"as": "x"},
                          {handler: good, "as": "x", "x-note": 1}, {handler: good, "other": 1}, [handler, handler]):
                yield module, {"routes": [{place: entry}]}
                yield module, {"routes": [{"routes": [{place: [entry]}]}]}
                yield module, {"use": entry}


def values_of_levels(schema):
    defs = schema["$defs"]
    for value in VALUES:
        for group in ("limits", "timeouts", "trust"):
            for key in defs[group]["properties"]:
                yield {group: {key: value}}
        for key in defs["server"]["properties"]:
            yield {key: value}
        for key in defs["route"]["properties"]:
            yield {"routes": [{"match": "/here", "handle": {"respond": "x"}, key: value}]}
        for key in defs["conditions"]["properties"]:
            yield {"routes": [{"match": {key: value}}]}
        for key in ("as", "final"):
            yield {"routes": [{"handle": [{"respond": "x", key: value}]}]}
    for value in FEW:
        for group in ("limits", "timeouts"):
            for key in defs[group]["properties"]:
                yield {"routes": [{group: {key: value}}]}
        for key in defs["conditions"]["properties"]:
            yield {"routes": [{"routes": [{"match": ["/x", {"not": {key: value}}]}]}]}


def servers(schema):
    """(module, server) of every value in every key that a server may hold."""
    yield from values_of_handlers(schema)
    yield from (("respond", server) for server in values_of_levels(schema))


# Values for keys of which one run can judge one only.
FEW = [None, True, False, 0, 1, -1, 5, 1024, 10001, 1.5, 5.0, 2**63 - 1, [], ["x"], {}, {"x": 1}, {"x-note": 5}, [{}],
       "", "x", "auto", "0", "5", "false", "true", "0s", "10s", "20000w", "213504d", "1b", "1m", "2g", "16777216t",
       "${env:WEIR_NO:-5}", "unix:/x", "unix:", "@x", ":1", "debug", "json", "/a"]


def documents(schema):
    """The same of what only a whole document has."""
    defs = schema["$defs"]
    for value in FEW:
        for level in ("workers", "log", "control"):
            yield {level: value}
            yield from ({level: {key: value}} for key in defs[level]["properties"])
        for key in ("limits", "timeouts", "trust", "log", "use"):
            yield {"defaults": {key: value}}
        for key in set(defs["top"]["properties"]) - {"workers", "log", "control", "include"}:
            yield {key: value}
        for key in defs["module"]["properties"]:
            yield {"modules": [{"name": "respond", key: value}]}
        yield {"modules": ["respond", value]}
    for text in TEXTS:
        if text[:1] in ("@", ":", "u", "[") or text in ("", "x", "127.0.0.1:8081"):
            yield {"control": {"listen": text}}
    static = {"listen": ":8080", "routes": [{"routes": [{"handle": ["static"]}]}]}
    for defaults in ({"root": "/srv"}, {"root": None}, {"index": "x"}, {"rot": "/srv"}, None, 5):
        yield {"modules": [{"name": "static", "defaults": defaults}], "servers": [static]}
    yield {"modules": ["static"], "servers": [static]}
    yield {"workers": {"max_requests": 2**63}}
    yield {"workers": {"max_requests": 2**64}}
    yield {"pools": {"a": {"min": 5, "max": 4}}}
    yield {"pools": {"a" * 64: {}}}
    yield {"pools": {"a" * 65: {}}}
    yield {"listeners": {"x-note": 5, "a b": {"address": ":1"}}}


def named(schema):
    """(section, entry) of those sections that hold any number of named entries."""
    defs = schema["$defs"]
    for number, value in enumerate(FEW):
        for key in defs["pool"]["properties"]:
            yield "pools", {key: value}
        for port, key in enumerate(set(defs["listener"]["properties"]) - {"address"}):
            yield "listeners", {"address": f"127.0.0.1:{10000 + 20 * number + port}", key: value}
        yield "listeners", {"address": value}
        yield from (("upstreams", {"targets": "127.0.0.1:1", key: value}) for key in defs["upstream"]["properties"])
        yield from (("upstreams", {"targets": [{"address": "127.0.0.1:1", key: value}]})
                    for key in defs["target"]["properties"])
        yield from (("upstreams", {"targets": "127.0.0.1:1", "timeouts": {key: value}})
                    for key in defs["upstream_timeouts"]["properties"])
        yield from (("upstreams", {"targets": "127.0.0.1:1", "health": {"path": "/", key: value}})
                    for key in defs["upstream_health"]["properties"])
        yield from (("upstreams", {"targets": "127.0.0.1:1", "health": {"path": "/", "expect": {key: value}}})
                    for key in defs["upstream_expect"]["properties"])
        yield from (("upstreams", {"targets": "127.0.0.1:1", "eject": {key: value}})
                    for key in defs["upstream_eject"]["properties"])
        yield from (("upstreams", {"targets": "127.0.0.1:1", "retry": {key: value}})
                    for key in defs["upstream_retry"]["properties"])
        yield from (("upstreams", {"targets": "127.0.0.1:1", "resolve": {key: value}})
                    for key in defs["upstream_resolve"]["properties"])
        yield from (("upstreams", {"targets": "127.0.0.1:1", "balance": {key: value}})
                    for key in defs["balance"]["properties"])
        yield from (("upstreams", {"targets": "127.0.0.1:1", "sticky": {"cookie": "a", key: value}})
                    for key in defs["sticky"]["properties"])
    yield from (("upstreams", {"targets": "127.0.0.1:1", "resolve": {"servers": text}}) for text in TEXTS)
    yield from (("upstreams", {"targets": text}) for text in TEXTS)
    yield from (("upstreams", {"targets": "127.0.0.1:1", "balance": value})
                for value in ("round_robin", "least_connections", "random", "hash", {"hash": "{path}", "bound": 125}))
    yield from (("upstreams", {"targets": "127.0.0.1:1", "sticky": {"cookie": "a", "same_site": value, "secure": secure}})
                for value in ("lax", "strict", "none") for secure in (True, False))
    for number, text in enumerate(TEXTS):
        yield "listeners", {"address": text}
        yield "listeners", {"address": f"unix:/n{number}", "mode": text}


def check(folder, case):
    """Whether it is good, and its errors."""
    path = folder / "weir.json"
    path.write_text(json.dumps(case))
    done = weir("check", "--json", "--text-only", "-c", path)
    assert done.returncode in (0, 78), done.stderr
    errors = [mistake for mistake in json.loads(done.stdout)["mistakes"] if mistake["severity"] == "error"]
    assert (done.returncode == 0) == (errors == [])
    return errors


class Judge:
    def __init__(self, schema, folder):
        self.validator = jsonschema.validators.validator_for(schema)(schema)
        self.folder, self.met, self.cases = folder, set(), 0

    def says_good(self, case):
        self.cases += 1
        return self.validator.is_valid(case)

    def compare(self, case, is_good):
        errors = check(self.folder, case)
        if is_good == (errors == []):
            return
        assert is_good, f"the schema refuses what weir check accepts: {json.dumps(case)}"
        if EXPANDED in json.dumps(case):
            return
        for error in errors:
            reasons = [number for number, (code, message, _) in enumerate(EXCEPTIONS)
                       if error["code"] == code and re.search(message, error["message"])]
            assert reasons, f"the schema accepts {json.dumps(case)}: {error['code']} {error['message']}"
            self.met.update(reasons)


@pytest.fixture(scope="module")
def schema():
    schema = json.loads(weir("schema").stdout)
    jsonschema.validators.validator_for(schema).check_schema(schema)
    return schema


@pytest.fixture(scope="module")
def judge(schema, tmp_path_factory):
    return Judge(schema, tmp_path_factory.mktemp("schema"))


def test_what_a_document_may_hold(schema, judge):
    for keys in thin(list(documents(schema))):
        case = {**GOOD, **keys}
        judge.compare(case, judge.says_good(case))


def compare_many(judge, cases, together, alone, index):
    """Cases are checked in one run, `together`. One about which both do not agree there is checked alone, and all are
    when a mistake is none of a single one."""
    cases = thin(cases)
    for start in range(0, len(cases), BATCH):
        batch = cases[start:start + BATCH]
        refused = {index(error["pointer"]) for error in check(judge.folder, together(batch))}
        for number, case in enumerate(batch):
            is_good = judge.says_good(alone(case))
            if is_good == (number in refused) or None in refused:
                judge.compare(alone(case), is_good)


@pytest.mark.parametrize("section", ["pools", "listeners", "upstreams"])
def test_what_named_entries_may_hold(schema, judge, section):
    compare_many(judge, [entry for where, entry in named(schema) if where == section],
                 lambda entries: {**GOOD, section: {f"n{number}": entry for number, entry in enumerate(entries)}},
                 lambda entry: {**GOOD, section: {"n": entry}}, lambda pointer: int(pointer.split("/")[2][1:]) if pointer.count("/") > 1 else None)


def test_what_servers_and_handlers_may_hold(schema, judge):
    modules = sorted({module for module, _, _ in handlers(schema)})
    cases = [{"listen": f"127.0.0.1:{1024 + number % 60000}", **server} for number, (_, server) in enumerate(servers(schema))]
    compare_many(judge, cases, lambda batch: {"modules": modules, "upstreams": UPSTREAMS, "servers": batch},
                 lambda server: {"modules": modules, "upstreams": UPSTREAMS, "servers": [server]}, lambda pointer: int(pointer.split("/")[2]))


def test_no_exception_is_there_for_nothing(judge):
    assert judge.cases > 19000 / THIN
    if THIN > 1:
        pytest.skip("not every case was looked at")
    unmet = [EXCEPTIONS[number] for number in range(len(EXCEPTIONS)) if number not in judge.met]
    assert unmet == []
