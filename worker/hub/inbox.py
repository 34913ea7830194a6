"""The users' inboxes: what they are to get, what they got, durable in a SQLite file of its own.

One thread owns the connection. Everything goes through one FIFO, and the answers come back to the event
loop in the same order: what was asked for before a message was stored does not see it, what was asked for
after it does. That is what lets a client go from its backlog to live without a gap and without a repetition.
Group commit: whatever waits is written in one transaction; no waiting for more.
Knows no socket and no protocol.
"""

import asyncio
import fcntl
import functools
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

from worker.clock import Clock
from worker.errors import StoreLocked, StoreUnwritable
from worker.hub.keeping import Answer, Claim, Limits, Page
from worker.hub.ledger import MEMORY, Ledger, opened_store
from worker.hub.news import News, Stored

_BATCH: Final = 2048
_BACKLOG_BYTES: Final = 8 * 1024 * 1024
"""Unwritten bytes from which publishers are made to wait."""


class _Operation(Protocol):
    done: Answer | None

    def apply(self, ledger: "Ledger") -> Any: ...


@dataclass(slots=True)
class _Append:
    news: News
    at: float
    done: Answer | None

    def apply(self, ledger: "Ledger") -> Stored | None:
        return ledger.append(self.news, self.at)


@dataclass(slots=True)
class _Open:
    user: str
    claim: Claim | None
    done: Answer | None

    def apply(self, ledger: "Ledger") -> Page:
        return ledger.open(self.user, self.claim)


@dataclass(slots=True)
class _Read:
    user: str
    after: int
    done: Answer | None

    def apply(self, ledger: "Ledger") -> Page:
        return ledger.page(self.user, self.after, recovered=True)


@dataclass(slots=True)
class _MarkRead:
    marks: dict[str, int]
    done: Answer | None = None

    def apply(self, ledger: "Ledger") -> None:
        ledger.mark_read(self.marks)


@dataclass(slots=True)
class _Revoke:
    token: str
    at: float
    done: Answer | None

    def apply(self, ledger: "Ledger") -> None:
        ledger.revoke(self.token, self.at)


@dataclass(slots=True)
class _Revoked:
    done: Answer | None

    def apply(self, ledger: "Ledger") -> list[str]:
        return ledger.revoked()


@dataclass(slots=True)
class _Prune:
    now: float
    done: Answer | None

    def apply(self, ledger: "Ledger") -> bool:
        return ledger.prune(self.now)


