# SPDX-License-Identifier: MIT
"""A server under test: started with a configuration of its own, on ports it picked itself, watched
through its log, stopped and judged.

A Server begins with start(), which returns when every listener has said "listening on ADDRESS"
on standard error, and ends with finish(), which raises Misbehaved when the process left with the
wrong status, would not leave, or logged an assertion failure, a sanitizer's report or an error
that the test did not announce (expect_error). Nothing here waits a fixed time: it waits for a
line, a process's end or a condition, each with a bound that WEIR_TEST_SLOW stretches."""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

LISTENING = re.compile(r"listening on (\S+)")

# What no server may say, whatever the test is about.
ALARMS = re.compile(
    r"assertion failed|AddressSanitizer|LeakSanitizer|ThreadSanitizer|MemorySanitizer"
    r"|UndefinedBehaviorSanitizer|runtime error:|stack smashing|buffer overflow detected"
    r"|malloc\(\)|free\(\)|corrupted|Segmentation fault"
)
# What it may say only when the test expects it: "error:", "error[E0203]:", "[error]".
ERRORS = re.compile(r"(?:^|[\s:\]])error(?:\[\w+\])?:|\[error\]")


def slow(seconds):
    """A bound on time, longer on slow machines: WEIR_TEST_SLOW is a factor, 1 without it."""
    try:
        return seconds * max(1.0, float(os.environ.get("WEIR_TEST_SLOW", "1")))
    except ValueError:
        return seconds


def eventually(condition, seconds=10):
    """True as soon as condition() is; False when it has not become so within the bound. For what
    sends no event, such as /proc."""
    deadline = time.monotonic() + slow(seconds)
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)  # on purpose: /proc and other processes' state send no event
    return True


class Misbehaved(AssertionError):
    """The server did something that fails any test."""


