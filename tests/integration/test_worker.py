"""The job loop on the real store, with real handlers."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.attempts import Bench, a_bench
from tests.support.event_collector import EventCollector
from tests.support.eventually import eventually
from tests.support.sqlite_store import Gate, a_new_job, a_store, submitted
from worker.core.clock import Clock
from worker.core.events import (
    HandlerAbandoned,
    IntakeRefused,
    JobRecovered,
    JobSettled,
    JobsReleased,
    JobStarted,
    LoopFailed,
    OwnershipLost,
    Warned,
)
from worker.core.job import JobState
from worker.core.notification import NotificationFormat
from worker.core.outcome import Attempt, CancelledOutcome, Failed, Outcome, Retry, RetryPolicy, Succeeded
from worker.errors import StoreFull
from worker.runtime.worker import Worker
from worker.stores.sqlite.store import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with a_store(tmp_path) as store:
        yield store


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@dataclass
class Working:
    worker: Worker
    collector: EventCollector
    bench: Bench
    stop: asyncio.Event
    claiming: "asyncio.Task[None]"

    async def finish(self, seconds: float = 10.0) -> int:
        """As the service does it: claim nothing more, then let it end."""
        self.stop.set()
        await self.claiming
        return await self.worker.finish(seconds)

    def settled(self) -> list[JobSettled]:
        return self.collector.of(JobSettled)


@contextlib.asynccontextmanager
async def working(queue: Any, *, recover: bool = False, **options: Any) -> AsyncIterator[Working]:
    collector, stop = EventCollector(), asyncio.Event()
    async with a_bench(grace=0.05, **options.pop("executor", {})) as bench:
        bench.executor.emit = collector
        known: dict[str, Any] = {
            "policy": RetryPolicy(base=0.01, cap=0.02),
            "notification_format": NotificationFormat(),
            "clock": Clock(),
            "concurrency": 4,
            "pause_on_error": 0.01,
        }
        worker = Worker(store=queue, executor=bench.executor, emit=collector, **known | options)
        if recover:
            await worker.recover()
        settling = asyncio.ensure_future(worker.run_settling())
        claiming = asyncio.ensure_future(worker.run(stop))
        try:
            yield Working(worker, collector, bench, stop, claiming)
        finally:
            stop.set()
            await claiming
            worker.force_stop()
            await worker.finish(0)
            settling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await settling


async def outbox(store: SqliteStore) -> list[dict[str, Any]]:
    return [orjson.loads(message.body)[1]["payload"] for message in await store.pending(0, 1000)]


# -- running jobs ----------------------------------------------------------------------------------------------


async def test_worker_runs_settles_and_notifies_every_job_once(store: SqliteStore) -> None:
    async with working(store) as work:
        early = await submitted(store, *(a_new_job("echo", {"text": str(n)}) for n in range(30)))
        late = await submitted(store, *(a_new_job("echo") for _ in range(30)))
        await work.collector.until(JobSettled, 60)
    records = [await store.get(job_id) for job_id in early + late]
    assert {record.state for record in records if record} == {JobState.SUCCEEDED}
    assert {record.attempt for record in records if record} == {1}
    news = await outbox(store)
    assert {reported["jobId"] for reported in news} == set(early + late)
    assert [reported["sequence"] for reported in news] == list(range(1, 61))


async def test_worker_asks_the_store_once_for_each_job_that_comes_alone(store: SqliteStore) -> None:
    """The end of a job frees a slot, but the store had no other job: to ask again would delay what is written next."""
    gate = Gate(store, "claim")
    async with working(gate) as work:
        await gate.reached.wait()
        for number in range(1, 6):
            await submitted(store, a_new_job("echo"))
            await work.collector.until(JobSettled, number)
    assert len(gate.calls) == 1 + 5


async def test_worker_runs_at_most_as_many_jobs_as_it_has_slots(store: SqliteStore) -> None:
    await submitted(store, *(a_new_job("waits", {"seconds": 0.01}) for _ in range(20)))
    most = 0
    async with working(store, concurrency=3) as work:

        def watch() -> bool:
            nonlocal most
            most = max(most, work.worker.running)
            return len(work.settled()) == 20

        await work.collector.when(watch)
    assert most == 3


async def test_attempts_that_end_during_a_settlement_are_settled_in_one_batch(store: SqliteStore) -> None:
    gate = Gate(store, "settle")
    gate.open.clear()
    async with working(gate, concurrency=10) as work:
        await submitted(store, a_new_job("echo"))
        await gate.reached.wait()
        await submitted(store, *(a_new_job("echo") for _ in range(9)))
        await work.collector.when(lambda: len(work.collector.of(JobStarted)) == 10)
        await eventually(lambda: work.worker.running == 0)
        gate.open.set()
        await work.collector.until(JobSettled, 10)
    assert [len(settlements) for (settlements,) in gate.calls] == [1, 9]


async def test_worker_claims_no_more_while_many_ended_attempts_are_unsettled(store: SqliteStore) -> None:
    gate = Gate(store, "settle")
    gate.open.clear()
    async with working(gate, concurrency=2) as work:
        await submitted(store, *(a_new_job("echo") for _ in range(20)))
        await work.collector.when(lambda: len(work.collector.of(JobStarted)) == 4)
        await eventually(lambda: work.worker.running == 0)
        assert len(work.collector.of(JobStarted)) == 4
        gate.open.set()
        await work.collector.until(JobSettled, 20)


# -- claiming ahead, while jobs are short ----------------------------------------------------------------------


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let no pause of a busy machine make a job long, or a job that was claimed ahead wait for too long."""
    monkeypatch.setattr("worker.runtime.worker._SHORT_JOB", 10.0)
    monkeypatch.setattr("worker.runtime.worker._MAX_WAIT_FOR_SLOT", 600.0)
    return monkeypatch


