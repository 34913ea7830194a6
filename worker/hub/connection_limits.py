"""Decide which requests the hub admits, and how fast clients may send: origins, caps, rate limits.

Knows no token and no message; a rejected request is rejected before its body is read.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from worker.net.client_address import Network, address_group, client_address, own_origin
from worker.net.rate_limit import TokenBucket

_MAX_LOGGED_ORIGIN: Final = 200


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The caps on connections, and the rates of messages. An address is an IPv4 address or an IPv6 /64."""

    total: int = 10_000
    """Connections in all."""
    per_address: int = 1_000
    per_user: int = 50
    evict_oldest: bool = False
    """Above per_user: close the user's oldest connection, or reject the newest (the default: clients that reconnect
    by themselves would close each other's connections indefinitely)."""
    messages_per_second: float = 10.0
    """Messages from one connection that may not publish, on average."""
    message_burst: float = 100.0
    control_frames_per_second: float = 20.0
    """WebSocket control frames and small fragments from one connection that may not publish, on average."""
    control_frame_burst: float = 200.0
    user_messages_per_second: float = 20.0
    """The same, over all connections of a user."""
    user_message_burst: float = 200.0
    attempts_per_second: float = 200.0
    """New connections from one address, on average."""
    attempt_burst: float = 2_000.0
    rejected_messages: int = 20
    """Rejected messages after which a connection that may not publish is closed; one is forgotten every 10 s."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request is rejected: the HTTP status, and Engine.IO's error code and message."""

    status: int
    code: int
    message: str
    log_reason: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ConnectionLimiter:
    """Counts connections by address, and decides which requests are admitted."""

    limits: ConnectionLimits
    monotonic: Callable[[], float]
    origins: frozenset[str] = frozenset()
    """Origins of other web pages that may connect, in lower case."""
    proxies: Sequence[Network] = ()
    """The proxies whose forwarded headers are trusted."""
    _by_address: Counter[str] = field(default_factory=Counter)
    _total: int = 0
    _attempts: dict[str, TokenBucket] = field(default_factory=dict)
    _user_messages: dict[str, TokenBucket] = field(default_factory=dict)

    def address(self, request: web.Request) -> str:
        """Return the client's address behind the trusted proxies."""
        return client_address(request, self.proxies)

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections in all as there may be."""
        return self._total >= self.limits.total

    def check(
        self, request: web.Request, address: str, can_make_room: Callable[[], bool] = lambda: False
    ) -> Rejection | None:
        """Return why the request is rejected; None: it is admitted. Each call counts as one attempt.

        `can_make_room` is called when the hub is full: whether another connection would be closed for this one.
        """
        rejection = self.check_origin(request)
        if rejection is not None:
            return rejection
        group = address_group(address)
        if not self._take_attempt(group):
            return Rejection(429, 3, "Too many attempts", "too many attempts from this address")
        if self._by_address[group] >= self.limits.per_address:
            return Rejection(429, 3, "Too many connections", "too many connections from this address")
        if self.is_full and not can_make_room():
            return Rejection(503, 3, "Too many connections", "too many connections")
        return None

    def check_origin(self, request: web.Request) -> Rejection | None:
        """Return why a request from its web page is rejected; None: it is admitted."""
        if self._is_allowed_origin(request):
            return None
        origin = request.headers["Origin"][:_MAX_LOGGED_ORIGIN]
        return Rejection(
            403, 4, "Forbidden", f"a page of the origin {origin!r}, which Hub:AllowedOrigins does not name"
        )

    def cors_headers(self, request: web.Request) -> Mapping[str, str]:
        """Return the headers by which the browser lets a page of an allowed origin read the response."""
        origin = request.headers.get("Origin")
        if origin is None or not self._is_allowed_origin(request):
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "authorization, content-type",
            "Access-Control-Max-Age": "600",
            "Vary": "Origin",
        }

    def add(self, address: str) -> None:
        """Count a new connection."""
        self._by_address[address_group(address)] += 1
        self._total += 1

    def remove(self, address: str) -> None:
        """Stop counting a connection."""
        group = address_group(address)
        self._total -= 1
        self._by_address[group] -= 1
        if not self._by_address[group]:
            del self._by_address[group]

    def new_message_bucket(self) -> TokenBucket:
        """Return a bucket for the messages of one connection."""
        limits = self.limits
        return TokenBucket.full(limits.messages_per_second, limits.message_burst, self.monotonic())

    def new_control_bucket(self) -> TokenBucket:
        """Return a bucket for the control frames of one connection."""
        limits = self.limits
        return TokenBucket.full(limits.control_frames_per_second, limits.control_frame_burst, self.monotonic())

    def take_user_message(self, user: str) -> bool:
        """Count one message of this user, on whatever connection; return False if it is one too many."""
        now, limits = self.monotonic(), self.limits
        bucket = self._user_messages.get(user)
        if bucket is None:
            bucket = TokenBucket.full(limits.user_messages_per_second, limits.user_message_burst, now)
            self._user_messages[user] = bucket
        return bucket.take(now)

    def sweep(self) -> None:
        """Forget full buckets: a new one would be the same."""
        now = self.monotonic()
        for buckets in (self._attempts, self._user_messages):
            for name in [name for name, bucket in buckets.items() if bucket.is_full(now)]:
                del buckets[name]

    def _take_attempt(self, group: str) -> bool:
        now, limits = self.monotonic(), self.limits
        bucket = self._attempts.get(group)
        if bucket is None:
            bucket = self._attempts[group] = TokenBucket.full(limits.attempts_per_second, limits.attempt_burst, now)
        return bucket.take(now)

    def _is_allowed_origin(self, request: web.Request) -> bool:
        """Return whether the request may come from its web page (CWE-1385).

        Browsers always send Origin. A client without it is not a web page, and proves its identity by its token alone.
        """
        origins = request.headers.getall("Origin", [])
        if not origins:
            return True
        origin = origins[0].lower()
        return len(origins) == 1 and (origin in self.origins or origin == own_origin(request, self.proxies))
