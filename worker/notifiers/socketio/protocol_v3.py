"""Socket.IO 1 and 2 on Engine.IO 3: the server lets us in unasked, we send the heartbeats, credentials have no packet.

Servers of Socket.IO 3 and 4 speak it too, with `allowEIO3`.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from worker.notifiers.socketio.protocol import ConnectionEvents, FrameListener, OpenPacket, SendText, SocketIoProtocol
from worker.notifiers.socketio.server_words import refusal_of
from worker.notifiers.socketio.state import CloseReason


def heartbeat_interval(opened: OpenPacket) -> float:
    """Return the seconds between our heartbeats: what the server asks for, but not less than a tenth of a second if its
    timeout allows that. With an interval of 0 each would be sent as soon as the one before is answered."""
    return max(opened.ping_interval, min(0.1, (opened.ping_interval + opened.ping_timeout) / 2))


class ProtocolV3(SocketIoProtocol):
    """Servers of Socket.IO 1 and 2."""

    version: ClassVar[int] = 3

    def __init__(self, listener: FrameListener, connection: ConnectionEvents, namespace: str = "/") -> None:
        super().__init__(listener, connection, namespace)
        self._answered = asyncio.Event()
        self._connected = False

    def connect_packet(self, auth: Mapping[str, Any] | None) -> str | None:  # noqa: ARG002 -- as the interface says
        """Return the packet that asks for a namespace other than `/`. Credentials travel in the handshake's request."""
        return None if self.namespace == "/" else f"40{self.namespace}"

    async def keep_alive(self, send: SendText, written: Callable[[], int]) -> None:
        assert self.open_packet is not None
        interval = heartbeat_interval(self.open_packet)
        while True:
            await asyncio.sleep(interval)
            self._answered.clear()
            self._listener.on_heartbeat_sent(written())
            await send("2")
            try:
                async with asyncio.timeout(self.open_packet.ping_timeout):
                    await self._answered.wait()
            except TimeoutError:
                return

    def _read_heartbeat(self, text: str) -> None:
        if text[:1] == "2":
            self._connection.end(
                CloseReason(f"the server sent a frame that is not Engine.IO 3: {self.quote(text, 40)!r}")
            )
        elif text != "3probe":
            self._answered.set()
            self._listener.on_heartbeat_reply()

    def _read_connect(self, text: str) -> None:  # noqa: ARG002 -- as the interface says
        self._connected = True
        self._connection.on_connect()

    def _read_connect_error(self, text: str) -> None:
        """Read a packet of type 4, which this version calls ERROR: before CONNECT it rejects us."""
        data, words = refusal_of(text[2:])
        if self._connected:
            self._report_event("error", [words])
        else:
            self._connection.end(self._refused(data, words))
