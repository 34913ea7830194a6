"""The job loop: claims jobs, starts attempts, settles them, and releases what a shutdown interrupts.

The executor runs and times each attempt. `decide` and `notification_for` are pure: they turn the attempt into an
outcome and a notification. All attempts that ended in the meantime are settled in one transaction.
"""

import asyncio
import contextlib
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from config.link_settings import WebSocketSettings
from config.settings import WorkerSettings
from worker.core.clock import Clock
from worker.core.events import (
    Emit,
    IntakeRefused,
    JobRecovered,
    JobSettled,
    JobsReleased,
    JobStarted,
    LoopFailed,
    OwnershipLost,
    Warned,
)
from worker.core.failure import Failure, new_error_id
from worker.core.job import Job
from worker.core.loop_failures import LoopFailures
from worker.core.notification import NotificationFormat, notification_for
from worker.core.outcome import Attempt, Outcome, Retry, RetryPolicy, decide, decide_recovery
from worker.core.store import JobStore, Settlement
from worker.errors import StoreFull
from worker.runtime.executor import Executor
from worker.runtime.from_settings import error_pause, notification_format, retry_policy
from worker.runtime.maintenance import sleep_or_stop
from worker.runtime.running_attempt import RunningAttempt
from worker.runtime.shortage import ShortageLimiter
from worker.runtime.work_wait import wait_for_work

_SHORT_JOB = 0.02
"""Seconds; while jobs take less than this on average, further ones are claimed before slots are free."""
_MAX_WAIT_FOR_SLOT = 1.0
"""Seconds after which jobs that were claimed ahead and found no slot are released."""


OnSettled = Callable[[Attempt, Outcome], None]


