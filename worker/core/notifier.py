"""The contract of a notifier: it takes messages in order, sends them, and reports which are confirmed."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from worker.core.store import OutboxMessage


class MessageSource(Protocol):
    """Where a notifier takes messages from. One notifier per source; all calls in the event loop."""

    async def take(self, limit: int) -> Sequence[OutboxMessage]:
        """The next messages after those taken since the last rewind, oldest first; waits until there is one.

        May be cancelled while it waits. May return nothing when no more messages will come."""
        ...

    def rewind(self) -> None:
        """Start again from the oldest message that was neither confirmed nor rejected, because a session ended."""
        ...

    def confirmed(self, up_to: int) -> None:
        """Record that every message taken with id <= `up_to` was received, or rejected."""
        ...

    def rejected(self, message_id: int, reason: str) -> None:
        """Record that the receiver rejected this message."""
        ...


class Notifier(Protocol):
    """Sends notifications. It owns its connection, and reconnects after any failure."""

    async def run(self, feed: MessageSource, stop: asyncio.Event) -> None:
        """Send messages until cancelled. Once `stop` is set no new ones will come: return when all that were taken are
        confirmed and the source has no more."""
        ...

    def forget(self, message: OutboxMessage) -> None:
        """Do not send this message again: an operator has set it aside. Never blocks, never raises."""
        ...

    def progress(self, body: bytes) -> None:
        """Send a progress message if connected, else drop it. Never blocks, never raises."""
        ...
