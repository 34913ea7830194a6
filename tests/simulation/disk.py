"""Stands in for the writer's thread and the readers of a store: the real transactions, on a disk that can crash.

A batch is carried out at the end of its simulated sync. A crash before that loses it, as pages that were not synced are
lost, or keeps it although its callers got no answer: the seed decides.
"""

import asyncio
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar
from unittest.mock import patch

from tests.simulation.loop import SimulatedProcess, current_process
from worker.disk.group_commit import BatchWriter, Urgency
from worker.stores.sqlite.errors import translate

Item = TypeVar("Item")


class SimulatedDisk:
    """How the disk of one machine behaves, and what lies on it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.sync_seconds = 0.002
        self.databases: dict[str, sqlite3.Connection] = {}
        self.writers: list[SimulatedWriter[Any]] = []

    def crash(self, process: SimulatedProcess) -> None:
        """End the writers of a process that was killed."""
        for writer in [one for one in self.writers if one.process is process]:
            writer.crash()
            self.writers.remove(writer)

    def fill(self, *, is_full: bool) -> None:
        """Leave no page for anything new, or make room again."""
        for database in self.databases.values():
            (pages,) = database.execute("PRAGMA page_count").fetchone()
            database.execute(f"PRAGMA max_page_count = {pages if is_full else 1_000_000}")


_disk: list[SimulatedDisk] = []


class SimulatedWriter(Generic[Item]):
    """Stands in for worker.disk.group_commit.GroupCommit."""

    def __init__(self, name: str, writer: BatchWriter[Item], most: int) -> None:
        self.process = current_process.get()
        self.closed = False
        self._disk = _disk[-1]
        self._writer = writer
        self._most = most
        self._queue: deque[tuple[Item, int]] = deque()
        self._batch: list[Item] = []
        """What is being synced."""
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        self._writer.open()
        self._disk.writers.append(self)

    def put(self, item: Item, *, weight: int = 1, urgency: Urgency = "now") -> None:
        if self._is_dead():
            return
        self._queue.append((item, weight))
        self._begin()

    async def close(self) -> None:
        self.closed = True
        await self._idle.wait()
        if self in self._disk.writers and not self._is_dead():
            self._disk.writers.remove(self)

    def crash(self) -> None:
        """Lose what is queued; what is being synced is on disk or lost."""
        if self._timer is not None:
            self._timer.cancel()
        if self._batch and self._disk.chance.random() < 0.5:
            self._writer.write(self._batch)  # the callers get no answer
        self._batch = []
        self._queue.clear()

    def _is_dead(self) -> bool:
        return self.process is not None and not self.process.is_alive

    def _begin(self) -> None:
        if self._batch or not self._queue:
            return
        weight = 0
        while self._queue and weight < self._most:
            item, more = self._queue.popleft()
            self._batch.append(item)
            weight += more
        self._idle.clear()
        seconds = self._disk.sync_seconds * self._disk.chance.uniform(0.5, 2.0)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._synced)

    def _synced(self) -> None:
        batch, self._batch = self._batch, []
        if self._is_dead():
            return
        self._writer.write(batch)()
        self._begin()
        if not self._batch:
            self._idle.set()


class SimulatedReader:
    """Stands in for the store's ReadPool."""

    def __init__(self, path: Any, name: str, on_close: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._disk = _disk[-1]
        self._on_close = on_close

    async def read(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        await asyncio.sleep(self._disk.sync_seconds * self._disk.chance.uniform(0.1, 0.5))
        try:
            return function(self._disk.databases[str(self._path)], *arguments, **named)
        except sqlite3.Error as exc:
            raise translate(exc, self._path) from exc

    async def close(self) -> None:
        self._on_close()


@contextmanager
def on_disk(disk: SimulatedDisk) -> Iterator[None]:
    """Let everything that opens a store or an inbox use this disk."""
    _disk.append(disk)
    try:
        with (
            patch("worker.stores.sqlite.writer.GroupCommit", SimulatedWriter),
            patch("worker.hub.inboxes.sqlite.GroupCommit", SimulatedWriter),
            patch("worker.stores.sqlite.store.ReadPool", SimulatedReader),
        ):
            yield
    finally:
        _disk.pop()
