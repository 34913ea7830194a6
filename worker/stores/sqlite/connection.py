"""Opens the database file and upgrades its schema."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from worker.errors import SchemaTooNew, StoreError, StoreLocked, StoreUnwritable
from worker.stores.sqlite.errors import corrupt
from worker.stores.sqlite.line import line_id
from worker.stores.sqlite.schema import MIGRATIONS

Connection = sqlite3.Connection

APPLICATION_ID = 0x494E5357
"""Written into the file's header ("INSW"), so that the database of another program is not opened as a store."""

OLDEST_SQLITE = (3, 38, 0)
"""STRICT tables, UPDATE … FROM, RETURNING, and JSON built in."""


BUSY_SECONDS = 2.0
"""Seconds to wait for another program's lock on the file; no other program should have one."""

QUICK_CHECK_BYTES = 64 * 1024 * 1024
"""Files up to this size are checked at every start (about 1 ms per MB), larger ones by `db check`."""


def is_store(path: Path) -> bool:
    """Return whether a file is a store, by its header, without opening it as a database."""
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return header[68:] == APPLICATION_ID.to_bytes(4, "big")


def connect_writer(path: Path, wal_pages: int) -> Connection:
    """Open the connection that writes, and checkpoints when the log holds `wal_pages` pages. Raises StoreUnwritable."""
    connection = _connect(path, "rw")
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreUnwritable(f"{path} cannot use a write-ahead log: the store needs a local disk")
        for pragma in (
            "synchronous = FULL",  # what was answered is on disk
            "fullfsync = ON",  # macOS: really on disk
            "checkpoint_fullfsync = ON",
            f"wal_autocheckpoint = {wal_pages}",
            f"journal_size_limit = {wal_pages * 4096}",
            "cache_size = -16000",
            "temp_store = MEMORY",  # not in /tmp, which may be full
            "secure_delete = FAST",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> Connection:
    """Open a connection that cannot write, and so cannot checkpoint either."""
    connection = _connect(path, "ro")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _connect(path: Path, mode: str) -> Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_SECONDS, cached_statements=256
    )


def require_sqlite(version: tuple[int, int, int]) -> None:
    """Raise StoreError if the SQLite library is older than the statements need."""
    if version < OLDEST_SQLITE:
        needed, found = (".".join(map(str, numbers)) for numbers in (OLDEST_SQLITE, version))
        raise StoreError(f"SQLite {needed} or newer is needed, this Python has {found}: use a newer Python build")


def wal_reset_warning(version: tuple[int, int, int]) -> str | None:
    """Return a warning about a SQLite with the WAL-reset bug (sqlite.org/wal.html#walresetbug); None if it is fixed."""
    branch_fixes = ((3, 44, 6), (3, 50, 7))
    fixed = version >= (3, 51, 3) or any(version[:2] == fix[:2] and version >= fix for fix in branch_fixes)
    if fixed:
        return None
    number = ".".join(map(str, version))
    return (
        f"SQLite {number} has the WAL-reset bug, which needs two writers at once; the store has one. "
        "Do not write the file with other programs, and update SQLite to 3.51.3 or newer when you can"
    )


def add_functions(connection: Connection) -> None:
    """Add the functions that migrations and recovery call."""
    connection.create_function("line_id", 5, line_id, deterministic=True)


def migrate(connection: Connection, path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> bool:
    """Upgrade the schema in one transaction; return whether the store is new. Raises SchemaTooNew, StoreCorrupt."""
    add_functions(connection)
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


def write_out_log(connection: Connection) -> None:
    """Copy the whole log into the file, which may then be renamed without it.

    Closing a connection does this too, but says nothing of a full disk: the rows would stay behind in the log. Raises
    StoreLocked if another program reads the file.
    """
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreLocked("another program reads the new file: its log cannot be copied into it; close that program")


def quick_check(connection: Connection, path: Path) -> None:
    """Raise StoreCorrupt with the first finding; skip files over QUICK_CHECK_BYTES, which `db check` examines."""
    (size,) = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    if size > QUICK_CHECK_BYTES:
        return
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise corrupt(path, finding.splitlines()[-1])
