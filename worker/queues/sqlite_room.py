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
        room = measured(self.connection, self.path, self.max_bytes)
        if room.under_cap < size:
            raise StoreFull(
                f"{self.path} takes {room.used:,} bytes, Queue:MaxBytes is {self.max_bytes:,}: "
                "raise it, or lower Queue:Retention so that old jobs go"
            )
        if room.on_disk < size:
            raise StoreFull(f"the disk of {self.path} has only {room.free:,} bytes left: make room on it")
        self._left, self.refused = room.left, False
        self._measured_at = self.monotonic()


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes, at one moment."""

    used: int
    """The pages in use, the write-ahead log, the search index; pages freed by pruning are room, though the
    file keeps its size."""
    free: int
    """On the disk."""
    under_cap: int
    on_disk: int
    """What intake may still take of each; negative when something else took it."""

    @property
    def left(self) -> int:
        return min(self.under_cap, self.on_disk)


def measured(connection: sqlite3.Connection, path: Path, max_bytes: int) -> Measured:
    # Kept back for what must be written even so: the ends of jobs, and what is delivered.
    reserve = min(max(max_bytes // 64, 64 * 1024), 16 * 1024 * 1024)
    # The log counts with the size it may grow to before it is brought into the file.
    log = wal_bytes(wal_of(path))
    log_to_come = max(wal_pages_for(max_bytes) * PAGE_BYTES - log, 0)
    used = _page_bytes(connection) + log + search_bytes(path)
    disk = os.statvfs(path.parent)
    free = disk.f_bavail * disk.f_frsize
    return Measured(used, free, max_bytes - reserve - used - log_to_come, free - reserve)


def _page_bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - unused) * page_size)


def search_bytes(path: Path) -> int:
    """What the search index takes beside the store at `path`."""
    search = path.with_name(f"{path.name}.search")
    return wal_bytes(search) + wal_bytes(wal_of(search))


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
