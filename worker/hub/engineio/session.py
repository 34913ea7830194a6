"""One Engine.IO session: handshake, heartbeat, messages in both directions. Works on any transport.

The protocol above (Socket.IO) is the session's receiver. It gets and sends messages without the Engine.IO packet type.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from worker.hub.close_codes import ABNORMAL
from worker.hub.engineio import codec
from worker.hub.engineio.codec import PayloadCodec, PayloadCodec4
from worker.hub.errors import MalformedPacket
from worker.hub.transports.connections import Connection
from worker.hub.transports.transport import SharedMessage


@dataclass(frozen=True, slots=True)
class Timing:
    """Heartbeat and deadlines of a connection, in seconds."""

    ping_interval: float = 25.0
    ping_timeout: float = 5.0
    """A client is dead when nothing came from it for this long after a ping: 30 to 35 s in all."""
    authentication: float = 10.0
    """A connection that has not authenticated for this long is closed."""


_HARDLY_LATE: Final = 0.05
"""Seconds."""


class SessionReceiver(Protocol):
    """The protocol above a session. MalformedPacket from `on_message` and `on_binary` closes the session with 1002."""

    def on_open(self, auth: dict[str, Any]) -> None:
        """The handshake has been sent; `auth` is what the request itself says about the client."""
        ...

    def on_message(self, message: bytes) -> None: ...

    def on_binary(self, data: bytes) -> None: ...

    def on_ping_sent(self) -> None:
        """The client was pinged, after everything that was sent to it so far."""
        ...

    def on_pong(self) -> None:
        """The client answered the oldest unanswered ping: it has read everything that was sent before that ping."""
        ...

    def before_close(self, code: int, reason: str) -> None:
        """The hub is about to close the session: send the client the reason."""
        ...

    def check_deadlines(self, now: float) -> None:
        """Close the session if it is overdue. `now` is monotonic; called about every second."""
        ...

    def on_close(self, code: int, reason: str) -> None: ...


@dataclass(slots=True, eq=False, kw_only=True)
class EngineSession(Connection):
    """One Engine.IO 4 session. An upgrade replaces `transport`; everything above keeps the session."""

    id: str
    timing: Timing
    max_payload: int
    """Bytes of one message, as promised to the client. It is the publisher's limit, because the handshake is sent
    before the client authenticates; `max_message_bytes` is what counts."""
    next_ping_at: float
    ping_sent_at: float | None = None
    """When the oldest ping was sent since anything came from the client; None: no ping is unanswered."""
    unanswered_pings: int = 0
    """The pings that were sent and have no pong yet. Pongs to them do not count as messages of the client."""
    payload_codec: PayloadCodec = field(default_factory=PayloadCodec4)
    """For HTTP long-polling."""
    revision: ClassVar[int] = 4
    """The revision of the Engine.IO protocol."""
    receiver: SessionReceiver = field(init=False)
    """Set by the server before anything is sent or received."""

    # -- sending ---------------------------------------------------------------------------------------------------

    def send_handshake(self, upgrades: Sequence[str] = ()) -> None:
        """Send the OPEN packet; `upgrades` names the transports to which the client may switch."""
        self.transport.send(codec.open_packet(self._handshake(upgrades)))

    def _handshake(self, upgrades: Sequence[str]) -> dict[str, Any]:
        return {
            "sid": self.id,
            "upgrades": list(upgrades),
            "pingInterval": round(self.timing.ping_interval * 1000),
            "pingTimeout": round(self.timing.ping_timeout * 1000),
            "maxPayload": self.max_payload,
        }

    def send(self, message: bytes) -> None:
        self.transport.send(codec.MESSAGE + message)

    def send_binary(self, data: bytes) -> None:
        """Send a binary message."""
        self.transport.send_binary(data)

    def share(self, message: bytes) -> SharedMessage:
        return SharedMessage(codec.MESSAGE + message)

    async def send_when_ready(self, message: bytes) -> None:
        await self.transport.send_when_ready(codec.MESSAGE + message)

    def announce_close(self, code: int, reason: str) -> None:
        self.receiver.before_close(code, reason)

    # -- heartbeat -------------------------------------------------------------------------------------------------

    def ping(self, now: float, /) -> None:
        """Send a ping. The client reads everything that was sent before it answers."""
        if self.ping_sent_at is None:
            self.ping_sent_at = now
        self.unanswered_pings += 1
        self.transport.send(codec.PING)
        self.receiver.on_ping_sent()

    def request_confirmation(self, now: float, /) -> None:
        """Have the client confirm everything that was sent so far: SessionReceiver.on_pong is called once it has.

        With long-polling the next request confirms it, and no ping is needed.
        """
        if self.transport.name == "polling":
            self.transport.ping()
            self.receiver.on_ping_sent()
        else:
            self.ping(now)

    def repeat_confirmations(self, count: int) -> None:
        """Request again, after an upgrade, what the client had not confirmed before."""
        for _ in range(count):
            self.unanswered_pings += 1
            self.transport.send(codec.PING)

    def check_heartbeat(self, now: float) -> None:
        """Ping the client if it is time, or abort the connection if a ping is unanswered for too long."""
        if self.ping_sent_at is not None and now - self.ping_sent_at >= self.timing.ping_timeout:
            # A dead client would not answer a close frame either.
            self.transport.abort(ABNORMAL, "ping timeout")
            return
        self.receiver.check_deadlines(now)
        if now >= self.next_ping_at and not self.closing:
            # Counted from when it was due, if this call is hardly late: a request may come just at the deadline.
            due = max(self.next_ping_at, now - _HARDLY_LATE)
            self.next_ping_at = now + self.timing.ping_interval
            self.ping(due)

    def on_transport_pong(self) -> None:
        """The client's transport confirmed everything that was sent before a `transport.ping()`."""
        self.receiver.on_pong()

    # -- receiving -------------------------------------------------------------------------------------------------

    def is_requested(self, packet: bytes, /) -> bool:
        """Return whether the text packet is the pong to a ping of the hub."""
        return packet == codec.PONG and self.unanswered_pings > 0

    def on_packet(self, packet: bytes) -> None:
        """Handle one text packet. MalformedPacket: a client may not send it."""
        self.ping_sent_at = None
        kind = packet[:1]
        if kind == codec.MESSAGE:
            self.receiver.on_message(packet[1:])
        elif packet == codec.PONG:
            self.unanswered_pings = max(0, self.unanswered_pings - 1)
            self.receiver.on_pong()
        elif kind == codec.CLOSE:
            self.transport.close_for_client()
        else:
            raise MalformedPacket("not an Engine.IO packet of a client")

    def on_binary(self, data: bytes) -> None:
        """Handle one binary message."""
        self.ping_sent_at = None
        self.receiver.on_binary(data)
