"""Socket.IO 5 on an Engine.IO session: packets, attachments and namespaces. Knows no user, no inbox, no transport.

What a namespace does is up to its implementation (`Namespace`).
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import orjson

from worker.hub.close_codes import NORMAL, TOO_MANY_MESSAGES, UNAUTHORIZED
from worker.hub.engineio.session import EngineSession
from worker.hub.errors import MalformedPacket
from worker.hub.handshake import auth_of_query
from worker.hub.socketio import packets
from worker.hub.socketio.packets import Kind, Packet

_MAX_REJECTED_CONNECTS: Final = 5
"""Rejected CONNECT packets after which a session is closed."""


class Namespace(Protocol):
    """What a namespace does. No method may block."""

    def connect(self, socket: "NamespaceSocket", auth: Any) -> None:
        """A client wants to join: call socket.accept() or socket.reject(), now or later."""
        ...

    def event(self, socket: "NamespaceSocket", packet: Packet) -> None:
        """An accepted client sent an event."""
        ...

    def before_close(self, socket: "NamespaceSocket", code: int, reason: str) -> None:
        """The hub is about to close an accepted client's session: send the client the reason."""
        ...

    def left(self, socket: "NamespaceSocket", code: int, reason: str, /) -> None:
        """An accepted client left, or its session ended."""
        ...

    def ping_sent(self, socket: "NamespaceSocket") -> None:
        """The client was pinged, after everything that was sent to it so far."""
        ...

    def pong_received(self, socket: "NamespaceSocket") -> None:
        """The client answered the oldest ping, so it has read everything that was sent before that ping."""
        ...


@dataclass(slots=True, eq=False)
class NamespaceSocket:
    """One client's place in one namespace."""

    id: str
    namespace: str
    session: EngineSession
    receiver: "SocketIoReceiver"
    handler: Namespace
    accepted: bool = False
    owner: Any = None
    """Whatever the namespace keeps with the socket."""
    pending_pings: deque[int] = field(default_factory=deque)
    """What the namespace noted about each unanswered ping; answers come in the same order."""

    def accept(self) -> None:
        """Let the client join."""
        self.accepted = True
        self.receiver.confirm(self)
        # Sent on its own: some clients listen for the next message only once they have handled this one.
        self.session.transport.flush()

    def reject(self, message: str, data: Any = None) -> None:
        """Refuse the client; its `connect_error` gets `message` as err.message and `data` as err.data."""
        error = {"message": message} if data is None else {"message": message, "data": data}
        self.receiver.reject(self.namespace, error)

    def emit(self, event: str, *args: Any) -> None:
        """Send an event."""
        self._send(Kind.EVENT, [event, *args])

    def acknowledge(self, ack_id: int, encoded: bytes) -> None:
        """Answer an event; `encoded` is the JSON array of the answer's arguments."""
        self.session.send(packets.encode(Kind.ACK, self.namespace, encoded, ack_id))

    def _send(self, kind: Kind, data: Any) -> None:
        self.session.send(packets.encode(kind, self.namespace, orjson.dumps(data)))


@dataclass(frozen=True, slots=True)
class SocketIoServer:
    """The namespaces of one endpoint, and its rules for sessions."""

    namespaces: Mapping[str, Namespace]
    on_rejected: Callable[[str, str], None]
    """Called with (address, reason)."""
    connect_seconds: float
    """A session that is in no namespace for this long is closed."""

    def new_receiver(self, session: EngineSession) -> "SocketIoReceiver":
        """Start Socket.IO on a session."""
        kind = SocketIoReceiver4 if session.revision == 3 else SocketIoReceiver
        return kind(self, session, session.last_received)


