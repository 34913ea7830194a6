"""Tells listeners of new messages in the order of their ids, whichever store put them into the outbox."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from worker.core.store import OutboxMessage
from worker.errors import StoreError

_AT_ONCE = 500
_PAUSE = 1.0

Listener = Callable[[Sequence[OutboxMessage]], None]


@dataclass(slots=True)
class Announcer:
    """Announces this store's messages at its commit, and reads those of other stores when it hears of them."""

    read: Callable[[int, int], Awaitable[list[OutboxMessage]]]
    """Returns messages with higher ids than the first argument, up to the second in number."""
    last_id: int
    """The highest id that was announced, or that the outbox had when the store was opened."""
    _listeners: list[Listener] = field(default_factory=list)
    _reading: "asyncio.Task[None] | None" = None
    _heard: bool = False

    def add(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def announce(self, messages: Sequence[OutboxMessage]) -> None:
        """Tell of messages that this store committed. If others came before them, those are read first."""
        if messages[0].id == self.last_id + 1:
            self._tell(messages)
        else:
            self.wake()

    def wake(self) -> None:
        """Read what was not announced yet."""
        self._heard = True
        if self._reading is None and self._listeners:
            self._reading = asyncio.create_task(self._read(), name="store-announcer")

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while self._heard:
                self._heard = False
                try:
                    while messages := await self.read(self.last_id, _AT_ONCE):
                        # Some may have been announced while they were read.
                        self._tell([message for message in messages if message.id > self.last_id])
                except StoreError:  # the server is away; the messages stay where they are
                    self._heard = True
                    await asyncio.sleep(_PAUSE)
        finally:
            self._reading = None

    def _tell(self, messages: Sequence[OutboxMessage]) -> None:
        if not messages:
            return
        self.last_id = messages[-1].id
        for listener in self._listeners:
            listener(messages)
