"""Servers that misbehave: each connection is a short script played over a bare WebSocket or TCP socket."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from aiohttp import WSMsgType, web

from tests.support.web_server import server_tls, serving

PATH = "/api/v1/org-socket"


@dataclass
class ScriptedConnection:
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
        """Read without answering until the client is gone."""
        async for _ in self.ws:
            pass


def note_in(frame: str) -> tuple[int | None, int] | None:
    """(ack id, sequence) of a notification's frame."""
    match = re.match(r"42(\d*)(\[.*)", frame, re.DOTALL)
    if match is None:
        return None
    sequence = orjson.loads(match[2])[1]["payload"].get("sequence")
    return None if sequence is None else (int(match[1]) if match[1] else None, sequence)


Script = Callable[[ScriptedConnection], Awaitable[None]]


@dataclass
class BadServer:
    """`script` is played for every connection; what it raises or returns closes that one with 1000."""

    script: Script
    port: int = 0
    connections: int = 0
    seen: list[int] = field(default_factory=list)
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def until_connections(self, count: int, seconds: float = 120.0) -> None:
        async with asyncio.timeout(seconds):
            while self.connections < count:
                self.connected.clear()
                await self.connected.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        self.connected.set()
        ws = web.WebSocketResponse(autoping=False, timeout=0.2)
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError, AssertionError):
            await self.script(ScriptedConnection(self.connections, ws, request, self.seen))
        return ws


async def acking(stage: ScriptedConnection) -> None:
    """A good server: the end of many scripts."""
    await stage.greet()
    await acking_on(stage)


async def acking_on(stage: ScriptedConnection) -> None:
    """Acknowledge everything from here on."""
    async for ack, _ in stage.notes():
        await stage.send(f"43{ack}[]")


@contextlib.asynccontextmanager
async def bad_server(script: Script) -> AsyncIterator[BadServer]:
    server = BadServer(script)
    app = web.Application()
    app.router.add_get(PATH + "/", server.handle)
    async with serving(app) as server.port:
        yield server


@contextlib.asynccontextmanager
async def tls_server(certificate: Path, *, client: Path | None = None) -> AsyncIterator[str]:
    """A server over TLS that acknowledges everything; its URL."""
    app = web.Application()
    app.router.add_get(PATH + "/", BadServer(acking).handle)
    async with serving(app, tls=server_tls(certificate, client=client)) as port:
        yield f"https://localhost:{port}"


@contextlib.asynccontextmanager
async def http_server(status: int, body: str = "") -> AsyncIterator[str]:
    """Answers every request with this status; its URL."""

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async with answering_server(handle) as url:
        yield url


@contextlib.asynccontextmanager
async def answering_server(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Answers every request by this function; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handle)
    async with serving(app) as port:
        yield f"http://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def mute_server() -> AsyncIterator[str]:
    """Accepts TCP connections and never says a word; its URL."""
    writers: list[asyncio.StreamWriter] = []

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for _ in range(5):  # turns of the event loop, within which a connection that was accepted is handed over
            await asyncio.sleep(0)
        for writer in writers:
            writer.transport.abort()
