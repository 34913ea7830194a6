"""The doorstep of a port: connections that say nothing, or say it too slowly, and too many of them (CWE-400).

aiohttp waits for ever for the first request's headers. Knows no HTTP beyond the empty line that ends them.

    server = await loop.create_server(guarded(runner.server, limits), sock=listener)
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

_END_OF_HEADERS: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a port bears."""

    header_seconds: float = 5.0
    """From the connection to the end of the first request's headers."""
    total: int = 12_000
    per_address: int = 1_200


@dataclass(slots=True)
class Doorstep:
    """The connections of one port."""

    limits: Limits
    refused: Callable[[str, str], None]
    """Hears of (address, reason)."""
    by_address: Counter[str] = field(default_factory=Counter)

    def admits(self, address: str) -> bool:
        if self.by_address.total() >= self.limits.total:
            self.refused(address, "too many connections")
            return False
        if self.by_address[address] >= self.limits.per_address:
            self.refused(address, "too many connections from this address")
            return False
        return True


def guarded(
    server: Callable[[], asyncio.BaseProtocol], limits: Limits, refused: Callable[[str, str], None]
) -> Callable[[], asyncio.Protocol]:
    """A protocol factory that lets `server`'s protocols have only those who introduce themselves in time."""
    doorstep = Doorstep(limits, refused)
    return lambda: _Visitor(cast(asyncio.Protocol, server()), doorstep)


class _Visitor(asyncio.Protocol):
    """Stands before the real protocol, and steps aside once the headers are there."""

    def __init__(self, inner: asyncio.Protocol, doorstep: Doorstep) -> None:
        self._inner = inner
        self._doorstep = doorstep
        self._address = ""
        self._tail = b""
        self._deadline: asyncio.TimerHandle | None = None
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._address = _address(transport)
        self._admitted = self._doorstep.admits(self._address)
        if not self._admitted:
            self._transport.abort()
            return
        self._doorstep.by_address[self._address] += 1
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._doorstep.limits.header_seconds, self._too_late)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        if self._deadline is not None:
            self._watch_for_the_end(data)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._admitted:
            return
        self._stop_the_clock()
        counts = self._doorstep.by_address
        counts[self._address] -= 1
        if not counts[self._address]:
            del counts[self._address]
        self._inner.connection_lost(exc)

    def _watch_for_the_end(self, data: bytes) -> None:
        # The empty line may come in pieces.
        seen = self._tail + data
        if _END_OF_HEADERS in seen:
            self._stop_the_clock()
            self._tail = b""
        else:
            self._tail = seen[-3:]

    def _stop_the_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        self._doorstep.refused(self._address, "no request in time")
        self._transport.abort()


def _address(transport: asyncio.BaseTransport) -> str:
    peer: Any = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
