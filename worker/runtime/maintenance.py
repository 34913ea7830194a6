"""Background loops for the store: deletes old rows, keeps the search index, checks the file."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.settings import QueueSettings
from worker.core.clock import SET_SECONDS, Clock
from worker.core.events import ClockSet, Emit, Pruned
from worker.core.loop_failures import LoopFailures
from worker.core.store import JobStore, Outbox, OutboxMessage, SearchIndexed, Store
from worker.errors import StoreError, StoreFull

_RESTS = ((3_000.0, 100.0), (300.0, 20.0))
"""Ends of runs per second, and the rest of deferred work while more come, as a multiple of the time that it worked.
Above the first rate it could not keep up whatever it took, so it takes almost nothing. Below the second the rest is as
long as the work."""

_HANGING_SECONDS = 10.0
"""How long a write may take before it is logged."""

_NEARLY_FULL = 0.9
"""Share of the store's size limit above which pruning no longer yields: room is what the jobs need most then."""


def pause_after(seconds: float, rate: float) -> float:
    """Return how long deferred work that took `seconds` must rest while `rate` runs end per second. Seconds."""
    return seconds * next((times for least, times in _RESTS if rate > least), 1.0)


@dataclass(slots=True)
class RunRate:
    """Measures how many runs end per second, from the messages that they put into the outbox."""

    clock: Clock
    _ended: int = 0
    _since: float = 0.0

    def count(self, messages: Sequence[OutboxMessage]) -> None:
        """Count the runs that ended; a listener of `Outbox.on_message`."""
        self._ended += len(messages)

    def start(self) -> None:
        """Measure from now on."""
        self._ended, self._since = 0, self.clock.monotonic()

    def take(self) -> float:
        """Return the rate since the last call; per second."""
        rate = self._ended / max(self.clock.monotonic() - self._since, 1e-3)
        self.start()
        return rate


@dataclass(slots=True)
class Pruner:
    """Deletes runs that ended longer ago than the retention, and old audit entries; yields to jobs.

    After each batch it rests, the longer the more runs end, so that jobs keep nearly all of the writer's time. A store
    that is nearly full is pruned without rests.
    """

    store: Store
    retention: float
    """Seconds."""
    clock: Clock
    emit: Emit
    interval: float = 60.0
    batch_size: int = 200
    audit_retention: float = float("inf")
    """Seconds."""

    on_pruned: Callable[[], None] = lambda: None
    """Called when jobs were deleted; must not block."""

    last_rest: float = 0.0
    """How long it last rested after a batch. Seconds."""

    @classmethod
    def from_settings(
        cls, settings: QueueSettings, *, store: Store, clock: Clock, emit: Emit, on_pruned: Callable[[], None]
    ) -> "Pruner":
        """Return a pruner with the retentions of the settings."""
        pruner = cls(store, 0.0, clock, emit, on_pruned=on_pruned)
        pruner.apply(settings)
        return pruner

    def apply(self, settings: QueueSettings) -> None:
        """Use other retentions from the next round on."""
        self.retention = settings.retention / 1000
        self.audit_retention = settings.audit_retention / 1000

    async def run(self, stop: asyncio.Event) -> None:
        """Delete what is old once per `interval`, until the stop. Errors are reported, never raised."""
        rate = RunRate(self.clock)
        self.store.on_message(rate.count)
        rate.start()
        failures = LoopFailures("pruning old jobs", self.emit)
        while not stop.is_set():
            try:
                await self._prune_jobs(rate, stop)
                await self._prune_audit(stop)
                failures.succeeded()
            except Exception as exc:  # noqa: BLE001 -- housekeeping must not take the service down
                failures.failed(exc, self.interval)
            await sleep_or_stop(stop, self.interval)

    async def _prune_jobs(self, rate: RunRate, stop: asyncio.Event) -> None:
        total = 0
        while not stop.is_set():
            pruned = await self.store.prune(self.retention, self.batch_size)
            total += pruned.runs
            if pruned.runs < self.batch_size:
                break
            self.last_rest = await self._rest_after(pruned.seconds, rate.take())
            await sleep_or_stop(stop, self.last_rest)
        if total:
            self.on_pruned()
            self.emit(Pruned(total))

    async def _rest_after(self, seconds: float, rate: float) -> float:
        figures = await self.store.stats()
        nearly_full = figures.full or figures.size_bytes > _NEARLY_FULL * figures.max_bytes
        return 0.0 if nearly_full else pause_after(seconds, rate)

    async def _prune_audit(self, stop: asyncio.Event) -> None:
        while (
            not stop.is_set() and await self.store.prune_audit(self.audit_retention, self.batch_size) == self.batch_size
        ):
            pass


