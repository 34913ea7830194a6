"""Moves a store from its SQLite file into PostgreSQL, in one transaction: an interrupted move leaves nothing there.

What is read is hashed, and so is what PostgreSQL then returns; the transaction is committed only if both agree. A move
that ended between the commit and the renaming of the file is recognised by the same hashes, and only the file renamed.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.core.clock import Clock
from worker.disk.file_lock import FileLock
from worker.disk.sync import sync
from worker.errors import NotPossible, StoreCorrupt
from worker.stores.postgres.budget import ROW_BYTES
from worker.stores.postgres.database import Connection, DatabaseTarget
from worker.stores.postgres.errors import translated
from worker.stores.postgres.migrations import migrate
from worker.stores.postgres.move_rows import CHUNK, Progress, add_rows, chunks
from worker.stores.postgres.texts import optional_to_database
from worker.stores.sqlite import errors as sqlite_errors
from worker.stores.sqlite.store import open_store

MOVED = ".moved"
"""Added to the name of a file that was moved, so that no service opens it again."""

_QUEUED = "lane IS NOT NULL"
"""Also jobs that were running when the service died: they are queued again, and the attempt is not counted."""

_JOB = f"""
    SELECT seq, id, CASE WHEN state = 'running' THEN 'queued' ELSE state END, kind, user_id, run,
        CASE WHEN state = 'running' THEN max(attempt - 1, 0) ELSE attempt END, max_attempts, claims, suspect,
        cancel_requested, priority, CASE WHEN lane IN (1, 2) THEN run_at WHEN {_QUEUED} THEN -9e999 END,
        coalesce(lane = 2, 0), CASE WHEN state IN ('failed', 'cancelled') THEN state END, run_at, created_at,
        CASE WHEN state = 'running' THEN NULL ELSE started_at END, finished_at, duration_ms, error_type, error,
        error_id, stack_trace, key, organization, submitter, crashes, CAST(payload AS TEXT), CAST(result AS TEXT),
        {ROW_BYTES} + length(payload) + coalesce(length(result), 0)
    FROM jobs JOIN payloads USING (seq) ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class _MovedTable:
    """A table, how it is read from the file, and its columns in PostgreSQL in the order of the first one."""

    name: str
    columns: str
    select: str = ""
    booleans: tuple[int, ...] = ()
    json: tuple[int, ...] = ()
    """Columns with JSON text, which has no NUL and is stored as it is."""

    @property
    def names(self) -> list[str]:
        return [name.strip() for name in self.columns.split(",")]

    @property
    def statement(self) -> str:
        first = self.names[0]
        return self.select or f"SELECT {self.columns} FROM {self.name} ORDER BY {first}"


_TABLES = (
    _MovedTable(
        "jobs",
        "seq, id, state, kind, user_id, run, attempt, max_attempts, claims, suspect, cancel_requested, priority, "
        "wait_at, backs_off, unlucky, run_at, created_at, started_at, finished_at, duration_ms, error_type, error, "
        "error_id, stack_trace, key, organization, submitter, crashes, payload, result, bytes",
        _JOB,
        booleans=(9, 10, 13),
        json=(28, 29),
    ),
    _MovedTable(
        "attempts",
        "id, seq, run, attempt, ended, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, "
        "result",
        "SELECT id, seq, run, attempt, ended, started_at, finished_at, duration_ms, error_type, error, error_id, "
        "stack_trace, CAST(result AS TEXT) FROM attempts ORDER BY id",
        json=(12,),
    ),
    _MovedTable(
        "outbox",
        "id, notification_id, job_id, run, user_id, sequence, dead, redelivery, created_at, reason, body",
        booleans=(6,),
    ),
    _MovedTable("deliveries", "up_to, at"),
    _MovedTable("sequences", "user_id, sequence"),
    _MovedTable("shown", "place, notification_id, at, times"),
    _MovedTable("pauses", "kind, at"),
    _MovedTable("audit", "id, at, actor, action, target, detail"),
    _MovedTable("ages", "at, message, audit, shown"),
)

_COUNT = """
    INSERT INTO tally (shard, kind, queued, running, succeeded, failed, cancelled, bytes)
    SELECT '', kind, count(*) FILTER (WHERE state = 'queued'), 0, count(*) FILTER (WHERE state = 'succeeded'),
        count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'cancelled'), sum(bytes)
    FROM jobs GROUP BY kind
"""
_STATE = """
    UPDATE outbox_state SET last_id = $1, delivered = $2,
        pending = (SELECT count(*) FROM outbox WHERE outbox.dead IS NULL AND id > $2),
        dead = (SELECT count(*) FROM outbox WHERE outbox.dead)
"""


