"""The sending side of one WebSocket: bounded, without a task or a queue of its own. Knows no protocol above it.

The write buffer of the operating system's socket is the queue. What is sent within one turn of the event loop leaves in
one write; under a flood, that of several turns. A client that does not read is noticed by its buffer: first volatile
messages are dropped, then it is closed.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp.abc import AbstractStreamWriter

from worker.hub.close_codes import NORMAL, SLOW_CONSUMER
from worker.hub.transports.transport import OnOverflow, SendLimits, SharedMessage
from worker.net.frames import binary_frame, close_frame, ping_frame, text_frame

_MANY: Final = 64
"""Sockets. With fewer, writing costs little."""
_LONGEST_WAIT: Final = 0.06
"""Seconds of CPU time of the event loop's thread: on a busy machine it handles as many messages as on an idle one."""
_TURNS: Final = 5
"""Turns of the event loop until bytes that wait in the operating system have been read and handled."""


class WriteBatcher:
    """The WebSockets that have something to send. They are written to at the end of the event loop's turn.

    While a client floods the hub with messages for many others, these others wait for a few turns more: a write costs
    about half as much as handling a message, so each is to carry several. Answers do not wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, cpu_time: Callable[[], float] = time.thread_time) -> None:
        self._loop = loop
        self._cpu_time = cpu_time
        self._waiting: list[WebSocketSender] = []
        self._waiting_since = 0.0
        self._answering: dict[WebSocketSender, None] = {}
        self._turns_to_wait = 0

    def add(self, sender: "WebSocketSender") -> None:
        if not self._waiting:
            self._waiting_since = self._cpu_time()
            self._loop.call_soon(self._end_turn)
        self._waiting.append(sender)

    def add_answer(self, sender: "WebSocketSender") -> None:
        """Note that a socket which was added has an answer to send."""
        self._answering[sender] = None

    def expect_more(self) -> None:
        """Note that a client has sent more than was handled in its turn."""
        self._turns_to_wait = _TURNS

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._answering.clear()
        for sender in waiting:
            sender.flush()

    def _end_turn(self) -> None:
        if not self._turns_to_wait or len(self._waiting) < _MANY or self._has_waited_long():
            self.flush()
            return
        self._turns_to_wait -= 1
        answering, self._answering = self._answering, {}
        for sender in answering:
            sender.flush()
        self._loop.call_soon(self._end_turn)

    def _has_waited_long(self) -> bool:
        return self._cpu_time() - self._waiting_since >= _LONGEST_WAIT


@dataclass(slots=True, eq=False)
class WebSocketSender:
    """The transport of one WebSocket connection."""

    tcp: asyncio.Transport
    writer: AbstractStreamWriter
    """aiohttp's writer of the same connection, which knows when it is ready for more."""
    batcher: WriteBatcher
    limits: SendLimits
    name: str = "websocket"
    dropped: int = 0
    close_code: int | None = None
    close_reason: str = ""
    on_overflow: OnOverflow | None = None
    unanswered_pings: int = 0
    _frames: list[bytes] = field(default_factory=list)
    _abort_timer: asyncio.TimerHandle | None = None

    @property
    def is_lost(self) -> bool:
        return self.tcp.is_closing()

    @property
    def waiting_bytes(self) -> int:
        """Bytes not yet taken by the operating system."""
        return self.tcp.get_write_buffer_size()

    def send(self, message: bytes) -> None:
        self.write(text_frame(message))
        self.batcher.add_answer(self)

    def send_binary(self, data: bytes) -> None:
        self.write(binary_frame(data))
        self.batcher.add_answer(self)

    def send_shared(self, message: SharedMessage) -> None:
        self.write(message.websocket_frame)

    def send_volatile(self, message: SharedMessage) -> None:
        if self.tcp.get_write_buffer_size() > self.limits.volatile:
            self.dropped += 1
        else:
            self.write(message.websocket_frame)

    async def send_when_ready(self, message: bytes) -> None:
        self.flush()
        if self.close_code is not None:
            return
        if self.tcp.is_closing():
            raise ConnectionResetError("the connection is lost")
        self.tcp.write(text_frame(message))
        await self.writer.drain()

    def ping(self) -> None:
        self.unanswered_pings += 1
        self.write(ping_frame())

    def write(self, frame: bytes) -> None:
        """Send a whole WebSocket frame."""
        if self.close_code is not None:
            return
        if not self._frames:
            self.batcher.add(self)
        self._frames.append(frame)

    def flush(self) -> None:
        frames = self._frames
        if not frames or self.tcp.is_closing():
            return
        self._frames = []
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        waiting = self.tcp.get_write_buffer_size()
        # With nothing waiting even a large burst may pass: the client has kept up so far.
        if waiting and waiting + len(data) > self.limits.total and self.close_code is None:
            self._overflow()
        else:
            self.tcp.write(data)

    def _overflow(self) -> None:
        """Drop what was to be sent, and close the connection."""
        if self.on_overflow is not None:
            self.on_overflow(SLOW_CONSUMER, "too slow")
        self.close(SLOW_CONSUMER, "too slow")

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; abort the connection if the client does not answer it in time."""
        if self.close_code is not None:
            return
        self.close_code, self.close_reason = code, reason
        if self.tcp.is_closing():
            return
        self._frames.append(close_frame(code, reason))
        self.tcp.write(b"".join(self._frames))
        self._frames.clear()
        self._abort_later()

    def close_for_client(self) -> None:
        self.close(NORMAL, "closed by the client")

    def answer_close(self, code: int | None) -> None:
        """Answer the client's close frame, unless it is itself the answer."""
        if self.close_code is None and not self.tcp.is_closing():
            self._frames.append(close_frame(code))
            self.flush()

    def end_writing(self) -> None:
        """Let the client see the end of the connection at once, while what it still sends can be read and dropped."""
        if not self.tcp.is_closing() and self.tcp.can_write_eof():
            self.tcp.write_eof()

    def close_after_flush(self) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        if not self.tcp.is_closing():
            if self.waiting_bytes:
                self._abort_later()
            self.tcp.close()

    def abort(self, code: int | None = None, reason: str = "") -> None:
        if code is not None and self.close_code is None:
            self.close_code, self.close_reason = code, reason
        self.tcp.abort()

    def _abort_later(self) -> None:
        self._abort_timer = asyncio.get_running_loop().call_later(self.limits.close_timeout, self.abort)
