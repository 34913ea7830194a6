"""Tells why a disk takes nothing, and what to do: space, files (inodes) and quotas run out, or it is read-only."""

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

from config.presence import exists
from worker.errors import StoreError, StoreFull, StoreUnwritable

LEAST_BYTES = 256 * 1024
"""Free bytes on a disk below which SQLite cannot open a store, whatever the error says."""

_LEAST_FILES = 32
"""Files that a disk must still be able to take: a start creates databases with their logs, locks, keys and a socket."""

DISK_FULL = "the disk of {path} is full: free some space"
_QUOTA = "the quota on the disk of {path} is used up: free some space, or raise the quota"

_READ_ONLY = "{path} is on a disk that is mounted read-only: see the system log, then mount it for writing"

_REMEDIES = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: _QUOTA,
    errno.EFBIG: "{path} has the largest size that a file may have: raise LimitFSIZE= of the unit, or `ulimit -f`",
}


def lack_of_room(exc: OSError, path: Path) -> str | None:
    """Return what the disk lacked for a write to `path`, with the remedy; None: the write failed for another reason."""
    remedy = _REMEDIES.get(exc.errno or 0)
    return None if remedy is None else remedy.format(path=path)


def sqlite_lack_of_room(exc: sqlite3.Error, path: Path) -> str | None:
    """Return what the disk lacked for the database at `path`, with the remedy; None: another reason."""
    match getattr(exc, "sqlite_errorcode", 0) & 0xFF:  # the low byte of an extended code is the primary one
        case sqlite3.SQLITE_FULL:
            return DISK_FULL.format(path=path)
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR:
            return shortage_in(path.parent)  # only a write that finds no space has a code of its own
        case _:
            return None


def unwritable_database(exc: sqlite3.Error, path: Path) -> StoreError:
    """Return the error for a database that SQLite cannot open or write although the disk has room, with the remedy."""
    with contextlib.suppress(OSError):
        if (reason := read_only_disk(path)) is not None or _refuses_writes(path.parent):
            return StoreUnwritable(reason or _READ_ONLY.format(path=path))
    if getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
        return StoreError(f"{path}: {exc} ({exc.sqlite_errorname}): check the disk and the system log")
    return StoreUnwritable(f"cannot write {path} ({exc}): give this user the right to the file and its folder")


def _refuses_writes(folder: Path) -> bool:
    """Try it: after an error, ext4 refuses all writes without a word in the flags of the disk."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except (OSError, AttributeError) as exc:  # AttributeError: not on this system
        return getattr(exc, "errno", None) == errno.EROFS
    return False


def free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist yet. Raises OSError."""
    disk = os.statvfs(_existing(folder))
    return disk.f_bavail * disk.f_frsize


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if exists(path))


def write_error(exc: OSError, path: Path, remedy: str) -> StoreError:
    """Return the error that says why `path` cannot be written: StoreFull, or StoreUnwritable with the remedy."""
    if exc.errno == errno.EROFS:
        return StoreUnwritable(_READ_ONLY.format(path=path))
    lack = lack_of_room(exc, path)
    return StoreUnwritable(f"cannot write {path}: {exc.strerror}; {remedy}") if lack is None else StoreFull(lack)


def read_only_disk(path: Path) -> str | None:
    """Return that the disk of `path` is mounted read-only, and what to do; None: it is not. Raises OSError."""
    is_read_only = os.statvfs(_existing(path)).f_flag & os.ST_RDONLY
    return _READ_ONLY.format(path=path) if is_read_only else None


def shortage_in(folder: Path) -> str | None:
    """Return what the disk of the folder lacks to take a store, with the remedy; None if it has room."""
    try:
        there = _existing(folder)
        disk = os.statvfs(there)
    except OSError:  # what creates the folder says what is wrong
        return None
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_BYTES:
        return f"the disk of {folder} has only {free:,} bytes left: free some space"
    if disk.f_files and disk.f_favail < _LEAST_FILES:  # 0: the file system has no limit
        return f"the disk of {folder} has room for only {disk.f_favail:,} more files (inodes): delete some"
    return _QUOTA.format(path=folder) if _is_quota_used_up(there) else None


def _is_quota_used_up(folder: Path) -> bool:
    """Try it with a file without a name: the figures of a disk do not show what a user or a project may still take."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, LEAST_BYTES)
        finally:
            os.close(descriptor)
    except (OSError, AttributeError) as exc:  # AttributeError: not on this system
        return getattr(exc, "errno", None) == errno.EDQUOT
    return False
