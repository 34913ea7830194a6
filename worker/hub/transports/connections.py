"""All connections of the hub, on any transport: who is admitted, what one may send, when all are closed.

Knows no protocol: what a message means is up to the endpoint (`ConnectionListener`).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from aiohttp import web

from worker.hub.close_codes import INTERNAL_ERROR, PROTOCOL_ERROR, TOO_BIG, TOO_MANY_CONNECTIONS, TOO_MANY_MESSAGES
from worker.hub.connection_limits import ConnectionLimiter, Rejection
from worker.hub.errors import MalformedPacket
from worker.hub.transports.transport import SharedMessage, Transport
from worker.net.rate_limit import TokenBucket

_RETRY_AFTER_SECONDS = "5"
_REJECTION_SECONDS = 10.0
"""After which a rejected message is forgotten."""
_PUBLISHER_FACTOR = 50.0
"""How many times more control frames a publisher may send than a user."""


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """The most bytes of one message from a client."""

    user: int = 64 * 1024
    """From clients that are not yet authenticated, or may not publish."""
    publisher: int = 1_000_000
    incomplete: int = 32 * 1024 * 1024
    """The most bytes that unfinished messages of all clients may hold together."""


@dataclass(slots=True, eq=False)
class Connection:
    """One connection, as every endpoint sees it. Times are monotonic."""

    address: str
    transport: Transport
    max_message_bytes: int
    last_received: float
    """When anything last came from the client."""
    message_bucket: TokenBucket | None
    """None: the client may publish, and is slowed down by the inbox instead."""
    control_bucket: TokenBucket
    """Limits WebSocket control frames and small fragments."""
    rejected_messages: float = 0.0
    """Lately: see `is_rejected_too_often`."""
    last_rejected: float = 0.0
    is_proven: bool = False
    """Whether the client has proven who it is. Until then it has a smaller share of the event loop, and makes room
    for others when the hub is full."""

    @property
    def closing(self) -> bool:
        """Whether the hub has closed the connection; nothing more is sent."""
        return self.transport.close_code is not None

    def send(self, message: bytes) -> None:
        """Send a message of the endpoint's protocol."""
        self.transport.send(message)

    def share(self, message: bytes) -> SharedMessage:
        """Return the message in a form that `transport.send_shared` of all connections of this endpoint can send."""
        return SharedMessage(message)

    async def send_when_ready(self, message: bytes) -> None:
        """Send the message, and wait while the client is behind. ConnectionError: the connection is lost."""
        await self.transport.send_when_ready(message)

    def close(self, code: int, reason: str) -> None:
        """Send the client the code and the reason in its protocol, then close; the first code and reason count."""
        if not self.closing:
            self.announce_close(code, reason)
            self.transport.close(code, reason)

    def announce_close(self, code: int, reason: str) -> None:
        """Send why the connection is about to be closed, in the endpoint's own form."""

    def allow_publishing(self, max_message_bytes: int) -> None:
        """Raise the limits to those of a publisher."""
        self.max_message_bytes = max_message_bytes
        self.message_bucket = None
        self.control_bucket = self.control_bucket.scaled(_PUBLISHER_FACTOR)

    def is_rejected_too_often(self, limit: int) -> bool:
        """Count a message that was rejected; return whether the connection has reached the limit.

        Rejections are forgotten in time, so that a client of another protocol that sends something now and then stays.
        """
        forgotten = (self.last_received - self.last_rejected) / _REJECTION_SECONDS
        self.rejected_messages = max(0.0, self.rejected_messages - forgotten) + 1
        self.last_rejected = self.last_received
        return self.rejected_messages > limit - 0.5

    def return_token(self) -> None:
        """Do not count the message that is being handled: the hub has asked for it."""
        if self.message_bucket is not None:
            self.message_bucket.give_back()


AnyConnection = TypeVar("AnyConnection", bound=Connection)


