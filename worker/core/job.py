"""A job, its states and the ways between them. Values only.

The values that are created for every job are named tuples: a frozen dataclass of a dozen fields takes a microsecond
longer to create (docs/adr/0006).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple


class JobState(StrEnum):
    """The state of a job. A scheduled job is `queued`, with a `run_at` in the future."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobAction(StrEnum):
    """What a store can do to a job. Each action changes the job's state as TRANSITIONS says."""

    CLAIM = "claim"
    RELEASE = "release"
    RETRY = "retry"
    SUCCEED = "succeed"
    FAIL = "fail"
    END_CANCELLED = "end cancelled"
    CANCEL_WAITING = "cancel waiting"
    RUN_AGAIN = "run again"


class Transition(NamedTuple):
    """A change of a job's state."""

    sources: tuple[JobState, ...]
    """The states in which the action is possible."""
    target: JobState
    label: str
    """What the diagram in docs/architecture.md says."""


_RUNNING = (JobState.RUNNING,)
_ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)

TRANSITIONS: Mapping[JobAction, Transition] = {
    JobAction.CLAIM: Transition((JobState.QUEUED,), JobState.RUNNING, "claim (attempt + 1)"),
    JobAction.RELEASE: Transition(_RUNNING, JobState.QUEUED, "release (attempt not counted)"),
    JobAction.RETRY: Transition(_RUNNING, JobState.QUEUED, "settle: retry"),
    JobAction.SUCCEED: Transition(_RUNNING, JobState.SUCCEEDED, "settle: succeeded"),
    JobAction.FAIL: Transition(_RUNNING, JobState.FAILED, "settle: failed"),
    JobAction.END_CANCELLED: Transition(_RUNNING, JobState.CANCELLED, "settle: cancelled"),
    JobAction.CANCEL_WAITING: Transition((JobState.QUEUED,), JobState.CANCELLED, "cancel"),
    JobAction.RUN_AGAIN: Transition(_ENDED, JobState.QUEUED, "retry by hand (run + 1)"),
}
"""The states of a job and every way from one to another. Stores take both from here: a store makes no other change."""

TERMINAL: frozenset[JobState] = frozenset(TRANSITIONS[JobAction.RUN_AGAIN].sources)
"""The states of a job whose run has ended."""


class NewJob(NamedTuple):
    """A job to be stored; its kind, payload and user are valid."""

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
    """Due jobs with a higher priority are claimed first."""
    organization: str | None = None
    """The organisation that the job belongs to; for filters and for API keys that are bound to organisations."""
    submitter: str | None = None
    """The name of the API key that the job was submitted with, for limits by key."""


class Job(NamedTuple):
    """A claimed job: the right to run one attempt. A result is accepted only while `owner` and `claim` match."""

    id: str
    kind: str
    user_id: str
    payload: bytes
    run: int
    """1 for the first run; retrying a finished job by hand starts the next."""
    attempt: int
    """1 for the first attempt of this run; a claim released at shutdown is not counted."""
    max_attempts: int
    created_at: float
    owner: str
    claim: int
    """How often the job was ever claimed; it only grows, so that results of earlier claims can be rejected."""
    suspect: bool = False
    """The service died while the job ran: it runs alone until it has ended once."""
    cancel_requested: bool = False
    crashes: int = 0
    """How often the service died while this run of the job was in progress."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it is stored, for display."""

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
    """An attempt that was followed by another attempt or run of its job."""

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
"""For each random hexadecimal digit, the one with the two bits of RFC 9562's variant."""


def new_job_ids(now: float, count: int) -> list[str]:
    """Return UUIDv7s (RFC 9562, 5.7): 48 bits of Unix milliseconds, then 74 random bits; they sort by time."""
    # Built as text: a UUID object for every job costs five times as much.
    time = f"{int(now * 1000):012x}"
    prefix = f"{time[:8]}-{time[8:]}-7"
    chance = os.urandom(10 * count).hex()
    return [
        f"{prefix}{chance[at : at + 3]}-{_VARIANT[chance[at + 3]]}{chance[at + 4 : at + 7]}-{chance[at + 7 : at + 19]}"
        for at in range(0, 20 * count, 20)
    ]


def new_job_id(now: float) -> str:
    """Return one UUIDv7."""
    return new_job_ids(now, 1)[0]
