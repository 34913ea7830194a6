"""The Socket.IO door: protocol 5 on Engine.IO 4, websocket transport only. Knows no user, no inbox.

What a namespace means is somebody else's (`Namespace`); here are sessions, packets and heartbeats.
"""

import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson
from aiohttp import web

from worker.hub import packets
from worker.hub.acceptor import TOO_FAST, UNAUTHORIZED, Acceptor, Line
from worker.hub.guard import Refusal
from worker.hub.packets import Kind, Malformed, Packet
from worker.hub.peer import ABNORMAL

DOOR: Final = "socket.io"
_OPEN, _CLOSE, _PING, _PONG, _MESSAGE = b"0", b"1", b"2", b"3", b"4"
_ATTEMPTS: Final = 5
"""CONNECTs that may be refused on one connection."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    ping_interval: float = 25.0
    ping_timeout: float = 5.0
    """A peer is dead when nothing came from it for this long after a ping: 30 to 35 s in all."""
    handshake: float = 10.0
    """A socket that has not said who it is for this long is closed."""


class Namespace(Protocol):
    """What a namespace does. Nothing here may block."""

    def connect(self, seat: "Seat", auth: Any) -> None:
        """Somebody wants in: call seat.accept() or seat.refuse(), now or later."""
        ...

    def event(self, seat: "Seat", packet: Packet) -> None:
        """An accepted client sent an event."""
        ...

    def left(self, seat: "Seat", code: int, reason: str, /) -> None:
        """An accepted client has gone."""
        ...

    def pinged(self, seat: "Seat") -> None:
        """The client was pinged after all it was sent so far."""
        ...

    def ponged(self, seat: "Seat") -> None:
        """It has answered the oldest of the pings, so it has read what came before that."""
        ...


@dataclass(slots=True, eq=False)
class Seat:
    """A connection's place in one namespace."""

    id: str
    namespace: str
    connection: "Connection"
    handler: Namespace
    accepted: bool = False
    owner: Any = None
    """Whatever the namespace keeps with it."""
    pings: deque[int] = field(default_factory=deque)
    """For each unanswered ping what the namespace noted about it; answers come in the same order."""

    def accept(self) -> None:
        self.accepted = True
        self._send(Kind.CONNECT, {"sid": self.id})
        # On its own, for clients that listen for the next message only once they have handled this one.
        self.connection.peer.flush()

    def refuse(self, message: str, data: Any = None) -> None:
        """The client's `connect_error` gets `message` as err.message and `data` as err.data."""
        self.connection.seats.pop(self.namespace, None)
        self.connection.refuse(
            self.namespace, {"message": message} if data is None else {"message": message, "data": data}
        )

    def emit(self, event: str, *args: Any) -> None:
        self._send(Kind.EVENT, [event, *args])

    def emit_binary(self, event: str, *args: Any) -> None:
        """As emit(), with bytes among the arguments."""
        self._send_binary(Kind.BINARY_EVENT, [event, *args], None)

    def acknowledge(self, ack: int, encoded: bytes) -> None:
        """Answer an event; `encoded` is the JSON array of the answer's arguments."""
        self.connection.peer.send(packets.encode(Kind.ACK, self.namespace, encoded, ack))

    def acknowledge_binary(self, ack: int, args: list[Any]) -> None:
        self._send_binary(Kind.BINARY_ACK, args, ack)

    def _send(self, kind: Kind, data: Any) -> None:
        self.connection.peer.send(packets.encode(kind, self.namespace, orjson.dumps(data)))

    def _send_binary(self, kind: Kind, data: list[Any], ack: int | None) -> None:
        message, attachments = packets.encode_binary(kind, self.namespace, data, ack)
        self.connection.peer.send(message)
        for attachment in attachments:
            self.connection.peer.send_binary(attachment)


@dataclass(slots=True, eq=False)
class Connection(Line):
    """One Engine.IO session."""

    id: str = ""
    next_ping: float = 0.0
    pinged: float | None = None
    """When it was pinged without having been heard of since."""
    seatless_since: float = 0.0
    seats: dict[str, Seat] = field(default_factory=dict)
    partial: Packet | None = None
    attachments: list[bytes] = field(default_factory=list)

    def refuse(self, namespace: str, error: Any) -> None:
        self.strikes += 1
        self.peer.send(packets.encode(Kind.CONNECT_ERROR, namespace, orjson.dumps(error)))
        if self.strikes >= _ATTEMPTS:
            self.peer.close(TOO_FAST, "too many attempts")

    def ping(self, now: float) -> None:
        """Ask for a sign of life. What was sent before the ping is read before it is answered."""
        if self.pinged is None:
            self.pinged = now
        self.peer.send(_PING)
        for seat in self.seats.values():
            if seat.accepted:
                seat.handler.pinged(seat)


