# SPDX-License-Identifier: MIT
"""Configurations of tests, short to write: sites of the module `respond`."""

HELLO = b"hello"
GET = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"


def route(match=None, body=None, status=None, **rest):
    """A route that answers `body` (a template) with `status`."""
    options = {key: value for key, value in (("body", body), ("status", status)) if value is not None}
    found = {"handle": {"respond": options} if options else "respond", **rest}
    return found if match is None else {"match": match, **found}


def server(*routes, listen="127.0.0.1:0", **rest):
    return {"listen": listen, "routes": list(routes) or [route("/hello", "hello")], **rest}


def site(*routes, servers=None, listen="127.0.0.1:0", top=None, **rest):
    """The whole document: of one server with these routes (preset: /hello), or of `servers`;
    `rest` goes to the one server, `top` beside `servers`."""
    return {"modules": ["respond"],
            "servers": servers if servers is not None else [server(*routes, listen=listen, **rest)],
            **(top or {})}


def get(target="/hello", host="a", method="GET", version="1.1", fields="", body=b""):
    """The bytes of a request; `host` None: no Host field; `fields`: whole lines with their CRLF."""
    host_line = "" if host is None else f"Host: {host}\r\n"
    return f"{method} {target} HTTP/{version}\r\n{host_line}{fields}\r\n".encode("latin-1") + body
