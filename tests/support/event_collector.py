"""Collects events and lets a test wait for them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

Event = TypeVar("Event")


class EventCollector:
    """A listener for events: pass it as `emit`."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.times: list[float] = []
        """When each event arrived; monotonic seconds."""
        self._arrived = asyncio.Event()

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        self.times.append(time.monotonic())
        self._arrived.set()

    def of(self, kind: type[Event]) -> list[Event]:
        """Return the events of this kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def names(self) -> list[str]:
        """Return the class name of every event so far."""
        return [type(event).__name__ for event in self.events]

    async def until(self, kind: type[Event], count: int = 1, *, timeout: float = 120.0) -> list[Event]:
        """Wait for `count` events of this kind and return the first ones. Raises TimeoutError."""
        await self.when(lambda: len(self.of(kind)) >= count, timeout=timeout)
        return self.of(kind)[:count]

    async def one(
        self,
        kind: type[Event],
        *,
        count: int = 1,
        seconds: float = 120.0,
        where: Callable[[Event], bool] = lambda _: True,
    ) -> Event:
        """Wait for the `count`-th event of this kind for which `where` holds, and return it. Raises TimeoutError."""

        def found() -> list[Event]:
            return [event for event in self.of(kind) if where(event)]

        await self.when(lambda: len(found()) >= count, timeout=seconds)
        return found()[count - 1]

    async def when(self, holds: Callable[[], bool], *, timeout: float = 120.0) -> None:
        """Wait until `holds()`, which is checked after every event. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not holds():
                self._arrived.clear()
                await self._arrived.wait()
