#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts what a `make check` found out, from the .trs and .log files of a build folder.

    count.py BUILDDIR

Each program of the list counts as many tests as it says it ran:
  * a unit test (tests/unit/) by Check's line "100%: Checks: 3, Failures: 0, Errors: 0"; one
    without that line died before its end, and is a failure;
  * others by a line "tests: 3 passed, 0 failed, 1 skipped" of their own, the last one if there
    are several, else as one.
A program whose exit status says failure is at least one failure, whatever its log says. Ends
with the line "tests: N passed, N failed, N skipped", and before it names what failed, with the end of its
log, or was skipped. Exit status 0 when something ran and nothing failed."""

import re
import sys
from pathlib import Path

TAIL_LINES = 20  # of a failed test's log

CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)$", re.M)
OWN = re.compile(r"^tests: (\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
RESULT = re.compile(r"^:test-result: *(\w+)", re.M)


def count_one(name, result, log):
    """(passed, failed, skipped) of one test program."""
    passed = failed = skipped = 0
    if name.startswith("tests/unit/") and result != "SKIP":
        ran = CHECK.findall(log)
        for checks, failures, errors in ran:
            bad = int(failures) + int(errors)
            passed += int(checks) - bad
            failed += bad
        if not ran or passed + failed == 0:
            failed += 1
    elif OWN.search(log):
        passed, failed, skipped = map(int, OWN.findall(log)[-1])
        if result == "SKIP" or passed + failed + skipped == 0:
            skipped = max(skipped, 1)
    elif result in ("PASS", "XFAIL"):
        passed = 1
    elif result == "SKIP":
        skipped = 1
    if result not in ("PASS", "XFAIL", "SKIP") and failed == 0:
        failed = 1
    return passed, failed, skipped


def count(builddir, out=sys.stdout):
    """Sums of all programs; writes what failed and what was skipped to `out`."""
    sums = [0, 0, 0]
    for trs in sorted(builddir.rglob("*.trs")):
        name = str(trs.relative_to(builddir).with_suffix(""))
        found = RESULT.search(trs.read_text(errors="replace"))
        result = found.group(1) if found else "ERROR"
        log = trs.with_suffix(".log")
        text = log.read_text(errors="replace") if log.exists() else ""
        one = count_one(name, result, text)
        sums = [a + b for a, b in zip(sums, one)]
        if one[1] > 0:
            print(f"failed:  {name} ({one[1]} of {sum(one)}): {log}", file=out)
            for line in text.splitlines()[-TAIL_LINES:]:
                print(f"    {line}", file=out)
        elif one[2] > 0:
            reason = text.strip().splitlines()[-1] if text.strip() else "no reason given"
            print(f"skipped: {name} ({one[2]} of {sum(one)}): {reason}", file=out)
    return sums


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    passed, failed, skipped = count(Path(argv[1]))
    print(f"tests: {passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
