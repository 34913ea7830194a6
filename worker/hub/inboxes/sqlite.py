"""The users' inboxes in a SQLite file of their own.

One thread owns the connection. All operations go through one queue, and the answers come back to the event loop in the
same order: an operation sees exactly the messages that were appended before it. That lets a client go from its replay
to live delivery without a gap and without a repetition.
Group commit: everything that waits is written in one transaction, without waiting for more.
Knows no client and no protocol.
"""

import asyncio
import contextlib
import functools
import itertools
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from worker.core.clock import Clock
from worker.disk.file_lock import FileLock
from worker.disk.group_commit import GroupCommit
from worker.disk.open_files import OpenFiles
from worker.disk.private_file import require_closed
from worker.disk.room import write_error
from worker.errors import StoreError
from worker.hub.inbox import Answer, InboxLimits, InboxPage, ResumePoint
from worker.hub.inboxes.sqlite_tables import (
    MEMORY,
    AmongRepetitions,
    InboxTables,
    inbox_error,
    inbox_errors,
    open_inbox_file,
)
from worker.hub.messages import Message, StoredMessage

_BATCH: Final = 2048
_BACKLOG_BYTES: Final = 8 * 1024 * 1024
"""Above this many unwritten bytes, publishers have to wait."""


class _Operation(Protocol):
    done: Answer | None

    def apply(self, tables: "InboxTables") -> Any: ...


@dataclass(slots=True)
class _Append:
    message: Message
    failures: int
    """How many failures the event loop knew when this was put."""
    done: Answer | None

    def apply(self, tables: "InboxTables") -> StoredMessage | None:
        return tables.append(self.message)


@dataclass(slots=True)
class _Open:
    user: str
    resume_point: ResumePoint | None
    done: Answer | None

    def apply(self, tables: "InboxTables") -> InboxPage:
        return tables.open(self.user, self.resume_point)


@dataclass(slots=True)
class _ReadPage:
    user: str
    after: int
    done: Answer | None

    def apply(self, tables: "InboxTables") -> InboxPage:
        return tables.page(self.user, self.after, recovered=True)


@dataclass(slots=True)
class _MarkRead:
    positions: dict[tuple[str, str], int]
    done: Answer | None = None

    def apply(self, tables: "InboxTables") -> None:
        tables.mark_read(self.positions)


@dataclass(slots=True)
class _Revoke:
    token_id: str
    done: Answer | None

    def apply(self, tables: "InboxTables") -> None:
        tables.revoke(self.token_id)


@dataclass(slots=True)
class _RevokedTokens:
    done: Answer | None

    def apply(self, tables: "InboxTables") -> list[str]:
        return tables.revoked_tokens()


@dataclass(slots=True)
class _Prune:
    done: Answer | None

    def apply(self, tables: "InboxTables") -> bool:
        return tables.prune()


