"""The store's contracts: JobQueue, Outbox, AuditTrail. One implementation holds all, for they share transactions."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

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


class Settlement(NamedTuple):
    """The end of an attempt, and the news of it."""

    attempt: Attempt
    outcome: Outcome
    notification: Notification | None


class OutboxMessage(NamedTuple):
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
    """A filter over jobs; newest first. None: whichever; an empty collection: none at all."""

    states: Collection[JobState] | None = None
    kind: str | None = None
    user_ids: Collection[str] | None = None
    organizations: Collection[str] | None = None
    text: str | None = None
    """Found anywhere in id, user, payload, error or result; Latin letters without regard to case."""
    since: float | None = None
    """Created then or later (wall clock)."""
    until: float | None = None
    """Created before."""
    cursor: str | None = None
    limit: int = 50
    brief: bool = False
    """Payload, result and stack trace, which may be long, are left out of the records: empty, None and None."""


@dataclass(frozen=True, slots=True)
class JobPage:
    jobs: list[JobRecord]
    cursor: str | None
    """Give it back for the next page; None: this was the last."""


@dataclass(frozen=True, slots=True)
class JobIds:
    """A page of ids alone."""

    ids: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """What became of the notification of one run."""

    notification_id: str
    run: int
    sequence: int
    state: Literal["pending", "delivered", "dead"]
    stored_at: float
    delivered_at: float | None
    """When its receipt was proven; not known of those that were delivered long ago."""
    shown_at: float | None
    """When a browser first said that it showed it."""
    shown_count: int
    redelivery: int
    reason: str | None
    """Why the receiver refused it; only when dead."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what."""

    at: float
    actor: str
    action: str
    target: str
    detail: bytes | None = None
    """JSON in UTF-8."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Newest first."""

    actor: str | None = None
    action: str | None = None
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class AuditPage:
    entries: list[AuditEntry]
    cursor: str | None


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


@dataclass(frozen=True, slots=True)
class Indexed:
    """A piece of work on the search index."""

    done: int
    """Ended runs that can be searched now."""
    left: int
    """Those that wait to be; until then they are found all the same, with more effort."""
    seconds: float
    """How long it took."""


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

    async def get_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Those of them that there are, in the order they were asked for."""
        ...

    async def find(self, query: JobQuery) -> JobPage:
        """A page, newest first. It may be short and still have a cursor: then the search goes on from there.
        ValueError: the cursor is none of the store's."""
        ...

    async def find_ids(self, query: JobQuery) -> JobIds:
        """As `find`, for those who want to do something to many jobs."""
        ...

    async def counts_by_kind(self) -> Mapping[str, int]:
        """Queued jobs by kind, those of paused kinds too; exact, and cheap however many there are."""
        ...

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
        job_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[NotificationRecord]:
        """Newest first; `before` is the id to go on from. ValueError: there is no such state."""
        ...

    async def deliveries(self, job_id: str) -> list[DeliveryRecord]:
        """Of each run's notification that is still there, the oldest run first."""
        ...

    async def shown(self, notification_ids: Sequence[str], at: float) -> None:
        """A browser has shown these. In no hurry: it rides on another commit."""
        ...

    def on_message(self, listener: Callable[[Sequence[OutboxMessage]], None]) -> None:
        """`listener` is called in the event loop after a commit that put messages into the outbox, with those
        messages in order. Whoever was told of all before them need not read them back."""
        ...


class AuditTrail(Protocol):
    """What people ordered, and who they were."""

    async def audit(self, entry: AuditEntry) -> None:
        """On disk when it returns."""
        ...

    async def audit_trail(self, query: AuditQuery) -> AuditPage:
        """ValueError: the cursor is none of the store's."""
        ...

    async def prune_audit(self, before: float, limit: int) -> int:
        """Delete up to `limit` entries from before then (wall clock), the oldest first; how many."""
        ...


class Store(JobQueue, Outbox, AuditTrail, Protocol):
    """All of them on one file, or in one database."""

    async def index(self) -> Indexed:
        """Bring the search index on by a small piece, beside claims and intake. Nobody need call it, but then searches
        among many jobs take long. Nothing done and nothing left: up to date, or there is none."""
        ...

    async def close(self) -> None:
        """Write what waits, then close. Nothing else may be called after."""
        ...
