"""A real python-socketio server on a loopback port, with options: acknowledgements, rejections, disconnects, stops."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import socketio
from aiohttp import web

from tests.support.history.events import Received
from tests.support.history.runs import note_server
from tests.support.ports import free_port

PATH = "/api/v1/org-socket"


@dataclass
class SocketIoServer:
    """`answer` makes the acknowledgement's arguments; Ellipsis: none is sent."""

    answer: Callable[[Any, Any], Any] = lambda _message, _user: None
    accept: Callable[[Mapping[str, Any] | None], None] = lambda _auth: None
    ping_interval: int = 25
    ping_timeout: int = 20
    max_payload: int = 1_000_000
    port: int = field(default_factory=free_port)
    """The same after each start: not one that a connection may get while the server is away."""
    received: list[tuple[Any, Any]] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    """On which connection each of those came."""
    auths: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    sids: list[str] = field(default_factory=list)
    sio: Any = None
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._runner is not None

    @property
    def ids(self) -> list[str]:
        """The notification ids as they came, repeats included."""
        return [
            message["payload"]["notificationId"]
            for message, _ in self.received
            if "notificationId" in message["payload"]
        ]

    @property
    def numbers(self) -> list[int]:
        """The sequence numbers in order of first arrival."""
        found = [message["payload"]["sequence"] for message, _ in self.received if "sequence" in message["payload"]]
        return list(dict.fromkeys(found))

    @property
    def payloads(self) -> list[dict[str, Any]]:
        """What the notifications hold, in order of first arrival."""
        first: dict[str, dict[str, Any]] = {}
        for message, _ in self.received:
            first.setdefault(message["payload"]["notificationId"], message["payload"])
        return list(first.values())

    def has_no_repeats(self, connections: int = 1) -> bool:
        """Whether no notification came twice. On a connection beyond those, the link sends again what it must."""
        return len(self.ids) == len(set(self.ids)) or len(self.sids) > connections

    def receptions(self) -> Iterator[Received]:
        """Return what was received, for the judge of histories."""
        for (message, user), connection in zip(self.received, self.connections, strict=True):
            body = orjson.dumps(["socket-notification", message, user]).decode()
            yield Received("server", body, connection=connection)

    async def start(self) -> None:
        note_server(self)
        sio = self.sio = socketio.AsyncServer(
            async_mode="aiohttp",
            transports=["websocket"],
            async_handlers=False,
            ping_interval=self.ping_interval,
            ping_timeout=self.ping_timeout,
            max_http_buffer_size=self.max_payload,
        )
        sio.on("connect", self._connect)
        sio.on("socket-notification", self._notification)
        app = web.Application()
        sio.attach(app, socketio_path=PATH.strip("/"))
        # Clients that are still attached must not hold the stop up: their transports are dropped.
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _connect(self, sid: str, environ: Mapping[str, Any], auth: Mapping[str, Any] | None) -> None:
        self.auths.append(auth)
        self.headers.append(dict(environ["aiohttp.request"].headers))
        self.accept(auth)
        self.sids.append(sid)

    async def _notification(self, sid: str, message: Any, user: Any = None) -> Any:
        self.received.append((message, user))
        self.connections.append(sid)
        return self.answer(message, user)


@contextlib.asynccontextmanager
async def socketio_server(**levers: Any) -> AsyncIterator[SocketIoServer]:
    server = SocketIoServer(**levers)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
