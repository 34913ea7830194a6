"""The sending side of one WebSocket: bounded, without a task or a queue of its own. Knows no protocol above it.

The transport's write buffer is the queue. What is sent within one turn of the event loop leaves in one write.
A peer that does not read is noticed by its buffer: first volatile frames are left out, then it is cut off.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from worker.hub.frames import binary_frame, close_frame, text_frame

SLOW: Final = 4408
ABNORMAL: Final = 1006
NO_STATUS: Final = 1005


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait for one peer, in bytes."""

    volatile: int = 64 * 1024
    """From here on volatile frames are left out."""
    total: int = 512 * 1024
    """From here on the peer is cut off with 4408."""
    farewell: float = 1.0
    """Seconds for its answer to our close frame; then the connection is dropped."""


class Outflow:
    """The peers that have something to send in this turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Peer] = []

    def add(self, peer: "Peer") -> None:
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(peer)

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for peer in waiting:
            peer.flush()


@dataclass(slots=True, eq=False)
class Peer:
    """One connection's other end."""

    socket: "web.WebSocketResponse[bool]"
    transport: asyncio.Transport
    outflow: Outflow
    bounds: Bounds
    sent: int = 0
    dropped: int = 0
    """Volatile frames left out."""
    close_code: int | None = None
    """The code we closed with; None: we did not."""
    close_reason: str = ""
    _frames: list[bytes] = field(default_factory=list)
    _drop: asyncio.TimerHandle | None = None

    @property
    def closing(self) -> bool:
        return self.close_code is not None

    @property
    def waiting(self) -> int:
        """Bytes not yet taken by the operating system."""
        return self.transport.get_write_buffer_size()

    def send(self, message: bytes) -> None:
        """Send a text message."""
        self.write(text_frame(message))

    def send_binary(self, message: bytes) -> None:
        self.write(binary_frame(message))

    def write(self, frame: bytes) -> None:
        """Send a frame made before: one serves many peers."""
        if self.close_code is not None:
            return
        self.sent += 1
        if not self._frames:
            self.outflow.add(self)
        self._frames.append(frame)

    def write_volatile(self, frame: bytes) -> None:
        """Send it unless the peer is behind."""
        if self.transport.get_write_buffer_size() > self.bounds.volatile:
            self.dropped += 1
        else:
            self.write(frame)

    async def write_patiently(self, message: bytes) -> None:
        """Send a text message, and wait while the peer is behind: for backlogs."""
        self.flush()
        if self.close_code is None:
            self.sent += 1
            await self.socket.send_frame(message, web.WSMsgType.TEXT)

    def flush(self) -> None:
        frames = self._frames
        if not frames or self.transport.is_closing():
            return
        self._frames = []
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        waiting = self.transport.get_write_buffer_size()
        # With nothing waiting even a large burst may pass: the peer has kept up so far.
        if waiting and waiting + len(data) > self.bounds.total and self.close_code is None:
            self.close(SLOW, "too slow")
        else:
            self.transport.write(data)

    def close(self, code: int, reason: str) -> None:
        """Say farewell with this code; drop the connection if the peer doesn't answer in time."""
        if self.close_code is not None:
            return
        if code == SLOW:
            self._frames.clear()
        self.flush()
        self.close_code, self.close_reason = code, reason
        if self.transport.is_closing():
            return
        self.transport.write(close_frame(code, reason))
        self._drop_after_a_while()

    def lose(self, code: int, reason: str) -> None:
        """The peer is dead: nobody is there to answer a farewell."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
        self.transport.abort()

    def hang_up(self) -> None:
        """The conversation is over: end the TCP connection, once what was written has left or nobody takes it."""
        if self._drop is not None:
            self._drop.cancel()
        if not self.transport.is_closing():
            if self.waiting:
                self._drop_after_a_while()
            self.transport.close()

    def abort(self) -> None:
        """End the TCP connection at once."""
        self.transport.abort()

    def _drop_after_a_while(self) -> None:
        self._drop = asyncio.get_running_loop().call_later(self.bounds.farewell, self.abort)
