"""Runs the hook that a job kind declares for the time after a success is on disk."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker.core.events import Announced, Emit, LoopFailed
from worker.core.outcome import Outcome, Succeeded
from worker.handler import Handler, Registry


@dataclass(slots=True)
class SuccessHooks:
    """Calls `Handler.settled` for jobs whose success is on disk, one after the other, in a thread."""

    registry: Registry
    section_of: Callable[[Handler], Any]
    emit: Emit
    capacity: int = 1000
    """Jobs that may wait for their hook; beyond that, the oldest is dropped."""
    _waiting: deque[tuple[Handler, bytes | None]] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def on_settled(self, kind: str, outcome: Outcome) -> None:
        """Queue the hook of a job that succeeded; jobs of other kinds or outcomes have none."""
        if not isinstance(outcome, Succeeded):
            return
        handler = self.registry.get(kind)
        if handler is None or handler.settled is None:
            return
        if len(self._waiting) >= self.capacity:
            self._waiting.popleft()
        self._waiting.append((handler, outcome.result))
        self._wake.set()

    async def run(self) -> None:
        """Run the queued hooks until cancelled; what a hook raises is emitted as LoopFailed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._run_hook(*self._waiting.popleft())

    async def _run_hook(self, handler: Handler, result: bytes | None) -> None:
        assert handler.settled is not None
        try:
            done = await asyncio.to_thread(handler.settled, result, self.section_of(handler))
            if done is not None:
                self.emit(Announced(done))
        except Exception as exc:  # noqa: BLE001 -- the job has succeeded, whatever its hook does
            self.emit(LoopFailed(f"running the success hook of a job of kind {handler.kind}", exc, 0.0))
