"""An event loop whose time passes only when nothing is left to do, and which does the same again for the same seed."""

import asyncio
import contextvars
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

_START = 1000.0
"""Where the monotonic clock begins."""

current_process: contextvars.ContextVar["SimulatedProcess | None"] = contextvars.ContextVar("process", default=None)


class Deadlock(Exception):
    """Nothing is left to do, and nothing will ever happen."""


class _Task(asyncio.Task[Any]):
    """A task with a place of its own in sets, whatever its address is: sets of tasks are cancelled in their order."""

    _numbers = itertools.count()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._number = next(self._numbers)
        super().__init__(*arguments, **named)

    def __hash__(self) -> int:
        return self._number


class SimulatedProcess:
    """The tasks of one process, which can be killed: none of them has an effect after that."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_alive = True
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def run(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a task of this process; the tasks that it starts belong to the process as well."""
        token = current_process.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            current_process.reset(token)

    def add(self, task: "asyncio.Task[Any]") -> None:
        self._tasks[task] = None
        task.add_done_callback(self._remove)

    def _remove(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # seen: a process that is killed reports nothing

    async def kill(self) -> None:
        """End every task. What they still do while they end must not reach the world: shims look at `is_alive`."""
        self.is_alive = False
        own = asyncio.current_task()
        while tasks := [task for task in self._tasks if task is not own]:
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)


class _Selector:
    """Passes the time instead of waiting for sockets."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        if timeout > 0:
            self._loop.advance(timeout)
        return []

    def close(self) -> None:
        """Nothing was opened."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Has no sockets and no threads."""

    def __init__(self) -> None:
        super().__init__()
        self._now = _START
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self.set_task_factory(_new_task)

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nothing waits for sockets."""


def _new_task(loop: asyncio.AbstractEventLoop, work: Any, **named: Any) -> "asyncio.Task[Any]":
    task = _Task(work, loop=loop, **named)
    process = current_process.get()
    if process is not None:
        process.add(task)
    return task


def run_simulated(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in a loop of its own; raises Deadlock if it can never end."""
    loop = SimulatedLoop()
    _Task._numbers = itertools.count()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
