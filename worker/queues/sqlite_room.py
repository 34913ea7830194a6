"""How much may still be written: the cap on the store's files, and what the disk has left."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from worker.errors import StoreFull

END_BYTES = 1536
"""Room kept for the end of each unfinished job: its outbox row, a short result or error."""

ROW_BYTES = 768
"""What a job takes beside its payload: the row's other columns and its place in the indexes."""

_MEASURE_SECONDS = 1.0


class Room:
    """Asked before a job is accepted or claimed; never before a job ends, which is what the reserve is for."""

    __slots__ = (
        "_connection", "_left", "_max_bytes", "_measured_at", "_monotonic", "_path", "_reserve", "_wal", "refused"
    )  # fmt: skip

    def __init__(
        self, connection: sqlite3.Connection, path: Path, max_bytes: int, monotonic: Callable[[], float]
    ) -> None:
        self._connection = connection
        self._path = path
        self._wal = wal_of(path)
        self._max_bytes = max_bytes
        self._reserve = min(max(max_bytes // 64, 64 * 1024), 16 * 1024 * 1024)
        self._monotonic = monotonic
        self._measured_at = float("-inf")
        self._left = 0
        self.refused = False

    def require(self, size: int, *, kept: int = 0) -> None:
        """StoreFull unless about `size` more bytes fit, and `kept` beside them; `size` counts as written."""
        if self._left < size + kept or self._monotonic() - self._measured_at > _MEASURE_SECONDS:
            self._measure(size + kept)
        self._left -= size

    def _measure(self, size: int) -> None:
        self._left, self.refused = 0, True
        used = used_bytes(self._connection, self._wal)
        if used + size > self._max_bytes - self._reserve:
            raise StoreFull(
                f"{self._path} holds {used:,} bytes, Queue:MaxBytes is {self._max_bytes:,}: "
                "raise it, or lower Queue:Retention so that old jobs go"
            )
        free = _free_on_disk(self._path.parent)
        if free - self._reserve < size:
            raise StoreFull(f"the disk of {self._path} has only {free:,} bytes left: make room on it")
        self._left = min(self._max_bytes - used, free) - self._reserve
        self._measured_at = self._monotonic()
        self.refused = False


def used_bytes(connection: sqlite3.Connection, wal: Path) -> int:
    """The pages in use and the write-ahead log; pages freed by pruning are room, though the file keeps its size."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_size) + wal_bytes(wal)


def wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def wal_bytes(wal: Path) -> int:
    try:
        return wal.stat().st_size
    except FileNotFoundError:
        return 0


def _free_on_disk(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def wal_pages_for(max_bytes: int) -> int:
    """After how many pages of log it is brought into the file: 16 MB, or a sixteenth of a small cap."""
    return min(max(max_bytes // 4096 // 16, 64), 4000)
