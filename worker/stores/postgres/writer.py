"""The store's writer: callers' operations become one transaction, and all are answered when it is on the server's disk.

An idle writer commits at once; a busy one takes along what was submitted while it was busy. While the server is away
it waits and repeats the transaction; one whose commit was not answered is looked up before, so that nothing is done
twice.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

from worker.core.store import OutboxMessage
from worker.disk.group_commit import IDLE_SECONDS, SOON_SECONDS, Urgency
from worker.errors import StoreError
from worker.stores.postgres.database import Connection
from worker.stores.postgres.errors import is_conflict, is_outage, translate
from worker.stores.postgres.transaction import Mark, WriteTransaction

_MOST = 2000
"""Rows after which a transaction takes no further operation, so that the wait for an answer has a bound."""
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to reach a server that is away; the last one repeats."""
_MOST_CONFLICTS = 10
"""Times that a transaction is repeated because of others that ran at the same time."""
_MOST_LOSSES = 2
"""Times that a transaction may lose its connection, with the server there again at once, without a report of it."""
_CLOSE_SECONDS = 10.0
"""How long `close` waits for a server that is away."""

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")
Operation = Callable[[WriteTransaction, Sequence[_Argument]], Awaitable[Sequence[_Answer]]]
"""Takes the arguments of all callers of a transaction, answers each in order. Raising undoes it for all of them."""


@dataclass(slots=True, eq=False)
class _Request:
    operation: Operation[Any, Any]
    argument: Any
    future: asyncio.Future[Any]
    undo: Callable[[Any], None] | None
    turn: int
    weight: int
    patience: float | None
    """Seconds that the caller waits for a server that is away; None: for as long as it takes."""
    due_at: float
    since: float
    answer: Any = None
    error: Exception | None = None


class InDoubtError(Exception):
    """The connection was lost while the commit was on its way."""

    def __init__(self, mark: Mark | None) -> None:
        super().__init__(mark)
        self.mark = mark


