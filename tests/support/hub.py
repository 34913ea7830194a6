"""A real hub on a free port, and clients for it: python-socketio's, and a bare WebSocket that can misbehave."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import orjson
import socketio
from aiohttp import web

from config.hub_settings import HubSettings
from config.link_settings import WebSocketSettings
from tests.support.eventually import eventually
from worker.core.clock import Clock
from worker.hub.commands import CancelJob
from worker.hub.config import HubConfig
from worker.hub.engineio.session import EngineSession, Timing
from worker.hub.events import ClientConnected
from worker.hub.server import HubServer
from worker.net.client_address import networks_of

PATH = "/api/v1/org-socket"
EVENT = "socket-notification"
PATIENCE = 120.0
"""Seconds after which a wait fails the test."""

UNHURRIED = Timing(ping_timeout=120.0, authentication=120.0)
"""Closes no client that is slow only because the machine is."""

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
    hub: HubServer
    port: int
    events: list[Any]
    changed: asyncio.Event
    clients: list[Any] = field(default_factory=list)
    ahead: float = 0.0
    """Seconds by which the heartbeats are ahead of the clock."""
    set_by: list[float] = field(default_factory=lambda: [0.0])
    """Seconds by which the hub's wall clock is set, unless the test gave it a clock of its own."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, user: str = "ann", **granted: Any) -> str:
        return self.hub.tokens.mint(user, **granted)

    async def wait_for_event(
        self, kind: type[Happening], where: Callable[[Happening], bool] = lambda _: True
    ) -> Happening:
        """The first event of this kind that fits, now or soon."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and where(event):
                        return event
                self.changed.clear()
                await self.changed.wait()

    async def wait_until_clients(self, user: str, count: int) -> None:
        """Wait until this user has so many clients."""
        async with asyncio.timeout(PATIENCE):
            while len(self.hub.hub.clients_of(user)) != count:
                self.changed.clear()
                await self.changed.wait()

    async def ping(self, user: str, *, answers: int) -> None:
        """Send each client the ping that is due next; wait until so many of the user's clients have answered it."""
        self._let_pass(self.hub._config.timing.ping_interval)
        sessions = [one.connection for one in self.hub.hub.clients.values() if one.identity.user == user]
        await eventually(
            lambda: sum(isinstance(one, EngineSession) and not one.unanswered_pings for one in sessions) == answers
        )

    def close_clients_without_pong(self) -> None:
        """Close the clients that have not answered the last ping, as after the ping timeout."""
        self._let_pass(self.hub._config.timing.ping_timeout)

    def let_tokens_expire(self, days: float = 2.0) -> None:
        """Set the wall clock to a time after the last day of the tokens, and let the hub look at it."""
        self.set_by[0] += days * 86400
        self._let_pass(0.0)

    def _let_pass(self, seconds: float) -> None:
        self.ahead += seconds
        self.hub._check_deadlines(time.monotonic() + self.ahead)

    async def browser(self, user: str = "ann", *, token: str | None = None, **auth: Any) -> "Browser":
        """A python-socketio client of this user, connected."""
        browser = Browser()
        self.clients.append(browser)
        await browser.connect(self.url, {"token": token or self.token(user), **auth})
        sid = browser.client.get_sid()
        # Its replay comes after its CONNECT; from here on it has been sent.
        await self.wait_for_event(ClientConnected, lambda event: event.client_id == sid)
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
        """A native client, after its welcome (which is in `.welcome`)."""
        raw = await self.raw(path)
        await raw.send_native("auth", {"token": token or self.token(user), **auth})
        raw.welcome = await raw.next_native()
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
        # By default a busy machine has one second for the namespace.
        await self.client.connect(url, socketio_path=PATH, transports=["websocket"], auth=auth, wait_timeout=60)

    def _keep(self, name: str, *arguments: Any) -> None:
        self.received.put_nowait((name, *arguments))

    async def next(self) -> tuple[Any, ...]:
        """The next event it receives."""
        async with asyncio.timeout(PATIENCE):
            return await self.received.get()

    async def received_so_far(self) -> list[tuple[Any, ...]]:
        """What else has arrived by now: the answer to a call comes after everything that was sent before."""
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

    def stop_reading(self) -> None:
        """Read nothing more from the connection, as a client that hangs."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()

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
                data: str | bytes = frame.data
                return data

    async def send_native(self, kind: str, data: Any = None) -> None:
        """A native message."""
        await self.socket.send_str(orjson.dumps({"type": kind, "data": data}).decode())

    async def next_native(self, kind: str | None = None) -> dict[str, Any]:
        """The next native message, or the next of this type."""
        while True:
            said: dict[str, Any] = orjson.loads(await self.next())
            if kind is None or said["type"] == kind:
                return said

    async def received_so_far(self) -> list[dict[str, Any]]:
        """The native messages that have arrived by now: an echo comes after everything that was sent before."""
        await self.send_native("echo", "anything else?")
        received = []
        while (said := await self.next_native())["type"] != "echo":
            received.append(said)
        return received

    async def wait_for_close_code(self) -> int | None:
        """The close code, once the hub has closed; what it sends before is skipped."""
        try:
            while True:
                await self.next()
        except Closed as closed:
            return closed.code

    async def connect_with(self, auth: dict[str, Any] | None = None) -> str:
        """OPEN and CONNECT; the answer to CONNECT."""
        opened = await self.next()
        assert opened[:1] == "0"
        await self.send("40" + ("" if auth is None else orjson.dumps(auth).decode()))
        answer = await self.next()
        assert isinstance(answer, str)
        return answer

    async def close(self) -> None:
        """Drop the TCP connection without a close frame."""
        await self.session.close()
        if hasattr(self, "socket"):
            # The session lets go of the transport, but the response still holds its connection: whether that warns as
            # unclosed depends on the order in which the garbage collector finds the two.
            self.socket._response.close()


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
    trusted_proxies: Sequence[str] = (),
    clock: Clock | None = None,
    cancel_job: CancelJob | None = None,
    **options: Any,
) -> AsyncIterator[RunningHub]:
    """A hub, mounted and listening; its clients are closed before it is. `mount` adds more to its application.

    `options` are further fields of HubConfig.
    """
    options.setdefault("timing", UNHURRIED)
    events: list[Any] = []
    changed = asyncio.Event()

    def emit(event: Any) -> None:
        events.append(event)
        changed.set()

    config = HubConfig(
        settings or HubSettings(),
        web_socket or WebSocketSettings(),
        state,
        trusted_proxies=tuple(networks_of(trusted_proxies)),
        **options,
    )
    set_by = [0.0]
    hub = HubServer(config, clock or Clock(now=lambda: time.time() + set_by[0]), emit, cancel_job)
    app = web.Application()
    hub.mount(app)
    if mount is not None:
        mount(app)
    await hub.start()
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    running = RunningHub(hub, runner.addresses[0][1], events, changed, set_by=set_by)
    try:
        yield running
    finally:
        for client in running.clients:
            await client.close()
        await hub.close()
        await runner.cleanup()
