"""SQLite's errors in the words of ours. Translated once, at the edge of the store's threads."""

import sqlite3
from pathlib import Path

from worker.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreUnwritable

_PRIMARY = 0xFF  # extended result codes carry the primary one in their low byte


def translated(exc: Exception, path: Path) -> Exception:
    """The StoreError that says what to do about `exc`; anything SQLite did not raise comes back as it is."""
    if not isinstance(exc, sqlite3.Error):
        return exc
    if isinstance(exc, sqlite3.IntegrityError):
        return ValueError(f"the store refused a row: {exc}")
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None:
        return exc
    return _by_code(code & _PRIMARY, exc, path)


def _by_code(code: int, exc: sqlite3.Error, path: Path) -> Exception:
    match code:
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"the disk of {path} is full: make room on it; the work goes on by itself")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreUnwritable(f"cannot write {path} ({exc}): give this user the right to the file and its folder")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return corrupt(path, str(exc))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreLocked(f"{path} is locked by another program ({exc}): close what has it open")
        case sqlite3.SQLITE_ERROR | sqlite3.SQLITE_MISUSE:
            return exc  # a mistake of ours: its traceback says more than we could
        case _:
            return StoreError(f"{path}: {exc} ({exc.sqlite_errorname}): check the disk and the system log")


_PASSING = frozenset(
    (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM)
)


def passing(exc: sqlite3.Error) -> bool:
    """Whether it says nothing of what is in the file, and may be gone the next time."""
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY in _PASSING


def corrupt(path: Path, finding: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is damaged or no store ({finding}): keep a copy, then run `insignia-worker db recover`"
    )
