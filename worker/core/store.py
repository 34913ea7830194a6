"""The contract of a store: Store, which is JobStore, Outbox, AuditTrail and StoreAdmin on one database."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from worker.core.claim_rules import ClaimRules, WaitingLine
from worker.core.job import AttemptRecord, Job, JobRecord, JobState, NewJob
from worker.core.notification import PENDING_BYTES, Notification
from worker.core.outcome import Attempt, Outcome
from worker.core.store_admin import StoreAdmin


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """The answer of `enqueue` for one job."""

    job_id: str
    state: Literal["created", "existing", "conflict"]
    """existing: a job with this key and payload exists, and `job_id` is its id. conflict: its payload differs."""
    job_state: JobState = JobState.QUEUED
    """The state of that job now; an existing one may have ended long ago."""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Jobs to run now, and when to look again."""

    jobs: list[Job]
    next_run_at: float | None
    """When the next job becomes due (wall clock). None: none waits, or a suspect holds them back until on_work."""


class Settlement(NamedTuple):
    """The end of an attempt, with the notification of it if it ended the run."""

    attempt: Attempt
    outcome: Outcome
    notification: Notification | None


class OutboxMessage(NamedTuple):
    """A notification to be sent. `id` gives the order; it is never used twice."""

    id: int
    notification_id: str
    job_id: str
    user_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class NotificationRecord:
    """A notification as it is stored, for display."""

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
    """Why the receiver rejected it; only if it is dead."""
    body: bytes


@dataclass(frozen=True, slots=True)
class JobQuery:
    """A filter over jobs; newest first. None matches every job, an empty collection none."""

    states: Collection[JobState] | None = None
    kind: str | None = None
    user_ids: Collection[str] | None = None
    organizations: Collection[str] | None = None
    text: str | None = None
    """Text to find in id, user, payload, error or result; ASCII letters match in either case."""
    since: float | None = None
    """Created at this time or later (wall clock)."""
    until: float | None = None
    """Created before this time (wall clock)."""
    cursor: str | None = None
    limit: int = 50
    brief: bool = False
    """Omit what may be long: payload, stack trace, and the result, unless it is the code and Thai text of a failure."""


@dataclass(frozen=True, slots=True)
class JobPage:
    jobs: list[JobRecord]
    cursor: str | None
    """Pass it to get the next page; None if this is the last."""


@dataclass(frozen=True, slots=True)
class JobIds:
    """A page of job ids."""

    ids: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """The delivery of one run's notification."""

    notification_id: str
    run: int
    sequence: int
    state: Literal["pending", "delivered", "dead"]
    stored_at: float
    delivered_at: float | None
    """When its receipt was confirmed; None also if it was delivered too long ago to be known."""
    shown_at: float | None
    """When a browser first reported that it was shown."""
    shown_count: int
    redelivery: int
    reason: str | None
    """Why the receiver rejected it; only if it is dead."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An administrative action."""

    at: float
    actor: str
    action: str
    target: str
    detail: bytes | None = None
    """JSON in UTF-8."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """A filter over the audit trail; newest first."""

    actor: str | None = None
    action: str | None = None
    cursor: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class AuditPage:
    entries: list[AuditEntry]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts and sizes of the store, at one moment."""

    jobs: Mapping[str, int] = field(default_factory=dict)
    """Jobs by state; exact."""
    outbox_depth: int = 0
    outbox_dead: int = 0
    oldest_job_age: float | None = None
    """Seconds since the oldest waiting job became due; None if no due job waits."""
    oldest_outbox_age: float | None = None
    size_bytes: int = 0
    max_bytes: int = 0
    full: bool = False
    """Whether even the smallest job would be rejected now, with the room that is reserved for the ends of jobs."""
    log_bytes: int = 0
    log_kept: str = ""
    """Why the write-ahead log cannot be emptied, and what reads the store; empty: it can."""


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """A piece of indexing for the search."""

    done: int
    """Ended runs that were indexed."""
    left: int
    """Ended runs that are not indexed yet; they can be found, but it takes longer."""
    seconds: float
    """How long it took. Seconds."""


