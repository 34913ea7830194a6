"""The right to send a channel's notifications, held by one process at a time.

The holder renews a deadline in the database and keeps a stricter one of its own, counted from before it asked. So a
process that is cut off, or was stopped for a while, knows by itself that it may send no more; and a successor begins
only when the deadline in the database is over. An advisory lock would not do: the server keeps that of a process which
is cut off until TCP gives up, and the process itself would not learn that it lost it.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from worker.core.events import Emit
from worker.core.loop_failures import LoopFailures
from worker.errors import StoreAway, StoreError
from worker.stores.postgres.database import Connection
from worker.stores.postgres.reader import ReadPool

LEASE_SECONDS = 6.0
"""How long the lease lasts without being renewed."""
_RENEW_SECONDS = 1.5
_MARGIN = 0.9
"""The part of the lease that the holder uses: clocks of two machines may run at different speeds."""

_ACQUIRE = """
    INSERT INTO leases (name, holder, until) VALUES ($1, $2, now() + make_interval(secs => $3))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until,
        epoch = leases.epoch + (leases.holder <> excluded.holder)::int
    WHERE leases.holder = excluded.holder OR leases.until < now()
    RETURNING epoch
"""


def steady_clock() -> float:
    """Return seconds that also pass while the machine sleeps, where the system can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


async def _acquire(connection: Connection, name: str, holder: str, seconds: float) -> int | None:
    term: int | None = await connection.fetchval(_ACQUIRE, name, holder, seconds)
    return term


async def _give_up(connection: Connection, name: str, holder: str) -> None:
    await connection.execute("UPDATE leases SET until = now() WHERE name = $1 AND holder = $2", name, holder)


@dataclass(slots=True)
class DatabaseLease:
    """Implements worker.core.shared_store.Lease."""

    reads: ReadPool
    name: str
    holder: str
    seconds: float = LEASE_SECONDS
    now: Callable[[], float] = steady_clock
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    emit: Emit = lambda _event: None
    """Receives why the lease cannot be renewed, unless the server is away: that is reported by other parts."""
    _failures: LoopFailures = field(init=False)
    _until: float = float("-inf")
    _acquired: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._failures = LoopFailures(f"renewing the lease of the {self.name}", self.emit)

    @property
    def is_held(self) -> bool:
        """Whether this process may send now."""
        return self.now() < self._until

    async def wait(self) -> None:
        """Return when this process may send."""
        while not self.is_held:
            self._acquired.clear()
            await self._acquired.wait()

    async def run(self) -> None:
        """Acquire the lease when it is free and renew it, until cancelled; then give it up."""
        try:
            while True:
                pause = min(_RENEW_SECONDS, self.seconds / 4)
                await self._renew(pause)
                await self.sleep(pause)
        finally:
            was_held, self._until = self.is_held, float("-inf")
            if was_held:
                with contextlib.suppress(StoreError, TimeoutError):
                    async with asyncio.timeout(2.0):
                        await self.reads.read(_give_up, self.name, self.holder)

    async def _renew(self, pause: float) -> None:
        """Try once; whatever fails, the deadline passes by itself, and the attempt after the pause may succeed."""
        asked_at = self.now()
        try:
            async with asyncio.timeout(self.seconds):
                epoch = await self.reads.read(_acquire, self.name, self.holder, self.seconds)
        except (StoreAway, TimeoutError):
            return
        except Exception as exc:  # noqa: BLE001 -- without the lease, notifications wait and nothing else
            self._failures.failed(exc, pause)
            return
        self._failures.succeeded()
        if epoch is not None:
            self._until = asked_at + self.seconds * _MARGIN
            self._acquired.set()
