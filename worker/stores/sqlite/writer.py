"""The store's writer: callers' operations become one transaction, and all are answered when it is on disk.

It knows transactions, not jobs. An idle writer commits at once; a busy one takes along what was submitted while it was
busy. So the busier it is, the more operations share a sync, and no caller ever waits for others to come.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from worker.core.store import OutboxMessage
from worker.disk.group_commit import GroupCommit, Urgency
from worker.errors import StoreCorrupt, StoreError
from worker.stores.sqlite.errors import translate
from worker.stores.sqlite.transaction import WriteTransaction

_MOST = 2000
"""Rows after which a transaction takes no further operation, so that the wait for an answer has a bound."""

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")
Operation = Callable[[WriteTransaction, Sequence[_Argument]], Sequence[_Answer]]
"""Takes the arguments of all callers of a transaction, answers each in order. Raising undoes it for all of them."""


@dataclass(slots=True, eq=False)
class _Request:
    operation: Operation[Any, Any]
    argument: Any
    future: asyncio.Future[Any]
    undo: Callable[[Any], None] | None
    """What to do with the answer when the caller no longer waits for it."""
    turn: int
    answer: Any = None
    error: Exception | None = None


class Writer:
    """Submit in the event loop; the thread ends with `close`."""

    def __init__(
        self,
        path: Path,
        open_transaction: Callable[[], WriteTransaction],
        on_commit: Callable[[bool, Sequence[OutboxMessage]], None],
        on_end: Callable[[], None],
    ) -> None:
        """`open_transaction` and `on_end` are called in the thread; `on_commit` in the event loop, after each
        transaction, with whether a job may have become due and with the new messages."""
        self._path = path
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._batches = _Batches(path, open_transaction, self._deliver, on_end)
        self._thread = GroupCommit("store-writer", self._batches, _MOST)
        self._waiting = 0
        self._answered = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._thread.closed

    @property
    def fault(self) -> StoreCorrupt | None:
        """The damage that was found while writing, if any."""
        return self._batches.fault

    async def start(self) -> None:
        """Open the store's file in the thread; raises what opening it raised."""
        await self._thread.start()

    def submit(
        self,
        operation: Operation[_Argument, _Answer],
        argument: _Argument,
        *,
        undo: Callable[[_Answer], None] | None = None,
        turn: int = 0,
        weight: int = 1,
        urgency: Urgency = "now",
    ) -> "asyncio.Future[_Answer]":
        """Queue an operation; return the future of its answer.

        Cancelling the future does not cancel the operation: it is carried out, and `undo` gets its answer. Within a
        transaction, operations with a lower `turn` are carried out first. `weight` is the number of rows it is about.
        Raises StoreError after `close`.
        """
        if self.closed:
            raise StoreError(f"{self._path} is closed")
        future: asyncio.Future[_Answer] = self._loop.create_future()
        self._waiting += 1
        self._thread.put(_Request(operation, argument, future, undo, turn), weight=weight, urgency=urgency)
        return future

    async def close(self) -> None:
        """Write what is queued, then end the thread. Until then an `undo` may still submit operations."""
        while self._waiting:
            self._answered.clear()
            await self._answered.wait()
        await self._thread.close()

    def _deliver(self, requests: Sequence[_Request], work: bool, messages: Sequence[OutboxMessage]) -> None:
        """Answer the callers; in the event loop."""
        for request in requests:
            _answer(request)
        self._waiting -= len(requests)
        self._answered.set()
        self._on_commit(work, messages)


def _answer(request: _Request) -> None:
    future = request.future
    if not future.done():
        if request.error is None:
            future.set_result(request.answer)
        else:
            future.set_exception(request.error)
    elif request.error is None and request.undo is not None:
        request.undo(request.answer)


class _Batches:
    """Implements worker.disk.group_commit.BatchWriter: a batch of requests is one transaction."""

    def __init__(
        self,
        path: Path,
        open_transaction: Callable[[], WriteTransaction],
        deliver: Callable[[Sequence[_Request], bool, Sequence[OutboxMessage]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._path = path
        self._open_transaction = open_transaction
        self._deliver = deliver
        self._on_end = on_end
        self._transaction: WriteTransaction
        self.fault: StoreCorrupt | None = None

    def open(self) -> None:
        try:
            self._transaction = self._open_transaction()
        except Exception as exc:
            self._on_end()
            known = translate(exc, self._path)
            if known is exc:
                raise
            raise known from exc

    def write(self, batch: Sequence[_Request]) -> Callable[[], None]:
        self._commit(self._transaction, batch)
        return partial(self._deliver, batch, *self._transaction.take_signals())

    def tidy(self) -> None:
        self._transaction.tidy()

    def close(self) -> None:
        self._transaction.close()
        self._on_end()

    def _commit(self, transaction: WriteTransaction, requests: Sequence[_Request]) -> None:
        try:
            transaction.begin()
            self._do(transaction, requests)
            transaction.commit()
        except Exception as exc:  # noqa: BLE001 -- raised again in each caller
            transaction.rollback()
            for request in requests:
                self._fail(request, exc)

    def _do(self, transaction: WriteTransaction, requests: Sequence[_Request]) -> None:
        """All requests for the same operation at once; if that fails, one by one, so that only the faulty one fails."""
        try:
            for operation, group in _by_operation(requests):
                answers = operation(transaction, [request.argument for request in group])
                for request, answer in zip(group, answers, strict=True):
                    request.answer = answer
        except Exception:  # noqa: BLE001 -- raised again below, for the request that causes it
            transaction.rollback()
            transaction.begin()
            self._do_one_by_one(transaction, requests)

    def _do_one_by_one(self, transaction: WriteTransaction, requests: Sequence[_Request]) -> None:
        transaction.one_by_one = True
        try:
            for request in sorted(requests, key=lambda request: request.turn):
                self._do_alone(transaction, request)
        finally:
            transaction.one_by_one = False

    def _do_alone(self, transaction: WriteTransaction, request: _Request) -> None:
        try:
            with transaction.savepoint():
                (request.answer,) = request.operation(transaction, [request.argument])
        except Exception as exc:
            if not transaction.connection.in_transaction:
                raise
            self._fail(request, exc)

    def _fail(self, request: _Request, exc: Exception) -> None:
        error = translate(exc, self._path)
        if isinstance(error, StoreCorrupt):
            self.fault = error
        request.answer, request.error = None, error


def _by_operation(requests: Sequence[_Request]) -> list[tuple[Operation[Any, Any], list[_Request]]]:
    """Group the requests by operation, which makes the longest statements.

    None of them has been answered yet, so their callers cannot tell the order.
    """
    groups: dict[tuple[int, Operation[Any, Any]], list[_Request]] = {}
    for request in requests:
        groups.setdefault((request.turn, request.operation), []).append(request)
    return [(operation, group) for (_, operation), group in sorted(groups.items(), key=lambda item: item[0][0])]
