"""Carries the outbox to one channel, in order. Knows neither the wire nor the database behind the contract."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from worker.events import Emit, LoopFailed, NotificationRejected, NotificationsDelivered
from worker.notifier import Notifier
from worker.queue import Outbox, OutboxMessage

READ_AHEAD = 512
"""Messages read at once: one read per window rather than one per message, and memory stays flat."""

_HOLD = READ_AHEAD
"""Messages kept in memory before they are taken; those beyond are read when their turn comes."""


@dataclass(slots=True)
class Relay:
    """The Feed of one channel."""

    outbox: Outbox
    notifier: Notifier
    emit: Emit
    pause_on_error: float
    _ahead: deque[OutboxMessage] = field(default_factory=deque)
    _read_to: int = 0
    _behind: bool = True
    """The store may hold messages after `_read_to` of which nobody told."""
    _told_meanwhile: list[OutboxMessage] | None = None
    """What was committed while a read is under way, which may or may not have seen it."""
    _missed: bool = False
    """More was told during that read than is held."""
    _confirmed_to: int = 0
    _recorded_to: int = 0
    _refused: dict[int, tuple[OutboxMessage, str]] = field(default_factory=dict)
    _parked: set[int] = field(default_factory=set)
    """Refused and above the watermark; a read that began before they were recorded still finds them."""
    _in_flight: dict[int, OutboxMessage] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _proof: asyncio.Event = field(default_factory=asyncio.Event)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    """Something was confirmed or recorded."""
    _generation: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Feed the channel until cancelled."""
        self.outbox.on_message(self._told)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.notifier.run(self, stop))
            group.create_task(self._record_for_ever())

    async def flush(self, seconds: float, patience: float = 3.0) -> bool:
        """Wait until everything is proven and recorded; False: time is over, or nothing moved for `patience`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            # Cleared before looking: it has been set since the first message that was ever delivered.
            self._moved.clear()
            if await self._empty():
                return True
            moved = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(patience, max(0.0, deadline - loop.time()))):
                    moved = await self._moved.wait()
            if not moved or loop.time() >= deadline:
                return await self._empty()

    # -- the channel's side (Feed) -------------------------------------------------------------------------

    async def take(self, limit: int) -> Sequence[OutboxMessage]:
        while not self._ahead:
            if self._behind:
                await self._read()
            else:
                self._news.clear()
                await self._news.wait()
        messages = [self._ahead.popleft() for _ in range(min(limit, len(self._ahead)))]
        self._in_flight.update((message.id, message) for message in messages)
        return messages

    def rewind(self) -> None:
        self._generation += 1  # a read under way belongs to the session that ended
        self._ahead.clear()
        proven = takewhile(lambda message_id: message_id <= self._confirmed_to, self._in_flight)
        self._in_flight = {message_id: self._in_flight[message_id] for message_id in proven}
        self._read_to = self._confirmed_to
        self._behind = True
        self._news.set()  # who waits for something new has old messages to take

    def confirmed(self, up_to: int) -> None:
        self._confirmed_to = max(self._confirmed_to, up_to)
        self._proof.set()
        self._moved.set()

    def rejected(self, message_id: int, reason: str) -> None:
        message = self._in_flight.get(message_id)
        if message is not None:
            self._refused[message_id] = (message, reason)
            self._parked.add(message_id)
            self._proof.set()

    # -- the store's side ----------------------------------------------------------------------------------

    def _told(self, messages: Sequence[OutboxMessage]) -> None:
        """New messages, as they were committed: nobody has to read back what has just been written."""
        if self._told_meanwhile is None:
            self._follow(messages)
        elif len(self._told_meanwhile) < _HOLD:
            self._told_meanwhile.extend(messages)
        else:
            self._missed = True
        self._news.set()

    def _follow(self, messages: Sequence[OutboxMessage]) -> None:
        """Put them behind those that wait, if they are the very next; else they will be read."""
        fresh = [message for message in messages if message.id > self._read_to]
        if self._behind or not fresh:
            return
        if fresh[0].id == self._read_to + 1 and len(self._ahead) + len(fresh) <= _HOLD:
            self._line_up(fresh)
        else:
            self._behind = True

    def _line_up(self, messages: Sequence[OutboxMessage]) -> None:
        self._ahead.extend(message for message in messages if message.id not in self._parked)
        self._read_to = messages[-1].id

    async def _read(self) -> None:
        generation = self._generation
        self._told_meanwhile = told = list[OutboxMessage]()
        self._missed = False
        try:
            found = await self.outbox.pending(self._read_to, READ_AHEAD)
        except Exception as exc:  # noqa: BLE001 -- the relay outlives whatever it meets
            self.emit(LoopFailed("reading the outbox", exc, self.pause_on_error))
            await asyncio.sleep(self.pause_on_error)
            return
        finally:
            self._told_meanwhile = None
        if generation != self._generation:
            return
        if found:
            self._line_up(found)
        self._behind = len(found) == READ_AHEAD
        self._follow(told)
        self._behind = self._behind or self._missed

    async def _record_for_ever(self) -> None:
        while True:
            await self._proof.wait()
            self._proof.clear()
            try:
                await self._record()
            except Exception as exc:  # noqa: BLE001 -- what is proven is recorded as soon as the store answers
                self.emit(LoopFailed("recording what was delivered", exc, self.pause_on_error))
                await asyncio.sleep(self.pause_on_error)
                self._proof.set()

    async def _record(self) -> None:
        """Refusals first: the watermark moves over them, and a refused message must not count as delivered."""
        while self._refused:
            message, reason = next(iter(self._refused.values()))
            await self.outbox.dead(message.id, reason)
            del self._refused[message.id]
            self._in_flight.pop(message.id, None)
            self.emit(NotificationRejected(message.notification_id, message.job_id, reason))
        self._moved.set()
        up_to = self._confirmed_to
        if up_to <= self._recorded_to:
            return
        await self.outbox.delivered(up_to)
        self._recorded_to = up_to
        done = list(takewhile(lambda message_id: message_id <= up_to, self._in_flight))
        for message_id in done:
            del self._in_flight[message_id]
        self._parked = {message_id for message_id in self._parked if message_id > up_to}
        self.emit(NotificationsDelivered(len(done), up_to))
        self._moved.set()

    async def _empty(self) -> bool:
        return not await self.outbox.pending(self._confirmed_to, 1) and self._recorded_to >= self._confirmed_to
