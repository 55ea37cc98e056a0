# SPDX-License-Identifier: MIT
"""The fixtures of the integration tests, a pytest plugin (tests/integration/conftest.py).

    def test_answers_a_file(weir, raw, curl):
        server = weir({"modules": ["static"], "servers": [...]})      # "127.0.0.1:0": any port
        with raw(server) as connection:
            answer = connection.send(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n").read()
        assert curl(server.url("/")).status == 200

Every server that a test starts is stopped after it and judged: see weir_process.Server. The test
fails when any of them misbehaved, also when its own body passed."""

import functools
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

import weir_process
import weir_raw

# What a configuration gets unless it says otherwise: one worker is enough to show a behaviour, and
# root, as which CI runs, has to name a user; folders of tests are readable to it alone.
ONE_WORKER = {"processes": 1}


@functools.lru_cache(maxsize=None)
def default_workers():
    """A build that cannot change to another user refuses to be told one, so it is asked: about a
    configuration that cannot be served by any build."""
    if os.geteuid() != 0:
        return ONE_WORKER
    as_root = {**ONE_WORKER, "user": "root"}
    with tempfile.TemporaryDirectory() as folder:
        server = weir_process.Server(
            folder, {"workers": as_root, "servers": [{"listen": f"unix:{folder}/none/socket"}]}).launch()
        try:
            server.wait_exit()
        finally:
            server.kill()
    return ONE_WORKER if "workers.user: not in this build" in server.log else as_root


class Starter:
    """Starts servers in folders of its own beneath `folder`, and judges all of them at the end."""

    def __init__(self, folder):
        self.folder, self.servers = folder, []

    def __call__(self, config, listeners=1, **how):
        if isinstance(config, dict):
            config = {**config, "workers": {**default_workers(), **config.get("workers", {})}}
        folder = self.folder / f"server{len(self.servers)}" if self.servers else self.folder
        folder.mkdir(exist_ok=True)
        server = weir_process.Server(folder, config, **how)
        self.servers.append(server)
        return server.start(listeners) if listeners else server.launch()

    def judge(self):
        wrong = []
        for server in self.servers:
            try:
                server.finish()
            except AssertionError as error:
                wrong.append(str(error))
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)


@pytest.fixture
def weir(tmp_path):
    """weir(CONFIG, ...) starts a server and waits until it listens; arguments as Server's and
    start's. A configuration given as text is written as it is. With listeners=0 it waits for
    nothing."""
    starter = Starter(tmp_path)
    yield starter
    starter.judge()


@pytest.fixture(scope="module")
def weir_for_all(tmp_path_factory):
    """The same for servers that all tests of a file share."""
    starter = Starter(tmp_path_factory.mktemp("shared"))
    yield starter
    starter.judge()


@pytest.fixture
def raw():
    """raw(SERVER or ADDRESS) connects; every connection (raw.connections) is closed after the test."""
    connections = []

    def connect(address, seconds=10):
        connections.append(weir_raw.Connection(address, seconds))
        return connections[-1]

    connect.connections = connections
    yield connect
    for connection in connections:
        connection.close()


class Curled:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def field(self, name):
        return next((v for k, v in self.fields if k.lower() == name.lower()), None)


@pytest.fixture
def curl(tmp_path):
    """curl(URL, OPTION...): a client that people use. Fails the test when curl itself fails."""

    def run(url, *options):
        head, body = tmp_path / "curl.head", tmp_path / "curl.body"
        body.write_bytes(b"")
        done = subprocess.run(
            ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", str(weir_process.slow(20)),
             "-D", str(head), "-o", str(body), "-w", "%{http_code}", *options, url],
            stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, f"curl {url}: {done.returncode} {done.stderr}"
        last = head.read_bytes().decode("latin-1").rstrip("\r\n").split("\r\n\r\n")[-1]
        fields = [tuple(part.strip() for part in line.split(":", 1)) for line in last.split("\r\n")[1:]]
        return Curled(int(done.stdout), fields, Path(body).read_bytes())

    return run


def pytest_terminal_summary(terminalreporter):
    """The line that tests/support/count.py reads."""
    def number(*kinds):
        return sum(len(terminalreporter.stats.get(kind, [])) for kind in kinds)

    terminalreporter.write_line(
        f"tests: {number('passed')} passed, {number('failed', 'error', 'xpassed')} failed, "
        f"{number('skipped', 'xfailed')} skipped")