class SocketIoDoor:
    """Speaks Engine.IO and Socket.IO to whoever comes to its path."""

    name: str = DOOR
    heartbeat: float | None = None

    def __init__(self, namespaces: Mapping[str, Namespace], acceptor: Acceptor, timing: Timing) -> None:
        self._namespaces = namespaces
        self._acceptor = acceptor
        self._timing = timing
        self._connections: set[Connection] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler: a websocket from upgrade to end, or an HTTP error as engine.io words it."""
        refused = self._acceptor.refusal(request, DOOR)
        if refused is not None:
            return refused
        wrong = _wrong(request)
        if wrong is not None:
            return self._acceptor.turn_away(wrong, DOOR, self._acceptor.guard.address(request))
        return await self._acceptor.converse(request, self)

    def beat(self, now: float) -> None:
        """Ping who is due, cut off the dead and the silent. `now` is monotonic; call it about every second."""
        for connection in tuple(self._connections):
            if not connection.peer.closing:
                self._beat(connection, now)

    def opened(self, _: web.Request, line: Line) -> Connection:
        connection = Connection(
            line.address,
            line.peer,
            line.limit,
            line.seen,
            line.bucket,
            id=secrets.token_urlsafe(15),
            next_ping=line.seen + self._timing.ping_interval,
            seatless_since=line.seen,
        )
        self._connections.add(connection)
        connection.peer.send(_OPEN + orjson.dumps(self._handshake(connection)))
        return connection

    def heard(self, line: Connection, data: bytes, *, binary: bool) -> None:
        line.pinged = None
        if binary:
            self._attachment(line, data)
        elif data[:1] == _MESSAGE:
            self._packet(line, packets.decode(data[1:]))
        elif data == _PONG:
            for seat in line.seats.values():
                if seat.accepted:
                    seat.handler.ponged(seat)
        elif data[:1] == _CLOSE:
            line.peer.close(1000, "closed by the client")
        else:
            raise Malformed("no Engine.IO packet a client sends")

    def ponged(self, line: Connection, _: bytes) -> None:
        line.pinged = None

    def ended(self, line: Connection, code: int, reason: str) -> None:
        self._connections.discard(line)
        for seat in tuple(line.seats.values()):
            if seat.accepted:
                seat.handler.left(seat, code, reason)
        line.seats.clear()

    def _handshake(self, connection: Connection) -> dict[str, Any]:
        return {
            "sid": connection.id,
            "upgrades": [],
            "pingInterval": round(self._timing.ping_interval * 1000),
            "pingTimeout": round(self._timing.ping_timeout * 1000),
            # The publisher's, for this packet leaves before anybody says who he is.
            "maxPayload": self._acceptor.sizes.publisher,
        }

    def _beat(self, connection: Connection, now: float) -> None:
        if connection.pinged is not None and now - connection.pinged > self._timing.ping_timeout:
            # Nobody is there to answer a close frame.
            connection.peer.lose(ABNORMAL, "ping timeout")
        elif not connection.seats and now - connection.seatless_since > self._timing.handshake:
            self._acceptor.refused(DOOR, connection.address, "no CONNECT in time")
            connection.peer.close(UNAUTHORIZED, "no CONNECT in time")
        elif now >= connection.next_ping:
            connection.next_ping = now + self._timing.ping_interval
            connection.ping(now)

    def _packet(self, connection: Connection, packet: Packet) -> None:
        if connection.partial is not None:
            raise Malformed("a packet amid another's attachments")
        if packet.attachments:
            connection.partial = packet
        else:
            self._dispatch(connection, packet)

    def _attachment(self, connection: Connection, data: bytes) -> None:
        packet = connection.partial
        if packet is None:
            raise Malformed("an attachment of nothing")
        connection.attachments.append(data)
        if sum(map(len, connection.attachments)) > connection.limit:
            raise Malformed("attachments too big")
        if len(connection.attachments) < packet.attachments:
            return
        whole = packets.reconstruct(packet.data, connection.attachments)
        connection.partial, connection.attachments = None, []
        self._dispatch(connection, Packet(packet.kind, packet.namespace, packet.id, whole))

    def _dispatch(self, connection: Connection, packet: Packet) -> None:
        if packet.kind is Kind.CONNECT:
            self._connect(connection, packet)
            return
        seat = connection.seats.get(packet.namespace)
        if seat is None or not seat.accepted:
            raise Malformed("not connected to the namespace")
        if packet.kind in (Kind.EVENT, Kind.BINARY_EVENT):
            seat.handler.event(seat, packet)
        elif packet.kind is Kind.DISCONNECT:
            del connection.seats[packet.namespace]
            connection.seatless_since = time.monotonic()
            seat.handler.left(seat, 1000, "client namespace disconnect")

    def _connect(self, connection: Connection, packet: Packet) -> None:
        if packet.namespace in connection.seats:
            raise Malformed("already connected to the namespace")
        handler = self._namespaces.get(packet.namespace)
        if handler is None:
            self._acceptor.refused(DOOR, connection.address, "unknown namespace")
            connection.refuse(packet.namespace, {"message": "Invalid namespace"})
            return
        seat = Seat(secrets.token_urlsafe(15), packet.namespace, connection, handler)
        connection.seats[packet.namespace] = seat
        handler.connect(seat, packet.data)


def _wrong(request: web.Request) -> Refusal | None:
    """What is wrong with the request by the protocol."""
    query = request.query
    if query.get("EIO") != "4":
        return _bad(5, "Unsupported protocol version")
    if query.get("transport") != "websocket":
        return _bad(0, "Transport unknown")
    if "sid" in query:
        return _bad(1, "Session ID unknown")
    if request.method != "GET":
        return _bad(2, "Bad handshake method")
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return _bad(3, "Bad request")
    return None


def _bad(code: int, text: str) -> Refusal:
    return Refusal(400, code, text, text)
