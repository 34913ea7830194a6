"""Limit the connections of a port, and close those that don't send their request headers in time (CWE-400).

aiohttp waits for the headers of the first request without a limit.

    port = HeaderTimeout(limits, rejected)
    server = await loop.create_server(port.guard(runner.server), sock=listener)
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from worker.net.client_address import Network, address_group, is_trusted
from worker.net.loop_share import LoopShare
from worker.net.rate_limit import RateLimiter
from worker.net.reserve import Reserve, ServedBeyondCaps

_END_OF_HEADERS: Final = b"\r\n\r\n"
_MAX_HEAD_BYTES: Final = 16 * 1024
"""Headers of a request beyond the caps."""
_BODY: Final = (
    b'{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"too many connections: try again later"}'
)
_REJECTION: Final = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
    b"Retry-After: 5\r\nConnection: close\r\n\r\n%b" % (len(_BODY), _BODY)
)


@dataclass(frozen=True, slots=True)
class HeaderLimits:
    """The limits of one port."""

    header_seconds: float = 5.0
    """From the connection to the end of the first request's headers."""
    total: int = 12_000
    """Connections in all. At this number, the oldest connection that has not sent a request yet makes room."""
    per_address: int = 1_200
    """Connections from one IPv4 address or one IPv6 /64; the trusted proxies are exempt."""
    per_second: float = 1_000.0
    """New connections from one address, on average; the trusted proxies are exempt."""
    burst: float = 5_000.0
    proxies: Sequence[Network] = ()
    """The trusted proxies: their clients are counted by the address that they forward, once there is a request."""
    reserve: Reserve | None = None
    """What is served beyond the caps; None: nothing is."""


@dataclass(slots=True)
class HeaderTimeout:
    """The connections of one port, counted by address."""

    limits: HeaderLimits
    rejected: Callable[[str, str], None]
    """Called with (address, reason)."""
    _by_group: Counter[str] = field(default_factory=Counter)
    _total: int = 0
    _pending: "dict[_PendingConnection, None]" = field(default_factory=dict)
    """Connections that have not sent a request yet, the oldest first."""
    _beyond: "dict[_PendingConnection, None]" = field(default_factory=dict)
    """Connections beyond the caps that have not sent a request yet, the oldest first."""
    _probes: "dict[_PendingConnection, None]" = field(default_factory=dict)
    """Connections beyond the caps with a probe's request, the oldest first."""
    _will_trim: bool = False
    share: LoopShare = field(default_factory=LoopShare)
    """Whose turn it is to have its first request served."""
    closed: bool = False
    """Whether the port closes: no connection is served that has not sent a request before."""
    _rates: RateLimiter = field(init=False)

    def __post_init__(self) -> None:
        self._rates = RateLimiter(self.limits.per_second, self.limits.burst, time.monotonic)

    def guard(self, server: Callable[[], asyncio.BaseProtocol]) -> Callable[[], asyncio.Protocol]:
        """Return a protocol factory that puts the caps and the header timeout before the protocols of `server`."""
        return lambda: _PendingConnection(cast(Callable[[], asyncio.Protocol], server), self)

    def close(self) -> None:
        """Close the connections that have not sent a request; the server knows the others, and closes them itself."""
        self.closed = True
        for connection in (*self._pending, *self._beyond, *self._probes):
            connection.evict()

    def reason_against(self, address: str, group: str) -> str | None:
        """Return which cap a new connection exceeds; None: it may be counted.

        Silent connections never keep others out: at the total, the oldest of them is closed.
        """
        if not is_trusted(address, self.limits.proxies):
            if self._by_group[group] >= self.limits.per_address:
                return "too many connections from this address"
            if self._rates.take(group) is not None:
                return "too many new connections from this address"
        if self._total >= self.limits.total:
            oldest = next(iter(self._pending), None)
            if oldest is None:
                return "too many connections"
            self.rejected(address, "too many connections")
            oldest.evict()
        return None

    def count(self, connection: "_PendingConnection", group: str) -> None:
        """Count a connection, whatever the caps."""
        self._by_group[group] += 1
        self._total += 1
        self._pending[connection] = None

    def hold_beyond(self, connection: "_PendingConnection", reserve: Reserve) -> None:
        """Take a connection into the reserve; the oldest of them makes room."""
        self._beyond[connection] = None
        self._trim_later(reserve)

    def hold_probe(self, connection: "_PendingConnection", reserve: Reserve) -> None:
        """A connection of the reserve has sent a probe's request: silent ones no longer take its place."""
        self._beyond.pop(connection, None)
        self._probes[connection] = None
        self._trim_later(reserve)

    def _trim_later(self, reserve: Reserve) -> None:
        """Close the oldest connections beyond the reserve, after the next look at the sockets.

        A busy loop accepts many connections in one turn, and reads what they have sent in the next: a probe among them
        would have to make room before its request is read. The operating system bounds how many one turn accepts.
        """
        if not self._will_trim and (len(self._beyond) > reserve.silent or len(self._probes) > reserve.probes):
            self._will_trim = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._trim, reserve)

    def _trim(self, reserve: Reserve) -> None:
        self._will_trim = False
        for held, most in ((self._beyond, reserve.silent), (self._probes, reserve.probes)):
            while len(held) > most:
                next(iter(held)).evict()

    def on_headers(self, connection: "_PendingConnection") -> None:
        """The connection has sent a request's headers."""
        self._pending.pop(connection, None)

    def release_beyond(self, connection: "_PendingConnection") -> None:
        """Let a connection leave the reserve."""
        self._beyond.pop(connection, None)
        self._probes.pop(connection, None)

    def release(self, connection: "_PendingConnection", group: str) -> None:
        """Stop counting a connection that was counted."""
        self._pending.pop(connection, None)
        self._total -= 1
        self._by_group[group] -= 1
        if not self._by_group[group]:
            del self._by_group[group]


