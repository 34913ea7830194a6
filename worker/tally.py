"""Counts what happens, for metrics, figures and pages. A listener; knows no wording and no HTTP.

An attempt's end costs about a quarter of a microsecond here: one look-up, three additions. Everything else is
worked out when somebody asks.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from worker import events
from worker.orgsocket import link
from worker.outcome import Attempt, Cancelled, Failed, Outcome, Retry, Succeeded

OUTCOMES: Final[Mapping[type[Outcome], str]] = {
    Succeeded: "succeeded",
    Failed: "failed",
    Retry: "retried",
    Cancelled: "cancelled",
}
DURATIONS: Final = (5.0, 10, 25, 50, 100, 250, 500, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 9e5, 3.6e6)
"""Upper bounds of the histogram of attempts, in milliseconds: 5 ms to an hour."""
LAGS: Final = (1.0, 2, 5, 10, 25, 50, 100, 250, 500, 1e3, 2.5e3, 5e3, 1e4)
"""The same of the event loop's lag."""
SECONDS: Final = 300
"""How far back the figures per second go."""
OTHER: Final = "other"
_MOST_TYPES: Final = 50
"""Classes of errors told apart; a label that anything could write would grow for ever."""
_RECENT: Final = 1024
"""Attempts behind the percentiles."""


@dataclass(slots=True)
class Histogram:
    """Values by upper bound; milliseconds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    """One more than there are bounds: the last holds what lies beyond."""
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)


class Second(NamedTuple):
    """What ended and began within one second; `at` is its end, wall clock."""

    at: float
    enqueued: int
    succeeded: int
    failed: int
    cancelled: int


_NOTHING: Final = Second(0.0, 0, 0, 0, 0)


@dataclass(slots=True)
class Tally:
    """Totals since the start. `kinds` are the names that may become labels."""

    kinds: Collection[str] = ()
    attempts: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    """How long attempts took, by kind and outcome."""
    enqueued: Counter[str] = field(default_factory=Counter)
    """By kind: intake takes only those it knows."""
    cancelled_waiting: Counter[str] = field(default_factory=Counter)
    """Cancelled before they ran, by kind."""
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and class of error."""
    totals: Counter[str] = field(default_factory=Counter)
    """Whatever has one figure only."""
    close_codes: Counter[str] = field(default_factory=Counter)
    """How the link's sessions ended."""
    lag: Histogram = field(default_factory=lambda: Histogram(LAGS))
    seconds: deque[Second] = field(default_factory=lambda: deque(maxlen=SECONDS))
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """How long the last attempts took, in milliseconds."""
    _series: dict[type[Outcome], dict[str, Histogram]] = field(default_factory=lambda: {kind: {} for kind in OUTCOMES})
    """The same as `attempts` by what an event holds; for known kinds."""
    _before: Second = _NOTHING

    def listeners(self) -> Mapping[type, Callable[[Any], None]]:
        """What to call for which event."""
        return {
            events.JobSettled: self.settled,
            events.JobsAccepted: lambda event: self.enqueued.update(event.kinds),
            events.WaitingJobCancelled: lambda event: self.cancelled_waiting.update((self._label(event.kind),)),
            events.JobsReleased: lambda event: self._add("released", len(event.jobs)),
            events.JobRecovered: lambda _: self._add("recovered"),
            events.OwnershipLost: lambda _: self._add("ownership_lost"),
            events.HandlerAbandoned: lambda _: self._add("abandoned"),
            events.LoopFailed: lambda _: self._add("loop_failures"),
            events.LoopBlocked: lambda _: self._add("loop_blocked"),
            events.IntakeRefused: lambda _: self._add("store_full"),
            events.Pruned: lambda event: self._add("pruned", event.jobs),
            events.NotificationsDelivered: lambda event: self._add("delivered", event.count),
            events.NotificationRejected: lambda _: self._add("rejected"),
            link.Connect: lambda _: self._add("link_connects"),
            link.ConnectError: lambda _: self._add("link_connect_errors"),
            link.Disconnect: self._disconnected,
        }

    def tick(self, now: float) -> None:
        """A second is over."""
        total = Second(now, self.enqueued.total(), *self._ended())
        before, self._before = self._before, total
        self.seconds.append(Second(now, *(new - old for new, old in zip(total[1:], before[1:], strict=True))))

    def percentile(self, share: float) -> float | None:
        """Of how long the last attempts took, in milliseconds; None: there was none yet."""
        ordered = sorted(self.recent)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def _ended(self) -> Sequence[int]:
        ended: Counter[str] = Counter()
        for (_kind, outcome), histogram in self.attempts.items():
            ended[outcome] += histogram.count
        return ended["succeeded"], ended["failed"], ended["cancelled"] + self.cancelled_waiting.total()

    def settled(self, event: events.JobSettled) -> None:
        attempt = event.attempt
        milliseconds = attempt.duration_ms
        try:
            histogram = self._series[event.outcome.__class__][attempt.job.kind]
        except KeyError:
            histogram = self._new_series(attempt.job.kind, event.outcome.__class__)
        # Histogram.observe, without the call.
        histogram.counts[bisect_left(DURATIONS, milliseconds)] += 1
        histogram.total += milliseconds
        self.recent.append(milliseconds)
        if attempt.failure is not None:
            self._count_error(attempt, attempt.failure.type)

    def _new_series(self, kind: str, outcome: type[Outcome]) -> Histogram:
        found = self.attempts.setdefault((self._label(kind), OUTCOMES[outcome]), Histogram(DURATIONS))
        if kind in self.kinds:
            self._series[outcome][kind] = found
        return found

    def _count_error(self, attempt: Attempt, name: str) -> None:
        key = (self._label(attempt.job.kind), name)
        if key not in self.errors and len({kind for _, kind in self.errors}) >= _MOST_TYPES:
            key = (key[0], OTHER)
        self.errors[key] += 1

    def _disconnected(self, event: link.Disconnect) -> None:
        self.close_codes["none" if event.code is None else str(event.code)] += 1

    def _add(self, name: str, count: int = 1) -> None:
        self.totals[name] += count

    def _label(self, kind: str) -> str:
        return kind if kind in self.kinds else OTHER
