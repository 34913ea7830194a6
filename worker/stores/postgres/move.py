"""Moves a store from its SQLite file into PostgreSQL. It can be interrupted at any point and started again.

Rows are copied in chunks into tables next to the final ones, whose rows an interrupted move keeps. One transaction then
puts all of them into the store, so no worker and no producer ever sees a part of it. The rows of the file are hashed,
and so are those that the store returns; the transaction is committed only if both agree. A move that ended between the
commit and the renaming of the file is recognised by the same hashes, and only the file renamed.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from worker.core.clock import Clock
from worker.disk.file_lock import FileLock
from worker.disk.sync import sync
from worker.errors import NotPossible, StoreCorrupt
from worker.stores.postgres.budget import ROW_BYTES
from worker.stores.postgres.database import Connection, DatabaseTarget
from worker.stores.postgres.errors import translated
from worker.stores.postgres.migrations import migrate
from worker.stores.postgres.move_arriving import Arriving, MovedTable
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


_TABLES = (
    MovedTable(
        "jobs",
        "seq, id, state, kind, user_id, run, attempt, max_attempts, claims, suspect, cancel_requested, priority, "
        "wait_at, backs_off, unlucky, run_at, created_at, started_at, finished_at, duration_ms, error_type, error, "
        "error_id, stack_trace, key, organization, submitter, crashes, payload, result, bytes",
        _JOB,
        booleans=(9, 10, 13),
        json=(28, 29),
    ),
    MovedTable(
        "attempts",
        "id, seq, run, attempt, ended, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, "
        "result",
        "SELECT id, seq, run, attempt, ended, started_at, finished_at, duration_ms, error_type, error, error_id, "
        "stack_trace, CAST(result AS TEXT) FROM attempts ORDER BY id",
        json=(12,),
    ),
    MovedTable(
        "outbox",
        "id, notification_id, job_id, run, user_id, sequence, dead, redelivery, created_at, reason, body",
        booleans=(6,),
    ),
    MovedTable("deliveries", "up_to, at"),
    MovedTable("sequences", "user_id, sequence", grows=False),
    MovedTable("shown", "place, notification_id, at, times"),
    MovedTable("pauses", "kind, at", grows=False),
    MovedTable("audit", "id, at, actor, action, target, detail"),
    MovedTable("ages", "at, message, audit, shown"),
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


# Any of them: of a store whose jobs were all pruned, only the others have rows.
_FILLED = f"SELECT {' OR '.join(f'EXISTS (SELECT FROM {table.name})' for table in _TABLES)}"
_NOT_EMPTY = "the store in PostgreSQL is not empty: name an empty one (schema=...)"


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
            if await connection.fetchval(_FILLED):
                counts = await _compare_all(source, connection, progress)
            else:
                counts = await _copy_all(source, connection, progress)
        await Arriving(connection).drop(_TABLES)
        return counts
    finally:
        await connection.close(timeout=2.0)


async def _copy_all(source: sqlite3.Connection, connection: Connection, progress: Progress) -> dict[str, int]:
    arriving = Arriving(connection)
    continues = await arriving.has_rows(_TABLES)
    try:
        return await _copy(source, connection, arriving, progress)
    except (StoreCorrupt, asyncpg.IntegrityConstraintViolationError):
        await arriving.drop(_TABLES)
        if not continues:
            raise
    # The service went on after the interrupted move, so that its rows have changed.
    return await _copy(source, connection, arriving, progress)


async def _copy(
    source: sqlite3.Connection, connection: Connection, arriving: Arriving, progress: Progress
) -> dict[str, int]:
    for table in _TABLES:
        await _send(source, arriving, table, progress)
    async with connection.transaction():
        await connection.execute("LOCK TABLE jobs, outbox, workers IN ACCESS EXCLUSIVE MODE")
        if await connection.fetchval(_FILLED):
            raise NotPossible(_NOT_EMPTY)
        counts = {}
        for table in _TABLES:
            counts[table.name] = await arriving.put_in_place(table)
            progress(f"{table.name} stored", counts[table.name], counts[table.name])
            sent, _ = _hash_of_file(source, table, progress)
            if sent != await _hash_of(connection, table):
                raise StoreCorrupt(
                    f"what arrived in {table.name} differs from the file; nothing was changed, try again"
                )
        await _conclude(source, connection)
    return counts


async def _send(source: sqlite3.Connection, arriving: Arriving, table: MovedTable, progress: Progress) -> None:
    """Copy the rows that have not arrived yet."""
    total = _total(source, table)
    done, last = await arriving.prepare(table)
    for records in _records(source, table, last):
        await arriving.add(table, records)
        done += len(records)
        progress(table.name, done, total)


async def _conclude(source: sqlite3.Connection, connection: Connection) -> None:
    """Write what the store derives from its rows, the watermark and the clocks."""
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


async def _compare_all(source: sqlite3.Connection, connection: Connection, progress: Progress) -> dict[str, int]:
    """Return the rows of each table if PostgreSQL has exactly what the file has. Raises NotPossible."""
    counts = {}
    async with connection.transaction():
        for table in _TABLES:
            digest, counts[table.name] = _hash_of_file(source, table, progress)
            if digest != await _hash_of(connection, table):
                raise NotPossible(_NOT_EMPTY)
    return counts


def _total(source: sqlite3.Connection, table: MovedTable) -> int:
    return int(source.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0])


def _records(source: sqlite3.Connection, table: MovedTable, last: Any = None) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of the file behind `last` as PostgreSQL has them, some at a time."""
    if last is None:
        cursor = source.execute(table.statement)
    else:
        cursor = source.execute(f"SELECT * FROM ({table.statement}) WHERE {table.key} > ?", (last,))
    for rows in chunks(cursor):
        yield [_converted(row, table) for row in rows]


def _hash_of_file(source: sqlite3.Connection, table: MovedTable, progress: Progress) -> tuple[str, int]:
    """Return the hash of a table's rows, and their number."""
    digest, done, total = hashlib.sha256(), 0, _total(source, table)
    for records in _records(source, table):
        add_rows(digest, records)
        done += len(records)
        progress(f"{table.name} compared", done, total)
    return digest.hexdigest(), done


async def _hash_of(connection: Connection, table: MovedTable) -> str:
    digest = hashlib.sha256()
    statement = f"SELECT {table.columns} FROM {table.name} ORDER BY {table.order}"
    async for row in connection.cursor(statement, prefetch=CHUNK):
        add_rows(digest, [tuple(row)])
    return digest.hexdigest()


def _converted(row: tuple[Any, ...], table: MovedTable) -> tuple[Any, ...]:
    values = [
        optional_to_database(value) if isinstance(value, str) and place not in table.json else value
        for place, value in enumerate(row)
    ]
    for place in table.booleans:
        values[place] = None if values[place] is None else bool(values[place])
    return tuple(values)
