"""Passes on the progress of running jobs; it is never stored."""

from collections.abc import Callable
from dataclasses import dataclass, field

from worker.core.clock import Clock
from worker.core.job import Job
from worker.core.notification import progress

INTERVAL = 0.25
"""Seconds between two messages about one job."""
_MAX_REMEMBERED = 1024
"""Jobs remembered before those that may send again anyway are removed."""


@dataclass(slots=True)
class ProgressThrottle:
    """Sends at most one progress message per job and interval; `send` takes an encoded body and may drop it."""

    send: Callable[[bytes], None]
    event: str
    clock: Clock
    _last: dict[str, float] = field(default_factory=dict)

    def __call__(self, job: Job, percent: float, note: str) -> None:
        now = self.clock.monotonic()
        if now - self._last.get(job.id, -INTERVAL) < INTERVAL:
            return
        self._last[job.id] = now
        if len(self._last) > _MAX_REMEMBERED:
            self._last = {job_id: last for job_id, last in self._last.items() if now - last < INTERVAL}
        self.send(progress(job.id, job.kind, job.user_id, percent, note, self.event))


@dataclass(slots=True)
class ProgressBroadcaster:
    """Passes progress to all current listeners."""

    _listeners: tuple[Callable[[Job, float, str], None], ...] = ()

    def __call__(self, job: Job, percent: float, note: str) -> None:
        for listener in self._listeners:
            listener(job, percent, note)

    def add(self, listener: Callable[[Job, float, str], None]) -> Callable[[], None]:
        """Add a listener; return a function that removes it."""
        self._listeners = (*self._listeners, listener)

        def remove() -> None:
            self._listeners = tuple(known for known in self._listeners if known is not listener)

        return remove
