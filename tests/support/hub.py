"""A real hub on a free port, and clients for it: python-socketio's, and a bare WebSocket that can misbehave."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import orjson
import socketio
from aiohttp import web

from config.settings import HubSettings, WebSocketSettings
from worker.clock import Clock
from worker.hub.events import ClientConnected
from worker.hub.server import Hub

PATH = "/api/v1/org-socket"
EVENT = "socket-notification"
PATIENCE = 10.0
"""Seconds after which a test has waited in vain."""

Happening = TypeVar("Happening")


def message(number: int = 1, **payload: Any) -> dict[str, Any]:
    """A notification's first argument; `number` makes its id."""
    return {
        "success": True,
        "message": "Task Finish",
        "payload": {"jobId": f"job-{number}", "notificationId": f"news-{number}", "status": "success", **payload},
    }


def progress(job_id: str, percent: float) -> dict[str, Any]:
    payload = {"jobId": job_id, "taskType": "test", "status": "running", "percent": percent, "note": ""}
    return {"success": True, "message": "Task Progress", "payload": payload}


@dataclass
class RunningHub:
    hub: Hub
    port: int
    events: list[Any]
    changed: asyncio.Event
    clients: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, user: str = "ann", **granted: Any) -> str:
        return self.hub.authority.mint(user, **granted)

    async def happened(self, kind: type[Happening], where: Callable[[Happening], bool] = lambda _: True) -> Happening:
        """The first event of this kind that fits, now or soon."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and where(event):
                        return event
                self.changed.clear()
                await self.changed.wait()

    async def browser(self, user: str = "ann", *, token: str | None = None, **auth: Any) -> "Browser":
        """A python-socketio client of this user, connected."""
        browser = Browser()
        self.clients.append(browser)
        await browser.connect(self.url, {"token": token or self.token(user), **auth})
        sid = browser.client.get_sid()
        # Its backlog comes after its CONNECT; from here on it has been sent.
        await self.happened(ClientConnected, lambda event: event.client_id == sid)
        return browser

    async def publisher(self) -> "Browser":
        return await self.browser(token=self.hub.worker_token())

    async def raw(self, path: str = f"{PATH}/?EIO=4&transport=websocket", **options: Any) -> "Raw":
        """A bare WebSocket, not yet past the OPEN packet."""
        raw = Raw(aiohttp.ClientSession())
        self.clients.append(raw)
        raw.socket = await raw.session.ws_connect(self.url + path, autoping=True, **options)
        return raw

    async def native(self, user: str = "ann", path: str = "/ws", *, token: str | None = None, **auth: Any) -> "Raw":
        """A client of the native door, past its welcome (which is in `.welcome`)."""
        raw = await self.raw(path)
        await raw.say("auth", {"token": token or self.token(user), **auth})
        raw.welcome = await raw.hear()
        return raw


class Browser:
    """python-socketio's client with everything it receives in a queue."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self.received: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.errors: list[Any] = []
        self.gone = asyncio.Event()
        self.client.on("*", self._keep)
        self.client.on("disconnect", lambda *_: self.gone.set())
        self.client.on("connect_error", self.errors.append)

    async def connect(self, url: str, auth: dict[str, Any] | None) -> None:
        await self.client.connect(url, socketio_path=PATH, transports=["websocket"], auth=auth)

    def _keep(self, name: str, *arguments: Any) -> None:
        self.received.put_nowait((name, *arguments))

    async def next(self) -> tuple[Any, ...]:
        """The next event it receives."""
        async with asyncio.timeout(PATIENCE):
            return await self.received.get()

    async def rest(self) -> list[tuple[Any, ...]]:
        """What else has arrived by now: an answered question proves that nothing is on its way."""
        await self.client.call("test:anything-else", timeout=PATIENCE)
        return [self.received.get_nowait() for _ in range(self.received.qsize())]

    async def publish(self, body: dict[str, Any], user: str = "ann") -> Any:
        return await self.client.call(EVENT, (body, {"userId": user}), timeout=PATIENCE)

    async def call(self, event: str, *arguments: Any) -> Any:
        return await self.client.call(event, arguments, timeout=PATIENCE)

    async def close(self) -> None:
        await self.client.shutdown()


class Raw:
    """Engine.IO by hand."""

    socket: aiohttp.ClientWebSocketResponse
    welcome: dict[str, Any]

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self._acks = itertools.count()

    async def send(self, text: str) -> None:
        await self.socket.send_str(text)

    async def next(self) -> str | bytes:
        """The next message's data; pings of the hub are answered and left out."""
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = await self.socket.receive()
                if frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                    raise Closed(self.socket.close_code)
                if frame.data == "2":
                    await self.socket.send_str("3")
                    continue
                return frame.data

    async def say(self, kind: str, data: Any = None) -> None:
        """A native message."""
        await self.socket.send_str(orjson.dumps({"type": kind, "data": data}).decode())

    async def hear(self, kind: str | None = None) -> dict[str, Any]:
        """The next native message, or the next of this type."""
        while True:
            said: dict[str, Any] = orjson.loads(await self.next())
            if kind is None or said["type"] == kind:
                return said

    async def rest(self) -> list[dict[str, Any]]:
        """What else has arrived by now in native messages: an echo proves that nothing is on its way."""
        await self.say("echo", "anything else?")
        heard = []
        while (said := await self.hear())["type"] != "echo":
            heard.append(said)
        return heard

    async def ended(self) -> int | None:
        """The close code, once the hub has closed; whatever it sends before is read over."""
        try:
            while True:
                await self.next()
        except Closed as closed:
            return closed.code

    async def enter(self, auth: dict[str, Any] | None = None) -> str:
        """OPEN and CONNECT; the answer to CONNECT."""
        opened = await self.next()
        assert opened[:1] == "0"
        await self.send("40" + ("" if auth is None else orjson.dumps(auth).decode()))
        answer = await self.next()
        assert isinstance(answer, str)
        return answer

    async def close(self) -> None:
        await self.session.close()


class Closed(Exception):
    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


def event_of(packet: str | bytes) -> list[Any]:
    """The array of an EVENT packet."""
    assert isinstance(packet, str)
    assert packet.startswith("42"), packet
    array: list[Any] = orjson.loads(packet[2:])
    return array


@asynccontextmanager
async def running_hub(
    state: Path,
    *,
    settings: HubSettings | None = None,
    web_socket: WebSocketSettings | None = None,
    port: int = 0,
    mount: Callable[[web.Application], None] | None = None,
    **options: Any,
) -> AsyncIterator[RunningHub]:
    """A hub, mounted and listening; its clients are closed before it is. `mount` adds more to its application."""
    events: list[Any] = []
    changed = asyncio.Event()

    def emit(event: Any) -> None:
        events.append(event)
        changed.set()

    hub = Hub(
        settings or HubSettings(),
        web_socket or WebSocketSettings(),
        state=state,
        clock=options.pop("clock", Clock()),
        emit=emit,
        **options,
    )
    app = web.Application()
    hub.mount(app)
    if mount is not None:
        mount(app)
    await hub.start()
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    running = RunningHub(hub, runner.addresses[0][1], events, changed)
    try:
        yield running
    finally:
        for client in running.clients:
            await client.close()
        await hub.close()
        await runner.cleanup()
