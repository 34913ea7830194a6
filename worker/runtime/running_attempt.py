"""A running attempt of a job, which is also the handler's context when it runs in this process."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from worker.core.job import Job
from worker.core.outcome import Attempt

Cause = Literal["timeout", "cancel", "stop"]
Progress = Callable[[Job, float, str], None]
OnEnd = Callable[["RunningAttempt", Attempt | None], None]
"""Called once in the event loop when the attempt has ended; None: the job is released, because of a shutdown or a
shortage."""


@dataclass(slots=True, eq=False)
class RunningAttempt:
    """A running attempt; also the handler's context when it runs in this process."""

    job: Job
    on_end: OnEnd
    started_at: float
    started: float
    settings: Any = None
    cause: Cause | None = None
    seconds: float = 0.0
    """The timeout that applies."""
    paused_before: float = 0.0
    """Seconds for which the process had been stopped before this attempt began."""
    on_progress: Progress | None = None
    loop: asyncio.AbstractEventLoop | None = None
    ended: bool = False
    stop_request: asyncio.Event | None = None
    """For a child process: set when it is asked to stop."""
    in_child: bool = False
    shortage: str = ""
    """The limit of the system because of which the attempt could not begin."""
    work: asyncio.Task[None] | None = None
    percent: float = 0.0
    note: str = ""

    @property
    def job_id(self) -> str:
        return self.job.id

    @property
    def user_id(self) -> str:
        return self.job.user_id

    @property
    def attempt(self) -> int:
        return self.job.attempt

    @property
    def cancelled(self) -> bool:
        return self.cause is not None

    @property
    def waits_for_child(self) -> bool:
        return self.stop_request is not None and not self.in_child

    def progress(self, percent: float, note: str = "") -> None:
        """Report progress, from a coroutine or from a handler's thread."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.set_progress, percent, note)

    def set_progress(self, percent: float, note: str) -> None:
        self.percent, self.note = max(0.0, min(100.0, percent)), note
        if self.on_progress is not None and not self.ended:
            self.on_progress(self.job, self.percent, self.note)
