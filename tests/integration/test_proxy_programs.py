# SPDX-License-Identifier: MIT
"""Real programs behind the proxy, asked by real clients: Starlette and Django under Uvicorn, a stream of server-sent
events, a WebSocket server (issue "Reverse proxy", what it must show, 4)."""

import json
import os
import re
import subprocess
import textwrap

import pytest
from weir_process import eventually, slow
from weir_site import get, server

PYTHON = "/usr/bin/python3"  # whose packages are Debian's

STARLETTE = """
    import asyncio
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    go_on = asyncio.Event()

    async def about(request):
        return JSONResponse({"path": request.url.path, "query": dict(request.query_params),
                             "client": request.client.host, "scheme": request.url.scheme,
                             "cookies": request.cookies, "forwarded": request.headers.get("x-forwarded-for")},
                            headers={"x-app": "starlette"})

    async def echo(request):
        return Response(await request.body(), media_type=request.headers["content-type"])

    async def form(request):
        data = await request.form()
        return PlainTextResponse(data["name"])

    async def away(request):
        return RedirectResponse("/about", status_code=303)

    async def fails(request):
        raise RuntimeError("as it should")

    # An event is sent when the test asks for it: it cannot have been kept back until the next.
    async def events(request):
        async def lines():
            for number in range(5):
                await go_on.wait()
                go_on.clear()
                yield f"id: {number}\\nevent: tick\\ndata: {number}\\n\\n"
        return StreamingResponse(lines(), media_type="text/event-stream")

    async def push(request):
        go_on.set()
        return PlainTextResponse("")

    async def talk(websocket):
        await websocket.accept(subprotocol="chat")
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())

    app = Starlette(routes=[
        Route("/about", about), Route("/echo", echo, methods=["POST", "PUT"]), Route("/form", form, methods=["POST"]),
        Route("/away", away), Route("/fails", fails), Route("/events", events), Route("/push", push, methods=["POST"]),
        WebSocketRoute("/talk", talk),
    ])
"""

DJANGO = """
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
    from django.urls import path

    settings.configure(DEBUG=False, SECRET_KEY="x", ALLOWED_HOSTS=["shop.example"], ROOT_URLCONF=__name__,
                       USE_X_FORWARDED_HOST=True, SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
                       DEFAULT_CHARSET="utf-8", FILE_UPLOAD_MAX_MEMORY_SIZE=1000, DATA_UPLOAD_MAX_MEMORY_SIZE=None)

    def about(request):
        response = JsonResponse({"uri": request.build_absolute_uri(), "secure": request.is_secure()})
        response.set_cookie("seen", "1", httponly=True)
        return response

    def upload(request):
        file = request.FILES["file"]
        return JsonResponse({"name": file.name, "size": file.size, "sum": sum(sum(part) for part in file.chunks())})

    def rows(request):
        return StreamingHttpResponse((f"row {n}\\n" for n in range(1000)), content_type="text/csv")

    urlpatterns = [path("about/", about), path("upload/", upload), path("rows/", rows)]
    app = get_asgi_application()
"""


@pytest.fixture
def uvicorn(tmp_path):
    """Starts an application, a text; returns its address."""
    processes = []

    def start(text):
        folder = tmp_path / f"app{len(processes)}"
        folder.mkdir()
        (folder / "main.py").write_text(textwrap.dedent(text))
        log = open(folder / "log", "w+")
        processes.append(subprocess.Popen(
            [PYTHON, "-m", "uvicorn", "--port", "0", "--no-use-colors", "--lifespan", "off", "main:app"], cwd=folder,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}))

        def running():
            found = re.search(r"running on http://(\S+) ", (folder / "log").read_text())
            assert processes[-1].poll() is None, (folder / "log").read_text()
            return found
        assert eventually(running, 30), (folder / "log").read_text()
        return running().group(1)

    done = subprocess.run([PYTHON, "-c", "import uvicorn, starlette, django, websockets, multipart"], capture_output=True)
    if done.returncode != 0:
        pytest.skip("needs uvicorn, starlette, django, websockets and multipart for Python: contrib/packages install test")
    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(slow(10))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def site(address, **proxy):
    return {"modules": ["proxy"], "upstreams": {"app": {"targets": address}},
            "servers": [server({"handle": {"proxy": {"to": "app", **proxy}}}, limits={"body": "64m"},
                               trust={"peers": ["127.0.0.1"]})]}


