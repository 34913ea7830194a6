"""Counts events for metrics, statistics and pages.

The end of an attempt costs about a quarter of a microsecond here: one look-up and three additions. Everything else is
computed when it is requested.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from worker.core import events
from worker.core.outcome import Attempt, CancelledOutcome, Failed, Outcome, Retry, Succeeded
from worker.core.percentile import percentile
from worker.notifiers.socketio import events as link

if TYPE_CHECKING:  # the import takes 50 ms
    pass

OUTCOMES: Final[Mapping[type[Outcome], str]] = {
    Succeeded: "succeeded",
    Failed: "failed",
    Retry: "retried",
    CancelledOutcome: "cancelled",
}
DURATIONS: Final = (5.0, 10, 25, 50, 100, 250, 500, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 9e5, 3.6e6)
"""Upper bounds of the histogram of attempts, in milliseconds: 5 ms to an hour."""
LAGS: Final = (1.0, 2, 5, 10, 25, 50, 100, 250, 500, 1e3, 2.5e3, 5e3, 1e4)
"""The same of the event loop's lag."""
SECONDS: Final = 300
"""How many seconds of counts are kept, one count for each second."""
OTHER: Final = "other"
_MOST_TYPES: Final = 50
"""Error classes counted separately; without a limit, handlers could create any number of labels."""
_RECENT: Final = 1024
"""Attempts behind the percentiles."""


@dataclass(slots=True)
class Histogram:
    """Counts of values by upper bound, in milliseconds."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    """One more than there are bounds: the last counts larger values."""
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)


class PerSecondCounts(NamedTuple):
    """Jobs that were enqueued and ended within one second; `at` is its end (wall clock)."""

    at: float
    enqueued: int
    succeeded: int
    failed: int
    cancelled: int


_NOTHING: Final = PerSecondCounts(0.0, 0, 0, 0, 0)


@dataclass(slots=True)
class JobStats:
    """Totals since the start. `kinds` are the names that may become labels."""

    kinds: Collection[str] = ()
    attempts: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    """How long attempts took, by kind and outcome."""
    enqueued: Counter[str] = field(default_factory=Counter)
    """By kind; only known kinds are accepted."""
    cancelled_waiting: Counter[str] = field(default_factory=Counter)
    """Cancelled before they ran, by kind."""
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and class of error."""
    totals: Counter[str] = field(default_factory=Counter)
    """Events that are counted without labels, by name."""
    close_codes: Counter[str] = field(default_factory=Counter)
    """How the link's sessions ended."""
    lag: Histogram = field(default_factory=lambda: Histogram(LAGS))
    seconds: deque[PerSecondCounts] = field(default_factory=lambda: deque(maxlen=SECONDS))
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    """How long the last attempts took, in milliseconds."""
    _series: dict[type[Outcome], dict[str, Histogram]] = field(default_factory=lambda: {kind: {} for kind in OUTCOMES})
    """The histograms of `attempts` by class of outcome and kind, for known kinds."""
    _before: PerSecondCounts = _NOTHING

    def listeners(self) -> Mapping[type, Callable[[Any], None]]:
        """Return the listener for each type of event."""
        return {
            events.JobSettled: self.on_settled,
            events.JobsAccepted: lambda event: self.enqueued.update(event.kinds),
            events.WaitingJobCancelled: lambda event: self.cancelled_waiting.update((self._label(event.kind),)),
            events.JobsReleased: lambda event: self._add("released", len(event.jobs)),
            events.JobRecovered: lambda _: self._add("recovered"),
            events.OwnershipLost: lambda _: self._add("ownership_lost"),
            events.HandlerAbandoned: lambda _: self._add("abandoned"),
            events.LoopFailed: lambda _: self._add("loop_failures"),
            events.ListenerFailed: lambda _: self._add("listener_failures"),
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
        """Close one second. `now` is the wall clock."""
        total = PerSecondCounts(now, self.enqueued.total(), *self._ended())
        before, self._before = self._before, total
        self.seconds.append(PerSecondCounts(now, *(new - old for new, old in zip(total[1:], before[1:], strict=True))))

    def percentile(self, share: float) -> float | None:
        """Return a percentile of the durations of the latest attempts, in milliseconds; None: there was none yet."""
        return percentile(self.recent, share)

    def _ended(self) -> Sequence[int]:
        ended: Counter[str] = Counter()
        for (_kind, outcome), histogram in self.attempts.items():
            ended[outcome] += histogram.count
        return ended["succeeded"], ended["failed"], ended["cancelled"] + self.cancelled_waiting.total()

    def on_settled(self, event: events.JobSettled) -> None:
        """Count the end of an attempt."""
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


@dataclass(frozen=True, slots=True)
class Reloads:
    """How many reloads of the settings succeeded and failed since the start."""

    succeeded: int = 0
    failed: int = 0
    last_success: float | None = None
    """Wall clock."""
    last_failed: bool = False