@dataclass(slots=True)
class Worker:
    """Keeps up to `concurrency` attempts running until the stop."""

    store: JobStore
    executor: Executor
    policy: RetryPolicy
    notification_format: NotificationFormat
    clock: Clock
    emit: Emit
    concurrency: int
    pause_on_error: float
    """Seconds before the loop goes on after an unexpected error (WebSocket:TaskDelayOnError)."""
    on_settled: OnSettled = lambda _attempt, _outcome: None
    """Called for each attempt whose outcome is on disk; must not block."""
    jitter: Callable[[], float] = random.random
    quiet: bool = False
    """Claims no new jobs and finishes the running ones."""
    _unsettled_attempts: list[Attempt] = field(default_factory=list)
    _released: list[Job] = field(default_factory=list)
    _not_started: list[Job] = field(default_factory=list)
    """Jobs to release at once, because the system could not start them."""
    shortage: ShortageLimiter = field(init=False)
    settling: LoopFailures = field(init=False)
    _claimed_ahead: deque[Job] = field(default_factory=deque)
    """Claimed jobs that wait for a slot."""
    _mean_seconds: float = math.inf
    """Moving average of the seconds a job takes."""
    _last_start: float = 0.0
    """When an attempt was last started (monotonic)."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a slot may be free, or the store may have work."""
    _has_work: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the store may have work."""
    _settle: asyncio.Event = field(default_factory=asyncio.Event)
    _unsettled_count: int = 0
    _is_store_full: bool = False
    _is_forced: bool = False
    _claiming: LoopFailures = field(init=False)
    _releasing: LoopFailures = field(init=False)

    def __post_init__(self) -> None:
        self._claiming = LoopFailures("claiming jobs", self.emit)
        self.settling = LoopFailures("settling jobs", self.emit)
        self._releasing = LoopFailures("releasing jobs that could not start", self.emit)
        self.shortage = ShortageLimiter(self.clock, self.emit, self._on_resume, self.concurrency)

    @classmethod
    def from_settings(
        cls,
        settings: WorkerSettings,
        web_socket: WebSocketSettings,
        *,
        store: JobStore,
        executor: Executor,
        clock: Clock,
        emit: Emit,
        on_settled: OnSettled,
    ) -> "Worker":
        """Return a worker that runs `Worker:Concurrency` jobs at once."""
        return cls(
            store=store,
            executor=executor,
            policy=retry_policy(settings),
            notification_format=notification_format(web_socket),
            clock=clock,
            emit=emit,
            concurrency=settings.concurrency,
            pause_on_error=error_pause(web_socket),
            on_settled=on_settled,
        )

    def apply(self, settings: WorkerSettings, web_socket: WebSocketSettings) -> None:
        """Use other settings for attempts that end from now on. `resize` changes the concurrency."""
        self.policy = retry_policy(settings)
        self.notification_format = notification_format(web_socket)
        self.pause_on_error = error_pause(web_socket)

    async def run(self, stop: asyncio.Event) -> None:
        """Claim and run jobs until `stop`; returns when nothing new will be started. Then call `finish`."""
        self.store.on_work(self._look_for_work)
        stopped = asyncio.ensure_future(self._wake_at_stop(stop))
        try:
            while not stop.is_set():
                await self._claim_safely(stop)
        finally:
            stopped.cancel()

    async def run_settling(self) -> None:
        """Settle ended attempts, all at once, one transaction after the other; runs until cancelled."""
        while True:
            await self._settle.wait()
            self._settle.clear()
            await self._settle_all()

    async def finish(self, seconds: float) -> int:
        """Wait up to `seconds` for running jobs, interrupt and release the rest; return how many were released."""
        self._released.extend((*self._claimed_ahead, *self._not_started))
        self._claimed_ahead.clear()
        self._not_started.clear()
        await self._until_idle(seconds, forcible=True)
        self.executor.stop_all()
        await self._until_idle(self.executor.grace + 1.0)
        if jobs := tuple(self._released):
            try:
                await self.store.release(jobs)
                self.emit(JobsReleased(jobs))
            except StoreFull as exc:
                self.emit(Warned(f"{len(jobs)} jobs are not released: {exc}; the next start takes them over"))
                return 0
        return len(jobs)

    def force_stop(self) -> None:
        """Stop waiting for running jobs, as after a second signal."""
        self._is_forced = True
        self._wake.set()

    async def recover(self, *, after_forced_stop: bool = False) -> None:
        """Settle or release the jobs that a dead service left running. Must be called before the first claim.

        A forced stop is not a crash: its jobs are released like those of any stop, and none is suspected.
        """
        orphans = await self.store.orphans()
        if after_forced_stop:
            if orphans:
                await self.store.release(orphans)
                self.emit(JobsReleased(tuple(orphans)))
            return
        for decision in decide_recovery(orphans, self.clock.now(), self.clock.boot, self.executor.placement_of):
            job = decision.job
            if decision.charged is None:
                await self.store.release([job], suspect=decision.suspect, crashed=decision.crashed)
            else:
                settlement = _keep_suspect(self._settlement(decision.charged))
                if (await self.store.settle([settlement]))[0]:
                    self._report_settled(settlement.attempt, settlement.outcome)
            self.emit(JobRecovered(decision))

    def set_quiet(self, quiet: bool) -> None:
        """Finish running jobs but claim no new ones (before a deployment, for example), or claim again."""
        self.quiet = quiet
        self._look_for_work()

    def resize(self, concurrency: int) -> None:
        """Change how many jobs run at once: new slots are filled at once, surplus jobs finish first."""
        self.concurrency = concurrency
        self.shortage.resize(concurrency)
        self._on_resume()

    def _on_resume(self) -> None:
        """Go on when there are more slots than before."""
        self._start_claimed()
        self._wake.set()

    def cancel(self, job_id: str) -> bool:
        """Ask a running job to stop; return False when it does not run here."""
        for job in self._claimed_ahead:
            if job.id == job_id:
                self._claimed_ahead.remove(job)
                self.executor.start(job._replace(cancel_requested=True), self._on_attempt_end)  # ends at once
                return True
        return self.executor.cancel(job_id)

    @property
    def running(self) -> int:
        return len(self.executor.running)

    # -- claiming ------------------------------------------------------------------------------------------

    async def _claim_safely(self, stop: asyncio.Event) -> None:
        try:
            await self._claim_and_start()
        except StoreFull as exc:
            if not self._is_store_full:
                self.emit(IntakeRefused(str(exc)))
            self._is_store_full, self._claiming.error = True, exc
            await sleep_or_stop(stop, self.pause_on_error)
        except Exception as exc:  # noqa: BLE001 -- the loop survives any error
            self._claiming.failed(exc, self.pause_on_error)
            await sleep_or_stop(stop, self.pause_on_error)

    async def _claim_and_start(self) -> None:
        self._wake.clear()
        wanted = self._claim_size()
        if wanted <= 0 or self.quiet:
            await self._wait_for_slot()
            return
        self._has_work.clear()
        claimed = await self.store.claim(wanted)
        self._is_store_full = False
        self._claiming.succeeded()
        self._claimed_ahead.extend(claimed.jobs)
        self._start_claimed()
        if len(claimed.jobs) == wanted:
            return
        if self._claimed_ahead:
            await self._wait_for_slot()
        else:
            # Not for a free slot: the store had nothing more, and says when that changes.
            await wait_for_work(self._has_work, claimed.next_run_at, self.clock)

    def _claim_size(self) -> int:
        """Return how many jobs to claim. Ended attempts that are not settled yet count only when many wait.

        While jobs are short, a second set is claimed ahead: the writer thread commits one set while the loop runs the
        other. Long jobs are claimed only when a slot is free.
        """
        held, slots = self.running + len(self._claimed_ahead), self.shortage.slots
        most = 2 * slots if self._mean_seconds < _SHORT_JOB else slots
        wanted = min(most, most + slots - self._unsettled_count) - held
        # In larger portions: each claim costs a transaction, however few jobs it returns.
        return wanted if held < slots or wanted >= slots // 2 else 0

    def _start_claimed(self) -> None:
        """Start claimed jobs while there are free slots."""
        while self._claimed_ahead and self.running < self.shortage.slots:
            job = self._claimed_ahead.popleft()
            self._last_start = self.clock.monotonic()
            self.emit(JobStarted(job))
            self.executor.start(job, self._on_attempt_end)

    async def _wait_for_slot(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MAX_WAIT_FOR_SLOT if self._claimed_ahead else None):
                await self._wake.wait()
        if self._claimed_ahead and self.clock.monotonic() - self._last_start > _MAX_WAIT_FOR_SLOT:
            # Long jobs have taken all slots, and a waiting job must not be shown as running.
            stale = list(self._claimed_ahead)
            self._claimed_ahead.clear()
            self._mean_seconds = math.inf
            await self.store.release(stale)

    async def _wake_at_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._look_for_work()

    def _look_for_work(self) -> None:
        self._has_work.set()
        self._wake.set()

    # -- settling ------------------------------------------------------------------------------------------

    def _on_attempt_end(self, running: RunningAttempt, attempt: Attempt | None) -> None:
        if running.shortage:
            self._not_started.append(running.job)
            self.shortage.on_shortage(running.job, running.shortage, self.running)
            self._settle.set()
        elif attempt is None:
            self._released.append(running.job)
        else:
            self.shortage.on_end()
            self._unsettled_attempts.append(attempt)
            self._unsettled_count += 1
            self._settle.set()
        self._start_claimed()
        self._wake.set()

    async def _settle_all(self) -> None:
        await self._release_not_started()
        batch, self._unsettled_attempts = self._unsettled_attempts, []
        if not batch:
            return
        settlements = [self._settlement_or_failure(attempt) for attempt in batch]
        while True:
            try:
                written = await self.store.settle(settlements)
                self.settling.succeeded()
                break
            except Exception as exc:  # noqa: BLE001 -- an ended job waits until it can be written
                self.settling.failed(exc, self.pause_on_error)
                await asyncio.sleep(self.pause_on_error)
        for settlement, ours in zip(settlements, written, strict=True):
            attempt = settlement.attempt
            if not ours:
                self.emit(OwnershipLost(attempt.job))
                continue
            self._report_settled(attempt, settlement.outcome)
            self.emit(JobSettled(attempt, settlement.outcome))
        self._unsettled_count -= len(batch)
        self._update_mean_seconds(batch)
        self._wake.set()

    async def _release_not_started(self) -> None:
        jobs, self._not_started = self._not_started, []
        if not jobs:
            return
        try:
            await self.store.release(jobs)
            self._releasing.succeeded()
        except Exception as exc:  # noqa: BLE001 -- they are released with the next ones, or at the stop
            self._not_started.extend(jobs)
            self._releasing.failed(exc, self.pause_on_error)
            asyncio.get_running_loop().call_later(self.pause_on_error, self._settle.set)

    def _report_settled(self, attempt: Attempt, outcome: Outcome) -> None:
        try:
            self.on_settled(attempt, outcome)
        except Exception as exc:  # noqa: BLE001 -- the outcome is on disk; the other attempts are settled all the same
            self.emit(LoopFailed(f"handling the end of job {attempt.job.id}", exc, 0.0))

    def _update_mean_seconds(self, batch: Sequence[Attempt]) -> None:
        mean = sum(attempt.duration_ms for attempt in batch) / len(batch) / 1000
        self._mean_seconds = mean if self._mean_seconds == math.inf else 0.8 * self._mean_seconds + 0.2 * mean

    def _settlement(self, attempt: Attempt) -> Settlement:
        outcome = decide(attempt, self.policy, self.clock.now(), self.jitter())
        return Settlement(attempt, outcome, notification_for(attempt, outcome, self.notification_format))

    def _settlement_or_failure(self, attempt: Attempt) -> Settlement:
        """Return the settlement; a result that cannot be encoded becomes a failure, so that the others are settled."""
        try:
            return self._settlement(attempt)
        except Exception as exc:  # noqa: BLE001 -- such as a result that is nested too deeply
            self.emit(LoopFailed(f"encoding the notification of job {attempt.job.id}", exc, 0.0))
            reason = "The job ended, but its result cannot be encoded"
            failure = Failure(type(exc).__name__, reason, None, new_error_id(), retryable=False)
            return self._settlement(attempt._replace(result=None, failure=failure))

    async def _until_idle(self, seconds: float, *, forcible: bool = False) -> None:
        """Wait until nothing runs and all is settled, or `seconds` are over, or a forcible wait is forced to end."""
        deadline = self.clock.monotonic() + seconds
        while (self.running or self._unsettled_count) and not (forcible and self._is_forced):
            if (left := deadline - self.clock.monotonic()) <= 0:
                return
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()


def _keep_suspect(settlement: Settlement) -> Settlement:
    """Keep a job that was charged with a crash isolated until it ends in another way."""
    outcome = settlement.outcome
    return settlement._replace(outcome=replace(outcome, suspect=True)) if isinstance(outcome, Retry) else settlement