@contextlib.asynccontextmanager
async def with_jobs_claimed_ahead(store: SqliteStore, mark: Path) -> AsyncIterator[tuple[Working, list[str]]]:
    """Two slots that had short jobs are held by long ones, and two more jobs have been claimed for them."""
    async with working(store, concurrency=2) as work:
        await submitted(store, *(a_new_job("echo") for _ in range(4)))
        await work.collector.until(JobSettled, 4)
        long = await submitted(store, *(a_new_job("waits", {"mark": f"{mark}{n}"}) for n in range(4)))
        await work.collector.until(JobStarted, 6)
        await eventually(lambda: len(work.worker._claimed_ahead) == 2)
        yield work, long


@pytest.mark.usefixtures("patience")
async def test_jobs_claimed_ahead_are_released_uncounted_at_a_stop(store: SqliteStore, mark: Path) -> None:
    async with with_jobs_claimed_ahead(store, mark) as (work, long):
        work.worker.force_stop()
        assert await work.finish() == 4
        records = [await store.get(job_id) for job_id in long]
    assert [(record.state, record.attempt) for record in records if record] == [(JobState.QUEUED, 0)] * 4
    assert len(work.collector.of(JobStarted)) == 6


@pytest.mark.usefixtures("patience")
async def test_stop_on_a_full_disk_leaves_the_jobs_to_the_next_start(
    store: SqliteStore, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(_jobs: object) -> None:
        raise StoreFull("the disk is full")

    async with with_jobs_claimed_ahead(store, mark) as (work, _):
        work.worker.force_stop()
        with monkeypatch.context() as patched:
            patched.setattr(store, "release", no_room)
            assert await work.finish() == 0
    [warned] = work.collector.of(Warned)
    assert warned.text == "4 jobs are not released: the disk is full; the next start takes them over"


@pytest.mark.usefixtures("patience")
async def test_cancel_of_a_job_claimed_ahead_ends_it_before_it_starts(store: SqliteStore, mark: Path) -> None:
    async with with_jobs_claimed_ahead(store, mark) as (work, long):
        assert work.worker.cancel(long[3])
        await work.collector.until(JobSettled, 5)
        last = work.settled()[-1]
        assert last.attempt.job.id == long[3]
        assert isinstance(last.outcome, CancelledOutcome)
        assert not Path(f"{mark}3").exists()


async def test_jobs_claimed_ahead_of_long_jobs_are_released(
    store: SqliteStore, mark: Path, patience: pytest.MonkeyPatch
) -> None:
    async with with_jobs_claimed_ahead(store, mark) as (work, long):
        patience.setattr("worker.runtime.worker._MAX_WAIT_FOR_SLOT", 0.2)
        work.worker.set_quiet(False)  # begins another wait
        await eventually(lambda: not work.worker._claimed_ahead)
        async with asyncio.timeout(30):
            while (record := await store.get(long[3])) is None or record.state is not JobState.QUEUED:
                await asyncio.sleep(0.01)
        assert record.attempt == 0


async def test_failed_job_is_retried_and_notified_only_at_its_end(store: SqliteStore) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("broken", {"text": "no luck"}, max_attempts=3))
        await work.collector.when(lambda: any(isinstance(event.outcome, Failed) for event in work.settled()))
    assert [(type(event.outcome), event.attempt.job.attempt) for event in work.settled()] == [
        (Retry, 1),
        (Retry, 2),
        (Failed, 3),
    ]
    [reported] = await outbox(store)
    assert (reported["jobId"], reported["attempt"], reported["error"]) == (job_id, 3, "ValueError: no luck")
    record = await store.get(job_id)
    assert record is not None
    assert (record.state, record.error_id) == (JobState.FAILED, reported["errorId"])


