# SPDX-License-Identifier: MIT
"""Headers of the PROXY protocol as a proxy in front would send them, and what an upstream received, read
strictly; and HAProxy and nginx themselves, which are held against ours."""

import ipaddress
import os
import shutil
import socket
import struct
import subprocess

from weir_process import eventually, slow

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def line(source="198.51.100.7", destination="203.0.113.1", source_port=4711, destination_port=443):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {source_port} {destination_port}\r\n".encode()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def vector(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def binary(source="198.51.100.7", destination="203.0.113.1", source_port=4711, destination_port=443, vectors=b"",
           command=1, checksum=False):
    ends = [ipaddress.ip_address(end) for end in (source, destination)]
    family = 0x11 if ends[0].version == 4 else 0x21
    body = ends[0].packed + ends[1].packed + struct.pack(">HH", source_port, destination_port) + vectors
    if not checksum:
        return SIGNATURE + struct.pack(">BBH", 0x20 | command, family, len(body)) + body
    head = SIGNATURE + struct.pack(">BBH", 0x20 | command, family, len(body) + 7) + body
    return head + vector(3, struct.pack(">I", crc32c(head + vector(3, bytes(4)))))


LOCAL = SIGNATURE + b"\x20\0\0\0"


def read(peer):
    """(version, source, source port, destination, destination port) off the front of what a weir_upstream.Peer
    receives; the last four are None where nobody is spoken for."""
    first = peer._exactly(1)
    if first == b"P":
        text = (first + peer._line()).decode("ascii").split(" ")
        assert text[0] == "PROXY", text
        if text[1:] == ["UNKNOWN"]:
            return 1, None, None, None, None
        version = {"TCP4": 4, "TCP6": 6}[text[1]]
        source, destination = (ipaddress.ip_address(end) for end in text[2:4])
        assert source.version == destination.version == version and len(text) == 6, text
        return 1, str(source), int(text[4]), str(destination), int(text[5])
    head = first + peer._exactly(15)
    assert head[:12] == SIGNATURE, head
    command, family, length = struct.unpack(">BBH", head[12:])
    body = peer._exactly(length)
    if command == 0x20 or family == 0:
        assert length == 0, (head, body)
        return 2, None, None, None, None
    assert command == 0x21 and (family, length) in ((0x11, 12), (0x21, 36)), (head, body)
    width = 4 if family == 0x11 else 16
    source, destination = ipaddress.ip_address(body[:width]), ipaddress.ip_address(body[width:2 * width])
    ports = struct.unpack(">HH", body[2 * width:])
    return 2, str(source), ports[0], str(destination), ports[1]


class Program:
    """HAProxy or nginx in the foreground, in a folder of its own, until the test's end; it listens at the Unix
    socket `self.address`."""

    def __init__(self, folder, name):
        self.folder, self.socket = folder / name, folder / name / "s"
        self.folder.mkdir()
        self.address = f"unix:{self.socket}"

    def run(self, *command):
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT)
        try:
            assert eventually(self.answers), (self.folder / "log").read_text()
        except BaseException:
            self.stop()
            raise
        return self

    def answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(slow(20))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def find(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def haproxy(folder, *sections):
    """HAProxy with these sections; `{socket}` in them is where it listens."""
    program = Program(folder, "h")
    text = "defaults\n  timeout connect 10s\n  timeout client 30s\n  timeout server 30s\n" + "\n".join(sections)
    conf = program.folder / "conf"
    conf.write_text(text.replace("{socket}", str(program.socket)) + "\n")
    return program.run(find("haproxy"), "-db", "-f", str(conf))


def nginx(folder, server):
    """nginx with one `server`; `{socket}` in it is where it listens."""
    program = Program(folder, "n")
    temporary = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    conf = program.folder / "conf"
    conf.write_text(f"daemon off; {user} pid {program.folder}/pid; error_log stderr; worker_processes 1;\n"
                    "events {}\n"
                    f"http {{ access_log off; {temporary} server {{ {server.replace('{socket}', str(program.socket))} }} }}\n")
    return program.run(find("nginx"), "-p", f"{program.folder}/", "-e", "stderr", "-c", str(conf))
