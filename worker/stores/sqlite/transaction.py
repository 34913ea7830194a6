"""What the writer's operations work on: the connection, the counts and the new messages. Only for the writer's thread.

Counts and sequence numbers are kept in memory too: only this process writes the file, so they cannot be out of date,
and a rollback restores both.
"""

import contextlib
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from worker.core.clock import SET_SECONDS, Clock
from worker.core.elapsed import ElapsedTime, SavedTime, set_since
from worker.core.job import TRANSITIONS, Job, JobAction, JobState
from worker.core.store import OutboxMessage
from worker.disk.row_statement import RowStatement
from worker.stores.sqlite.connection import BUSY_SECONDS
from worker.stores.sqlite.disk_space import DiskBudget, longest_log, wal_bytes, wal_of
from worker.stores.sqlite.due_jobs import DueJobs, Head
from worker.stores.sqlite.gauges import GaugeName
from worker.stores.sqlite.journal import CommitJournal, state_of
from worker.stores.sqlite.line import Line, Owner
from worker.stores.sqlite.statements import BACKOFF, READY, RUNNING, SCHEDULED, json_list
from worker.stores.sqlite.waiting import WaitingLines

_SEQUENCES = 50_000
"""Users whose last sequence number is kept in memory (at most about 10 MB)."""

_LOG_SECONDS = 1.0
"""Seconds between two looks at the size of the write-ahead log."""

_SAVE_SEQUENCES = RowStatement(
    "INSERT OR REPLACE INTO sequences (user_id, sequence) SELECT * FROM {rows} WHERE column1 IS NOT NULL", width=2
)

_DUE = f"SELECT line, run_at, seq FROM jobs WHERE lane = {READY} ORDER BY run_at, seq"
_LATER = f"SELECT line, seq FROM jobs WHERE lane IN ({SCHEDULED}, {BACKOFF})"
_OWNERS = """
    SELECT line, -priority, organization, user_id, kind, submitter FROM jobs
    WHERE seq IN (SELECT value FROM json_each(?))
"""

_SIZES = f"""
    SELECT line, sum(length(payload)) FROM jobs JOIN payloads USING (seq)
    WHERE lane IN ({READY}, {SCHEDULED}, {BACKOFF}) GROUP BY line
"""

_QUEUED = """
    SELECT json_group_array(json_array(format('%!.17g', run_at), seq, lane, line,
        (SELECT length(payload) FROM payloads WHERE payloads.seq = jobs.seq), -priority, organization, user_id, kind,
        submitter)) FROM jobs WHERE id IN (SELECT value FROM json_each(?))
"""


class BatchConflict(Exception):
    """The operations cannot be carried out by one statement, because of some of them."""


@dataclass(slots=True)
class Counts:
    """Counts of rows; the first six are on disk too, written in the transaction that changes the rows."""

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
    """`seq` of the job that was accepted last."""
    last_message: int = 0
    """The highest id of a message ever, whether or not the message still exists."""
    held: int = 0
    """Running jobs of this owner."""
    suspect_claimed: bool = False
    pauses: frozenset[str] = frozenset()
    """The paused kinds."""
    waiting_bytes: Counter[GaugeName] | None = None
    """Bytes of the payloads of queued jobs, for each name that has a limit of them; None: no limit is about them."""
    later: float = -math.inf
    """No scheduled job or job in backoff becomes due before this (wall clock). -inf: unknown; inf: there is none."""
    work: bool = False
    """Whether a job may have become due."""
    clock_offset: float = 0.0
    """Wall clock minus monotonic clock, as last read."""
    clock_set_backs: int = 0
    """How often the times of jobs in backoff were shifted; a change makes sure that the clock is written."""

    def copy(self) -> "Counts":
        waiting_bytes = None if self.waiting_bytes is None else self.waiting_bytes.copy()
        return replace(self, jobs=dict(self.jobs), kinds=Counter(self.kinds), waiting_bytes=waiting_bytes)