async def test_retry_waits_for_its_backoff(store: SqliteStore) -> None:
    async with working(store, policy=RetryPolicy(base=0.2, jitter=0.0)) as work:
        await submitted(store, a_new_job("broken", max_attempts=2))
        first, second = await work.collector.until(JobStarted, 2)
        [settled] = work.settled()
    assert isinstance(settled.outcome, Retry)
    assert settled.outcome.run_at - settled.attempt.finished_at >= 0.2
    assert (first.job.attempt, second.job.attempt) == (1, 2)


async def test_job_that_falls_due_during_a_claim_is_claimed_soon(store: SqliteStore, mark: Path) -> None:
    """The worker's clock is ahead of the store's, as it is by the time the answer comes."""
    ahead = Clock(now=lambda: Clock().now() + 60)
    async with working(store, clock=ahead) as work:
        await submitted(store, a_new_job("waits", {"mark": str(mark)}))
        await eventually(mark.exists)
        await submitted(store, a_new_job("echo", run_at=Clock().now() + 0.1))
        [settled] = await work.collector.until(JobSettled)
        assert settled.attempt.job.kind == "echo"


async def test_result_that_cannot_be_encoded_fails_only_its_own_job(store: SqliteStore) -> None:
    async with working(store, notification_format=NotificationFormat(include_result=True)) as work:
        deep, plain = await submitted(store, a_new_job("too-deep"), a_new_job("echo"))
        await work.collector.until(JobSettled, 2)
        await work.finish()
    records = {job_id: await store.get(job_id) for job_id in (deep, plain)}
    assert {job_id: record.state for job_id, record in records.items() if record} == {
        deep: JobState.FAILED,
        plain: JobState.SUCCEEDED,
    }
    [failed] = work.collector.of(LoopFailed)
    assert deep in failed.where
    assert len(await outbox(store)) == 2


# -- cancelling ------------------------------------------------------------------------------------------------


async def test_cancel_of_a_running_job_ends_and_notifies_it(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("waits", {"mark": str(mark)}))
        await eventually(mark.exists)
        assert work.worker.cancel(job_id)
        [settled] = await work.collector.until(JobSettled)
    assert isinstance(settled.outcome, CancelledOutcome)
    [reported] = await outbox(store)
    assert (reported["error"], reported["status"]) == ("Cancelled", "failed")
    assert not work.worker.cancel(job_id)


