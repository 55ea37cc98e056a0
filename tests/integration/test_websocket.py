# SPDX-License-Identifier: MIT
"""Real WebSocket clients and servers (python3-websockets) with the proxy between them (RFC 6455)."""

import asyncio
import http
import signal
import threading

import pytest
from weir_process import eventually, is_instrumented, resident_bytes, slow
from weir_site import get, route, server

websockets = pytest.importorskip("websockets", reason="needs python3-websockets")


class Echo:
    """A WebSocket server on a loop of its own: echoes, and does what some messages say."""

    def __init__(self, **options):
        self.closes, self.opened = [], 0
        self._ready, self._options = threading.Event(), options
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._ready.wait(slow(20))

    async def _main(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options = {"max_size": None, "ping_interval": None, "close_timeout": 20, **self._options}
        async with websockets.serve(self._serve, "127.0.0.1", 0, backlog=1024, **options) as listening:
            self.address = "127.0.0.1:%d" % listening.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    async def _serve(self, peer):
        self.opened += 1
        try:
            async for message in peer:
                if message == "close":
                    await peer.close(4001, "as you wish")
                elif message == "ping":
                    await (await peer.ping(b"server's"))
                    await peer.send("ponged")
                elif message == "fragments":
                    await peer.send(["frag", "men", "ts"])
                else:
                    await peer.send(message)
        except websockets.ConnectionClosed:
            pass
        await peer.wait_closed()
        self.closes.append((peer.close_code, peer.close_reason))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(slow(30))


def site(app, **rest):
    handle = {"proxy": {"to": "app", "upgrade": ["websocket"]}}
    return {"modules": ["proxy", "respond"], "upstreams": {"app": {"targets": app.address}},
            "servers": [server({"match": "/ws", "handle": handle}, route("/hello", "hello"))], **rest}


def talk(running, dialogue, **options):
    async def main():
        options.setdefault("compression", None)
        async with websockets.connect(f"ws://{running.address}/ws", max_size=None, ping_interval=None,
                                      open_timeout=slow(20), close_timeout=slow(20), **options) as client:
            return await asyncio.wait_for(dialogue(client), slow(30))

    return asyncio.run(main())


async def says(client, message):
    await client.send(message)
    return await client.recv()


def test_messages_of_all_kinds_and_sizes(weir):
    async def dialogue(client):
        assert await says(client, "hello") == "hello"
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 5 << 20):
            data = (b"\x00\xff0123" * (size // 6 + 1))[:size]
            assert await says(client, data) == data, size
        await client.send(part for part in ("in ", "three ", "frames"))
        assert await client.recv() == "in three frames"
        assert await says(client, "fragments") == "fragments"
        for i in range(200):  # without waiting for each
            await client.send(str(i))
        assert [await client.recv() for _ in range(200)] == [str(i) for i in range(200)]

    with Echo() as app:
        talk(weir(site(app)), dialogue)


def test_pings_go_both_ways(weir):
    async def dialogue(client):
        await asyncio.wait_for(await client.ping(b"client's"), slow(10))
        assert await says(client, "ping") == "ponged"

    with Echo() as app:
        talk(weir(site(app)), dialogue)


def test_extensions_and_protocols_are_agreed_on_end_to_end(weir):
    async def dialogue(client):
        assert [extension.name for extension in client.extensions] == ["permessage-deflate"]
        assert client.subprotocol == "chat"
        text = "again and again " * 10000
        assert await says(client, text) == text

    with Echo(subprotocols=["chat"], compression="deflate") as app:
        talk(weir(site(app)), dialogue, subprotocols=["x", "chat"], compression="deflate")


def test_either_end_closes(weir):
    async def client_closes(client):
        await client.close(4000, "enough")
        return client.close_code

    async def server_closes(client):
        await client.send("close")
        with pytest.raises(websockets.ConnectionClosed):
            await client.recv()
        await client.wait_closed()
        return client.close_code, client.close_reason

    with Echo() as app:
        running = weir(site(app))
        assert talk(running, client_closes) == 4000
        assert eventually(lambda: app.closes == [(4000, "enough")]), app.closes
        assert talk(running, server_closes) == (4001, "as you wish")
        assert eventually(lambda: app.closes[1:] == [(4001, "as you wish")]), app.closes


def test_a_refused_handshake_is_an_answer(weir, raw):
    async def refuse(path, headers):
        return http.HTTPStatus.UNAUTHORIZED, [("X-Why", "who are you")], b"no\n"

    with Echo(process_request=refuse) as app:
        running = weir(site(app))
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            talk(running, None)
        assert (refused.value.status_code, refused.value.headers["x-why"]) == (401, "who are you")
        with raw(running) as client:
            fields = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
            assert client.send(get("/ws", fields=fields)).read().status in (400, 401)
            assert client.send(get("/hello")).read().body == b"hello"


def test_a_reload_and_a_conversation(weir):
    with Echo() as app:
        running = weir(site(app, workers={"processes": 1}))

        async def dialogue(client):
            assert await says(client, "before") == "before"
            running.signal(signal.SIGHUP)
            await asyncio.get_running_loop().run_in_executor(
                None, running.wait_for_line, "draining: no new connections")
            assert await says(client, "b" * 1000000) == "b" * 1000000

        talk(running, dialogue)
        running.wait_for_line("stopped: every answer was sent")
        assert eventually(lambda: app.closes == [(1000, "")]), app.closes


COUNT = 1000


@pytest.mark.skipif(is_instrumented(), reason="sanitizers keep what is freed")
def test_a_thousand_idle_tunnels_are_cheap(weir):
    async def main(running, app):
        clients = []
        before = resident_bytes(running.pid)
        for _ in range(COUNT // 50):
            clients += await asyncio.gather(*(
                websockets.connect(f"ws://{running.address}/ws", compression=None, ping_interval=None,
                                   open_timeout=slow(20), close_timeout=slow(20)) for _ in range(50)))
        assert await says(clients[0], "all there") == "all there"
        took = resident_bytes(running.pid) - before
        assert await says(clients[-1], "all there") == "all there"
        await asyncio.gather(*(client.close() for client in clients))
        return took / COUNT

    with Echo(compression=None) as app:
        running = weir(site(app, workers={"processes": 1}))
        each = asyncio.run(main(running, app))
        print(f"{each:.0f} bytes each")
        assert app.opened == COUNT and each < 14000, each
