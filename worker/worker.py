"""The job loop: claim, start, settle, give back. Knows no handler's inside, no socket, no SQL.

attempt  = executor          one timed attempt
outcome  = decide(...)       pure
news     = notification_for  pure
settle   = one transaction for all attempts that ended meanwhile
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from worker.clock import Clock
from worker.errors import StoreFull
from worker.events import (
    Emit,
    IntakeRefused,
    JobRecovered,
    JobSettled,
    JobsReleased,
    JobStarted,
    LoopFailed,
    OwnershipLost,
)
from worker.executor import Executor, Running
from worker.failure import Failure, new_error_id
from worker.job import Job
from worker.notification import Wire, notification_for
from worker.outcome import Attempt, Retry, RetryPolicy, decide, judge
from worker.queue import JobQueue, Settlement

_SOON = 0.02
"""Seconds before the store is asked again for a job that is due, and was not handed out."""


@dataclass(slots=True)
class Worker:
    """Keeps up to `concurrency` attempts under way until it is told to stop."""

    queue: JobQueue
    executor: Executor
    policy: RetryPolicy
    wire: Wire
    clock: Clock
    emit: Emit
    concurrency: int
    pause_on_error: float
    """Seconds before the loop goes on after an unexpected error (WebSocket:TaskDelayOnError)."""
    spread: Callable[[], float] = random.random
    quiet: bool = False
    """Claims nothing new, finishes what runs."""
    _ended: list[Attempt] = field(default_factory=list)
    _given_back: list[Job] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _settle: asyncio.Event = field(default_factory=asyncio.Event)
    _unsettled: int = 0
    _full: bool = False
    _hurried: bool = False

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and run jobs until `stop`; returns when nothing new will be started. Then call `finish`."""
        self.queue.on_work(self._wake.set)
        stopped = asyncio.ensure_future(self._wake_on(stop))
        try:
            while not stop.is_set():
                await self._turn_safely(stop)
        finally:
            stopped.cancel()

    async def run_settling(self) -> None:
        """Settle what ended, all at once, one transaction after the other; runs until cancelled."""
        while True:
            await self._settle.wait()
            self._settle.clear()
            await self._settle_all()

    async def finish(self, seconds: float) -> int:
        """Let what runs end within `seconds`, interrupt the rest and give it back; how many were given back."""
        await self._until_idle(seconds, patient=True)
        self.executor.stop_all()
        await self._until_idle(self.executor.grace + 1.0)
        jobs = tuple(self._given_back)
        if jobs:
            await self.queue.release(jobs)
            self.emit(JobsReleased(jobs))
        return len(jobs)

    def hurry(self) -> None:
        """Do not wait for what runs any longer: a second signal came."""
        self._hurried = True
        self._wake.set()

    async def recover(self) -> None:
        """Before the first claim: settle or give back what a dead service left running."""
        for verdict in judge(await self.queue.orphans(), self.clock.now()):
            job = verdict.job
            if verdict.charged is None:
                await self.queue.release([job], suspect=True)
            else:
                await self.queue.settle([_still_suspect(self._settlement(verdict.charged))])
            self.emit(JobRecovered(verdict))

    def set_quiet(self, quiet: bool) -> None:
        """Quiet: stay alive and finish what runs, but claim nothing (a deploy is coming)."""
        self.quiet = quiet
        self._wake.set()

    def cancel(self, job_id: str) -> bool:
        """Ask a running job to stop; False: it does not run here."""
        return self.executor.cancel(job_id)

    @property
    def running(self) -> int:
        return len(self.executor.running)

    # -- claiming ------------------------------------------------------------------------------------------

    async def _turn_safely(self, stop: asyncio.Event) -> None:
        try:
            await self._turn()
            self._full = False
        except StoreFull as exc:
            if not self._full:
                self.emit(IntakeRefused(str(exc)))
            self._full = True
            await self._pause(stop)
        except Exception as exc:  # noqa: BLE001 -- the loop outlives whatever it meets
            self.emit(LoopFailed("claiming jobs", exc, self.pause_on_error))
            await self._pause(stop)

    async def _turn(self) -> None:
        self._wake.clear()
        free = self._free()
        if free <= 0 or self.quiet:
            await self._wake.wait()
            return
        claimed = await self.queue.claim(free)
        for job in claimed.jobs:
            self.emit(JobStarted(job))
            self.executor.start(job, self._done)
        if len(claimed.jobs) < free:
            await self._wait_for_work(claimed.next_run_at)

    def _free(self) -> int:
        """Slots; what has ended but is not on disk yet counts only when it piles up."""
        running = self.running
        return min(self.concurrency - running, 2 * self.concurrency - running - self._unsettled)

    async def _wait_for_work(self, next_run_at: float | None) -> None:
        # Due, yet not handed out: it fell due since the store was asked, or the clock stepped. Look again soon.
        # An hour at most: the wall clock may be set meanwhile, and a delayed job must not wait for it.
        delay = None if next_run_at is None else min(max(_SOON, next_run_at - self.clock.now()), 3600.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _pause(self, stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.pause_on_error):
                await stop.wait()

    # -- settling ------------------------------------------------------------------------------------------

    def _done(self, running: Running, attempt: Attempt | None) -> None:
        if attempt is None:
            self._given_back.append(running.job)
        else:
            self._ended.append(attempt)
            self._unsettled += 1
            self._settle.set()
        self._wake.set()

    async def _settle_all(self) -> None:
        batch, self._ended = self._ended, []
        if not batch:
            return
        settlements = [self._settlement_anyway(attempt) for attempt in batch]
        while True:
            try:
                written = await self.queue.settle(settlements)
                break
            except Exception as exc:  # noqa: BLE001 -- an ended job waits for its disk as long as it takes
                self.emit(LoopFailed("settling jobs", exc, self.pause_on_error))
                await asyncio.sleep(self.pause_on_error)
        for settlement, ours in zip(settlements, written, strict=True):
            attempt = settlement.attempt
            self.emit(JobSettled(attempt, settlement.outcome) if ours else OwnershipLost(attempt.job))
        self._unsettled -= len(batch)
        self._wake.set()

    def _settlement(self, attempt: Attempt) -> Settlement:
        outcome = decide(attempt, self.policy, self.clock.now(), self.spread())
        return Settlement(attempt, outcome, notification_for(attempt, outcome, self.wire))

    def _settlement_anyway(self, attempt: Attempt) -> Settlement:
        """What one handler returned must not stop the settling of all."""
        try:
            return self._settlement(attempt)
        except Exception as exc:  # noqa: BLE001 -- such as a result that is nested too deep to be sent
            self.emit(LoopFailed(f"wording the end of job {attempt.job.id}", exc, 0.0))
            reason = "The job ended, but its result cannot be told"
            failure = Failure(type(exc).__name__, reason, None, new_error_id(), retryable=False)
            return self._settlement(replace(attempt, result=None, failure=failure))

    async def _until_idle(self, seconds: float, *, patient: bool = False) -> None:
        """Until nothing runs and all is settled, the time is over, or a patient wait is hurried."""
        deadline = self.clock.monotonic() + seconds
        while (self.running or self._unsettled) and (left := deadline - self.clock.monotonic()) > 0:
            if patient and self._hurried:
                return
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()


def _still_suspect(settlement: Settlement) -> Settlement:
    """A job charged with the service's death keeps running alone until it ends in another way."""
    if isinstance(settlement.outcome, Retry):
        return replace(settlement, outcome=replace(settlement.outcome, suspect=True))
    return settlement
