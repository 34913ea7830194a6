"""Receives notifications as a browser does: a Socket.IO client that comes back, and drops repeated ids."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import socketio
from tenacity import AsyncRetrying, wait_exponential_jitter

_WELCOME = "org-socket:welcome"
"""Our hub's word on where its replay begins; other servers know no such event."""
_READ = "org-socket:read"
"""To our hub: how far we have got, so that the next listener is not told all of it again."""
_SAY_READ_SECONDS = 1.0
_REMEMBERED = 100_000
"""Ids kept to drop repetitions by."""
_STEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Received:
    """One event as it came: its name and both arguments."""

    event: str
    message: Any
    user: Any


@dataclass(slots=True)
class Listener:
    """A user's browser without the browser."""

    url: str
    path: str
    event: str
    token: Callable[[], str]
    on_change: Callable[[str], None] = lambda _text: None
    """Told when the connection comes and goes."""
    _queue: "asyncio.Queue[tuple[Received, int] | None]" = field(default_factory=asyncio.Queue)
    """With the number of each in the inbox; 0: it has none."""
    _seen: "OrderedDict[tuple[str, int], None]" = field(default_factory=OrderedDict)
    _position: dict[str, Any] = field(default_factory=lambda: {"lastSeq": 0})
    """Where this browser has got to: the hub replays from here after a loss."""
    _handed: int = 0
    """The number of the last one that was handed over."""
    _said: int = 0
    _told: str = ""
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    async def messages(self) -> AsyncGenerator[Received, None]:
        """Every notification once, for ever; the connection is renewed behind it."""
        connection = asyncio.ensure_future(self._stay_connected())
        connection.add_done_callback(lambda _ended: self._queue.put_nowait(None))
        try:
            while (next_one := await self._queue.get()) is not None:
                received, self._handed = next_one
                yield received
            await connection  # it never ends by itself: raise what ended it
        finally:
            connection.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await connection

    async def _stay_connected(self) -> None:
        wait = wait_exponential_jitter(multiplier=0.2, max=5.0)
        while True:
            async for attempt in AsyncRetrying(wait=wait):
                with attempt:
                    await self._session()

    async def _session(self) -> None:
        """One connection from start to end; raises when it could not be made."""
        # A fresh client each time: the library's own reconnect loop can end silently. The HTTP session is ours,
        # because the library forgets to close its own when an attempt fails.
        http = aiohttp.ClientSession()
        client = socketio.AsyncClient(reconnection=False, handle_sigint=False, http_session=http)
        ended = asyncio.Event()
        client.on(self.event, self._receive)
        client.on(_WELCOME, self._welcome)
        client.on("disconnect", lambda *_reason: ended.set())
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                await client.connect(
                    self.url,
                    socketio_path=self.path,
                    transports=["websocket"],
                    auth={"token": self.token(), **self._position},
                    wait_timeout=_STEP_SECONDS,
                )
            self._tell(f"connected to {self.url}")
            self.connected.set()
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SAY_READ_SECONDS):
                        await ended.wait()
                await self._say_read(client)
            self._tell("connection lost")
        except Exception as exc:
            self._tell(f"not connected to {self.url}: {_innermost(exc)}; trying again")
            raise
        finally:
            self.connected.clear()
            with contextlib.suppress(Exception):
                await self._say_read(client)
                await client.shutdown()
            await http.close()

    async def _say_read(self, client: Any) -> None:
        if self._handed > self._said and client.connected:
            self._said = self._handed
            with contextlib.suppress(socketio.exceptions.SocketIOError):
                # Answered, or a client that is closed right afterwards has never sent it.
                await client.call(_READ, {"seq": self._handed}, timeout=_SAY_READ_SECONDS)

    def _tell(self, text: str) -> None:
        """Changes only: an outage is one line, however many attempts it costs."""
        if text != self._told:
            self._told = text
            self.on_change(text)

    async def _welcome(self, where: Any = None) -> None:
        if isinstance(where, dict) and where.get("epoch") != self._position.get("epoch"):
            self._position = {"epoch": where["epoch"], "lastSeq": where["after"]}
            self._handed = self._said = where["after"]

    async def _receive(self, message: Any = None, user: Any = None, *_more: Any) -> None:
        seq = 0
        if isinstance(user, dict) and "seq" in user:
            seq = user["seq"]
            self._position = {"epoch": user["epoch"], "lastSeq": user["seq"]}
            user = {"userId": user.get("userId")}
        payload = message.get("payload", {}) if isinstance(message, dict) else {}
        key = (str(payload.get("notificationId")), int(payload.get("redelivery", 0)))
        if "notificationId" in payload:
            if key in self._seen:
                return
            self._seen[key] = None
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        self._queue.put_nowait((Received(self.event, message, user), seq))


def _innermost(exc: BaseException) -> str:
    """The library wraps the real cause twice."""
    while (cause := exc.__cause__ or exc.__context__) is not None:
        exc = cause
    return str(exc) or type(exc).__name__
