"""Sends what the source has: as much as the window holds at once, or with care around what could not be confirmed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.core.clock import Clock
from worker.core.notifier import MessageSource
from worker.core.store import OutboxMessage
from worker.notifiers.socketio.confirmation import DeliveryTracker
from worker.notifiers.socketio.confirmation_reporter import ConfirmationReporter
from worker.notifiers.socketio.frame_limit import FrameLimit
from worker.notifiers.socketio.held_messages import HeldMessages
from worker.notifiers.socketio.retry_ledger import RetryLedger, SessionResult

_BATCH = 256
"""Messages taken at once where the window is counted in bytes."""
_LONGEST_NAP = 0.5
"""Seconds between two looks at messages that wait, while the source has nothing."""
_SHORTEST_NAP = 0.05
"""Seconds that the source gets to answer even if a suspect is due."""


class FrameWriter(Protocol):
    """What sending needs of a connection."""

    def send(self, number: int, body: bytes, *, ack: bool) -> Awaitable[None]: ...

    def flush(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SenderParts:
    """What one session's sender works with."""

    connection: FrameWriter
    tracker: DeliveryTracker
    limit: FrameLimit
    reporter: ConfirmationReporter
    ledger: RetryLedger
    clock: Clock
    after_send: Callable[[], None]
    """Called after each batch: sends a fence if the mode asks for one."""
    report: Callable[[str], None]
    """Called with what operators should know."""


