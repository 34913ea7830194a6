"""How fast one may ask, and how often one may guess. Knows no request."""

from collections.abc import Callable
from dataclasses import dataclass, field

from worker.hub.guard import Bucket

_MOST = 10_000
"""Names remembered at once; beyond it those with nothing to say are forgotten, and then the oldest."""


@dataclass(slots=True)
class Throttle:
    """A token bucket for each name."""

    rate: float
    """Per second, on average; 0: no limit."""
    burst: float
    monotonic: Callable[[], float]
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def take(self, name: str) -> float | None:
        """None: go on. Else the seconds until the next is allowed."""
        if not self.rate:
            return None
        now = self.monotonic()
        bucket = self._buckets.get(name) or self._new(name, now)
        return None if bucket.take(now) else (1 - bucket.tokens) / self.rate

    def wait(self, name: str) -> float | None:
        """What `take` would answer, without taking."""
        bucket = self._buckets.get(name)
        if not self.rate or bucket is None:
            return None
        tokens = bucket.tokens + (self.monotonic() - bucket.at) * self.rate
        return None if tokens >= 1 else (1 - tokens) / self.rate

    def _new(self, name: str, now: float) -> Bucket:
        if len(self._buckets) >= _MOST:
            self._forget(now)
        bucket = self._buckets[name] = Bucket.full(self.rate, self.burst, now)
        return bucket

    def _forget(self, now: float) -> None:
        for name in [name for name, bucket in self._buckets.items() if bucket.is_full(now)]:
            del self._buckets[name]
        while len(self._buckets) >= _MOST:
            del self._buckets[next(iter(self._buckets))]