class ConnectionListener(Protocol[AnyConnection]):
    """An endpoint of the hub, as the transports see it."""

    name: str

    def on_open(self, request: web.Request, connection: Connection, /) -> AnyConnection:
        """Start the protocol; return the connection as this endpoint wants it back."""
        ...

    def is_requested(self, connection: AnyConnection, data: bytes, /) -> bool:
        """Return whether the message answers something that the hub sent. Such messages are not limited."""
        ...

    def on_message(self, connection: AnyConnection, data: bytes, *, binary: bool) -> None:
        """Handle one complete message. MalformedPacket closes the connection with 1002."""
        ...

    def on_pong(self, connection: AnyConnection) -> None:
        """The client confirmed the oldest unconfirmed `transport.ping()`."""
        ...

    def on_close(self, connection: AnyConnection, code: int, reason: str) -> None: ...


def is_preflight(request: web.Request) -> bool:
    """Return whether a browser asks if a page of another origin may send a request (CORS)."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


class ConnectionRegistry:
    """All open connections, and the rules for a new one and for each message."""

    def __init__(
        self,
        limiter: ConnectionLimiter,
        *,
        on_rejected: Callable[[str, str, str], None],
        on_error: Callable[[BaseException], None],
        wait_for_capacity: Callable[[], Awaitable[None]],
        message_limits: MessageLimits,
    ) -> None:
        """`on_rejected` gets (endpoint, address, reason), `on_error` faults of the hub itself; `wait_for_capacity` is
        awaited after each message, so that clients are read no faster than the inbox writes."""
        self.accepting = True
        self.message_limits = message_limits
        self.limiter = limiter
        self.on_rejected = on_rejected
        self.wait_for_capacity = wait_for_capacity
        self._on_error = on_error
        self._connections: set[Connection] = set()
        self._unproven: dict[Connection, None] = {}
        """Connections that had not authenticated when this was last looked at, the oldest first."""
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    def __len__(self) -> int:
        return len(self._connections)

    def check(self, request: web.Request, endpoint: str, *, known: bool = False) -> web.Response | None:
        """Return the response that rejects the request; None: it is admitted.

        `known`: the request belongs to an open connection. It does not count as an attempt to open one, and is served
        while the hub stops, so that the client learns the reason.
        """
        rejection = self._rejection(request, known=known)
        return None if rejection is None else self.reject(rejection, endpoint, self.limiter.address(request))

    def _rejection(self, request: web.Request, *, known: bool) -> Rejection | None:
        if not self.accepting and not known:
            return Rejection(503, 3, "The hub is stopping", "the hub is stopping")
        if (request.content_length or 0) > self.message_limits.publisher:
            return Rejection(413, 3, "Payload too large", "a body that is too large")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return Rejection(415, 3, "Compressed bodies are not accepted", "a compressed body")
        if known or is_preflight(request):
            return self.limiter.check_origin(request)
        return self.limiter.check(request, self.limiter.address(request), self._can_make_room)

    def _can_make_room(self) -> bool:
        """Return whether there is a connection that has not authenticated: the oldest makes room for a new one."""
        return self._oldest_unproven() is not None

    def _oldest_unproven(self) -> Connection | None:
        while self._unproven:
            connection = next(iter(self._unproven))
            if not connection.is_proven and not connection.transport.is_lost:
                return connection
            del self._unproven[connection]
        return None

    def _make_room(self) -> None:
        """End the oldest connection that has not authenticated."""
        connection = self._oldest_unproven()
        if connection is not None:
            del self._unproven[connection]
            self.on_rejected("hub", connection.address, "not authenticated while the hub was full")
            connection.transport.abort(TOO_MANY_CONNECTIONS, "the hub is full")

    async def readable_across_origins(
        self, request: web.Request, respond: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Return the response to the request, readable by a page of another origin that may connect.

        Without these headers its browser would hide an error from it.
        """
        response = await respond(request)
        if not response.prepared:
            response.headers.update(self.limiter.cors_headers(request))
        return response

    def reject(self, rejection: Rejection, endpoint: str, address: str) -> web.Response:
        """Report the rejection; return it as an Engine.IO error response."""
        self.on_rejected(endpoint, address, rejection.log_reason)
        response = web.json_response({"code": rejection.code, "message": rejection.message}, status=rejection.status)
        response.headers.update(rejection.headers)
        if rejection.status in (429, 503):
            response.headers["Retry-After"] = _RETRY_AFTER_SECONDS
        return response

    def open(
        self, request: web.Request, transport: Transport, endpoint: ConnectionListener[AnyConnection]
    ) -> AnyConnection:
        """Let the endpoint start a connection on this transport, and count it until `close`.

        If the hub is full, another one makes room: only now, for a request that is not valid must end nothing.
        """
        if self.limiter.is_full:
            self._make_room()
        connection = endpoint.on_open(
            request,
            Connection(
                address=self.limiter.address(request),
                transport=transport,
                max_message_bytes=self.message_limits.user,
                last_received=time.monotonic(),
                message_bucket=self.limiter.new_message_bucket(),
                control_bucket=self.limiter.new_control_bucket(),
            ),
        )
        transport.on_overflow = connection.close
        self._connections.add(connection)
        self._unproven[connection] = None
        self.limiter.add(connection.address)
        self._all_closed.clear()
        return connection

    def close(
        self, connection: AnyConnection, endpoint: ConnectionListener[AnyConnection], code: int, reason: str
    ) -> None:
        """Forget a connection that has ended; if the hub closed it, the hub's own code and reason are reported."""
        transport = connection.transport
        if transport.close_code is not None:
            code, reason = transport.close_code, transport.close_reason
        transport.close_after_flush()
        self._connections.discard(connection)
        self._unproven.pop(connection, None)
        self.limiter.remove(connection.address)
        if not self._connections:
            self._all_closed.set()
        endpoint.on_close(connection, code, reason)

    def receive(
        self, connection: AnyConnection, endpoint: ConnectionListener[AnyConnection], data: bytes, *, binary: bool
    ) -> None:
        """Give one complete message to the endpoint, or close the connection if it is too big or one too many."""
        if len(data) > connection.max_message_bytes:
            self.on_rejected(endpoint.name, connection.address, f"a message of {len(data)} bytes")
            connection.close(TOO_BIG, "too big")
            return
        if not _may_send(connection, endpoint, data):
            self.on_rejected(endpoint.name, connection.address, "too many messages")
            connection.close(TOO_MANY_MESSAGES, "too many messages")
            return
        try:
            endpoint.on_message(connection, data, binary=binary)
        except MalformedPacket as exc:
            self.on_rejected(endpoint.name, connection.address, str(exc))
            connection.close(PROTOCOL_ERROR, "parse error")
        except Exception as exc:  # noqa: BLE001 -- one client's message must not end the service for all
            self._on_error(exc)
            connection.close(INTERNAL_ERROR, "internal error")

    async def wait_closed(self, seconds: float) -> None:
        """Wait until there is no connection, for at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_closed.wait()

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection in an orderly way."""
        for connection in tuple(self._connections):
            connection.close(code, reason)

    def abort_all(self) -> None:
        """End every connection at once."""
        for connection in tuple(self._connections):
            connection.transport.abort()

    def sweep(self) -> None:
        """Abort connections whose loss was not noticed, and forget idle buckets: a safety net."""
        for connection in self._connections:
            if connection.transport.is_lost:
                connection.transport.abort()
        self._unproven = {connection: None for connection in self._unproven if not connection.is_proven}
        self.limiter.sweep()


def _may_send(connection: AnyConnection, endpoint: ConnectionListener[AnyConnection], data: bytes) -> bool:
    bucket = connection.message_bucket
    return bucket is None or endpoint.is_requested(connection, data) or bucket.take(connection.last_received)