class MessageSender:
    """Sends the messages of one session."""

    def __init__(self, parts: SenderParts, source: MessageSource) -> None:
        self.waiting_since: float | None = None
        """Since when the source has had nothing; None: it has something."""
        self._parts = parts
        self._tracker = parts.tracker
        self._source = source
        self._held: HeldMessages | None = None
        self._others_first = parts.ledger.others_first(parts.tracker.config.window)
        """So many other messages go before the next suspect, unless there are none: each suspect may cost a session."""
        parts.tracker.begin_with(parts.ledger.start_window or parts.tracker.config.window)
        if not parts.ledger.is_empty:
            self._held = parts.reporter.held = HeldMessages(parts.ledger)
            parts.reporter.before_report = self.on_report
            parts.tracker.window.settled = []

    async def run(self) -> None:
        """Send until cancelled, or until something fails."""
        while True:
            if self._held is None:
                await self._wait_for_room()
                await self._send(await self._take())
            else:
                await self._send_with_care(self._held)

    async def _wait_for_room(self) -> None:
        changed = self._parts.reporter.changed
        while not self._tracker.room:
            changed.clear()
            await changed.wait()
            if self._tracker.grow():
                self._parts.ledger.on_full_window()

    async def _take(self) -> Sequence[OutboxMessage]:
        self.waiting_since = self.waiting_since or self._parts.clock.monotonic()
        messages = await self._source.take(min(self._tracker.room, _BATCH))
        if messages:
            self.waiting_since = None
            return messages
        # Nothing will come any more: `waiting_since` stays set for the end of the session.
        await asyncio.Event().wait()
        return []

    async def _send(self, messages: Sequence[OutboxMessage]) -> None:
        parts, tracker, now = self._parts, self._tracker, self._parts.clock.monotonic()
        acks = tracker.requests_acks
        for message in messages:
            body = parts.limit.fit(message.body)
            if body is None:
                self._reject_oversized(message)
            else:
                if not tracker.fits(len(body)):
                    await self._wait_until_it_fits(len(body))
                    now = parts.clock.monotonic()
                await parts.connection.send(tracker.on_sent(message.id, len(body), now), body, ack=acks)
        parts.connection.flush()
        parts.after_send()

    async def _wait_until_it_fits(self, size: int) -> None:
        """Wait until the bytes in flight leave room for a message of this size."""
        changed = self._parts.reporter.changed
        while not self._tracker.fits(size):
            self._parts.connection.flush()
            self._parts.after_send()
            changed.clear()
            await changed.wait()

    def _reject_oversized(self, message: OutboxMessage) -> None:
        """It cannot be made to fit: settled as rejected, it holds up nothing."""
        limit = self._parts.limit.bytes
        self._source.rejected(
            message.id, f"the message ({len(message.body)} bytes) cannot be cut to the server's {limit}"
        )
        if self._held is not None:
            self._held.on_settled([message.id], self._parts.clock.monotonic())
        elif not self._tracker.window:
            self._source.confirmed(message.id)

    # -- with care -------------------------------------------------------------------------------------------------

    async def _send_with_care(self, held: HeldMessages) -> None:
        """Take one step: send a suspect alone, send what was released, or send what is new."""
        now = self._parts.clock.monotonic()
        for message, reason in held.condemned(now):
            self._set_aside(held, message, reason)
        suspect = held.due(now) if self._others_first <= 0 or held.is_full else None
        if suspect is not None:
            await self._send_alone(held, suspect)
            self._others_first = self._parts.ledger.others_first(self._tracker.config.window)
        elif released := held.released()[: self._tracker.room or 1]:
            await self._wait_for_room()
            await self._send_each(held, released)
        elif held.is_full:
            await self._wait_for_change()
        else:
            await self._send_new(held)
        if held.is_done and not self._tracker.window:
            self._held = self._parts.reporter.held = None
            self._tracker.window.settled = None

    async def _send_alone(self, held: HeldMessages, suspect: OutboxMessage) -> None:
        """Wait until nothing is in flight, send the suspect, and wait until it is settled or the session ends."""
        while self._tracker.window:
            await self._wait_for_change()
        held.alone = suspect.id
        await self._send_each(held, [suspect])
        while self._tracker.window:
            await self._wait_for_change()

    async def _send_new(self, held: HeldMessages) -> None:
        await self._wait_for_room()
        messages: Sequence[OutboxMessage] = []
        next_due = held.next_due()
        nap = _LONGEST_NAP if next_due is None else next_due - self._parts.clock.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(nap, _SHORTEST_NAP), _LONGEST_NAP)):
                messages = await self._take()
        confirmed = sum(message.id in self._parts.ledger.confirmed for message in messages)
        self._others_first = self._others_first - len(messages) + confirmed if messages else 0
        await self._send_each(held, [message for message in messages if self._take_note(held, message)])
        if messages:
            self._parts.reporter.report(self._tracker, self._source)  # some may have been confirmed before

    def _take_note(self, held: HeldMessages, message: OutboxMessage) -> bool:
        """Return whether the message is to be sent with the others now."""
        goes = held.take(message)
        if not goes and (detail := self._parts.ledger.report_once(message)) is not None:
            self._parts.report(detail)
        return goes

    async def _send_each(self, held: HeldMessages, messages: Sequence[OutboxMessage]) -> None:
        for message in messages:
            held.on_sent(message)
        announced = self._parts.ledger.announced
        await self._send([message._replace(body=announced(message)) for message in messages])

    async def _wait_for_change(self) -> None:
        changed = self._parts.reporter.changed
        changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_NAP):
                await changed.wait()

    def _set_aside(self, held: HeldMessages, message: OutboxMessage, reason: str) -> None:
        self._source.rejected(message.id, reason)
        held.set_aside(message)
        self._parts.reporter.report(self._tracker, self._source)

    def forget(self, message: OutboxMessage) -> None:
        """An operator has set the message aside."""
        window = self._tracker.window
        window.settle_id(message.id)
        if self._held is None:
            self._parts.ledger.set_aside(message)
        else:
            self.on_report()
            self._held.set_aside(message)
        self._parts.reporter.report(self._tracker, self._source)

    # -- what was learned ------------------------------------------------------------------------------------------

    def on_report(self) -> None:
        """Something may have been settled; called before each report."""
        window = self._tracker.window
        if self._held is not None and window.settled:
            self._held.on_settled(window.settled, self._parts.clock.monotonic())
            window.settled.clear()

    def learn(self) -> None:
        """The session ended by itself: what it leaves behind decides what the next one sends, and how."""
        window = self._tracker.window
        unconfirmed = window.unsettled_ids()
        alone = self._held.alone if self._held is not None else None
        result = SessionResult(
            unconfirmed=unconfirmed,
            overtaken=window.overtaken_ids() if self._tracker.mode == "ack" else (),
            confirmed_above=window.early_ids(),
            progressed=window.base > 0 or len(unconfirmed) < len(window),
            alone=unconfirmed == [alone] or self._tracker.limit == 1,
        )
        self._parts.ledger.on_session_end(result, self._parts.clock.monotonic())
