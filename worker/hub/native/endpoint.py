"""The native endpoint: JSON messages `{type, timestamp, data}` on plain WebSockets, at /ws and /ws/tasks/{jobId}.

A web page cannot set headers on a WebSocket, so it authenticates by its first message, `auth`; other clients may send
an Authorization header. The token is never in the URL, which ends up in logs.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from worker.hub.client import Client, Encoder
from worker.hub.close_codes import (
    ABNORMAL,
    FORBIDDEN,
    INTERNAL_ERROR,
    NORMAL,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_MESSAGES,
    UNAUTHORIZED,
)
from worker.hub.commands import ClientCommands
from worker.hub.connection_limits import Rejection
from worker.hub.errors import MalformedPacket
from worker.hub.handshake import auth_of_request, position_of, resume_point_of
from worker.hub.hub import INBOX_FAILED, Hub
from worker.hub.inbox import InboxPage
from worker.hub.native.commands import REPORTS, NativeCommands
from worker.hub.native.messages import ENDPOINT, NativeConnection, NativeEncoder, decode_native
from worker.hub.native.progress_merger import ProgressMerger
from worker.hub.native.signing import SigningEncoder
from worker.hub.tokens import Identity, RevocationsUnknown, TokenRejected, TokenService
from worker.hub.transports.connections import Connection, ConnectionRegistry
from worker.hub.transports.upgrade import invalid_upgrade, is_websocket_request
from worker.hub.transports.websocket import WebSocketServer

_MAX_ORIGINAL: Final = 2048


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How often clients are pinged, and when one that does not answer is dead. Seconds."""

    interval: float = 30.0
    timeout: float = 15.0
    """After the ping."""


@dataclass(frozen=True, slots=True)
class NativeOptions:
    """The settings of the endpoint."""

    auth_seconds: float
    """A connection that has not authenticated for this long is closed."""
    heartbeat: Heartbeat
    stack_trace_to_users: bool
    """Whether all users see `stackTrace`, or administrators alone."""
    signing_secret: bytes | None = None
    """For clients that ask for signed messages; None: there are none."""


