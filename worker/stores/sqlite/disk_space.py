"""Limits how much is written: by the size limit of the store's files and by the free space on the disk."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.errors import StoreFull

END_BYTES = 1536
"""Bytes reserved for the end of each unfinished job: its outbox row, a short result or error."""

ROW_BYTES = 768
"""Bytes of a job in addition to its payload: the row's other columns and its entries in the indexes."""

PAGE_BYTES = 4096
"""SQLite's default for new files."""

_MEASURE_SECONDS = 1.0
"""How long a measurement is used: ends of jobs and other programs take space too."""


@dataclass(slots=True)
class DiskBudget:
    """Checks the space before a job is accepted or claimed; never before a job ends, which the reserve is for."""

    connection: sqlite3.Connection
    path: Path
    max_bytes: int
    monotonic: Callable[[], float]
    rejected: bool = False
    """The last request was rejected; a shorter write-ahead log may make room."""
    _left: int = 0
    _measured_at: float = float("-inf")

    def require(self, size: int, *, kept: int = 0) -> None:
        """Reserve `size` bytes; raises StoreFull unless they fit in addition to `kept` bytes."""
        if self._left < size + kept or self.monotonic() - self._measured_at > _MEASURE_SECONDS:
            self._measure(size + kept)
        self._left -= size

    def _measure(self, size: int) -> None:
        self._left, self.rejected = 0, True
        room = measure_usage(self.connection, self.path, self.max_bytes)
        if room.under_cap < size:
            raise StoreFull(
                f"{self.path} takes {room.used:,} bytes, Queue:MaxBytes is {self.max_bytes:,}: "
                "raise it, or lower Queue:Retention so that old jobs go"
            )
        if room.on_disk < size:
            raise StoreFull(f"the disk of {self.path} has only {room.free:,} bytes left: free some space")
        self._left, self.rejected = room.left, False
        self._measured_at = self.monotonic()


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """What the store and the disk held when they were measured. All in bytes."""

    used: int
    """The pages in use, the write-ahead log, the search index. Pages freed by pruning do not count, although the file
    keeps its size."""
    free: int
    """On the disk."""
    under_cap: int
    on_disk: int
    """What new jobs may still take of the limit and of the disk; negative if something else took it."""

    @property
    def left(self) -> int:
        return min(self.under_cap, self.on_disk)


def measure_usage(connection: sqlite3.Connection, path: Path, max_bytes: int) -> DiskUsage:
    # Kept for what must be written even when the store is full: the ends of jobs, and deliveries.
    reserve = min(max(max_bytes // 64, 64 * 1024), 16 * 1024 * 1024)
    # The log counts with the size it may reach before it is copied into the file.
    log = wal_bytes(wal_of(path))
    log_to_come = max(wal_pages_for(max_bytes) * PAGE_BYTES - log, 0)
    used = _page_bytes(connection) + log + search_bytes(path)
    disk = os.statvfs(path.parent)
    free = disk.f_bavail * disk.f_frsize
    return DiskUsage(used, free, max_bytes - reserve - used - log_to_come, free - reserve)


def _page_bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - unused) * page_size)


def search_bytes(path: Path) -> int:
    """Return the bytes of the search index next to the store at `path`."""
    search = path.with_name(f"{path.name}.search")
    return wal_bytes(search) + wal_bytes(wal_of(search))


def wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def shared_memory_of(path: Path) -> Path:
    """Return the index of the log, which the processes that have the database open share."""
    return path.with_name(f"{path.name}-shm")


def wal_bytes(wal: Path) -> int:
    try:
        return wal.stat().st_size
    except FileNotFoundError:
        return 0


def wal_pages_for(max_bytes: int) -> int:
    """Return after how many pages the log is copied into the file: 16 MB, or a sixteenth of a small limit."""
    return min(max(max_bytes // PAGE_BYTES // 16, 64), 4000)


def longest_log(max_bytes: int) -> int:
    """Return the size of a log that only a reader can explain that reads on and on: 64 MB, or a fourth of a small
    limit. Bytes."""
    return 4 * wal_pages_for(max_bytes) * PAGE_BYTES
