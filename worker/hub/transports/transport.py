"""What the hub needs of a transport: the sending side of one connection, however its bytes travel.

Connections (Engine.IO sessions, native connections) use only this interface, so a further transport is one class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from worker.net.frames import text_frame

OnOverflow = Callable[[int, str], None]
"""Closes the connection with this code and reason."""


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How many bytes may wait for one client, and for how long it may leave a close frame unanswered."""

    volatile: int = 64 * 1024
    """Above this, volatile messages are dropped."""
    total: int = 512 * 1024
    """Above this, the connection is closed with 4408."""
    close_timeout: float = 1.0
    """Seconds for the client's answer to a close frame; then the connection is aborted."""


class SharedMessage:
    """A text message that is framed once for many receivers."""

    __slots__ = ("polling_packet", "text", "websocket_frame")

    def __init__(self, text: bytes) -> None:
        self.text: Final = text
        """As the transport sends it."""
        self.websocket_frame: Final = text_frame(text)
        self.polling_packet: Any = None
        """The packet of HTTP long-polling, made by the first receiver that needs one."""


class Transport(Protocol):
    """The sending side of one connection. Only `send_when_ready` waits; the other methods return at once."""

    name: str
    """`websocket` or `polling`."""
    dropped: int
    """The number of volatile messages that were dropped."""
    close_code: int | None
    """The code with which the hub closed the connection, after which nothing more is sent; None: it did not."""
    close_reason: str
    on_overflow: OnOverflow | None
    """Called when a client is too slow, so that its connection can announce the reason before it is closed."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the client has not yet taken."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether the client can no longer be reached."""
        ...

    def send(self, message: bytes) -> None:
        """Send a text message."""
        ...

    def send_binary(self, data: bytes) -> None: ...

    def send_shared(self, message: SharedMessage) -> None: ...

    def send_volatile(self, message: SharedMessage) -> None:
        """Send the message, or drop it if the client is behind."""
        ...

    async def send_when_ready(self, message: bytes) -> None:
        """Send the message, and wait while the client is behind. ConnectionError: the connection is lost."""
        ...

    def ping(self) -> None:
        """Ask the client to confirm that it has received everything so far: answered by ConnectionListener.on_pong."""
        ...

    def flush(self) -> None:
        """Write what was sent in this turn of the event loop."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close the connection in an orderly way; the first code and reason count."""
        ...

    def close_for_client(self) -> None:
        """Close the connection as the client asked by a message of the endpoint's protocol."""
        ...

    def close_after_flush(self) -> None:
        """End the connection once everything written has left, or the client takes too long."""
        ...

    def abort(self, code: int | None = None, reason: str = "") -> None:
        """End the connection at once, without a close frame; `code` and `reason` are for the log."""
        ...
