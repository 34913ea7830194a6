"""The job loop: claim, start, settle, give back. Knows no handler's inside, no socket, no SQL.

attempt  = executor          one timed attempt
outcome  = decide(...)       pure
news     = notification_for  pure
settle   = one transaction for all attempts that ended meanwhile
"""

import asyncio
import contextlib
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
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

_SHORT = 0.02
"""Seconds: while jobs take less than this on average, the next ones are claimed before the slots are free."""
_STALE = 1.0
"""Seconds after which jobs that were claimed ahead and found no slot are given back."""
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
    _ahead: deque[Job] = field(default_factory=deque)
    """Claimed, and waiting for a slot."""
    _pace: float = math.inf
    """Seconds a job takes, on average, as the last ones did."""
    _moved: float = 0.0
    """When a slot was last filled (monotonic)."""
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
        self._given_back.extend(self._ahead)
        self._ahead.clear()
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

    def resize(self, concurrency: int) -> None:
        """Run so many at once from now on: free slots are filled at once, a surplus finishes first."""
        self.concurrency = concurrency
        self._fill()
        self._wake.set()

    def cancel(self, job_id: str) -> bool:
        """Ask a running job to stop; False: it does not run here."""
        for job in self._ahead:
            if job.id == job_id:
                self._ahead.remove(job)
                self.executor.start(job._replace(cancel_requested=True), self._done)  # ends at once
                return True
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
        wanted = self._wanted()
        if wanted <= 0 or self.quiet:
            await self._wait_for_a_slot()
            return
        claimed = await self.queue.claim(wanted)
        self._ahead.extend(claimed.jobs)
        self._fill()
        if len(claimed.jobs) < wanted:
            await self._wait_for_work(claimed.next_run_at)

    def _wanted(self) -> int:
        """How many to claim. What has ended but is not on disk yet counts only when it piles up.

        While jobs are short a second set is claimed ahead: the writer thread commits the one while the loop
        runs the other. Long jobs are claimed when a slot is free, and not before.
        """
        held = self.running + len(self._ahead)
        most = 2 * self.concurrency if self._pace < _SHORT else self.concurrency
        wanted = min(most, most + self.concurrency - self._unsettled) - held
        # Not in driblets: a claim costs a transaction, however few it is for.
        return wanted if held < self.concurrency or wanted >= self.concurrency // 2 else 0

    def _fill(self) -> None:
        """Start what was claimed, as far as there are slots."""
        while self._ahead and self.running < self.concurrency:
            job = self._ahead.popleft()
            self._moved = self.clock.monotonic()
            self.emit(JobStarted(job))
            self.executor.start(job, self._done)

    async def _wait_for_a_slot(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STALE if self._ahead else None):
                await self._wake.wait()
        if self._ahead and self.clock.monotonic() - self._moved > _STALE:
            # Long jobs have taken all slots: nobody should look as if it ran.
            stale = list(self._ahead)
            self._ahead.clear()
            self._pace = math.inf
            await self.queue.release(stale)

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
        self._fill()
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
        self._note_pace(batch)
        self._wake.set()

    def _note_pace(self, batch: Sequence[Attempt]) -> None:
        mean = sum(attempt.duration_ms for attempt in batch) / len(batch) / 1000
        self._pace = mean if self._pace == math.inf else 0.8 * self._pace + 0.2 * mean

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
            return self._settlement(attempt._replace(result=None, failure=failure))

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
        return settlement._replace(outcome=replace(settlement.outcome, suspect=True))
    return settlement