async def test_handler_that_does_not_end_is_abandoned_and_its_slot_is_free(
    store: SqliteStore, mark: Path, tmp_path: Path
) -> None:
    async with working(store, concurrency=1) as work:
        [job_id] = await submitted(store, a_new_job("deaf", {"mark": str(mark), "text": str(tmp_path / "release")}))
        await eventually(mark.exists)
        work.worker.cancel(job_id)
        await work.collector.until(HandlerAbandoned)
        await submitted(store, a_new_job("echo"))
        cancelled, after = await work.collector.until(JobSettled, 2)
        (tmp_path / "release").touch()
    assert isinstance(cancelled.outcome, CancelledOutcome)
    assert isinstance(after.outcome, Succeeded)


# -- after a crash ---------------------------------------------------------------------------------------------


async def crashed(folder: Path, *jobs: Any) -> None:
    """A service that died while it ran these."""
    async with a_store(folder) as store:
        if jobs:
            await store.enqueue(jobs)
        assert (await store.claim(10)).jobs


async def crashed_again(store: SqliteStore, bench_options: Any = None) -> None:
    """Recover in a new service, and let it claim all jobs and die."""
    async with working(store, recover=True, executor=bench_options or {}) as work:
        work.worker.set_quiet(True)
        await work.finish()
    await store.claim(10)


async def test_jobs_after_one_crash_run_side_by_side_and_are_not_charged(tmp_path: Path) -> None:
    await crashed(tmp_path, *(a_new_job("waits", {"seconds": 0.2}) for _ in range(4)))
    running: list[int] = []
    async with a_store(tmp_path) as store, working(store, recover=True) as work:

        def all_settled() -> bool:
            running.append(work.worker.running)
            return len(work.settled()) == 4

        await work.collector.when(all_settled)
    assert [event.decision.charged for event in work.collector.of(JobRecovered)] == [None] * 4
    assert max(running) == 4
    assert {(event.attempt.job.attempt, event.attempt.job.suspect) for event in work.settled()} == {(1, False)}


async def test_job_in_progress_at_two_crashes_runs_in_a_child_next_to_the_others(tmp_path: Path) -> None:
    job = a_new_job("pid")
    await crashed(tmp_path, job)
    async with a_store(tmp_path) as store:
        await crashed_again(store)
    async with a_store(tmp_path) as store, working(store, recover=True) as work:
        other = a_new_job("pid")
        await submitted(store, other)
        await work.collector.until(JobSettled, 2)
        pids = {record.id: orjson.loads(record.result or b"0") for record in await store.get_many([job.id, other.id])}
    assert pids[other.id] == os.getpid()
    assert pids[job.id] != os.getpid()
    assert {event.attempt.job.attempt for event in work.settled()} == {1}


async def test_outside_kills_never_fail_a_job_that_a_child_can_run(tmp_path: Path) -> None:
    jobs = [a_new_job("pid", max_attempts=1), a_new_job("pid", max_attempts=1)]
    await crashed(tmp_path, *jobs)
    for _ in range(20):
        async with a_store(tmp_path) as store:
            await crashed_again(store)
    async with a_store(tmp_path) as store, working(store, recover=True) as work:
        await work.collector.until(JobSettled, 2)
        assert {record.state for record in await store.get_many([job.id for job in jobs])} == {JobState.SUCCEEDED}


async def test_job_that_no_child_can_run_runs_alone_after_two_crashes_and_is_charged(tmp_path: Path) -> None:
    poison = a_new_job("only-here", max_attempts=3)
    attempts: list[tuple[int, JobState]] = []
    await crashed(tmp_path, poison)
    async with a_store(tmp_path) as store:
        await crashed_again(store)
    for _ in range(4):
        async with a_store(tmp_path) as store, working(store, recover=True, concurrency=1) as work:
            work.worker.set_quiet(True)
            record = await store.get(poison.id)
            assert record is not None
            attempts.append((record.attempt, record.state))
            await work.finish()
            if record.state is JobState.QUEUED:  # it runs, and takes the service down once more
                await eventually(lambda record=record: Clock().now() >= record.run_at)  # type: ignore[misc]  # mypy infers no default
                [job] = (await store.claim(10)).jobs
                assert job.suspect
    queued = JobState.QUEUED
    assert attempts == [(0, queued), (1, queued), (2, queued), (3, JobState.FAILED)]
    async with a_store(tmp_path) as store:
        [reported] = await outbox(store)
    assert (reported["attempt"], reported["error"]) == (3, "The service ended while this job was running")


