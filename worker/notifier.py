"""The contract between the relay and a channel: a channel takes messages in order and says what is proven."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from worker.queue import OutboxMessage


class Feed(Protocol):
    """What a channel takes from. One channel per feed; all calls in the event loop."""

    async def take(self, limit: int) -> Sequence[OutboxMessage]:
        """The next messages after those taken since the last rewind, oldest first; waits until there is one.

        May be cancelled while it waits. May answer nothing once nothing more will come."""
        ...

    def rewind(self) -> None:
        """What was taken and not confirmed or rejected will be taken again, from the oldest: a session ended."""
        ...

    def confirmed(self, up_to: int) -> None:
        """Every message taken with id <= `up_to` is proven received (or was rejected)."""
        ...

    def rejected(self, message_id: int, reason: str) -> None:
        """The receiver said no to this one."""
        ...


class Notifier(Protocol):
    """A channel. It owns its connection and comes back from whatever ends it."""

    async def run(self, feed: Feed, stop: asyncio.Event) -> None:
        """Carry messages until cancelled. `stop` set: nothing new will come, so end when all taken is proven
        and the feed has no more; leave the rest unconfirmed."""
        ...

    def progress(self, body: bytes) -> None:
        """Send a volatile message if the link is up; otherwise forget it. Never blocks, never raises."""
        ...
