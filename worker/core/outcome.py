"""Decides what follows an attempt: the retry rule, and which job is charged for a crash. Pure functions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from worker.core.failure import Failure, new_error_id
from worker.core.job import Job
from worker.core.owner import boot_of


class Attempt(NamedTuple):
    """One timed run of a job's handler."""

    job: Job
    started_at: float
    finished_at: float
    duration_ms: float
    """Monotonic clock; milliseconds, two decimals."""
    result: bytes | None = None
    """The handler's summary as JSON, if it returned one."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    result: bytes | None


@dataclass(frozen=True, slots=True)
class Retry:
    """The next attempt follows at `run_at` (wall clock); the user is not notified."""

    failure: Failure
    run_at: float
    suspect: bool = False
    """The attempt crashed the service: the next one runs alone."""
    delay: float = math.inf
    """Seconds until `run_at` when this was decided: the job never waits longer, whatever the clock does until it is
    written."""

    def run_at_from(self, now: float) -> float:
        """Return when the next attempt follows if this is written at `now` (wall clock)."""
        return min(self.run_at, now + self.delay)


@dataclass(frozen=True, slots=True)
class Failed:
    failure: Failure


@dataclass(frozen=True, slots=True)
class CancelledOutcome:
    failure: Failure


Outcome = Succeeded | Retry | Failed | CancelledOutcome
Ended = Succeeded | Failed | CancelledOutcome
"""The outcomes that end a run, of which the user is notified."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with proportional jitter; all times in seconds."""

    base: float = 5.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: float = 0.5

    def delay(self, attempt: int, spread: float) -> float:
        """Return the seconds between `attempt` and the next; `spread` in [0, 1) picks the place within ±jitter."""
        # The exponent is bounded: 2.0 ** 1024 would overflow, and the cap is reached long before.
        plain = min(self.cap, self.base * self.factor ** min(attempt - 1, 60))
        return plain * (1 + self.jitter * (2 * spread - 1))

    def delay_after(self, failure: Failure, attempt: int, spread: float) -> float:
        """Return the same, or the pause that the other side requested if it is longer; at most `cap`."""
        return max(self.delay(attempt, spread), min(failure.retry_after or 0.0, self.cap))


def decide(attempt: Attempt, policy: RetryPolicy, now: float, spread: float) -> Outcome:
    """Return the outcome: a retry if the attempt failed, may succeed later, and was not the last one."""
    failure = attempt.failure
    if failure is None:
        return Succeeded(attempt.result)
    if failure.cancelled:
        return CancelledOutcome(failure)
    if not failure.retryable or attempt.job.attempt >= attempt.job.max_attempts:
        return Failed(failure)
    delay = policy.delay_after(failure, attempt.job.attempt, spread)
    return Retry(failure, now + delay, delay=delay)


Placement = Literal["child", "movable", "service"]
"""Where jobs of a kind run: in child processes; in the service, but a child process can run them too; only there."""

ISOLATION_CRASHES = 2
"""Crashes of the service during one run of a job after which the job is isolated."""


def is_isolated(job: Job) -> bool:
    """Return whether the job has to run where its crash cannot end the service, or alone if it cannot."""
    return job.suspect or job.crashes >= ISOLATION_CRASHES


@dataclass(frozen=True, slots=True)
class RecoveryDecision:
    """What happens to a job whose service died while it ran."""

    job: Job
    charged: Attempt | None = None
    """The attempt that it is charged with; None if it is released and not charged."""
    crashed: bool = False
    """The crash is remembered: the job may have caused it."""
    suspect: bool = False
    """The job runs alone from now on."""

    @property
    def consequence(self) -> str:
        """What happens to the job, for the log."""
        if self.charged is not None:
            return f"is charged with attempt {self.job.attempt}"
        if self.suspect:
            return "will run alone"
        isolated = self.crashed and self.job.crashes + 1 >= ISOLATION_CRASHES
        return "will run in a child process" if isolated else "will run again"


def decide_recovery(
    orphans: Sequence[Job], now: float, boot: str, placement_of: Callable[[str], Placement]
) -> list[RecoveryDecision]:
    """Return a decision for each job that was running when its service died; `boot` is that of this start.

    A job is not suspected if the machine has been started again since, which ends every service, nor if it ran in a
    child process, whose crash does not end the service. Others are isolated after their second crash: in a child
    process, next to all other jobs, or alone if their kind cannot run in one. A job is charged with the end of the
    service only if it ran alone; what it does in a child process is charged when the child dies.
    """
    return [_decide_one(job, now, boot, placement_of(job.kind)) for job in orphans]


def _decide_one(job: Job, now: float, boot: str, placement: Placement) -> RecoveryDecision:
    earlier = boot_of(job.owner)
    was_rebooted = bool(earlier and boot) and earlier != boot
    if was_rebooted or placement == "child" or (placement == "movable" and is_isolated(job)):
        return RecoveryDecision(job)
    if placement == "service" and job.suspect:
        return RecoveryDecision(job, charged=_crash(job, now))
    isolated = job.crashes + 1 >= ISOLATION_CRASHES
    return RecoveryDecision(job, crashed=True, suspect=isolated and placement == "service")


def _crash(job: Job, now: float) -> Attempt:
    failure = Failure(
        type="Crashed",
        message="The service ended while this job was running",
        stack_trace=None,
        error_id=new_error_id(),
    )
    return Attempt(job=job, started_at=now, finished_at=now, duration_ms=0.0, failure=failure)
