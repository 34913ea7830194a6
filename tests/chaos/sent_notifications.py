"""Reads from a link's bytes to its hub which notifications it sends, and when."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.history.events import Sent

_ID = re.compile(rb'"notificationId":"([^"]+)"')


@dataclass(slots=True)
class _Stream:
    """The bytes of one connection: a request, then masked WebSocket frames."""

    data: bytearray = field(default_factory=bytearray)
    is_upgraded: bool = False

    def payloads(self, piece: bytes) -> list[bytes]:
        """Return what the frames contain that this piece completes."""
        self.data += piece
        if not self.is_upgraded:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return []
            del self.data[: end + 4]
            self.is_upgraded = True
        found = []
        while (payload := self._next()) is not None:
            found.append(payload)
        return found

    def _next(self) -> bytes | None:
        if len(self.data) < 2:
            return None
        length, start = self.data[1] & 127, 2
        if length > 125:
            start = 4 if length == 126 else 10
            if len(self.data) < start:
                return None
            length = int.from_bytes(self.data[2:start], "big")
        end = start + 4 + length
        if len(self.data) < end:
            return None
        key = bytes(self.data[start : start + 4])
        masked = int.from_bytes(self.data[start + 4 : end], "big")
        mask = int.from_bytes((key * (length // 4 + 1))[:length], "big")
        del self.data[:end]
        return (masked ^ mask).to_bytes(length, "big")


@dataclass(slots=True)
class SentNotifications:
    """Collects what one service sends; for `FaultProxy.on_client_bytes`."""

    process: Callable[[], int]
    events: list[Sent] = field(default_factory=list)
    _streams: dict[object, _Stream] = field(default_factory=dict)

    def add(self, connection: object, piece: bytes) -> None:
        now = time.monotonic()
        stream = self._streams.setdefault(connection, _Stream())
        for payload in stream.payloads(piece):
            self.events += [Sent(self.process(), found.decode(), now) for found in _ID.findall(payload)]
