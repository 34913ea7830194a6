"""The hub as a whole: built from settings, mounted on an application, started, stopped."""

import asyncio
import time
from pathlib import Path
from typing import Final

from aiohttp import web

from config.settings import HubSettings, WebSocketSettings
from worker.clock import Clock
from worker.events import Emit, LoopFailed, StoreCreated
from worker.hub.auth import authority_for
from worker.hub.core import Client, Core
from worker.hub.engine import UNAUTHORIZED, Seat, Sizes, SocketIoDoor, Timing
from worker.hub.events import HubStarted, HubStopped, KeyCreated
from worker.hub.inbox import MEMORY, Inbox, Limits
from worker.hub.orgspace import CLOSING, OrgSpace
from worker.hub.peer import Bounds
from worker.hub.stats import HubFigures

GOING_AWAY: Final = 1001
_FAREWELL: Final = 0.25
"""Seconds for clients to answer the close frame at shutdown."""
_PRUNE_SECONDS: Final = 300.0


class Hub:
    """The org-socket server."""

    def __init__(
        self,
        settings: HubSettings,
        web_socket: WebSocketSettings,
        *,
        state: Path,
        clock: Clock,
        emit: Emit,
        timing: Timing | None = None,
        bounds: Bounds | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`state`: the folder of the key and the inbox. UnsafeKey, StoreUnwritable: the key cannot be used."""
        self._emit = emit
        self._clock = clock
        self._timing = timing or Timing()
        self._path = "/" + web_socket.path.strip("/")
        self.authority, made = authority_for(settings.jwt, state, clock)
        if made is not None:
            emit(KeyCreated(str(made)))
        in_memory = settings.inbox_path == MEMORY
        self._inbox = Inbox(None if in_memory else state / settings.inbox_path, clock, limits)
        self._core = Core(self._inbox, clock, emit)
        space = OrgSpace(
            self._core,
            self.authority,
            web_socket.event,
            web_socket.max_payload,
            traces=settings.stack_trace_to_users,
        )
        self._door = SocketIoDoor(
            {"/": space},
            refused=self._core.refused,
            pause=self._inbox.room,
            timing=self._timing,
            sizes=Sizes(publisher=web_socket.max_payload),
            bounds=bounds or Bounds(),
        )
        self._beating: asyncio.Task[None] | None = None

    def mount(self, app: web.Application) -> None:
        """Take the hub's paths of this application; it closes the hub when it shuts down, if nobody did before."""
        for path in (self._path, self._path + "/"):
            app.router.add_route("*", path, self._door.handle)
        app.on_shutdown.append(self._shutdown)

    async def start(self) -> None:
        """Open the inbox. StoreLocked, StoreUnwritable, StoreCorrupt, SchemaTooNew."""
        if await self._inbox.start():
            self._emit(StoreCreated(self._inbox.where))
        self._beating = asyncio.create_task(self._beat_for_ever(), name="hub-beat")
        self._emit(HubStarted(self._path, self._inbox.where))

    async def close(self) -> None:
        """Tell the clients, drop their connections, write what waits. No DISCONNECT packet: it silences clients
        for good, while a lost transport makes them come back."""
        if self._beating is None:
            return
        began = self._clock.monotonic()
        clients = len(self._door.connections)
        self._door.open = False
        beating, self._beating = self._beating, None
        beating.cancel()
        await asyncio.wait([beating])
        await self._drop_all()
        await self._inbox.close()
        self._emit(HubStopped(clients, self._clock.monotonic() - began))

    def worker_token(self) -> str:
        """For the worker in this process; signed with a key that dies with it."""
        return self.authority.mint_for_worker()

    def figures(self, *, clients: bool = True) -> HubFigures:
        return self._core.figures(clients=clients)

    async def _shutdown(self, _: web.Application) -> None:
        await self.close()

    async def _drop_all(self) -> None:
        for connection in tuple(self._door.connections):
            for seat in connection.seats.values():
                _say_why(seat, GOING_AWAY, "the hub is stopping")
            connection.peer.close(GOING_AWAY, "the hub is stopping")
        await self._door.emptied(_FAREWELL)
        for connection in tuple(self._door.connections):
            connection.peer.abort()
        await self._door.emptied(_FAREWELL)

    async def _beat_for_ever(self) -> None:
        pause = min(1.0, self._timing.ping_interval / 4, self._timing.ping_timeout / 2, self._timing.handshake / 2)
        prune_at = time.monotonic() + _PRUNE_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                self._door.beat(time.monotonic())
                self._end_expired()
                self._inbox.flush()
                if time.monotonic() >= prune_at:
                    prune_at = time.monotonic() + _PRUNE_SECONDS
                    await self._inbox.prune()
            except Exception as exc:  # noqa: BLE001 -- the heart must go on beating
                self._emit(LoopFailed("hub", exc, pause))

    def _end_expired(self) -> None:
        now = self._clock.now()
        for connection in tuple(self._door.connections):
            for seat in connection.seats.values():
                owner = seat.owner
                if isinstance(owner, Client) and owner.identity.expires <= now and not connection.peer.closing:
                    _say_why(seat, UNAUTHORIZED, "the token has expired")
                    connection.peer.close(UNAUTHORIZED, "the token has expired")


def _say_why(seat: Seat, code: int, reason: str) -> None:
    if seat.accepted:
        seat.emit(CLOSING, {"code": code, "reason": reason})
