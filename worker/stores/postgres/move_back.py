"""Moves a store from PostgreSQL back into an SQLite file. It can be interrupted at any point and started again.

Rows are copied in chunks into a file next to the final one, whose rows are kept by an interrupted move. At the end
every table is read on both sides: what differs in number or hash is copied once more from the beginning. Then the
schema in PostgreSQL is renamed, so that no worker and no producer uses it again, and the file gets its name.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from config.presence import exists
from worker.disk.file_lock import FileLock
from worker.disk.sync import sync
from worker.errors import NotPossible, StoreCorrupt, Unavailable
from worker.stores.postgres.database import Connection, DatabaseTarget
from worker.stores.postgres.errors import translated
from worker.stores.postgres.liveness import LEASE_SECONDS
from worker.stores.postgres.migrations import require_current, schema_state
from worker.stores.postgres.move_rows import CHUNK, Progress, add_rows, chunks
from worker.stores.postgres.texts import from_database
from worker.stores.sqlite import errors as sqlite_errors
from worker.stores.sqlite.connection import connect_writer, migrate, require_sqlite, write_out_log
from worker.stores.sqlite.disk_space import wal_of, wal_pages_for
from worker.stores.sqlite.files import create_file, create_folder
from worker.stores.sqlite.integrity_check import examine
from worker.stores.sqlite.journal import journal_of
from worker.stores.sqlite.rebuild import put_in_lanes, recount
from worker.stores.sqlite.statements import BACKOFF, READY, SCHEDULED

MOVED_SCHEMA = "_moved"
"""Added to the name of a schema that was moved."""

ARRIVING, ARRIVED = ".arriving", ".arrived"
"""Added to the name of the file while it is filled, and when it is complete but PostgreSQL still has the store."""

_QUEUED = "state IN ('queued', 'running')"

_JOB = f"""
    SELECT seq, id, CASE WHEN state = 'running' THEN 'queued' ELSE state END AS state,
        CASE WHEN NOT {_QUEUED} THEN NULL WHEN wait_at IS NULL OR wait_at = '-infinity' THEN {READY}
            WHEN backs_off THEN {BACKOFF} ELSE {SCHEDULED} END AS lane, kind, user_id, run,
        CASE WHEN state = 'running' THEN greatest(attempt - 1, 0) ELSE attempt END AS attempt, max_attempts, claims,
        suspect, cancel_requested, run_at, created_at, CASE WHEN state = 'running' THEN NULL ELSE started_at END,
        finished_at, duration_ms, error_type, error, error_id, stack_trace, key, result, priority, organization,
        submitter, crashes
    FROM jobs
