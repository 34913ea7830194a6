"""The store on one SQLite file: both contracts, one process. The statements lie beside it, by what they are about."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from worker.clock import Clock
from worker.job import AttemptRecord, Job, JobRecord, NewJob
from worker.notification import Notification
from worker.queue import (
    Accepted,
    AuditEntry,
    AuditPage,
    AuditQuery,
    CancelAnswer,
    Claimed,
    DeliveryRecord,
    Figures,
    Indexed,
    JobIds,
    JobPage,
    JobQuery,
    NotificationRecord,
    OutboxMessage,
    RetryAnswer,
    Settlement,
)
from worker.queues import (
    sqlite_audit,
    sqlite_claims,
    sqlite_find,
    sqlite_history,
    sqlite_intake,
    sqlite_lanes,
    sqlite_news,
    sqlite_orders,
    sqlite_outbox,
    sqlite_reads,
    sqlite_records,
    sqlite_retention,
    sqlite_search,
    sqlite_settling,
)
from worker.queues.lock import StoreLock
from worker.queues.sqlite_claims import GivenBack
from worker.queues.sqlite_examine import examine
from worker.queues.sqlite_files import OpenFiles, make_file, make_folder
from worker.queues.sqlite_index import SearchIndex
from worker.queues.sqlite_ledger import Ledger
from worker.queues.sqlite_look import SearchFile
from worker.queues.sqlite_orders import Cancellation
from worker.queues.sqlite_outbox import Refusal, Resend, Shown
from worker.queues.sqlite_reader import Reader
from worker.queues.sqlite_retention import Pruning
from worker.queues.sqlite_room import Room, measured, wal_pages_for
from worker.queues.sqlite_schema import (
    connect_writer,
    migrate,
    quick_check,
    require_sqlite,
    wal_reset_warning,
)
from worker.queues.sqlite_writer import Writer

_PRUNE_SECONDS = 0.02
"""How long the writer may be kept from its callers by one chunk of pruning."""

_DISK_FOR_OTHERS = 256 * 1024 * 1024
"""Bytes on the disk that the search index leaves to the store, and to whoever else writes there."""

_SEEN = 20_000
"""Notifications whose message ids are remembered; about 3 MB."""

_GIVE_BACK_AGAIN = 1.0
"""Seconds before giving back is tried again after it failed."""


async def open_store(path: Path, *, owner: str, max_bytes: int, clock: Clock) -> "SqliteStore":
    """Open the store, or make it (its folder 0700, its files 0600), and hold it alone until it is closed.

    `owner` names this process's life: give each start a new one. Raises StoreLocked, StoreUnwritable, StoreCorrupt,
    SchemaTooNew.
    """
    require_sqlite(sqlite3.sqlite_version_info)
    store = SqliteStore(path.resolve(), owner=owner, max_bytes=max_bytes, clock=clock)
    await store._writer.start()
    return store


class SqliteStore:
    """Implements worker.queue.Store.

    Cancelling a call does not take it back: what it asked for is done all the same, and only the answer is lost.
    The one answer that must not be lost is a claim's: jobs whose claimer was cancelled are given back at once.
    """

    def __init__(self, path: Path, *, owner: str, max_bytes: int, clock: Clock) -> None:
        """Use `open_store`."""
        self.path = path
        self.owner = owner
        self.max_bytes = max_bytes
        self.created = False
        """Whether there was no store at `path` before."""
        self.search_warning = sqlite_search.warning()
        """What an operator should know about searching; None: nothing."""
        self._index_needs = 0
        """Bytes the search index had when it had to go."""
        self.sqlite_warning = wal_reset_warning(sqlite3.sqlite_version_info)
        """What an operator should know about this SQLite; None: nothing."""
        self._clock = clock
        self._closing: asyncio.Future[None] | None = None
        self._lock: StoreLock | None = None
        self._files: OpenFiles | None = None
        self._work_listeners: list[Callable[[], None]] = []
        self._message_listeners: list[Callable[[Sequence[OutboxMessage]], None]] = []
        self._writer = Writer(path, self._open_ledger, self._committed, self._unlock)
        # Two, so that a search by a person cannot keep the relay waiting.
        self._machine = Reader(path, "store-reader")
        self._seen: dict[str, int] = {}
        """Message ids of notifications that were listed: what is resent was mostly looked at before, many even."""
        self._search = SearchFile(path)
        self._people = Reader(path, "store-search", self._search.close)
        self._index = SearchIndex(path)
        self._indexer = Reader(path, "store-indexer", self._index.close)

    # -- jobs ----------------------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[Accepted]:
        return await self._writer.submit(sqlite_intake.enqueue, jobs, weight=len(jobs))

    async def claim(self, limit: int) -> Claimed:
        # Last in its transaction: so it sees what was enqueued and settled together with it.
        future = self._writer.submit(sqlite_claims.claim, limit, undo=self._give_back, turn=1)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give_back(future.result())
            raise

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        return await self._writer.submit(sqlite_settling.settle, settlements, weight=len(settlements))

    async def release(self, jobs: Sequence[Job], *, suspect: bool = False) -> None:
        await self._writer.submit(sqlite_claims.release, GivenBack(jobs, suspect))

    async def orphans(self) -> list[Job]:
        return await self._machine.read(sqlite_reads.orphans, self.owner)

    async def cancel(self, job_id: str, run: int, notification: Notification) -> CancelAnswer:
        return await self._writer.submit(sqlite_orders.cancel, Cancellation(job_id, run, notification))

    async def retry(self, job_id: str) -> RetryAnswer:
        return await self._writer.submit(sqlite_orders.retry, job_id)

    async def pause(self, kind: str) -> None:
        await self._writer.submit(sqlite_lanes.pause, kind)

    async def resume(self, kind: str) -> None:
        await self._writer.submit(sqlite_lanes.resume, kind)

    async def paused(self) -> frozenset[str]:
        return await self._machine.read(sqlite_reads.paused)

    async def attempts(self, job_id: str) -> list[AttemptRecord]:
        return await self._people.read(sqlite_history.attempts, job_id)

    async def get(self, job_id: str) -> JobRecord | None:
        return await self._people.read(sqlite_records.get, job_id)

    async def get_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        return await self._people.read(sqlite_records.get_many, job_ids)

    async def find(self, query: JobQuery) -> JobPage:
        return await self._people.read(sqlite_find.find, self._search, query)

    async def find_ids(self, query: JobQuery) -> JobIds:
        return await self._people.read(sqlite_find.find_ids, self._search, query)

    async def counts_by_kind(self) -> Mapping[str, int]:
        return await self._machine.read(sqlite_reads.counts_by_kind)

    async def figures(self) -> Figures:
        return await self._machine.read(sqlite_reads.figures, self.path, self._clock.now(), self.max_bytes)

    async def prune(self, before: float, limit: int) -> int:
        done, chunk = 0, 200
        while done < limit:
            asked = min(chunk, limit - done)
            pruned = await self._writer.submit(sqlite_retention.prune, Pruning(before, asked), in_a_hurry=False)
            done += pruned.runs
            if pruned.runs < asked:
                break
            chunk = max(10, int(asked * min(2.0, _PRUNE_SECONDS / max(pruned.seconds, 1e-6))))
        return done

    async def index(self) -> Indexed:
        """Where the index would leave the store too little room, it waits, or goes: it can be built again."""
        if sqlite_search.unavailable() is not None:
            return Indexed(0, 0, 0.0)
        if self._search.broken:
            await self._indexer.read(self._index.give_up)
            self._search.broken = False
        room = await self._machine.read(measured, self.path, self.max_bytes)
        enough = self.max_bytes // 8
        spare = min(room.under_cap, enough + room.on_disk - min(enough, _DISK_FOR_OTHERS))
        if spare < enough // 2:
            self._index_needs = max(self._index_needs, await self._indexer.read(self._index.give_up))
        if spare < enough + self._index_needs:
            return Indexed(0, 0, 0.0)
        return await self._indexer.read(self._index.advance)

    async def check(self) -> None:
        assert self._files is not None
        await self._machine.read(sqlite_reads.check, self._files)
        if self._writer.fault is not None:
            raise self._writer.fault

    async def examine(self) -> list[str]:
        """What is wrong with the file, a line each; nothing: sound. Reads all of it: minutes for many gigabytes."""
        return await self._people.read(examine)

    def on_work(self, listener: Callable[[], None]) -> None:
        self._work_listeners.append(listener)

    # -- the outbox ----------------------------------------------------------------------------------------

    async def pending(self, after: int, limit: int) -> list[OutboxMessage]:
        return await self._machine.read(sqlite_news.pending, after, limit)

    async def delivered(self, up_to: int) -> None:
        """On disk when it returns, but in no hurry: it waits up to 20 ms for a transaction to ride on."""
        await self._writer.submit(sqlite_outbox.delivered, up_to, in_a_hurry=False)

    async def dead(self, message_id: int, reason: str) -> None:
        await self._writer.submit(sqlite_outbox.dead, Refusal(message_id, reason))

    async def resend(self, notification_id: str) -> OutboxMessage | None:
        while True:
            message_id = self._seen.pop(notification_id, None)
            if message_id is None:
                message_id = await self._people.read(sqlite_news.message_id_of, notification_id)
            if message_id is None:
                return None
            message = await self._writer.submit(sqlite_outbox.resend, Resend(notification_id, message_id))
            if message is not None:
                return message
            # Somebody else resent it in between, or since it was seen: it has another id now, or is gone.

    async def notifications(
        self,
        *,
        state: str | None = None,
        user_id: str | None = None,
        job_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[NotificationRecord]:
        found = await self._people.read(sqlite_news.notifications, self._search, state, user_id, job_id, before, limit)
        if len(self._seen) + len(found) > _SEEN:
            self._seen.clear()
        self._seen.update((record.notification_id, record.id) for record in found[:_SEEN])
        return found

    async def deliveries(self, job_id: str) -> list[DeliveryRecord]:
        return await self._people.read(sqlite_news.deliveries, self._search, job_id)

    async def shown(self, notification_ids: Sequence[str], at: float) -> None:
        await self._writer.submit(sqlite_outbox.shown, Shown(notification_ids, at), in_a_hurry=False)

    def on_message(self, listener: Callable[[Sequence[OutboxMessage]], None]) -> None:
        self._message_listeners.append(listener)

    # -- the audit trail -----------------------------------------------------------------------------------

    async def audit(self, entry: AuditEntry) -> None:
        await self._writer.submit(sqlite_audit.write, entry)

    async def audit_trail(self, query: AuditQuery) -> AuditPage:
        return await self._people.read(sqlite_audit.trail, query)

    async def prune_audit(self, before: float, limit: int) -> int:
        return await self._writer.submit(sqlite_audit.prune, Pruning(before, limit), in_a_hurry=False)

    # -- life ----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Also twice, and to its end even if the caller is cancelled."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        # The readers first: whoever closes last checkpoints, and that is the writer's right alone.
        await self._indexer.close()
        await self._people.close()
        await self._machine.close()
        await self._writer.close()

    def _open_ledger(self) -> Ledger:
        """In the writer's thread, as all that touches the file for writing."""
        make_folder(self.path)
        self._lock = StoreLock.acquire(self.path.with_name(f"{self.path.name}.lock"))
        make_file(self.path)
        connection = connect_writer(self.path, wal_pages_for(self.max_bytes))
        try:
            self.created = migrate(connection, self.path)
            quick_check(connection, self.path)
            room = Room(connection, self.path, self.max_bytes, self._clock.monotonic)
            ledger = Ledger(connection, room, self._clock, self.owner)
            ledger.load()
        except BaseException:
            connection.close()
            raise
        self._files = OpenFiles.opened(self.path, self._lock)
        return ledger

    def _unlock(self) -> None:
        """In the writer's thread, when the database is closed."""
        if self._lock is not None:
            self._lock.release()

    def _committed(self, work: bool, news: Sequence[OutboxMessage]) -> None:
        for listener in self._work_listeners if work else ():
            listener()
        for tell in self._message_listeners if news else ():
            tell(news)

    def _give_back(self, claimed: Claimed) -> None:
        """Whoever claimed these jobs was cancelled before it could learn of them."""
        if claimed.jobs and not self._writer.closed:
            future = self._writer.submit(sqlite_claims.release, GivenBack(claimed.jobs))
            future.add_done_callback(lambda done: self._given_back(done, claimed))

    def _given_back(self, done: "asyncio.Future[None]", claimed: Claimed) -> None:
        """A full disk must not leave them running for ever."""
        if not done.cancelled() and done.exception() is not None:
            asyncio.get_running_loop().call_later(_GIVE_BACK_AGAIN, self._give_back, claimed)
