"""What the writer's operations work on: the connection, the changes of counts and the new messages."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import uuid4

import asyncpg

from worker.core.claim_rules import ClaimRules
from worker.core.clock import SET_SECONDS, Clock
from worker.core.elapsed import ElapsedTime
from worker.core.job import TRANSITIONS, JobAction, JobState
from worker.core.store import OutboxMessage
from worker.stores.postgres.budget import Budget
from worker.stores.postgres.database import Connection, Tickets
from worker.stores.postgres.wall_clock import set_back

_ASK_SECONDS = 1.0

_COLUMNS = (*(state.value for state in JobState), "bytes")

# Nothing for a transaction that has written nothing.
_MARK = """
    INSERT INTO last_commits SELECT $1, $2, now() WHERE pg_current_xact_id_if_assigned() IS NOT NULL
    ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at
    RETURNING pg_current_xact_id()::text
"""

_NOTES = f"""
    WITH marked (transaction_id) AS ({_MARK}), counted AS (
        INSERT INTO tally (shard, kind, {", ".join(_COLUMNS)})
        SELECT $3, * FROM unnest($4::text[], {", ".join(f"${number}::bigint[]" for number in range(5, 11))})
        ON CONFLICT (shard, kind) DO UPDATE SET
            {", ".join(f"{column} = tally.{column} + excluded.{column}" for column in _COLUMNS)}
    ), notified (number) AS (SELECT count(pg_notify($11, event)) FROM unnest($12::text[]) AS event)
    SELECT transaction_id FROM notified LEFT JOIN marked ON true
"""
"""The counts, the notifications and the mark by one statement: each statement costs a round trip. Rows that are counted
have been written before, so that the transaction has an id."""

_STATUS = "SELECT pg_xact_status($1::text::xid8)"
_LAST_COMMIT = "SELECT number FROM last_commits WHERE writer = $1"


class Mark(NamedTuple):
    """Identifies a transaction that wrote something."""

    number: int
    """Of this writer's transactions; committed with it."""
    transaction_id: str
    """The server's. It proves nothing: after a crash another transaction may get it."""


@dataclass(slots=True)
class Counts:
    """What a transaction changes, and what this store remembers between them. A rollback takes both back."""

    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What must be added to the tally, by kind and column."""
    held: int = 0
    """Running jobs of this owner."""
    suspect_held: bool = False
    suspects_wait: bool = False
    """The last claim saw jobs that must run alone."""
    owners_seen: str = "0"
    """The transaction (xid8) from which on owner_changes may have rows that this store's claims have not read."""
    clock_offset: float = 0.0
    """Wall clock minus monotonic clock, as the times of jobs in backoff follow it."""
    work: bool = False
    """A job may have become due."""
    notify: bool = False
    """Other stores do not learn of it from PgQueuer's trigger."""
    cancels: tuple[str, ...] = ()
    """Running jobs that were asked to stop, wherever they run."""

    def copy(self) -> "Counts":
        return replace(self, changes=Counter(self.changes))


