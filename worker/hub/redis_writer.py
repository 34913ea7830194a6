"""Writes for the shared inbox: whatever waits in one step, one batch after the other, and the marks now and then.

Knows no user's clients and no hub but its own.
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

from worker.hub.keeping import Answer, Kept, Limits
from worker.hub.news import News
from worker.hub.scripts import APPEND, MARK

FAULTS: Final = (RedisError, OSError, TimeoutError)
"""What an absent or failing Redis raises."""
_BATCH: Final = 512
_BATCH_BYTES: Final = 1024 * 1024
_BACKLOG_BYTES: Final = 8 * 1024 * 1024
"""Unwritten bytes from which publishers are made to wait."""
_KEPT: Final = Kept()


def seed() -> str:
    """What makes a new epoch unlike any before: scripts have no randomness of their own."""
    return secrets.token_hex(8)


@dataclass(slots=True)
class _Waiting:
    news: News
    done: Answer


class RedisWriter:
    """What one hub has to write. Every method is for the event loop's thread."""

    def __init__(self, redis: Redis, prefix: str, limits: Limits) -> None:
        self._prefix = prefix
        self._limits = limits
        self._append = redis.register_script(APPEND)
        self._mark = redis.register_script(MARK)
        self._waiting: list[_Waiting] = []
        self._unwritten = 0
        self._work = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while nothing waits."""
        self.idle.set()
        self.room = asyncio.Event()
        """Set unless too much waits."""
        self.room.set()
        self._marks: dict[str, int] = {}
        self._marks_due = False

    def append(self, news: News, done: Answer) -> None:
        """Keep it. `done` gets Kept once it is in Redis, None for a repetition, an exception when it may not be."""
        self._waiting.append(_Waiting(news, done))
        self._unwritten += len(news.body)
        if self._unwritten > _BACKLOG_BYTES:
            self.room.clear()
        self._wake()

    def was_read(self, user: str, seq: int) -> None:
        """Up to `seq` has been read by a socket of the user. Written within a second."""
        if seq > self._marks.get(user, 0):
            self._marks[user] = seq

    def forget(self, user: str) -> None:
        """The user's inbox began anew: his mark means nothing there."""
        self._marks.pop(user, None)

    def flush(self) -> None:
        """Write down the marks."""
        if self._marks:
            self._marks_due = True
            self._wake()

    async def run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                await self._write(self._next_batch())
            if self._marks_due:
                self._marks_due = False
                with contextlib.suppress(*FAULTS):
                    await self.save_marks()
            if not self._work.is_set():
                self.idle.set()

    def _next_batch(self) -> list[_Waiting]:
        """What waits, at least one."""
        sizes = itertools.accumulate(len(waiting.news.body) for waiting in self._waiting[:_BATCH])
        count = max(1, sum(1 for size in sizes if size <= _BATCH_BYTES))
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        """All in one step, one line to Redis and one to every hub."""
        limits = self._limits
        arguments: list[Any] = [self._prefix, seed(), limits.messages, int(limits.seconds), int(limits.user_seconds)]
        for waiting in batch:
            news = waiting.news
            arguments += (news.user, news.id or "", news.redelivery, "1" if news.volatile else "0", news.body)
        try:
            answers: Sequence[int | Exception] = await self._append(args=arguments)
        except FAULTS as exc:
            # Whatever waits behind must fail with it: kept now, it would overtake what its publisher sends again.
            batch, self._waiting = batch + self._waiting, []
            answers = [exc] * len(batch)
        self._answer(batch, answers)

    def _answer(self, batch: list[_Waiting], answers: Sequence[int | Exception]) -> None:
        for waiting, answer in zip(batch, answers, strict=True):
            self._unwritten -= len(waiting.news.body)
            if isinstance(answer, Exception):
                waiting.done(answer)
            else:
                waiting.done(None if answer == 0 else _KEPT)
        if self._unwritten <= _BACKLOG_BYTES // 2:
            self.room.set()

    async def save_marks(self) -> None:
        if not self._marks:
            return
        marks, self._marks = self._marks, {}
        arguments: list[Any] = [self._prefix]
        for user, seq in marks.items():
            arguments += (user, seq)
        try:
            await self._mark(args=arguments)
        except BaseException:
            for user, seq in marks.items():
                self.was_read(user, seq)
            raise

    def _wake(self) -> None:
        self._work.set()
        self.idle.clear()
