"""What a session needs of a connection, whatever protocol and transport it speaks."""

from collections.abc import Callable
from typing import Protocol

from worker.notifiers.socketio.handshake import ConnectOptions
from worker.notifiers.socketio.protocol import FrameListener, OpenPacket
from worker.notifiers.socketio.state import CloseReason


class LinkConnection(Protocol):
    """What a session needs of a connection, whatever protocol and transport it speaks."""

    written: int
    close_reason: CloseReason | None

    @property
    def over(self) -> bool: ...

    @property
    def stage(self) -> str: ...

    async def connect(self, options: ConnectOptions) -> OpenPacket: ...

    async def send(self, number: int, body: bytes, *, ack: bool) -> None: ...

    def flush(self) -> None: ...

    async def send_volatile(self, body: bytes) -> None: ...

    async def ping(self, payload: bytes) -> None: ...

    def end(self, reason: CloseReason) -> None: ...

    async def close(self) -> None: ...

    async def abort(self) -> None: ...


NewConnection = Callable[[FrameListener], LinkConnection]
