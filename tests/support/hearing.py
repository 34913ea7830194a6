"""A listener for events, and a way to wait for them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

_Event = TypeVar("_Event")


@dataclass
class Heard:
    """Give it as `emit`."""

    events: list[object] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: object) -> None:
        self.events.append(event)
        self._news.set()

    def of(self, kind: type[_Event]) -> list[_Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[_Event], count: int = 1, *, timeout: float = 10.0) -> list[_Event]:
        """The first `count` events of this kind."""
        await self.when(lambda: len(self.of(kind)) >= count, timeout=timeout)
        return self.of(kind)[:count]

    async def when(self, holds: Callable[[], bool], *, timeout: float = 10.0) -> None:
        """Until it holds; looked at after every event."""
        async with asyncio.timeout(timeout):
            while not holds():
                self._news.clear()
                await self._news.wait()