def process_tree(pid):
    """pid and all its descendants that are there now."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    tree = [pid]
    for one in tree:
        tree += children.get(one, [])
    return tree


def descriptors(pid):
    """{fd: what it refers to} of one process."""
    found = {}
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found[int(entry.name)] = os.readlink(entry)
            except OSError:
                continue
    except OSError:
        pass
    return found


def resident_bytes(pid):
    """Memory that pid and its descendants hold, without pages of files."""
    total = 0
    for one in process_tree(pid):
        try:
            status = Path(f"/proc/{one}/status").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:"))
    return total * 1024


def is_instrumented():
    """Whether this build has sanitizers, which keep freed memory, shadow the rest and cost time."""
    makefile = Path(os.environ.get("WEIR_BUILDDIR", ".")) / "Makefile"
    return makefile.exists() and "-fsanitize" in makefile.read_text(errors="replace")


class Server:
    """One run of `weir run -c FILE` (or of `command`, to which "run -c FILE" is appended)."""

    def __init__(self, folder, config, command=None, options=(), env=None, exit_status=0):
        self.folder = Path(folder)
        self.config = config
        self.command = command or [os.environ.get("WEIR_BIN") or f"{os.environ['WEIR_BUILDDIR']}/weir"]
        self.options = list(options)
        # Its control socket goes where the test's files are.
        self.env = dict(os.environ, RUNTIME_DIRECTORY=str(self.folder), **(env or {}))
        if "WEIR_BUILDDIR" in os.environ:
            self.env.setdefault("WEIR_MODULE_DIR", f"{os.environ['WEIR_BUILDDIR']}/modules/.libs")
        self.exit_status = exit_status
        self.expected_errors = []
        self.lines = []
        self.process = None
        self.finished = False
        self._news = threading.Condition()
        self._reader = None
        self._at_end = False

    # --- beginning

    def start(self, listeners=1):
        """Starts it and waits until `listeners` listeners are there; returns self."""
        self.launch()
        if not self.wait(lambda: len(self.addresses) >= listeners, 20):
            raise self.misbehaved(f"no {listeners} listener(s) within {slow(20)} s")
        if len(self.addresses) < listeners:
            raise self.misbehaved("ended before it listened")
        return self

    def launch(self):
        """Starts it and waits for nothing: for configurations that must be refused."""
        file = self.folder / "weir.json"
        text = self.config if isinstance(self.config, str) else json.dumps(self.config, indent=2)
        file.write_text(text)
        self.process = subprocess.Popen(
            [*self.command, "run", "-c", str(file), *self.options],
            cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._at_end = True
            self._news.notify_all()

    # --- watching

    @property
    def pid(self):
        return self.process.pid

    @property
    def addresses(self):
        """What it listens on, in the order in which it said so, as "host:port" or "unix:PATH"."""
        found = (LISTENING.search(line) for line in list(self.lines))
        return [match.group(1) for match in found if match]

    @property
    def address(self):
        return self.addresses[0]

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def url(self, target="/", listener=0):
        return f"http://{self.addresses[listener]}{target}"

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait(self, condition, seconds=10):
        """Waits for the log to make condition() true, or to end. False: neither happened."""
        with self._news:
            return self._news.wait_for(lambda: condition() or self._at_end, slow(seconds))

    def wait_for_line(self, pattern, seconds=10):
        """The first line of the log that matches, waited for."""
        def match():
            return next((line for line in self.lines if re.search(pattern, line)), None)

        self.wait(match, seconds)
        line = match()
        if line is None:
            raise self.misbehaved(f"no line matches {pattern!r} within {slow(seconds)} s")
        return line

    def expect_error(self, pattern):
        """A logged error that matches is what this test wants."""
        self.expected_errors.append(re.compile(pattern))

    def processes(self):
        return process_tree(self.pid)

    def descriptor_count(self):
        return sum(len(descriptors(pid)) for pid in self.processes())

    def descriptors_return_to(self, count, seconds=10):
        """Fails the test unless the number of open descriptors comes back to `count`."""
        if not eventually(lambda: self.descriptor_count() <= count, seconds):
            now = {pid: descriptors(pid) for pid in self.processes()}
            raise self.misbehaved(f"{self.descriptor_count()} descriptors, {count} before: {now}")

    # --- ending

    def signal(self, number):
        self.process.send_signal(number)

    @contextlib.contextmanager
    def held(self):
        """Within it the server stands still, from the moment in which it waits for events; what happens
        to it meanwhile it finds afterwards, all at once."""
        def comes_to(state):
            def is_there():
                try:
                    return all(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == state
                               for pid in process_tree(self.pid))
                except (FileNotFoundError, ProcessLookupError):
                    return False  # one of them has just ended, as an old worker does: look again

            if not eventually(is_there):
                raise self.misbehaved(f"never in state {state}")

        comes_to("S")
        held = process_tree(self.pid)
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            comes_to("T")
            yield
        finally:
            for pid in reversed(held):  # workers first: what has come to them comes first
                os.kill(pid, signal.SIGCONT)

    def wait_exit(self, seconds=20):
        """Its exit status (negative: the signal that killed it), waited for."""
        try:
            status = self.process.wait(slow(seconds))
        except subprocess.TimeoutExpired:
            raise self.misbehaved(f"still there after {slow(seconds)} s") from None
        self._reader.join(slow(5))
        return status

    def finish(self):
        """Stops it, if it still runs, and judges it. Safe to call twice."""
        if self.finished or self.process is None:
            return
        self.finished = True
        try:
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
            status = self.wait_exit()
        finally:
            self.kill()
        if status != self.exit_status:
            raise self.misbehaved(f"exit status {status}, not {self.exit_status}")
        for line in self.lines:
            if ALARMS.search(line):
                raise self.misbehaved(f"it said: {line}")
            if ERRORS.search(line) and not any(e.search(line) for e in self.expected_errors):
                raise self.misbehaved(f"unexpected error: {line}")
        for expected in self.expected_errors:
            if not any(expected.search(line) for line in self.lines):
                raise self.misbehaved(f"no error matched {expected.pattern!r}")

    def kill(self):
        """Takes away whatever is left of it, workers included."""
        if self.process is None:
            return
        left = process_tree(self.pid) if self.process.poll() is None else []
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self._reader.join(slow(5))

    def misbehaved(self, what):
        tail = "\n".join(f"    {line}" for line in self.lines[-40:]) or "    (nothing)"
        return Misbehaved(f"{what}\nthe end of the server's log:\n{tail}")
