"""The Socket.IO door: protocol 5 on Engine.IO 4, websocket transport only. Knows no user, no inbox.

What a namespace means is somebody else's (`Namespace`); here are sessions, packets, heartbeats and limits.
Frames are read strictly in order, without a task for each.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson
from aiohttp import WSMsgType, web

from worker.hub import packets
from worker.hub.packets import Kind, Malformed, Packet
from worker.hub.peer import ABNORMAL, NO_STATUS, Bounds, Outflow, Peer

MALFORMED: Final = 1002
TOO_BIG: Final = 1009
UNAUTHORIZED: Final = 4401
DOOR: Final = "socket.io"
_OPEN, _CLOSE, _PING, _PONG, _MESSAGE = b"0", b"1", b"2", b"3", b"4"
_FRAME_KINDS: Final = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    ping_interval: float = 25.0
    ping_timeout: float = 5.0
    """A peer is dead when nothing came from it for this long after a ping: 30 to 35 s in all."""
    handshake: float = 10.0
    """A socket that belongs to no namespace for this long is closed."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one frame from a client."""

    inbound: int = 64 * 1024
    """From whom we know nothing, or who may not publish."""
    publisher: int = 1_000_000
    """Announced to all as maxPayload, for the OPEN packet leaves before anybody says who he is."""


class Namespace(Protocol):
    """What a namespace does. Nothing here may block."""

    def connect(self, seat: "Seat", auth: Any) -> None:
        """Somebody wants in: call seat.accept() or seat.refuse(), now or later."""
        ...

    def event(self, seat: "Seat", packet: Packet) -> None:
        """An accepted client sent an event."""
        ...

    def left(self, seat: "Seat", code: int, reason: str) -> None:
        """An accepted client has gone."""
        ...


@dataclass(slots=True, eq=False)
class Seat:
    """A connection's place in one namespace."""

    id: str
    namespace: str
    connection: "Connection"
    accepted: bool = False
    owner: Any = None
    """Whatever the namespace keeps with it."""

    def accept(self) -> None:
        self.accepted = True
        self._send(Kind.CONNECT, {"sid": self.id})

    def refuse(self, message: str, data: Any = None) -> None:
        """The client's `connect_error` gets `message` as err.message and `data` as err.data."""
        self.connection.seats.pop(self.namespace, None)
        self.connection.seatless_since = time.monotonic()
        self._send(Kind.CONNECT_ERROR, {"message": message} if data is None else {"message": message, "data": data})

    def emit(self, event: str, *args: Any) -> None:
        self._send(Kind.EVENT, [event, *args])

    def acknowledge(self, ack: int, encoded: bytes) -> None:
        """Answer an event; `encoded` is the JSON array of the answer's arguments."""
        self.connection.peer.send(packets.encode(Kind.ACK, self.namespace, encoded, ack))

    def _send(self, kind: Kind, data: Any) -> None:
        self.connection.peer.send(packets.encode(kind, self.namespace, orjson.dumps(data)))


@dataclass(slots=True, eq=False)
class Connection:
    """One Engine.IO session. Times are monotonic."""

    id: str
    address: str
    peer: Peer
    limit: int
    seen: float
    """When anything last came from it."""
    next_ping: float
    seatless_since: float
    pinged: float | None = None
    """When it was pinged without having been heard of since."""
    received: int = 0
    seats: dict[str, Seat] = field(default_factory=dict)
    partial: Packet | None = None
    attachments: list[bytes] = field(default_factory=list)


