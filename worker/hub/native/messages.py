"""The native endpoint's messages `{type, timestamp, data}`: decoded and encoded. Knows no connection's life."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from worker.core.clock import Clock, rfc3339
from worker.hub.client import Client
from worker.hub.errors import MalformedPacket
from worker.hub.hub import NOTIFICATION, PROGRESS
from worker.hub.messages import Message, without_stack_trace
from worker.hub.socketio.packets import parse_json
from worker.hub.transports.connections import Connection

ENDPOINT: Final = "websocket"
"""The endpoint's name in logs, events and statistics."""


@dataclass(frozen=True, slots=True)
class NativeEncoder:
    """Encodes messages as native messages of type `notification` and `progress`."""

    stack_trace: bool
    clock: Clock
    flat: bool = False
    """Whether the fields of `data` stand next to it, too."""

    def encode(self, message: Message, position: tuple[str, int] | None) -> bytes:
        _, content, user_data = orjson.loads(message.body)
        if message.volatile:
            return native_message(PROGRESS, content.get("payload", {}), self.clock)
        if message.has_stack_trace and not self.stack_trace:
            content = without_stack_trace(content)
        data = content | {"userId": user_data["userId"]}
        if position is not None:
            data |= {"epoch": position[0], "seq": position[1]}
        return native_message(NOTIFICATION, data, self.clock)

    def encode_own(self, message_type: str, data: Any) -> bytes:
        return native_message(message_type, data, self.clock, flat=self.flat)


def native_message(kind: str, data: Any, clock: Clock, *, flat: bool = False) -> bytes:
    """Return a message of the hub as JSON; `flat`: the fields of `data` stand next to it, too."""
    fields = data if flat and isinstance(data, dict) else {}
    return orjson.dumps({**fields, "type": kind, "timestamp": rfc3339(clock.now()), "data": data})


def decode_native(data: bytes, *, binary: bool, is_known: bool = True) -> tuple[str, Any, bool]:
    """Return type and data of a client's message, and whether it is flat: its data are its other fields.

    `is_known`: whether the client has been accepted; see `parse_json`. MalformedPacket says what is wrong with it.
    """
    if binary:
        raise MalformedPacket("malformed: messages are text")
    try:
        message = parse_json(data, lambda: is_known)
    except MalformedPacket as exc:
        raise MalformedPacket(f"malformed: {exc}") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise MalformedPacket("malformed: expected an object with a type")
    kind = message.pop("type")
    if not message or "data" in message:
        return kind, message.get("data"), False
    is_flat = message.keys() != {"timestamp"}
    return kind, message if is_flat else None, is_flat


@dataclass(slots=True, eq=False, kw_only=True)
class NativeConnection(Connection):
    """One native connection."""

    id: str
    clock: Clock
    opened_at: float
    """Monotonic."""
    next_heartbeat_at: float
    ping_sent_at: float | None = None
    """When the oldest ping was sent since anything came from the client; None: no ping is unanswered."""
    auth: dict[str, Any]
    """What the client sent with its request instead of an `auth` message."""
    job_id: str | None = None
    """The job of /ws/tasks/{jobId}."""
    client: Client | None = None
    """None: not yet authenticated."""
    flat: bool = False
    """Whether the client sends flat messages, as programs written for other hubs do, and so expects flat answers."""

    def send_message(self, kind: str, data: Any) -> None:
        """Send a message of this type."""
        self.transport.send(native_message(kind, data, self.clock, flat=self.flat))

    def ping(self, now: float) -> None:
        """Ping the client; `now` is monotonic."""
        if self.ping_sent_at is None:
            self.ping_sent_at = now
        self.transport.ping()

    def is_dead(self, now: float, timeout: float) -> bool:
        """Return whether nothing has come from the client for so many seconds after a ping."""
        if self.ping_sent_at is not None and self.last_received >= self.ping_sent_at:
            self.ping_sent_at = None
        return self.ping_sent_at is not None and now - self.ping_sent_at > timeout

    def announce_close(self, code: int, reason: str) -> None:
        self.send_message("error", {"code": code, "message": reason})
