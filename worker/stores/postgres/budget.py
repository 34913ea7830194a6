"""How much may still be stored: Queue:MaxBytes, counted in the bytes of jobs and notifications.

The space that tables take on the server's disk is not counted: deleted rows leave it there, to be used again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from worker.errors import StoreFull
from worker.stores.postgres.database import Connection

END_BYTES = 1536
"""Space reserved for the end of each unfinished job: its notification, a short result or error."""
ROW_BYTES = 768
"""What a job takes in addition to its payload: the row's other columns, index entries, the ticket."""
MESSAGE_BYTES = 384
"""What a notification takes in addition to its body."""

_MEASURE_SECONDS = 1.0
"""The space is measured again after this time: other stores and ends of jobs take some too."""

USED = "SELECT coalesce(sum(bytes), 0)::bigint AS used, coalesce(sum(queued + running), 0)::bigint AS open FROM tally"


def reserve(max_bytes: int) -> int:
    """Return the bytes that intake leaves free, for what must be written in any case."""
    return min(max(max_bytes // 64, 64 * 1024), 16 * 1024 * 1024)


@dataclass(slots=True)
class Budget:
    """Consulted before a job is accepted or claimed; never before a job ends, which is what the reserve is for."""

    max_bytes: int
    shown: str
    monotonic: Callable[[], float]
    _used: int = 0
    _open: int = 0
    _measured_at: float = float("-inf")

    async def require(self, connection: Connection, size: int, jobs: int = 0) -> None:
        """Reserve `size` more bytes for this many more jobs. Raises StoreFull when they do not fit."""
        age = self.monotonic() - self._measured_at
        if self._left(size, jobs) < 0 or not 0 <= age <= _MEASURE_SECONDS:
            self._used, self._open = await connection.fetchrow(USED)
            self._measured_at = self.monotonic()
        if self._left(size, jobs) < 0:
            raise StoreFull(
                f"{self.shown} holds {self._used:,} bytes, Queue:MaxBytes is {self.max_bytes:,}: "
                "raise it, or lower Queue:Retention so that old jobs are deleted"
            )
        self._used += size
        self._open += jobs

    def _left(self, size: int, jobs: int) -> int:
        kept = END_BYTES * (self._open + jobs) if jobs else 0
        return self.max_bytes - reserve(self.max_bytes) - self._used - size - kept
