"""Detects a blocked event loop."""

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.core.clock import Clock
from worker.core.events import Emit, HandlerBlocks, LoopBlocked
from worker.runtime.executor import kind_of_task
from worker.runtime.maintenance import sleep_or_stop

_SHORTEST_PAUSE = 1.0
"""Seconds; a busy machine causes shorter ones."""


@dataclass(slots=True)
class LoopWatchdog:
    """The heartbeat of the event loop, and a thread that reports where the loop is when the heartbeat stops."""

    emit: Emit
    clock: Clock
    threshold: float = 0.5
    """Seconds without a heartbeat after which the loop counts as blocked."""
    on_beat: Callable[[float], None] | None = None
    """Called at each heartbeat with the seconds by which it was late."""
    on_pause: Callable[[float], None] | None = None
    """Called in the event loop with the seconds for which the whole process did not run, as after SIGSTOP."""
    last_beat: float = 0.0
    """Monotonic clock; 0: it has not started."""
    _blocking_kinds: set[str] = field(default_factory=set)
    """Kinds whose handlers have blocked the loop before; each is named once."""
    _finished: threading.Event = field(default_factory=threading.Event)

    async def run(self, stop: asyncio.Event) -> None:
        self.last_beat = self.clock.monotonic()
        interval = self.threshold / 5
        loop = asyncio.get_running_loop()
        watcher = threading.Thread(
            target=self._check_heartbeat, args=(loop, threading.get_ident()), name="pulse", daemon=True
        )
        watcher.start()
        try:
            while not stop.is_set():
                before, self.last_beat = self.last_beat, self.clock.monotonic()
                if self.on_beat is not None:
                    self.on_beat(max(0.0, self.last_beat - before - interval))
                await sleep_or_stop(stop, interval)
        finally:
            self._finished.set()

    def _check_heartbeat(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        reported = 0.0
        while not self._wait(loop):
            last = self.last_beat
            late = self.clock.monotonic() - last
            if late < self.threshold or last == reported:
                continue
            reported = last  # once for each block
            frame = sys._current_frames().get(thread_id)
            stack = "".join(traceback.format_stack(frame, limit=6)) if frame else ""
            task = asyncio.current_task(loop)
            name = "" if task is None else task.get_name()
            with contextlib.suppress(RuntimeError):  # the loop may just have been closed
                loop.call_soon_threadsafe(self._report, last, stack, name)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait until the next check; return whether the watchdog has finished. Report a pause of the whole process.

        A wait that took too long while no time of the processor was used was a pause; a handler that holds the
        interpreter's lock uses it.
        """
        began, used = self.clock.monotonic(), time.process_time()
        finished = self._finished.wait(self.threshold / 2)
        lost = self.clock.monotonic() - began - self.threshold / 2
        if lost > _SHORTEST_PAUSE and time.process_time() - used < lost / 2 and self.on_pause is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.on_pause, lost)
        return finished

    def _report(self, since: float, stack: str, task_name: str) -> None:
        """Report the block. Runs in the loop, so that its whole length is known."""
        self.emit(LoopBlocked(self.clock.monotonic() - since, stack))
        kind = kind_of_task(task_name)
        if kind is not None and kind not in self._blocking_kinds:
            self._blocking_kinds.add(kind)
            self.emit(HandlerBlocks(kind))
