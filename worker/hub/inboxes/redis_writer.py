"""Writes to the shared inbox: messages in batches, each in one step, and read positions about once a second.

Knows no clients.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.hub.inbox import AcceptedElsewhere, Answer, InboxLimits, ResumePoint
from worker.hub.inboxes.redis_damage import RedisDamage
from worker.hub.inboxes.redis_scripts import APPEND, MARK
from worker.hub.messages import Message

REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)
"""What is raised when Redis cannot be reached or fails."""
_BATCH: Final = 512
_BATCH_BYTES: Final = 1024 * 1024
_BACKLOG_BYTES: Final = 8 * 1024 * 1024
"""Above this many unwritten bytes, publishers have to wait."""
_ACCEPTED: Final = AcceptedElsewhere()


def epoch_seed() -> str:
    """Return random text that makes a new epoch unique: scripts have no randomness of their own."""
    return secrets.token_hex(8)


@dataclass(slots=True)
class _Waiting:
    message: Message
    done: Answer


class RedisWriter:
    """What one hub has to write. All methods must be called in the event loop's thread."""

    def __init__(self, redis: Redis, prefix: str, limits: InboxLimits, damage: RedisDamage) -> None:
        self._prefix = prefix
        self._damage = damage
        self._limits = limits
        self._append_script = redis.register_script(APPEND)
        self._mark_script = redis.register_script(MARK)
        self._waiting: list[_Waiting] = []
        self._unwritten = 0
        self._work = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while nothing waits."""
        self.idle.set()
        self.has_capacity = asyncio.Event()
        """Set unless too many bytes wait."""
        self.has_capacity.set()
        self._read_positions: dict[str, ResumePoint] = {}
        self._positions_due = False

    def append(self, message: Message, done: Answer) -> None:
        """Store a message. `done` gets AcceptedElsewhere once Redis has it, None for a repetition, or an exception:
        DamagedInbox concerns this user alone."""
        self._waiting.append(_Waiting(message, done))
        self._unwritten += len(message.body)
        if self._unwritten > _BACKLOG_BYTES:
            self.has_capacity.clear()
        self._wake()

    def mark_read(self, user: str, position: ResumePoint) -> None:
        """Note that a client of the user has read everything up to there; written within a second."""
        noted = self._read_positions.get(user)
        if noted is None or noted.epoch != position.epoch or noted.seq < position.seq:
            self._read_positions[user] = position

    def forget(self, user: str) -> None:
        """Drop the user's read position, which means nothing in a new inbox."""
        self._read_positions.pop(user, None)

    def flush(self) -> None:
        """Write the read positions soon."""
        if self._read_positions:
            self._positions_due = True
            self._wake()

    async def run(self) -> None:
        """Write what waits, until cancelled. After an unexpected error it can be called again."""
        while True:
            await self._work.wait()
            while self._waiting or self._positions_due:
                if self._waiting:
                    await self._write(self._next_batch())
                else:
                    self._positions_due = False
                    with contextlib.suppress(*REDIS_ERRORS):
                        await self.save_read_positions()
            self._work.clear()
            self.idle.set()

    def _next_batch(self) -> list[_Waiting]:
        """Return what waits, at least one message."""
        sizes = itertools.accumulate(len(waiting.message.body) for waiting in self._waiting[:_BATCH])
        count = max(1, sum(1 for size in sizes if size <= _BATCH_BYTES))
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        """Write the batch by one script call, which publishes it to every hub."""
        limits = self._limits
        arguments: list[Any] = [
            self._prefix,
            epoch_seed(),
            limits.messages,
            int(limits.seconds),
            int(limits.user_seconds),
        ]
        for waiting in batch:
            message = waiting.message
            volatile = "1" if message.volatile else "0"
            arguments += (message.user, message.id or "", message.redelivery, volatile, message.body)
        try:
            answers: Sequence[int | bytes | Exception] = await self._append_script(args=arguments)
        except Exception as exc:  # noqa: BLE001 -- any error: publishers must not wait indefinitely
            # What waits behind must fail too: stored now, it would overtake what its publisher sends again.
            batch, self._waiting = batch + self._waiting, []
            answers = [exc] * len(batch)
        self._answer(batch, answers)

    def _answer(self, batch: list[_Waiting], answers: Sequence[int | bytes | Exception]) -> None:
        for waiting, answer in zip(batch, answers, strict=True):
            self._unwritten -= len(waiting.message.body)
            if isinstance(answer, Exception):
                waiting.done(answer)
            elif isinstance(answer, bytes):
                waiting.done(self._damage.report_user(waiting.message.user, answer.decode(errors="replace")))
            else:
                if answer > 0:
                    self._damage.on_stored(waiting.message.user)
                waiting.done(None if answer == 0 else _ACCEPTED)
        if self._unwritten <= _BACKLOG_BYTES // 2:
            self.has_capacity.set()

    async def save_read_positions(self) -> None:
        """Write the read positions now. After a Redis error they are written later; of damaged inboxes never."""
        if not self._read_positions:
            return
        positions, self._read_positions = self._read_positions, {}
        arguments: list[Any] = [self._prefix]
        for user, position in positions.items():
            arguments += (user, position.epoch, position.seq)
        try:
            damaged: Sequence[bytes] = await self._mark_script(args=arguments)
        except BaseException:
            for user, position in positions.items():
                self._read_positions.setdefault(user, position)
            raise
        for name, fault in zip(damaged[::2], damaged[1::2], strict=True):
            self._damage.report_user(name.decode(), fault.decode(errors="replace"))

    def _wake(self) -> None:
        self._work.set()
        self.idle.clear()
