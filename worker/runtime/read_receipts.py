"""Records which notifications a browser has shown."""

import asyncio
from dataclasses import dataclass, field

from worker.core.clock import Clock
from worker.core.events import Emit, LoopFailed
from worker.core.store import Outbox


@dataclass(slots=True)
class ReadReceipts:
    """Collects receipts and writes them once per `interval` (seconds); nothing waits for them."""

    outbox: Outbox
    clock: Clock
    emit: Emit
    interval: float = 1.0
    capacity: int = 10_000
    """Receipts kept while the store is busy; beyond that they are dropped, since nothing depends on them."""
    _shown: dict[str, None] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def on_shown(self, notification_id: str) -> None:
        """Remember a notification that a browser has shown."""
        if len(self._shown) < self.capacity:
            self._shown[notification_id] = None
            self._wake.set()

    async def run(self) -> None:
        """Write receipts until cancelled, and what is left at the end."""
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(self.interval)
                await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """Write the receipts collected since the last call."""
        self._wake.clear()
        shown, self._shown = list(self._shown), {}
        if not shown:
            return
        try:
            await self.outbox.shown(shown, self.clock.now())
        except Exception as exc:  # noqa: BLE001 -- housekeeping must not take the service down
            self.emit(LoopFailed("recording read receipts", exc, 0.0))
