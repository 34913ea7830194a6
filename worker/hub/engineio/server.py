"""The Engine.IO endpoint: validates requests, keeps the sessions, runs their heartbeats.

Sessions travel by WebSocket, or by HTTP long-polling until the client changes to WebSocket.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from worker.hub.connection_limits import Rejection
from worker.hub.engineio.codec import PayloadCodec3
from worker.hub.engineio.poll_requests import PollRequests
from worker.hub.engineio.session import EngineSession, SessionReceiver, Timing
from worker.hub.engineio.session3 import EngineSession3
from worker.hub.engineio.upgrade_probe import UpgradeProbe
from worker.hub.handshake import auth_of_request
from worker.hub.transports.connections import Connection, ConnectionRegistry, is_preflight
from worker.hub.transports.upgrade import invalid_upgrade, is_websocket_request
from worker.hub.transports.websocket import WebSocketServer

ENDPOINT: Final = "socket.io"
"""The endpoint's name in logs, events and statistics."""
_POLLING: Final = "polling"
_WEBSOCKET: Final = "websocket"


@dataclass(frozen=True, slots=True)
class EngineIoOptions:
    """The settings of the endpoint."""

    timing: Timing
    allow_revision_3: bool = False
    """Whether clients of Socket.IO 1 and 2 may connect."""


class EngineIoServer:
    """Serves Engine.IO sessions at one path."""

    name: str = ENDPOINT

    def __init__(
        self,
        new_receiver: Callable[[EngineSession], SessionReceiver],
        registry: ConnectionRegistry,
        websockets: WebSocketServer,
        options: EngineIoOptions,
    ) -> None:
        """`new_receiver` makes the protocol above for each new session."""
        self._new_receiver = new_receiver
        self._registry = registry
        self._websockets = websockets
        self._options = options
        self._sessions: dict[str, EngineSession] = {}
        self._polls = PollRequests(self, registry, websockets.send_limits)
        self._probe = UpgradeProbe(self, registry, websockets)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve a request: a WebSocket from upgrade to end, a polling request, or an error as Engine.IO words it."""
        return await self._registry.readable_across_origins(request, self._respond)

    def check_heartbeats(self, now: float) -> None:
        """Ping sessions, and close dead and overdue ones. `now` is monotonic; call it about every second."""
        for session in tuple(self._sessions.values()):
            if not session.closing:
                session.check_heartbeat(now)

    # -- the transports' listener ------------------------------------------------------------------------------------

    def on_open(self, request: web.Request, connection: Connection) -> EngineSession:
        session = self._new_session(request, connection)
        polling = connection.transport.name == _POLLING
        session.send_handshake(upgrades=[_WEBSOCKET] if polling else [])
        session.receiver.on_open(auth_of_request(request, token_in_query=session.revision == 3))
        return session

    def is_requested(self, connection: EngineSession, data: bytes) -> bool:
        return connection.is_requested(data)

    def on_message(self, connection: EngineSession, data: bytes, *, binary: bool) -> None:
        if binary:
            connection.on_binary(data)
        else:
            connection.on_packet(data)

    def on_pong(self, connection: EngineSession) -> None:
        connection.on_transport_pong()

    def on_close(self, connection: EngineSession, code: int, reason: str) -> None:
        self._sessions.pop(connection.id, None)
        connection.receiver.on_close(code, reason)

    # -- internals ---------------------------------------------------------------------------------------------------

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        sid = request.query.get("sid")
        session = None if sid is None else self._sessions.get(sid)
        response = self._registry.check(request, self.name, known=session is not None)
        if response is not None:
            return response
        if is_preflight(request):
            return web.Response(status=204)
        if session is not None and not session.closing:
            session.check_heartbeat(time.monotonic())
            session = self._sessions.get(session.id)
        rejection = self._invalid(request, session)
        if rejection is not None:
            return self._registry.reject(rejection, self.name, self._registry.limiter.address(request))
        if request.query["transport"] == _WEBSOCKET:
            if session is None:
                return await self._websockets.serve(request, self)
            return await self._probe.serve(request, session)
        if session is None:
            return await self._polls.open(request)
        return await self._polls.serve(request, session)

    def _new_session(self, request: web.Request, connection: Connection) -> EngineSession:
        revision_3 = request.query["EIO"] == "3"
        kind = EngineSession3 if revision_3 else EngineSession
        session = kind(
            connection.address,
            connection.transport,
            connection.max_message_bytes,
            connection.last_received,
            connection.message_bucket,
            connection.control_bucket,
            id=secrets.token_urlsafe(15),
            timing=self._options.timing,
            max_payload=self._registry.message_limits.publisher,
            next_ping_at=connection.last_received + self._options.timing.ping_interval,
        )
        if revision_3:
            session.payload_codec = PayloadCodec3(supports_binary="b64" not in request.query)
        session.receiver = self._new_receiver(session)
        self._sessions[session.id] = session
        return session

    def _invalid(self, request: web.Request, session: EngineSession | None) -> Rejection | None:
        """Return what is wrong with a request; None: nothing."""
        revision, transport = request.query.get("EIO"), request.query.get("transport")
        if revision == "3" and not self._options.allow_revision_3:
            return _bad_request(5, "Unsupported protocol version", "an Engine.IO 3 client: see Hub:AllowEio3")
        if revision not in ("3", "4"):
            return _bad_request(5, "Unsupported protocol version")
        if transport not in (_POLLING, _WEBSOCKET):
            return _bad_request(0, "Transport unknown")
        if session is None and "sid" in request.query:
            return _bad_request(1, "Session ID unknown")
        if transport == _WEBSOCKET:
            return _invalid_websocket(request)
        if session is None and request.method != "GET":
            return _bad_request(2, "Bad handshake method")
        if session is not None and (session.transport.name != _POLLING or request.method not in ("GET", "POST")):
            return _bad_request(3, "Bad request")
        return None


def _invalid_websocket(request: web.Request) -> Rejection | None:
    if request.method != "GET":
        return _bad_request(2, "Bad handshake method")
    if not is_websocket_request(request):
        return _bad_request(3, "Bad request")
    return invalid_upgrade(request)


def _bad_request(code: int, message: str, log_reason: str = "") -> Rejection:
    return Rejection(400, code, message, log_reason or message)