"""


@dataclass(frozen=True, slots=True)
class _FileTable:
    """A table of the file, and the statement that reads its rows from PostgreSQL, in the order of its first column."""

    name: str
    columns: str
    select: str = ""
    json: tuple[int, ...] = ()
    """Columns with JSON, which the file holds as bytes."""
    grows: bool = True
    """Rows are added with increasing keys, so that an interrupted copy goes on behind the last one."""
    source: str = ""

    @property
    def key(self) -> str:
        return self.columns.split(",")[0]

    @property
    def read(self) -> str:
        """The statement on PostgreSQL for the rows behind $1, or for all if the table does not grow."""
        select = self.select or f"SELECT {self.columns} FROM {self.name}"
        order = self.key if self.grows else f'{self.key} COLLATE "C"'
        return f"{select} {f'WHERE {self.key} > $1' if self.grows else ''} ORDER BY {order}"


_TABLES = (
    _FileTable(
        "jobs",
        "seq, id, state, lane, kind, user_id, run, attempt, max_attempts, claims, suspect, cancel_requested, run_at, "
        "created_at, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, key, result, "
        "priority, organization, submitter, crashes",
        _JOB,
        json=(22,),
    ),
    _FileTable("payloads", "seq, payload", "SELECT seq, payload FROM jobs", json=(1,), source="jobs"),
    _FileTable(
        "attempts",
        "id, seq, run, attempt, ended, started_at, finished_at, duration_ms, error_type, error, error_id, stack_trace, "
        "result",
        json=(12,),
    ),
    _FileTable(
        "outbox", "id, notification_id, job_id, run, user_id, sequence, dead, redelivery, created_at, reason, body"
    ),
    _FileTable("deliveries", "up_to, at"),
    _FileTable("sequences", "user_id, sequence", grows=False),
    _FileTable("shown", "place, notification_id, at, times"),
    _FileTable("pauses", "kind, at", grows=False),
    _FileTable("audit", "id, at, actor, action, target, detail"),
    _FileTable("ages", "at, message, audit, shown"),
)


async def move_to_sqlite(target: DatabaseTarget, path: Path, progress: Progress) -> dict[str, int]:
    """Copy the store in PostgreSQL into a new file, and set its schema aside; return the rows of each table.

    Raises NotPossible while workers have the store open or if there is a store at `path`, StoreLocked while a service
    uses `path`, StoreCorrupt if what arrived differs from what was sent.
    """
    require_sqlite(sqlite3.sqlite_version_info)
    path = path.resolve()
    create_folder(path)
    lock = FileLock.acquire(path.with_name(f"{path.name}.lock"))
    try:
        if exists(path):
            raise NotPossible(f"there is a store at {path}: move it away, or set Queue:Path to another file")
        with translated(target.shown), sqlite_errors.translated(path):
            connection = await target.connect()
            try:
                return await _move(connection, target, path, progress)
            finally:
                await connection.close(timeout=2.0)
    finally:
        lock.release()


async def _move(connection: Connection, target: DatabaseTarget, path: Path, progress: Progress) -> dict[str, int]:
    arriving, arrived = (path.with_name(path.name + ending) for ending in (ARRIVING, ARRIVED))
    state = await schema_state(connection, target)
    aside = await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", target.schema + MOVED_SCHEMA)
    if state.version == 0:
        # The last move ended between its commit and the renaming of the file.
        if not (aside and exists(arrived)):
            raise Unavailable(f"there is no store at {target.shown}; correct Queue:ConnectionString")
    else:
        require_current(state, target)
        if aside:
            name = target.schema + MOVED_SCHEMA
            raise NotPossible(f"{target.shown} has a schema {name} from an earlier move: drop or rename it")
        if exists(arrived):
            with sqlite_errors.translated_files(path):
                arrived.rename(arriving)
        async with _alone(connection):
            await _copy_all(connection, arriving, progress)
            with sqlite_errors.translated_files(path):
                arriving.rename(arrived)
            await connection.execute(f"ALTER SCHEMA {target.schema} RENAME TO {target.schema}{MOVED_SCHEMA}")
    with sqlite_errors.translated_files(path):
        journal_of(path).unlink(missing_ok=True)
        arrived.rename(path)
        sync(path.parent)
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as moved:
        return {table.name: _number(moved, f"SELECT count(*) FROM {table.name}") for table in _TABLES}


@contextlib.asynccontextmanager
async def _alone(connection: Connection) -> AsyncIterator[None]:
    """Keep workers and producers out of the store in a transaction. Raises NotPossible if workers are there."""
    await connection.execute("SET idle_in_transaction_session_timeout = 0")
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("SET LOCAL lock_timeout = '3s'")
        try:
            await connection.execute("LOCK TABLE workers, jobs, outbox, audit, shown IN ACCESS EXCLUSIVE MODE")
        except asyncpg.LockNotAvailableError as exc:
            raise NotPossible("the store is in use: stop all workers and producers first") from exc
        alive = await connection.fetchval(
            "SELECT count(*) FROM workers WHERE seen_at > now() - make_interval(secs => $1)", LEASE_SECONDS
        )
        if alive:
            raise NotPossible(
                f"{alive} workers have the store open, or ended without a stop less than {LEASE_SECONDS:.0f} s ago: "
                "stop all of them first"
            )
        yield


async def _copy_all(connection: Connection, arriving: Path, progress: Progress) -> None:
    create_file(arriving)
    with contextlib.closing(connect_writer(arriving, wal_pages_for(1 << 40))) as file:
        migrate(file, arriving)
        for table in _TABLES:
            await _copy(connection, file, table, progress)
        for table in _TABLES:
            if not await _agrees(connection, file, table, progress):
                file.execute(f"DELETE FROM {table.name}")
                await _copy(connection, file, table, progress)
                if not await _agrees(connection, file, table, progress):
                    raise StoreCorrupt(f"what arrived in {table.name} differs from PostgreSQL, which is unchanged")
        await _derive(connection, file)
        faults = examine(file)
        if faults:
            raise StoreCorrupt(f"{arriving}: {faults[0]}; PostgreSQL is unchanged: run `insignia-worker db check`")
        write_out_log(file)
    with sqlite_errors.translated_files(arriving):
        wal_of(arriving).unlink(missing_ok=True)
        sync(arriving)


async def _copy(connection: Connection, file: sqlite3.Connection, table: _FileTable, progress: Progress) -> None:
    if not table.grows:
        file.execute(f"DELETE FROM {table.name}")
    done, last = file.execute(f"SELECT count(*), max({table.key}) FROM {table.name}").fetchone()
    total = await connection.fetchval(f"SELECT count(*) FROM {table.source or table.name}")
    marks = ", ".join("?" for _ in table.columns.split(","))
    # A file of an interrupted move may hold another row with a unique value; the comparison finds what it replaced.
    insert = f"INSERT OR REPLACE INTO {table.name} ({table.columns}) VALUES ({marks})"
    cursor = await _cursor(connection, table, last)
    while rows := await cursor.fetch(CHUNK):
        file.execute("BEGIN")
        file.executemany(insert, [_converted(row, table) for row in rows])
        file.execute("COMMIT")
        done += len(rows)
        progress(table.name, done, total)


async def _agrees(connection: Connection, file: sqlite3.Connection, table: _FileTable, progress: Progress) -> bool:
    """Return whether both sides have the same rows, by their number and hash."""
    here, there, done = hashlib.sha256(), hashlib.sha256(), 0
    cursor = await _cursor(connection, table, None)
    (total,) = file.execute(f"SELECT count(*) FROM {table.name}").fetchone()
    while rows := await cursor.fetch(CHUNK):
        add_rows(there, (_converted(row, table) for row in rows))
        done += len(rows)
        progress(f"{table.name} compared", done, total)
    if done != total:
        return False
    for some in chunks(file.execute(f"SELECT {table.columns} FROM {table.name} ORDER BY {table.key}")):
        add_rows(here, some)
    return here.digest() == there.digest()


async def _cursor(connection: Connection, table: _FileTable, last: Any) -> Any:
    if not table.grows:
        return await connection.cursor(table.read)
    if last is None:
        last = float("-inf") if table.name == "ages" else -(1 << 62)
    return await connection.cursor(table.read, last)


def _converted(row: Iterable[Any], table: _FileTable) -> tuple[Any, ...]:
    return tuple(_values(row, table.json))


def _values(row: Iterable[Any], json: tuple[int, ...]) -> Iterator[Any]:
    for place, value in enumerate(row):
        if isinstance(value, str):
            yield value.encode() if place in json else from_database(value)
        elif isinstance(value, bool):
            yield int(value)
        else:
            yield value


async def _derive(connection: Connection, file: sqlite3.Connection) -> None:
    """Write what the file derives from its rows, the watermark and the clocks."""
    delivered, last_id = await connection.fetchrow("SELECT delivered, last_id FROM outbox_state")
    wall = await connection.fetchval("SELECT clock FROM meta")
    elapsed = await connection.fetchrow("SELECT elapsed, monotonic, boot FROM elapsed")
    file.execute("BEGIN")
    put_in_lanes(file)
    recount(file, delivered=delivered, last_id=last_id, now=wall)
    if elapsed is not None:
        file.execute("UPDATE tally SET elapsed = ?, monotonic = ?, boot = ?", tuple(elapsed))
    # The marks of ages speak of ids: none may be used again, even if its row was deleted.
    last = _number(
        file, "SELECT max((SELECT coalesce(max(id), 0) FROM audit), (SELECT coalesce(max(audit), 0) FROM ages))"
    )
    file.execute("DELETE FROM sqlite_sequence WHERE name = 'audit'")
    file.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('audit', ?)", (last,))
    file.execute("COMMIT")


def _number(file: sqlite3.Connection, query: str) -> int:
    return int(file.execute(query).fetchone()[0])
