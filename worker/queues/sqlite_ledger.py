"""What one transaction of the writer sees: the connection, the counts, who is held. Lives in the writer's thread.

Counts and sequence numbers are kept in memory too: one process writes the file, so memory cannot be outdated,
and a rollback takes both back.
"""

import contextlib
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from worker.clock import Clock
from worker.job import JobState
from worker.queue import OutboxMessage
from worker.queues.sqlite_room import Room
from worker.queues.sqlite_schema import BACKOFF, PAUSED, RUNNING, RowStatement, json_list

_SEQUENCES = 50_000
"""Users whose last sequence number is kept in memory (about 10 MB at most)."""

_JUMP_SECONDS = 1.0
"""A wall clock set back by less than this is left alone."""

_SAVE_SEQUENCES = RowStatement(
    "INSERT OR REPLACE INTO sequences (user_id, sequence) SELECT * FROM {rows} WHERE column1 IS NOT NULL", width=2
)


class OneByOne(Exception):
    """The operations cannot be done together; nothing is wrong with most of them."""


@dataclass(slots=True)
class Counts:
    """What is counted; the first five on disk too, in the same transaction as the rows they count."""

    jobs: dict[str, int]
    """By state."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Queued jobs by kind; on disk too."""
    suspects: int = 0
    """Queued jobs that must run alone."""
    pending: int = 0
    dead: int = 0
    delivered: int = 0
    """The watermark: every message with an id up to here that is not dead has been delivered."""
    last_seq: int = 0
    """The place of the job that was accepted last."""
    last_message: int = 0
    """The id of the message that came last, whether or not it is still there."""
    held: int = 0
    """Running jobs of this owner."""
    suspect_held: bool = False
    pauses: Mapping[str, int] = field(default_factory=dict)
    """The number of each paused kind's pause. Replaced when it changes, never changed itself; so is `resumed`."""
    resumed: frozenset[int] = frozenset()
    """Pauses that are over, but may still have jobs in their lane."""
    later: float = -math.inf
    """No job of the scheduled and backoff lanes falls due before this (wall clock); -inf: look, inf: there is none."""
    work: bool = False
    """A job may have fallen due."""
    clock_offset: float = 0.0
    """Wall clock minus monotonic clock, when last looked at."""
    times_set_back: int = 0
    """How often jobs in backoff were moved; the clock they were moved to must then be on disk, or it happens twice."""

    def copy(self) -> "Counts":
        return replace(self, jobs=dict(self.jobs), kinds=Counter(self.kinds))


