"""Counts the jobs that a limit is about, and says when it allows no more. In memory, for the writer's thread."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from worker.core.claim_rules import ClaimRules, HeldBy, Limit, LimitScope

if TYPE_CHECKING:
    from worker.stores.sqlite.line import Line

GaugeName = tuple[LimitScope, str]

_MINUTE = 60.0


class Gauge:
    """The jobs of one kind, user, organisation or API key: how many run and wait, and what is allowed."""

    __slots__ = ("closed", "limit", "name", "parked", "running", "scope", "starts", "waiting")

    def __init__(self, scope: LimitScope, name: str, limit: Limit | None, closed: HeldBy | None = None) -> None:
        self.scope = scope
        self.name = name
        self.limit = limit
        self.closed = closed
        """Set while none of these jobs may be claimed."""
        self.running = 0
        self.waiting = 0
        self.starts: deque[float] = deque()
        """When attempts were started within the last minute (monotonic clock)."""
        self.parked: dict[int, Line] = {}
        """Lines that had their turn when this gauge was full; by id."""

    def held_by(self, now: float) -> HeldBy | None:
        """Return why none of these jobs may be claimed at `now` (monotonic clock); None if one may."""
        if self.closed is not None or self.limit is None:
            return self.closed
        if self.limit.running is not None and self.running >= self.limit.running:
            return "running"
        return "per minute" if self.reopens_at(now) is not None else None

    def reopens_at(self, now: float) -> float | None:
        """Return when an attempt may start again (monotonic clock); None if it is not the rate that prevents it."""
        if self.limit is None or self.limit.per_minute is None:
            return None
        while self.starts and self.starts[0] <= now - _MINUTE:
            self.starts.popleft()
        return None if len(self.starts) < self.limit.per_minute else self.starts[-self.limit.per_minute] + _MINUTE

    def note_start(self, now: float) -> None:
        """Count an attempt for the rate (monotonic clock)."""
        if self.limit is not None and self.limit.per_minute is not None:
            self.starts.append(now)

    def forget_start(self) -> None:
        """Do not count the attempt that was noted last."""
        if self.starts:
            self.starts.pop()

    def require_place(self, jobs: int) -> None:
        """Raise LimitReached if `jobs` more may not wait."""
        if self.limit is not None:
            self.limit.require_place(self.name, self.waiting, jobs)

    def places(self) -> int:
        """Return how many of the lines that wait for this gauge may have their turn."""
        if self.limit is None or self.limit.running is None:
            return len(self.parked)
        return max(self.limit.running - self.running, 0)


class Gauges:
    """The gauges that are needed for the rules in force; each is made when a job needs it."""

    def __init__(self, rules: ClaimRules, paused: frozenset[str]) -> None:
        self.rules = rules
        self.paused = paused
        self._limits: Mapping[tuple[LimitScope, str | None], Limit] = {
            (limit.scope, limit.name): limit for limit in rules.limits
        }
        self._rates = [limit for limit in rules.limits if limit.per_minute is not None]
        self._made: dict[tuple[LimitScope, str], Gauge] = {}

    @property
    def needless(self) -> bool:
        """Whether no job has a gauge."""
        return not (self._limits or self.paused) and self.rules.kinds is None

    def of(self, line: "Line") -> Sequence[Gauge]:
        """Return the gauges that the line's jobs count in."""
        found = (self._gauge(scope, name) for scope, name in _names(line))
        return tuple(gauge for gauge in found if gauge is not None)

    def carry_over(self, old: "Gauges") -> None:
        """Take over when attempts were started: rules may change at any time, and the minute goes on."""
        for key, gauge in old._made.items():
            if gauge.starts and (mine := self._gauge(*key)) is not None:
                mine.starts.extend(gauge.starts)

    def made(self) -> Iterable[Gauge]:
        """Return the gauges that were needed so far."""
        return self._made.values()

    def timed(self) -> list[Gauge]:
        """Return gauges with a rate for which lines wait."""
        if not self._rates:
            return []
        return [gauge for gauge in self._made.values() if gauge.parked and gauge.limit in self._rates]

    def _gauge(self, scope: LimitScope, name: str) -> Gauge | None:
        made = self._made.get((scope, name))
        if made is not None:
            return made
        limit = self._limits.get((scope, name)) or self._limits.get((scope, None))
        closed = self._closed(name) if scope == "kind" else None
        if limit is None and closed is None:
            return None
        self._made[scope, name] = gauge = Gauge(scope, name, limit, closed)
        return gauge

    def _closed(self, kind: str) -> HeldBy | None:
        if self.rules.kinds is not None and kind not in self.rules.kinds:
            return "unserved"
        return "paused" if kind in self.paused else None


def _names(line: "Line") -> list[GaugeName]:
    """Return what limits may count the line's jobs by."""
    names: tuple[tuple[LimitScope, str | None], ...] = (
        ("kind", line.kind), ("user", line.user_id), ("organization", line.organization), ("key", line.submitter)
    )  # fmt: skip
    return [(scope, name) for scope, name in names if name is not None]
