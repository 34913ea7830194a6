"""HTTP long-polling: the sending side of a session whose client fetches its packets by GET requests.

Packets are kept until the next GET, in bounded memory. Knows no request and no response.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from worker.hub.close_codes import ABNORMAL, NORMAL, SLOW_CONSUMER
from worker.hub.engineio.codec import CLOSE, NOOP, EnginePacket
from worker.hub.transports.sender import WebSocketSender
from worker.hub.transports.transport import OnOverflow, SendLimits, SharedMessage

_RESPONSE_BYTES: Final = 256 * 1024
"""Packets are added to a response until it has as many bytes."""
_UPGRADE_NOOP_SECONDS: Final = 0.1
"""While the client changes to WebSocket, a GET is answered after this time, for the client waits for the answer."""


@dataclass(slots=True, eq=False)
class PollingTransport:
    """The transport of one session until its client changes to WebSocket."""

    limits: SendLimits
    on_end: Callable[[int, str], None]
    """Called once when the session has ended on this transport, with the close code and the reason."""
    on_pong: Callable[[], None]
    """Called for each `ping` before which everything has been fetched."""
    max_packets: int | None = None
    """The most packets of one response; None: any number."""
    reads_close: bool = True
    """Whether the client connects again after a CLOSE packet. If not, the rejection of its next request makes it."""
    name: str = "polling"
    dropped: int = 0
    close_code: int | None = None
    close_reason: str = ""
    on_overflow: OnOverflow | None = None
    upgrading: bool = False
    """Whether the client is about to change to WebSocket."""
    waiting_bytes: int = 0
    _packets: deque[EnginePacket] = field(default_factory=deque)
    _pings: deque[int] = field(default_factory=deque)
    """For each unconfirmed ping, the number of packets that were sent before it."""
    _sent: int = 0
    _fetched: int = 0
    _poll: "asyncio.Future[None] | None" = None
    _flush_scheduled: bool = False
    _left_bytes: int = 0
    """What was waiting already before this turn of the event loop."""
    _drained: asyncio.Event = field(default_factory=asyncio.Event)
    _end_timer: asyncio.TimerHandle | None = None
    _ended: bool = False

    # -- for the session -------------------------------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        return self._ended

    def send(self, message: bytes) -> None:
        self._put(EnginePacket(message))

    def send_binary(self, data: bytes) -> None:
        self._put(EnginePacket(data, binary=True))

    def send_shared(self, message: SharedMessage) -> None:
        packet = message.polling_packet
        if packet is None:
            packet = message.polling_packet = EnginePacket(message.text)
        self._put(packet)

    def send_volatile(self, message: SharedMessage) -> None:
        if self.waiting_bytes > self.limits.volatile:
            self.dropped += 1
        else:
            self.send_shared(message)

    async def send_when_ready(self, message: bytes) -> None:
        if self._ended:
            raise ConnectionResetError("the session has ended")
        self._put(EnginePacket(message))
        while self.waiting_bytes > self.limits.volatile and self.close_code is None and not self._ended:
            self._drained.clear()
            await self._drained.wait()

    def ping(self) -> None:
        self._pings.append(self._sent)

    def flush(self) -> None:
        """Answer the waiting GET, if there is something for it."""
        self._flush_scheduled = False
        self._left_bytes = self.waiting_bytes
        if self._packets:
            self._wake()

    def close(self, code: int, reason: str) -> None:
        if self.close_code is not None or self._ended:
            return
        if self.reads_close:
            self._packets.append(EnginePacket(CLOSE))
        elif not self._packets:
            self._packets.append(EnginePacket(NOOP))
        self.close_code, self.close_reason = code, reason
        self.flush()
        self._end_timer = asyncio.get_running_loop().call_later(self.limits.close_timeout, self.abort)
        self._drained.set()

    def close_for_client(self) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = NORMAL, "closed by the client"
            self._replace_packets(NOOP)
            self._end()

    def close_after_flush(self) -> None: ...

    def abort(self, code: int | None = None, reason: str = "") -> None:
        if code is not None and self.close_code is None:
            self.close_code, self.close_reason = code, reason
        if self._poll is not None:
            self._replace_packets(CLOSE)
        self._end()

    # -- for requests ----------------------------------------------------------------------------------------------

    @property
    def is_polled(self) -> bool:
        """Whether a GET is waiting."""
        return self._poll is not None

    async def fetch(self) -> list[EnginePacket]:
        """Wait for packets and return them; a single NOOP if the client changes to WebSocket."""
        self._confirm_pings()
        if not self._packets and not self._ended:
            await self._wait()
        return self._take() or [EnginePacket(NOOP)]

    def begin_upgrade(self) -> None:
        """The client has found that WebSocket works: let it end its GET."""
        self.upgrading = True
        self._wake()

    def hand_over(self, sender: WebSocketSender) -> int:
        """Send what is left by WebSocket; return the number of unconfirmed pings. Nothing more is sent here."""
        for packet in self._packets:
            if packet.binary:
                sender.send_binary(packet.data)
            else:
                sender.send(packet.data)
        self._packets.clear()
        self.waiting_bytes = 0
        self._ended = True
        self._wake()
        self._drained.set()
        return len(self._pings)

    # -- internals -------------------------------------------------------------------------------------------------

    def _put(self, packet: EnginePacket) -> None:
        if self.close_code is not None or self._ended:
            return
        # With nothing waiting even a large burst may pass: the client has kept up so far.
        if self._left_bytes and self.waiting_bytes + len(packet.data) > self.limits.total:
            self._overflow()
            return
        self._packets.append(packet)
        self.waiting_bytes += len(packet.data)
        self._sent += 1
        if not self._flush_scheduled:
            # What is sent within one turn of the event loop leaves in one response.
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _overflow(self) -> None:
        self._packets.clear()
        self.waiting_bytes = self._left_bytes = 0
        if self.on_overflow is not None:
            self.on_overflow(SLOW_CONSUMER, "too slow")
        self.close(SLOW_CONSUMER, "too slow")

    def _replace_packets(self, packet: bytes) -> None:
        self._packets.clear()
        self._packets.append(EnginePacket(packet))
        self.waiting_bytes = 0

    async def _wait(self) -> None:
        poll = self._poll = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_UPGRADE_NOOP_SECONDS if self.upgrading else None):
                await poll
        except TimeoutError:
            pass
        finally:
            self._poll = None

    def _take(self) -> list[EnginePacket]:
        taken: list[EnginePacket] = []
        packets, size = self._packets, 0
        while packets:
            packet = packets[0]
            size_with_it = size + len(packet.data)
            # CLOSE comes alone: clients handle it before the messages of the same response.
            if taken and (size_with_it > _RESPONSE_BYTES or (packet.data == CLOSE and not packet.binary)):
                break
            if len(taken) == self.max_packets:
                break
            taken.append(packets.popleft())
            size = size_with_it
        self._fetched += len(taken)
        self.waiting_bytes = max(0, self.waiting_bytes - size)
        self._left_bytes = min(self._left_bytes, self.waiting_bytes)
        if self.waiting_bytes <= self.limits.volatile:
            self._drained.set()
        if self.close_code is not None and not self._packets:
            self._end()
        return taken

    def _confirm_pings(self) -> None:
        """The client has handled the responses so far: it asks for the next only then."""
        while self._pings and self._pings[0] <= self._fetched:
            self._pings.popleft()
            self.on_pong()

    def _wake(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._wake()
        self._drained.set()
        code = ABNORMAL if self.close_code is None else self.close_code
        self.on_end(code, self.close_reason or "transport lost")
