"""Carries out the faults of a run, several at a time, but one on each part."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.chaos.plan import CLUSTER_KILLS, KILLS, Strike

Fault = Callable[[Strike], Awaitable[bool]]
"""Returns whether there was anything to hit."""


class FaultRunner:
    """Runs faults, at most one at a time on each part."""

    def __init__(self, faults: dict[str, tuple[str, Fault]]) -> None:
        """`faults`: the part and the fault by name; the strike chooses {worker} and {hub} of a part."""
        self._faults = faults
        self._running: set[asyncio.Task[None]] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self.done: Counter[str] = Counter()
        self.errors: list[BaseException] = []

    @property
    def kills(self) -> int:
        return sum(self.done[fault] for fault in (*KILLS, *CLUSTER_KILLS))

    def strike(self, strike: Strike) -> None:
        """Begin the fault; it waits for an earlier one on the same part."""
        part, fault = self._faults[strike.fault]
        lock = self._locks.setdefault(part.format(worker=strike.worker, hub=strike.worker % 2), asyncio.Lock())
        task = asyncio.create_task(self._run(strike, lock, fault))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def wait(self, most: int = 0) -> None:
        """Wait until at most so many faults are under way."""
        while len(self._running) > most:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    async def _run(self, strike: Strike, lock: asyncio.Lock, fault: Fault) -> None:
        try:
            async with lock:
                self.done[strike.fault] += await fault(strike)
        except Exception as exc:
            print(f"{strike.fault}: {exc!r}", flush=True)
            self.errors.append(exc)


async def after(action: Awaitable[None]) -> bool:
    await action
    return True


async def pause(processes: list[int], seconds: float) -> bool:
    """Suspend the processes for so long, in this order; they go on in the reverse one."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    for process in reversed(processes):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
    return bool(processes)
