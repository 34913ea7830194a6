"""What keeps the house in order beside the jobs: old rows go, the store is looked after, a blocked loop is named."""

import asyncio
import contextlib
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.clock import Clock
from worker.errors import StoreFull
from worker.events import Emit, LoopBlocked, LoopFailed, Pruned
from worker.queue import JobQueue


@dataclass(slots=True)
class Pruner:
    """Deletes runs that ended longer ago than the retention, a small chunk at a time."""

    queue: JobQueue
    retention: float
    """Seconds."""
    clock: Clock
    emit: Emit
    interval: float = 60.0
    chunk: int = 200

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._sweep(stop)
            except Exception as exc:  # noqa: BLE001 -- housekeeping must not take the service down
                self.emit(LoopFailed("pruning old jobs", exc, self.interval))
            await _sleep_or(stop, self.interval)

    async def _sweep(self, stop: asyncio.Event) -> None:
        total = 0
        while not stop.is_set():
            count = await self.queue.prune(self.clock.now() - self.retention, self.chunk)
            total += count
            if count < self.chunk:
                break
        if total:
            self.emit(Pruned(total))


@dataclass(slots=True)
class Watch:
    """Looks whether the store is still the one that was opened; raises StoreError when it is not."""

    queue: JobQueue
    interval: float = 5.0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(StoreFull):
                await self.queue.check()
            await _sleep_or(stop, self.interval)


async def _sleep_or(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


@dataclass(slots=True)
class Pulse:
    """The event loop's heartbeat, and a thread beside it that says where the loop stands when it stands still."""

    emit: Emit
    clock: Clock
    limit: float = 0.5
    """Seconds without a beat before it is told."""
    on_beat: Callable[[float], None] | None = None
    """Told by how many seconds the beat came late."""
    last: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    async def run(self, stop: asyncio.Event) -> None:
        self.last = self.clock.monotonic()
        interval = self.limit / 5
        loop = asyncio.get_running_loop()
        watcher = threading.Thread(target=self._watch, args=(loop, threading.get_ident()), name="pulse", daemon=True)
        watcher.start()
        try:
            while not stop.is_set():
                before, self.last = self.last, self.clock.monotonic()
                if self.on_beat is not None:
                    self.on_beat(max(0.0, self.last - before - interval))
                await _sleep_or(stop, interval)
        finally:
            self._over.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        told = 0.0
        while not self._over.wait(self.limit / 2):
            last = self.last
            late = self.clock.monotonic() - last
            if late < self.limit or last == told:
                continue
            told = last  # once for each time it stands still
            frame = sys._current_frames().get(thread_id)
            stack = "".join(traceback.format_stack(frame, limit=6)) if frame else ""
            with contextlib.suppress(RuntimeError):  # the loop may just have been closed
                loop.call_soon_threadsafe(self._tell, last, stack)

    def _tell(self, since: float, stack: str) -> None:
        """In the loop, so it moves again: now it is known how long it stood."""
        self.emit(LoopBlocked(self.clock.monotonic() - since, stack))
