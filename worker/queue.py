"""The store's contracts: JobQueue and Outbox. One implementation holds both, for they share transactions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from worker.job import AttemptRecord, Job, JobRecord, JobState, NewJob
from worker.notification import Notification
from worker.outcome import Attempt, Outcome


@dataclass(frozen=True, slots=True)
class Accepted:
    """What intake answers for one job."""

    job_id: str
    state: Literal["created", "existing", "conflict"]
    """existing: the key was there with the same payload, `job_id` is the first one's. conflict: other payload."""
    job_state: JobState = JobState.QUEUED
    """Where the job of that id stands now; of an existing one it may have ended long ago."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Jobs to run now, and when to look again."""

    jobs: list[Job]
    next_run_at: float | None
    """When the next waiting job falls due (wall clock); None: nothing waits, or a suspect holds it back, and on_work
    tells when it lets go. May lie in the past."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of an attempt, and the news of it."""

    attempt: Attempt
    outcome: Outcome
    notification: Notification | None


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A notification on its way. `id` gives the order; it is never used twice."""

    id: int
    notification_id: str
    job_id: str
    user_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class NotificationRecord:
    """A notification as it lies in the store, for people."""

    id: int
    notification_id: str
    job_id: str
    user_id: str
    sequence: int
    state: Literal["pending", "delivered", "dead"]
    created_at: float
    delivered_at: float | None
    redelivery: int
    reason: str | None
    """Why the receiver refused it; only when dead."""
    body: bytes


@dataclass(frozen=True, slots=True)
class JobQuery:
    """A filter over jobs; newest first."""

    state: JobState | None = None
    kind: str | None = None
    user_id: str | None = None
    text: str | None = None
    """Found anywhere in id, payload, error or result."""
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class JobPage:
    jobs: list[JobRecord]
    cursor: str | None
    """Give it back for the next page; None: this was the last."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the store holds now."""

    jobs: Mapping[str, int] = field(default_factory=dict)
    """Jobs by state; exact."""
    outbox_depth: int = 0
    outbox_dead: int = 0
    oldest_job_age: float | None = None
    """Seconds since the oldest due job fell due; None: none waits."""
    oldest_outbox_age: float | None = None
    size_bytes: int = 0
    max_bytes: int = 0
    full: bool = False
    """The smallest job would be refused now. Some room is always kept for the ends of jobs, so this is true before
    `size_bytes` reaches `max_bytes`."""


CancelAnswer = Literal["cancelled", "requested", "ended", "unknown", "changed"]
"""cancelled: it waited and is cancelled now, with its notification. requested: it runs, the wish is on disk.
ended: it had ended before. unknown: no such job. changed: its run or state moved meanwhile, ask again."""

RetryAnswer = Literal["queued", "active", "unknown"]
"""queued: the next run waits. active: it has not ended, so there is nothing to retry."""


class JobQueue(Protocol):
    """Durable jobs. What a method has answered survives kill -9."""

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Accepted]:
        """All of them are on disk when this returns; one answer each, in order. StoreFull: none is.

        ValueError: an id is taken; none is.
        """
        ...

    async def claim(self, limit: int) -> Claimed:
        """Up to `limit` due jobs, now running and owned by this store's owner; counts an attempt.

        Those with the highest priority first, of equal ones the oldest. Jobs of paused kinds are not handed out.

        A suspect is handed out alone: only while this owner holds no other job, and while it is held
        nothing else is handed out. StoreFull: nothing is claimed until room is made.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record outcome and notification in ONE transaction. False: it was not ours any more, nothing written.

        A retried job is a suspect from now on exactly when its outcome says so. ValueError: a run that ends comes
        without its notification, or a retry with one; nothing of this call is written.
        """
        ...

    async def release(self, jobs: Sequence[Job], *, suspect: bool = False) -> None:
        """Give claimed jobs back, due at once; the attempt is not counted. Fenced like settle."""
        ...

    async def orphans(self) -> list[Job]:
        """Running jobs whose owner is dead, oldest first; settle or release them as they stand."""
        ...

    async def cancel(self, job_id: str, run: int, notification: Notification) -> CancelAnswer:
        """End a waiting job with this notification, or write the wish to cancel beside a running one."""
        ...

    async def retry(self, job_id: str) -> RetryAnswer:
        """Start the next run of a job that has ended: attempt 0, due now."""
        ...

    async def pause(self, kind: str) -> None:
        """From now on no job of this kind is claimed, until `resume`; also after a restart. What runs goes on."""
        ...

    async def resume(self, kind: str) -> None:
        """Jobs of this kind may be claimed again, in the places they had."""
        ...

    async def paused(self) -> frozenset[str]:
        """The kinds that are paused."""
        ...

    async def get(self, job_id: str) -> JobRecord | None: ...

    async def attempts(self, job_id: str) -> list[AttemptRecord]:
        """What came before the job's present attempt, oldest first: attempts that were retried, and runs that ended
        before somebody started the next. Of very many attempts of a run only the last 100 are kept."""
        ...

    async def find(self, query: JobQuery) -> JobPage: ...

    async def figures(self) -> Figures: ...

    async def prune(self, before: float, limit: int) -> int:
        """Delete up to `limit` runs that ended before (wall clock) and whose news is delivered or dead; how many."""
        ...

    async def check(self) -> None:
        """Raise StoreReplaced, StoreCorrupt or StoreUnwritable if the store cannot be trusted any more."""
        ...

    def on_work(self, listener: Callable[[], None]) -> None:
        """`listener` is called in the event loop after a commit that may have made a job due."""
        ...


class Outbox(Protocol):
    """Notifications on their way, in the order their runs ended."""

    async def pending(self, after: int, limit: int) -> list[OutboxMessage]:
        """The oldest unsettled messages with id > `after`, in order."""
        ...

    async def delivered(self, up_to: int) -> None:
        """All pending messages with id <= `up_to` are proven received. May ride on the next commit."""
        ...

    async def dead(self, message_id: int, reason: str) -> None:
        """The receiver refused this one: parked, visible, resendable; it blocks nothing behind it."""
        ...

    async def resend(self, notification_id: str) -> OutboxMessage | None:
        """Queue it again at the end, marked with its redelivery count. None: unknown id. A message still
        pending is returned as it is."""
        ...

    async def notifications(
        self,
        *,
        state: str | None = None,
        user_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[NotificationRecord]:
        """Newest first; `before` is the id to go on from."""
        ...

    def on_message(self, listener: Callable[[Sequence[OutboxMessage]], None]) -> None:
        """`listener` is called in the event loop after a commit that put messages into the outbox, with those
        messages in order. Whoever was told of all before them need not read them back."""
        ...


class Store(JobQueue, Outbox, Protocol):
    """Both on one file, or in one database."""

    async def close(self) -> None:
        """Write what waits, then close. Nothing else may be called after."""
        ...