@dataclass(slots=True)
class Indexer:
    """Keeps the search index up to date, and yields to jobs."""

    outbox: Outbox
    """Whose messages say that there is something to index."""
    search: SearchIndexed
    clock: Clock
    emit: Emit
    collect: float = 0.5
    """Seconds for which changes are collected before they are indexed."""
    max_idle: float = 60.0
    """Seconds after which the index is checked without changes, to remove old parts."""
    _remaining: int = 0
    _last_step: float = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        has_changes = asyncio.Event()
        self.outbox.on_message(lambda _messages: has_changes.set())
        self._last_step = self.clock.monotonic()
        failures = LoopFailures("indexing for searches", self.emit)
        while not stop.is_set():
            has_changes.clear()
            try:
                pause = await self._step()
                failures.succeeded()
            except Exception as exc:  # noqa: BLE001 -- without the index, searches are slower and nothing else
                failures.failed(exc, self.max_idle)
                pause = self.max_idle
            if pause is None:
                await _first_of(stop, has_changes, self.max_idle)
                pause = self.collect
            await sleep_or_stop(stop, pause)

    async def _step(self) -> float | None:
        """Index one piece; return the seconds to pause after it, or None to wait for changes."""
        piece = await self.search.index()
        now = self.clock.monotonic()
        arrived = (piece.left + piece.done - self._remaining) / max(now - self._last_step, 1e-3)
        self._remaining, self._last_step = piece.left, now
        if not piece.left:
            return None
        return pause_after(piece.seconds, arrived)


@dataclass(slots=True)
class Recovery:
    """Recovers the jobs of other processes that died while this one runs."""

    recover: Callable[[], Awaitable[None]]
    emit: Emit
    interval: float = 2.0

    async def run(self, stop: asyncio.Event) -> None:
        """Look for such jobs once per `interval`, until the stop. Errors are reported, never raised."""
        failures = LoopFailures("recovering the jobs of other workers", self.emit)
        while not stop.is_set():
            await sleep_or_stop(stop, self.interval)
            try:
                await self.recover()
                failures.succeeded()
            except Exception as exc:  # noqa: BLE001 -- their jobs wait until the store answers
                failures.failed(exc, self.interval)


@dataclass(slots=True)
class Tidying:
    """Removes what is no longer used from a store that several processes share."""

    tidy: Callable[[], Awaitable[bool]]
    """Removes a part of it and returns whether others may be left."""
    emit: Emit
    interval: float = 60.0

    async def run(self, stop: asyncio.Event) -> None:
        """Remove all of it once per `interval`, until the stop. Errors are reported, never raised."""
        failures = LoopFailures("tidying the store", self.emit)
        while not stop.is_set():
            try:
                while await self.tidy() and not stop.is_set():
                    pass
                failures.succeeded()
            except Exception as exc:  # noqa: BLE001 -- housekeeping must not take the service down
                failures.failed(exc, self.interval)
            await sleep_or_stop(stop, self.interval)


@dataclass(slots=True)
class _Check:
    """A check that a disk may not answer: waited for in parts, and not begun again before it has ended."""

    begin: Callable[[], Coroutine[Any, Any, None]]
    _running: asyncio.Task[None] | None = None

    async def proceed(self, seconds: float) -> None:
        """Begin the check if it does not run, and wait at most so long for its end. Raises what it raises."""
        if self._running is None:
            self._running = asyncio.ensure_future(self.begin())
        ended, _ = await asyncio.wait([self._running], timeout=seconds)
        if ended:
            check, self._running = self._running, None
            check.result()

    def abandon(self) -> None:
        """Wait for it no longer; a thread in it goes on."""
        if self._running is not None:
            self._running.cancel()