@dataclass(frozen=True, slots=True)
class PruneProgress:
    """A piece of pruning."""

    runs: int
    seconds: float
    """How long it kept the store from its other callers."""


CancelAnswer = Literal["cancelled", "requested", "ended", "unknown", "changed"]
"""cancelled: it waited, and is now cancelled, with its notification. requested: it runs, and the request is stored.
ended: it had ended before. unknown: there is no such job. changed: it is in another run by now, so try again."""

RetryAnswer = Literal["queued", "active", "unknown"]
"""queued: the next run waits. active: it has not ended, so it cannot be retried."""


class JobStore(Protocol):
    """Durable jobs. What a method has returned survives `kill -9`."""

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[EnqueueResult]:
        """Store the jobs; return one answer each, in order, when all are on disk.

        Raises StoreFull, LimitReached if more jobs would be queued than a limit allows, or ValueError if an id exists
        already; then none is stored.
        """
        ...

    async def claim(self, limit: int) -> ClaimResult:
        """Claim up to `limit` due jobs for this store's owner, and count an attempt of each; return them.

        The highest priority first. Within a priority the organisations take turns, within an organisation its users,
        and of one user's jobs the oldest comes first: before an organisation gets its second job, every other one that
        has a due job gets its first. Jobs without an organisation take turns as one more organisation does. Which
        owner comes first, and in which order, is up to the store.

        Jobs of paused kinds are not claimed, nor those that the rules given to `use_rules` exclude; they hold back no
        others. A suspect is claimed alone: only while this owner has no other job, and while it has it no other job is
        claimed. Raises StoreFull: nothing is claimed until there is room.
        """
        ...

    async def use_rules(self, rules: ClaimRules) -> None:
        """Claim and accept jobs by these rules from now on; they are not stored. Until then all jobs are claimed.

        Limits of running jobs count those of this owner; attempts per minute count from the opening of the store."""
        ...

    async def waiting_lines(self, limit: int) -> list[WaitingLine]:
        """Return up to `limit` lines of queued jobs: the next to be claimed first, then the longest of the others."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record each outcome and its notification in one transaction; return False for jobs of another owner or claim,
        of which nothing is written.

        A retried job becomes a suspect if its outcome says so, and only then. Raises ValueError if the end of a run has
        no notification, or a retry has one; then nothing of this call is written.
        """
        ...

    async def release(self, jobs: Sequence[Job], *, suspect: bool = False, crashed: bool = False) -> None:
        """Queue claimed jobs again, due at once; the attempt is not counted. Like settle, only if still claimed.

        `crashed` counts a crash of the service during this run of the jobs; the next run starts with none.
        """
        ...

    async def orphans(self) -> list[Job]:
        """Return running jobs whose owner is dead, oldest first; they can be settled or released as they are."""
        ...

    async def cancel(self, job_id: str, run: int, notification: Notification) -> CancelAnswer:
        """Cancel a waiting job, with this notification, or store the request to cancel a running one."""
        ...

    async def retry(self, job_id: str) -> RetryAnswer:
        """Queue the next run of a job that has ended: attempt 0, due now."""
        ...

    async def pause(self, kind: str) -> None:
        """Claim no job of this kind until `resume`, also after a restart. Running jobs continue."""
        ...

    async def resume(self, kind: str) -> None:
        """Claim jobs of this kind again, in the places they had."""
        ...

    async def paused(self) -> frozenset[str]:
        """Return the paused kinds."""
        ...

    async def get(self, job_id: str) -> JobRecord | None: ...

    async def attempts(self, job_id: str) -> list[AttemptRecord]:
        """Return attempts that were retried, and earlier runs of the job, oldest first. The last 100 are kept."""
        ...

    async def get_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Return the jobs that exist, in the order of their ids in the call."""
        ...

    async def find(self, query: JobQuery) -> JobPage:
        """Return a page, newest first. It may be short and still have a cursor, which continues the search.

        Raises ValueError if the cursor is not one of this store."""
        ...

    async def find_ids(self, query: JobQuery) -> JobIds:
        """Return the ids that `find` would, for operations on many jobs."""
        ...

    async def counts_by_kind(self) -> Mapping[str, int]:
        """Return the queued jobs by kind, including paused kinds; exact, and cheap for any number of jobs."""
        ...

    async def stats(self) -> StoreStats: ...

    async def prune(self, age: float, limit: int) -> PruneProgress:
        """Delete up to `limit` runs that ended `age` seconds ago and whose notification is delivered or dead.

        The age is elapsed time (worker.core.elapsed), which no wall clock can change, and counts at the latest from the
        next call on. Returns how many, and how long it took; fewer than `limit`: no more. All other calls go first."""
        ...

    async def check(self) -> None:
        """Raise StoreReplaced, StoreCorrupt or StoreUnwritable if the store cannot be used any more."""
        ...

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop after each commit that may have made a job due."""
        ...