class SocketIoDoor:
    """Takes the connections of one path."""

    def __init__(
        self,
        namespaces: Mapping[str, Namespace],
        *,
        refused: Callable[[str, str, str], None],
        pause: Callable[[], Awaitable[None]],
        timing: Timing,
        sizes: Sizes,
        bounds: Bounds,
    ) -> None:
        """`refused` hears of (door, address, reason); `pause` is awaited before each read."""
        self._namespaces = namespaces
        self._refused = refused
        self._pause = pause
        self._timing = timing
        self._sizes = sizes
        self._bounds = bounds
        self._outflow: Outflow | None = None
        self.open = True
        self.connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler: one websocket from upgrade to end, or an HTTP error as engine.io words it."""
        refusal = self._refusal(request)
        if refusal is not None:
            self._refused(DOOR, request.remote or "", refusal[2])
            return _http_error(*refusal)
        socket = web.WebSocketResponse(
            timeout=1.0,
            autoclose=False,
            compress=False,
            max_msg_size=self._sizes.publisher + 1,
            decode_text=False,
        )
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        connection = self._opened(request, socket, transport)
        code, reason = ABNORMAL, "transport lost"
        try:
            code, reason = await self._converse(connection)
        finally:
            self._ended(connection, code, reason)
        return socket

    async def emptied(self, seconds: float) -> bool:
        """Wait until nobody is connected, `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        return not self.connections

    def beat(self, now: float) -> None:
        """Ping who is due, cut off the dead and the silent. `now` is monotonic; call it about every second."""
        for connection in tuple(self.connections):
            if connection.peer.closing:
                continue
            self._beat(connection, now)

    def _beat(self, connection: Connection, now: float) -> None:
        if connection.pinged is not None and now - connection.pinged > self._timing.ping_timeout:
            # Nobody is there to answer a close frame.
            connection.peer.close(ABNORMAL, "ping timeout")
            connection.peer.abort()
        elif not connection.seats and now - connection.seatless_since > self._timing.handshake:
            self._refused(DOOR, connection.address, "no CONNECT in time")
            connection.peer.close(UNAUTHORIZED, "no CONNECT in time")
        elif now >= connection.next_ping:
            connection.next_ping = now + self._timing.ping_interval
            if connection.pinged is None:
                connection.pinged = now
            connection.peer.send(_PING)

    def _refusal(self, request: web.Request) -> tuple[int, int, str] | None:
        """HTTP status, engine.io's error code and text; None: welcome."""
        query = request.query
        if not self.open:
            return 503, 3, "The hub is stopping"
        if query.get("EIO") != "4":
            return 400, 5, "Unsupported protocol version"
        if query.get("transport") != "websocket":
            return 400, 0, "Transport unknown"
        if "sid" in query:
            return 400, 1, "Session ID unknown"
        if request.method != "GET":
            return 400, 2, "Bad handshake method"
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return 400, 3, "Bad request"
        return None

    def _opened(
        self, request: web.Request, socket: "web.WebSocketResponse[bool]", transport: asyncio.Transport
    ) -> Connection:
        if self._outflow is None:
            self._outflow = Outflow(asyncio.get_running_loop())
        now = time.monotonic()
        connection = Connection(
            id=secrets.token_urlsafe(15),
            address=request.remote or "",
            peer=Peer(socket, transport, self._outflow, self._bounds),
            limit=self._sizes.inbound,
            seen=now,
            next_ping=now + self._timing.ping_interval,
            seatless_since=now,
        )
        self.connections.add(connection)
        self._empty.clear()
        connection.peer.send(_OPEN + orjson.dumps(self._handshake(connection)))
        return connection

    def _handshake(self, connection: Connection) -> dict[str, Any]:
        return {
            "sid": connection.id,
            "upgrades": [],
            "pingInterval": round(self._timing.ping_interval * 1000),
            "pingTimeout": round(self._timing.ping_timeout * 1000),
            "maxPayload": self._sizes.publisher,
        }

    async def _converse(self, connection: Connection) -> tuple[int, str]:
        """Read until the end; the close code and who closed."""
        socket, peer = connection.peer.socket, connection.peer
        while True:
            message = await socket.receive()
            if message.type not in _FRAME_KINDS:
                return await _farewell(connection, message)
            if peer.closing:
                continue
            connection.received += 1
            try:
                self._heard(connection, message)
            except Malformed as exc:
                self._refused(DOOR, connection.address, str(exc))
                peer.close(MALFORMED, "parse error")
            await self._pause()

    def _heard(self, connection: Connection, message: Any) -> None:
        data: bytes = message.data
        connection.seen = time.monotonic()
        connection.pinged = None
        if len(data) > connection.limit:
            self._refused(DOOR, connection.address, f"a frame of {len(data)} bytes")
            connection.peer.close(TOO_BIG, "too big")
        elif message.type is WSMsgType.BINARY:
            self._attachment(connection, data)
        elif data[:1] == _MESSAGE:
            self._packet(connection, packets.decode(data[1:]))
        elif data[:1] == _CLOSE:
            connection.peer.close(1000, "closed by the client")
        elif data != _PONG:
            raise Malformed("no Engine.IO packet a client sends")

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
            self._namespaces[packet.namespace].event(seat, packet)
        elif packet.kind is Kind.DISCONNECT:
            del connection.seats[packet.namespace]
            connection.seatless_since = time.monotonic()
            self._namespaces[packet.namespace].left(seat, 1000, "client namespace disconnect")

    def _connect(self, connection: Connection, packet: Packet) -> None:
        if packet.namespace in connection.seats:
            raise Malformed("already connected to the namespace")
        seat = Seat(secrets.token_urlsafe(15), packet.namespace, connection)
        namespace = self._namespaces.get(packet.namespace)
        if namespace is None:
            self._refused(DOOR, connection.address, "unknown namespace")
            seat.refuse("Invalid namespace")
            return
        connection.seats[packet.namespace] = seat
        namespace.connect(seat, packet.data)

    def _ended(self, connection: Connection, code: int, reason: str) -> None:
        self.connections.discard(connection)
        peer = connection.peer
        if peer.close_code is not None:
            code, reason = peer.close_code, peer.close_reason
        peer.hang_up()
        for seat in tuple(connection.seats.values()):
            if seat.accepted:
                self._namespaces[seat.namespace].left(seat, code, reason)
        connection.seats.clear()
        if not self.connections:
            self._empty.set()


async def _farewell(connection: Connection, message: Any) -> tuple[int, str]:
    """How the conversation ended, after answering the peer's close frame."""
    peer = connection.peer
    if message.type is WSMsgType.CLOSE:
        code = message.data or NO_STATUS
        if not peer.closing:
            peer.flush()
            await peer.socket.close(code=1000 if code == NO_STATUS else code)
        return code, "closed by the client"
    failure = peer.socket.exception() or message.data
    if peer.socket.close_code == TOO_BIG:
        return TOO_BIG, "too big"
    return ABNORMAL, "transport lost" if failure is None else f"transport lost: {type(failure).__name__}"


def _http_error(status: int, code: int, text: str) -> web.Response:
    response = web.json_response({"code": code, "message": text}, status=status)
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response
