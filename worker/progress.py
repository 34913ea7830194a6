"""How far running jobs are: kept for who asks, and told over the link if wanted; never stored."""

from collections.abc import Callable
from dataclasses import dataclass, field

from worker.clock import Clock
from worker.job import Job
from worker.notification import progress

INTERVAL = 0.25
"""Seconds between two messages about one job."""
_MANY = 1024
"""Jobs remembered before those that may speak again anyway are forgotten."""


@dataclass(slots=True)
class ProgressTeller:
    """Throttles progress messages; `send` takes an encoded body and may drop it."""

    send: Callable[[bytes], None]
    event: str
    clock: Clock
    _last: dict[str, float] = field(default_factory=dict)

    def __call__(self, job: Job, percent: float, note: str) -> None:
        now = self.clock.monotonic()
        if now - self._last.get(job.id, -INTERVAL) < INTERVAL:
            return
        self._last[job.id] = now
        if len(self._last) > _MANY:
            self._last = {job_id: last for job_id, last in self._last.items() if now - last < INTERVAL}
        self.send(progress(job.id, job.kind, job.user_id, percent, note, self.event))


@dataclass(slots=True)
class ProgressFan:
    """Hands progress to whoever wants it at the moment; at first nobody does."""

    _takers: tuple[Callable[[Job, float, str], None], ...] = ()

    def __call__(self, job: Job, percent: float, note: str) -> None:
        for taker in self._takers:
            taker(job, percent, note)

    def add(self, taker: Callable[[Job, float, str], None]) -> Callable[[], None]:
        """From now on it is told; calling what this gives ends it."""
        self._takers = (*self._takers, taker)

        def remove() -> None:
            self._takers = tuple(known for known in self._takers if known is not taker)

        return remove
