"""A MessageSource that takes from a list and records what is confirmed, as the relay does in the service."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from worker.core.store import OutboxMessage


def message(
    number: int, *, user: str = "user-1", padding: int = 0, event: str = "socket-notification"
) -> OutboxMessage:
    """Return notification `number`, its body shaped as core/notification.py makes it."""
    payload = {"status": "success", "jobId": f"job-{number}", "notificationId": f"note-{number}", "sequence": number}
    if padding:
        payload["stackTrace"] = "ก" * (padding // 3)
    body = orjson.dumps([event, {"success": True, "message": "Task Finish", "payload": payload}, {"userId": user}])
    return OutboxMessage(number, f"note-{number}", f"job-{number}", user, body)


@dataclass
class ListSource:
    """Checks every call against the contract: a watermark that goes back, or a message confirmed before it was taken,
    fails the test at once."""

    messages: list[OutboxMessage] = field(default_factory=list)
    watermark: int = 0
    rejections: dict[int, str] = field(default_factory=dict)
    reports: list[int] = field(default_factory=list)
    rewinds: int = 0
    taken: int = 0
    """Messages handed out, repeats included."""
    _next: int = 0
    _added: asyncio.Event = field(default_factory=asyncio.Event)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _taken_to: int = 0

    def add(self, *messages: OutboxMessage) -> None:
        self.messages.extend(messages)
        self._added.set()

    async def take(self, limit: int) -> Sequence[OutboxMessage]:
        assert limit > 0
        while True:
            while self._next < len(self.messages) and self._settled(self.messages[self._next].id):
                self._next += 1
            if self._next < len(self.messages):
                break
            self._added.clear()
            await self._added.wait()
        found = [m for m in self.messages[self._next : self._next + limit] if not self._settled(m.id)]
        self._next += limit if len(self.messages) - self._next > limit else len(self.messages) - self._next
        self.taken += len(found)
        self._taken_to = max(self._taken_to, found[-1].id)
        return found

    def rewind(self) -> None:
        self.rewinds += 1
        self._next = 0

    def confirmed(self, up_to: int) -> None:
        assert self.watermark < up_to <= self._taken_to, (self.watermark, up_to, self._taken_to)
        self.watermark = up_to
        self.reports.append(up_to)
        self._moved.set()

    def rejected(self, message_id: int, reason: str) -> None:
        assert message_id not in self.rejections
        assert self.watermark < message_id <= self._taken_to
        self.rejections[message_id] = reason
        self._moved.set()

    def _settled(self, message_id: int) -> bool:
        return message_id <= self.watermark or message_id in self.rejections

    async def until(self, up_to: int, seconds: float = 120.0) -> None:
        """Wait until everything up to this id is settled."""
        async with asyncio.timeout(seconds):
            while not self._is_settled_up_to(up_to):
                self._moved.clear()
                await self._moved.wait()

    def _is_settled_up_to(self, up_to: int) -> bool:
        return all(self._settled(m.id) for m in self.messages if m.id <= up_to)