class Inbox:
    """All users' inboxes. Every method is for the event loop's thread."""

    shared = False

    def __init__(self, path: Path | None, clock: Clock, limits: Limits | None = None) -> None:
        """`path` None: in memory only."""
        self._path = path
        self._clock = clock
        self._limits = limits or Limits()
        self._operations: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._marks: dict[str, int] = {}
        self._unwritten = 0
        self._room = asyncio.Event()
        self._room.set()
        self._thread: threading.Thread | None = None
        self._lock: IO[bytes] | None = None

    @property
    def where(self) -> str:
        return MEMORY if self._path is None else str(self._path)

    async def start(self) -> bool:
        """Open or create the store; whether it was created.

        StoreLocked, StoreUnwritable, StoreCorrupt, SchemaTooNew.
        """
        if self._path is not None:
            self._lock = _locked(self._path)
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[bool] = loop.create_future()
        self._thread = threading.Thread(target=self._serve, args=(loop, opened), name="hub-inbox", daemon=True)
        self._thread.start()
        try:
            return await opened
        except BaseException:
            self._unlock()
            raise

    async def close(self) -> None:
        """Write what waits, then close."""
        if self._thread is None:
            return
        self.flush()
        self._operations.put(None)
        thread, self._thread = self._thread, None
        await asyncio.to_thread(thread.join)
        self._unlock()

    def append(self, news: News, done: Answer) -> None:
        """Put it into its user's inbox. `done` gets the Stored once it is on disk, None for a repetition."""
        self._unwritten += len(news.body)
        if self._unwritten > _BACKLOG_BYTES:
            self._room.clear()
        self._operations.put(_Append(news, self._clock.now(), done))

    async def room(self) -> None:
        """Wait while too much is unwritten: publishers are read no faster than the disk writes."""
        await self._room.wait()

    def open(self, user: str, claim: Claim | None, done: Answer) -> None:
        """The first Page of what the user is to be given: after the claim when it is good, else what no
        socket of the user has ever read."""
        self.flush()
        self._operations.put(_Open(user, claim, done))

    def read(self, user: str, after: int, done: Answer) -> None:
        """The next Page."""
        self._operations.put(_Read(user, after, done))

    def was_read(self, user: str, seq: int) -> None:
        """Up to `seq` has been read by a socket of the user. Rides on the next commit."""
        if seq > self._marks.get(user, 0):
            self._marks[user] = seq

    def forget(self, user: str) -> None:
        """Nothing is held for users who are not there."""

    async def revoke(self, token: str) -> None:
        """Remember that this token id is refused; on disk when this returns."""
        await self._ask(lambda done: _Revoke(token, self._clock.now(), done))

    async def revoked(self) -> list[str]:
        """The token ids that were revoked."""
        answer: list[str] = await self._ask(_Revoked)
        return answer

    def flush(self) -> None:
        """Put down the marks, so that what is asked from now on knows them."""
        if self._marks:
            marks, self._marks = self._marks, {}
            self._operations.put(_MarkRead(marks))

    async def prune(self) -> None:
        """Delete what is too old or too much, in small steps between other work."""
        while self._thread is not None:
            if not await self._ask(lambda done: _Prune(self._clock.now(), done)):
                return

    async def _ask(self, operation: Callable[[Answer], _Operation]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._operations.put(operation(functools.partial(_resolve, answer)))
        return await answer

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _serve(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[bool]") -> None:
        try:
            connection, created = opened_store(self._path)
        except BaseException as exc:  # noqa: BLE001 -- whoever waits for the start must hear of it
            loop.call_soon_threadsafe(_resolve, opened, exc)
            return
        ledger = Ledger(connection, self._limits, self._clock.now)
        loop.call_soon_threadsafe(_resolve, opened, created)
        try:
            while batch := self._next_batch():
                answers = _carry_out(ledger, batch)
                loop.call_soon_threadsafe(self._answer, answers)
        finally:
            connection.close()

    def _next_batch(self) -> list[_Operation]:
        """What waits, at least one; empty when it is time to end."""
        batch: list[_Operation] = []
        operation = self._operations.get()
        while operation is not None:
            batch.append(operation)
            if len(batch) == _BATCH:
                return batch
            try:
                operation = self._operations.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._operations.put(None)
        return batch

    def _answer(self, answers: list[tuple[_Operation, Any]]) -> None:
        for operation, result in answers:
            if isinstance(operation, _Append):
                self._unwritten -= len(operation.news.body)
            if operation.done is not None:
                operation.done(result)
        if self._unwritten <= _BACKLOG_BYTES // 2:
            self._room.set()


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


def _carry_out(ledger: "Ledger", batch: list[_Operation]) -> list[tuple[_Operation, Any]]:
    """All in one transaction; if one of them fails, each in its own, so that only the guilty one does."""
    try:
        with ledger.transaction():
            return [(operation, operation.apply(ledger)) for operation in batch]
    except Exception as exc:  # noqa: BLE001 -- every waiter gets the error as its answer
        if len(batch) == 1:
            return [(batch[0], exc)]
    return [answer for operation in batch for answer in _carry_out(ledger, [operation])]


def _locked(path: Path) -> IO[bytes]:
    """The lock beside the file: two hubs on one inbox would number its messages twice."""
    beside = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    except OSError as exc:
        raise StoreUnwritable(f"{beside}: the hub's inbox cannot be locked ({exc.strerror})") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise StoreLocked(f"{path}: another hub uses this inbox; stop it or set Hub:InboxPath") from None
    return handle