async def test_recover_reports_a_job_that_it_fails_as_settled(tmp_path: Path) -> None:
    poison = a_new_job("only-here", max_attempts=1)
    await crashed(tmp_path, poison)
    async with a_store(tmp_path) as store:
        await store.release(await store.orphans(), suspect=True)
        await store.claim(1)
    settled: list[tuple[str, type]] = []
    async with (
        a_store(tmp_path) as store,
        working(
            store,
            recover=True,
            on_settled=lambda attempt, outcome: settled.append((attempt.job.id, type(outcome))),
        ),
    ):
        assert settled == [(poison.id, Failed)]


async def test_on_settled_that_raises_is_reported_and_the_other_jobs_are_settled(store: SqliteStore) -> None:
    ended: list[str] = []

    def on_settled(attempt: Attempt, _outcome: Outcome) -> None:
        ended.append(attempt.job.id)
        if len(ended) == 1:
            raise OSError("no luck")

    async with working(store, on_settled=on_settled) as work:
        ids = await submitted(store, *(a_new_job("echo") for _ in range(3)))
        await work.collector.until(JobSettled, 3)
    assert sorted(ended) == sorted(ids)
    [failure] = work.collector.of(LoopFailed)
    assert (failure.where, str(failure.error)) == (f"handling the end of job {ended[0]}", "no luck")


async def test_result_of_a_job_with_another_owner_is_discarded(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("finishes-anyway", {"mark": str(mark)}))
        await eventually(mark.exists)
        work.worker.set_quiet(True)
        [started] = work.collector.of(JobStarted)
        await store.release([])  # a claim that was under way is over now; in one transaction it comes after a release
        await store.release([started.job])
        work.worker.cancel(job_id)
        await work.collector.until(OwnershipLost)
        assert work.settled() == []
    record = await store.get(job_id)
    assert record is not None
    assert (record.state, record.attempt) == (JobState.QUEUED, 0)


# -- stopping --------------------------------------------------------------------------------------------------


async def test_job_that_exceeds_the_shutdown_timeout_is_released_uncounted(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("waits", {"mark": str(mark)}))
        await eventually(mark.exists)
        assert await work.finish(0.02) == 1
        [released] = work.collector.of(JobsReleased)
        assert [job.id for job in released.jobs] == [job_id]
        record = await store.get(job_id)
        assert record is not None
        assert (record.state, record.attempt) == (JobState.QUEUED, 0)
        assert await outbox(store) == []
        [again] = (await store.claim(1)).jobs
        assert (again.attempt, again.suspect) == (1, False)


async def test_thread_that_does_not_end_does_not_delay_the_stop(store: SqliteStore, mark: Path, tmp_path: Path) -> None:
    async with working(store) as work:
        await submitted(store, a_new_job("deaf", {"mark": str(mark), "text": str(tmp_path / "release")}))
        await eventually(mark.exists)
        async with asyncio.timeout(30):
            assert await work.finish(0.02) == 1
        (tmp_path / "release").touch()


