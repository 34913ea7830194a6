"""The hub's protocol layers with an echo in place of the org-socket: for conformance tests.

Behaves as the server that the official Socket.IO protocol suite expects: namespaces `/` and `/custom`, an `auth` event
after connecting, `message` answered by `message-back`, `message-with-ack` by its arguments. At `/engine.io/` it is the
plain echo that the official Engine.IO suite expects.
By hand: `python -m tests.support.echo_hub PORT`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.support.eventually import eventually
from tests.support.web_server import serving
from worker.core.clock import Clock
from worker.hub.connection_limits import ConnectionLimiter, ConnectionLimits
from worker.hub.engineio.polling import PollingTransport
from worker.hub.engineio.server import EngineIoOptions, EngineIoServer
from worker.hub.engineio.session import EngineSession, SessionReceiver, Timing
from worker.hub.socketio.packets import Kind, Packet
from worker.hub.socketio.server import NamespaceSocket, SocketIoServer
from worker.hub.transports.connections import ConnectionRegistry, MessageLimits
from worker.hub.transports.transport import SendLimits
from worker.hub.transports.websocket import WebSocket, WebSocketServer

PATH = "/socket.io/"
ENGINE_PATH = "/engine.io/"
UNHURRIED = Timing(ping_interval=120.0, ping_timeout=120.0, authentication=120.0)
"""No ping and no deadline comes between the packets of a test, however slow the machine is."""
PINGING = Timing(ping_interval=0.1, ping_timeout=120.0, authentication=120.0)
OF_THE_OFFICIAL_SUITES = Timing(ping_interval=0.3, ping_timeout=0.2, authentication=1.0)


def encode_binary(kind: Kind, namespace: str, data: list[Any], ack_id: int | None = None) -> tuple[bytes, list[bytes]]:
    """A packet with bytes among its data: the message, then its attachments."""
    attachments: list[bytes] = []
    placeholders = _with_placeholders(data, attachments)
    prefix = b"%d%d-" % (kind, len(attachments))
    if namespace != "/":
        prefix += namespace.encode() + b","
    if ack_id is not None:
        prefix += b"%d" % ack_id
    return prefix + orjson.dumps(placeholders), attachments


def _with_placeholders(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, bytes):
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, list):
        return [_with_placeholders(item, attachments) for item in value]
    if isinstance(value, dict):
        return {key: _with_placeholders(item, attachments) for key, item in value.items()}
    return value


class EchoNamespace:
    """Answers events with their own arguments."""

    def connect(self, socket: NamespaceSocket, auth: Any) -> None:
        socket.accept()
        # In a later turn, as in the hub, which reads the inbox first: the official suite listens for one
        # message at a time and misses a second one that comes with the same read.
        asyncio.get_running_loop().call_later(0.02, socket.emit, "auth", auth or {})

    def event(self, socket: NamespaceSocket, packet: Packet) -> None:
        name, *arguments = packet.data
        binary = packet.kind is Kind.BINARY_EVENT
        if name == "message" and binary:
            _send_binary(socket, Kind.BINARY_EVENT, ["message-back", *arguments], None)
        elif name == "message":
            socket.emit("message-back", *arguments)
        elif name == "message-with-ack" and packet.id is not None and binary:
            _send_binary(socket, Kind.BINARY_ACK, arguments, packet.id)
        elif name == "message-with-ack" and packet.id is not None:
            socket.acknowledge(packet.id, orjson.dumps(arguments))

    def before_close(self, socket: NamespaceSocket, code: int, reason: str) -> None: ...

    def left(self, socket: NamespaceSocket, code: int, reason: str) -> None: ...

    def ping_sent(self, socket: NamespaceSocket) -> None: ...

    def pong_received(self, socket: NamespaceSocket) -> None: ...


def _send_binary(socket: NamespaceSocket, kind: Kind, data: list[Any], ack_id: int | None) -> None:
    message, attachments = encode_binary(kind, socket.namespace, data, ack_id)
    socket.session.send(message)
    for attachment in attachments:
        socket.session.send_binary(attachment)


@dataclass
class EngineEcho:
    """Engine.IO without Socket.IO above it: messages are sent back."""

    session: EngineSession

    def on_open(self, auth: dict[str, Any]) -> None: ...

    def on_message(self, message: bytes) -> None:
        self.session.send(message)

    def on_binary(self, data: bytes) -> None:
        self.session.send_binary(data)

    def on_ping_sent(self) -> None: ...

    def on_pong(self) -> None: ...

    def before_close(self, code: int, reason: str) -> None: ...

    def check_deadlines(self, now: float) -> None: ...

    def on_close(self, code: int, reason: str) -> None: ...


class UnhurriedWebSocketServer(WebSocketServer):
    """Lets the official suite of Engine.IO 3 notice the upgrade, or it misses a message that comes with it."""

    async def accept(self, request: web.Request) -> WebSocket | web.StreamResponse:
        websocket = await super().accept(request)
        await asyncio.sleep(0.02)
        return websocket


@dataclass
class EchoHub:
    """A running echo hub."""

    timing: Timing
    port: int = 0
    sessions: dict[str, EngineSession] = field(default_factory=dict)
    """All there ever were, by id."""
    endpoints: tuple[EngineIoServer, ...] = ()

    def check_heartbeats(self, *, ahead: float = 0.0) -> None:
        """Do what is due in so many seconds."""
        for endpoint in self.endpoints:
            endpoint.check_heartbeats(asyncio.get_running_loop().time() + ahead)

    async def poll_waits(self, session_id: str) -> None:
        """Wait until a GET of the session has arrived that has nothing to fetch yet."""
        transport = self.sessions[session_id].transport
        assert isinstance(transport, PollingTransport)
        await eventually(lambda: transport.is_polled)

    def _endpoint(
        self, new_receiver: Callable[[EngineSession], SessionReceiver], registry: ConnectionRegistry
    ) -> EngineIoServer:
        def receiver_of(session: EngineSession) -> SessionReceiver:
            self.sessions[session.id] = session
            return new_receiver(session)

        websockets = UnhurriedWebSocketServer(registry, SendLimits(close_timeout=0.2))
        return EngineIoServer(receiver_of, registry, websockets, EngineIoOptions(self.timing, allow_revision_3=True))


@asynccontextmanager
async def echo_hub(port: int = 0, timing: Timing = UNHURRIED) -> AsyncIterator[EchoHub]:
    hub = EchoHub(timing)
    registry = ConnectionRegistry(
        ConnectionLimiter(ConnectionLimits(), Clock().monotonic),
        on_rejected=lambda endpoint, address, reason: None,
        on_error=_raise,
        wait_for_capacity=_at_once,
        message_limits=MessageLimits(),
    )
    namespaces = {"/": EchoNamespace(), "/custom": EchoNamespace()}
    socket_io = SocketIoServer(namespaces, lambda address, reason: None, timing.authentication)
    hub.endpoints = (hub._endpoint(socket_io.new_receiver, registry), hub._endpoint(EngineEcho, registry))
    app = web.Application()
    for path, endpoint in zip((PATH, ENGINE_PATH), hub.endpoints, strict=True):
        app.router.add_route("*", path, endpoint.handle)
    async with serving(app, port) as hub.port:
        timer = asyncio.create_task(_check_heartbeats(hub))
        try:
            yield hub
        finally:
            timer.cancel()


async def _at_once() -> None: ...


def _raise(error: BaseException) -> None:
    raise error


async def _check_heartbeats(hub: EchoHub) -> None:
    while True:
        await asyncio.sleep(0.02)
        hub.check_heartbeats()


async def _serve() -> None:
    async with echo_hub(int(sys.argv[1]), OF_THE_OFFICIAL_SUITES):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
