"""Builders for tests of stores: a clock set by hand, jobs, and the outcomes of attempts."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

import orjson

from worker.core.clock import Clock
from worker.core.failure import Failure
from worker.core.job import Job, JobRecord, NewJob, new_job_id
from worker.core.notification import Notification, NotificationFormat, cancelled_before_run, notification_for
from worker.core.outcome import Attempt, CancelledOutcome, Failed, Outcome, Retry, Succeeded
from worker.core.store import SearchIndexed, Settlement, Store

START = 1_800_000_000.0
"""An ordinary moment; seconds since 1970."""

WIRE = NotificationFormat()


@dataclass
class ManualClock:
    """A clock whose time passes only when a test says so, and whose wall clock can be set."""

    wall: float = START
    passed: float = 1000.0
    boots: int = 1

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.wall, monotonic=lambda: self.passed, boot=f"boot-{self.boots}")

    def reboot(self, *, after: float) -> None:
        """Start the machine again after some seconds: the monotonic clock starts from zero."""
        self.boots += 1
        self.wall += after
        self.passed = 10.0

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds

    def set_wall(self, by: float) -> None:
        """Set the wall clock, as an operator would; no time passes."""
        self.wall += by


@dataclass
class StoreLocation:
    """The place of a store, which a test can close and open again; nothing is released in between, as after kill -9."""

    manual_clock: ManualClock
    opener: Callable[[str, int, Clock], Awaitable[Store]]
    destroy: Callable[[], Awaitable[None]] | None = None
    """Removes what is left of the store outside the test's folder."""
    opened: list[Store] = field(default_factory=list)
    owners: "count[int]" = field(default_factory=lambda: count(1))

    async def open(self, *, max_bytes: int = 1 << 30, owner: str | None = None) -> Store:
        store = await self.opener(owner or f"owner-{next(self.owners)}", max_bytes, self.manual_clock.clock)
        self.opened.append(store)
        return store

    async def close(self, store: Store) -> None:
        self.opened.remove(store)
        await store.close()

    async def reopen(self, store: Store, *, max_bytes: int = 1 << 30) -> Store:
        """Close the store and open it as the next start of the service does, as another owner; nothing is released."""
        await self.close(store)
        return await self.open(max_bytes=max_bytes)

    async def close_all(self) -> None:
        while self.opened:
            await self.close(self.opened[-1])
        if self.destroy is not None:
            await self.destroy()


def a_job(
    at: float = START,
    *,
    user: str = "somchai",
    kind: str = "noop",
    payload: object = None,
    delay: float = 0.0,
    key: str | None = None,
    max_attempts: int = 3,
    job_id: str | None = None,
    priority: int = 0,
    organization: str | None = None,
    submitter: str | None = None,
) -> NewJob:
    """Return a job accepted at `at` and due `delay` seconds later."""
    return NewJob(
        id=job_id or new_job_id(at),
        kind=kind,
        user_id=user,
        payload=orjson.dumps({} if payload is None else payload, option=orjson.OPT_SORT_KEYS),
        created_at=at,
        run_at=at + delay,
        max_attempts=max_attempts,
        key=key,
        priority=priority,
        organization=organization,
        submitter=submitter,
    )


def a_failure(message: str = "broken", *, cancelled: bool = False) -> Failure:
    return Failure(
        type="Cancelled" if cancelled else "ValueError",
        message=message,
        stack_trace=f"Traceback\n{message}",
        error_id="0123456789ab",
        cancelled=cancelled,
    )


def an_attempt(job: Job, at: float = START, *, result: bytes | None = None, failure: Failure | None = None) -> Attempt:
    return Attempt(job, started_at=at - 0.5, finished_at=at, duration_ms=500.25, result=result, failure=failure)


def success(job: Job, at: float = START, result: bytes | None = b'{"officers":3}') -> Settlement:
    return settlement(an_attempt(job, at, result=result), Succeeded(result))


def failed(job: Job, at: float = START, message: str = "broken") -> Settlement:
    failure = a_failure(message)
    return settlement(an_attempt(job, at, failure=failure), Failed(failure))


def cancelled(job: Job, at: float = START) -> Settlement:
    failure = a_failure("Cancelled", cancelled=True)
    return settlement(an_attempt(job, at, failure=failure), CancelledOutcome(failure))


def retried(job: Job, run_at: float, at: float = START, *, suspect: bool = False) -> Settlement:
    failure = a_failure("not yet")
    return settlement(an_attempt(job, at, failure=failure), Retry(failure, run_at, suspect=suspect))


def settlement(attempt: Attempt, outcome: Outcome) -> Settlement:
    return Settlement(attempt, outcome, notification_for(attempt, outcome, WIRE))


def cancel_notification(record: JobRecord, at: float = START) -> Notification:
    return cancelled_before_run(record, at, WIRE)


def stale(job: Job, *, owner: str | None = None, claim: int | None = None) -> Job:
    """Return the job as an owner knows it that has lost it."""
    return job._replace(owner=owner or job.owner, claim=job.claim if claim is None else claim)


def sequence_in(body: bytes) -> int:
    number: int = orjson.loads(body)[1]["payload"]["sequence"]
    return number


async def run_one(store: Store, job: NewJob, at: float = START) -> str:
    """Enqueue, claim and finish `job`; return its id. No other job may be due."""
    await store.enqueue([job])
    claimed = await store.claim(1)
    assert [one.id for one in claimed.jobs] == [job.id]
    assert await store.settle([success(claimed.jobs[0], at)]) == [True]
    return job.id


async def index_piece(store: Store) -> int:
    """Update the search index by one piece, if the store has one that waits for that; return what is left."""
    return (await store.index()).left if isinstance(store, SearchIndexed) else 0


async def claim_one(store: Store, at: float = START) -> Job:
    await store.enqueue([a_job(at)])
    [job] = (await store.claim(1)).jobs
    return job


async def record_of(store: Store, job_id: str) -> JobRecord:
    record = await store.get(job_id)
    assert record is not None
    return record