@dataclass(slots=True)
class WriteTransaction:
    """Only for the writer."""

    connection: Connection
    tickets: Tickets
    clock: Clock
    owner: str
    manager: str
    """The owner as PgQueuer knows it, a UUID."""
    budget: Budget
    elapsed: ElapsedTime
    """What the age of runs is measured by."""
    rules: ClaimRules = field(default_factory=ClaimRules)
    counts: Counts = field(default_factory=Counts)
    messages: list[OutboxMessage] = field(default_factory=list)
    """What this transaction put into the outbox, in order."""
    _asks_at: float = float("-inf")
    """The monotonic clock from which the store may be asked again whether other workers are alive."""
    _before: Counts = field(default_factory=Counts)
    _writer: str = field(default_factory=lambda: uuid4().hex)
    """Not the owner: a process that is started again may have the same one."""
    _number: int = 0

    async def begin(self) -> None:
        self._before = self.counts.copy()
        await self.connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        await self.follow_clock()

    async def follow_clock(self) -> None:
        """Move jobs in backoff along with a wall clock that is set back.

        In every transaction, because each may write the clock that the next start compares with its own.
        """
        now, monotonic = self.clock.now(), self.clock.monotonic()
        offset = now - monotonic
        change = offset - self.counts.clock_offset
        if change < -SET_SECONDS and monotonic < self._asks_at:
            return  # others were alive a moment ago, and one question a second finds out soon enough that they are not
        if await set_back(self.connection, self.owner, change, now):
            self.counts.clock_offset = offset
        else:
            self._asks_at = monotonic + _ASK_SECONDS

    async def flush(self) -> Mark | None:
        """Write the counts and wake other stores; return what identifies the transaction if it wrote anything."""
        self._number += 1
        mark: tuple[object, ...] = (self._writer, self._number)
        changes, events = self.counts.changes, self._events()
        kinds = sorted({kind for (kind, _), change in changes.items() if change})
        if kinds or events:
            columns = [[changes[kind, column] for kind in kinds] for column in _COLUMNS]
            notes = (self.owner, kinds, *columns, self.tickets.target.events, events)
            transaction_id = await self.connection.fetchval(_NOTES, *mark, *notes)
        else:
            transaction_id = await self.connection.fetchval(_MARK, *mark)
        return None if transaction_id is None else Mark(self._number, transaction_id)

    def _events(self) -> list[str]:
        """Return what other stores are to be notified of."""
        events = [f"cancel {job_id}" for job_id in self.counts.cancels]
        if self.counts.notify:
            events.append("work")
        if self.messages:
            events.append("message")
        return events

    async def is_ended(self, mark: Mark) -> bool:
        """Return whether the server carries the transaction out no longer."""
        try:
            return bool(await self.connection.fetchval(_STATUS, mark.transaction_id) != "in progress")
        except asyncpg.InvalidParameterValueError:
            return True  # in the future: the server that took over never received it

    async def is_committed(self, mark: Mark) -> bool:
        """Return whether the transaction, which is this writer's last one and has ended, was committed."""
        return bool(await self.connection.fetchval(_LAST_COMMIT, self._writer) == mark.number)

    def reconnected(self, connection: Connection) -> None:
        """Use another connection, and read all changes of owners again.

        If the server crashed, it gives some ids to new transactions, whose changes this store has not read.
        """
        self.connection = connection
        self.counts.owners_seen = self._before.owners_seen = Counts().owners_seen

    def committed(self) -> None:
        self.counts.changes.clear()
        self.counts.notify, self.counts.cancels = False, ()

    def rolled_back(self) -> None:
        self.counts = self._before.copy()
        self.messages.clear()

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Roll back what fails inside; the transaction goes on."""
        before, sent = self.counts.copy(), len(self.messages)
        await self.connection.execute("SAVEPOINT operation")
        try:
            yield
        except Exception:
            self.counts = before
            del self.messages[sent:]
            await self.connection.execute("ROLLBACK TO operation; RELEASE operation")
            raise
        await self.connection.execute("RELEASE operation")

    def take_signals(self) -> tuple[bool, list[OutboxMessage]]:
        """Return (work, messages) of what was committed since the last call."""
        signals = (self.counts.work, self.messages)
        self.counts.work, self.messages = False, []
        return signals

    # -- counting ------------------------------------------------------------------------------------------

    def count(self, kind: str, action: JobAction, *, source: JobState | None = None) -> None:
        """Count a job that changed its state by `action`; `source` is needed if the action has several sources.

        `kind` is as the database has it.
        """
        sources, target, _ = TRANSITIONS[action]
        self.counts.changes[kind, (sources[0] if source is None else source).value] -= 1
        self.counts.changes[kind, target.value] += 1

    def let_go(self, owner: str) -> None:
        """Count a running job that is claimed no more. One of a dead owner was never held by this one."""
        counts = self.counts
        if owner != self.owner:
            return
        counts.held -= 1
        if self.rules.limits:
            counts.work = counts.notify = True  # a limit may allow another job
        if counts.held == 0:
            # A suspect is held alone, so it was this one; or one waits until nothing is held, which is now.
            counts.work = counts.work or counts.suspect_held or counts.suspects_wait
            counts.suspect_held = False

    def wake(self) -> None:
        """A job may have become due, by something other than a new ticket."""
        self.counts.work = self.counts.notify = True