class SqliteInbox:
    """All users' inboxes. All methods must be called in the event loop's thread."""

    shared = False
    revocations_known = True

    def __init__(self, path: Path | None, clock: Clock, limits: InboxLimits | None = None) -> None:
        """`path` None: in memory only."""
        self._path = path
        self._batches = _InboxBatches(path, clock, limits or InboxLimits(), self._answer)
        self._thread: GroupCommit[_Operation] | None = None
        self._read_positions: dict[tuple[str, str], int] = {}
        """By user and epoch."""
        self._unwritten = 0
        self._failures = 0
        """Appends that the disk did not take, as far as the event loop knows."""
        self._has_capacity = asyncio.Event()
        self._has_capacity.set()

    @property
    def where(self) -> str:
        return MEMORY if self._path is None else str(self._path)

    async def start(self) -> bool:
        """Open or create the file; return whether it was created.

        StoreLocked, StoreFull, StoreUnwritable, StoreCorrupt, SchemaTooNew: it cannot be used.
        """
        self._thread = GroupCommit("hub-inbox", self._batches, _BATCH)
        await self._thread.start()
        return self._batches.created

    async def close(self) -> None:
        """Write what is queued, then close."""
        if self._thread is not None and not self._thread.closed:
            self.flush()
            await self._thread.close()

    def check(self) -> None:
        """Raise StoreReplaced or StoreUnwritable if the file is not the one that was opened, or cannot be written."""
        if self._thread is not None and not self._thread.closed and self._batches.files is not None:
            self._batches.files.verify()

    def _put(self, operation: _Operation) -> None:
        assert self._thread is not None  # started
        self._thread.put(operation)

    def append(self, message: Message, done: Answer) -> None:
        """Store a message. `done` gets StoredMessage once it is on disk, None for a repetition."""
        self._unwritten += len(message.body)
        if self._unwritten > _BACKLOG_BYTES:
            self._has_capacity.clear()
        self._put(_Append(message, self._failures, done))

    async def wait_for_capacity(self) -> None:
        await self._has_capacity.wait()

    def open(self, user: str, resume_point: ResumePoint | None, done: Answer) -> None:
        self.flush()
        self._put(_Open(user, resume_point, done))

    def read(self, user: str, after: int, done: Answer) -> None:
        self._put(_ReadPage(user, after, done))

    def mark_read(self, user: str, position: ResumePoint) -> None:
        """Note that a client of the user has read everything up to there; written with the next `flush`."""
        at = (user, position.epoch)
        self._read_positions[at] = max(position.seq, self._read_positions.get(at, 0))

    def forget(self, user: str) -> None:
        """Do nothing: nothing is kept for users without clients."""

    async def revoke(self, token_id: str) -> None:
        """Store that this token id is revoked; it is on disk when this returns."""
        await self._run(lambda done: _Revoke(token_id, done))

    async def revoked_tokens(self) -> list[str]:
        answer: list[str] = await self._run(_RevokedTokens)
        return answer

    def flush(self) -> None:
        """Queue the read positions, so that later operations see them."""
        if self._read_positions:
            positions, self._read_positions = self._read_positions, {}
            self._put(_MarkRead(positions))

    async def prune(self) -> None:
        """Delete what is too old or too much, in small steps between other operations."""
        while self._thread is not None and not self._thread.closed:
            if not await self._run(_Prune):
                return

    async def _run(self, operation: Callable[[Answer], _Operation]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(operation(functools.partial(_resolve, answer)))
        return await answer

    def _answer(self, answers: list[tuple[_Operation, Any]]) -> None:
        for operation, result in answers:
            if isinstance(operation, _Append):
                self._unwritten -= len(operation.message.body)
                self._failures += _is_of_disk(result)
            if operation.done is not None:
                operation.done(result)
        if self._unwritten <= _BACKLOG_BYTES // 2:
            self._has_capacity.set()


class _InboxBatches:
    """Implements worker.disk.group_commit.BatchWriter: holds the lock on the inbox and its one connection."""

    def __init__(
        self,
        path: Path | None,
        clock: Clock,
        limits: InboxLimits,
        answer: Callable[[list[tuple[_Operation, Any]]], None],
    ) -> None:
        self._path, self._clock, self._limits, self._answer = path, clock, limits, answer
        self._lock: FileLock | None = None
        self.files: OpenFiles | None = None
        """The file and its log, as they were opened; None: in memory, or not open."""
        self._tables: InboxTables
        self._error: Exception | None = None
        """Why the disk did not take an append, until one is put by a caller that knows it."""
        self._failures = 0
        """Appends that failed by themselves or because of an earlier one."""
        self.created = False
        """Whether the file was created by this start."""

    def open(self) -> None:
        with contextlib.ExitStack() as undo:
            if self._path is not None:
                self._lock = _locked(self._path)
                undo.callback(self._unlock)
            with inbox_errors(self._path):
                self._connection, self.created = open_inbox_file(self._path)
                undo.callback(self._connection.close)
                self._tables = InboxTables(self._connection, self._limits, self._clock)
                if self._path is not None and self._lock is not None:
                    self.files = OpenFiles.opened(self._path, self._lock)
            undo.pop_all()

    def write(self, batch: Sequence[_Operation]) -> Callable[[], None]:
        return functools.partial(self._answer, [(one, self._explained(result)) for one, result in self._execute(batch)])

    def _explained(self, result: Any) -> Any:
        """Return an error of the file as one that says what to do. In the thread: it asks the disk, which may hang."""
        if not _is_of_file(result):
            return result
        error = inbox_error(result, self._path)
        error.__cause__ = result
        return error

    def _execute(self, batch: Sequence[_Operation]) -> list[tuple[_Operation, Any]]:
        """Execute all in one transaction; if that fails, each in its own, so that only the cause of the failure fails.

        After an append that the disk did not take, those fail as well that were put before the event loop knew: their
        publishers send all of them again, in order.
        """
        if self._error is None:
            for apply in (self._apply_together, self._apply_in_turn):
                try:
                    with self._tables.transaction():
                        return list(zip(batch, apply(batch), strict=True))
                except AmongRepetitions:
                    continue
                except Exception:  # noqa: BLE001 -- raised again below, for the operation that causes it
                    break
        return [(operation, self._execute_alone(operation)) for operation in batch]

    def _apply_together(self, batch: Sequence[_Operation]) -> list[Any]:
        """Store appends that follow each other by one statement; raises AmongRepetitions."""
        results: list[Any] = []
        for _, group in itertools.groupby(batch, key=lambda one: isinstance(one, _Append)):
            operations = list(group)
            messages = [one.message for one in operations if isinstance(one, _Append)]
            results += self._tables.append_all(messages) if messages else self._apply_in_turn(operations)
        return results

    def _apply_in_turn(self, batch: Sequence[_Operation]) -> list[Any]:
        return [operation.apply(self._tables) for operation in batch]

    def _execute_alone(self, operation: _Operation) -> Any:
        append = operation if isinstance(operation, _Append) else None
        if append is not None and self._error is not None:
            if append.failures < self._failures:
                self._failures += 1
                return self._error
            self._error = None
        try:
            with self._tables.transaction():
                return operation.apply(self._tables)
        except Exception as exc:  # noqa: BLE001 -- every operation gets the error as its answer
            if append is not None and _is_of_disk(exc):
                self._error, self._failures = exc, self._failures + 1
            return exc

    def tidy(self) -> None:
        """Nothing to do between batches."""

    def close(self) -> None:
        # A full disk: the next start continues from an earlier time.
        with contextlib.suppress(sqlite3.Error), self._tables.transaction():
            self._tables.save_time()
        self._connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self.files = None
            self._lock.release()
            self._lock = None


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


def _is_of_disk(result: Any) -> bool:
    """Return whether the operation failed because of the disk, and not because of its own content."""
    if not isinstance(result, Exception):  # nearly always
        return False
    error = result.__cause__ if isinstance(result, StoreError) else result
    return isinstance(error, sqlite3.OperationalError)


def _is_of_file(result: Any) -> bool:
    """Return whether the operation failed because of the disk or of what is in the file."""
    return _is_of_disk(result) or type(result) is sqlite3.DatabaseError


def _locked(path: Path) -> FileLock:
    """Lock the file next to the inbox: two hubs on one inbox would give two messages the same number."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise write_error(exc, path.parent, "give this user the right to create it, or set Hub:InboxPath") from exc
    require_closed(path)
    lock = path.with_name(f"{path.name}.lock")
    return FileLock.acquire(lock, remedy="another hub uses this inbox: stop it, or set Hub:InboxPath")
