"""A thread that writes in batches: what gathers while one transaction is synced shares the next one.

It knows neither SQLite nor what is written: `BatchWriter` does. The store and the hub's inbox each run one.
"""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

Item = TypeVar("Item")
_Item = TypeVar("_Item", contravariant=True)

Urgency = Literal["now", "soon", "idle"]
"""now: written at once. soon: waits up to SOON_SECONDS for another item to share a transaction with.
idle: waits until nothing else does, or IDLE_SECONDS, and gets a transaction of its own."""

SOON_SECONDS = 0.02
"""How long an item that is due soon waits for another to share a transaction with."""

IDLE_SECONDS = 1.0
"""How long an idle item can be overtaken by others, so that a writer that is never idle still gets to it."""


class BatchWriter(Protocol[_Item]):
    """Writes batches. Every method is called in the thread."""

    def open(self) -> None:
        """Open what is written to. Whatever it raises is raised again by `GroupCommit.start`."""
        ...

    def write(self, batch: Sequence[_Item]) -> Callable[[], None]:
        """Write the batch and sync it; return what the event loop must call to answer the callers. Must not raise."""
        ...

    def tidy(self) -> None:
        """Do what may be done between two batches, after the callers of the last one were answered."""
        ...

    def close(self) -> None:
        """Close what `open` opened. Not called if `open` raised."""
        ...


class _Entry(NamedTuple, Generic[Item]):
    """A named tuple, because one is made for each item, several times as fast as a frozen class."""

    item: Item
    weight: int
    urgency: Urgency
    overdue_at: float
    """When an idle item must no longer be overtaken (monotonic clock)."""


class GroupCommit(Generic[Item]):
    """Put items in the event loop; the thread ends with `close`."""

    def __init__(self, name: str, writer: BatchWriter[Item], most: int) -> None:
        """`name` is the thread's; a batch takes no further item once their weights add up to `most`."""
        self._writer = writer
        self._most = most
        self._queue: queue.SimpleQueue[_Entry[Item] | None] = queue.SimpleQueue()
        self._idle: deque[_Entry[Item]] = deque()
        """Idle items that were taken from the queue and overtaken; only the thread touches it."""
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon: SQLite survives the end of the process in the middle of a transaction, and a process that waits
        # for a stuck disk would never end.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.closed = False

    async def start(self) -> None:
        """Start the thread and open the writer in it; raises what `BatchWriter.open` raised."""
        self._thread.start()
        try:
            await asyncio.shield(self._ready)
        except asyncio.CancelledError:
            self._queue.put(None)
            raise

    def put(self, item: Item, *, weight: int = 1, urgency: Urgency = "now") -> None:
        """Queue an item. It is written even if its caller has gone by then."""
        self._queue.put(_Entry(item, weight, urgency, monotonic() + IDLE_SECONDS))

    async def close(self) -> None:
        """Write what is queued, then end the thread."""
        if not self.closed:
            self.closed = True
            self._queue.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    # -- in the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._writer.open()
        except BaseException as exc:  # noqa: BLE001 -- raised again by `start`
            self._call_in_loop(_resolve, self._ready, exc)
            self._call_in_loop(_resolve, self._ended)
            return
        self._call_in_loop(_resolve, self._ready)
        try:
            while batch := self._next_batch():
                self._call_in_loop(self._writer.write(batch))
                self._writer.tidy()
        finally:
            self._writer.close()
            self._call_in_loop(_resolve, self._ended)

    def _call_in_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no caller is waiting
            self._loop.call_soon_threadsafe(function, *arguments)

    def _next_batch(self) -> list[Item]:
        """Wait for at least one item; return an empty list when it is time to end."""
        while True:
            if self._idle and monotonic() >= self._idle[0].overdue_at:
                return [self._idle.popleft().item]
            try:
                first = self._queue.get(block=not self._idle)
            except queue.Empty:
                return [self._idle.popleft().item]
            if first is None:
                return self._last_batch()
            if first.urgency != "idle":
                return self._gathered(first)
            self._idle.append(first)

    def _last_batch(self) -> list[Item]:
        """Return the idle items left at the end, one batch each."""
        if not self._idle:
            return []
        self._queue.put(None)
        return [self._idle.popleft().item]

    def _gathered(self, first: _Entry[Item]) -> list[Item]:
        """Return the first item and those that are queued behind it."""
        batch, weight, urgent = [first.item], first.weight, first.urgency == "now"
        deadline = monotonic() + SOON_SECONDS
        while weight < self._most:
            left = 0.0 if urgent else deadline - monotonic()
            try:
                entry = self._queue.get(block=left > 0, timeout=max(left, 0.0))
            except queue.Empty:
                break
            if entry is None:
                self._queue.put(None)
                break
            if entry.urgency == "idle":
                self._idle.append(entry)
                continue
            batch.append(entry.item)
            weight += entry.weight
            urgent = urgent or entry.urgency == "now"
        return batch


def _resolve(future: "asyncio.Future[None]", error: BaseException | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
