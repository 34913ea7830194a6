"""Receives notifications as a browser does: a Socket.IO client that reconnects, and drops repeated ids."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import socketio
from tenacity import AsyncRetrying, wait_exponential_jitter

from config.loader import LoadedSettings
from config.presence import exists
from worker.core.clock import Clock
from worker.core.failure import innermost_cause
from worker.errors import Unavailable
from worker.hub.tokens import KEY_FILE, load_token_service
from worker.notifiers.socketio.address import address_of
from worker.notifiers.socketio.handshake import ConnectOptions, new_http_session

_WELCOME = "org-socket:welcome"
"""Event of the built-in hub that says where its replay begins; other servers do not send it."""
_READ = "org-socket:read"
"""Event for the built-in hub: the position that was read, so that the next listener starts after it."""
_READ_REPORT_SECONDS = 1.0
_MAX_REMEMBERED = 100_000
"""How many ids are kept to recognise repetitions."""
_STEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Received:
    """An event as it was received: its name and both arguments."""

    event: str
    message: Any
    user: Any


@dataclass(slots=True)
class Listener:
    """A client of the org-socket server for one user."""

    url: str
    path: str
    event: str
    token: Callable[[], str]
    on_change: Callable[[str], None] = lambda _text: None
    """Receives a line when the connection opens or is lost."""
    _queue: "asyncio.Queue[tuple[Received, int] | None]" = field(default_factory=asyncio.Queue)
    """Each with its sequence number in the inbox; 0 when it has none."""
    _seen: "OrderedDict[tuple[str, int], None]" = field(default_factory=OrderedDict)
    _position: dict[str, Any] = field(default_factory=lambda: {"lastSeq": 0})
    """The last position that was received: the hub replays from here after a lost connection."""
    _last_handed_over: int = 0
    """The sequence number of the last event that the caller received."""
    _last_reported_read: int = 0
    _last_change: str = ""
    connected: asyncio.Event = field(default_factory=asyncio.Event)

    async def messages(self) -> AsyncGenerator[Received, None]:
        """Yield every notification once, indefinitely; a lost connection is opened again."""
        connection = asyncio.ensure_future(self._stay_connected())
        connection.add_done_callback(lambda _ended: self._queue.put_nowait(None))
        try:
            while (next_one := await self._queue.get()) is not None:
                received, self._last_handed_over = next_one
                yield received
            await connection  # it does not end by itself: raise what ended it
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
        """Hold one connection until it is lost. Raises when it cannot be opened."""
        # A new client each time: the library's own reconnect loop can end silently. It is given an HTTP session,
        # because it does not close its own when an attempt fails, and would follow a redirect with the user's token.
        http = new_http_session(ConnectOptions(self.url, self.path, {}, None))
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
            self._report_change(f"connected to {self.url}")
            self.connected.set()
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_READ_REPORT_SECONDS):
                        await ended.wait()
                await self._report_read(client)
            self._report_change("connection lost")
        except Exception as exc:
            self._report_change(f"not connected to {self.url}: {_cause_of(exc)}; trying again")
            raise
        finally:
            self.connected.clear()
            with contextlib.suppress(Exception):
                await self._report_read(client)
                await client.shutdown()
            await http.close()

    async def _report_read(self, client: Any) -> None:
        if self._last_handed_over > self._last_reported_read and client.connected:
            self._last_reported_read = self._last_handed_over
            with contextlib.suppress(socketio.exceptions.SocketIOError):
                # Wait for the answer: a client that is closed at once would not have sent it.
                await client.call(_READ, {"seq": self._last_handed_over}, timeout=_READ_REPORT_SECONDS)

    def _report_change(self, text: str) -> None:
        """Report changes only: an outage is one line, whatever the number of attempts."""
        if text != self._last_change:
            self._last_change = text
            self.on_change(text)

    async def _welcome(self, position: Any = None) -> None:
        if isinstance(position, dict) and position.get("epoch") != self._position.get("epoch"):
            self._position = {"epoch": position["epoch"], "lastSeq": position["after"]}
            self._last_handed_over = self._last_reported_read = position["after"]

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
            if len(self._seen) > _MAX_REMEMBERED:
                self._seen.popitem(last=False)
        self._queue.put_nowait((Received(self.event, message, user), seq))


def _cause_of(exc: BaseException) -> str:
    cause = innermost_cause(exc)  # the library wraps the real cause twice
    return str(cause) or type(cause).__name__


def token_for(loaded: LoadedSettings, user: str, *, publish: bool, days: float) -> str:
    """Return a JWT signed with the hub's key. Raises Unavailable when there is none: only the hub generates one."""
    path = loaded.state_dir / KEY_FILE
    try:
        missing = loaded.settings.hub.jwt.key is None and not exists(path)
    except PermissionError:
        raise Unavailable(f"{path} belongs to another user: run the command as that user or as root (sudo)") from None
    if missing:
        raise Unavailable(
            f"there is no hub key at {path}: start the service (insignia-worker run), which generates it, or name the "
            "folder of its settings (--contentRoot) or its state directory (the variable STATE_DIRECTORY)"
        )
    tokens, _ = load_token_service(loaded.settings.hub.jwt, loaded.state_dir, Clock())
    return tokens.mint(user, publish=publish, days=days)


def listener_for(loaded: LoadedSettings, user: str, on_change: Callable[[str], None]) -> Listener:
    """Return a client of WebSocket:Url for this user. Raises Unavailable when there is no key for its token."""
    link = loaded.settings.web_socket
    token_for(loaded, user, publish=False, days=1)
    return Listener(
        url=address_of(link.url).url,
        path=link.path,
        event=link.event,
        token=lambda: token_for(loaded, user, publish=False, days=1),
        on_change=on_change,
    )