async def move_from_sqlite(path: Path, target: DatabaseTarget, clock: Clock, progress: Progress) -> dict[str, int]:
    """Copy the store at `path` into an empty PostgreSQL store and set the file aside; return the rows of each table.

    Raises StoreLocked while a service has the file open, NotPossible if the other store has anything else in it,
    StoreCorrupt if what arrived differs from what was sent.
    """
    # Brings the file up to date, and finds damage.
    await (await open_store(path, owner="move", max_bytes=1 << 62, clock=clock)).close()
    lock = FileLock.acquire(path.with_name(f"{path.name}.lock"))
    try:
        with translated(target.shown), sqlite_errors.translated(path):
            counts = await _move(path, target, progress)
        with sqlite_errors.translated_files(path):
            path.rename(path.with_name(path.name + MOVED))
            sync(path.parent)
    finally:
        lock.release()
    return counts


async def _move(path: Path, target: DatabaseTarget, progress: Progress) -> dict[str, int]:
    connection = await target.connect()
    try:
        await migrate(connection, target)
        await connection.execute("SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0")
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source:
            async with connection.transaction():
                return await _copy_all(source, connection, progress)
    finally:
        await connection.close(timeout=2.0)


async def _copy_all(source: sqlite3.Connection, connection: Connection, progress: Progress) -> dict[str, int]:
    await connection.execute("LOCK TABLE jobs, outbox, workers IN ACCESS EXCLUSIVE MODE")
    # Any of them: of a store whose jobs were all pruned, only the others have rows.
    filled = " OR ".join(f"EXISTS (SELECT FROM {table.name})" for table in _TABLES)
    if await connection.fetchval(f"SELECT {filled}"):
        return await _compare_all(source, connection, progress)
    counts = {}
    for table in _TABLES:
        counts[table.name], sent = await _copy(source, connection, table, progress)
        if sent != await _hash_of(connection, table):
            raise StoreCorrupt(f"what arrived in {table.name} differs from the file; nothing was changed, try again")
    delivered, elapsed, wall, monotonic, boot = source.execute(
        "SELECT delivered, elapsed, clock, monotonic, boot FROM tally"
    ).fetchone()
    last_id = source.execute("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)").fetchone()
    await connection.execute(_COUNT)
    await connection.execute(_STATE, last_id[0], delivered)
    await connection.execute("UPDATE meta SET clock = $1", wall)
    await connection.execute("DELETE FROM elapsed")
    await connection.execute(
        "INSERT INTO elapsed (elapsed, wall, monotonic, boot) VALUES ($1, $2, $3, $4)", elapsed, wall, monotonic, boot
    )
    # The marks of ages speak of ids: none may be used again, even if its row was deleted.
    for name, column, mark in (
        ("jobs", "seq", "max(0)"),
        ("attempts", "id", "max(0)"),
        ("shown", "place", "max(shown)"),
        ("audit", "id", "max(audit)"),
    ):
        await connection.execute(
            f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), greatest("
            f"(SELECT max({column}) FROM {name}), (SELECT {mark} FROM ages), 0) + 1, false)"
        )
    return counts


async def _compare_all(source: sqlite3.Connection, connection: Connection, progress: Progress) -> dict[str, int]:
    """Return the rows of each table if PostgreSQL has exactly what the file has. Raises NotPossible."""
    counts = {}
    for table in _TABLES:
        digest, done, total = hashlib.sha256(), 0, _total(source, table)
        for records in _records(source, table):
            add_rows(digest, records)
            done += len(records)
            progress(f"{table.name} compared", done, total)
        if digest.hexdigest() != await _hash_of(connection, table):
            raise NotPossible("the store in PostgreSQL is not empty: name an empty one (schema=...)")
        counts[table.name] = done
    return counts


def _total(source: sqlite3.Connection, table: _MovedTable) -> int:
    return int(source.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0])


def _records(source: sqlite3.Connection, table: _MovedTable) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of the file as PostgreSQL has them, some at a time."""
    for rows in chunks(source.execute(table.statement)):
        yield [_converted(row, table) for row in rows]


async def _copy(
    source: sqlite3.Connection, connection: Connection, table: _MovedTable, progress: Progress
) -> tuple[int, str]:
    digest, done, total = hashlib.sha256(), 0, _total(source, table)
    for records in _records(source, table):
        add_rows(digest, records)
        await connection.copy_records_to_table(table.name, records=records, columns=table.names)
        done += len(records)
        progress(table.name, done, total)
    return done, digest.hexdigest()


async def _hash_of(connection: Connection, table: _MovedTable) -> str:
    digest = hashlib.sha256()
    first = f'{table.names[0]} COLLATE "C"' if table.names[0] in ("user_id", "kind") else table.names[0]
    statement = f"SELECT {table.columns} FROM {table.name} ORDER BY {first}"
    async for row in connection.cursor(statement, prefetch=CHUNK):
        add_rows(digest, [tuple(row)])
    return digest.hexdigest()


def _converted(row: tuple[Any, ...], table: _MovedTable) -> tuple[Any, ...]:
    values = [
        optional_to_database(value) if isinstance(value, str) and place not in table.json else value
        for place, value in enumerate(row)
    ]
    for place in table.booleans:
        values[place] = None if values[place] is None else bool(values[place])
    return tuple(values)
