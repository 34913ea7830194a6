"""Rate limits: token buckets, one or one per name."""

from collections.abc import Callable
from dataclasses import dataclass, field

_MAX_NAMES = 10_000
"""Names remembered at the same time."""


@dataclass(slots=True)
class TokenBucket:
    """A token bucket: `burst` at once, `rate` per second on average. Times are monotonic seconds."""

    rate: float
    burst: float
    tokens: float
    updated_at: float

    @classmethod
    def full(cls, rate: float, burst: float, now: float) -> "TokenBucket":
        """Return a bucket with all its tokens."""
        return cls(rate, burst, burst, now)

    def take(self, now: float) -> bool:
        """Take one token; return False, and take nothing, if there is none."""
        self.tokens = min(self.burst, self.tokens + (now - self.updated_at) * self.rate)
        self.updated_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def scaled(self, factor: float) -> "TokenBucket":
        """Return a full bucket of so many times the rate and the burst."""
        return TokenBucket(self.rate * factor, self.burst * factor, self.burst * factor, self.updated_at)

    def give_back(self) -> None:
        """Return the token that was taken last."""
        self.tokens = min(self.burst, self.tokens + 1)

    def is_empty(self, now: float) -> bool:
        """Return whether `take` would return False."""
        return self.tokens + (now - self.updated_at) * self.rate < 1

    def is_full(self, now: float) -> bool:
        """Return whether the bucket has all its tokens again, and so can be forgotten."""
        return self.tokens + (now - self.updated_at) * self.rate >= self.burst


class BoundedReporter:
    """Passes reports on at a bounded rate; the next one that is passed on says how many were not."""

    def __init__(
        self,
        report: Callable[[str, str], None],
        monotonic: Callable[[], float],
        *,
        per_second: float = 2.0,
        burst: float = 20.0,
        note: str = " (and {:,} more rejections before this one)",
    ) -> None:
        """`report` takes an address, or another place, and a reason; `note` is added to the first one after others."""
        self._report = report
        self._monotonic = monotonic
        self._bucket = TokenBucket.full(per_second, burst, monotonic())
        self._left_out = 0
        self._note = note

    def __call__(self, address: str, reason: str) -> None:
        """Report, or only count."""
        if not self._bucket.take(self._monotonic()):
            self._left_out += 1
            return
        more = self._note.format(self._left_out) if self._left_out else ""
        self._left_out = 0
        self._report(address, reason + more)


@dataclass(slots=True)
class RateLimiter:
    """One token bucket per name, for at most 10,000 names."""

    rate: float
    """Per second, on average; 0: no limit."""
    burst: float
    monotonic: Callable[[], float]
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)

    @property
    def remembered_names(self) -> int:
        """The number of names with a bucket."""
        return len(self._buckets)

    def take(self, name: str) -> float | None:
        """Take one token of this name; return None if there was one, else the seconds until the next."""
        if not self.rate:
            return None
        now = self.monotonic()
        bucket = self._buckets.pop(name, None) or self._new_bucket(now)
        # Put last: the name that was not used for the longest time is forgotten first, for its bucket is the fullest.
        self._buckets[name] = bucket
        return None if bucket.take(now) else (1 - bucket.tokens) / self.rate

    def wait(self, name: str) -> float | None:
        """Return what `take` would return, without taking a token."""
        bucket = self._buckets.get(name)
        if not self.rate or bucket is None:
            return None
        tokens = bucket.tokens + (self.monotonic() - bucket.updated_at) * self.rate
        return None if tokens >= 1 else (1 - tokens) / self.rate

    def _new_bucket(self, now: float) -> TokenBucket:
        while len(self._buckets) >= _MAX_NAMES:
            del self._buckets[next(iter(self._buckets))]
        return TokenBucket.full(self.rate, self.burst, now)
