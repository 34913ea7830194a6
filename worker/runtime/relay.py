"""Passes the messages of the outbox to one notifier, in order, and records which were confirmed."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from config.link_settings import WebSocketSettings
from worker.core.events import Emit, NotificationRejected, NotificationsDelivered
from worker.core.loop_failures import LoopFailures
from worker.core.notification import PENDING_BYTES
from worker.core.notifier import Notifier
from worker.core.shared_store import Lease
from worker.core.store import Outbox, OutboxMessage
from worker.runtime.from_settings import error_pause

READ_AHEAD = 512
"""Messages per read: one read per window instead of one per message, with bounded memory."""

_MAX_BUFFERED = READ_AHEAD
"""Messages kept in memory before the notifier takes them; further ones are read later."""


@dataclass(slots=True)
class Relay:
    """The message source of one notifier."""

    outbox: Outbox
    notifier: Notifier
    emit: Emit
    pause_on_error: float
    lease: Lease | None = None
    """The right to send, where several relays share the outbox; None: there is only this one."""
    max_bytes: int = PENDING_BYTES
    """Of the messages that are kept in memory before the notifier takes them, and of one read."""
    _buffer: deque[OutboxMessage] = field(default_factory=deque)
    _read_to: int = 0
    _must_read: bool = True
    """The store may hold messages after `_read_to` that are not in the buffer."""
    _received_during_read: list[OutboxMessage] | None = None
    """Messages committed while a read is running, which may or may not have included them."""
    _overflowed: bool = False
    """More were received during that read than are kept."""
    _confirmed_to: int = 0
    _recorded_to: int = 0
    _rejections: dict[int, tuple[OutboxMessage, str]] = field(default_factory=dict)
    _rejected_ids: set[int] = field(default_factory=set)
    """Rejected and above the watermark; a read that began before they were recorded still returns them."""
    _in_flight: dict[int, OutboxMessage] = field(default_factory=dict)
    _has_messages: asyncio.Event = field(default_factory=asyncio.Event)
    _has_confirmations: asyncio.Event = field(default_factory=asyncio.Event)
    _progressed: asyncio.Event = field(default_factory=asyncio.Event)
    """Something was confirmed or recorded."""
    _is_forced: bool = False
    _generation: int = 0
    _reading: LoopFailures = field(init=False)
    _recording: LoopFailures = field(init=False)

    def __post_init__(self) -> None:
        self._reading = LoopFailures("reading the outbox", self.emit)
        self._recording = LoopFailures("recording confirmed notifications", self.emit)

    @classmethod
    def from_settings(
        cls, settings: WebSocketSettings, *, outbox: Outbox, notifier: Notifier, emit: Emit, lease: Lease | None = None
    ) -> "Relay":
        """Return a relay from this outbox to this notifier; with a lease, it sends only while it holds that."""
        return cls(outbox, notifier, emit, error_pause(settings), lease)

    def apply(self, settings: WebSocketSettings) -> None:
        """Use other settings from the next error on."""
        self.pause_on_error = error_pause(settings)

    async def run(self, stop: asyncio.Event) -> None:
        """Run the notifier and record confirmations, until cancelled."""
        self.outbox.on_message(self._on_message)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.notifier.run(self, stop))
            group.create_task(self._record_confirmations())
            if self.lease is not None:
                group.create_task(self.lease.run())

    async def flush(self, seconds: float, idle_timeout: float = 3.0) -> bool:
        """Wait until all messages are confirmed and recorded.

        Return False after `seconds`, or after `idle_timeout` seconds without progress while none is under way: what was
        sent and not confirmed would be sent again after the next start.
        """
        if not self._may_send():
            return True  # another process sends them
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            # Cleared before the check: the event stays set after the first delivery.
            self._progressed.clear()
            if await self._is_empty():
                return True
            progressed = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(idle_timeout, max(0.0, deadline - loop.time()))):
                    progressed = await self._progressed.wait()
            if not (progressed or self._is_under_way()) or loop.time() >= deadline:
                return await self._is_empty()

    def _is_under_way(self) -> bool:
        """Return whether messages were sent whose confirmation can still be recorded, and that are waited for."""
        return bool(self._in_flight) and not self._is_forced and not self._recording.is_failing

    def force_stop(self) -> None:
        """Stop waiting for what is under way, as after a second signal."""
        self._is_forced = True

    # -- for the notifier (MessageSource) -------------------------------------------------------------------------

    async def take(self, limit: int) -> Sequence[OutboxMessage]:
        while not (self._buffer and self._may_send()):
            if not self._may_send():
                await self._wait_for_lease()
            elif self._must_read:
                await self._read()
            else:
                self._has_messages.clear()
                await self._has_messages.wait()
        messages = [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]
        self._in_flight.update((message.id, message) for message in messages)
        return messages

    def _may_send(self) -> bool:
        return self.lease is None or self.lease.is_held

    async def _wait_for_lease(self) -> None:
        """Wait for the right to send, and then start from what the relay before this one left unconfirmed."""
        assert self.lease is not None
        self.rewind()
        await self.lease.wait()
        self.rewind()

    def rewind(self) -> None:
        self._generation += 1  # a running read belongs to the session that ended
        self._buffer.clear()
        proven = takewhile(lambda message_id: message_id <= self._confirmed_to, self._in_flight)
        self._in_flight = {message_id: self._in_flight[message_id] for message_id in proven}
        self._read_to = self._confirmed_to
        self._must_read = True
        self._has_messages.set()  # a waiting `take` has old messages to return

    def confirmed(self, up_to: int) -> None:
        self._confirmed_to = max(self._confirmed_to, up_to)
        self._has_confirmations.set()
        self._progressed.set()

    def rejected(self, message_id: int, reason: str) -> None:
        message = self._in_flight.get(message_id)
        if message is not None:
            self._rejections[message_id] = (message, reason)
            self._rejected_ids.add(message_id)
            self._has_confirmations.set()

    # -- for operators --------------------------------------------------------------------------------------------

    def set_aside(self, message: OutboxMessage) -> None:
        """Do not send this message, which the store has marked dead, again."""
        if message.id <= self._confirmed_to:
            return
        self._rejected_ids.add(message.id)
        self._in_flight.pop(message.id, None)
        self._buffer = deque(one for one in self._buffer if one.id != message.id)
        self.notifier.forget(message)

    # -- for the store ----------------------------------------------------------------------------------

    def _on_message(self, messages: Sequence[OutboxMessage]) -> None:
        """Take new messages as they are committed, so that they need not be read back."""
        if self._received_during_read is None:
            self._append_if_next(messages)
        elif len(self._received_during_read) < _MAX_BUFFERED and _size(self._received_during_read) < self.max_bytes:
            self._received_during_read.extend(messages)
        else:
            self._overflowed = True
        self._has_messages.set()

    def _append_if_next(self, messages: Sequence[OutboxMessage]) -> None:
        """Append the messages if they follow the last one read; otherwise they are read later."""
        fresh = [message for message in messages if message.id > self._read_to]
        if self._must_read or not fresh:
            return
        fits = len(self._buffer) + len(fresh) <= _MAX_BUFFERED and _size(self._buffer) + _size(fresh) <= self.max_bytes
        if fresh[0].id == self._read_to + 1 and fits:
            self._append(fresh)
        else:
            self._must_read = True

    def _append(self, messages: Sequence[OutboxMessage]) -> None:
        self._buffer.extend(message for message in messages if message.id not in self._rejected_ids)
        self._read_to = messages[-1].id

    async def _read(self) -> None:
        generation = self._generation
        self._received_during_read = received = list[OutboxMessage]()
        self._overflowed = False
        try:
            found = await self.outbox.pending(self._read_to, READ_AHEAD, self.max_bytes)
            self._reading.succeeded()
        except Exception as exc:  # noqa: BLE001 -- the relay survives any error
            self._reading.failed(exc, self.pause_on_error)
            await asyncio.sleep(self.pause_on_error)
            return
        finally:
            self._received_during_read = None
        if generation != self._generation:
            return
        if found:
            self._append(found)
        self._must_read = len(found) == READ_AHEAD or _size(found) >= self.max_bytes
        self._append_if_next(received)
        self._must_read = self._must_read or self._overflowed

    async def _record_confirmations(self) -> None:
        while True:
            await self._has_confirmations.wait()
            self._has_confirmations.clear()
            try:
                await self._record()
                self._recording.succeeded()
            except Exception as exc:  # noqa: BLE001 -- confirmations are recorded as soon as the store answers
                self._recording.failed(exc, self.pause_on_error)
                await asyncio.sleep(self.pause_on_error)
                self._has_confirmations.set()

    async def _record(self) -> None:
        """Record rejections first: the watermark passes them, and a rejected message must not count as delivered."""
        while self._rejections:
            message, reason = next(iter(self._rejections.values()))
            await self.outbox.dead(message.id, reason)
            del self._rejections[message.id]
            self._in_flight.pop(message.id, None)
            self.emit(NotificationRejected(message.notification_id, message.job_id, reason))
        self._progressed.set()
        up_to = self._confirmed_to
        if up_to <= self._recorded_to:
            return
        await self.outbox.delivered(up_to)
        self._recorded_to = up_to
        done = list(takewhile(lambda message_id: message_id <= up_to, self._in_flight))
        for message_id in done:
            del self._in_flight[message_id]
        self._rejected_ids = {message_id for message_id in self._rejected_ids if message_id > up_to}
        self.emit(NotificationsDelivered(len(done), up_to))
        self._progressed.set()

    async def _is_empty(self) -> bool:
        return not await self.outbox.pending(self._confirmed_to, 1) and self._recorded_to >= self._confirmed_to


def _size(messages: Iterable[OutboxMessage]) -> int:
    return sum(len(message.body) for message in messages)
