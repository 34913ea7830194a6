"""Takes the WebSockets of all doors: guard, upgrade, reading in order, farewell. Knows no message.

Frames are read one after the other without a task for each, and no faster than the inbox writes.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from aiohttp import WSMsgType, web

from worker.hub.frames import pong_frame
from worker.hub.guard import Bucket, Guard, Refusal
from worker.hub.packets import Malformed
from worker.hub.peer import ABNORMAL, NO_STATUS, Bounds, Outflow, Peer

MALFORMED: Final = 1002
TOO_BIG: Final = 1009
INTERNAL: Final = 1011
UNAUTHORIZED: Final = 4401
TOO_FAST: Final = 4429
_FRAMES: Final = frozenset({WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG})


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one frame from a client."""

    inbound: int = 64 * 1024
    """From whom we know nothing, or who may not publish."""
    publisher: int = 1_000_000


@dataclass(slots=True, eq=False)
class Line:
    """One connection, as every door sees it. Times are monotonic."""

    address: str
    peer: Peer
    limit: int
    """Bytes of a frame it may send."""
    seen: float
    """When anything last came from it."""
    bucket: Bucket | None
    """None: it may publish, and is slowed by the inbox instead."""
    strikes: int = 0


AnyLine = TypeVar("AnyLine", bound=Line)


class Listener(Protocol[AnyLine]):
    """A door, as far as it hears."""

    name: str
    heartbeat: float | None
    """Seconds between WebSocket pings; None: the door pings by its own protocol."""

    def opened(self, request: web.Request, line: Line, /) -> AnyLine: ...

    def heard(self, line: AnyLine, data: bytes, *, binary: bool) -> None:
        """A whole message. Malformed ends the connection with 1002."""
        ...

    def ponged(self, line: AnyLine, payload: bytes) -> None:
        """A WebSocket pong, with the payload of the ping it answers."""
        ...

    def ended(self, line: AnyLine, code: int, reason: str) -> None: ...


class Acceptor:
    """All connections of the hub."""

    def __init__(
        self,
        guard: Guard,
        *,
        refused: Callable[[str, str, str], None],
        failed: Callable[[BaseException], None],
        pause: Callable[[], Awaitable[None]],
        sizes: Sizes,
        bounds: Bounds,
    ) -> None:
        """`refused` hears of (door, address, reason), `failed` of faults of ours; `pause` is awaited after each
        message."""
        self.open = True
        self.sizes = sizes
        self.lines: set[Line] = set()
        self.guard = guard
        self.refused = refused
        self._failed = failed
        self._pause = pause
        self._bounds = bounds
        self._outflow: Outflow | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def refusal(self, request: web.Request, door: str) -> web.Response | None:
        """The answer to one who is not let in; None: welcome."""
        address = self.guard.address(request)
        if not self.open:
            refusal: Refusal | None = Refusal(503, 3, "The hub is stopping", "the hub is stopping")
        elif (request.content_length or 0) > self.sizes.publisher:
            refusal = Refusal(413, 3, "Payload too large", "a body that is too large")
        else:
            refusal = self.guard.refusal(request, address)
        return None if refusal is None else self.turn_away(refusal, door, address)

    def turn_away(self, refusal: Refusal, door: str, address: str) -> web.Response:
        """The refusal as engine.io words it, and a word for the log."""
        self.refused(door, address, refusal.log)
        response = web.json_response({"code": refusal.code, "message": refusal.text}, status=refusal.status)
        if refusal.status in (429, 503):
            response.headers["Retry-After"] = "5"
        return response

    async def converse(
        self, request: web.Request, door: Listener[AnyLine], protocols: tuple[str, ...] = ()
    ) -> web.StreamResponse:
        """One WebSocket from its upgrade to its end."""
        socket = web.WebSocketResponse(
            timeout=1.0,
            autoclose=False,
            autoping=False,
            compress=False,
            heartbeat=door.heartbeat,
            protocols=protocols,
            max_msg_size=self.sizes.publisher + 1,
            decode_text=False,
        )
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        line = door.opened(request, self._line(request, socket, transport))
        self.lines.add(line)
        self.guard.entered(line.address)
        self._empty.clear()
        code, reason = ABNORMAL, "transport lost"
        try:
            code, reason = await self._read(line, door)
        finally:
            self._ended(line, door, code, reason)
        return socket

    async def emptied(self, seconds: float) -> None:
        """Wait until nobody is connected, `seconds` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    def sweep(self) -> None:
        """Drop connections whose end nobody noticed, and forget idle buckets. A net under the rest."""
        for line in self.lines:
            if line.peer.transport.is_closing():
                line.peer.abort()
        self.guard.sweep()

    def _line(self, request: web.Request, socket: "web.WebSocketResponse[bool]", transport: asyncio.Transport) -> Line:
        if self._outflow is None:
            self._outflow = Outflow(asyncio.get_running_loop())
        return Line(
            address=self.guard.address(request),
            peer=Peer(socket, transport, self._outflow, self._bounds),
            limit=self.sizes.inbound,
            seen=time.monotonic(),
            bucket=self.guard.bucket(),
        )

    async def _read(self, line: AnyLine, door: Listener[AnyLine]) -> tuple[int, str]:
        """Read until the end; the close code and who closed."""
        socket, peer = line.peer.socket, line.peer
        while True:
            message = await socket.receive()
            if message.type not in _FRAMES:
                return await _farewell(peer, message)
            if peer.closing:
                continue
            line.seen = time.monotonic()
            try:
                self._take(line, door, message)
            except Malformed as exc:
                self.refused(door.name, line.address, str(exc))
                peer.close(MALFORMED, "parse error")
            except Exception as exc:  # noqa: BLE001 -- one client's message must not end with a traceback for all
                self._failed(exc)
                peer.close(INTERNAL, "internal error")
            await self._pause()

    def _take(self, line: AnyLine, door: Listener[AnyLine], message: Any) -> None:
        if message.type is WSMsgType.PING:
            line.peer.write(pong_frame(message.data))
        elif message.type is WSMsgType.PONG:
            door.ponged(line, bytes(message.data))
        else:
            self._heard(line, door, message)

    def _heard(self, line: AnyLine, door: Listener[AnyLine], message: Any) -> None:
        data: bytes = message.data
        if len(data) > line.limit:
            self.refused(door.name, line.address, f"a frame of {len(data)} bytes")
            line.peer.close(TOO_BIG, "too big")
        elif line.bucket is not None and not line.bucket.take(line.seen):
            self.refused(door.name, line.address, "too many messages")
            line.peer.close(TOO_FAST, "too many messages")
        else:
            door.heard(line, data, binary=message.type is WSMsgType.BINARY)

    def _ended(self, line: AnyLine, door: Listener[AnyLine], code: int, reason: str) -> None:
        peer = line.peer
        if peer.close_code is not None:
            code, reason = peer.close_code, peer.close_reason
        peer.hang_up()
        self.lines.discard(line)
        self.guard.left(line.address)
        if not self.lines:
            self._empty.set()
        door.ended(line, code, reason)


async def _farewell(peer: Peer, message: Any) -> tuple[int, str]:
    """How the conversation ended, after answering the peer's close frame."""
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
