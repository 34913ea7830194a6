"""Translates SQLite's errors to those of worker.errors, where they leave the store's threads."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from worker.disk.limits import exhausted_files
from worker.disk.room import sqlite_lack_of_room, unwritable_database, write_error
from worker.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked

_PRIMARY = 0xFF  # extended result codes carry the primary one in their low byte


def translate(exc: Exception, path: Path) -> Exception:
    """Return the StoreError that says what to do about `exc`; return anything that SQLite did not raise unchanged."""
    if not isinstance(exc, sqlite3.Error):
        return exc
    if isinstance(exc, sqlite3.IntegrityError):
        return ValueError(f"the store rejected a row: {exc}")
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None:
        return exc
    return _by_code(code & _PRIMARY, exc, path)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise the errors of SQLite inside, about the file at `path`, as StoreErrors."""
    try:
        yield
    except sqlite3.Error as exc:
        known = translate(exc, path)
        if known is exc:
            raise
        raise known from exc


@contextlib.contextmanager
def translated_files(path: Path) -> Iterator[None]:
    """Raise the errors of the file system inside, which renames or syncs the file at `path`, as StoreErrors."""
    try:
        yield
    except OSError as exc:
        raise write_error(exc, path, "give this user the right to the file and its folder") from exc


def _by_code(code: int, exc: sqlite3.Error, path: Path) -> Exception:
    if code == sqlite3.SQLITE_CANTOPEN and (limit := exhausted_files()) is not None:
        return StoreError(f"cannot open {path}: no more {limit}")
    if (lack := sqlite_lack_of_room(exc, path)) is not None:
        return StoreFull(lack)
    match code:
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            return unwritable_database(exc, path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return corrupt(path, str(exc))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreLocked(f"{path} is locked by another program ({exc}): close what has it open")
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_MISUSE:
            return exc  # a defect of this program: its traceback says most
        case _:
            return StoreError(f"{path}: {exc} ({exc.sqlite_errorname}): check the disk and the system log")


_TEMPORARY = frozenset(
    (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)
)


def is_temporary(exc: sqlite3.Error) -> bool:
    """Return whether the error says nothing about the file's content and may not occur the next time."""
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY in _TEMPORARY


def corrupt(path: Path, finding: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is damaged or not a store ({finding}): keep a copy, then run `insignia-worker db recover`"
    )