@dataclass(slots=True)
class StoreMonitor:
    """Checks that the store is still the file that was opened, and that it can be written. Reports what is wrong once,
    and once that it is over; also when the wall clock was set."""

    store: JobStore
    clock: Clock
    emit: Emit
    check_inbox: Callable[[], None] | None = None
    """Raises StoreError when the hub's inbox is not the one that was opened. Called in a thread: a disk may hang."""
    interval: float = 0.5
    """Seconds between two checks of the files."""
    write_interval: float = 1.0
    """Seconds between two attempts to write."""
    longest_write: float = 2.0
    """Seconds after which a write that has not ended counts as failed."""
    _failure: str = ""
    _writing_since: float | None = None
    _writing: LoopFailures = field(init=False)
    _room: LoopFailures = field(init=False)

    def __post_init__(self) -> None:
        self._writing = LoopFailures("writing to the store", self.emit)
        self._room = LoopFailures("accepting jobs", self.emit)

    @property
    def problem(self) -> str:
        """Why the store cannot be written at present; empty: it can."""
        since = self._writing_since
        if since is not None and self.clock.monotonic() - since > self.longest_write:
            seconds = self.clock.monotonic() - since
            return self._failure or f"no write has ended for {seconds:.0f} s; another program may hold the store's lock"
        return self._failure

    async def run(self, stop: asyncio.Event) -> None:
        """Check until the stop. Raises StoreError when store or inbox is not the one that was opened."""
        writing = asyncio.ensure_future(self._try_writes(stop))
        checks = [_Check(self._check_store)]
        if self.check_inbox is not None:
            checks.append(_Check(functools.partial(asyncio.to_thread, self.check_inbox)))
        offset = self.clock.offset()
        try:
            while not stop.is_set():
                self._report_hanging_write()  # before the checks, which a disk that hangs does not answer either
                for check in checks:
                    await check.proceed(self.interval)
                if abs(jump := self.clock.offset() - offset) > SET_SECONDS:
                    self.emit(ClockSet(jump))
                    offset = self.clock.offset()
                await sleep_or_stop(stop, self.interval)
            for check in checks:  # what was lost shortly before the stop, or is found late, must not end with success
                await check.proceed(self.interval)
        finally:
            writing.cancel()
            for check in checks:
                check.abandon()
            with contextlib.suppress(asyncio.CancelledError):
                await writing

    async def _check_store(self) -> None:
        with contextlib.suppress(StoreFull):
            await self.store.check()

    def _report_hanging_write(self) -> None:
        """Report a write that a disk neither ends nor refuses. A lock of another program ends it within two seconds."""
        since = self._writing_since
        if since is not None and self.clock.monotonic() - since > _HANGING_SECONDS and not self._writing.is_failing:
            self._writing.failed(StoreError(self.problem), self.write_interval)

    async def _try_writes(self, stop: asyncio.Event) -> None:
        """Begin and end a transaction that changes nothing, which needs the lock and costs no sync."""
        while not stop.is_set():
            self._writing_since = self.clock.monotonic()
            try:
                await self.store.release([])
                self._failure = ""
                self._writing.succeeded()
                await self._look_for_room()
            except Exception as exc:  # noqa: BLE001 -- reported by readiness
                self._failure = str(exc) or type(exc).__name__
                if not self._writing.is_failing:
                    self._writing.failed(exc, self.write_interval)
            self._writing_since = None
            await sleep_or_stop(stop, self.write_interval)

    async def _look_for_room(self) -> None:
        figures = await self.store.stats()
        if not figures.full:
            self._room.succeeded()
        elif not self._room.is_failing:
            text = (
                f"{figures.size_bytes:,} of Queue:MaxBytes = {figures.max_bytes:,} bytes are used, or the disk is full"
            )
            self._room.failed(StoreFull(text), self.write_interval)


async def _first_of(stop: asyncio.Event, has_changes: asyncio.Event, seconds: float) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in (stop, has_changes)]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


async def sleep_or_stop(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
