"""Servers that misbehave: each connection is a short script played over a bare WebSocket or TCP socket."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import orjson
from aiohttp import WSMsgType, web

PATH = "/api/v1/org-socket"


@dataclass
class Stage:
    """One connection, as its script sees it. Pings are answered by the script, or not at all."""

    number: int
    """1 for the first connection."""
    ws: web.WebSocketResponse
    request: web.Request
    seen: list[int]
    """Sequence numbers of all connections, in order of arrival, repeats included."""

    async def send(self, text: str) -> None:
        await self.ws.send_str(text)

    async def greet(
        self, *, max_payload: int | None = 1_000_000, ping_interval: int = 25000, ping_timeout: int = 20000
    ) -> None:
        """OPEN, read CONNECT, answer it."""
        opening = {"sid": "engine", "upgrades": [], "pingInterval": ping_interval, "pingTimeout": ping_timeout}
        if max_payload is not None:
            opening["maxPayload"] = max_payload
        await self.send("0" + orjson.dumps(opening).decode())
        assert (await self.ws.receive()).data.startswith("40")
        await self.send('40{"sid":"socket"}')

    async def notes(self) -> AsyncIterator[tuple[int | None, int]]:
        """(ack id, sequence) of each notification; a ping is left unanswered."""
        async for message in self.ws:
            if message.type is WSMsgType.TEXT and (found := note_in(message.data)):
                self.seen.append(found[1])
                yield found

    async def hold(self) -> None:
        """Read and answer nothing until the peer is gone."""
        async for _ in self.ws:
            pass


def note_in(frame: str) -> tuple[int | None, int] | None:
    """(ack id, sequence) of a notification's frame."""
    match = re.match(r"42(\d*)(\[.*)", frame, re.DOTALL)
    if match is None:
        return None
    sequence = orjson.loads(match[2])[1]["payload"].get("sequence")
    return None if sequence is None else (int(match[1]) if match[1] else None, sequence)


Script = Callable[[Stage], Awaitable[None]]


@dataclass
class BadServer:
    """`script` is played for every connection; what it raises or returns closes that one with 1000."""

    script: Script
    port: int = 0
    connections: int = 0
    seen: list[int] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def until_connections(self, count: int, seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while self.connections < count:
                self.news.clear()
                await self.news.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        self.news.set()
        ws = web.WebSocketResponse(autoping=False, timeout=0.2)
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError, AssertionError):
            await self.script(Stage(self.connections, ws, request, self.seen))
        return ws


async def acking(stage: Stage) -> None:
    """A good server: the end of many scripts."""
    await stage.greet()
    await acking_on(stage)


async def acking_on(stage: Stage) -> None:
    """Acknowledge everything from here on."""
    async for ack, _ in stage.notes():
        await stage.send(f"43{ack}[]")


@contextlib.asynccontextmanager
async def bad_server(script: Script) -> AsyncIterator[BadServer]:
    server = BadServer(script)
    app = web.Application()
    app.router.add_get(PATH + "/", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def http_server(status: int, body: str = "") -> AsyncIterator[str]:
    """Answers every request with this status; its URL."""

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def mute_server() -> AsyncIterator[str]:
    """Accepts TCP connections and never says a word; its URL."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