def test_starlette_under_uvicorn(weir, curl, uvicorn, tmp_path):
    running = weir(site(uvicorn(STARLETTE)))
    about = curl(running.url("/about?a=1&b=%C3%A4"), "-H", "Cookie: k=v", "-H",
                 "X-Forwarded-For: 203.0.113.7", "-H", "X-Forwarded-Proto: https")
    assert (about.status, about.field("x-app")) == (200, "starlette")
    told = json.loads(about.body)
    assert told["path"] == "/about" and told["query"] == {"a": "1", "b": "ä"} and told["cookies"] == {"k": "v"}
    # Uvicorn believes what 127.0.0.1 says of the client, as Weir does here.
    assert (told["client"], told["forwarded"], told["scheme"]) == ("203.0.113.7", "203.0.113.7, 127.0.0.1", "https")

    large = tmp_path / "large"
    large.write_bytes(os.urandom(5_000_000))
    for options in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        back = curl(running.url("/echo"), "-H", "Content-Type: application/x-test", *options, "--data-binary", f"@{large}")
        assert (back.status, back.field("content-type")) == (200, "application/x-test")
        assert back.body == large.read_bytes()
    assert curl(running.url("/form"), "-d", "name=W%20eir").body == b"W eir"
    away = curl(running.url("/away"))
    assert (away.status, away.field("location")) == (303, "/about")
    assert curl(running.url("/away"), "-L").status == 200
    assert curl(running.url("/fails")).status == 500
    assert curl(running.url("/none")).status == 404
    head = curl(running.url("/about"), "-I")
    assert head.status == 200 and head.body.startswith(b"HTTP/1.1 200")  # and nothing else came


def test_an_event_goes_to_the_client_when_it_is_sent(weir, raw, curl, uvicorn):
    running = weir(site(uvicorn(STARLETTE)))
    with raw(running.address) as client:
        client.send(get("/events"))
        for number in range(5):
            assert curl(running.url("/push"), "-X", "POST").status == 200
            event = f"event: tick\ndata: {number}\n\n".encode()
            client.socket.settimeout(slow(20))
            while event not in client.buffer:
                assert client._more()
        client.read()


def test_a_websocket_application(weir, uvicorn):
    running = weir(site(uvicorn(STARLETTE), upgrade=["websocket"]))
    script = f"""
    import asyncio, websockets

    async def talk():
        async with websockets.connect("ws://{running.address}/talk", subprotocols=["chat"]) as socket:
            assert socket.subprotocol == "chat"
            for text in ("hello", "x" * 100_000, "grüße"):
                await socket.send(text)
                assert await socket.recv() == text.upper(), text[:10]
            await (await socket.ping())
        print("closed", socket.close_code)

    asyncio.run(talk())
    """
    done = subprocess.run([PYTHON, "-c", textwrap.dedent(script)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=slow(60))
    assert (done.stdout, done.returncode) == ("closed 1000\n", 0), done.stderr


def test_django_under_uvicorn(weir, curl, uvicorn, tmp_path):
    running = weir(site(uvicorn(DJANGO)))
    about = curl(running.url("/about/"), "-H", "Host: shop.example")
    assert json.loads(about.body) == {"uri": "http://shop.example/about/", "secure": False}
    assert about.field("set-cookie").startswith("seen=1; HttpOnly")
    assert curl(running.url("/about/"), "-H", "Host: other.example").status == 400
    assert curl(running.url("/about"), "-H", "Host: shop.example").status == 404
    file = tmp_path / "file.bin"
    file.write_bytes(bytes(range(256)) * 4000)
    sent = curl(running.url("/upload/"), "-H", "Host: shop.example", "-F", f"file=@{file}")
    assert json.loads(sent.body) == {"name": "file.bin", "size": 1_024_000, "sum": 4000 * sum(range(256))}
    rows = curl(running.url("/rows/"), "-H", "Host: shop.example")
    assert rows.body == b"".join(b"row %d\n" % n for n in range(1000))
