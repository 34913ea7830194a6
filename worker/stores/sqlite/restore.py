"""Puts a backup in the place of a store, or accepts a store that has lost something. Runs under the store's lock."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from config.presence import exists
from worker.disk.file_lock import FileLock
from worker.disk.sync import sync
from worker.errors import NotFound, SchemaTooNew, StoreCorrupt
from worker.stores.sqlite.backup import back_up
from worker.stores.sqlite.connection import APPLICATION_ID, Connection, connect_reader
from worker.stores.sqlite.disk_space import shared_memory_of, wal_of
from worker.stores.sqlite.errors import translated, translated_files
from worker.stores.sqlite.files import create_folder
from worker.stores.sqlite.journal import journal_of
from worker.stores.sqlite.schema import MIGRATIONS


def restore(path: Path, backup: Path | None, now: float) -> Path | None:
    """Replace the store at `path` by a backup; return the new name of what was there. Blocks.

    Without a backup the store stays as it is; either way the next start accepts it. Raises NotFound, StoreLocked,
    StoreCorrupt or SchemaTooNew for a backup that is not a usable store.
    """
    path = path.resolve()
    if backup is not None and not exists(backup):
        raise NotFound(f"there is no backup at {backup}")
    create_folder(path)
    lock = FileLock.acquire(path.with_name(f"{path.name}.lock"))
    try:
        with translated(backup or path), translated_files(path):
            kept = None if backup is None else _replace(path, backup.resolve(), now)
            journal_of(path).unlink(missing_ok=True)
        return kept
    finally:
        lock.release()


def _replace(path: Path, backup: Path, now: float) -> Path | None:
    with contextlib.closing(connect_reader(backup)) as source:
        _require_store(source, backup)
    with copied_next_to(path, backup) as copy:
        return swap(path, copy, now)


@contextlib.contextmanager
def copied_next_to(path: Path, backup: Path) -> Iterator[Path]:
    """Copy a backup to the disk of `path`; yield the copy, which is removed at the end unless it was put in place."""
    copy = path.with_name(f"{path.name}.restoring")
    _remove(copy)  # the log of one that was killed would be read as that of the new one
    back_up(backup, copy)
    try:
        yield copy
    finally:
        _remove(copy)


def _remove(copy: Path) -> None:
    for file in (copy, wal_of(copy), shared_memory_of(copy)):
        file.unlink(missing_ok=True)


def swap(path: Path, copy: Path, now: float) -> Path | None:
    """Put a copy in the place of the database at `path`, whose lock the caller holds; return where that is now."""
    kept = _set_aside(path, now)
    copy.replace(path)
    sync(path.parent)
    return kept


def _require_store(connection: Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreCorrupt(f"{path} is not a store: name a backup of queue.db")
    if version > len(MIGRATIONS):
        raise SchemaTooNew(f"{path} has schema {version}, this program knows {len(MIGRATIONS)}: use a newer one")
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise StoreCorrupt(f"{path} is damaged ({finding.splitlines()[-1]}): use another backup")


def _set_aside(path: Path, now: float) -> Path | None:
    """Rename a database and its log; return its new name. A search index is made again."""
    for other in (shared_memory_of(path), path.with_name(f"{path.name}.search")):
        other.unlink(missing_ok=True)
        wal_of(other).unlink(missing_ok=True)
    if not exists(path):
        wal_of(path).unlink(missing_ok=True)
        return None
    kept = path.with_name(f"{path.name}.replaced-{datetime.fromtimestamp(now, UTC).strftime('%Y%m%dT%H%M%SZ')}")
    path.rename(kept)
    if exists(wal_of(path)):
        wal_of(path).rename(wal_of(kept))
    return kept