async def test_job_that_ends_within_the_shutdown_timeout_is_settled(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        [job_id] = await submitted(store, a_new_job("waits", {"seconds": 0.1, "mark": str(mark)}))
        await eventually(mark.exists)
        async with asyncio.timeout(30):
            assert await work.finish(30) == 0
        record = await store.get(job_id)
        assert record is not None
        assert record.state is JobState.SUCCEEDED


async def test_second_signal_ends_the_wait_for_running_jobs(store: SqliteStore, mark: Path) -> None:
    async with working(store) as work:
        await submitted(store, a_new_job("waits", {"mark": str(mark)}))
        await eventually(mark.exists)
        finishing = asyncio.ensure_future(work.finish(60))
        await asyncio.sleep(0)
        work.worker.force_stop()
        async with asyncio.timeout(30):
            assert await finishing == 1


async def test_resize_to_more_slots_fills_them_at_once(store: SqliteStore) -> None:
    async with working(store, concurrency=1) as work:
        await submitted(store, *(a_new_job("waits") for _ in range(3)))
        await work.collector.until(JobStarted, 1)
        work.worker.resize(3)
        await work.collector.until(JobStarted, 3)
        assert work.worker.running == 3


async def test_resize_to_fewer_slots_lets_surplus_jobs_end(store: SqliteStore) -> None:
    async with working(store, concurrency=3) as work:
        ids = await submitted(store, *(a_new_job("waits") for _ in range(5)))
        await work.collector.until(JobStarted, 3)
        work.worker.resize(1)
        for job_id in ids[:2]:
            work.worker.cancel(job_id)
        await work.collector.until(JobSettled, 2)
        assert (work.worker.running, len(work.collector.of(JobStarted))) == (1, 3)
        work.worker.cancel(ids[2])
        await work.collector.until(JobStarted, 4)
        assert work.worker.running == 1


async def test_quiet_worker_claims_nothing_until_quiet_is_off(store: SqliteStore) -> None:
    async with working(store) as work:
        work.worker.set_quiet(True)
        await submitted(store, a_new_job("echo"))
        for _ in range(5):  # more than it takes to claim a job
            await store.stats()
        assert work.collector.of(JobStarted) == []
        work.worker.set_quiet(False)
        await work.collector.until(JobSettled)


# -- the store fails -------------------------------------------------------------------------------------------


async def test_claiming_continues_after_errors(store: SqliteStore) -> None:
    gate = Gate(store, "claim")
    gate.errors = [OSError("disk"), OSError("disk")]
    async with working(gate) as work:
        await submitted(store, a_new_job("echo"))
        await work.collector.until(JobSettled)
    assert [(event.where, event.pause) for event in work.collector.of(LoopFailed)] == [("claiming jobs", 0.01)] * 2


async def test_full_store_is_reported_once_each_time_it_fills(store: SqliteStore) -> None:
    gate = Gate(store, "claim")
    gate.errors = [StoreFull("full")] * 3
    async with working(gate) as work:
        await submitted(store, a_new_job("echo"))
        await work.collector.until(JobSettled)
        assert work.collector.of(IntakeRefused) == [IntakeRefused("full")]
        gate.errors = [StoreFull("full again")] * 3
        await submitted(store, a_new_job("echo"))
        await work.collector.until(JobSettled, 2)
    assert work.collector.of(IntakeRefused) == [IntakeRefused("full"), IntakeRefused("full again")]


async def test_ended_attempts_wait_until_the_store_accepts_them(store: SqliteStore) -> None:
    gate = Gate(store, "settle")
    gate.errors = [OSError("disk"), StoreFull("full")]
    async with working(gate) as work:
        [job_id] = await submitted(store, a_new_job("echo"))
        await work.collector.until(JobSettled)
    assert [event.where for event in work.collector.of(LoopFailed)] == ["settling jobs"] * 2
    assert [reported["jobId"] for reported in await outbox(store)] == [job_id]


async def test_stop_with_a_blocked_disk_ends_at_its_deadline(store: SqliteStore) -> None:
    gate = Gate(store, "settle")
    gate.errors = list(itertools.repeat(OSError("disk"), 10_000))
    async with working(gate) as work:
        await submitted(store, a_new_job("echo"))
        await work.collector.until(LoopFailed)
        async with asyncio.timeout(30):
            await work.finish(0.1)
        gate.errors.clear()
