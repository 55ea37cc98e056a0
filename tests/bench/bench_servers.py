# SPDX-License-Identifier: MIT
"""What is measured, and how each server is configured for it."""

import os
from dataclasses import dataclass, field

KIB = 1024
CONNECTIONS = 64
KEPT = 128  # connections that a proxy keeps

BROWSER = {
    "Connection": "keep-alive",
    "sec-ch-ua": '"Chromium";v="118", "Google Chrome";v="118", "Not=A?Brand";v="99"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
}  # and Host: twelve


@dataclass
class Workload:
    name: str
    what: str
    path: str
    goal: float | None = None  # the ratio to nginx that must not be exceeded
    headers: dict = field(default_factory=dict)  # "{etag}": the server's own, asked before
    status: int = 200
    body: int = KIB  # bytes, for the check and for the floor's answer; None: not compared
    nginx: tuple = ("off",)  # the ways in which nginx is tried
    pipelined: bool = False
    logged: bool = False  # with access log, one header added, metrics on
    floor_status: str | None = None
    proxied: bool = False  # passed on to the floor, over kept connections
    post: int = 0  # bytes of the request's body
    haproxy_goal: float | None = None
    haproxy: tuple = ()  # the ways in which HAProxy is tried


BIG = ("off", "buffer", "on")
PROXIES = ("preset", "large", "direct")  # buffers as they are, large ones, none
WORKLOADS = [
    Workload("constant", "1 KiB from the configuration", "/constant"),
    Workload("file-1k", "1 KiB file", "/1k.bin", 0.78),
    Workload("browser", "the same, 12 browser headers", "/1k.bin", 0.74, BROWSER),
    Workload("304", "not modified", "/1k.bin", 0.88, {"If-None-Match": "{etag}"}, 304, 0,
             floor_status="304 Not Modified"),
    Workload("404", "no such file", "/missing.bin", 0.88, status=404, body=None),
    Workload("range", "1 KiB out of a 64 KiB file", "/64k.bin", 0.70, {"Range": "bytes=1000-2023"}, 206,
             floor_status="206 Partial Content", nginx=("off", "on")),
    Workload("file-64k", "64 KiB file", "/64k.bin", 0.88, body=64 * KIB, nginx=BIG),
    Workload("file-1m", "1 MiB file", "/1m.bin", 0.75, body=1024 * KIB, nginx=BIG),
    Workload("pipelined", "1 KiB file, 16 requests pipelined", "/1k.bin", 0.15, pipelined=True),
    Workload("close", "1 KiB file, a connection each", "/1k.bin", 0.98, {"Connection": "close"}),
    Workload("precompressed", "a .gz beside the file", "/text.txt", 0.70, {"Accept-Encoding": "gzip"}, body=None),
    Workload("logged", "1 KiB file, log, header, metrics", "/1k.bin", 0.83, logged=True),
    # Through a proxy.
    Workload("proxy-1k", "1 KiB", "/", 0.86, proxied=True, nginx=PROXIES, haproxy=("preset",), haproxy_goal=0.95),
    Workload("proxy-64k", "64 KiB", "/", 0.55, body=64 * KIB, proxied=True, nginx=PROXIES, haproxy=("preset", "splice"),
             haproxy_goal=0.95),
    Workload("proxy-1m", "1 MiB", "/", 0.50, body=1024 * KIB, proxied=True, nginx=PROXIES, haproxy=("preset", "splice"),
             haproxy_goal=0.95),
    Workload("proxy-post", "64 KiB sent, 1 KiB back", "/", 0.65, proxied=True, post=64 * KIB, nginx=PROXIES,
             haproxy=("preset", "splice"), haproxy_goal=0.95),
]


# --- Weir: its configuration for each workload. `www` is the folder with the files, `logs` one to
# write in, `behind` the address of what a proxied request is passed on to.

def weir_base(modules, route, **server):
    workers = {"processes": 1, **({"user": "root"} if os.geteuid() == 0 else {})}
    # One connection asks for as much as it likes, as with nginx.
    limits = {"requests_per_connection": False}
    return {
        "modules": modules,
        "workers": workers,
        "servers": [{"listen": "127.0.0.1:0", "limits": limits, "routes": [route], **server}],
    }


def weir_constant(www, logs, behind):
    return weir_base(["respond"], {"handle": {"respond": {"status": 200, "type": "text/plain", "body": "x" * KIB}}})


def weir_file(www, logs, behind):
    return weir_base(["static"], {"handle": {"static": {"root": str(www)}}})


