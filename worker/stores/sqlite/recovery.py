"""Copies what can still be read of a damaged store into a new file. Runs without a service, under the store's lock.

The damaged files are kept next to the new one: nothing is deleted.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config.presence import exists
from worker.core.failure import Failure, LocalizedError, localized_of
from worker.core.job import Job
from worker.core.notification import NotificationFormat, notification_for
from worker.core.outcome import Attempt, CancelledOutcome, Failed, Outcome, Succeeded
from worker.core.store_admin import RecoveryReport
from worker.disk.file_lock import FileLock
from worker.disk.sync import sync
from worker.errors import NotFound, SchemaTooNew, StoreCorrupt
from worker.stores.sqlite.connection import (
    APPLICATION_ID,
    Connection,
    connect_reader,
    connect_writer,
    migrate,
    write_out_log,
)
from worker.stores.sqlite.disk_space import shared_memory_of, wal_of, wal_pages_for
from worker.stores.sqlite.errors import is_temporary, translated, translated_files
from worker.stores.sqlite.files import create_file
from worker.stores.sqlite.journal import journal_of
from worker.stores.sqlite.rebuild import put_in_lanes, recount
from worker.stores.sqlite.schema import MIGRATIONS

_STEP = 100
"""Keys read by one statement as long as nothing is damaged."""

_READ_ERRORS = frozenset((sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS))
"""What SQLite reports of a disk that cannot read a part of the file."""

_MOST_ROWS_A_PAGE = 40
"""Rows of any table that fit on a page; it bounds the keys to try when the end of a table cannot be read."""


def recover(path: Path, now: float, wire: NotificationFormat) -> RecoveryReport:
    """Replace the store at `path` by one of its readable rows; return what was saved. Blocks; needs as much disk again.

    Raises NotFound, StoreLocked, StoreUnwritable, StoreFull, and StoreCorrupt if nothing can be read. The store is then
    as it was.
    """
    path = path.resolve()
    if not exists(path):
        raise NotFound(f"there is no store at {path}")
    lock = FileLock.acquire(path.with_name(f"{path.name}.lock"))
    try:
        with translated_files(path):
            return _recover(path, now, wire)
    finally:
        lock.release()


def _recover(path: Path, now: float, wire: NotificationFormat) -> RecoveryReport:
    target_path = path.with_name(f"{path.name}.recovering")
    _remove(target_path)  # of a recovery that was killed
    try:
        with translated(path):  # while the draft is there: without it a quota has room
            return _recover_into(target_path, path, now, wire)
    except BaseException:
        _remove(target_path)
        raise


def _remove(path: Path) -> None:
    for file in (path, wal_of(path), shared_memory_of(path)):
        file.unlink(missing_ok=True)


def _recover_into(target_path: Path, path: Path, now: float, wire: NotificationFormat) -> RecoveryReport:
    create_file(target_path)
    with contextlib.closing(_source(path)) as source, contextlib.closing(_target(target_path)) as target:
        unreadable = _copy(source, target) + _replace_lost_payloads(target)
        target.execute("DELETE FROM attempts WHERE seq NOT IN (SELECT seq FROM jobs)")
        put_in_lanes(target)
        rewritten = _rewrite_lost_notifications(target, wire)
        _recount(source, target, now)
        jobs, notifications = target.execute(
            "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM outbox)"
        ).fetchone()
        write_out_log(target)
    sync(target_path)
    return RecoveryReport(jobs, notifications, unreadable, rewritten, _swap(path, target_path, now))


def _source(path: Path) -> Connection:
    connection = connect_reader(path)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as exc:
        connection.close()
        _require_damage(exc)
        raise StoreCorrupt(f"{path} is damaged at its beginning and cannot be read ({exc}): restore a backup") from exc
    if application != APPLICATION_ID:
        connection.close()
        raise StoreCorrupt(f"{path} is the database of another program: check Queue:Path")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        connection.close()
        raise SchemaTooNew(
            f"{path} has schema {version}, this program knows {len(MIGRATIONS)}: recover it with the "
            "version that wrote it"
        )
    return connection


def _require_damage(exc: sqlite3.DatabaseError) -> None:
    """Raise the error again unless it says that the file is damaged, or that its disk cannot read it.

    What a lack of memory, space or rights hides is not lost: it can be read the next time.
    """
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    if is_temporary(exc) and code not in _READ_ERRORS:
        raise exc


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
    """Copy the rows; return how many keys could not be read."""
    unreadable = 0
    for table, key in _TABLES.items():
        columns = _columns(target, source, table)
        if not columns:
            continue
        names, marks = ", ".join(columns), ", ".join("?" for _ in columns)
        select = f"SELECT {names} FROM {table} NOT INDEXED WHERE {key} >= ? AND {key} < ?"
        insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
        for rows in _readable(source, select, *_bounds(source, table, key)):
            if rows is None:
                unreadable += 1
            else:
                unreadable += _insert(target, insert, rows)
    _copy_sequences(source, target)
    return unreadable


def _columns(target: Connection, source: Connection, table: str) -> list[str]:
    """Return the columns that both have: the damaged store may be of an earlier version, without some or the table."""
    there = {name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
    return [name for _, name, *_ in target.execute(f"PRAGMA table_info({table})") if name in there]


def _insert(target: Connection, insert: str, rows: Iterable[tuple[Any, ...]]) -> int:
    """Insert the rows; return how many violate a constraint."""
    rejected = 0
    target.execute("BEGIN")
    for row in rows:
        try:
            target.execute(insert, row)
        except sqlite3.IntegrityError:
            rejected += 1
    target.execute("COMMIT")
    return rejected


def _readable(source: Connection, select: str, low: int, high: int) -> Iterator[list[tuple[Any, ...]] | None]:
    """Yield the rows with keys in [low, high), in order, and None for each key that cannot be read."""
    ranges = [(start, min(start + _STEP, high)) for start in range(low, high, _STEP)][::-1]
    while ranges:
        start, end = ranges.pop()
        try:
            yield source.execute(select, (start, end)).fetchall()
        except sqlite3.DatabaseError as exc:
            _require_damage(exc)
            if end - start == 1:
                yield None
            else:
                middle = (start + end) // 2
                ranges += [(middle, end), (start, middle)]


def _bounds(source: Connection, table: str, key: str) -> tuple[int, int]:
    """Return the keys to try, as [low, high)."""
    low = _number_or(source, f"SELECT min({key}) FROM {table}", 1)
    (pages,) = source.execute("PRAGMA page_count").fetchone()
    high = _number_or(source, f"SELECT max({key}) FROM {table}", low + pages * _MOST_ROWS_A_PAGE)
    return low, high + 1


def _number_or(source: Connection, query: str, otherwise: int) -> int:
    """Return the number that the query finds; `otherwise` if there is none or it cannot be read."""
    try:
        row = source.execute(query).fetchone()
    except sqlite3.DatabaseError as exc:
        _require_damage(exc)
        return otherwise
    return otherwise if row is None or row[0] is None else int(row[0])


def _copy_sequences(source: Connection, target: Connection) -> None:
    """Copy the counters; a number must never be used twice, so the highest number in the outbox counts too."""
    _insert(target, "INSERT OR IGNORE INTO sequences VALUES (?, ?)", _sequences(source))
    target.execute(
        "INSERT INTO sequences SELECT user_id, max(sequence) FROM outbox WHERE true GROUP BY user_id "
        "ON CONFLICT DO UPDATE SET sequence = max(sequence, excluded.sequence)"
    )


def _sequences(source: Connection) -> Iterator[tuple[Any, ...]]:
    """Yield the counters up to the first one that is damaged."""
    try:
        yield from source.execute("SELECT user_id, sequence FROM sequences")
    except sqlite3.DatabaseError as exc:
        _require_damage(exc)


# -- making the tables agree ---------------------------------------------------------------------------------


def _replace_lost_payloads(target: Connection) -> int:
    """Insert `null` for lost payloads, so that waiting jobs fail and their users are notified; return how many."""
    target.execute("DELETE FROM payloads WHERE seq NOT IN (SELECT seq FROM jobs)")
    return target.execute(
        "INSERT INTO payloads SELECT seq, x'6e756c6c' FROM jobs WHERE seq NOT IN (SELECT seq FROM payloads)"
    ).rowcount


def _rewrite_lost_notifications(target: Connection, wire: NotificationFormat) -> int:
    """Write missing notifications of ended runs, so that these can be resent and pruned; return how many."""
    lost = target.execute(
        "SELECT id, kind, user_id, x'', run, attempt, max_attempts, created_at, coalesce(owner, ''), claims, "
        "state, finished_at, duration_ms, error_type, error, error_id, stack_trace, result FROM jobs "
        "WHERE lane IS NULL AND (id, run) NOT IN (SELECT job_id, run FROM outbox) ORDER BY finished_at, seq"
    ).fetchall()
    for row in lost:
        _rewrite(target, row, wire)
    return len(lost)


def _rewrite(target: Connection, row: tuple[Any, ...], wire: NotificationFormat) -> None:
    job = Job(*row[:10])
    state, finished_at, duration_ms, error_type, error, error_id, stack_trace, result = row[10:]
    known = (localized_of(result) if state == "failed" else None) or LocalizedError("", "")
    failure = Failure(
        error_type or "Failed", error or "", stack_trace, error_id or "", code=known.code, text_th=known.text_th
    )
    outcomes: dict[str, Outcome] = {
        "succeeded": Succeeded(result), "failed": Failed(failure), "cancelled": CancelledOutcome(failure)
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


def _recount(source: Connection, target: Connection, now: float) -> None:
    """Count again. An unreadable watermark becomes 0: what was delivered is sent again, with the same ids."""
    delivered = _number_or(source, "SELECT delivered FROM tally", 0)
    last_id = _number_or(source, "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'", 0)
    recount(target, delivered=delivered, last_id=last_id, now=now)


# -- replacing the file ---------------------------------------------------------------------------------------


def _swap(path: Path, target: Path, now: float) -> Path:
    """Replace the file; return the old one's new path. `path` always exists, and never with another file's log."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    os.link(path, kept)
    if exists(wal_of(path)):
        wal_of(path).rename(wal_of(kept))
    shared_memory_of(path).unlink(missing_ok=True)
    journal_of(path).unlink(missing_ok=True)
    target.replace(path)
    shared_memory_of(target).unlink(missing_ok=True)
    wal_of(target).unlink(missing_ok=True)
    sync(path.parent)
    return kept