@dataclass(slots=True)
class Writer:
    """Submit in the event loop; the task ends with `close`."""

    transaction: WriteTransaction
    connect: Callable[[], Awaitable[Connection]]
    """Opens a connection to a store that may have been away; raises what asyncpg raises."""
    on_commit: Callable[[bool, Sequence[OutboxMessage]], None]
    on_outage: Callable[[str | None], None]
    """Called once with the reason when the server is lost, and once with None when it is back."""
    shown: str
    closed: bool = False
    _now: deque[_Request] = field(default_factory=deque)
    _soon: deque[_Request] = field(default_factory=deque)
    _idle: deque[_Request] = field(default_factory=deque)
    _submitted: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: int = 0
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    _task: "asyncio.Task[None] | None" = None
    _is_away: bool = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store-writer")

    def submit(
        self,
        operation: Operation[_Argument, _Answer],
        argument: _Argument,
        *,
        undo: Callable[[_Answer], None] | None = None,
        turn: int = 0,
        weight: int = 1,
        urgency: Urgency = "now",
        patience: float | None = None,
    ) -> "asyncio.Future[_Answer]":
        """Queue an operation; return the future of its answer.

        Cancelling the future does not cancel the operation: it is carried out, and `undo` gets its answer. Within a
        transaction, operations with a lower `turn` are carried out first. `weight` is the number of rows it is about.
        Raises StoreError after `close`.
        """
        if self.closed:
            raise StoreError(f"{self.shown} is closed")
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        now = monotonic()
        wait = {"now": 0.0, "soon": SOON_SECONDS, "idle": IDLE_SECONDS}[urgency]
        # positional: the parameters of a statement
        request = _Request(operation, argument, future, undo, turn, weight, patience, now + wait, now)
        {"now": self._now, "soon": self._soon, "idle": self._idle}[urgency].append(request)
        self._waiting += 1
        self._submitted.set()
        return future

    async def close(self) -> None:
        """Write what is queued, then end. Until then an `undo` may still submit operations."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS if self._is_away else None):
                while self._waiting:
                    self._answered.clear()
                    await self._answered.wait()
        self.closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for request in (*self._now, *self._soon, *self._idle):
            if not request.future.done():
                request.future.set_exception(StoreError(f"{self.shown} is closed"))
        with contextlib.suppress(Exception):
            await self.transaction.connection.close(timeout=2.0)

    # -- batches -------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            batch = await self._next_batch()
            await self._write(batch)
            self._deliver(batch)

    async def _next_batch(self) -> list[_Request]:
        while True:
            now = monotonic()
            if self._idle and self._idle[0].due_at <= now:
                return [self._idle.popleft()]
            if self._now or (self._soon and self._soon[0].due_at <= now):
                return self._gathered()
            if self._idle and not self._soon:
                return [self._idle.popleft()]
            self._submitted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._soon[0].due_at - now if self._soon else None):
                    await self._submitted.wait()

    def _gathered(self) -> list[_Request]:
        batch: list[_Request] = []
        weight = 0
        while (self._now or self._soon) and weight < _MOST:
            request = (self._now or self._soon).popleft()
            batch.append(request)
            weight += request.weight
        return batch

    def _deliver(self, batch: Sequence[_Request]) -> None:
        """Answer the callers, then the listeners."""
        for request in batch:
            _answer(request)
        self._waiting -= len(batch)
        self._answered.set()
        self.on_commit(*self.transaction.take_signals())

    # -- transactions --------------------------------------------------------------------------------------

    async def _write(self, batch: Sequence[_Request]) -> None:
        """Commit the batch, however often the connection is lost in between."""
        doubt: InDoubtError | None = None
        failures = 0
        # Also when no caller waits any more: the counts must know whether the transaction in doubt was committed.
        while (requests := [request for request in batch if request.error is None]) or doubt is not None:
            try:
                if doubt is not None:
                    if await self._is_committed(doubt.mark):
                        self.transaction.committed()
                        break
                    self.transaction.rolled_back()
                    doubt = None
                    continue
                await self._commit(requests)
                break
            except InDoubtError as exc:
                doubt = exc
                await self._reconnect(requests)
            except Exception as exc:  # noqa: BLE001 -- raised again in the callers
                failures += 1
                if doubt is None or not is_outage(exc):
                    self.transaction.rolled_back()
                    doubt = None
                await self._after_error(requests, exc, failures)
        self._report_back()

    async def _after_error(self, requests: Sequence[_Request], exc: Exception, failures: int) -> None:
        """Make the connection usable again; fail the callers unless another attempt may succeed."""
        if is_outage(exc):
            if failures > _MOST_LOSSES:  # it accepts connections, but does not do what is asked
                self._report(str(exc) or type(exc).__name__)
            self._fail_impatient(requests, exc)
            await asyncio.sleep(min(0.05 * (failures - 1), 1.0))
            await self._reconnect(requests)
            return
        if not is_conflict(exc) or failures > _MOST_CONFLICTS:
            self._fail_all(requests, exc)
        try:
            await self._roll_back()
        except Exception:  # noqa: BLE001 -- whatever is wrong with the connection, a new one is free of it
            await self._reconnect(requests)

    async def _commit(self, requests: Sequence[_Request]) -> None:
        transaction = self.transaction
        await transaction.begin()
        await self._do(requests)
        mark = await transaction.flush()
        try:
            await transaction.connection.execute("COMMIT")
        except Exception as exc:
            if is_outage(exc):
                raise InDoubtError(mark) from exc
            raise
        transaction.committed()

    async def _do(self, requests: Sequence[_Request]) -> None:
        """All requests for the same operation at once; if that fails, one by one, so that only the faulty one fails."""
        try:
            for operation, group in _by_operation(requests):
                answers = await operation(self.transaction, [request.argument for request in group])
                for request, answer in zip(group, answers, strict=True):
                    request.answer = answer
        except Exception as exc:
            if is_outage(exc) or is_conflict(exc):
                raise
            self.transaction.rolled_back()
            await self._roll_back()
            await self.transaction.begin()
            for request in sorted(requests, key=lambda request: request.turn):
                await self._do_alone(request)

    async def _do_alone(self, request: _Request) -> None:
        try:
            async with self.transaction.savepoint():
                (request.answer,) = await request.operation(self.transaction, [request.argument])
        except Exception as exc:
            if is_outage(exc) or is_conflict(exc):
                raise
            self._fail_all([request], exc)

    async def _roll_back(self) -> None:
        await self.transaction.connection.execute("ROLLBACK")

    async def _is_committed(self, mark: Mark | None) -> bool:
        """Return whether the transaction in doubt was committed; one that wrote nothing may be repeated."""
        if mark is None:
            return False
        while True:
            if await self.transaction.is_ended(mark):
                return await self.transaction.is_committed(mark)
            await asyncio.sleep(_PAUSES[0])

    # -- a server that is away -----------------------------------------------------------------------------

    async def _reconnect(self, requests: Sequence[_Request]) -> None:
        """Return when there is a new connection; fail the requests whose callers do not wait that long."""
        pauses = iter(_PAUSES)
        pause = _PAUSES[-1]
        while True:
            with contextlib.suppress(Exception):
                self.transaction.connection.terminate()
            try:
                self.transaction.reconnected(await self.connect())
                break
            except Exception as exc:  # noqa: BLE001 -- a password that was changed, for one, may be put right
                self._report(str(exc))
                self._fail_impatient(requests, exc)
            pause = next(pauses, pause)
            await asyncio.sleep(pause)

    def _report(self, reason: str) -> None:
        if not self._is_away:
            self._is_away = True
            self.on_outage(reason)

    def _report_back(self) -> None:
        if self._is_away:
            self._is_away = False
            self.on_outage(None)

    def _fail_impatient(self, requests: Sequence[_Request], exc: Exception) -> None:
        now = monotonic()
        late = [
            request
            for request in (*requests, *self._now)
            if request.patience is not None and request.error is None and now - request.since > request.patience
        ]
        self._fail_all(late, exc)
        for request in late:
            if request in self._now:
                self._now.remove(request)
                self._waiting -= 1
            _answer(request)

    def _fail_all(self, requests: Sequence[_Request], exc: Exception) -> None:
        for request in requests:
            request.answer, request.error = None, translate(exc, self.shown)


def _answer(request: _Request) -> None:
    future = request.future
    if not future.done():
        if request.error is None:
            future.set_result(request.answer)
        else:
            future.set_exception(request.error)
    elif request.error is None and request.undo is not None:
        request.undo(request.answer)


def _by_operation(requests: Sequence[_Request]) -> list[tuple[Operation[Any, Any], list[_Request]]]:
    """Group the requests by operation, which makes the longest statements.

    None of them has been answered yet, so their callers cannot tell the order.
    """
    groups: dict[tuple[int, Operation[Any, Any]], list[_Request]] = {}
    for request in requests:
        groups.setdefault((request.turn, request.operation), []).append(request)
    return [(operation, group) for (_, operation), group in sorted(groups.items(), key=lambda item: item[0][0])]
