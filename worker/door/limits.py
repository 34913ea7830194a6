"""How fast one may ask, and how often one may guess. Knows no request."""

from collections.abc import Callable
from dataclasses import dataclass, field

from worker.hub.guard import Bucket

_MOST = 10_000
"""Names remembered at once."""


@dataclass(slots=True)
class Throttle:
    """A token bucket for each name."""

    rate: float
    """Per second, on average; 0: no limit."""
    burst: float
    monotonic: Callable[[], float]
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """How many names are remembered."""
        return len(self._buckets)

    def take(self, name: str) -> float | None:
        """None: go on. Else the seconds until the next is allowed."""
        if not self.rate:
            return None
        now = self.monotonic()
        bucket = self._buckets.pop(name, None) or self._new(now)
        self._buckets[name] = bucket  # last: whoever asked longest ago is forgotten first, for he has waited most
        return None if bucket.take(now) else (1 - bucket.tokens) / self.rate

    def wait(self, name: str) -> float | None:
        """What `take` would answer, without taking."""
        bucket = self._buckets.get(name)
        if not self.rate or bucket is None:
            return None
        tokens = bucket.tokens + (self.monotonic() - bucket.at) * self.rate
        return None if tokens >= 1 else (1 - tokens) / self.rate

    def _new(self, now: float) -> Bucket:
        while len(self._buckets) >= _MOST:
            del self._buckets[next(iter(self._buckets))]
        return Bucket.full(self.rate, self.burst, now)
