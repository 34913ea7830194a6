"""The hub as a whole: built from settings, mounted on an application, started, stopped."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from aiohttp import web

from config.settings import AdminUiSettings, HubSettings, WebSocketSettings
from worker.clock import Clock
from worker.events import Emit, LoopFailed, StoreCreated
from worker.hub.acceptor import UNAUTHORIZED, Acceptor, Sizes
from worker.hub.admin import AdminSpace
from worker.hub.admin_login import Logins
from worker.hub.auth import Key, authority_for
from worker.hub.core import Core
from worker.hub.engine import Namespace, SocketIoDoor, Timing
from worker.hub.events import HubStarted, HubStopped, KeyCreated
from worker.hub.guard import Caps, Guard
from worker.hub.inbox import Inbox
from worker.hub.keeping import Inboxes, Limits
from worker.hub.ledger import MEMORY
from worker.hub.native import Cancel, NativeDoor
from worker.hub.news import News, Stored
from worker.hub.orgspace import OrgSpace
from worker.hub.peer import Bounds
from worker.hub.signing import secret_of
from worker.hub.stats import ClientFigures, HubFigures

GOING_AWAY: Final = 1001
_FAREWELL: Final = 0.25
"""Seconds for clients to answer the close frame at shutdown."""
_SWEEP_SECONDS: Final = 300.0
NATIVE_PATH: Final = "/ws"
NATIVE_JOB_PATH: Final = "/ws/tasks/{job_id}"


class Hub:
    """The org-socket server: one core, two doors."""

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
        caps: Caps | None = None,
        origins: Sequence[str] = (),
        trusted_proxies: Sequence[str] = (),
        open_rooms: bool = True,
        keys: Mapping[str, Key] | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """`state`: the folder of the key and the inbox. UnsafeKey, StoreUnwritable: the key cannot be used.

        `keys`: further keys by `kid`, for rotation and for tokens of another issuer. `origins`: web origins
        besides our own whose pages may connect. `cancel`: how users cancel their jobs; None: there is no queue.
        """
        self._emit = emit
        self._admin: AdminSpace | None = None
        self._clock = clock
        self._timing = timing or Timing()
        self._path = "/" + web_socket.path.strip("/")
        self.authority, made = authority_for(settings.jwt, state, clock, keys or {})
        if made is not None:
            emit(KeyCreated(str(made)))
        self._core = Core(clock, self._happened)
        self._inbox = self._core.inbox = self._inbox_of(settings, state, limits)
        guard = Guard(
            caps or Caps(),
            clock.monotonic,
            frozenset(origin.rstrip("/").lower() for origin in origins),
            [ip_network(proxy, strict=False) for proxy in trusted_proxies],
        )
        self._acceptor = Acceptor(
            guard,
            refused=self._core.refused,
            failed=lambda error: emit(LoopFailed("hub", error, 0.0)),
            pause=self._inbox.room,
            sizes=Sizes(publisher=web_socket.max_payload),
            bounds=bounds or Bounds(),
        )
        traces = settings.stack_trace_to_users
        space = OrgSpace(
            self._core,
            self.authority,
            guard,
            event=web_socket.event,
            publisher_limit=web_socket.max_payload,
            traces=traces,
        )
        namespaces: dict[str, Namespace] = {"/": space}
        self._admin = self._admin_of(settings.admin_ui)
        if self._admin is not None:
            namespaces[settings.admin_ui.namespace] = self._admin
        self._socket_io = SocketIoDoor(namespaces, self._acceptor, self._timing)
        secret = settings.signing_secret
        self._native = NativeDoor(
            self._core,
            self.authority,
            self._acceptor,
            handshake=self._timing.handshake,
            traces=traces,
            open_rooms=open_rooms,
            cancel=cancel,
            signing_secret=None if secret is None else secret_of(secret.get_secret_value()),
        )
        self._beating: asyncio.Task[None] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """What it takes of the application: a door that asks for API keys must leave these alone."""
        return (self._path, self._path + "/", NATIVE_PATH, NATIVE_JOB_PATH)

    def mount(self, app: web.Application) -> None:
        """Take the hub's paths of this application; it closes the hub when it shuts down, if nobody did before."""
        for path in (self._path, self._path + "/"):
            app.router.add_route("*", path, self._socket_io.handle)
        for path in (NATIVE_PATH, NATIVE_JOB_PATH):
            app.router.add_get(path, self._native.handle)
        app.on_shutdown.append(self._shutdown)

    async def start(self) -> None:
        """Open the inbox. StoreLocked, StoreUnwritable, StoreCorrupt, SchemaTooNew."""
        if await self._inbox.start():
            self._emit(StoreCreated(self._inbox.where))
        for token_id in await self._inbox.revoked():
            self.authority.revoke(token_id)
        self._beating = asyncio.create_task(self._beat_for_ever(), name="hub-beat")
        self._emit(HubStarted(self._path, self._inbox.where))

    async def close(self) -> None:
        """Tell the clients, drop their connections, write what waits. No DISCONNECT packet: it silences clients
        for good, while a lost transport makes them come back."""
        if self._beating is None:
            return
        began = self._clock.monotonic()
        clients = len(self._core.clients)
        self._acceptor.open = False
        beating, self._beating = self._beating, None
        beating.cancel()
        await asyncio.wait([beating])
        await self._drop_all()
        await self._inbox.close()
        self._emit(HubStopped(clients, self._clock.monotonic() - began))

    def worker_token(self) -> str:
        """For the worker in this process; signed with a key that dies with it."""
        return self.authority.mint_for_worker()

    def sockets_of(self, user: str) -> int:
        """How many sockets the user has now: whether he is there."""
        return len(self._core.clients_of(user))

    async def revoke(self, token_id: str) -> int:
        """Refuse the token with this `jti` from now on, for good, and end its sockets; how many there were here."""
        ended = self.revoked(token_id)
        await self._inbox.revoke(token_id)
        return ended

    def arrived(self, stored: Stored) -> None:
        """From a shared inbox."""
        self._core.arrived(stored)

    def passed(self, news: News) -> None:
        """From another hub."""
        self._core.passed(news)

    def lost(self, user: str) -> None:
        """A shared inbox has begun anew."""
        self._core.lost(user)

    def revoked(self, token_id: str) -> int:
        """Some hub has revoked it: end its sockets here; how many there were."""
        self.authority.revoke(token_id)
        ended = [client for client in self._core.clients.values() if client.identity.token_id == token_id]
        for client in ended:
            client.end(UNAUTHORIZED, "the token is revoked")
        if self._admin is not None:
            self._admin.revoked(token_id)
        return len(ended)

    def figures(self, *, clients: bool = True) -> HubFigures:
        return self._core.figures(clients=clients)

    def present(self, limit: int) -> tuple[ClientFigures, ...]:
        """The first `limit` clients, those that came first."""
        return self._core.present(limit)

    def rooms(self, limit: int) -> dict[str, int]:
        """How many clients are in each of the first `limit` rooms."""
        return self._core.rooms.sizes(limit)

    def dismiss(self, client_id: str) -> bool:
        """Close a client's connection, as an operator wants it; it may come back at once. False: it is not here."""
        client = self._core.clients.get(client_id)
        if client is not None:
            client.end(GOING_AWAY, "closed by an operator")
        return client is not None

    def _happened(self, event: object) -> None:
        self._emit(event)
        if self._admin is not None:
            self._admin.hear(event)

    def _admin_of(self, settings: AdminUiSettings) -> AdminSpace | None:
        if not settings.enabled:
            return None
        logins = Logins(settings, self.authority, self._clock)
        return AdminSpace(self._core, logins, settings.namespace, read_only=settings.read_only)

    def _inbox_of(self, settings: HubSettings, state: Path, limits: Limits | None) -> Inboxes:
        if settings.redis is not None:
            # Costs a tenth of a second that hubs of their own need not pay.
            from worker.hub.shared import SharedInbox

            return SharedInbox(settings.redis.get_secret_value(), self._clock, self._emit, self, limits)
        in_memory = settings.inbox_path == MEMORY
        return Inbox(None if in_memory else state / settings.inbox_path, self._clock, limits)

    async def _shutdown(self, _: web.Application) -> None:
        await self.close()

    async def _drop_all(self) -> None:
        for client in tuple(self._core.clients.values()):
            client.end(GOING_AWAY, "the hub is stopping")
        for line in tuple(self._acceptor.lines):
            line.peer.close(GOING_AWAY, "the hub is stopping")
        await self._acceptor.emptied(_FAREWELL)
        for line in tuple(self._acceptor.lines):
            line.peer.abort()
        await self._acceptor.emptied(_FAREWELL)

    async def _beat_for_ever(self) -> None:
        timing = self._timing
        pause = min(1.0, timing.ping_interval / 4, timing.ping_timeout / 2, timing.handshake / 2)
        sweep_at = time.monotonic() + _SWEEP_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                self._beat(time.monotonic())
                if time.monotonic() >= sweep_at:
                    sweep_at = time.monotonic() + _SWEEP_SECONDS
                    self._acceptor.sweep()
                    await self._inbox.prune()
            except Exception as exc:  # noqa: BLE001 -- the heart must go on beating
                self._emit(LoopFailed("hub", exc, pause))

    def _beat(self, now: float) -> None:
        self._socket_io.beat(now)
        self._native.beat(now)
        if self._admin is not None:
            self._admin.beat(now)
        wall = self._clock.now()
        for client in tuple(self._core.clients.values()):
            if client.identity.expires <= wall:
                client.end(UNAUTHORIZED, "the token has expired")
        self._inbox.flush()
