"""Runs fewer jobs at once while the system has no thread, file or memory left to start more."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.core.clock import Clock
from worker.core.events import Emit, ResourcesShort, ResourcesSuffice
from worker.core.job import Job

_REPORTED_SECONDS = 30.0
"""How long after the last failed start the shortage is shown; then it is over, and the next one is logged again."""


@dataclass(slots=True)
class ShortageLimiter:
    """How many jobs may run at once: none for a moment after a failed start, then what ran, then one more each time."""

    clock: Clock
    emit: Emit
    on_resume: Callable[[], None]
    """Called when jobs may be started again."""
    concurrency: int
    first_pause: float = 0.5
    longest_pause: float = 30.0
    """Seconds."""
    slots: int = field(init=False)
    """At most this many attempts may run now."""
    _limit: str = ""
    _last: float = float("-inf")
    _pause: float = 0.0
    _timer: asyncio.TimerHandle | None = None
    _began: float = 0.0
    _end: asyncio.TimerHandle | None = None
    """Reports that the shortage is over, unless another start fails before."""

    def __post_init__(self) -> None:
        self.slots = self.concurrency

    @property
    def current(self) -> str:
        """The limit that was reached in the last half minute, with the remedy; empty: none."""
        return self._limit if self.clock.monotonic() - self._last < _REPORTED_SECONDS else ""

    def resize(self, concurrency: int) -> None:
        """Change the number of slots that apply without a shortage."""
        self.concurrency = concurrency
        if not self.current:
            self.slots = concurrency

    def on_shortage(self, job: Job, limit: str, running: int) -> None:
        """Start nothing for a while: the attempt of `job` could not begin while `running` others ran."""
        if limit != self.current:
            self.emit(ResourcesShort(job, limit))
        if self._end is None:
            self._began = self.clock.monotonic()
        else:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(_REPORTED_SECONDS, self._report_end)
        self._limit, self._last = limit, self.clock.monotonic()
        if self._timer is not None:
            return  # one of several that failed at the same time
        self._pause = min(self.longest_pause, 2 * self._pause) or self.first_pause
        self.slots = 0
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._resume, max(1, running))

    def on_end(self) -> None:
        """Allow one more: an attempt that had begun has ended."""
        if self.slots != self.concurrency and self._timer is None:
            self.slots = self.concurrency if not self.current else min(self.concurrency, self.slots + 1)
            self._pause = self._pause / 2 if self.slots != self.concurrency else 0.0

    def _report_end(self) -> None:
        self._end = None
        self.emit(ResourcesSuffice(self._last - self._began))

    def _resume(self, slots: int) -> None:
        self._timer = None
        self.slots = min(slots, self.concurrency)
        self.on_resume()
