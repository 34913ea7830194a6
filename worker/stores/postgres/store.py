"""The store in a PostgreSQL database, on PgQueuer's queue. The statements are in the modules next to this one."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worker.core.claim_rules import ClaimRules, WaitingLine
from worker.core.clock import Clock
from worker.core.events import Emit
from worker.core.job import AttemptRecord, Job, JobRecord, NewJob
from worker.core.notification import PENDING_BYTES, Notification
from worker.core.shared_store import WorkerRecord
from worker.core.store import (
    AuditEntry,
    AuditPage,
    AuditQuery,
    CancelAnswer,
    ClaimResult,
    DeliveryRecord,
    EnqueueResult,
    IndexProgress,
    JobIds,
    JobPage,
    JobQuery,
    NotificationRecord,
    OutboxMessage,
    PruneProgress,
    RetryAnswer,
    Settlement,
    StoreStats,
)
from worker.stores.postgres import (
    attempts,
    audit,
    cancel_retry,
    claim,
    enqueue,
    find,
    integrity_check,
    outbox,
    outbox_queries,
    queries,
    registry,
    retention,
    search_index,
    settle,
    waiting_view,
    wall_clock,
)
from worker.stores.postgres.announcer import Announcer
from worker.stores.postgres.cancel_retry import Cancellation
from worker.stores.postgres.claim import Release
from worker.stores.postgres.database import DatabaseTarget
from worker.stores.postgres.lease import DatabaseLease
from worker.stores.postgres.listener import ClusterListener
from worker.stores.postgres.liveness import LEASE_SECONDS
from worker.stores.postgres.outbox import MarkDead, Shown
from worker.stores.postgres.reader import ReadPool
from worker.stores.postgres.retention import Pruning
from worker.stores.postgres.writer import Writer

_PATIENCE = 5.0
"""Seconds that intake, commands and reads wait for a server that is away. Claims and ends of jobs wait as long as it
takes."""
_RELEASE_AGAIN = 1.0
"""Seconds before releasing is tried again after it failed."""


class PostgresStore:
    """Implements worker.core.store.Store and SearchIndexed for several processes at once.

    Cancelling a call does not undo it: the operation is carried out, and only the answer is lost. The one answer that
    must not be lost is a claim's: jobs whose claimer was cancelled are released at once.
    """

    def __init__(
        self, target: DatabaseTarget, writer: Writer, listener: ClusterListener, reads: ReadPool, announcer: Announcer
    ) -> None:
        """Use `open_store`."""
        self.target = target
        self.owner = writer.transaction.owner
        self.created = False
        """Whether the schema did not exist before."""
        self.warnings: Sequence[str] = ()
        """What an operator should know about this server."""
        self._clock: Clock = writer.transaction.clock
        self._writer = writer
        self._listener = listener
        self._reads = reads
        self._announcer = announcer
        self._listening: asyncio.Task[None] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._work_listeners: list[Callable[[], None]] = []
        self._cancel_listeners: list[Callable[[str], object]] = []
        writer.on_commit = self._committed
        listener.on_work = self._on_work
        listener.on_cancel = self._on_cancel
        listener.on_message = announcer.wake

    async def start(self) -> None:
        """Write, listen and give signs of life."""
        await self._listener.start()
        self._writer.start()
        self._listening = asyncio.create_task(self._listener.run(), name="store-listener")

    # -- jobs ----------------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[EnqueueResult]:
        return await self._writer.submit(enqueue.enqueue, jobs, weight=len(jobs), patience=_PATIENCE)

    async def claim(self, limit: int) -> ClaimResult:
        # Last in its transaction: so it sees what was enqueued and settled together with it.
        future = self._writer.submit(claim.claim, limit, undo=self._give_back, turn=1)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give_back(future.result())
            raise

    async def use_rules(self, rules: ClaimRules) -> None:
        """See JobStore. Limits count the jobs of all workers with this store."""
        await self._writer.submit(claim.use_rules, rules)

    async def waiting_lines(self, limit: int) -> list[WaitingLine]:
        return await self._reads.read(
            waiting_view.waiting_lines, self._writer.transaction.rules, limit, self._clock.now()
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        return await self._writer.submit(settle.settle, settlements, weight=len(settlements))

    async def release(self, jobs: Sequence[Job], *, suspect: bool = False, crashed: bool = False) -> None:
        await self._writer.submit(claim.release, Release(jobs, suspect, crashed))

    async def orphans(self) -> list[Job]:
        return await self._reads.read(queries.orphans, self.owner, LEASE_SECONDS)

    async def cancel(self, job_id: str, run: int, notification: Notification) -> CancelAnswer:
        cancellation = Cancellation(job_id, run, notification)
        return await self._writer.submit(cancel_retry.cancel, cancellation, patience=_PATIENCE)

    async def retry(self, job_id: str) -> RetryAnswer:
        return await self._writer.submit(cancel_retry.retry, job_id, patience=_PATIENCE)

    async def pause(self, kind: str) -> None:
        await self._writer.submit(cancel_retry.pause, kind, patience=_PATIENCE)

    async def resume(self, kind: str) -> None:
        await self._writer.submit(cancel_retry.resume, kind, patience=_PATIENCE)

    async def paused(self) -> frozenset[str]:
        return await self._reads.read(queries.paused)

    async def attempts(self, job_id: str) -> list[AttemptRecord]:
        return await self._reads.read(attempts.attempts, job_id)

    async def get(self, job_id: str) -> JobRecord | None:
        return await self._reads.read(queries.get, job_id)

    async def get_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        return await self._reads.read(queries.get_many, job_ids)

    async def find(self, query: JobQuery) -> JobPage:
        return await self._reads.read(find.find, query)

    async def find_ids(self, query: JobQuery) -> JobIds:
        return await self._reads.read(find.find_ids, query)

    async def index(self) -> IndexProgress:
        return await self._reads.read(search_index.index)

    async def counts_by_kind(self) -> Mapping[str, int]:
        return await self._reads.read(queries.counts_by_kind)

    async def stats(self) -> StoreStats:
        max_bytes = self._writer.transaction.budget.max_bytes
        return await self._reads.read(queries.store_stats, self._clock.now(), max_bytes)

    async def prune(self, age: float, limit: int) -> PruneProgress:
        return await self._writer.submit(retention.prune, Pruning(age, limit), urgency="idle")

    async def check(self) -> None:
        """See JobStore. While the server is away it says nothing: jobs wait."""
        await self._reads.read_if_reachable(integrity_check.check_identity, self.target)

    async def examine(self) -> list[str]:
        """Compare all tables with each other; return what is wrong, a line each."""
        return await self._reads.read(integrity_check.examine)

    def on_work(self, listener: Callable[[], None]) -> None:
        self._work_listeners.append(listener)

    def on_cancel(self, listener: Callable[[str], object]) -> None:
        """`listener` is called in the event loop with the id of a running job that is to stop, here or elsewhere."""
        self._cancel_listeners.append(listener)

    # -- the outbox ----------------------------------------------------------------------------------------

    async def pending(self, after: int, limit: int, max_bytes: int = PENDING_BYTES) -> list[OutboxMessage]:
        return await self._reads.read(outbox_queries.pending, after, limit, max_bytes)

    async def delivered(self, up_to: int) -> None:
        """Return when it is on disk; the operation waits up to 20 ms for another one to share a transaction with."""
        await self._writer.submit(outbox.delivered, up_to, urgency="soon")

    async def dead(self, message_id: int, reason: str) -> None:
        await self._writer.submit(outbox.dead, MarkDead(message_id, reason))

    async def resend(self, notification_id: str) -> OutboxMessage | None:
        return await self._writer.submit(outbox.resend, notification_id, patience=_PATIENCE)

    async def notifications(
        self,
        *,
        state: str | None = None,
        user_id: str | None = None,
        job_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[NotificationRecord]:
        return await self._reads.read(outbox_queries.notifications, state, user_id, job_id, before, limit)

    async def deliveries(self, job_id: str) -> list[DeliveryRecord]:
        return await self._reads.read(outbox_queries.deliveries, job_id)

    async def shown(self, notification_ids: Sequence[str], at: float) -> None:
        await self._writer.submit(outbox.shown, Shown(notification_ids, at), urgency="soon")

    def on_message(self, listener: Callable[[Sequence[OutboxMessage]], None]) -> None:
        self._announcer.add(listener)

    # -- the audit trail -----------------------------------------------------------------------------------

    async def audit(self, entry: AuditEntry) -> None:
        await self._writer.submit(audit.write, entry, patience=_PATIENCE)

    async def audit_trail(self, query: AuditQuery) -> AuditPage:
        return await self._reads.read(audit.trail, query)

    async def prune_audit(self, age: float, limit: int) -> int:
        return await self._writer.submit(audit.prune, Pruning(age, limit), urgency="idle")

    # -- the cluster ---------------------------------------------------------------------------------------

    async def workers(self) -> list[WorkerRecord]:
        """Return the processes that have the store open, the oldest first."""
        return await self._reads.read(registry.workers)

    async def tidy(self) -> bool:
        """See SharedStore. Apart from the signs of life, which must not wait for it."""
        return await self._reads.read(registry.tidy_in_pool)

    def lease(self, name: str, emit: Emit) -> DatabaseLease:
        """Return a right of this name, which the processes with this store compete for."""
        return DatabaseLease(self._reads, name, self.owner, emit=emit)

    # -- life ----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close once, and completely even if the caller is cancelled."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._announcer.close()
        with contextlib.suppress(Exception):  # a server that is away finds out by the lease
            await self._writer.submit(_leave, None, patience=0.0)
        await self._writer.close()
        await self._reads.close()

    def _committed(self, work: bool, messages: Sequence[OutboxMessage]) -> None:
        if work:
            self._on_work()
        if messages:
            self._announcer.announce(messages)

    def _on_work(self) -> None:
        for listener in self._work_listeners:
            listener()

    def _on_cancel(self, job_id: str) -> None:
        for listener in self._cancel_listeners:
            listener(job_id)

    def _give_back(self, claimed: ClaimResult) -> None:
        """Release jobs whose claimer was cancelled before it received them."""
        if claimed.jobs and not self._writer.closed:
            future = self._writer.submit(claim.release, Release(claimed.jobs))
            future.add_done_callback(lambda done: self._given_back(done, claimed))

    def _given_back(self, done: "asyncio.Future[None]", claimed: ClaimResult) -> None:
        """Try again after an error, so that the jobs do not stay running forever."""
        if not done.cancelled() and done.exception() is not None:
            asyncio.get_running_loop().call_later(_RELEASE_AGAIN, self._give_back, claimed)


async def _leave(transaction: Any, calls: Sequence[None]) -> list[None]:
    await wall_clock.remember(transaction.connection, transaction.clock.now())
    await registry.leave(transaction.connection, transaction.owner)
    return [None for _ in calls]
