"""The one thread that writes: callers' operations become one transaction, and all are answered when it is on disk.

Knows transactions, not jobs. It commits at once when it has been idle, and takes along what has gathered meanwhile
when it was not: the busier it is, the more operations share a sync, and nobody ever waits for company.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from worker.errors import StoreCorrupt, StoreError
from worker.queue import OutboxMessage
from worker.queues.sqlite_errors import translated
from worker.queues.sqlite_ledger import Ledger

RIDE_SECONDS = 0.02
"""How long an operation that is in no hurry waits for another to commit with. Seconds."""

_MOST = 2000
"""Rows after which a transaction takes no further operation, so that nobody waits for ever."""

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")
Operation = Callable[[Ledger, Sequence[_Argument]], Sequence[_Answer]]
"""Takes the arguments of all callers of a transaction, answers each in order. Raising undoes it for all of them."""


@dataclass(slots=True, eq=False)
class _Request:
    operation: Operation[Any, Any]
    argument: Any
    future: asyncio.Future[Any]
    undo: Callable[[Any], None] | None
    """What to do with the answer when nobody waits for it any more."""
    turn: int
    weight: int
    in_a_hurry: bool
    answer: Any = None
    error: Exception | None = None


class Writer:
    """Submit in the event loop; the thread ends with `close`."""

    def __init__(
        self,
        path: Path,
        open_ledger: Callable[[], Ledger],
        on_commit: Callable[[bool, Sequence[OutboxMessage]], None],
        on_end: Callable[[], None],
    ) -> None:
        """`open_ledger` and `on_end` are called in the thread; `on_commit` in the event loop, after each transaction:
        may a job have fallen due, which messages are new."""
        self._path = path
        self._open_ledger = open_ledger
        self._on_commit = on_commit
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._waiting = 0
        self._answered = asyncio.Event()
        self.closed = False
        self.fault: StoreCorrupt | None = None
        """What was found damaged while writing."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon: dying in the middle of a transaction is what SQLite is made for, waiting for ever is not.
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._ready: asyncio.Future[None] = self._loop.create_future()

    async def start(self) -> None:
        """Open the ledger in the thread; raises what opening it raised."""
        self._thread.start()
        try:
            await asyncio.shield(self._ready)
        except asyncio.CancelledError:
            self._requests.put(None)
            raise

    def submit(
        self,
        operation: Operation[_Argument, _Answer],
        argument: _Argument,
        *,
        undo: Callable[[_Answer], None] | None = None,
        turn: int = 0,
        weight: int = 1,
        in_a_hurry: bool = True,
    ) -> "asyncio.Future[_Answer]":
        """The future of its answer. Cancelling the future does not take the operation back: it is done all the same,
        and `undo` gets its answer. Within a transaction, operations with a lower `turn` are done first; `weight` is
        how many rows it is about."""
        if self.closed:
            raise StoreError(f"{self._path} is closed")
        future: asyncio.Future[_Answer] = self._loop.create_future()
        self._waiting += 1
        self._requests.put(_Request(operation, argument, future, undo, turn, weight, in_a_hurry))
        return future

    async def close(self) -> None:
        """Write what waits, then end the thread. An answer nobody waited for may submit its undoing meanwhile."""
        while self._waiting:
            self._answered.clear()
            await self._answered.wait()
        if not self.closed:
            self.closed = True
            self._requests.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    # -- in the event loop ---------------------------------------------------------------------------------

    def _deliver(self, requests: Sequence[_Request], work: bool, news: Sequence[OutboxMessage]) -> None:
        for request in requests:
            self._answer(request)
        self._waiting -= len(requests)
        self._answered.set()
        self._on_commit(work, news)

    def _answer(self, request: _Request) -> None:
        future = request.future
        if not future.done():
            if request.error is None:
                future.set_result(request.answer)
            else:
                future.set_exception(request.error)
        elif request.error is None and request.undo is not None:
            request.undo(request.answer)

    # -- in the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            ledger = self._open_ledger()
        except Exception as exc:  # noqa: BLE001 -- raised again where the store is opened
            self._on_end()
            self._tell(self._resolve, self._ready, translated(exc, self._path))
            return
        self._tell(self._resolve, self._ready)
        try:
            while requests := self._gather():
                self._commit(ledger, requests)
                self._tell(self._deliver, requests, *ledger.take_signals())
                ledger.tidy()
        finally:
            ledger.close()
            self._on_end()
            self._tell(self._resolve, self._ended)

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)

    @staticmethod
    def _resolve(future: "asyncio.Future[None]", error: Exception | None = None) -> None:
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def _gather(self) -> list[_Request]:
        """What waits now; at least one. Empty: the end."""
        first = self._requests.get()
        if first is None:
            return []
        requests = [first]
        hurry, weight = first.in_a_hurry, first.weight
        deadline = monotonic() + RIDE_SECONDS
        while weight < _MOST:
            left = 0.0 if hurry else deadline - monotonic()
            try:
                request = self._requests.get(block=left > 0, timeout=max(left, 0.0))
            except queue.Empty:
                break
            if request is None:
                self._requests.put(None)
                break
            requests.append(request)
            hurry = hurry or request.in_a_hurry
            weight += request.weight
        return requests

    def _commit(self, ledger: Ledger, requests: Sequence[_Request]) -> None:
        try:
            ledger.begin()
            self._do(ledger, requests)
            ledger.commit()
        except Exception as exc:  # noqa: BLE001 -- raised again in every caller
            ledger.rollback()
            for request in requests:
                self._fail(request, exc)

    def _do(self, ledger: Ledger, requests: Sequence[_Request]) -> None:
        """All of each kind at once; if that fails, one by one, so that each fails only for itself."""
        try:
            for operation, group in _by_operation(requests):
                answers = operation(ledger, [request.argument for request in group])
                for request, answer in zip(group, answers, strict=True):
                    request.answer = answer
        except Exception:  # noqa: BLE001 -- met again below, by whose it is
            ledger.rollback()
            ledger.begin()
            self._do_one_by_one(ledger, requests)

    def _do_one_by_one(self, ledger: Ledger, requests: Sequence[_Request]) -> None:
        ledger.alone = True
        try:
            for request in sorted(requests, key=lambda request: request.turn):
                self._do_alone(ledger, request)
        finally:
            ledger.alone = False

    def _do_alone(self, ledger: Ledger, request: _Request) -> None:
        try:
            with ledger.savepoint():
                (request.answer,) = request.operation(ledger, [request.argument])
        except Exception as exc:
            if not ledger.connection.in_transaction:
                raise
            self._fail(request, exc)

    def _fail(self, request: _Request, exc: Exception) -> None:
        error = translated(exc, self._path)
        if isinstance(error, StoreCorrupt):
            self.fault = error
        request.answer, request.error = None, error


def _by_operation(requests: Sequence[_Request]) -> list[tuple[Operation[Any, Any], list[_Request]]]:
    """None of them has been answered, so any order is a true one; this one makes the longest statements."""
    groups: dict[tuple[int, Operation[Any, Any]], list[_Request]] = {}
    for request in requests:
        groups.setdefault((request.turn, request.operation), []).append(request)
    return [(operation, group) for (_, operation), group in sorted(groups.items(), key=lambda item: item[0][0])]
