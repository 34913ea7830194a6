"""A job and the states it goes through. Frozen data; knows no queue, no handler, no clock.

What is made anew for every job that passes is a named tuple: a frozen dataclass of a dozen fields takes five times as
long to make, a microsecond each (docs/adr/0006).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple


class JobState(StrEnum):
    """Where a job stands. A delayed job is `queued` with a `run_at` that lies ahead."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL: frozenset[JobState] = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    # Back to queued: a retry, a job given back at shutdown, a job found after a crash.
    JobState.RUNNING: frozenset({JobState.QUEUED, *TERMINAL}),
    # Retrying a finished job by hand starts its next run.
    JobState.SUCCEEDED: frozenset({JobState.QUEUED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}


class NewJob(NamedTuple):
    """A job as intake accepted it: kind known, payload valid, user known."""

    id: str
    kind: str
    user_id: str
    payload: bytes
    """JSON in UTF-8, in the encoder's canonical form (sorted keys): equal payloads are equal bytes."""
    created_at: float
    run_at: float
    max_attempts: int
    key: str | None = None
    """Idempotency key, already scoped by caller, kind and user."""
    priority: int = 0
    """Of the due jobs, those with the highest are claimed first."""
    organization: str | None = None
    """Whose job it is beside the user's; for filters and for keys that are bound to organisations."""


class Job(NamedTuple):
    """A claimed job: the right to run one attempt. `owner` and `claim` fence what is written about it."""

    id: str
    kind: str
    user_id: str
    payload: bytes
    run: int
    """1 for the first run; retrying a finished job by hand starts the next."""
    attempt: int
    """1 for the first attempt of this run; a claim given back at shutdown was no attempt."""
    max_attempts: int
    created_at: float
    owner: str
    claim: int
    """How often the job was ever claimed; only ever grows, so that a stale owner is told apart."""
    suspect: bool = False
    """The service died while the job ran: it runs alone until it has ended once."""
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it lies in the store, for people: show, list, the dashboard."""

    id: str
    kind: str
    user_id: str
    payload: bytes
    state: JobState
    run: int
    attempt: int
    max_attempts: int
    created_at: float
    run_at: float
    started_at: float | None
    finished_at: float | None
    duration_ms: float | None
    cancel_requested: bool
    error_type: str | None
    error: str | None
    error_id: str | None
    stack_trace: str | None
    result: bytes | None
    key: str | None
    priority: int = 0
    organization: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt that was not its job's last word: another attempt or another run came after it."""

    run: int
    attempt: int
    """0: the run was cancelled before it was ever attempted."""
    ended: Literal["retried", "succeeded", "failed", "cancelled"]
    """retried: another attempt of the same run followed."""
    started_at: float | None
    finished_at: float | None
    duration_ms: float | None
    error_type: str | None
    error: str | None
    error_id: str | None
    stack_trace: str | None
    result: bytes | None


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""A random hexadecimal digit with the two bits of RFC 9562's variant put in."""


def new_job_ids(now: float, count: int) -> list[str]:
    """UUIDv7s (RFC 9562, 5.7): 48 bits of Unix milliseconds, then 74 random bits; they sort by time."""
    # Put together as text: building a UUID object first costs five times as much, for every job.
    time = f"{int(now * 1000):012x}"
    prefix = f"{time[:8]}-{time[8:]}-7"
    chance = os.urandom(10 * count).hex()
    return [
        f"{prefix}{chance[at : at + 3]}-{_VARIANT[chance[at + 3]]}{chance[at + 4 : at + 7]}-{chance[at + 7 : at + 19]}"
        for at in range(0, 20 * count, 20)
    ]


def new_job_id(now: float) -> str:
    """One of them."""
    return new_job_ids(now, 1)[0]
