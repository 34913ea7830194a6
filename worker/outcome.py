"""What comes of an attempt: the whole retry rule, and who is charged for a crash. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from worker.failure import Failure, new_error_id
from worker.job import Job


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
    """Not news: the next attempt follows at `run_at`."""

    failure: Failure
    run_at: float
    suspect: bool = False
    """The attempt took the service down: the next one runs alone."""


@dataclass(frozen=True, slots=True)
class Failed:
    failure: Failure


@dataclass(frozen=True, slots=True)
class Cancelled:
    failure: Failure


Outcome = Succeeded | Retry | Failed | Cancelled
Ended = Succeeded | Failed | Cancelled
"""The outcomes that end a run, and so are told to the user."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with proportional jitter; all figures in seconds."""

    base: float = 5.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: float = 0.5

    def delay(self, attempt: int, spread: float) -> float:
        """Seconds before the attempt after `attempt`; `spread` in [0, 1) picks the place within ±jitter."""
        # The exponent is bounded: 2.0 ** 1024 would overflow, and the cap is reached long before.
        plain = min(self.cap, self.base * self.factor ** min(attempt - 1, 60))
        return plain * (1 + self.jitter * (2 * spread - 1))

    def delay_after(self, failure: Failure, attempt: int, spread: float) -> float:
        """The same, unless the other side asked for a longer pause; never longer than the longest there is."""
        return max(self.delay(attempt, spread), min(failure.retry_after or 0.0, self.cap))


def decide(attempt: Attempt, policy: RetryPolicy, now: float, spread: float) -> Outcome:
    """Success ends the run, a cancel ends it, what cannot succeed ends it, the last attempt ends it."""
    failure = attempt.failure
    if failure is None:
        return Succeeded(attempt.result)
    if failure.cancelled:
        return Cancelled(failure)
    if not failure.retryable or attempt.job.attempt >= attempt.job.max_attempts:
        return Failed(failure)
    return Retry(failure, now + policy.delay_after(failure, attempt.job.attempt, spread))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a job whose service died while it ran."""

    job: Job
    charged: Attempt | None
    """The attempt it is charged with; None: given back as a suspect, free of charge."""


def judge(orphans: Sequence[Job], now: float) -> list[Verdict]:
    """Charge only who must be guilty: the suspect that ran alone, or the only job there was.

    A suspect runs alone, so if the service died again it is the one. Several ordinary jobs are all
    suspects, and none is charged. The rest of the proof is their running one at a time.
    """
    guilty = orphans[0] if len(orphans) == 1 else None
    return [Verdict(job, _crash(job, now) if job is guilty else None) for job in orphans]


def _crash(job: Job, now: float) -> Attempt:
    failure = Failure(
        type="Crashed",
        message="The service ended while this job was running",
        stack_trace=None,
        error_id=new_error_id(),
    )
    return Attempt(job=job, started_at=now, finished_at=now, duration_ms=0.0, failure=failure)