def read_counts(connection: sqlite3.Connection) -> Counts:
    """Return the counts on disk."""
    row = connection.execute(
        "SELECT queued, running, succeeded, failed, cancelled, suspects, pending, dead, delivered, kinds FROM tally"
    ).fetchone()
    states = (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
    jobs = {state.value: count for state, count in zip(states, row[:5], strict=True)}
    suspects, pending, dead, delivered, kinds = row[5:]
    return Counts(jobs, Counter(orjson.loads(kinds)), suspects, pending, dead, delivered)


@dataclass(slots=True)
class WriteTransaction:
    """The state of the writer: its connection, and what the current transaction has changed."""

    connection: sqlite3.Connection
    room: DiskBudget
    clock: Clock
    owner: str
    counts: Counts = field(default_factory=lambda: Counts({}))
    one_by_one: bool = False
    """The operations of this batch are carried out one by one, because one of them failed."""
    messages: list[OutboxMessage] = field(default_factory=list)
    """What this transaction has added to the outbox, in order."""
    journal: CommitJournal | None = None
    commits: int = 0
    waiting: WaitingLines = field(init=False)
    elapsed: ElapsedTime = field(init=False)
    """What the age of runs is measured by."""
    _before: Counts = field(default_factory=lambda: Counts({}))
    _sequences: dict[str, int] = field(default_factory=dict)
    _log_seen: float = 0.0
    """When the size of the write-ahead log was last looked at (monotonic clock)."""

    def __post_init__(self) -> None:
        self.waiting = WaitingLines(self.clock.monotonic)

    def load(self) -> None:
        """Read the counts, and shift the times of jobs in backoff if the clock was set back since they were written."""
        self.counts = read_counts(self.connection)
        self.counts.last_seq, self.counts.last_message = self.connection.execute(
            "SELECT coalesce((SELECT max(seq) FROM jobs), 0), "
            "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)"
        ).fetchone()
        self.counts.clock_offset = self.clock.offset()
        self.commits = state_of(self.connection).commits
        saved = SavedTime(*self.connection.execute("SELECT elapsed, clock, monotonic, boot FROM tally").fetchone())
        self.elapsed = ElapsedTime(self.clock, saved)
        self._load_lines()
        with self.transaction():
            self._disown_claims()
            self._shift_backoff(set_since(saved, self.clock))

    def _load_lines(self) -> None:
        due: dict[int, DueJobs] = {}
        for number, run_at, seq in self.connection.execute(_DUE):
            if number not in due:
                due[number] = DueJobs()
            due[number].add((run_at, seq))
        later: dict[int, list[int]] = {}
        for number, seq in self.connection.execute(_LATER):
            later.setdefault(number, []).append(seq)
        examples = [seqs[0] for number, seqs in later.items() if number not in due] + [
            jobs.first[1] for jobs in due.values()
        ]
        for number, *owner in self.connection.execute(_OWNERS, (json_list(examples),)):
            self.waiting.restore(number, Owner(*owner), len(later.get(number, ())), due.get(number))
        self.use_pauses(frozenset(kind for (kind,) in self.connection.execute("SELECT kind FROM pauses")))

    def use_pauses(self, kinds: frozenset[str]) -> None:
        """Pause these kinds and no others."""
        self.counts.pauses = kinds
        if kinds != self.waiting.paused:
            self.waiting.use(self.waiting.rules, kinds)

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
        # IMMEDIATE: it fails at once if another program is writing, not when the first row is written.
        self._before = self.counts.copy()
        self.waiting.begin()
        self.connection.execute("BEGIN IMMEDIATE")
        self._follow_clock()

    def commit(self) -> None:
        """Everything is on disk when this returns."""
        changed = self._changed()
        if changed:
            self._write_tally()
        self.connection.execute("COMMIT")
        if changed:
            self.commits += 1
            if self.journal is not None:
                self.journal.write(self.commits)

    def rollback(self) -> None:
        self.counts = self._before.copy()
        self.waiting.rollback()
        self.use_pauses(self.counts.pauses)
        self._sequences.clear()
        self.messages.clear()
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the next BEGIN raises again if it matters
                self.connection.execute("ROLLBACK")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what is done inside if it raises; the transaction goes on."""
        before, added = self.counts.copy(), len(self.messages)
        self.connection.execute("SAVEPOINT operation")
        try:
            with self.waiting.savepoint():
                yield
        except Exception:
            self.counts = before
            self.use_pauses(before.pauses)
            self._sequences.clear()
            del self.messages[added:]
            if self.connection.in_transaction:  # some errors, such as a full disk, roll all of it back
                self.connection.execute("ROLLBACK TO operation")
                self.connection.execute("RELEASE operation")
            raise
        self.connection.execute("RELEASE operation")

    def take_signals(self) -> tuple[bool, list[OutboxMessage]]:
        """Return whether a job may have become due, and the new messages, since the last call."""
        signals = (self.counts.work, self.messages)
        self.counts.work, self.messages = False, []
        return signals

    def tidy(self) -> None:
        """Empty the write-ahead log if the store was found full, which the log may be the cause of, or if the log is
        far too long: then a reader kept it, and nothing is written that would empty it afterwards."""
        if self.room.rejected:
            self.room.rejected = False
            self._empty_log()
        elif self.clock.monotonic() - self._log_seen > _LOG_SECONDS:
            self._log_seen = self.clock.monotonic()
            if wal_bytes(wal_of(self.room.path)) > longest_log(self.room.max_bytes):
                self.connection.execute("PRAGMA busy_timeout = 0")  # no caller waits for the reader
                self._empty_log()
                self.connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")

    def _empty_log(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()
        with contextlib.suppress(sqlite3.Error):  # the last checkpoint may fail on a full disk: then the log stays
            self.connection.close()

    def _changed(self) -> bool:
        return self._on_disk(self.counts) != self._on_disk(self._before)

    @staticmethod
    def _on_disk(counts: Counts) -> tuple[Any, ...]:
        return (
            counts.jobs, counts.kinds, counts.suspects, counts.pending, counts.dead, counts.delivered,
            counts.clock_set_backs,
        )  # fmt: skip

    def _write_tally(self) -> None:
        counts = self.counts
        self.connection.execute(
            "UPDATE tally SET queued = ?, running = ?, succeeded = ?, failed = ?, cancelled = ?, suspects = ?, "
            "pending = ?, dead = ?, delivered = ?, elapsed = ?, clock = ?, monotonic = ?, boot = ?, kinds = ?, "
            "commits = commits + 1",
            (
                *counts.jobs.values(),
                counts.suspects,
                counts.pending,
                counts.dead,
                counts.delivered,
                *self.elapsed.save(),
                orjson.dumps({kind: waiting for kind, waiting in counts.kinds.items() if waiting}).decode(),
            ),
        )

    # -- counting ------------------------------------------------------------------------------------------

    def count(self, action: JobAction, number: int = 1, *, source: JobState | None = None) -> None:
        """Count `number` jobs that changed their state by `action`; `source` is needed if it has several sources."""
        sources, target, _ = TRANSITIONS[action]
        self.counts.jobs[sources[0] if source is None else source] -= number
        self.counts.jobs[target] += number

    def queue_again(self, job_ids: Sequence[str]) -> None:
        """Add jobs that were running or had ended to their lines, once their rows say that they are queued."""
        if not job_ids:
            return
        (found,) = self.connection.execute(_QUEUED, (json_list(job_ids),)).fetchone()
        jobs: list[tuple[Line, Head | None]] = []
        for run_at, seq, lane, number, size, *owner in orjson.loads(found):
            line = self.waiting.by_id.get(number) or self.waiting.restore(number, Owner(*owner))
            jobs.append((line, (float(run_at), seq) if lane == READY else None))
            self.count_bytes(line, size)
        self.waiting.queue(jobs)

    def count_bytes(self, line: Line, size: int) -> None:
        """Add to the bytes of the queued jobs of a line, if a limit is about them."""
        counts = self.counts.waiting_bytes
        if counts is not None:
            for name, _ in self.waiting.byte_limits(line):
                counts[name] += size

    def recount_bytes(self) -> None:
        """Count the bytes of the queued jobs again, for the limits that hold now."""
        self.counts.waiting_bytes = Counter() if self.waiting.rules.limit_bytes else None
        if self.counts.waiting_bytes is not None:
            for number, size in self.connection.execute(_SIZES):
                self.count_bytes(self.waiting.by_id[number], size)

    def claim_ended(self, job: Job) -> None:
        """Count that a running job is no longer claimed. A dead owner's job is not counted as claimed by this one."""
        counts = self.counts
        if job.owner != self.owner:
            return
        counts.held -= 1
        if counts.held == 0 and (counts.suspect_claimed or counts.suspects):
            # A suspect runs alone: either it was this job, or one waited for all others to end.
            counts.suspect_claimed = False
            counts.work = True

    def waits_until(self, run_at: float) -> None:
        """Note that a job in the scheduled or the backoff lane becomes due then."""
        self.counts.later = min(self.counts.later, run_at)

    def unfinished(self) -> int:
        return self.counts.jobs[JobState.QUEUED] + self.counts.jobs[JobState.RUNNING]

    def next_sequences(self, users: list[str]) -> list[int]:
        """Return the next sequence number for each user, in order; a user who is named twice gets two."""
        self._load_sequences(users)
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

    def _load_sequences(self, users: list[str]) -> None:
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

    def _follow_clock(self) -> None:
        """Shift the times of jobs in backoff if the wall clock was set back: they wait for a duration, not for a time.

        In every transaction, because each may write the clock that the next start compares with its own. Due jobs are
        claimed without reading the clock, and scheduled jobs keep their time. A clock that is set forward only ends
        waits early.
        """
        offset = self.clock.offset()
        self._shift_backoff(offset - self.counts.clock_offset)
        self.counts.clock_offset = offset

    def _shift_backoff(self, seconds: float) -> None:
        if seconds < -SET_SECONDS:
            self.connection.execute("UPDATE jobs SET run_at = run_at + ? WHERE lane = ?", (seconds, BACKOFF))
            self.counts.later = -math.inf
            self.counts.clock_set_backs += 1

    def _disown_claims(self) -> None:
        """Rename the owner of running jobs that have this owner's name: they belong to a dead process."""
        self.connection.execute(
            "UPDATE jobs SET owner = owner || '~' WHERE lane = ? AND owner = ?", (RUNNING, self.owner)
        )