class _PendingConnection(asyncio.Protocol):
    """Passes everything on to the real protocol, and watches the clock until the headers are complete.

    The real protocol is created when something arrives and it is the connection's turn: one that is silent or rejected
    costs next to nothing, and probes need not wait for the others.
    """

    def __init__(self, server: Callable[[], asyncio.Protocol], header_timeout: HeaderTimeout) -> None:
        self._server = server
        self._header_timeout = header_timeout
        self._inner: asyncio.Protocol | None = None
        self._address = self._group = ""
        self._received = b""
        """What came before the real protocol was created, then what may be the beginning of the end of the headers."""
        self._reason = ""
        """The cap that the connection exceeds; empty: none."""
        self._is_lost = False
        self._deadline: asyncio.TimerHandle | None = None
        self._is_counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._header_timeout.closed:
            self._transport.abort()
            return
        self._address = _peer_address(transport)
        self._group = address_group(self._address)
        limits = self._header_timeout.limits
        reason = self._header_timeout.reason_against(self._address, self._group)
        if reason is None:
            self._count()
        elif limits.reserve is None:
            self._reject(reason)
            return
        else:
            self._reason = reason
            self._header_timeout.hold_beyond(self, limits.reserve)
        self._deadline = asyncio.get_running_loop().call_later(limits.header_seconds, self._time_out)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            if self._deadline is not None:
                self._look_for_end_of_headers(self._received + data)
            self._inner.data_received(data)
        elif not self._transport.is_closing():
            self._received += data
            if self._reason:
                self._look_for_reserve()
            else:
                self._wait_for_turn()

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def _wait_for_turn(self) -> None:
        """Read no more until it is the connection's turn; that of a probe or an administrator is now."""
        if self._look_for_end_of_headers(self._received) and self._served_beyond_caps() is not None:
            self._start()
            return
        self._transport.pause_reading()
        self._header_timeout.share.call(self._take_turn)

    def _take_turn(self) -> bool:
        if self._is_lost or self._transport.is_closing():
            return False
        if self._header_timeout.closed:
            self._transport.abort()
            return False
        self._transport.resume_reading()
        self._start()
        return True

    def _served_beyond_caps(self) -> ServedBeyondCaps | None:
        reserve = self._header_timeout.limits.reserve
        return None if reserve is None else reserve.admits(self._received)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._cancel_deadline()
        self._release()
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def evict(self) -> None:
        """Close the connection, and stop counting it at once."""
        self._release()
        self._transport.abort()

    def _count(self) -> None:
        self._is_counted = True
        self._header_timeout.count(self, self._group)

    def _start(self) -> None:
        """Create the real protocol, and give it what has come."""
        received, self._received = self._received, self._received[-3:] if self._deadline is not None else b""
        self._inner = self._server()
        self._inner.connection_made(self._transport)
        self._inner.data_received(received)

    def _reject(self, reason: str) -> None:
        self._header_timeout.rejected(self._address, reason)
        self._transport.abort()

    def _release(self) -> None:
        self._header_timeout.release_beyond(self)
        if self._is_counted:
            self._is_counted = False
            self._header_timeout.release(self, self._group)

    def _look_for_reserve(self) -> None:
        """Serve the request beyond the caps, or reject it, once its headers have come."""
        if len(self._received) > _MAX_HEAD_BYTES:
            self._reject(self._reason)
        elif _END_OF_HEADERS in self._received:
            self._cancel_deadline()
            admitted = self._served_beyond_caps()
            if admitted is None:
                self._header_timeout.rejected(self._address, self._reason)
                self._transport.write(_REJECTION)
                self._transport.close()
                return
            # An administrator's connection lasts; that of a probe stays in the reserve, and may have to make room.
            reserve = self._header_timeout.limits.reserve
            if admitted is ServedBeyondCaps.PROBE and reserve is not None:
                self._header_timeout.hold_probe(self, reserve)
            else:
                self._header_timeout.release_beyond(self)
                self._count()
                self._header_timeout.on_headers(self)
            self._start()

    def _look_for_end_of_headers(self, received: bytes) -> bool:
        """Return whether the headers have ended."""
        if _END_OF_HEADERS not in received:
            if self._inner is not None:
                # The empty line may be split between two reads.
                self._received = received[-3:]
            return False
        self._cancel_deadline()
        self._header_timeout.on_headers(self)
        if self._inner is not None:
            self._received = b""
        return True

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        self._deadline = None
        self._reject("no request in time")


def _peer_address(transport: asyncio.BaseTransport) -> str:
    """Return the peer's IP address; empty for a UNIX socket."""
    peer: Any = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