def weir_precompressed(www, logs, behind):
    return weir_base(["static"], {"handle": {"static": {"root": str(www), "precompressed": ["gzip"]}}})


def weir_logged(www, logs, behind):
    conf = weir_base(
        ["static", "access_log", "headers", "metrics"],
        {"handle": {"static": {"root": str(www)}}},
        use=[{"access_log": {"file": str(logs / "weir.log"), "format": "combined"}},
             {"headers": {"response": {"set": {"x-bench": "1"}}}}])
    conf["servers"].append({"listen": "127.0.0.1:0", "routes": [{"handle": "metrics"}]})
    return conf


def weir_proxy(www, logs, behind):
    conf = weir_base(["proxy"], {"handle": {"proxy": "behind"}})
    conf["upstreams"] = {"behind": {"targets": [behind], "keepalive": KEPT}}
    return conf


WEIR = {
    "constant": weir_constant,
    "file-1k": weir_file,
    "browser": weir_file,
    "304": weir_file,
    "404": weir_file,
    "range": weir_file,
    "file-64k": weir_file,
    "file-1m": weir_file,
    "pipelined": weir_file,
    "close": weir_file,
    "precompressed": weir_precompressed,
    "logged": weir_logged,
    "proxy-1k": weir_proxy,
    "proxy-64k": weir_proxy,
    "proxy-1m": weir_proxy,
    "proxy-post": weir_proxy,
}

# --- nginx

def nginx_frame(temp, servers):
    """One worker, no logs."""
    user = "user root;\n" if os.geteuid() == 0 else ""
    return f"""{user}daemon off;
master_process on;
worker_processes 1;
pid {temp}/nginx.pid;
error_log {temp}/nginx-error.log crit;
pcre_jit on;
events {{ worker_connections 8192; accept_mutex off; multi_accept on; use epoll; }}
http {{
    access_log off;
    log_not_found off;
    default_type application/octet-stream;
    types {{ text/plain txt; }}
    server_tokens off;
    tcp_nodelay on;
    keepalive_requests 4000000000;
    keepalive_timeout 300s;
    reset_timedout_connection off;
    open_file_cache max=1000 inactive=300s;
    open_file_cache_valid 300s;
    open_file_cache_min_uses 1;
    open_file_cache_errors on;
    client_body_temp_path {temp}/body;
    proxy_temp_path {temp}/proxy;
    fastcgi_temp_path {temp}/fastcgi;
    uwsgi_temp_path {temp}/uwsgi;
    scgi_temp_path {temp}/scgi;{servers}
}}
"""


def nginx_conf(temp, www, modes):
    """One server block for each way, each on a port of its own."""
    ways = {
        "off": "sendfile off;",
        "buffer": "sendfile off; output_buffers 1 1m;",
        "on": "sendfile on;",
        "logged": f"sendfile off; access_log {temp}/nginx.log combined buffer=64k flush=1s; add_header X-Bench 1;",
    }
    servers = "".join(f"""
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        root {www};
        {ways[mode]}
        location = /constant {{ default_type text/plain; return 200 "{'x' * KIB}"; }}
        location = /text.txt {{ gzip_static on; }}
    }}""" for mode, port in modes.items())
    return nginx_frame(temp, servers)


def nginx_proxy_conf(temp, behind, modes):
    """One worker that passes everything on, in each way on a port of its own."""
    ways = {
        "preset": "",
        "large": "proxy_buffer_size 64k; proxy_buffers 32 64k; proxy_busy_buffers_size 256k; "
                 "proxy_max_temp_file_size 0; client_body_buffer_size 256k;",
        "direct": "proxy_buffering off; proxy_request_buffering off; proxy_buffer_size 64k; proxy_buffers 4 64k; "
                  "client_body_buffer_size 64k;",
    }
    servers = "".join(f"""
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        {ways[mode]}
        location / {{
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}""" for mode, port in modes.items())
    return nginx_frame(temp, f"""
    upstream behind {{
        server {behind};
        keepalive {KEPT};
        keepalive_requests 4000000000;
    }}{servers}""")


# --- HAProxy

def haproxy_conf(behind, modes):
    """One thread, which passes everything on."""
    ways = {"preset": "", "splice": "option splice-response\n    option splice-request"}
    servers = "".join(f"""
frontend in_{mode}
    bind 127.0.0.1:{port} backlog 4096
    default_backend out_{mode}
backend out_{mode}
    {ways[mode]}
    server behind {behind}
""" for mode, port in modes.items())
    return f"""global
    nbthread 1
    maxconn 2048
defaults
    mode http
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
{servers}"""
