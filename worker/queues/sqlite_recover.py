"""Saves what can still be read of a damaged store into a new file. Runs without a service, under the store's lock.

The damaged files are kept beside the new one: nothing is ever deleted here.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker.errors import NotFound, StoreCorrupt
from worker.failure import Failure
from worker.job import Job
from worker.notification import Wire, notification_for
from worker.outcome import Attempt, Cancelled, Failed, Outcome, Succeeded
from worker.queues.lock import StoreLock
from worker.queues.sqlite_errors import translated
from worker.queues.sqlite_files import make_file
from worker.queues.sqlite_room import wal_of, wal_pages_for
from worker.queues.sqlite_schema import (
    APPLICATION_ID,
    PAUSED,
    READY,
    Connection,
    connect_reader,
    connect_writer,
    migrate,
)

_STEP = 100
"""Keys read at once as long as nothing is wrong."""

_MOST_ROWS_A_PAGE = 40
"""Of any table here, so that an unreadable end of a table has a bound."""


@dataclass(frozen=True, slots=True)
class Recovered:
    jobs: int
    notifications: int
    unreadable: int
    """Keys under which something may have been that cannot be read any more."""
    rewritten: int
    """Ended runs whose notification was lost: written again and parked as dead, to be resent by hand."""
    kept: Path
    """The damaged file, under its new name."""


def recover(path: Path, now: float, wire: Wire) -> Recovered:
    """Replace the store at `path` by one of all its readable rows. Blocks; asks for as much disk again.

    Raises NotFound, StoreLocked, StoreUnwritable, and StoreCorrupt when nothing at all can be read.
    """
    path = path.resolve()
    if not path.exists():
        raise NotFound(f"there is no store at {path}")
    lock = StoreLock.acquire(path.with_name(f"{path.name}.lock"))
    try:
        return _recover(path, now, wire)
    except sqlite3.Error as exc:
        raise translated(exc, path) from exc
    finally:
        lock.release()


def _recover(path: Path, now: float, wire: Wire) -> Recovered:
    target_path = path.with_name(f"{path.name}.recovering")
    for leftover in (target_path, wal_of(target_path)):
        leftover.unlink(missing_ok=True)
    make_file(target_path)
    with contextlib.closing(_source(path)) as source, contextlib.closing(_target(target_path)) as target:
        unreadable = _copy(source, target) + _replace_lost_payloads(target)
        target.execute("DELETE FROM attempts WHERE seq NOT IN (SELECT seq FROM jobs)")
        _put_in_lanes(target)
        rewritten = _rewrite_lost_news(target, wire)
        _count_anew(source, target, now)
        jobs, notifications = target.execute(
            "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM outbox)"
        ).fetchone()
    return Recovered(jobs, notifications, unreadable, rewritten, _swap(path, target_path, now))


def _source(path: Path) -> Connection:
    connection = connect_reader(path)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as exc:
        connection.close()
        raise StoreCorrupt(f"{path} is damaged at its very beginning ({exc}): restore a backup") from exc
    if application != APPLICATION_ID:
        connection.close()
        raise StoreCorrupt(f"{path} is the database of another program: check Queue:Path")
    return connection


def _target(path: Path) -> Connection:
    connection = connect_writer(path, wal_pages_for(1 << 40))
    migrate(connection, path)
    return connection


# -- copying -----------------------------------------------------------------------------------------------

_TABLES = {
    "jobs": "seq", "payloads": "seq", "outbox": "id", "deliveries": "up_to", "attempts": "id", "pauses": "number",
    "shown": "place", "audit": "id",
}  # fmt: skip


def _copy(source: Connection, target: Connection) -> int:
    """How many keys could not be read."""
    unreadable = 0
    for table, key in _TABLES.items():
        columns = _columns(target, source, table)
        if not columns:
            continue
        names, marks = ", ".join(columns), ", ".join("?" for _ in columns)
        select = f"SELECT {names} FROM {table} NOT INDEXED WHERE {key} >= ? AND {key} < ?"  # noqa: S608
        insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
        for rows in _readable(source, select, *_bounds(source, table, key)):
            if rows is None:
                unreadable += 1
            else:
                unreadable += _insert(target, insert, rows)
    _copy_sequences(source, target)
    return unreadable


def _columns(target: Connection, source: Connection, table: str) -> list[str]:
    """Those that both have: the damaged store may be one of an earlier version, without some columns or the table."""
    there = {name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
    return [name for _, name, *_ in target.execute(f"PRAGMA table_info({table})") if name in there]


def _insert(target: Connection, insert: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """How many of the rows are no rows of ours any more."""
    refused = 0
    target.execute("BEGIN")
    for row in rows:
        try:
            target.execute(insert, row)
        except sqlite3.IntegrityError:
            refused += 1
    target.execute("COMMIT")
    return refused


def _readable(source: Connection, select: str, low: int, high: int) -> Iterator[list[tuple[Any, ...]] | None]:
    """The rows with keys in [low, high), in order; None for each key that cannot be read."""
    ranges = [(start, min(start + _STEP, high)) for start in range(low, high, _STEP)][::-1]
    while ranges:
        start, end = ranges.pop()
        try:
            yield source.execute(select, (start, end)).fetchall()
        except sqlite3.DatabaseError:
            if end - start == 1:
                yield None
            else:
                middle = (start + end) // 2
                ranges += [(middle, end), (start, middle)]


def _bounds(source: Connection, table: str, key: str) -> tuple[int, int]:
    """The keys to try, as [low, high)."""
    low = _asked(source, f"SELECT min({key}) FROM {table}", 1)  # noqa: S608
    (pages,) = source.execute("PRAGMA page_count").fetchone()
    high = _asked(source, f"SELECT max({key}) FROM {table}", low + pages * _MOST_ROWS_A_PAGE)  # noqa: S608
    return low, high + 1


def _asked(source: Connection, query: str, otherwise: int) -> int:
    """The number the query gives; `otherwise` when there is none or it cannot be read."""
    try:
        row = source.execute(query).fetchone()
    except sqlite3.DatabaseError:
        return otherwise
    return otherwise if row is None or row[0] is None else int(row[0])


def _copy_sequences(source: Connection, target: Connection) -> None:
    """A number must never be given twice: the higher of the counter and the last one seen."""
    with contextlib.suppress(sqlite3.DatabaseError):
        for row in source.execute("SELECT user_id, sequence FROM sequences"):
            target.execute("INSERT OR IGNORE INTO sequences VALUES (?, ?)", row)
    target.execute(
        "INSERT INTO sequences SELECT user_id, max(sequence) FROM outbox WHERE true GROUP BY user_id "
        "ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)"
    )


# -- what must agree again ---------------------------------------------------------------------------------


def _replace_lost_payloads(target: Connection) -> int:
    """How many. With `null` a waiting job fails at once, as any job with a wrong payload, and its user hears of it."""
    target.execute("DELETE FROM payloads WHERE seq NOT IN (SELECT seq FROM jobs)")
    return target.execute(
        "INSERT INTO payloads SELECT seq, x'6e756c6c' FROM jobs WHERE seq NOT IN (SELECT seq FROM payloads)"
    ).rowcount


def _put_in_lanes(target: Connection) -> None:
    """Ranks as the lanes want them; what was set aside goes back, for its pause may be lost."""
    target.execute(
        f"UPDATE jobs SET lane = iif(lane = {PAUSED}, {READY}, lane), "  # noqa: S608
        f"rank = iif(lane IN ({READY}, {PAUSED}), -priority, 0) WHERE lane IS NOT NULL"
    )


def _rewrite_lost_news(target: Connection, wire: Wire) -> int:
    """A run that ended has its notification, or it could never be told, resent or pruned."""
    lost = target.execute(
        "SELECT id, kind, user_id, x'', run, attempt, max_attempts, created_at, coalesce(owner, ''), claims, "
        "state, finished_at, duration_ms, error_type, error, error_id, stack_trace, result FROM jobs "
        "WHERE lane IS NULL AND (id, run) NOT IN (SELECT job_id, run FROM outbox) ORDER BY finished_at, seq"
    ).fetchall()
    for row in lost:
        _rewrite(target, row, wire)
    return len(lost)


def _rewrite(target: Connection, row: tuple[Any, ...], wire: Wire) -> None:
    job = Job(*row[:10])
    state, finished_at, duration_ms, error_type, error, error_id, stack_trace, result = row[10:]
    failure = Failure(error_type or "Failed", error or "", stack_trace, error_id or "")
    outcomes: dict[str, Outcome] = {
        "succeeded": Succeeded(result), "failed": Failed(failure), "cancelled": Cancelled(failure)
    }  # fmt: skip
    attempt = Attempt(job, finished_at, finished_at, duration_ms or 0.0, result)
    notification = notification_for(attempt, outcomes[state], wire)
    assert notification is not None
    (sequence,) = target.execute(
        "INSERT INTO sequences VALUES (?, 1) ON CONFLICT DO UPDATE SET sequence = sequence + 1 RETURNING sequence",
        (job.user_id,),
    ).fetchone()
    target.execute(
        "INSERT INTO outbox (notification_id, job_id, run, user_id, sequence, dead, created_at, reason, body) "
        "VALUES (?, ?, ?, ?, ?, 1, ?, 'written again by db recover', ?)",
        (notification.id, job.id, job.run, job.user_id, sequence, finished_at, notification.body(sequence)),
    )


def _count_anew(source: Connection, target: Connection, now: float) -> None:
    """The watermark is taken over; unreadable, it is 0, and what was delivered is delivered again: under old ids."""
    delivered = _asked(source, "SELECT delivered FROM tally", 0)
    last = _asked(source, "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", 0)
    target.execute("INSERT INTO outbox (id, notification_id, job_id, run, user_id, sequence, created_at, body) "
                   "VALUES (?, '', '', 0, '', 0, 0.0, x'')", (max(last, delivered, _last(target)) + 1,))  # fmt: skip
    target.execute("DELETE FROM outbox WHERE notification_id = ''")  # its id stays taken
    states = ("queued", "running", "succeeded", "failed", "cancelled")
    counts = [target.execute("SELECT count(*) FROM jobs WHERE state = ?", (state,)).fetchone()[0] for state in states]
    target.execute(
        "UPDATE tally SET queued = ?, running = ?, succeeded = ?, failed = ?, cancelled = ?, delivered = ?, clock = ?, "
        "suspects = (SELECT count(*) FROM jobs WHERE state = 'queued' AND suspect = 1), "
        "dead = (SELECT count(*) FROM outbox WHERE dead = 1), kinds = (SELECT json_group_object(kind, waiting) FROM "
        "(SELECT kind, count(*) AS waiting FROM jobs WHERE state = 'queued' GROUP BY kind))",
        (*counts, delivered, now),
    )
    target.execute("UPDATE tally SET pending = (SELECT count(*) FROM outbox WHERE dead IS NULL AND id > delivered)")


def _last(target: Connection) -> int:
    return _asked(target, "SELECT max(id) FROM outbox", 0)


# -- changing places ---------------------------------------------------------------------------------------


def _swap(path: Path, target: Path, now: float) -> Path:
    """At each moment there is a store under `path`, and never a new one with the old one's log."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    os.link(path, kept)
    if wal_of(path).exists():
        wal_of(path).rename(wal_of(kept))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    target.replace(path)
    return kept
