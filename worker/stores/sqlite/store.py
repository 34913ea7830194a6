"""The store in one SQLite file, written by one process. Its statements are in the modules next to it, by subject."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from worker.core.claim_rules import ClaimRules, WaitingLine
from worker.core.clock import Clock
from worker.core.job import AttemptRecord, Job, JobRecord, NewJob
from worker.core.notification import PENDING_BYTES, Notification
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
from worker.disk.file_lock import FileLock
from worker.disk.open_files import OpenFiles
from worker.stores.sqlite import (
    attempts,
    audit,
    cancel_retry,
    claim,
    enqueue,
    lanes,
    outbox,
    outbox_queries,
    queries,
    retention,
    settle,
)
from worker.stores.sqlite.cancel_retry import Cancellation
from worker.stores.sqlite.claim import Release
from worker.stores.sqlite.connection import (
    connect_writer,
    migrate,
    quick_check,
    require_sqlite,
    wal_reset_warning,
)
from worker.stores.sqlite.disk_space import DiskBudget, measure_usage, wal_pages_for
from worker.stores.sqlite.files import create_file, create_folder
from worker.stores.sqlite.integrity_check import examine
from worker.stores.sqlite.journal import CommitJournal, require_complete, require_file, state_of
from worker.stores.sqlite.outbox import MarkDead, Resend, Shown
from worker.stores.sqlite.reader import ReadPool
from worker.stores.sqlite.retention import Pruning
from worker.stores.sqlite.search import find, index_file
from worker.stores.sqlite.search.index_reader import SearchFile
from worker.stores.sqlite.search.indexer import SearchIndex
from worker.stores.sqlite.transaction import WriteTransaction
from worker.stores.sqlite.waiting import WaitingLines
from worker.stores.sqlite.waiting_view import oldest
from worker.stores.sqlite.writer import Writer

_PRUNE_SECONDS = 0.01
"""How long the writer may be kept from its callers by one chunk of pruning."""

_PRUNE_CHUNKS = (10, 1000)
"""Runs in one chunk, at least and at most."""

_DISK_FOR_OTHERS = 256 * 1024 * 1024
"""Bytes on the disk that the search index leaves to the store and to other programs."""

_REMEMBERED_IDS = 20_000
"""Notifications whose message ids are kept in memory; about 3 MB."""

_RELEASE_RETRY_SECONDS = 1.0
"""How long to wait before a failed release of jobs is tried again."""


async def open_store(path: Path, *, owner: str, max_bytes: int, clock: Clock) -> "SqliteStore":
    """Open the store, or create it (its folder 0700, its files 0600); this process has it alone until it is closed.

    `owner` identifies this start of the service: use a new one each time. Raises StoreLocked, StoreUnwritable,
    StoreCorrupt, SchemaTooNew.
    """
    require_sqlite(sqlite3.sqlite_version_info)
    store = SqliteStore(path.resolve(), owner=owner, max_bytes=max_bytes, clock=clock)
    await store._writer.start()
    return store


class SqliteStore:
    """Implements worker.core.store.Store and SearchIndexed.

    Cancelling a call does not undo it: it is carried out, and only its answer is lost. The one answer that must not be
    lost is that of a claim: jobs whose caller was cancelled are released at once.
    """

    def __init__(self, path: Path, *, owner: str, max_bytes: int, clock: Clock) -> None:
        """Use `open_store`."""
        self.path = path
        self.owner = owner
        self.max_bytes = max_bytes
        self.created = False
        """Whether this start created the store."""
        self._index_needs = 0
        """Size of the search index when it was discarded for lack of room. Bytes."""
        known = (wal_reset_warning(sqlite3.sqlite_version_info), index_file.warning())
        self.warnings = tuple(warning for warning in known if warning is not None)
        """What an operator should know about this SQLite."""
        self._clock = clock
        self._closing: asyncio.Future[None] | None = None
        self._lock: FileLock | None = None
        self._files: OpenFiles | None = None
        self._waiting: WaitingLines | None = None
        self._work_listeners: list[Callable[[], None]] = []
        self._message_listeners: list[Callable[[Sequence[OutboxMessage]], None]] = []
        self._writer = Writer(path, self._open_transaction, self._committed, self._unlock)
        # Two, so that a search by a user cannot delay the relay.
        self._service_reads = ReadPool(path, "store-reader")
        self._prune_chunk = _PRUNE_CHUNKS[0]
        """Runs that the writer deletes within _PRUNE_SECONDS, as last measure_usage."""
        self._message_ids: dict[str, int] = {}
        """Message ids of notifications that were listed: most that are resent were listed before."""
        self._search = SearchFile(path)
        self._user_reads = ReadPool(path, "store-search", self._search.close)
        self._index = SearchIndex(path)
        self._indexer = ReadPool(path, "store-indexer", self._index.close)

    # -- jobs ----------------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[EnqueueResult]:
        return await self._writer.submit(enqueue.enqueue, jobs, weight=len(jobs))

    async def claim(self, limit: int) -> ClaimResult:
        # Last in its transaction, so that it sees what is enqueued and settled in the same one.
        future = self._writer.submit(claim.claim, limit, undo=self._release_unclaimed, turn=1)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._release_unclaimed(future.result())
            raise

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        return await self._writer.submit(settle.settle, settlements, weight=len(settlements))

    async def release(self, jobs: Sequence[Job], *, suspect: bool = False, crashed: bool = False) -> None:
        await self._writer.submit(claim.release, Release(jobs, suspect, crashed))

    async def orphans(self) -> list[Job]:
        return await self._service_reads.read(queries.orphans, self.owner)

    async def cancel(self, job_id: str, run: int, notification: Notification) -> CancelAnswer:
        return await self._writer.submit(cancel_retry.cancel, Cancellation(job_id, run, notification))

    async def retry(self, job_id: str) -> RetryAnswer:
        return await self._writer.submit(cancel_retry.retry, job_id)

    async def pause(self, kind: str) -> None:
        await self._writer.submit(lanes.pause, kind)

    async def resume(self, kind: str) -> None:
        await self._writer.submit(lanes.resume, kind)

    async def use_rules(self, rules: ClaimRules) -> None:
        await self._writer.submit(lanes.use_rules, rules)

    @property
    def claim_rules(self) -> ClaimRules:
        """The rules in force."""
        assert self._waiting is not None
        return self._waiting.rules

    async def waiting_lines(self, limit: int) -> list[WaitingLine]:
        return await self._writer.submit(claim.waiting_lines, limit)

    async def paused(self) -> frozenset[str]:
        return await self._service_reads.read(queries.paused)

    async def attempts(self, job_id: str) -> list[AttemptRecord]:
        return await self._user_reads.read(attempts.attempts, job_id)

    async def get(self, job_id: str) -> JobRecord | None:
        return await self._user_reads.read(queries.get, job_id)

    async def get_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        return await self._user_reads.read(queries.get_many, job_ids)

    async def find(self, query: JobQuery) -> JobPage:
        return await self._user_reads.read(find.find, self._search, query)

    async def find_ids(self, query: JobQuery) -> JobIds:
        return await self._user_reads.read(find.find_ids, self._search, query)

    async def counts_by_kind(self) -> Mapping[str, int]:
        return await self._service_reads.read(queries.counts_by_kind)

    async def stats(self) -> StoreStats:
        assert self._waiting is not None
        now, ready_since = self._clock.now(), oldest(self._waiting)
        return await self._service_reads.read(queries.store_stats, self.path, now, self.max_bytes, ready_since)

    async def prune(self, age: float, limit: int) -> PruneProgress:
        runs, seconds, complete = 0, 0.0, False
        while runs < limit and not complete:
            size = min(self._prune_chunk, limit - runs)
            chunk = await self._writer.submit(retention.prune, Pruning(age, size), urgency="idle")
            runs, seconds, complete = runs + chunk.runs, seconds + chunk.seconds, chunk.runs < size
            if not complete:
                least, most = _PRUNE_CHUNKS
                fitting = int(size * min(2.0, _PRUNE_SECONDS / max(chunk.seconds, 1e-6)))
                self._prune_chunk = min(max(fitting, least), most)
        return PruneProgress(runs, seconds)

    async def index(self) -> IndexProgress:
        """Where the index would leave the store too little room, it waits or is discarded: it can be built again."""
        if index_file.unavailable() is not None:
            return IndexProgress(0, 0, 0.0)
        if self._search.broken:
            await self._indexer.read(self._index.discard)
            self._search.broken = False
        room = await self._service_reads.read(measure_usage, self.path, self.max_bytes)
        enough = self.max_bytes // 8
        spare = min(room.under_cap, enough + room.on_disk - min(enough, _DISK_FOR_OTHERS))
        if spare < enough // 2:
            self._index_needs = max(self._index_needs, await self._indexer.read(self._index.discard))
        if spare < enough + self._index_needs:
            return IndexProgress(0, 0, 0.0)
        return await self._indexer.read(self._index.advance)

    async def check(self) -> None:
        assert self._files is not None
        await self._service_reads.read(queries.check, self._files)
        if self._writer.fault is not None:
            raise self._writer.fault

    async def examine(self) -> list[str]:
        """Return what is wrong with the file, a line each. Reads all of it, which takes minutes for many gigabytes."""
        return await self._user_reads.read(examine)

    def on_work(self, listener: Callable[[], None]) -> None:
        self._work_listeners.append(listener)

    # -- the outbox ----------------------------------------------------------------------------------------

    async def pending(self, after: int, limit: int, max_bytes: int = PENDING_BYTES) -> list[OutboxMessage]:
        return await self._service_reads.read(outbox_queries.pending, after, limit, max_bytes)

    async def delivered(self, up_to: int) -> None:
        """As the contract says; waits up to 20 ms for other operations to share a transaction with."""
        await self._writer.submit(outbox.delivered, up_to, urgency="soon")

    async def dead(self, message_id: int, reason: str) -> None:
        await self._writer.submit(outbox.dead, MarkDead(message_id, reason))

    async def resend(self, notification_id: str) -> OutboxMessage | None:
        while True:
            message_id = self._message_ids.pop(notification_id, None)
            if message_id is None:
                message_id = await self._user_reads.read(outbox_queries.message_id_of, notification_id)
            if message_id is None:
                return None
            message = await self._writer.submit(outbox.resend, Resend(notification_id, message_id))
            if message is not None:
                return message
            # It was resent since its id was read: it has another id now, or was deleted.

    async def notifications(
        self,
        *,
        state: str | None = None,
        user_id: str | None = None,
        job_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[NotificationRecord]:
        found = await self._user_reads.read(
            outbox_queries.notifications, self._search, state, user_id, job_id, before, limit
        )
        if len(self._message_ids) + len(found) > _REMEMBERED_IDS:
            self._message_ids.clear()
        self._message_ids.update((record.notification_id, record.id) for record in found[:_REMEMBERED_IDS])
        return found

    async def deliveries(self, job_id: str) -> list[DeliveryRecord]:
        return await self._user_reads.read(outbox_queries.deliveries, self._search, job_id)

    async def shown(self, notification_ids: Sequence[str], at: float) -> None:
        await self._writer.submit(outbox.shown, Shown(notification_ids, at), urgency="soon")

    def on_message(self, listener: Callable[[Sequence[OutboxMessage]], None]) -> None:
        self._message_listeners.append(listener)

    # -- the audit trail -----------------------------------------------------------------------------------

    async def audit(self, entry: AuditEntry) -> None:
        await self._writer.submit(audit.write, entry)

    async def audit_trail(self, query: AuditQuery) -> AuditPage:
        return await self._user_reads.read(audit.trail, query)

    async def prune_audit(self, age: float, limit: int) -> int:
        return await self._writer.submit(audit.prune, Pruning(age, limit), urgency="idle")

    # -- life ----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close; may be called twice, and goes on if the caller is cancelled."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        # The readers first: the last connection that closes checkpoints, and only the writer may.
        await self._indexer.close()
        await self._user_reads.close()
        await self._service_reads.close()
        await self._writer.close()

    def _open_transaction(self) -> WriteTransaction:
        """Lock, create and open the file; in the writer's thread, as everything that writes."""
        create_folder(self.path)
        self._lock = FileLock.acquire(self.path.with_name(f"{self.path.name}.lock"))
        require_file(self.path)
        create_file(self.path)
        connection = connect_writer(self.path, wal_pages_for(self.max_bytes))
        try:
            self.created = migrate(connection, self.path)
            quick_check(connection, self.path)
            require_complete(connection, self.path)
            room = DiskBudget(connection, self.path, self.max_bytes, self._clock.monotonic)
            transaction = WriteTransaction(connection, room, self._clock, self.owner)
            transaction.load()
            transaction.journal = CommitJournal.open(self.path, state_of(connection))
            self._waiting = transaction.waiting
        except BaseException:
            connection.close()
            raise
        self._files = OpenFiles.opened(self.path, self._lock)
        return transaction

    def _unlock(self) -> None:
        """Release the lock; in the writer's thread, when the database is closed."""
        if self._lock is not None:
            self._lock.release()

    def _committed(self, work: bool, messages: Sequence[OutboxMessage]) -> None:
        for listener in self._work_listeners if work else ():
            listener()
        for on_message in self._message_listeners if messages else ():
            on_message(messages)

    def _release_unclaimed(self, claimed: ClaimResult) -> None:
        """Release jobs whose caller was cancelled before it received them."""
        if claimed.jobs and not self._writer.closed:
            future = self._writer.submit(claim.release, Release(claimed.jobs))
            future.add_done_callback(lambda done: self._retry_release(done, claimed))

    def _retry_release(self, done: "asyncio.Future[None]", claimed: ClaimResult) -> None:
        """Try again after a failure, such as a full disk: the jobs would stay claimed until the next start."""
        if not done.cancelled() and done.exception() is not None:
            asyncio.get_running_loop().call_later(_RELEASE_RETRY_SECONDS, self._release_unclaimed, claimed)
