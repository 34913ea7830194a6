"""Collects events and lets a test wait for one."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

Event = TypeVar("Event")


class Listener:
    """Give it as `emit`."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.times: list[float] = []
        """When each came; monotonic seconds."""
        self._news = asyncio.Event()

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        self.times.append(time.monotonic())
        self._news.set()

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def one(
        self,
        kind: type[Event],
        *,
        count: int = 1,
        seconds: float = 15.0,
        where: Callable[[Event], bool] = lambda _: True,
    ) -> Event:
        """The `count`-th event of this kind that fits; waits for it."""
        async with asyncio.timeout(seconds):
            while len(found := [event for event in self.of(kind) if where(event)]) < count:
                self._news.clear()
                await self._news.wait()
        return found[count - 1]

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]
