"""The hub as a whole: built from its configuration, mounted on an application, started, stopped."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import orjson
from aiohttp import web

from config.webhook_secret import webhook_secret
from worker.core.clock import Clock
from worker.core.events import Emit, LoopFailed, StoreCreated
from worker.core.loop_failures import LoopFailures
from worker.hub.close_codes import GOING_AWAY, INTERNAL_ERROR, UNAUTHORIZED
from worker.hub.commands import CancelJob, ClientCommands
from worker.hub.config import HubConfig
from worker.hub.connection_limits import ConnectionLimiter
from worker.hub.engineio.server import ENDPOINT, EngineIoOptions, EngineIoServer
from worker.hub.events import ClientRejected, HubStarted, HubStopped, KeyCreated
from worker.hub.hub import INBOX_FAILED, Hub
from worker.hub.inbox import Inbox, InboxListener
from worker.hub.inboxes.sqlite import SqliteInbox
from worker.hub.inboxes.sqlite_tables import MEMORY
from worker.hub.messages import Message, StoredMessage
from worker.hub.native.endpoint import NativeEndpoint, NativeOptions
from worker.hub.room_commands import RoomCommands
from worker.hub.socketio.admin_auth import AdminSessions
from worker.hub.socketio.admin_namespace import AdminNamespace
from worker.hub.socketio.org_namespace import OrgNamespace, OrgNamespaceOptions
from worker.hub.socketio.server import Namespace, SocketIoServer
from worker.hub.stats import ClientStats, HubStats
from worker.hub.tokens import TokenService, load_token_service
from worker.hub.transports.connections import ConnectionRegistry, MessageLimits
from worker.hub.transports.websocket import WebSocketServer
from worker.net.path_base import link_to
from worker.net.rate_limit import BoundedReporter

NATIVE_PATH: Final = "/ws"
NATIVE_JOB_PATH: Final = "/ws/tasks/{job_id}"
DESCRIPTION_PATH: Final = "/asyncapi.json"
_STOPPING: Final = "the hub is stopping"
_CLOSE_SECONDS: Final = 0.5
"""For clients to answer the close frame at shutdown."""
_SWEEP_SECONDS: Final = 300.0


class HubServer:
    """The org-socket server: one hub behind two endpoints, Socket.IO and native WebSocket."""

    def __init__(self, config: HubConfig, clock: Clock, emit: Emit, cancel_job: CancelJob | None = None) -> None:
        """`cancel_job`: how users cancel their jobs; None: there is no queue.

        UnsafeKey, StoreUnwritable: the signing key cannot be used.
        """
        self._emit = emit
        self._clock = clock
        self._config = config
        self._path = "/" + config.web_socket.path.strip("/")
        self._rejections: dict[str, BoundedReporter] = {}
        self._descriptions: dict[str, bytes] = {}
        """The description of the endpoints by the prefix of their paths, built when first requested."""
        self.tokens, created_key = load_token_service(config.settings.jwt, config.state_dir, clock, config.keys)
        self.tokens.allow_anonymous = config.settings.anonymous
        if created_key is not None:
            emit(KeyCreated(str(created_key)))
        self.hub = Hub(clock, self._on_event)
        self._inbox = self.hub.inbox = _new_inbox(config, clock, emit, self)
        self.tokens.revocations_known = lambda: self._inbox.revocations_known
        self._registry = self._new_registry()
        websockets = WebSocketServer(self._registry, config.send_limits)
        commands = ClientCommands(self.hub, _room_commands(config, self.hub), cancel_job)
        self._admin = _new_admin_namespace(config, self.hub, self.tokens)
        socket_io = SocketIoServer(
            self._namespaces(commands),
            on_rejected=lambda address, reason: self.hub.emit_rejected(ENDPOINT, address, reason),
            connect_seconds=config.timing.authentication,
        )
        self._engine_io = EngineIoServer(
            socket_io.new_receiver,
            self._registry,
            websockets,
            EngineIoOptions(config.timing, allow_revision_3=config.settings.allow_eio3),
        )
        self._native = NativeEndpoint(
            self.hub, self.tokens, self._registry, websockets, _native_options(config), commands
        )
        self._timer: asyncio.Task[None] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that the hub serves: an HTTP API that asks for keys must leave these to it."""
        return (self._path, self._path + "/", NATIVE_PATH, NATIVE_JOB_PATH, DESCRIPTION_PATH)

    def on_shown(self, record: Callable[[str], None]) -> None:
        """Call `record` with the id of each notification that a browser reports as shown; it must not block."""
        self.hub.record_shown = record

    def mount(self, app: web.Application) -> None:
        """Serve the hub's paths of this application, and close the hub when the application shuts down."""
        for path in (self._path, self._path + "/"):
            app.router.add_route("*", path, self._engine_io.handle)
        for path in (NATIVE_PATH, NATIVE_JOB_PATH):
            app.router.add_get(path, self._native.handle)
        app.router.add_get(DESCRIPTION_PATH, self._describe)
        app.on_shutdown.append(self._on_shutdown)

    async def start(self) -> None:
        """Open the inbox. StoreLocked, StoreUnwritable, StoreCorrupt, SchemaTooNew: it cannot be used."""
        if await self._inbox.start():
            self._emit(StoreCreated(self._inbox.where))
        for token_id in await self._inbox.revoked_tokens():
            self.tokens.revoke(token_id)
        self._timer = asyncio.create_task(self._run_timer(), name="hub-timer")
        self._emit(HubStarted(self._path, self._inbox.where))

    def check(self) -> None:
        """Raise StoreReplaced or StoreUnwritable if the inbox is not the file that was opened, or cannot be written.

        For a thread: blocks for as long as the disk takes to answer.
        """
        self._inbox.check()

    async def close(self) -> None:
        """Close all connections, and write what waits.

        Clients get no DISCONNECT packet: after that they would never reconnect, while they do after a lost connection.
        """
        if self._timer is None:
            return
        started_at = self._clock.monotonic()
        clients = len(self.hub.clients)
        self._registry.accepting = False
        timer, self._timer = self._timer, None
        timer.cancel()
        await asyncio.wait([timer])
        await self._close_connections()
        await self._inbox.close()
        self._emit(HubStopped(clients, self._clock.monotonic() - started_at))

    @property
    def may_share_tokens(self) -> bool:
        """Whether other hubs may accept the tokens of this one: they share its inbox, or were given its key."""
        return self._inbox.shared or self._config.settings.jwt.key is not None

    def worker_token(self) -> str:
        """Return a token for the worker in this process, signed with a key that ends with the process."""
        return self.tokens.mint_for_worker()

    # -- tokens ------------------------------------------------------------------------------------------------------

    async def revoke(self, token_id: str) -> int:
        """Reject the token with this `jti` from now on, permanently; return how many clients of it were closed here."""
        closed = self.on_revoked(token_id)
        await self._inbox.revoke(token_id)
        return closed

    def set_known_keys(self, issuing_service: str, keys: frozenset[str]) -> int:
        """Accept tokens issued to API keys of this service for these keys only; return how many clients were closed."""
        self.tokens.issuing_service, self.tokens.known_keys = issuing_service, keys
        gone = [one for one in self.hub.clients.values() if not self.tokens.accepts_key(one.identity.issued_to)]
        for client in gone:
            client.close(UNAUTHORIZED, "the API key of the token has been removed or changed")
        return len(gone)

    # -- the inbox's listener ----------------------------------------------------------------------------------------

    def on_stored(self, stored: StoredMessage) -> None:
        self.hub.on_stored(stored)

    def on_volatile(self, message: Message) -> None:
        self.hub.on_volatile(message)

    def on_reset(self, user: str) -> None:
        self.hub.on_reset(user)

    def on_revoked(self, token_id: str) -> int:
        """Some hub revoked the token: close its clients here; return how many there were."""
        self.tokens.revoke(token_id)
        clients = [client for client in self.hub.clients.values() if client.identity.token_id == token_id]
        for client in clients:
            client.close(UNAUTHORIZED, "the token is revoked")
        if self._admin is not None:
            self._admin.on_revoked(token_id)
        return len(clients)

    def on_revocations_unknown(self) -> None:
        """Close the clients whose tokens may have been revoked: they reconnect, and are admitted once that is known."""
        for client in tuple(self.hub.clients.values()):
            if client.identity.user is not None and client.identity.token_id is not None:
                client.close(INTERNAL_ERROR, INBOX_FAILED)
        if self._admin is not None:
            self._admin.on_revocations_unknown()

    # -- for operators -----------------------------------------------------------------------------------------------

    def stats(self, *, clients: bool = True) -> HubStats:
        """Return the hub's statistics, with or without those of each client."""
        return self.hub.stats(clients=clients)

    def client_stats(self, limit: int) -> tuple[ClientStats, ...]:
        """Return the statistics of the first `limit` clients, the oldest first."""
        return self.hub.client_stats(limit)

    def room_sizes(self, limit: int) -> dict[str, int]:
        """Return the number of clients in each of the first `limit` rooms."""
        return self.hub.rooms.sizes(limit)

    def disconnect(self, client_id: str) -> bool:
        """Close a client's connection on an operator's request; return False if there is no such client.

        The client may reconnect at once.
        """
        client = self.hub.clients.get(client_id)
        if client is not None:
            client.close(GOING_AWAY, "closed by an operator")
        return client is not None

    # -- internals ---------------------------------------------------------------------------------------------------

    def _new_registry(self) -> ConnectionRegistry:
        config = self._config
        origins = frozenset(config.settings.allowed_origins)
        return ConnectionRegistry(
            ConnectionLimiter(config.connection_limits, self._clock.monotonic, origins, config.trusted_proxies),
            on_rejected=self.hub.emit_rejected,
            on_error=lambda error: self._emit(LoopFailed("hub", error, 0.0)),
            wait_for_capacity=self._inbox.wait_for_capacity,
            message_limits=MessageLimits(publisher=config.web_socket.max_payload),
        )

    def _namespaces(self, commands: ClientCommands) -> dict[str, Namespace]:
        config = self._config
        options = OrgNamespaceOptions(
            event=config.web_socket.event,
            publisher_limit=config.web_socket.max_payload,
            stack_trace_to_users=config.settings.stack_trace_to_users,
        )
        org = OrgNamespace(self.hub, self.tokens, self._registry.limiter, commands, options)
        namespaces: dict[str, Namespace] = dict.fromkeys(config.settings.namespaces, org)
        if self._admin is not None:
            namespaces[config.settings.admin_ui.namespace] = self._admin
        return namespaces

    def _on_event(self, event: object) -> None:
        if isinstance(event, ClientRejected):
            self._rejections_at(event.endpoint)(event.address, event.reason)
        else:
            self._emit(event)
        if self._admin is not None:
            self._admin.on_hub_event(event)

    def _rejections_at(self, endpoint: str) -> BoundedReporter:
        """Return what reports clients that this endpoint rejects: whatever they do, at a bounded rate."""
        if endpoint not in self._rejections:
            self._rejections[endpoint] = BoundedReporter(
                lambda address, reason: self._emit(ClientRejected(endpoint, address, reason)), self._clock.monotonic
            )
        return self._rejections[endpoint]

    async def _describe(self, request: web.Request) -> web.Response:
        base = link_to(request, "")
        if base not in self._descriptions:
            from worker.hub.asyncapi import asyncapi

            self._descriptions[base] = orjson.dumps(asyncapi(self._path + "/", self._config.web_socket.event, base))
        return web.Response(body=self._descriptions[base], content_type="application/json")

    async def _on_shutdown(self, _: web.Application) -> None:
        await self.close()

    async def _close_connections(self) -> None:
        for client in tuple(self.hub.clients.values()):
            client.close(GOING_AWAY, _STOPPING)
        self._registry.close_all(GOING_AWAY, _STOPPING)
        await self._registry.wait_closed(_CLOSE_SECONDS)
        self._registry.abort_all()
        await self._registry.wait_closed(_CLOSE_SECONDS)

    async def _run_timer(self) -> None:
        timing = self._config.timing
        pause = min(1.0, timing.ping_interval / 4, timing.ping_timeout / 2, timing.authentication / 2)
        sweep_at = time.monotonic() + _SWEEP_SECONDS
        failures = LoopFailures("hub", self._emit)
        while True:
            await asyncio.sleep(pause)
            try:
                self._check_deadlines(time.monotonic())
                if time.monotonic() >= sweep_at:
                    sweep_at = time.monotonic() + _SWEEP_SECONDS
                    self._registry.sweep()
                    await self._inbox.prune()
                    failures.succeeded()
            except Exception as exc:  # noqa: BLE001 -- heartbeats must go on after a failure
                failures.failed(exc, pause)

    def _check_deadlines(self, now: float) -> None:
        self._engine_io.check_heartbeats(now)
        self._native.check_deadlines(now)
        if self._admin is not None:
            self._admin.check_deadlines(now)
        wall = self._clock.now()
        for client in tuple(self.hub.clients.values()):
            if client.identity.expires <= wall:
                client.close(UNAUTHORIZED, "the token has expired")
        self._inbox.flush()


