# SPDX-License-Identifier: MIT
"""weir check, weir explain and weir schema (F1, F110 to F113, F115): forms, exit codes, and a schema that
agrees with the check."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from weir_process import slow

WEIR = os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"
MODULES = os.environ.get("WEIR_MODULE_DIR") or f"{os.environ['WEIR_BUILDDIR']}/modules/.libs"
GOOD = """// a comment
{
  "modules": ["respond"],
  "servers": [{ "name": "one", "listen": "127.0.0.1:8080", "routes": [
    { "match": "/u/{id}", "handle": { "respond": "{path.id}" } },
    { "handle": { "respond": { "status": 404, "body": "no" } } },
  ] }]
}
"""
BAD = GOOD.replace('"status"', '"sttaus"')


def weir(*arguments, **environment):
    env = {"PATH": os.environ["PATH"], "WEIR_MODULE_DIR": MODULES, "TERM": "xterm", "LC_ALL": "C", **environment}
    return subprocess.run([WEIR, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=slow(60), env=env)


@pytest.fixture
def write(tmp_path):
    def write(text, name="weir.json"):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    return write


def test_a_good_configuration_is_said_to_be_good(write):
    path = write(GOOD)
    done = weir("check", "-c", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{path}: no mistakes (1 module, 1 listener)\n"
    assert weir("check", "-q", "-c", path).stdout == ""


def test_a_mistake_is_shown_in_its_place(write):
    path = write(BAD)
    done = weir("check", "-c", path)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith(f'{path}:6:32: error[E0201]: unknown key "sttaus"\n')
    assert '\n      |                                ^^^^^^^^\n' in done.stderr
    assert 'did you mean "status"?' in done.stderr
    assert "\033" not in done.stderr  # no terminal, no colour


def test_a_mistake_has_a_form_for_programs(write):
    path = write(BAD)
    done = weir("check", "--format=json", "-c", path)
    assert (done.returncode, done.stderr) == (78, "")
    report = json.loads(done.stdout)
    assert report["errors"] == 1
    mistake = report["mistakes"][0]
    assert (mistake["code"], mistake["file"], mistake["line"], mistake["column"]) == ("E0201", str(path), 6, 32)
    assert mistake["pointer"] == "/servers/0/routes/1/handle/respond"
    assert json.loads(weir("check", "--json", "-c", write(GOOD)).stdout)["mistakes"] == []


def test_a_mistake_has_a_form_for_editors(write):
    path = write(BAD)
    done = weir("check", "--format=gcc", "-c", path)
    assert done.stderr.startswith(f"{path}:6:32: error: unknown key")
    assert done.stderr.endswith("[E0201]\n")


@pytest.mark.parametrize("arguments, says", [
    (["check", "weir.json"], "-c weir.json"),
    (["check", "--format=xml"], "text, json and gcc"),
    (["check", "--nonsense"], "weir check: "),
    (["check", "-c"], "weir check: "),
    (["explain", "GET"], "usage: weir explain"),
    (["explain", "--nonsense", "GET", "http://x/"], "weir explain: "),
    (["schema", "more"], "unexpected"),
])
def test_wrong_arguments_are_64(arguments, says):
    done = weir(*arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert says in done.stderr


@pytest.mark.parametrize("command", ["check", "explain", "schema"])
def test_every_command_explains_itself(command):
    done = weir(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: weir {command}")


def test_a_question_is_answered_for_programs(write):
    file = write(json.dumps({"modules": ["respond"], "servers": [{"listen": ":8080", "host": "*.example.com", "routes": [
        {"name": "a", "match": "/a/{id}", "handle": {"respond": {"status": 404}}}]}]}, indent=2))
    done = weir("explain", "--json", "-c", str(file), "GET", "http://www.example.com:8080/a/5?b=c")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["route"]["name"] == "a" and answer["route"]["captures"] == {"id": "5"}
    assert answer["server"]["because"] == "longest suffix of the host"
    (hook,) = answer["hooks"]
    assert (hook["phase"], hook["handler"], hook["options"]["status"]["value"]) == ("content", "respond", 404)
    assert hook["options"]["status"]["at"]["line"] == 15
    assert answer["settings"]["timeouts"]["head"] == {"value": "10s", "preset": True}
    nobody = json.loads(weir("explain", "--json", "-c", str(file), "GET", "http://b:8080/").stdout)
    assert (nobody["server"], nobody["status"]) == (None, 421)


@pytest.mark.parametrize("name", ["static", "respond"])
def test_a_handler_has_its_reference(name):
    done = weir("doc", name)
    assert done.returncode == 0
    assert f"handler {name}" in done.stdout
    assert "stands in \"handle\"" in done.stdout


def test_a_reference_names_types_and_presets():
    lines = weir("doc", "static").stdout.splitlines()
    assert any(line.startswith("  root: ") and "shorthand" in line for line in lines)
    assert any(line.startswith("  listing: true or false [false]") for line in lines)


def test_a_reference_of_nothing_says_what_there_is():
    done = weir("doc", "statik")
    assert done.returncode == 78
    assert 'did you mean "static"' in done.stderr


@pytest.mark.parametrize("file, status, says", [
    ("good", 0, 'module "odd" 1 fits'),
    ("older", 0, "fits"),
    ("abi", 78, "expected ABI 1, found ABI 2"),
    ("magic", 78, "no module of Weir"),
    ("newer", 78, "install a newer Weir"),
    ("nonsense", 78, "No such file"),
])
def test_a_module_is_tried_before_it_is_installed(file, status, says):
    done = weir("abi-check", f"{os.environ['WEIR_BUILDDIR']}/tests/support/.libs/libodd_{file}.so")
    assert done.returncode == status
    assert says in done.stdout + done.stderr


def test_a_file_that_is_not_there_is_a_mistake_of_configuration(tmp_path):
    done = weir("check", "-c", tmp_path / "none.json")
    assert done.returncode == 78
    assert "E0101" in done.stderr and "No such file" in done.stderr


@pytest.mark.parametrize("change", [str, str.upper])
def test_a_module_whose_sum_is_right_is_loaded(write, change):
    """CONFIG.md: `sha256` of an entry of `modules`."""
    file = Path(os.environ.get("WEIR_MODULE_DIR", f"{os.environ['WEIR_BUILDDIR']}/modules/.libs"), "respond.so")
    sum = change(hashlib.sha256(file.read_bytes()).hexdigest())
    for entry in ({"name": "respond", "sha256": sum}, {"name": "respond", "path": str(file), "sha256": sum}):
        assert weir("check", "-c", write(config(modules=[entry]))).returncode == 0


@pytest.mark.parametrize("entry, says", [
    ({"name": "respond", "sha256": "0" * 64}, ["E0205", 'respond.so" is not the file that "sha256" names', "its sum is "]),
    ({"name": "respond", "sha256": "0" * 63}, ["E0305", "64 hexadecimal digits", "sha256sum FILE prints it"]),
    ({"name": "respond", "sha256": "x" * 64}, ["E0305"]),
    ({"name": "respond", "sha256": 5}, ["E0301"]),
    ({"name": "nothing", "sha256": "0" * 64}, ["E0202", 'module "nothing" is not installed']),
    ({"name": "respond", "path": "/", "sha256": "0" * 64}, ["E0205", '"/" cannot be read']),
], ids=str)
def test_a_module_with_another_sum_is_not_loaded(write, entry, says):
    done = weir("check", "-c", write(config(modules=[entry])))
    assert done.returncode == 78
    assert all(text in done.stderr for text in says), done.stderr


def test_a_question_is_answered(write):
    done = weir("explain", "-c", write(GOOD), "GET", "http://any:8080/u/7")
    assert (done.returncode, done.stderr) == (0, "")
    assert "server    one" in done.stdout
    assert '{path.id} = "7"' in done.stdout
    assert 'body = "{path.id}"' in done.stdout and "weir.json:5)" in done.stdout
    assert weir("explain", "-c", write(BAD), "GET", "http://any/").returncode == 78
    assert weir("explain", "-c", write(GOOD), "GET", "nonsense").returncode == 64


# Values that a schema can judge, in a configuration that is good otherwise.
def config(**keys):
    route = {"handle": {"respond": "x"}, **keys.pop("route", {})}
    server = {"listen": "127.0.0.1:8080", "routes": [route], **keys.pop("server", {})}
    return {"modules": ["respond"], "servers": [server], **keys}


@pytest.mark.parametrize("options, says", [
    ({"respond": {"status": 101}}, ["a number from 200 to 599"]),
    ({"respond": {"status": "600"}}, ["a number from 200 to 599"]),
    ({"respond": {"type": "a\r\nb: c", "body": "x"}}, ["a control character in the value of a field"]),
    ({"respond": {"status": 205, "body": "x"}}, ["an answer with status 205 has no text"]),
    ({"redirect": {"to": "/x", "status": 200}}, ["a number from 301 to 308"]),
    ({"redirect": {"to": "/x", "status": 304}}, ["304 is no redirect"]),
    ({"static": {"root": ".", "headers": {"Content-Length": "2"}}}, ["content-length is the server's to say"]),
    ({"static": {"root": ".", "headers": {"x-a": "b\u0001"}}}, ["a control character in the value of a field"]),
])
def test_what_no_answer_can_have_is_refused(write, options, says):
    """HTTP.md, Answers: found by the check, and not by a 500."""
    done = weir("check", "-c", write(config(modules=["respond", "redirect", "static"], route={"handle": options})))
    assert done.returncode == 78
    for text in says:
        assert text in done.stderr
    assert done.stderr.count(": error[") == 1


@pytest.mark.parametrize("keys, says", [
    ({"server": {"limits": {"body": "10MB"}}}, ['"10MB" is no size', 'did you mean "10m"?']),
    ({"server": {"timeouts": {"body": "10 s"}}}, ['"10 s" is no duration', 'did you mean "10s"?']),
    ({"server": {"timeouts": {"body": "5 Minutes"}}}, ['did you mean "5m"?']),
    ({"server": {"trust": {"peers": "10.0.0.0/8, ::1"}}}, ["is no network", "several are a list"]),
    ({"workers": {"loops": "${env:WEIR_NO:-two}"}}, ['"loops" takes a whole number, this is a string', 'it is "two"']),
    ({"workers": {"user": "${USER}"}}, ['warning[E0109]: "${USER}" is not a reference', "write ${env:USER} if that is meant"]),
    ({"servers": {"listen": ":1"}}, ['"servers" is a list, this is an object', "write [...] around it"]),
    ({"route": {"use": {"headers": {}, "fianl": True}}}, ["an entry has exactly one handler", 'did you mean "final"?']),
    ({"route": {"use": {"headers": {"response": {"set": {"x-a": 5}}}}}}, ['"x-a" takes a string, this is an integer']),
    ({"pools": {"a": {"max": "x"}}}, ['"max" takes a whole number or false, this is a string']),
], ids=str)
def test_a_mistake_says_what_to_do(write, keys, says):
    done = weir("check", "--text-only", "-c", write(config(modules=["respond", "headers"], **keys)))
    assert done.stderr.count("[E0") == 1
    for text in says:
        assert text in done.stderr


def test_a_secret_that_is_no_such_value_is_not_shown(write, tmp_path):
    (tmp_path / "secret").write_text("hunter2")
    done = weir("check", "-c", write(config(workers={"loops": "$file:secret"})))
    assert done.returncode == 78 and "hunter2" not in done.stdout + done.stderr


def test_one_mistake_is_reported_once(write):
    done = weir("check", "-c", write(config(pools={"a": {"max": -2}})))
    assert done.returncode == 78 and "-1 to" in done.stderr
    assert done.stderr.count(": error[") == 1


CORPUS = [
    config(**{"$schema": "weir.schema.json"}),
    config(**{"$schema": 1}),
    config(route={"handle": {"respond": {"status": 101}}}),
    config(route={"handle": {"respond": {"status": "200"}}}),
    config(route={"handle": {"respond": {"status": "101"}}}),
    config(route={"handle": {"respond": {"status": 600}}}),
    config(),
    config(workers={"processes": "auto", "loops": 1, "memory": "1g"}),
    config(workers={"processes": "some"}),
    config(workers={"processes": 0}),
    config(workers={"drain_timeout": 60}),
    config(workers={"drain_timeout": "60s", "max_requests": False}),
    config(workers={"drain_timeout": "0s"}),
    config(workers={"max_requests": 0}),
    config(workers={"x-why": 5}),
    config(worker={}),
    config(**{"x-note": [1, 2], "$schema": "weir.schema.json"}),
    config(pools={"db": {"min": 1, "max": -1}}),
    config(pools={"db": {"min": 0}}),
    config(pools={"a b": {}}),
    config(log={"level": "debug", "format": "json"}),
    config(log={"level": "loud"}),
    config(defaults={"limits": {"body": "10m", "head": False, "fields": 5, "body_rate": "1k/s"}}),
    config(defaults={"limits": {"body": "ten"}}),
    config(defaults={"limits": {"body": "${env:WEIR_TEST_BODY:-1m}"}}),
    config(defaults={"limits": {"body_rate": "1k"}}),
    config(defaults={"timeouts": {"body": None, "keepalive": False}}),
    config(defaults={"timeouts": {"body": "1 s"}}),
    config(defaults={"trust": {"peers": ["10.0.0.0/8", "::1"], "hops": 2}}),
    config(defaults={"trust": {"peers": ["lo"]}}),
    config(defaults={"host": "x"}),
    config(listeners={"web": {"address": "127.0.0.1:8081", "backlog": 5}}, server={"listen": "web"}),
    config(listeners={"web": {"address": 8081}}, server={"listen": "web"}),
    config(listeners={"web": {"address": "127.0.0.1:8081", "proxy_protocol": 1}}, server={"listen": "web"}),
    config(listeners={"web": {"address": "unix:web.sock", "proxy_protocol": True}}, server={"listen": "web"}),
    config(server={"listen": 8080}),
    config(server={"listen": []}),
    config(server={"host": ["a.example", "*.b.example"]}),
    config(server={"host": 5}),
    config(server={"tls": {}}),
    config(upstreams={}),
    config(servers=[]),
    config(server={"name": ""}),
    config(route={"match": "/a/*"}),
    config(route={"match": "a"}),
    config(route={"match": ["/a", {"path": "*.b", "method": "GET", "header": {"x": True}}]}),
    config(route={"match": []}),
    config(route={"match": 5}),
    config(route={"match": {"client": "10.0.0.0/8", "protocol": ["http/1.1"], "not": "/a"}}),
    config(route={"match": {"protocol": "http/3"}}),
    config(route={"match": {"paths": "/"}}),
    config(route={"internal": True, "name": "n"}),
    config(route={"internal": "yes"}),
    config(route={"handle": "respond"}),
    config(route={"handle": ["respond"]}),
    config(route={"handle": []}),
    config(route={"handle": {"respond": {"body": "x", "status": 200, "type": "a/b"}}}),
    config(route={"handle": {"respond": {"status": 700}}}),
    config(route={"handle": {"respond": {"status": "5xx"}}}),
    config(route={"handle": {"respond": {"boddy": "x"}}}),
    config(route={"handle": {"respond": "x", "as": "y"}}),
    config(route={"handle": {"respond": "x", "other": "y"}}),
    config(route={"handle": {"nothing": "x"}}),
    config(route={"use": "respond"}),
    config(route={"use": []}),
    config(route={"routes": [{"match": "/b"}]}),
    config(route={"routes": {}}),
    config(route={"tls": {}}),
    config(modules=["respond", "nothing"]),
    config(modules=[{"name": "respond"}]),
    config(modules=[{"path": "x.so"}]),
    config(modules="respond"),
]


def test_the_schema_and_the_check_agree(write):
    jsonschema = pytest.importorskip("jsonschema", reason="install python3-jsonschema")
    schema = json.loads(weir("schema").stdout)
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    for number, case in enumerate(CORPUS):
        path = write(case, f"{number}.json")
        done = weir("check", "-c", path)
        assert done.returncode in (0, 78)
        errors = [error.message for error in validator(schema).iter_errors(case)]
        assert (errors == []) == (done.returncode == 0), f"{case}\n{done.stderr}\n{errors}"


def test_the_samples_of_the_manual_fit_the_schema(write):
    jsonschema = pytest.importorskip("jsonschema", reason="install python3-jsonschema")
    schema = json.loads(weir("schema").stdout)
    text = Path(os.environ["WEIR_SRCDIR"], "tests/unit/config/samples/smallest.json").read_text()
    done = weir("check", "-c", write(text))
    errors = list(jsonschema.validators.validator_for(schema)(schema).iter_errors(json.loads(text)))
    assert (errors == []) == (done.returncode == 0), (errors, done.stderr)
