"""One session's messages that are sent and not proven, and the watermark below them. Pure."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Window:
    """Messages sent and not proven, oldest first. They are numbered 1, 2, 3 … on the wire, in order."""

    sent: int = 0
    """The highest number sent."""
    base: int = 0
    """The highest number up to which everything is settled: the watermark."""
    size: int = 0
    """Of all in the window."""
    confirmed: int = 0
    """The message id at the watermark; 0: none yet."""
    _waiting: deque[tuple[int, int, float]] = field(default_factory=deque)  # message id, size, sent at
    _early: set[int] = field(default_factory=set)  # settled before an older one

    def __len__(self) -> int:
        return self.sent - self.base

    @property
    def oldest_sent_at(self) -> float | None:
        return self._waiting[0][2] if self._waiting else None

    @property
    def largest(self) -> int:
        """Bytes of the largest message in the window."""
        return max((size for _, size, _ in self._waiting), default=0)

    def add(self, message_id: int, size: int, now: float) -> int:
        self.sent += 1
        self.size += size
        self._waiting.append((message_id, size, now))
        return self.sent

    def message_id(self, number: int) -> int | None:
        """None: settled before, or never sent."""
        if not self.base < number <= self.sent or number in self._early:
            return None
        return self._waiting[number - self.base - 1][0]

    def settle(self, number: int) -> float | None:
        """One message; when it was sent, or None if it was settled before or never sent."""
        if not self.base < number <= self.sent or number in self._early:
            return None
        sent_at = self._waiting[number - self.base - 1][2]
        self._early.add(number)
        while self.base + 1 in self._early:
            self._early.discard(self.base + 1)
            self._advance()
        return sent_at

    def settle_up_to(self, number: int) -> list[float]:
        """All up to `number`; when each of the newly settled was sent."""
        settled = []
        while self.base < min(number, self.sent):
            if self.base + 1 in self._early:
                self._early.discard(self.base + 1)
            else:
                settled.append(self._waiting[0][2])
            self._advance()
        return settled

    def _advance(self) -> None:
        self.confirmed, size, _ = self._waiting.popleft()
        self.size -= size
        self.base += 1
