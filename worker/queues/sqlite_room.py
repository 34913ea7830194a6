"""How much may still be written: the cap on the store's files, and what the disk has left."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.errors import StoreFull

END_BYTES = 1536
"""Room kept for the end of each unfinished job: its outbox row, a short result or error."""

ROW_BYTES = 768
"""What a job takes beside its payload: the row's other columns and its place in the indexes."""

PAGE_BYTES = 4096
"""SQLite's own choice for new files."""

_MEASURE_SECONDS = 1.0
"""Room is measured anew after so long: ends of jobs and other programs take some too."""


@dataclass(slots=True)
class Room:
    """Asked before a job is accepted or claimed; never before a job ends, which is what the reserve is for."""

    connection: sqlite3.Connection
    path: Path
    max_bytes: int
    monotonic: Callable[[], float]
    refused: bool = False
    """The last answer was no; a shorter log may turn it into a yes."""
    _left: int = 0
    _measured_at: float = float("-inf")

    def require(self, size: int, *, kept: int = 0) -> None:
        """StoreFull unless about `size` more bytes fit, and `kept` beside them; `size` counts as written."""
        if self._left < size + kept or self.monotonic() - self._measured_at > _MEASURE_SECONDS:
            self._measure(size + kept)
        self._left -= size

    def _measure(self, size: int) -> None:
        self._left, self.refused = 0, True
        left = min(self._left_under_cap(size), self._left_on_disk(size))
        self._left, self.refused = left, False
        self._measured_at = self.monotonic()

    def _left_under_cap(self, size: int) -> int:
        # The log counts with the size it may grow to before it is brought into the file.
        log = max(wal_pages_for(self.max_bytes) * PAGE_BYTES - wal_bytes(wal_of(self.path)), 0)
        used = used_bytes(self.connection, self.path) + log
        left = self.max_bytes - self._reserve() - used
        if left < size:
            raise StoreFull(
                f"{self.path} takes {used:,} bytes, Queue:MaxBytes is {self.max_bytes:,}: "
                "raise it, or lower Queue:Retention so that old jobs go"
            )
        return left

    def _left_on_disk(self, size: int) -> int:
        state = os.statvfs(self.path.parent)
        free = state.f_bavail * state.f_frsize
        left = free - self._reserve()
        if left < size:
            raise StoreFull(f"the disk of {self.path} has only {free:,} bytes left: make room on it")
        return left

    def _reserve(self) -> int:
        """For what must be written even so: the ends of jobs, and what is delivered."""
        return min(max(self.max_bytes // 64, 64 * 1024), 16 * 1024 * 1024)


def used_bytes(connection: sqlite3.Connection, path: Path) -> int:
    """The pages in use and the write-ahead log; pages freed by pruning are room, though the file keeps its size."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_size) + wal_bytes(wal_of(path))


def wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def wal_bytes(wal: Path) -> int:
    try:
        return wal.stat().st_size
    except FileNotFoundError:
        return 0


def wal_pages_for(max_bytes: int) -> int:
    """After how many pages of log it is brought into the file: 16 MB, or a sixteenth of a small cap."""
    return min(max(max_bytes // PAGE_BYTES // 16, 64), 4000)