def _new_inbox(config: HubConfig, clock: Clock, emit: Emit, listener: InboxListener) -> Inbox:
    settings = config.settings
    if settings.redis is not None:
        # Importing it takes a tenth of a second, which a single hub need not spend.
        from worker.hub.inboxes.redis import RedisInbox

        return RedisInbox(settings.redis.get_secret_value(), clock, emit, listener, config.inbox_limits)
    path = None if settings.inbox_path == MEMORY else config.state_dir / settings.inbox_path
    return SqliteInbox(path, clock, config.inbox_limits)


def _new_admin_namespace(config: HubConfig, hub: Hub, tokens: TokenService) -> AdminNamespace | None:
    settings = config.settings.admin_ui
    if not settings.enabled:
        return None
    sessions = AdminSessions(settings, tokens, hub.clock)
    return AdminNamespace(hub, sessions, settings.namespace, read_only=settings.read_only)


def _room_commands(config: HubConfig, hub: Hub) -> RoomCommands:
    return RoomCommands(hub, open_rooms=config.settings.open_rooms, event=config.web_socket.event)


def _native_options(config: HubConfig) -> NativeOptions:
    settings = config.settings
    secret = settings.signing_secret
    return NativeOptions(
        auth_seconds=config.timing.authentication,
        heartbeat=config.native_heartbeat,
        stack_trace_to_users=settings.stack_trace_to_users,
        signing_secret=None if secret is None else webhook_secret(secret.get_secret_value()),
    )
