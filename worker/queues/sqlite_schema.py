"""How the file is opened, and its schema brought up to date. Knows nothing of what the rows mean to the service."""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from worker.errors import SchemaTooNew, StoreError, StoreUnwritable
from worker.queues.sqlite_errors import corrupt
from worker.queues.sqlite_versions import MIGRATIONS

Connection = sqlite3.Connection

APPLICATION_ID = 0x494E5357
"""Written into the file's header ("INSW"), so that another program's database is not taken for a store."""

OLDEST_SQLITE = (3, 38, 0)
"""STRICT tables, UPDATE … FROM, RETURNING, and JSON built in."""

READY, SCHEDULED, BACKOFF, RUNNING, PAUSED = 0, 1, 2, 3, 4
"""The lanes of unfinished jobs: due; at a time that was asked for; after a failed attempt; claimed; due, but of a kind
that is paused. NULL: ended. A job whose time has come is moved to the ready lane by the next claim."""

BUSY_SECONDS = 2.0
"""How long another program's lock on the file is waited for; nobody else should have one."""

QUICK_CHECK_BYTES = 64 * 1024 * 1024
"""A file up to this size is checked at every start (about 1 ms per MB); a larger one by `db check`."""


def connect_writer(path: Path, wal_pages: int) -> Connection:
    """The one connection that writes and checkpoints; it checkpoints when the log holds `wal_pages` pages."""
    connection = _connect(path, "rw")
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreUnwritable(f"{path} cannot use a write-ahead log: the store needs a local disk")
        for pragma in (
            "synchronous = FULL",  # an answer means: on disk
            "fullfsync = ON",  # macOS: really on disk
            "checkpoint_fullfsync = ON",
            f"wal_autocheckpoint = {wal_pages}",
            f"journal_size_limit = {wal_pages * 4096}",
            "cache_size = -16000",
            "temp_store = MEMORY",  # a full /tmp is none of our business
            "secure_delete = FAST",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> Connection:
    """A connection that cannot write, and so cannot checkpoint either."""
    connection = _connect(path, "ro")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _connect(path: Path, mode: str) -> Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_SECONDS, cached_statements=256
    )


def require_sqlite(version: tuple[int, int, int]) -> None:
    """StoreError if the SQLite library is older than what the statements need."""
    if version < OLDEST_SQLITE:
        needed, found = (".".join(map(str, numbers)) for numbers in (OLDEST_SQLITE, version))
        raise StoreError(f"SQLite {needed} or newer is needed, this Python has {found}: use a newer Python build")


def wal_reset_warning(version: tuple[int, int, int]) -> str | None:
    """What to say about a SQLite with the WAL-reset bug (sqlite.org/wal.html#walresetbug); None: it is fixed."""
    branch_fixes = ((3, 44, 6), (3, 50, 7))
    fixed = version >= (3, 51, 3) or any(version[:2] == fix[:2] and version >= fix for fix in branch_fixes)
    if fixed:
        return None
    number = ".".join(map(str, version))
    return (
        f"SQLite {number} has the WAL-reset bug, which needs two writers at once; the store has one. "
        "Do not write the file with other programs, and update SQLite to 3.51.3 or newer when you can"
    )


def migrate(connection: Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> bool:
    """Bring the schema up to date in one transaction; True: the store is new. SchemaTooNew, StoreCorrupt."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        _require_known(connection, path, version, len(migrations))
        for number, statements in enumerate(migrations[version:], start=version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        if version == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return bool(version == 0)


def _require_known(connection: Connection, path: Path, version: int, newest: int) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if objects and application != APPLICATION_ID:
        raise corrupt(path, "it is the database of another program")
    if version > newest:
        raise SchemaTooNew(
            f"{path} has schema {version}, this program knows {newest}: install the version that wrote it"
        )


def quick_check(connection: Connection, path: Path) -> None:
    """StoreCorrupt with the first finding; files over QUICK_CHECK_BYTES are left to `db check`."""
    (size,) = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    if size > QUICK_CHECK_BYTES:
        return
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise corrupt(path, finding.splitlines()[-1])


class RowStatement:
    """A statement over many rows at once: `{rows}` in it stands for `(VALUES (?, …), …)`.

    One statement instead of one per row, because sqlite3 gives the GIL away at each and gets it back from a busy
    event loop only after the switch interval (5 ms): 100 rows one by one took 260 ms beside a busy thread. The
    row count is filled up to a power of two with NULLs, so that few statements are ever compiled; the statement
    must do nothing for a row whose first column is NULL.
    """

    __slots__ = ("_template", "_width")
    _CHUNK = 128

    def __init__(self, template: str, width: int) -> None:
        self._template = template
        self._width = width

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """How many rows of the table were changed."""
        changed = 0
        for start in range(0, len(rows), self._CHUNK):
            chunk = rows[start : start + self._CHUNK]
            size = 1 << (len(chunk) - 1).bit_length()
            values = list(chain.from_iterable(chunk))
            values.extend([None] * (self._width * (size - len(chunk))))
            changed += connection.execute(_with_rows(self._template, self._width, size), values).rowcount
        return changed


@cache
def _with_rows(template: str, width: int, size: int) -> str:
    row = f"({', '.join('?' * width)})"
    return template.format(rows=f"(VALUES {', '.join([row] * size)})")


def json_list(values: Iterable[str | int]) -> str:
    """One parameter for `IN (SELECT value FROM json_each(?))`, however many values there are."""
    return orjson.dumps(list(values)).decode()
