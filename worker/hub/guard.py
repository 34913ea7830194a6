"""Who is let in at all, and how fast one may talk: origins, caps, token buckets, believed proxies.

Knows no token and no message; what it refuses, it refuses before anything is read.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Caps:
    """How many, and how fast."""

    total: int = 10_000
    """Connections in all."""
    per_address: int = 1_000
    per_user: int = 50
    evict: bool = False
    """Beyond per_user: end the user's oldest connection, or refuse the newest (the default: clients that come
    back by themselves would push each other out for ever)."""
    messages: float = 10.0
    """Messages per second from one connection that may not publish, on average."""
    message_burst: float = 100.0
    user_messages: float = 20.0
    """The same over all connections of a user."""
    user_burst: float = 200.0
    attempts: float = 200.0
    """New connections per second from one address, on average."""
    attempt_burst: float = 2_000.0
    strikes: int = 20
    """Refused messages after which a connection that may not publish is ended."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away: HTTP status, engine.io's error code and text."""

    status: int
    code: int
    text: str
    log: str
    """The reason as the log shows it."""


@dataclass(slots=True)
class Bucket:
    """A token bucket: `burst` at once, `rate` per second on average."""

    rate: float
    burst: float
    tokens: float
    at: float

    @classmethod
    def full(cls, rate: float, burst: float, now: float) -> "Bucket":
        return cls(rate, burst, burst, now)

    def take(self, now: float) -> bool:
        """Whether one more is allowed now (monotonic seconds)."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def is_empty(self, now: float) -> bool:
        """Whether one more would be refused."""
        return self.tokens + (now - self.at) * self.rate < 1

    def is_full(self, now: float) -> bool:
        return self.tokens + (now - self.at) * self.rate >= self.burst


@dataclass(slots=True)
class Guard:
    """Counts connections by address and judges requests."""

    caps: Caps
    monotonic: Callable[[], float]
    origins: frozenset[str] = frozenset()
    """Web origins besides our own whose pages may connect, lower case."""
    proxies: Sequence[Network] = ()
    """Whose forwarded headers are believed."""
    _by_address: Counter[str] = field(default_factory=Counter)
    _attempts: dict[str, Bucket] = field(default_factory=dict)
    _talk: dict[str, Bucket] = field(default_factory=dict)

    def address(self, request: web.Request) -> str:
        """The peer's address: the last one in X-Forwarded-For that is no proxy of ours."""
        address = request.remote or ""
        if not self._believed(address):
            return address
        for hop in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
            if not (hop := hop.strip()):
                continue
            address = hop
            if not self._believed(hop):
                break
        return address

    def refusal(self, request: web.Request, address: str) -> Refusal | None:
        """None: let it in."""
        if not self._own_or_allowed(request):
            return Refusal(403, 4, "Forbidden", "a page of a foreign origin")
        if not self._attempt(address):
            return Refusal(429, 3, "Too many attempts", "too many attempts from this address")
        if self._by_address.total() >= self.caps.total:
            return Refusal(503, 3, "Too many connections", "too many connections")
        if self._by_address[address] >= self.caps.per_address:
            return Refusal(429, 3, "Too many connections", "too many connections from this address")
        return None

    def entered(self, address: str) -> None:
        self._by_address[address] += 1

    def left(self, address: str) -> None:
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def bucket(self) -> Bucket:
        """For one connection's messages."""
        return Bucket.full(self.caps.messages, self.caps.message_burst, self.monotonic())

    def may_talk(self, user: str) -> bool:
        """Whether this user may send one more message, whatever the connection."""
        now = self.monotonic()
        bucket = self._talk.get(user)
        if bucket is None:
            bucket = self._talk[user] = Bucket.full(self.caps.user_messages, self.caps.user_burst, now)
        return bucket.take(now)

    def sweep(self) -> None:
        """Forget buckets that have nothing to say: a full one is as good as none."""
        now = self.monotonic()
        for buckets in (self._attempts, self._talk):
            for name in [name for name, bucket in buckets.items() if bucket.is_full(now)]:
                del buckets[name]

    def _attempt(self, address: str) -> bool:
        now = self.monotonic()
        bucket = self._attempts.get(address)
        if bucket is None:
            bucket = self._attempts[address] = Bucket.full(self.caps.attempts, self.caps.attempt_burst, now)
        return bucket.take(now)

    def _believed(self, address: str) -> bool:
        if not self.proxies:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.proxies)

    def _own_or_allowed(self, request: web.Request) -> bool:
        """Browsers always send Origin; who sends none is no page, and proves itself by its token alone (CWE-1385)."""
        origins = request.headers.getall("Origin", [])
        if not origins:
            return True
        origin = origins[0].lower()
        return len(origins) == 1 and (origin in self.origins or origin == self._own_origin(request))

    def _own_origin(self, request: web.Request) -> str:
        scheme, host = request.scheme, request.host
        if self._believed(request.remote or ""):
            scheme = request.headers.get("X-Forwarded-Proto", scheme).split(",")[0].strip()
            host = request.headers.get("X-Forwarded-Host", host).split(",")[0].strip()
        return f"{scheme}://{host}".lower()
