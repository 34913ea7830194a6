"""Sessions of Engine.IO 3, the revision of Socket.IO 1 and 2: the client pings, and binary packets have a type."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from worker.hub.close_codes import ABNORMAL
from worker.hub.engineio import codec
from worker.hub.engineio.session import EngineSession
from worker.hub.errors import MalformedPacket

_BINARY_MESSAGE: Final = b"\x04"


@dataclass(slots=True, eq=False, kw_only=True)
class EngineSession3(EngineSession):
    """One Engine.IO 3 session."""

    revision: ClassVar[int] = 3

    def send_binary(self, data: bytes) -> None:
        self.transport.send_binary(_BINARY_MESSAGE + data)

    def _handshake(self, upgrades: Sequence[str]) -> dict[str, Any]:
        handshake = EngineSession._handshake(self, upgrades)
        del handshake["maxPayload"]
        return handshake

    def request_confirmation(self, _: float) -> None:
        # Only the client may send pings of the protocol.
        self.transport.ping()
        self.receiver.on_ping_sent()

    def repeat_confirmations(self, count: int) -> None:
        for _ in range(count):
            self.transport.ping()

    def check_heartbeat(self, now: float) -> None:
        """Abort the connection if the client's ping is overdue."""
        if now - self.last_received >= self.timing.ping_interval + self.timing.ping_timeout:
            self.transport.abort(ABNORMAL, "ping timeout")
            return
        self.receiver.check_deadlines(now)

    def is_requested(self, _: bytes) -> bool:
        return False

    def on_packet(self, packet: bytes) -> None:
        kind = packet[:1]
        if kind == codec.MESSAGE:
            self.receiver.on_message(packet[1:])
        elif kind == codec.PING:
            self.transport.send(codec.PONG + packet[1:])
        elif kind == codec.CLOSE:
            self.transport.close_for_client()
        else:
            raise MalformedPacket("not an Engine.IO packet of a client")

    def on_binary(self, data: bytes) -> None:
        if data[:1] != _BINARY_MESSAGE:
            raise MalformedPacket("a binary packet that is not a message")
        self.receiver.on_binary(data[1:])
