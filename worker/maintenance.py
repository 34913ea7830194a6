"""What keeps the house in order beside the jobs: old rows go, the store is looked after, a blocked loop is named."""

import asyncio
import contextlib
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker.clock import Clock
from worker.errors import StoreFull
from worker.events import Emit, JobSettled, LoopBlocked, LoopFailed, Pruned
from worker.handler import Handler, Registry
from worker.outcome import Succeeded
from worker.queue import JobQueue, Outbox, Store

_BUSY = 300.0
"""Ends of runs a second above which the machine has better to do than to index."""

_SHARE_WHEN_BUSY = 0.05
"""Of a processor; otherwise it is half of one."""

_FLOODED = 3_000.0
"""Ends of runs a second that the index could not keep up with whatever it took: what it takes is felt, and no use."""

_SHARE_WHEN_FLOODED = 0.01


@dataclass(slots=True)
class Pruner:
    """Deletes runs that ended longer ago than the retention, a small chunk at a time; and old audit entries."""

    queue: Store
    retention: float
    """Seconds."""
    clock: Clock
    emit: Emit
    interval: float = 60.0
    chunk: int = 200
    audit_retention: float = float("inf")
    """Seconds; what people did is kept for longer than what it was done to."""

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._sweep(stop)
                await self._sweep_audit(stop)
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

    async def _sweep_audit(self, stop: asyncio.Event) -> None:
        before = self.clock.now() - self.audit_retention
        while not stop.is_set() and await self.queue.prune_audit(before, self.chunk) == self.chunk:
            pass


@dataclass(slots=True)
class Receipts:
    """Writes down which notifications browsers have shown, a second's worth at a time; nothing waits for it."""

    outbox: Outbox
    clock: Clock
    emit: Emit
    interval: float = 1.0
    most: int = 10_000
    """Remembered while the store is busy; what comes on top is forgotten, for it is news to nobody but the curious."""
    _shown: dict[str, None] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, notification_id: str) -> None:
        """A browser has shown it."""
        if len(self._shown) < self.most:
            self._shown[notification_id] = None
            self._news.set()

    async def run(self) -> None:
        """Until cancelled; then once more."""
        try:
            while True:
                await self._news.wait()
                await asyncio.sleep(self.interval)
                await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """What was noted since the last time."""
        self._news.clear()
        shown, self._shown = list(self._shown), {}
        if not shown:
            return
        try:
            await self.outbox.shown(shown, self.clock.now())
        except Exception as exc:  # noqa: BLE001 -- housekeeping must not take the service down
            self.emit(LoopFailed("recording what was shown", exc, 0.0))


@dataclass(slots=True)
class Aftercare:
    """Calls `Handler.settled` of jobs whose success is on disk, one after the other."""

    registry: Registry
    section_of: Callable[[Handler], Any]
    emit: Emit
    most: int = 1000
    """Jobs that may wait for it; of more, the oldest go without."""
    _waiting: deque[tuple[Handler, bytes | None]] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def kinds(self) -> frozenset[str]:
        """Those that ask for it."""
        return frozenset(kind for kind, handler in self.registry.items() if handler.settled is not None)

    def note(self, event: JobSettled) -> None:
        """An attempt is settled."""
        handler = self.registry.get(event.attempt.job.kind)
        if handler is not None and handler.settled is not None and isinstance(event.outcome, Succeeded):
            if len(self._waiting) >= self.most:
                self._waiting.popleft()
            self._waiting.append((handler, event.outcome.result))
            self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                await self._care(*self._waiting.popleft())

    async def _care(self, handler: Handler, result: bytes | None) -> None:
        assert handler.settled is not None
        try:
            await asyncio.to_thread(handler.settled, result, self.section_of(handler))
        except Exception as exc:  # noqa: BLE001 -- the job has ended well, whatever becomes of this
            self.emit(LoopFailed(f"tidying after a job of kind {handler.kind}", exc, 0.0))


@dataclass(slots=True)
class Indexer:
    """Keeps the search index close behind the jobs, and out of their way."""

    store: Store
    clock: Clock
    emit: Emit
    gather: float = 0.5
    """Seconds for which news is gathered before it is indexed."""
    idle: float = 60.0
    """Seconds after which it is looked at even without news: old parts may go."""
    _left: int = 0
    _at: float = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        news = asyncio.Event()
        self.store.on_message(lambda _messages: news.set())
        self._at = self.clock.monotonic()
        while not stop.is_set():
            news.clear()
            try:
                pause = await self._step()
            except Exception as exc:  # noqa: BLE001 -- searches are slower without it, and nothing else
                self.emit(LoopFailed("indexing for searches", exc, self.idle))
                pause = self.idle
            if pause is None:
                await _first_of(stop, news, self.idle)
                pause = self.gather
            await _sleep_or(stop, pause)

    async def _step(self) -> float | None:
        """One piece; how long to leave the machine to others after it, None: until there is news."""
        piece = await self.store.index()
        now = self.clock.monotonic()
        arrived = (piece.left + piece.done - self._left) / max(now - self._at, 1e-3)
        self._left, self._at = piece.left, now
        if not piece.left:
            return None
        if arrived > _FLOODED:
            return piece.seconds / _SHARE_WHEN_FLOODED
        return piece.seconds / _SHARE_WHEN_BUSY if arrived > _BUSY else piece.seconds


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


async def _first_of(stop: asyncio.Event, news: asyncio.Event, seconds: float) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in (stop, news)]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


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