@dataclass(slots=True, eq=False)
class SocketIoReceiver:
    """The Socket.IO side of one session."""

    server: SocketIoServer
    session: EngineSession
    without_namespace_since: float
    """Monotonic; counts while `sockets` is empty."""
    sockets: dict[str, NamespaceSocket] = field(default_factory=dict)
    """By namespace."""
    _incomplete: Packet | None = None
    """A packet whose attachments have not all arrived."""
    _attachments: list[bytes] = field(default_factory=list)

    def on_open(self, auth: dict[str, Any]) -> None: ...

    def confirm(self, socket: NamespaceSocket) -> None:
        """Answer a CONNECT that was accepted."""
        self.session.send(packets.encode(Kind.CONNECT, socket.namespace, orjson.dumps({"sid": socket.id})))

    def reject(self, namespace: str, error: dict[str, Any]) -> None:
        """Refuse a CONNECT; close the session after several."""
        self.sockets.pop(namespace, None)
        self._send_error(namespace, error)
        if self.session.is_rejected_too_often(_MAX_REJECTED_CONNECTS):
            self.session.close(TOO_MANY_MESSAGES, "too many attempts")

    def on_message(self, message: bytes) -> None:
        packet = packets.decode(message, self._is_known)
        if self._incomplete is not None:
            raise MalformedPacket("a packet between another packet's attachments")
        if packet.attachments:
            self._incomplete = packet
        else:
            self._dispatch(packet)

    def _is_known(self) -> bool:
        return any(socket.accepted for socket in self.sockets.values())

    def on_binary(self, data: bytes) -> None:
        packet = self._incomplete
        if packet is None:
            raise MalformedPacket("an attachment without a packet")
        self._attachments.append(data)
        if sum(map(len, self._attachments)) > self.session.max_message_bytes:
            raise MalformedPacket("the attachments are too big")
        if len(self._attachments) < packet.attachments:
            return
        data_with_attachments = packets.reconstruct(packet.data, self._attachments)
        self._incomplete, self._attachments = None, []
        self._dispatch(Packet(packet.kind, packet.namespace, packet.id, data_with_attachments))

    def on_ping_sent(self) -> None:
        for socket in self.sockets.values():
            if socket.accepted:
                socket.handler.ping_sent(socket)

    def on_pong(self) -> None:
        for socket in self.sockets.values():
            if socket.accepted:
                socket.handler.pong_received(socket)

    def before_close(self, code: int, reason: str) -> None:
        for socket in self.sockets.values():
            if socket.accepted:
                socket.handler.before_close(socket, code, reason)

    def check_deadlines(self, now: float) -> None:
        if not self.sockets and now - self.without_namespace_since > self.server.connect_seconds:
            self.server.on_rejected(self.session.address, "no CONNECT in time")
            self.session.close(UNAUTHORIZED, "no CONNECT in time")

    def on_close(self, code: int, reason: str) -> None:
        for socket in tuple(self.sockets.values()):
            if socket.accepted:
                socket.handler.left(socket, code, reason)
        self.sockets.clear()

    def _send_error(self, namespace: str, error: dict[str, Any]) -> None:
        self.session.send(packets.encode(Kind.CONNECT_ERROR, namespace, orjson.dumps(error)))

    def _dispatch(self, packet: Packet) -> None:
        if packet.kind is Kind.CONNECT:
            self._connect(packet)
            return
        socket = self.sockets.get(packet.namespace)
        if socket is None or not socket.accepted:
            raise MalformedPacket("not connected to the namespace")
        if packet.kind in (Kind.EVENT, Kind.BINARY_EVENT):
            socket.handler.event(socket, packet)
        elif packet.kind is Kind.DISCONNECT:
            del self.sockets[packet.namespace]
            self.without_namespace_since = time.monotonic()
            socket.handler.left(socket, NORMAL, "client namespace disconnect")

    def _connect(self, packet: Packet) -> None:
        if packet.namespace in self.sockets:
            raise MalformedPacket("already connected to the namespace")
        self._join(packet.namespace, packet.data)

    def _join(self, namespace: str, auth: Any) -> None:
        handler = self.server.namespaces.get(namespace)
        if handler is None:
            self.server.on_rejected(self.session.address, "unknown namespace")
            self.reject(namespace, {"message": "Invalid namespace"})
            return
        socket = NamespaceSocket(secrets.token_urlsafe(15), namespace, self.session, self, handler)
        self.sockets[namespace] = socket
        handler.connect(socket, auth)


@dataclass(slots=True, eq=False)
class SocketIoReceiver4(SocketIoReceiver):
    """The Socket.IO side of a session of Socket.IO 1 or 2, whose protocol has the number 4.

    The client is in the namespace `/` without asking, CONNECT has no data, and a rejection is a text.
    """

    auth: dict[str, Any] = field(default_factory=dict)
    """What the client sent with its request, in place of data in CONNECT. The query of a namespace goes before it."""

    def on_open(self, auth: dict[str, Any]) -> None:
        self.auth = auth
        self._join("/", auth)

    def confirm(self, socket: NamespaceSocket) -> None:
        self.session.send(packets.encode(Kind.CONNECT, socket.namespace))

    def _send_error(self, namespace: str, error: dict[str, Any]) -> None:
        self.session.send(packets.encode(Kind.CONNECT_ERROR, namespace, orjson.dumps(error["message"])))

    def _connect(self, packet: Packet) -> None:
        namespace, _, query = packet.namespace.partition("?")
        if namespace not in self.sockets:
            self._join(namespace, self.auth | auth_of_query(dict(parse_qsl(query)), with_token=True))
