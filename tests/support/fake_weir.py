#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the frame of the integration tests is tested against: a server that does what its
configuration tells it, also what no server should.

    fake_weir.py run -c FILE

    "answers": [TEXT, ...]  sent one by one, each when another blank line has come in
    "end": "close" | "reset" | "open"    after the last answer
    "listen": how many listeners [1]     "say": lines to log after listening
    "status": the exit status on TERM    "deaf": true: TERM is ignored
    "die": a status to leave with before it listens
    "leak": descriptors to open and keep for each connection
    "child": true: leave a child behind that does not end by itself"""

import json
import os
import signal
import socket
import struct
import sys
import threading


def say(line):
    print(line, file=sys.stderr, flush=True)


def serve(connection, conf, kept):
    kept += [os.open("/dev/null", os.O_RDONLY) for _ in range(conf.get("leak", 0))]
    got = b""
    for answer in conf.get("answers", []):
        while b"\r\n\r\n" not in got:
            more = connection.recv(4096)
            if not more:
                connection.close()
                return
            got += more
        got = got.partition(b"\r\n\r\n")[2]
        connection.sendall(answer.encode("latin-1"))
    if conf.get("end") == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if conf.get("end") == "open":
        while connection.recv(4096):
            pass
    connection.close()


def accept(listener, conf, kept):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, conf, kept), daemon=True).start()


def main():
    with open(sys.argv[sys.argv.index("-c") + 1]) as file:
        conf = json.load(file)["fake"]
    if "die" in conf:
        say("weir: fatal: told to die")
        return conf["die"]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if conf.get("child") and os.fork() == 0:
        signal.pause()
    kept = []
    for _ in range(conf.get("listen", 1)):
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=accept, args=(listener, conf, kept), daemon=True).start()
        say("info: listening on %s:%d" % listener.getsockname())
    for line in conf.get("say", []):
        say(line)
    while True:
        signal.sigwait({signal.SIGTERM})
        if not conf.get("deaf"):
            return conf.get("status", 0)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)
