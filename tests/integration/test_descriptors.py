# SPDX-License-Identifier: MIT
"""F23: out of descriptors the server goes on with the clients that it has, turns some away, says so once a
second, does not spin, and serves all again as soon as it can."""

import os
import resource
from pathlib import Path

import pytest
import weir_raw
from weir_process import descriptors, eventually
from weir_site import GET, site


def leave_descriptors(pid, free):
    """So many may `pid` open yet; whatever number the next has."""
    numbers = set(descriptors(pid))
    limit = 0
    while free > 0:
        free -= limit not in numbers
        limit += 1
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(limit, max(numbers) + 1), hard))


def busy_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_served(connection):
    """False when it was turned away."""
    try:
        return connection.read().status == 200
    except weir_raw.BadAnswer:
        return False


@pytest.mark.parametrize("how", ["whole", "bytes"])
def test_out_of_descriptors(weir, raw, how):
    running = weir(site())
    (worker,) = [pid for pid in running.processes() if pid != running.pid]
    with raw(running) as connection:
        assert connection.send(GET).read().status == 200
    leave_descriptors(worker, 5)
    served = [raw(running) for _ in range(3)]
    for connection in served:
        assert connection.send(GET, how).read().status == 200
    before = busy_seconds(worker)
    waiting = [raw(running) for _ in range(30)]
    assert eventually(lambda: running.log.count("Too many open files") >= 2)
    assert busy_seconds(worker) - before < 0.5
    lines = [line for line in running.log.splitlines() if "Too many open files" in line]
    assert len(lines) <= 3 and all("LimitNOFILE" in line and "warn" in line for line in lines)
    for connection in served:
        assert connection.send(GET, how).read().status == 200
        connection.close()
    for connection in waiting:
        connection.close()
    assert eventually(lambda: is_served(raw(running).send(GET, how)))
    with raw(running) as connection:
        for _ in range(20):
            assert connection.send(GET, how).read().status == 200
