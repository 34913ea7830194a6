"""Share the turns of the event loop among clients that have not proven who they are (CWE-400)."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

_PER_TURN: Final = 8


class LoopShare:
    """Lets a few of them go on in one turn of the loop; the others wait in order.

    Their number bounds how long one turn takes, whatever many clients send at once. It takes nothing from what they
    get in all: a loop that has nothing else to do turns at once.
    """

    __slots__ = ("_going_on", "_per_turn", "_scheduled", "_waiting")

    def __init__(self, per_turn: int = _PER_TURN) -> None:
        self._per_turn = per_turn
        self._going_on = 0
        self._scheduled = False
        self._waiting: deque[Callable[[], bool]] = deque()

    async def turn(self) -> None:
        """Return once it is the caller's turn. It is to work for a millisecond at most, then to ask again."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call(lambda: _wake(waiter))
        if not waiter.done():
            await waiter

    def call(self, work: Callable[[], bool]) -> None:
        """Call `work` once it is its turn, at once if it is; it returns False if there was nothing left to do."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        if self._going_on < self._per_turn and not self._waiting:
            self._going_on += work()
        else:
            self._waiting.append(work)

    def _next_turn(self) -> None:
        self._going_on = 0
        try:
            while self._waiting and self._going_on < self._per_turn:
                self._going_on += self._waiting.popleft()()
        finally:
            # Also after an exception, which is one client's: the others go on.
            self._scheduled = bool(self._waiting)
            if self._scheduled:
                asyncio.get_running_loop().call_soon(self._next_turn)


def _wake(waiter: asyncio.Future[None]) -> bool:
    if waiter.done():
        return False
    waiter.set_result(None)
    return True