class Outbox(Protocol):
    """Notifications on their way, in the order their runs ended.

    An id becomes visible only after all lower ids: a reader that has seen a message can never find a message with a
    lower id later. So the relay may read on from the last id, and may treat `delivered` as a watermark. A store whose
    transactions can commit in another order than they drew their ids must hold messages back until it is so.
    """

    async def pending(self, after: int, limit: int, max_bytes: int = PENDING_BYTES) -> list[OutboxMessage]:
        """Return the oldest pending messages with id > `after`: `limit`, or until their bodies reach `max_bytes`."""
        ...

    async def delivered(self, up_to: int) -> None:
        """Record that all pending messages with id <= `up_to` were received. May wait for the next commit."""
        ...

    async def dead(self, message_id: int, reason: str) -> None:
        """Record that the receiver rejected the message. It stays visible, can be resent, and blocks no other."""
        ...

    async def resend(self, notification_id: str) -> OutboxMessage | None:
        """Queue the notification again at the end, with its redelivery count; return the message, or None if the id is
        unknown. A message that is still pending is returned unchanged."""
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
        """Return notifications with id < `before`, newest first. Raises ValueError if there is no such state."""
        ...

    async def deliveries(self, job_id: str) -> list[DeliveryRecord]:
        """Return the delivery of each run's notification that still exists, the oldest run first."""
        ...

    async def shown(self, notification_ids: Sequence[str], at: float) -> None:
        """Record that a browser has shown the notifications (wall clock). May wait for another commit."""
        ...

    def on_message(self, listener: Callable[[Sequence[OutboxMessage]], None]) -> None:
        """Call `listener` in the event loop after each commit that added messages, with those messages in order. A
        listener that has received all earlier ones need not read them."""
        ...


class AuditTrail(Protocol):
    """Administrative actions and who requested them."""

    async def audit(self, entry: AuditEntry) -> None:
        """Write an entry; it is on disk when this returns."""
        ...

    async def audit_trail(self, query: AuditQuery) -> AuditPage:
        """Return a page, newest first. Raises ValueError if the cursor is not one of this store."""
        ...

    async def prune_audit(self, age: float, limit: int) -> int:
        """Delete up to `limit` entries of that age, as `prune` does, the oldest first; return how many."""
        ...


class Store(JobStore, Outbox, AuditTrail, StoreAdmin, Protocol):
    """All contracts on one file or in one database, because they share transactions."""

    async def close(self) -> None:
        """Write what is queued, then close. Nothing else may be called afterwards."""
        ...


@runtime_checkable
class SearchIndexed(Protocol):
    """A store whose search index is updated by calls from outside, because that can be left for later."""

    async def index(self) -> IndexProgress:
        """Index a small piece, next to claims and intake; return what is left. Until then searches among many jobs
        take longer. Nothing done and nothing left: the index is up to date, or the store has no room for one."""
        ...
