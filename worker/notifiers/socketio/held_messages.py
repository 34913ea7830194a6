"""The notifications of one session that are sent alone or later, and the id up to which all are settled."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from worker.core.store import OutboxMessage
from worker.notifiers.socketio.retry_ledger import RetryLedger, Suspect

MAX_OUTSTANDING = 10_000
"""Notifications taken above the watermark: no more are taken until a gap is closed, so that memory stays bounded."""


@dataclass(slots=True)
class HeldMessages:
    """Used while the ledger is not empty. Ids are taken in ascending order, and settled in any order."""

    ledger: RetryLedger
    alone: int | None = None
    """The id of the notification that is alone in flight."""
    _held: dict[int, OutboxMessage] = field(default_factory=dict)
    _taken: dict[int, bool] = field(default_factory=dict)
    """By id, oldest first: whether it is settled. Begins with one that is not."""
    watermark: int = 0
    """The id up to which everything taken is settled; 0: nothing is."""

    @property
    def is_done(self) -> bool:
        """Return whether the session may go on without looking at each notification."""
        return not self._taken and self.ledger.is_empty

    @property
    def is_full(self) -> bool:
        return len(self._taken) >= MAX_OUTSTANDING

    def take(self, message: OutboxMessage) -> bool:
        """Take note of a notification; return whether it is to be sent now."""
        self._taken[message.id] = message.id in self.ledger.confirmed
        if self._taken[message.id]:
            self._advance()
            return False
        if self.ledger.must_wait(message):
            self._held[message.id] = message
            return False
        return True

    def due(self, now: float) -> OutboxMessage | None:
        """Return the oldest suspect that is to be sent alone now."""
        return next((message for message, suspect in self._held_suspects() if suspect.next_at <= now), None)

    def next_due(self) -> float | None:
        """Return when the next suspect is to be sent; None: there is none."""
        return min((suspect.next_at for _, suspect in self._held_suspects()), default=None)

    def released(self) -> list[OutboxMessage]:
        """Return the notifications that need not wait any more, oldest first."""
        return [one for one in self._held.values() if not self.ledger.must_wait(one)]

    def condemned(self, now: float) -> list[tuple[OutboxMessage, str]]:
        """Return the suspects that are to be set aside, and why."""
        verdicts = ((message, self.ledger.verdict(message.id, now)) for message, _ in self._held_suspects())
        return [(message, reason) for message, reason in verdicts if reason is not None]

    def _held_suspects(self) -> list[tuple[OutboxMessage, Suspect]]:
        """Return the suspects that this session has taken and not sent, oldest first."""
        suspects = self.ledger.suspects
        return [(self._held[one], suspects[one]) for one in sorted(suspects) if one in self._held]

    def on_sent(self, message: OutboxMessage) -> None:
        """Stop holding a notification, because it was sent."""
        self._held.pop(message.id, None)

    def on_settled(self, message_ids: Iterable[int], now: float) -> None:
        """Record notifications that were confirmed or rejected."""
        for message_id in message_ids:
            self._settle(message_id)
            self.ledger.on_confirmed(message_id, now)
            if message_id == self.alone:
                self.alone = None
        self._advance()

    def set_aside(self, message: OutboxMessage) -> None:
        """The notification is dead."""
        self._settle(message.id)
        self.ledger.set_aside(message)
        self._advance()

    def _settle(self, message_id: int) -> None:
        self._held.pop(message_id, None)
        if message_id in self._taken:
            self._taken[message_id] = True

    def _advance(self) -> None:
        while self._taken and self._taken[first := next(iter(self._taken))]:
            del self._taken[first]
            self.watermark = first
        self.ledger.on_watermark(self.watermark)
