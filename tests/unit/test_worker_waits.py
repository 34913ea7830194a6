"""How long the job loop waits for a job that is due later, while the wall clock is set. In simulated time."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.simulation.loop import run_simulated
from tests.support.stores import START
from worker.core.clock import Clock
from worker.core.notification import NotificationFormat
from worker.core.outcome import RetryPolicy
from worker.core.store import ClaimResult, JobStore
from worker.runtime.executor import Executor
from worker.runtime.worker import Worker

DAY = 86400.0


class _Waiting:
    """A store with one job, which is due in a day, and a clock that can be set."""

    def __init__(self) -> None:
        self.monotonic = asyncio.get_running_loop().time
        self.offset = START
        self.claims: list[float] = []
        """When the store was asked (monotonic)."""
        self.due = self.now() + DAY

    def now(self) -> float:
        return self.offset + self.monotonic()

    def on_work(self, _listener: Callable[[], None]) -> None:
        """No other job comes."""

    async def claim(self, _limit: int) -> ClaimResult:
        self.claims.append(self.monotonic())
        return ClaimResult([], self.due)


def _claims(during: Callable[[_Waiting], Awaitable[None]]) -> list[float]:
    """Return after how many seconds a worker asked its store for jobs."""

    async def run() -> list[float]:
        store, stop = _Waiting(), asyncio.Event()
        begun = store.monotonic()
        worker = Worker(
            store=cast("JobStore", store),
            executor=cast("Executor", SimpleNamespace(running=())),
            policy=RetryPolicy(),
            notification_format=NotificationFormat(),
            clock=Clock(store.now, store.monotonic, "boot"),
            emit=lambda _event: None,
            concurrency=1,
            pause_on_error=1.0,
        )
        claiming = asyncio.ensure_future(worker.run(stop))
        await during(store)
        stop.set()
        await claiming
        return [at - begun for at in store.claims]

    return cast("list[float]", run_simulated(cast("Any", run)))


@pytest.mark.parametrize("jump", [DAY, -DAY, 600.0])
def test_store_is_asked_again_as_soon_as_the_wall_clock_was_set(jump: float) -> None:
    async def set_the_clock(store: _Waiting) -> None:
        await asyncio.sleep(10.5)
        store.offset += jump
        store.due = store.now() + DAY  # the job waits on
        await asyncio.sleep(60.0)

    first, second = _claims(set_the_clock)
    assert (first, 10.5 < second <= 12.0) == (0.0, True)


def test_store_is_not_asked_while_a_job_waits_and_the_clock_is_right() -> None:
    async def wait(store: _Waiting) -> None:
        await asyncio.sleep(DAY - 1.0)
        store.due += DAY
        await asyncio.sleep(2.0)

    first, second = _claims(wait)
    assert (first, second) == (0.0, pytest.approx(DAY, abs=1.0))