def read_counts(connection: sqlite3.Connection) -> tuple[Counts, float]:
    """The counts as they are on disk, and the wall clock when they were written."""
    row = connection.execute(
        "SELECT queued, running, succeeded, failed, cancelled, suspects, pending, dead, delivered, clock, kinds "
        "FROM tally"
    ).fetchone()
    states = (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
    jobs = {state.value: count for state, count in zip(states, row[:5], strict=True)}
    suspects, pending, dead, delivered, clock, kinds = row[5:]
    return Counts(jobs, Counter(orjson.loads(kinds)), suspects, pending, dead, delivered), clock


@dataclass(slots=True)
class Ledger:
    """Open it in the thread that writes, and use it nowhere else."""

    connection: sqlite3.Connection
    room: Room
    clock: Clock
    owner: str
    counts: Counts = field(default_factory=lambda: Counts({}))
    alone: bool = False
    """The operations of this batch are done one by one, because one of them failed."""
    news: list[OutboxMessage] = field(default_factory=list)
    """What this transaction put into the outbox, in order."""
    _before: Counts = field(default_factory=lambda: Counts({}))
    _sequences: dict[str, int] = field(default_factory=dict)

    def load(self) -> None:
        """Read the counts, and put right what a clock that was set back meanwhile would spoil."""
        self.counts, clock = read_counts(self.connection)
        self.counts.last_seq, self.counts.last_message = self.connection.execute(
            "SELECT coalesce((SELECT max(seq) FROM jobs), 0), "
            "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)"
        ).fetchone()
        self.counts.clock_offset = self.clock.now() - self.clock.monotonic()
        self._load_pauses()
        with self.transaction():
            self._disown()
            self._set_back(self.clock.now() - clock)

    def _load_pauses(self) -> None:
        self.counts.pauses = dict(self.connection.execute("SELECT kind, number FROM pauses"))
        over = self.connection.execute(
            "SELECT DISTINCT rank FROM jobs WHERE lane = ? AND rank NOT IN (SELECT number FROM pauses)", (PAUSED,)
        )
        self.counts.resumed = frozenset(number for (number,) in over)

    # -- transactions --------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.begin()
        try:
            yield
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def begin(self) -> None:
        # IMMEDIATE: a read that turns into a write later fails at once when somebody else has written meanwhile.
        self._before = self.counts.copy()
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Everything is on disk when this returns."""
        if self._changed():
            self._write_tally()
        self.connection.execute("COMMIT")

    def rollback(self) -> None:
        self.counts = self._before.copy()
        self._sequences.clear()
        self.news.clear()
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # told by the next BEGIN, if it matters
                self.connection.execute("ROLLBACK")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What fails inside leaves no trace, and the transaction goes on."""
        before, told = self.counts.copy(), len(self.news)
        self.connection.execute("SAVEPOINT operation")
        try:
            yield
        except Exception:
            self.counts = before
            self._sequences.clear()
            del self.news[told:]
            if self.connection.in_transaction:  # a full disk, for one, takes the whole transaction with it
                self.connection.execute("ROLLBACK TO operation")
                self.connection.execute("RELEASE operation")
            raise
        self.connection.execute("RELEASE operation")

    def take_signals(self) -> tuple[bool, list[OutboxMessage]]:
        """(work, news) of what was committed since this was last asked."""
        signals = (self.counts.work, self.news)
        self.counts.work, self.news = False, []
        return signals

    def tidy(self) -> None:
        """Between transactions: a store that was found full may be full of log only."""
        if self.room.refused:
            self.room.refused = False
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # the last checkpoint may find the disk full: then the log stays
            self.connection.close()

    def _changed(self) -> bool:
        return self._on_disk(self.counts) != self._on_disk(self._before)

    @staticmethod
    def _on_disk(counts: Counts) -> tuple[Any, ...]:
        return (
            counts.jobs, counts.kinds, counts.suspects, counts.pending, counts.dead, counts.delivered,
            counts.times_set_back,
        )  # fmt: skip

    def _write_tally(self) -> None:
        counts = self.counts
        self.connection.execute(
            "UPDATE tally SET queued = ?, running = ?, succeeded = ?, failed = ?, cancelled = ?, suspects = ?, "
            "pending = ?, dead = ?, delivered = ?, clock = ?, kinds = ?",
            (
                *counts.jobs.values(),
                counts.suspects,
                counts.pending,
                counts.dead,
                counts.delivered,
                self.clock.now(),
                orjson.dumps({kind: waiting for kind, waiting in counts.kinds.items() if waiting}).decode(),
            ),
        )

    # -- counting ------------------------------------------------------------------------------------------

    def move(self, source: str, target: str, count: int = 1) -> None:
        """`count` jobs went from one state to another."""
        self.counts.jobs[source] -= count
        self.counts.jobs[target] += count

    def let_go(self, owner: str) -> None:
        """A running job is claimed no more. One of a dead owner was never held by this one."""
        counts = self.counts
        if owner != self.owner:
            return
        counts.held -= 1
        if counts.held == 0 and (counts.suspect_held or counts.suspects):
            # A suspect is held alone, so it was that one; or it waited for this silence, and may go now.
            counts.suspect_held = False
            counts.work = True

    def wait_until(self, run_at: float) -> None:
        """A job went into the scheduled or the backoff lane."""
        self.counts.later = min(self.counts.later, run_at)

    def unfinished(self) -> int:
        return self.counts.jobs[JobState.QUEUED] + self.counts.jobs[JobState.RUNNING]

    def sequences(self, users: list[str]) -> list[int]:
        """The next number of each user, in order; a user named twice draws twice."""
        self._know(users)
        drawn: dict[str, int] = {}
        numbers = []
        known = self._sequences
        for user in users:
            number = drawn.get(user)
            if number is None:
                number = known.get(user, 0)
            drawn[user] = number = number + 1
            numbers.append(number)
        known.update(drawn)
        _SAVE_SEQUENCES.run(self.connection, list(drawn.items()))
        return numbers

    def _know(self, users: list[str]) -> None:
        if len(self._sequences) > _SEQUENCES:
            self._sequences.clear()
        missing = {user for user in users if user not in self._sequences}
        if missing:
            found = self.connection.execute(
                "SELECT user_id, sequence FROM sequences WHERE user_id IN (SELECT value FROM json_each(?))",
                (json_list(missing),),
            )
            self._sequences.update(found.fetchall())

    # -- the wall clock ------------------------------------------------------------------------------------

    def follow_clock(self) -> None:
        """Jobs in backoff wait a while, not until a time: when the wall clock is set back, so is their time.

        Jobs that were due are claimed without a look at the clock, and those somebody scheduled keep their time.
        A clock set forward only ends waits early.
        """
        offset = self.clock.now() - self.clock.monotonic()
        self._set_back(offset - self.counts.clock_offset)
        self.counts.clock_offset = offset

    def _set_back(self, seconds: float) -> None:
        if seconds < -_JUMP_SECONDS:
            self.connection.execute("UPDATE jobs SET run_at = run_at + ? WHERE lane = ?", (seconds, BACKOFF))
            self.counts.later = -math.inf
            self.counts.times_set_back += 1

    def _disown(self) -> None:
        """Running jobs that bear our name are a dead process's: nobody else can hold the store."""
        self.connection.execute(
            "UPDATE jobs SET owner = owner || '~' WHERE lane = ? AND owner = ?", (RUNNING, self.owner)
        )