class NativeEndpoint:
    """Serves native clients."""

    name: str = ENDPOINT

    def __init__(
        self,
        hub: Hub,
        tokens: TokenService,
        registry: ConnectionRegistry,
        websockets: WebSocketServer,
        options: NativeOptions,
        commands: ClientCommands,
    ) -> None:
        self._hub = hub
        self._tokens = tokens
        self._registry = registry
        self._websockets = websockets
        self._limiter = registry.limiter
        self._options = options
        self._commands = NativeCommands(hub, tokens, commands)
        self._connections: set[NativeConnection] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve a request to one of the two paths."""
        return await self._registry.readable_across_origins(request, self._respond)

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        response = self._registry.check(request, ENDPOINT)
        if response is not None:
            return response
        if is_websocket_request(request):
            rejection = invalid_upgrade(request)
        else:
            headers = {"Upgrade": "websocket", "Connection": "upgrade"}
            rejection = Rejection(426, 3, "This is a WebSocket", "not a WebSocket request", headers)
        if rejection is not None:
            return self._registry.reject(rejection, ENDPOINT, self._limiter.address(request))
        return await self._websockets.serve(request, self)

    def check_deadlines(self, now: float) -> None:
        """Close connections that don't authenticate, ping all, and close dead ones. `now` is monotonic."""
        for connection in tuple(self._connections):
            if connection.closing:
                continue
            if connection.client is None and now - connection.opened_at > self._options.auth_seconds:
                self._reject(connection, UNAUTHORIZED, "no auth in time")
            elif connection.is_dead(now, self._options.heartbeat.timeout):
                connection.transport.abort(ABNORMAL, "ping timeout")
            elif now >= connection.next_heartbeat_at:
                connection.next_heartbeat_at = now + self._options.heartbeat.interval
                connection.ping(now)
                if connection.client is not None and connection.client.wants("heartbeat"):
                    connection.send_message("heartbeat", {})

    def on_open(self, request: web.Request, connection: Connection) -> NativeConnection:
        native = NativeConnection(
            connection.address,
            connection.transport,
            connection.max_message_bytes,
            connection.last_received,
            connection.message_bucket,
            connection.control_bucket,
            id=secrets.token_urlsafe(15),
            clock=self._hub.clock,
            opened_at=connection.last_received,
            next_heartbeat_at=connection.last_received + self._options.heartbeat.interval,
            auth=auth_of_request(request) | {"signed": request.query.get("signed") == "true"},
            job_id=request.match_info.get("job_id"),
        )
        self._connections.add(native)
        if "token" in native.auth:
            try:
                self._authenticate(native, native.auth)
            except MalformedPacket as exc:
                self._reject_message(native, exc, b"")
        elif self._tokens.allow_anonymous:
            # At once: a page written for a hub without tokens waits for the welcome, and never sends `auth`.
            native.flat = True
            self._authenticate(native, {})
        return native

    def is_requested(self, _: NativeConnection, _data: bytes) -> bool:
        return False

    def on_message(self, connection: NativeConnection, data: bytes, *, binary: bool) -> None:
        client = connection.client
        if client is not None:
            client.received += 1
            self._hub.counters.messages_in += 1
        try:
            kind, content, flat = decode_native(data, binary=binary, is_known=client is not None)
            connection.flat = connection.flat or flat
            if client is None or (kind == "auth" and client.identity.is_anonymous):
                self._authenticate_first(connection, kind, content)
            elif kind in REPORTS or self._may_send(client):
                self._commands.execute(connection, client, kind, content)
            else:
                client.close(TOO_MANY_MESSAGES, "too many messages")
        except MalformedPacket as exc:
            self._reject_message(connection, exc, data)

    def on_pong(self, connection: NativeConnection) -> None:
        if connection.client is not None:
            connection.client.record_pong()

    def on_close(self, connection: NativeConnection, code: int, reason: str) -> None:
        self._connections.discard(connection)
        if connection.client is not None:
            self._hub.remove_client(connection.client, code, reason)

    def _authenticate_first(self, connection: NativeConnection, kind: str, data: Any) -> None:
        if kind != "auth":
            raise MalformedPacket("unauthorized: the first message must be auth")
        self._authenticate(connection, data if isinstance(data, dict) else {})

    def _authenticate(self, connection: NativeConnection, auth: dict[str, Any]) -> None:
        try:
            identity = self._tokens.admit(auth.get("token"))
        except RevocationsUnknown as exc:
            self._hub.emit_rejected(ENDPOINT, connection.address, str(exc))
            connection.close(INTERNAL_ERROR, INBOX_FAILED)
            return
        except TokenRejected as exc:
            connection.send_message("error", {"code": "unauthorized", "message": "unauthorized"})
            self._reject(connection, UNAUTHORIZED, str(exc))
            return
        # Before anything changes: it is not valid if it asks for more than this hub can do.
        encoder = self._encoder(identity, auth)
        if not self._hub.has_capacity_for(identity, self._limiter.limits):
            self._reject(connection, TOO_MANY_CONNECTIONS, "too many connections of this user")
            return
        if connection.client is not None:
            if identity.is_anonymous:
                connection.send_message("auth", {"ok": True})
                return
            # It came as an anonymous client, and now has a token.
            self._hub.remove_client(connection.client, NORMAL, "authenticated")
            connection.flat = False
        client = connection.client = self._client(connection, identity, encoder)
        if identity.may_publish:
            connection.allow_publishing(self._registry.message_limits.publisher)
        self._hub.add_client(client)
        if connection.job_id is None:
            resume_point = resume_point_of(auth)
            self._hub.start_replay(client, resume_point, lambda page: self._welcome(connection, identity, page))
            if identity.user is None:
                self._welcome(connection, identity, None)
        else:
            self._serve_one_job(connection, client, connection.job_id)

    def _encoder(self, identity: Identity, auth: dict[str, Any]) -> Encoder:
        """Return the client's encoder. MalformedPacket: it asks for signed messages, and there is no secret."""
        stack_trace = self._options.stack_trace_to_users or identity.is_admin
        plain = NativeEncoder(stack_trace, self._hub.clock, flat=identity.is_anonymous)
        if auth.get("signed") is not True:
            return plain
        if self._options.signing_secret is None:
            raise MalformedPacket("unsupported: this hub has no Hub:SigningSecret")
        return SigningEncoder(plain, self._options.signing_secret, self._hub.clock.now)

    def _client(self, connection: NativeConnection, identity: Identity, encoder: Encoder) -> Client:
        clock = self._hub.clock
        return Client(
            id=connection.id,
            identity=identity,
            endpoint=ENDPOINT,
            address=connection.address,
            connection=connection,
            encoder=encoder,
            # A WebSocket pong comes from the browser, not from the page: also from a page that hangs.
            send_ping=None,
            since=clock.now(),
            since_monotonic=clock.monotonic(),
            clock=clock,
            watches_one_job=connection.job_id is not None,
            progress_sender=ProgressMerger(connection),
        )

    def _welcome(self, connection: NativeConnection, identity: Identity, page: InboxPage | None) -> None:
        data: dict[str, Any] = {"clientId": connection.id, "userId": identity.user}
        if page is not None:
            data |= position_of(page)
        if identity.is_anonymous:
            data |= {"anonymous": True, "message": "connected"}
        connection.send_message("welcome", data)

    def _serve_one_job(self, connection: NativeConnection, client: Client, job_id: str) -> None:
        self._welcome(connection, client.identity, None)
        if self._hub.is_foreign_job(client, job_id):
            self._hub.reject_message(client, "another user's job")
            client.close(FORBIDDEN, "forbidden")
            return
        self._hub.emit_connected(client)
        latest = self._hub.watch_job(client, job_id)
        if latest is not None:
            client.connection.send(client.encoder.encode(latest, None))

    def _may_send(self, client: Client) -> bool:
        user = client.identity.user
        return client.identity.may_publish or user is None or self._limiter.take_user_message(user)

    def _reject_message(self, connection: NativeConnection, error: MalformedPacket, original: bytes) -> None:
        """Answer a message with an error; close the connection after several."""
        client, reason = connection.client, str(error)
        if client is not None:
            self._hub.reject_message(client, error.log_text)
        code = reason.partition(":")[0].replace(" ", "-")
        text = original[:_MAX_ORIGINAL].decode(errors="replace")
        answer = {"code": code, "message": reason, "original": text}
        if connection.flat:
            answer["original_message"] = text
        connection.send_message("error", answer)
        too_many = connection.is_rejected_too_often(self._limiter.limits.rejected_messages)
        if too_many and not (client and client.identity.may_publish):
            self._reject(connection, TOO_MANY_MESSAGES, "too many rejected messages")

    def _reject(self, connection: NativeConnection, code: int, reason: str) -> None:
        """Close a connection, and report it if it is not authenticated."""
        if connection.client is None:
            self._hub.emit_rejected(ENDPOINT, connection.address, reason)
        # Why a token was rejected is for the log alone.
        connection.close(code, "unauthorized" if code == UNAUTHORIZED else reason)
